//! What a command changed, and what a parked query waits for.

use std::sync::Arc;

/// What a parked query waits for. It wakes by its topics only.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// A key: created, changed or deleted.
    KvKey(Arc<str>),
    /// Any key below a prefix (`?recurse`).
    KvPrefix(Arc<str>),
    /// The set of keys below a prefix (`?keys`): creations and deletions only.
    KvKeys(Arc<str>),
    /// All sessions.
    Sessions,
    /// Sessions of a node.
    SessionsOfNode(Arc<str>),
    /// One session.
    Session(Arc<str>),
}

/// How a key changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvChange {
    /// It was not there before.
    Created,
    /// Its value, flags or lock changed.
    Updated,
    /// It is gone.
    Deleted,
}

/// What one or several commands changed. Wakes exactly the watchers of those things.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// A restore put another state in this one's place: everything changed.
    pub everything: bool,
    /// Keys, in the order of their change; a key may stand here twice.
    pub keys: Vec<(Arc<str>, KvChange)>,
    /// Sessions created or ended: id and node.
    pub sessions: Vec<(Arc<str>, Arc<str>)>,
}
