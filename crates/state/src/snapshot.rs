//! Snapshots: the state as a stream of rows, and back.
//!
//! A row is `[u16 LE number][u32 LE length][MessagePack map by field name]`. Numbers and field names live for ever; fields may be added with a
//! default; an unknown number is an error. The first row is a header that carries the format's version, the last one the number of rows. The
//! bytes carry no checksum: files and commands that carry them do. The stream is cut anywhere; the loader waits for
//! the rest of a row.

mod load;
mod write;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use load::Loader;
pub use write::Chunks;

use crate::{Index, Stamp};

/// Version of the format. It changes only when old readers would misread new files.
const FORMAT: u32 = 1;

/// A row is at most so long. A value is at most 512 KiB; what is longer is a damaged length.
const ROW_LEN_MAX: usize = 64 << 20;

const ROW_HEAD_LEN: usize = 6;

/// What a snapshot carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Include {
    /// All that makes servers equal: also tombstones, marks, lock-delays, a restore under way. Raft's snapshots.
    Everything,
    /// What lives. Users' backups.
    LiveOnly,
}

/// Why a snapshot cannot be read. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum SnapshotError {
    #[error("snapshot format {0} is not known to this version (it knows {FORMAT})")]
    UnknownFormat(u32),
    #[error("snapshot row number {0} is not known to this version")]
    UnknownRow(u16),
    #[error("snapshot row {number} does not decode: {why}")]
    Row { number: u16, why: String },
    #[error("snapshot does not begin with its header")]
    NoHeader,
    #[error("snapshot goes on after its end, or has a row where none may be")]
    Misplaced,
    #[error("snapshot ends too early, after {rows} rows")]
    Truncated { rows: u64 },
    #[error("snapshot has {found} rows of {expected}")]
    Count { found: u64, expected: u64 },
    #[error("snapshot row of {0} bytes is longer than {ROW_LEN_MAX}")]
    RowTooLong(usize),
}

// === rows beside those of the tables ===

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Header {
    format: u32,
    include: Include,
    index: Index,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    stamp: Stamp,
    #[serde(default)]
    cluster_id: Option<String>,
}

/// Of a key or of a prefix: tombstones and marks.
#[derive(Serialize, Deserialize)]
struct NamedIndex<S> {
    name: S,
    index: Index,
}

#[derive(Serialize, Deserialize)]
struct LockDelay<S> {
    key: S,
    end: Stamp,
}

/// Indexes of whole tables.
#[derive(Serialize, Deserialize)]
struct TableIndexes {
    #[serde(default)]
    kv_watermark: Index,
    #[serde(default)]
    sessions_changed: Index,
    #[serde(default)]
    sessions_ended: Index,
    #[serde(default)]
    nodes_changed: Index,
    #[serde(default)]
    catalog_removed: Index,
    /// `None`: written by a version that did not keep these yet.
    #[serde(default)]
    names_changed: Option<Index>,
    #[serde(default)]
    instances_changed: Index,
    #[serde(default)]
    checks_changed: Index,
    #[serde(default)]
    states_left: Index,
    #[serde(default)]
    nodes_watermark: Index,
    #[serde(default)]
    services_watermark: Index,
    #[serde(default, skip_serializing_if = "is_zero")]
    queries_changed: Index,
    #[serde(default, skip_serializing_if = "is_zero")]
    queries_removed: Index,
}

fn is_zero(index: &Index) -> bool {
    *index == 0
}

/// Of a node: what its rows do not tell, because they are gone.
#[derive(Serialize, Deserialize)]
struct OfNode<S> {
    name: S,
    services: Index,
    node_checks: Index,
}

/// Of a service's name.
#[derive(Serialize, Deserialize)]
struct OfService<S> {
    name: S,
    instances: Index,
    checks: Index,
}

#[derive(Serialize, Deserialize)]
struct StagedHead {
    id: String,
    next_sequence: u64,
    checksum: u32,
    bytes: u64,
    #[serde(default)]
    header: Option<Header>,
    rows: u64,
    max_index: Index,
    ended: bool,
    #[serde(default)]
    partial: Bytes,
}

#[derive(Serialize, Deserialize)]
struct End {
    rows: u64,
}

mod number {
    //! Numbers of rows: for ever.
    pub(super) const HEADER: u16 = 1;
    pub(super) const KV: u16 = 2;
    pub(super) const TOMBSTONE: u16 = 3;
    pub(super) const MARK: u16 = 4;
    pub(super) const LOCK_DELAY: u16 = 5;
    pub(super) const SESSION: u16 = 6;
    pub(super) const NODE: u16 = 7;
    pub(super) const SERVICE: u16 = 8;
    pub(super) const CHECK: u16 = 9;
    pub(super) const TABLE_INDEXES: u16 = 10;
    pub(super) const SESSIONS_OF_NODE: u16 = 11;
    pub(super) const CHECKS_OF_NODE: u16 = 12;
    /// The rows after it belong to a restore that is under way.
    pub(super) const STAGED: u16 = 13;
    pub(super) const END: u16 = 14;
    pub(super) const OF_NODE: u16 = 15;
    pub(super) const OF_SERVICE: u16 = 16;
    pub(super) const OF_STATUS: u16 = 17;
    pub(super) const GONE_NODE: u16 = 18;
    pub(super) const GONE_SERVICE: u16 = 19;
    pub(super) const QUERY: u16 = 20;
    pub(super) const LAST: u16 = QUERY;
}
