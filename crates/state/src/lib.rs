//! The registry's state: commands, tables, queries and snapshots.
//!
//! Pure: no tokio, clock, socket or randomness. [`State::apply`] is deterministic: equal states and equal
//! commands give equal states, replies and changes on every server. Time enters only as the leader's [`Stamp`]
//! inside a command. Tables are persistent maps, so that `State::clone` is constant time: a reader or a
//! snapshot keeps a clone while writes go on.
//!
//! What this crate must not do: read a clock, draw a random number, iterate over an unordered map.

pub mod change;
pub mod command;
pub mod reply;
pub mod row;

pub use change::{Changes, Topic};
pub use command::{Command, Proposal};
pub use reply::Reply;

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

/// The tables, at one index.
#[derive(Debug, Clone, Default)]
pub struct State {}
