//! What may be written: every change of the state is one of these, in the log.
//!
//! Commands live for ever in logs and snapshots. A variant keeps its number and its fields' names; fields may be
//! added with a default. The encoding is a MessagePack map by field name inside `[number, body]`; an unknown number
//! is an error that stops the server, never skipped.

mod query;
mod spec;

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use query::{QueryDelete, QueryFailover, QueryService, QuerySet, QuerySpec};
pub use spec::{
    CheckDefinition, CheckSpec, NodeSpec, ServiceSpec, Status, TaggedAddress, Texts, Weights,
};

use crate::{Index, Stamp};

/// A command with what the leader adds to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Cluster time when the leader proposed it.
    pub at: Stamp,
    /// The change asked for.
    pub command: Command,
}

/// A change of the state. The number of each variant is its wire number (see `codec`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// 1
    KvSet(KvSet),
    /// 2
    KvDelete(KvDelete),
    /// 3
    KvDeleteTree(KvDeleteTree),
    /// 4
    SessionCreate(SessionCreate),
    /// 5: an explicit destroy, by a client.
    SessionDestroy(SessionDestroy),
    /// 6: the leader ends sessions whose TTL ran out. Void unless applied in the term that proposed it.
    SessionExpire(SessionExpire),
    /// 7
    Txn(Txn),
    /// 8
    Register(Register),
    /// 9
    Deregister(Deregister),
    /// 10: tombstones up to an index are folded away.
    TombstoneReap(TombstoneReap),
    /// 11: begin to stage a restore.
    RestoreBegin(RestoreBegin),
    /// 12
    RestoreChunk(RestoreChunk),
    /// 13
    RestoreSwap(RestoreSwap),
    /// 14
    RestoreAbort(RestoreAbort),
    /// 15: the first command of a new cluster: its id, made by the bootstrap.
    ClusterInit(ClusterInit),
    /// 16
    QuerySet(QuerySet),
    /// 17
    QueryDelete(QueryDelete),
}

/// Writes one key. What decides whether it may is `mode`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvSet {
    /// 1 byte or more, UTF-8.
    pub key: String,
    /// At most 512 KiB (checked at the edge).
    pub value: Bytes,
    /// Opaque to us. `acquire` keeps them like every other write.
    #[serde(default)]
    pub flags: u64,
    /// The condition.
    #[serde(default)]
    pub mode: KvMode,
}

/// The condition of a [`KvSet`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvMode {
    /// Always.
    #[default]
    Set,
    /// ModifyIndex must be this; 0: the key must not exist.
    Cas(Index),
    /// Take the lock for this session.
    Acquire(String),
    /// Give the lock back that this session holds.
    Release(String),
}

/// Deletes one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvDelete {
    /// The key.
    pub key: String,
    /// Only if ModifyIndex is this. A key that is not there answers true.
    #[serde(default)]
    pub cas: Option<Index>,
}

/// Deletes every key that starts with `prefix`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvDeleteTree {
    /// May be empty: all keys.
    pub prefix: String,
}

/// What happens to keys a session holds when it ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Behavior {
    /// They are freed.
    #[default]
    Release,
    /// They are deleted.
    Delete,
}

/// Creates a session. The id is made at the edge, so that apply draws no random number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionCreate {
    /// A UUID in its usual spelling.
    pub id: String,
    /// For people.
    #[serde(default)]
    pub name: String,
    /// Name of the node it is bound to.
    pub node: String,
    /// Nanoseconds, at most 60 s (checked at the edge).
    pub lock_delay_ns: u64,
    /// On its end.
    #[serde(default)]
    pub behavior: Behavior,
    /// As the client spelt it; empty: no TTL. 10 s to 24 h (checked at the edge).
    #[serde(default)]
    pub ttl: String,
    /// Milliseconds of `ttl`; 0: none.
    #[serde(default)]
    pub ttl_ms: u64,
    /// Ids of checks of the node. Each must exist and not be critical.
    #[serde(default)]
    pub node_checks: Vec<String>,
    /// Ids of checks of services of the node. Consul's shape: `{"ID": .., "Namespace": ..}`.
    #[serde(default)]
    pub service_checks: Option<Vec<ServiceCheckRef>>,
}

/// A service check a session depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceCheckRef {
    /// The check's id.
    pub id: String,
    /// Empty or `default`.
    #[serde(default)]
    pub namespace: String,
}

/// Ends a session. Answers true whether it existed or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionDestroy {
    /// The session.
    pub id: String,
}

/// Ends sessions whose TTL ran out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionExpire {
    /// The sessions.
    pub ids: Vec<String>,
    /// The leader's term. A copy that is applied under another leadership does nothing: a later leader may have
    /// acknowledged a renewal since.
    pub term: u64,
    /// The leader's id, as the 128 bits of its UUID: one term may see two leaders, one after the other.
    pub leader: u128,
}

/// Several operations that happen all or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Txn {
    /// At most 128 (checked at the edge).
    pub ops: Vec<TxnOp>,
    /// Who writes nodes, services and checks, as in [`Register`]; empty: `api`.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub owner: Arc<str>,
}

/// One operation of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnOp {
    /// On the key/value store.
    Kv(TxnKvOp),
    /// On a node.
    Node(TxnNodeOp),
    /// On a service of a node.
    Service(TxnServiceOp),
    /// On a check.
    Check(TxnCheckOp),
    /// On a session (`delete` only, as in Consul).
    Session(TxnSessionOp),
}

/// Verbs of the key/value store, spelt on the wire as Consul does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // the names are Consul's
pub enum KvVerb {
    Set,
    Cas,
    Lock,
    Unlock,
    Get,
    GetOrEmpty,
    GetTree,
    CheckIndex,
    CheckSession,
    CheckNotExists,
    Delete,
    DeleteCas,
    DeleteTree,
}

/// One operation on the key/value store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnKvOp {
    /// What to do.
    pub verb: KvVerb,
    /// Key or prefix.
    pub key: String,
    /// For writes.
    #[serde(default)]
    pub value: Bytes,
    /// For writes.
    #[serde(default)]
    pub flags: u64,
    /// For `cas`, `delete-cas` and `check-index`.
    #[serde(default)]
    pub index: Index,
    /// For `lock`, `unlock` and `check-session`.
    #[serde(default)]
    pub session: String,
}

/// Verbs of nodes, services and checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // the names are Consul's
pub enum CatalogVerb {
    Get,
    Set,
    Cas,
    Delete,
    DeleteCas,
}

/// One operation on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnNodeOp {
    /// What to do.
    pub verb: CatalogVerb,
    /// The node.
    pub node: NodeSpec,
    /// For `cas` and `delete-cas`.
    #[serde(default)]
    pub index: Index,
}

/// One operation on a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnServiceOp {
    /// What to do.
    pub verb: CatalogVerb,
    /// Its node's name.
    pub node: Arc<str>,
    /// The service.
    pub service: ServiceSpec,
    /// For `cas` and `delete-cas`.
    #[serde(default)]
    pub index: Index,
}

/// One operation on a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnCheckOp {
    /// What to do.
    pub verb: CatalogVerb,
    /// The check.
    pub check: CheckSpec,
    /// For `cas` and `delete-cas`.
    #[serde(default)]
    pub index: Index,
}

/// One operation on a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnSessionOp {
    /// The session to delete.
    pub id: String,
}

/// Registers a node with, perhaps, a service and checks, as `PUT /v1/catalog/register` does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// The node.
    pub node: NodeSpec,
    /// An instance on it.
    #[serde(default)]
    pub service: Option<ServiceSpec>,
    /// Checks on it.
    #[serde(default)]
    pub checks: Vec<CheckSpec>,
    /// Leave an existing node's row as it is.
    #[serde(default)]
    pub skip_node_update: bool,
    /// Who writes: `api` (also when empty), `agent:<node id>`, `operator:<cluster>`, `sidecar:<pod UID>`, `gossip`. What that
    /// allows stands in `owner`.
    #[serde(default)]
    pub owner: Arc<str>,
}

/// Takes a node, one of its services, or one of its checks off the roll. Sessions that hang on them end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deregister {
    /// The node's name.
    pub node: Arc<str>,
    /// Only this service.
    #[serde(default)]
    pub service_id: Arc<str>,
    /// Only this check.
    #[serde(default)]
    pub check_id: Arc<str>,
    /// Who removes, as in [`Register`]. An automatic writer's word on a row that is not its own does nothing: the reply is `false`.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub owner: Arc<str>,
}

/// Folds tombstones away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TombstoneReap {
    /// Tombstones with this index and below, the oldest first, a bounded number of them.
    pub up_to: Index,
}

/// Begins to stage a restore; an earlier one that is still staged is dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreBegin {
    /// A UUID of this restore.
    pub id: String,
}

/// Some rows of a restore, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreChunk {
    /// The restore.
    pub id: String,
    /// 0, 1, 2, …; a gap aborts the restore.
    pub sequence: u64,
    /// Encoded rows (see `row`).
    pub rows: Bytes,
}

/// Puts what was staged in the place of the live state, in one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreSwap {
    /// The restore.
    pub id: String,
    /// Number of chunks that must have arrived.
    pub chunks: u64,
    /// CRC-32 over all chunks' bytes.
    pub checksum: u32,
}

/// Drops what was staged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreAbort {
    /// The restore.
    pub id: String,
}

/// Names a new cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterInit {
    /// A UUID.
    pub id: String,
}
