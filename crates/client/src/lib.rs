//! Typed HTTP client for Consul's API: catalog, health, agent, key/value store, sessions, transactions, status, Raft operation,
//! snapshots.
//!
//! It keeps connections alive, speaks over TCP or a unix socket, and never repeats a request that may have arrived: what to do about
//! an unknown outcome is the caller's to know ([`Error::surely_not_sent`] tells them apart). Reads that wait for a change are
//! [`LongPoll`]s. No TLS in this version: [`connector`] is its place.

mod address;
mod agent;
mod catalog;
mod connector;
mod entry;
mod error;
mod health;
mod http;
mod kv;
mod lock;
mod operator;
mod poll;
mod session;
mod snapshot;
mod txn;

#[cfg(test)]
mod tests;

pub use address::{Address, AddressError};
pub use agent::{Agent, AgentConfig, AgentSelf, LogStream};
pub use catalog::{Catalog, Selection, ServiceTags};
pub use entry::{
    CatalogService, Check, NODE_MAINTENANCE, Node, NodeServices, SERVICE_MAINTENANCE_PREFIX,
    Service, ServiceEntry, TaggedAddress, Weights,
};
pub use error::Error;
pub use health::{ChecksOf, Health};
pub use http::{Answer, Client, Consistency, ReadOptions, Settings};
pub use kv::{Condition, Kv, PutOptions};
pub use lock::{Held, Lock, LockError, LockSettings};
pub use operator::{Operator, Status};
pub use poll::LongPoll;
pub use rollcall_api::operator::{RaftConfiguration, RaftServer};
pub use rollcall_api::{KvPair, Session};
pub use session::{NewSession, Sessions};
pub use snapshot::{SnapshotStream, Snapshots};
pub use txn::{TxnError, TxnOp, TxnOutcome, TxnVerb};
