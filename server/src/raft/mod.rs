//! Raft: openraft over redb, snapshot files and our framed connections.
//!
//! The only module that knows openraft. `log_store` holds log, vote and small named values in one redb file with a journal in front,
//! written by one group-commit writer; `state_machine` applies and publishes; `snapshot` writes and reads snapshot files; `network`
//! and `service` are the two ends of a connection between servers; `node` puts the parts together.

mod apply;
mod fatal;
mod log_journal;
mod log_open;
mod log_store;
mod log_tail;
mod log_writer;
mod message;
mod network;
mod node;
mod overlay;
mod published;
mod record;
mod service;
mod snapshot;
mod state_machine;
mod status;
mod types;

pub use fatal::Fatal;
pub use log_open::{FILE_NAME as LOG_FILE, StoreError};
pub use log_store::Store;
pub use node::{Options, RaftHandle, SnapshotLimits, StartError};
pub use published::Published;
pub use record::RecordError;
pub use snapshot::{SnapshotError, SnapshotFile};
pub use state_machine::{StateMachine, Wake};
pub use types::{
    Applied, Entry, LeaderId, LogData, LogId, Membership, Metrics, Raft, ServerId, SnapshotMeta,
    StoredMembership, TypeConfig, Vote,
};
