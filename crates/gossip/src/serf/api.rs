//! What a pool is told and what it says: commands, events, members.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::config::ConfigError;
use crate::step::{NetEffect, StreamId, Timer};
use crate::swim::ExchangeError;
use crate::swim::Name;
use crate::wire::message::Versions;
use crate::wire::query::Filter;
use crate::wire::tags::{self, Tags};

/// All that can happen to a pool.
#[derive(Debug, Clone)]
pub enum Input {
    /// The first input, once: the pool begins to beat, and tries to find the members of its snapshot again.
    Start,
    /// A timer that an effect asked for is due.
    Timer(Timer),
    /// A packet came.
    Packet {
        /// From where.
        from: SocketAddr,
        /// Its bytes.
        bytes: Bytes,
    },
    /// Somebody opened a connection.
    StreamAccepted {
        /// A number of the driver's, [`StreamId::Accepted`].
        stream: StreamId,
        /// From where.
        from: SocketAddr,
    },
    /// Bytes came on a connection.
    StreamData {
        /// Which one.
        stream: StreamId,
        /// The bytes.
        bytes: Bytes,
    },
    /// A connection could not be opened, broke or ended.
    StreamClosed {
        /// Which one.
        stream: StreamId,
    },
    /// Somebody wants something. `request` comes back with the outcome.
    Command {
        /// The asker's number.
        request: u64,
        /// What is wanted.
        command: Command,
    },
}

/// What a user can want.
#[derive(Debug, Clone)]
pub enum Command {
    /// Exchange state with all of these; ends with [`Effect::JoinDone`].
    Join {
        /// Whom to ask.
        addresses: Vec<SocketAddr>,
        /// User events from before are not reported.
        ignore_old_events: bool,
    },
    /// Leave for good; ends with [`Effect::Left`].
    Leave,
    /// Make a failed member a member that left, and with `prune` forget it.
    ForceLeave {
        /// Whom.
        name: String,
        /// Forget it as well.
        prune: bool,
    },
    /// Say something else of ourselves.
    SetTags(Tags),
    /// Tell all members something.
    UserEvent {
        /// What it is called.
        name: String,
        /// What it carries.
        payload: Bytes,
        /// Receivers may report only the last of several of one name.
        coalesce: bool,
    },
    /// Ask all members, or some, something.
    Query(QueryParams),
    /// Answer a query of [`Effect::Query`]. Once.
    Respond {
        /// Which one.
        query: QueryHandle,
        /// The answer.
        payload: Bytes,
    },
}

/// A question.
#[derive(Debug, Clone, Default)]
pub struct QueryParams {
    /// What is asked.
    pub name: String,
    /// What it carries.
    pub payload: Bytes,
    /// Who is meant; empty: all.
    pub filters: Vec<Filter>,
    /// Receivers acknowledge.
    pub wants_ack: bool,
    /// Answers also come through so many other members.
    pub relay_factor: u8,
    /// How long answers are taken; zero: as long as a pool of this size needs.
    pub timeout: Duration,
}

/// What is needed to answer a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryHandle {
    pub(crate) ltime: u64,
    pub(crate) id: u32,
    pub(crate) source: SocketAddr,
    pub(crate) source_node: Name,
    pub(crate) relay_factor: u8,
    pub(crate) deadline: Duration,
}

/// All that a pool can want done, or has to say.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Something on the network or the clock.
    Net(NetEffect),
    /// A member changed.
    Member(MemberEvent),
    /// A user event came.
    UserEvent(UserEvent),
    /// A query came that wants an answer, or is only to be known.
    Query(QueryAsked),
    /// A member acknowledged a query of ours.
    QueryAck {
        /// Of the command.
        request: u64,
        /// Who.
        from: Name,
    },
    /// A member answered a query of ours.
    QueryResponse {
        /// Of the command.
        request: u64,
        /// Who.
        from: Name,
        /// What.
        payload: Bytes,
    },
    /// A query of ours is over.
    QueryDone {
        /// Of the command.
        request: u64,
    },
    /// All addresses of a join were tried.
    JoinDone {
        /// Of the command; `None` for what the pool tried by itself from its snapshot.
        request: Option<u64>,
        /// How many answered.
        joined: usize,
        /// Who did not, and why.
        failed: Vec<(SocketAddr, ExchangeError)>,
    },
    /// We left, and others had time to hear it: the driver can stop.
    Left,
    /// A command was not carried out. Nothing changed.
    Refused {
        /// Of the command.
        request: u64,
        /// Why.
        error: CommandError,
    },
    /// Two members claim one name, and both answer. The first stays.
    NameConflict {
        /// The name.
        name: Name,
        /// Where the first is.
        holder: SocketAddr,
        /// Where the second is.
        claimant: SocketAddr,
    },
    /// Somebody else runs with our name and our id: a copied data directory.
    IdentityTwice {
        /// Where the other one is.
        address: SocketAddr,
        /// We came second: the driver stops and names the directory.
        newcomer: bool,
    },
    /// A member answered a probe after this time.
    RoundTrip {
        /// Who.
        name: Name,
        /// How long it took.
        time: Duration,
    },
}

/// Why a command was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// After a leave nothing more is done; start anew.
    #[error("this member has left or is leaving")]
    Leaving,
    /// Too large for a packet of others.
    #[error("{what} has {bytes} bytes encoded, at most {max} are allowed")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// Nobody of this name is known.
    #[error("no member {name:?} is known")]
    UnknownMember {
        /// The name.
        name: String,
    },
    /// Tags that do not fit.
    #[error("tags were refused")]
    Tags(#[source] ConfigError),
    /// The time to answer is over.
    #[error("the query's time is over")]
    TooLate,
    /// A bound of things at one time.
    #[error("{what}: already {max} at one time")]
    TooMany {
        /// What.
        what: &'static str,
        /// The bound.
        max: usize,
    },
}

/// Serf's view of a member. Numbers are Serf's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Answers.
    Alive = 1,
    /// Has said that it leaves, and still answers.
    Leaving = 2,
    /// Went by itself, or was made to.
    Left = 3,
    /// Does not answer.
    Failed = 4,
}

impl Status {
    /// Serf's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Leaving => "leaving",
            Self::Left => "left",
            Self::Failed => "failed",
        }
    }
}

/// A member, as shown to users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: Name,
    /// Where it is, or was last.
    pub address: SocketAddr,
    /// How it is.
    pub status: Status,
    /// What it speaks.
    pub versions: Versions,
    /// Lamport time of the last word about its status.
    pub(crate) status_ltime: u64,
    /// Since when it failed or left.
    pub(crate) gone_since: Duration,
    pub(crate) meta: Bytes,
}

impl Member {
    /// What it says of itself; empty when that does not decode.
    #[must_use]
    pub fn tags(&self) -> Tags {
        tags::decode(&self.meta).unwrap_or_default()
    }
}

/// What happened to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberChange {
    /// It is there.
    Joined,
    /// It left, or was made to.
    Left,
    /// It failed.
    Failed,
    /// It says something else of itself, or is elsewhere.
    Updated,
    /// It is forgotten.
    Reaped,
}

/// A change and the member after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberEvent {
    /// What happened.
    pub change: MemberChange,
    /// To whom.
    pub member: Arc<Member>,
}

/// Something a user said to all members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserEvent {
    /// Its Lamport time.
    pub ltime: u64,
    /// What it is called.
    pub name: String,
    /// What it carries.
    pub payload: Bytes,
    /// Whether only the last of several matters.
    pub coalesce: bool,
}

/// A question that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryAsked {
    /// What is asked.
    pub name: String,
    /// What it carries.
    pub payload: Bytes,
    /// Who asks.
    pub source_node: Name,
    /// Answers are taken until then.
    pub deadline: Duration,
    /// To answer with [`Command::Respond`].
    pub handle: QueryHandle,
}
