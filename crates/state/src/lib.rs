//! The registry's state: commands, tables, queries and snapshots.
//!
//! Pure: no tokio, clock, socket or randomness. [`State::apply`] is deterministic: equal states and equal
//! commands give equal states, replies and changes on every server. Time enters only as the leader's [`Stamp`]
//! inside a command. Tables are persistent maps, so that `State::clone` is constant time: a reader or a
//! snapshot keeps a clone while writes go on.
//!
//! What this crate must not do: read a clock, draw a random number, iterate over an unordered map.

mod absent;
mod catalog;
mod catalog_read;
mod catalog_write;
pub mod change;
mod check_table;
pub mod codec;
pub mod command;
mod grave;
mod kv;
mod kv_write;
pub mod owner;
mod query;
pub mod quote;
pub mod reply;
mod restore;
pub mod row;
mod session;
mod session_write;
mod share;
pub mod snapshot;
mod state;
pub mod txn;
mod write;

pub use catalog::ServiceName;
pub use catalog_read::{Counts, Instance, InstanceHealth, NodeServices, ServiceNames};
pub use change::{Changes, KvChange, Topic};
pub use codec::CodecError;
pub use command::{Command, Proposal};
pub use reply::Reply;
pub use rollcall_api::SortedMap;
pub use snapshot::{Chunks, Include, Loader, SnapshotError};
pub use state::{Answer, Context, State};

/// An index of the state: log index plus the state's own offset (`snapshot restore` raises the offset).
/// Never 0 in an answer.
pub type Index = u64;

/// Cluster time in milliseconds: stamped by the leader into each command, never decreasing in the log. It goes on
/// only while there is a leader and is not the time of day, so that a clock that is set changes nothing.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct Stamp(pub u64);
