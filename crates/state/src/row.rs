//! Rows of the tables, as they are stored and as snapshots carry them.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::Index;
use crate::command::{Behavior, CheckSpec, NodeSpec, ServiceCheckRef, ServiceSpec};

/// A key of the key/value store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvEntry {
    /// The key.
    pub key: Arc<str>,
    /// The value.
    pub value: Bytes,
    /// Opaque to us.
    #[serde(default)]
    pub flags: u64,
    /// The session that holds it.
    #[serde(default)]
    pub session: Option<Arc<str>>,
    /// Times it was acquired.
    #[serde(default)]
    pub lock_index: u64,
    /// Index of its creation.
    pub create_index: Index,
    /// Index of its last change.
    pub modify_index: Index,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // as in `SessionCreate`
pub struct Session {
    pub id: Arc<str>,
    pub name: String,
    pub node: String,
    pub lock_delay_ns: u64,
    pub behavior: Behavior,
    pub ttl: String,
    pub ttl_ms: u64,
    pub node_checks: Vec<String>,
    #[serde(default)]
    pub service_checks: Option<Vec<ServiceCheckRef>>,
    pub create_index: Index,
    pub modify_index: Index,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Node {
    pub spec: NodeSpec,
    #[serde(default)]
    pub owner: String,
    pub create_index: Index,
    pub modify_index: Index,
}

/// A service instance on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Service {
    pub node: Arc<str>,
    pub spec: ServiceSpec,
    #[serde(default)]
    pub owner: String,
    pub create_index: Index,
    pub modify_index: Index,
}

/// A check on a node or on one of its services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Check {
    pub spec: CheckSpec,
    /// Copied from the service.
    #[serde(default)]
    pub service_name: String,
    /// Copied from the service.
    #[serde(default)]
    pub service_tags: Option<Vec<String>>,
    #[serde(default)]
    pub owner: String,
    pub create_index: Index,
    pub modify_index: Index,
}
