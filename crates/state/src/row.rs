//! Rows of the tables, as they are stored and as snapshots carry them.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Index;
use crate::command::{
    Behavior, CheckSpec, NodeSpec, QuerySpec, ServiceCheckRef, ServiceSpec, Texts,
};

/// A key of the key/value store. A million of them must fit into memory, hence the exact-size boxes and the methods: how a row is
/// laid out is nobody else's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvEntry {
    key: Arc<str>,
    value: Box<[u8]>,
    lock: Option<Box<Lock>>,
    /// Opaque to us.
    pub flags: u64,
    /// Index of its creation.
    pub create_index: Index,
    /// Index of its last change.
    pub modify_index: Index,
}

/// What most keys do not have.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lock {
    session: Option<Arc<str>>,
    index: u64,
}

impl KvEntry {
    /// A row. The value is copied, so that it pins no larger buffer.
    pub fn new(key: Arc<str>, value: &[u8], flags: u64) -> Self {
        KvEntry {
            key,
            value: value.into(),
            lock: None,
            flags,
            create_index: 0,
            modify_index: 0,
        }
    }

    /// With its lock: the session that holds it, if any, and the number of times it was acquired.
    pub fn with_lock(mut self, session: Option<Arc<str>>, index: u64) -> Self {
        self.lock = (session.is_some() || index != 0).then(|| Box::new(Lock { session, index }));
        self
    }

    /// With its indexes.
    pub fn with_indexes(mut self, create: Index, modify: Index) -> Self {
        self.create_index = create;
        self.modify_index = modify;
        self
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The key, shared.
    pub fn key_arc(&self) -> &Arc<str> {
        &self.key
    }

    /// The value.
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// The session that holds it.
    pub fn session(&self) -> Option<&Arc<str>> {
        self.lock.as_ref().and_then(|lock| lock.session.as_ref())
    }

    /// Times it was acquired. As in Consul, a plain write sets it back to 0.
    pub fn lock_index(&self) -> u64 {
        self.lock.as_ref().map_or(0, |lock| lock.index)
    }

    /// Whether everything but the indexes is the same.
    pub(crate) fn same_content(&self, other: &KvEntry) -> bool {
        self.flags == other.flags && self.lock == other.lock && self.value == other.value
    }
}

#[derive(Serialize)]
struct KvEntryRef<'a> {
    key: &'a str,
    #[serde(with = "serde_bytes")]
    value: &'a [u8],
    flags: u64,
    session: Option<&'a str>,
    lock_index: u64,
    create_index: Index,
    modify_index: Index,
}

#[derive(Deserialize)]
struct KvEntryOwned {
    key: String,
    #[serde(default)]
    value: Bytes,
    #[serde(default)]
    flags: u64,
    #[serde(default)]
    session: Option<String>,
    #[serde(default)]
    lock_index: u64,
    create_index: Index,
    modify_index: Index,
}

impl Serialize for KvEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        KvEntryRef {
            key: &self.key,
            value: &self.value,
            flags: self.flags,
            session: self.session().map(|s| &**s),
            lock_index: self.lock_index(),
            create_index: self.create_index,
            modify_index: self.modify_index,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for KvEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let row = KvEntryOwned::deserialize(deserializer)?;
        Ok(KvEntry::new(row.key.into(), &row.value, row.flags)
            .with_lock(row.session.map(Arc::from), row.lock_index)
            .with_indexes(row.create_index, row.modify_index))
    }
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // as in `SessionCreate`
pub struct Session {
    pub id: Arc<str>,
    #[serde(default)]
    pub name: String,
    pub node: String,
    #[serde(default)]
    pub lock_delay_ns: u64,
    #[serde(default)]
    pub behavior: Behavior,
    #[serde(default)]
    pub ttl: String,
    #[serde(default)]
    pub ttl_ms: u64,
    #[serde(default)]
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
    pub owner: Arc<str>,
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
    pub owner: Arc<str>,
    pub create_index: Index,
    pub modify_index: Index,
}

/// A check on a node or on one of its services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Check {
    pub spec: CheckSpec,
    /// The service's, kept equal to it.
    #[serde(default)]
    pub service_name: Arc<str>,
    /// The service's, kept equal to them.
    #[serde(default)]
    pub service_tags: Option<Texts>,
    #[serde(default)]
    pub owner: Arc<str>,
    pub create_index: Index,
    pub modify_index: Index,
}

/// A prepared query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Query {
    pub spec: QuerySpec,
    pub create_index: Index,
    pub modify_index: Index,
}
