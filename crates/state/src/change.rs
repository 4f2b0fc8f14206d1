//! What a command changed, and what a parked query waits for.

use std::sync::Arc;

/// What a parked query waits for. It wakes by its topics only.
///
/// Names of nodes are compared without regard to (ASCII) case: build those topics with [`Topic::node`],
/// [`Topic::checks_of_node`] and [`Topic::sessions_of_node`], which fold the name.
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
    /// The list of nodes: their rows, not what they carry.
    Nodes,
    /// One node: its row, its services and its checks.
    Node(Arc<str>),
    /// The checks of one node.
    ChecksOfNode(Arc<str>),
}

impl Topic {
    /// One node, its services and its checks.
    pub fn node(name: &str) -> Topic {
        Topic::Node(fold(name))
    }

    /// The checks of one node.
    pub fn checks_of_node(name: &str) -> Topic {
        Topic::ChecksOfNode(fold(name))
    }

    /// Sessions of a node.
    pub fn sessions_of_node(name: &str) -> Topic {
        Topic::SessionsOfNode(fold(name))
    }
}

/// The form under which names of nodes, services' ids and checks' ids are compared: Consul ignores their case. ASCII only, because
/// Unicode's tables differ between versions, and servers of two versions must agree.
pub(crate) fn fold(name: &str) -> Arc<str> {
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        Arc::from(name.to_ascii_lowercase())
    } else {
        Arc::from(name)
    }
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
    /// Sessions created or ended: id and node (folded).
    pub sessions: Vec<(Arc<str>, Arc<str>)>,
    /// Nodes (folded) whose row was written or removed.
    pub nodes: Vec<Arc<str>>,
    /// Services written or removed: node (folded) and the service's name as written.
    pub services: Vec<(Arc<str>, Arc<str>)>,
    /// Checks written or removed: node (folded) and id (folded).
    pub checks: Vec<(Arc<str>, Arc<str>)>,
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        let Changes {
            everything,
            keys,
            sessions,
            nodes,
            services,
            checks,
        } = self;
        !everything
            && keys.is_empty()
            && sessions.is_empty()
            && nodes.is_empty()
            && services.is_empty()
            && checks.is_empty()
    }

    /// Adds what a later command changed.
    pub fn merge(&mut self, later: Changes) {
        let Changes {
            everything,
            keys,
            sessions,
            nodes,
            services,
            checks,
        } = later;
        self.everything |= everything;
        self.keys.extend(keys);
        self.sessions.extend(sessions);
        self.nodes.extend(nodes);
        self.services.extend(services);
        self.checks.extend(checks);
    }

    /// Whether a query parked on `topic` wakes. This is the meaning of topics; a registry of watchers must agree with it.
    pub fn touches(&self, topic: &Topic) -> bool {
        if self.everything {
            return true;
        }
        match topic {
            Topic::KvKey(key) => self.keys.iter().any(|(k, _)| k == key),
            Topic::KvPrefix(prefix) => self.keys.iter().any(|(k, _)| k.starts_with(&**prefix)),
            Topic::KvKeys(prefix) => self
                .keys
                .iter()
                .any(|(k, how)| *how != KvChange::Updated && k.starts_with(&**prefix)),
            Topic::Sessions => !self.sessions.is_empty(),
            Topic::SessionsOfNode(node) => self.sessions.iter().any(|(_, n)| n == node),
            Topic::Session(id) => self.sessions.iter().any(|(i, _)| i == id),
            Topic::Nodes => !self.nodes.is_empty(),
            Topic::Node(node) => {
                self.nodes.contains(node)
                    || self.services.iter().any(|(n, _)| n == node)
                    || self.checks.iter().any(|(n, _)| n == node)
            }
            Topic::ChecksOfNode(node) => self.checks.iter().any(|(n, _)| n == node),
        }
    }
}
