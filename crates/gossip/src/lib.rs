//! Who is alive, without asking a central place: SWIM with Lifeguard, and Serf's layer above it, on Serf's wire. A real
//! `serf` agent and a [`Pool`] are members of one cluster.
//!
//! Pure: no socket, clock, thread or random number of its own. [`Pool::step`] takes an input and the time since start, and
//! gives effects; see [`step`] for who calls it and in which order. A pool is a value: the LAN is one, the WAN would be
//! another with another [`Config`].

mod config;
mod count;
mod keyring;
mod random;
mod serf;
pub mod step;
mod swim;
mod wire;

pub use config::{Config, ConfigError, Lifeguard, SerfConfig, Timing};
pub use count::{Counters, DropReason, Kind};
pub use keyring::{KEYS_MAX, KeyError, Keyring};
pub use random::{Random, Seeded};
pub use serf::{
    Command, CommandError, Effect, Input, Member, MemberChange, MemberEvent, Pool, QueryAsked,
    QueryHandle, QueryParams, Snapshot, SnapshotError, Status, UserEvent,
};
pub use step::{NetEffect, StreamId, Timer};
pub use swim::{ExchangeError, Name};
pub use wire::WireError;
pub use wire::message::{META_BYTES_MAX, NAME_BYTES_MAX, Versions};
pub use wire::query::Filter;
pub use wire::tags::Tags;

#[cfg(test)]
mod tests;
