//! Raft: openraft over redb, snapshot files and our framed connections.
//!
//! The only module that knows openraft. `store` holds log, vote and small named values in one redb file, written by one
//! group-commit writer; `state_machine` applies and publishes; `snapshot` writes and reads snapshot files; `network`
//! and `service` are the two ends of a connection between servers.

mod apply;
pub mod archive;
mod fatal;
mod log_open;
mod log_store;
mod log_tail;
mod log_writer;
mod published;
mod record;
mod snapshot;
mod state_machine;
mod status;
mod types;

use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::SharedDisk;
use crate::rpc;
use crate::sabotage::Sabotage;

pub use fatal::Fatal;
pub use log_open::StoreError;
pub use log_store::Store;
pub use published::Published;
pub use record::RecordError;
pub use snapshot::{SnapshotError, SnapshotFile};
pub use state_machine::{StateMachine, Wake};
pub use types::{
    Applied, Entry, LeaderId, LogData, LogId, Membership, Metrics, Raft, ServerId, SnapshotMeta,
    StoredMembership, TypeConfig, Vote,
};

/// When a snapshot is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotLimits {
    /// Bytes of log since the last one; at least the size of the last one, whatever is set here.
    pub log_bytes: u64,
    /// Entries since the last one.
    pub log_entries: u64,
    /// Entries kept after a snapshot for followers that lag a little.
    pub keep_entries: u64,
}

impl Default for SnapshotLimits {
    fn default() -> Self {
        Self {
            log_bytes: 64 << 20,
            log_entries: 1_000_000,
            keep_entries: 10_000,
        }
    }
}

/// How a Raft node is started.
pub struct Options {
    /// This server.
    pub id: ServerId,
    /// Where snapshots go.
    pub data_dir: PathBuf,
    /// The disk they are on.
    pub disk: SharedDisk,
    /// Calls other servers.
    pub client: Arc<rpc::Client>,
    /// Told of each published batch's changes (`Watchers::wake`).
    pub wake: Wake,
    /// Consul's `performance.raft_multiplier`: scales all time-outs. 1 to 10.
    pub raft_multiplier: u32,
    /// When a snapshot is due.
    pub snapshot_limits: SnapshotLimits,
    /// Promises broken on purpose (simulation only).
    pub sabotage: Sabotage,
}

/// A running Raft node.
pub struct RaftHandle {
    /// This server.
    pub id: ServerId,
    /// openraft's handle: writes, read index, membership, metrics.
    pub raft: Raft,
    /// The applied state.
    pub published: Arc<Published>,
    /// Why the server must stop, once it must.
    pub fatal: Fatal,
}
