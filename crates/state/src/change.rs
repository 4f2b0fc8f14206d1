//! What a command changed, and what a parked query waits for.

use std::sync::Arc;

/// The pseudo-state of `health/state/any`: checks in all states.
pub const ANY_STATE: &str = "any";

/// What a parked query waits for. It wakes by its topics only.
///
/// Names of nodes, services and states are compared without regard to (ASCII) case: build those topics with the functions below,
/// which fold the name.
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
    /// One node by its name or its id: its row and its services.
    Node(Arc<str>),
    /// The checks of one node and of its services.
    ChecksOfNode(Arc<str>),
    /// The map of services' names to their tags; not every write of an instance.
    Services,
    /// All instances of all services, with the rows of their nodes.
    Instances,
    /// The instances of a service, with the rows of their nodes.
    Service(Arc<str>),
    /// The instances of a service, with the rows of their nodes, their checks and their nodes' checks.
    ServiceHealth(Arc<str>),
    /// The checks of a service's instances.
    ServiceChecks(Arc<str>),
    /// The checks in a state, or in all ([`ANY_STATE`]).
    HealthState(Arc<str>),
    /// All prepared queries.
    Queries,
    /// One prepared query, by its id.
    Query(Arc<str>),
}

impl Topic {
    /// One node and its services. A node is known by its name and by its id; a query that takes either waits on what it was given.
    pub fn node(name_or_id: &str) -> Topic {
        Topic::Node(fold(name_or_id))
    }

    /// The checks of one node.
    pub fn checks_of_node(name: &str) -> Topic {
        Topic::ChecksOfNode(fold(name))
    }

    /// Sessions of a node.
    pub fn sessions_of_node(name: &str) -> Topic {
        Topic::SessionsOfNode(fold(name))
    }

    /// Instances of a service and their nodes.
    pub fn service(name: &str) -> Topic {
        Topic::Service(fold(name))
    }

    /// Instances of a service, their nodes, and the checks of both.
    pub fn service_health(name: &str) -> Topic {
        Topic::ServiceHealth(fold(name))
    }

    /// Checks of a service's instances.
    pub fn service_checks(name: &str) -> Topic {
        Topic::ServiceChecks(fold(name))
    }

    /// One prepared query.
    pub fn query(id: &str) -> Topic {
        Topic::Query(fold(id))
    }

    /// Checks in a state.
    pub fn health_state(state: &str) -> Topic {
        Topic::HealthState(fold(state))
    }
}

/// The form under which names of nodes and services and ids of services and checks are compared: Consul ignores their case. ASCII
/// only, because Unicode's tables differ between versions, and servers of two versions must agree.
pub(crate) fn fold(name: &str) -> Arc<str> {
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        Arc::from(name.to_ascii_lowercase())
    } else {
        Arc::from(name)
    }
}

/// [`fold`] that shares the name when it is folded already.
pub(crate) fn fold_shared(name: &Arc<str>) -> Arc<str> {
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        Arc::from(name.to_ascii_lowercase())
    } else {
        name.clone()
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
    /// Topics of the other tables that were touched; one may stand here twice.
    pub topics: Vec<Topic>,
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        let Changes {
            everything,
            keys,
            sessions,
            topics,
        } = self;
        !everything && keys.is_empty() && sessions.is_empty() && topics.is_empty()
    }

    /// Adds what a later command changed.
    pub fn merge(&mut self, later: Changes) {
        let Changes {
            everything,
            keys,
            sessions,
            topics,
        } = later;
        self.everything |= everything;
        self.keys.extend(keys);
        self.sessions.extend(sessions);
        self.topics.extend(topics);
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
            Topic::Nodes
            | Topic::Node(_)
            | Topic::ChecksOfNode(_)
            | Topic::Services
            | Topic::Instances
            | Topic::Service(_)
            | Topic::ServiceHealth(_)
            | Topic::ServiceChecks(_)
            | Topic::HealthState(_)
            | Topic::Queries
            | Topic::Query(_) => self.topics.contains(topic),
        }
    }
}
