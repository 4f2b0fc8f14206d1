//! The types openraft is filled with.
//!
//! Log data are the bytes of an encoded proposal: the leader encodes once; log store and network ship them unchanged.
//! Members are ids without addresses (`EmptyNode`): where a server lives is looked up at every dial (`rpc::AddressBook`),
//! so that a server which comes back elsewhere needs no membership change.
//!
//! The leader id is openraft's "adv" one (term and node): an election is not held up by a split vote of equal terms.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use rollcall_state::{Index, Reply};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::state_machine::StateMachine;

/// A server's id: a UUID in its data directory, for life.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ServerId(pub Uuid);

impl ServerId {
    /// Nobody in particular: "whoever answers" in a dial by address.
    pub const ANYONE: ServerId = ServerId(Uuid::nil());

    /// A new id: random, or from the seed in simulation.
    pub fn random() -> Self {
        Self(crate::rt::new_uuid())
    }
}

/// What openraft's storage suite asks for.
#[cfg(test)]
impl From<u64> for ServerId {
    fn from(number: u64) -> Self {
        Self(Uuid::from_u128(number.into()))
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for ServerId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(Self)
    }
}

/// An encoded proposal (`rollcall_state::codec`), opaque to Raft.
#[derive(Clone, PartialEq, Eq)]
pub struct LogData(pub Bytes);

impl fmt::Debug for LogData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogData({} bytes)", self.0.len())
    }
}

impl fmt::Display for LogData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for LogData {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for LogData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_bytes::ByteBuf::deserialize(deserializer)
            .map(|bytes| Self(Bytes::from(bytes.into_vec())))
    }
}

/// What an applied entry answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The state's index of the entry (log index + offset).
    pub index: Index,
    /// The command's answer; `Reply::None` for entries that carry no command.
    pub reply: Reply,
}

openraft::declare_raft_types!(
    /// What openraft is filled with.
    pub TypeConfig:
        D = LogData,
        R = Applied,
        NodeId = ServerId,
        Node = openraft::EmptyNode,
        AsyncRuntime = crate::rt::Rt,
);

/// A Raft node over our log store and state machine.
pub type Raft = openraft::Raft<TypeConfig, StateMachine>;
/// Term and leader of an entry.
pub type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, ServerId>;
/// Position of an entry in the log.
pub type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
/// A vote.
pub type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
/// An entry of the log.
pub type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
/// The servers that vote, and those that learn.
pub type Membership = openraft::Membership<ServerId, openraft::EmptyNode>;
/// A membership with its place in the log.
pub type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
/// What a snapshot says of itself.
pub type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;
/// What Raft tells about itself.
pub type Metrics = openraft::RaftMetrics<TypeConfig>;
