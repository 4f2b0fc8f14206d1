//! What servers say to each other beside Raft: who they are, promises, joining, forwarded writes and reads.
//!
//! Bodies are MessagePack maps by field name, so that fields can be added; a method keeps its number for ever.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::identity::Promise;

/// Methods on the server port. Raft's own are the `raft` module's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Method {
    /// Says who one is and asks the same: [`Probe`] → [`ProbeReply`].
    Probe = 0x100,
    /// Asks for a promise: [`Promise`] → [`PromiseReply`].
    Promise = 0x101,
    /// Frees a promise: [`Abort`] → nothing.
    Abort = 0x102,
    /// Asks the leader to be let in: [`Join`] → [`Outcome`].
    Join = 0x103,
    /// A write for the leader: an encoded command → [`Forwarded`].
    Forward = 0x104,
    /// A read-index round at the leader: nothing → [`ReadIndexReply`].
    ReadIndex = 0x105,
    /// Renews a session at the leader: its id → [`RenewReply`].
    Renew = 0x106,
    /// What the leader knows of its peers: nothing → [`PeersReply`].
    Peers = 0x107,
    /// Removes a server: [`Target`] → [`Outcome`].
    RemovePeer = 0x108,
    /// Hands leadership over: [`Target`] → [`Outcome`].
    TransferLeader = 0x109,
}

impl Method {
    /// All of them.
    pub const ALL: [Method; 10] = [
        Method::Probe,
        Method::Promise,
        Method::Abort,
        Method::Join,
        Method::Forward,
        Method::ReadIndex,
        Method::Renew,
        Method::Peers,
        Method::RemovePeer,
        Method::TransferLeader,
    ];

    /// The method with this number.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|method| *method as u16 == number)
    }
}

/// Who a server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Its id.
    pub id: Uuid,
    /// Its node name.
    pub name: String,
    /// Its datacenter.
    pub datacenter: String,
    /// Where it is reached: `IP:port` of its server port.
    pub address: String,
    /// Drawn at its start: tells two processes on copies of one data directory apart.
    pub boot: u64,
    /// How many servers it expects.
    pub expect: u32,
    /// The cluster its data belong to.
    #[serde(default)]
    pub cluster: Option<Uuid>,
    /// Whether its log holds anything.
    #[serde(default)]
    pub initialised: bool,
    /// The promise it gave.
    #[serde(default)]
    pub promise: Option<Promise>,
    /// The leader it knows.
    #[serde(default)]
    pub leader: Option<Uuid>,
    /// Where it last found other servers: a hint, weaker than what they say themselves.
    #[serde(default)]
    pub peers: Vec<(Uuid, String)>,
}

impl About {
    /// Whether this server holds data of a cluster.
    pub fn has_data(&self) -> bool {
        self.initialised || self.cluster.is_some()
    }
}

/// Says who one is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The one who asks.
    pub from: About,
}

/// Answers a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReply {
    /// The one who answers.
    pub about: About,
    /// Another living process has the asker's id: where.
    #[serde(default)]
    pub duplicate: Option<String>,
}

/// Whether a promise was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromiseReply {
    /// Synced to disk.
    pub granted: bool,
    /// Why not.
    #[serde(default)]
    pub reason: String,
}

/// Frees a promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abort {
    /// The cluster that will never be.
    pub cluster: Uuid,
    /// Who collected for it.
    pub proposer: Uuid,
}

/// Asks to be let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// The cluster it wants to be in.
    pub cluster: Uuid,
    /// The newcomer.
    pub about: About,
}

/// A server that is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// `None`: the leader chooses.
    #[serde(default)]
    pub id: Option<Uuid>,
}

/// How a request to the leader ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Done.
    Done,
    /// Not done.
    Refused(String),
    /// The one asked does not lead. Not done.
    NotLeader,
    /// It may have been done.
    Unknown(String),
}

/// How a forwarded write ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Forwarded {
    /// Applied.
    Applied {
        /// The state's index.
        index: u64,
        /// The command's answer.
        reply: rollcall_state::Reply,
    },
    /// Surely not proposed: the one asked does not lead.
    NotLeader,
    /// Surely not proposed: too many writes wait.
    Busy(usize),
    /// It may have been applied, or may yet be.
    Unknown(String),
    /// Surely not proposed, and in vain to try again: the one asked does not understand it.
    Refused(String),
}

/// How a read-index round ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadIndexReply {
    /// What is applied up to this log index is fresh enough.
    Index(u64),
    /// The one asked does not lead, or could not confirm it.
    NotLeader,
}

/// How a renewal ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RenewReply {
    /// Renewed.
    Renewed,
    /// There is no such session.
    Gone,
    /// The one asked does not lead, or could not confirm it. Not renewed.
    NotLeader,
}

/// What the leader knows of its peers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeersReply {
    /// Servers of the configuration.
    pub peers: Vec<PeerReply>,
}

/// One server of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerReply {
    /// Its id.
    pub id: Uuid,
    /// Last log index the leader knows it has.
    pub last_index: u64,
}

/// Encodes a body.
pub fn encode<T: Serialize>(body: &T) -> bytes::Bytes {
    rmp_serde::to_vec_named(body)
        .expect("a message must be encodable")
        .into()
}

/// Decodes a body. The error says what did not fit.
pub fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    rmp_serde::from_slice(body).map_err(|error| format!("malformed message: {error}"))
}
