//! What the catalog answers: rows, shared, and the index of each answer. No JSON; tags, meta and filters are the edge's.
//!
//! Every answer is a range of a table whose order is the answer's. An answer's index is the largest of the indexes of what it shows and of
//! what was last taken from it. For a name that is not there it is its tombstone's, then the watermark.

use std::sync::Arc;

use imbl::OrdMap;

use crate::catalog::{Catalog, NodeIndexes, ServiceName, Under};
use crate::change::{ANY_STATE, fold};
use crate::command::Status;
use crate::row::{Check, Node, Service};
use crate::{Answer, Index};

/// A node and its services (`catalog/node`, `catalog/node-services`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeServices {
    /// The node.
    pub node: Arc<Node>,
    /// Its services, by id.
    pub services: Vec<Arc<Service>>,
}

/// An instance of a service with its node (`catalog/service`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The node that carries it.
    pub node: Arc<Node>,
    /// The instance.
    pub service: Arc<Service>,
}

/// An instance of a service with its node and the checks of both (`health/service`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceHealth {
    /// The node that carries it.
    pub node: Arc<Node>,
    /// The instance.
    pub service: Arc<Service>,
    /// The node's own checks by id, then the instance's by id.
    pub checks: Vec<Arc<Check>>,
}

/// Names of services with their tags (`catalog/services`): a constant-time copy of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceNames(OrdMap<Arc<str>, ServiceName>);

impl ServiceNames {
    /// Names as they are spelt, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, &ServiceName)> {
        self.0.iter()
    }

    /// Number of names.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How much of everything there is (`operator/usage`, metrics).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Keys.
    pub keys: usize,
    /// Sessions.
    pub sessions: usize,
    /// Nodes.
    pub nodes: usize,
    /// Names of services.
    pub services: usize,
    /// Instances of services.
    pub instances: usize,
    /// Checks.
    pub checks: usize,
    /// Prepared queries.
    pub queries: usize,
}

impl Catalog {
    // === single rows ===

    pub(crate) fn node(&self, name: &str) -> Answer<Option<Arc<Node>>> {
        let row = self.node_row(name).cloned();
        let absent = self.indexes.removed;
        Answer::new(row.as_ref().map_or(absent, |n| n.modify_index), row)
    }

    pub(crate) fn node_by_id(&self, id: &str) -> Option<Arc<Node>> {
        let name = self.names_by_id.get(&*fold(id))?;
        self.nodes.get(name).cloned()
    }

    pub(crate) fn service(&self, node: &str, id: &str) -> Answer<Option<Arc<Service>>> {
        let row = self.service_row(node, id).cloned();
        let absent = self.indexes.removed;
        Answer::new(row.as_ref().map_or(absent, |s| s.modify_index), row)
    }

    pub(crate) fn check(&self, node: &str, id: &str) -> Answer<Option<Arc<Check>>> {
        let row = self.check_row(node, id).cloned();
        let absent = self.indexes.removed;
        Answer::new(row.as_ref().map_or(absent, |c| c.modify_index), row)
    }

    // === nodes ===

    pub(crate) fn list(&self) -> Answer<Vec<Arc<Node>>> {
        Answer::new(self.indexes.nodes, self.nodes.values().cloned().collect())
    }

    pub(crate) fn node_services(&self, name_or_id: &str) -> Answer<Option<NodeServices>> {
        let asked = fold(name_or_id);
        let by_id = || self.nodes.get(self.names_by_id.get(&*asked)?);
        let Some(node) = self.nodes.get(&*asked).or_else(by_id) else {
            return Answer::new(self.gone_nodes.index_of(&asked), None);
        };
        let name = fold(&node.spec.node);
        let services = self.services_on(&name).map(|(_, s)| s.clone()).collect();
        let index = node.modify_index.max(self.indexes_of_node(&name).services);
        let node = node.clone();
        Answer::new(index, Some(NodeServices { node, services }))
    }

    pub(crate) fn checks_of_node(&self, node: &str) -> Answer<Vec<Arc<Check>>> {
        let node = fold(node);
        let index = match self.of_node.get(&*node) {
            Some(of_node) => of_node.checks,
            None => self.gone_nodes.index_of(&node),
        };
        let rows = self.checks_on(&node).map(|(_, check)| check.clone());
        Answer::new(index, rows.collect())
    }

    fn indexes_of_node(&self, node: &str) -> NodeIndexes {
        self.of_node.get(node).copied().unwrap_or_default()
    }

    // === services ===

    pub(crate) fn service_names(&self) -> Answer<ServiceNames> {
        Answer::new(self.indexes.names, ServiceNames(self.names.clone()))
    }

    pub(crate) fn all_instances(&self) -> Answer<Vec<Instance>> {
        let rows = self.instances.iter().map(|(key, s)| self.instance(key, s));
        Answer::new(self.indexes.instances, rows.collect())
    }

    pub(crate) fn service_instances(&self, name: &str) -> Answer<Vec<Instance>> {
        let name = fold(name);
        let Some(of_service) = self.of_service.get(&*name) else {
            return Answer::new(self.gone_services.index_of(&name), Vec::new());
        };
        let mut index = of_service.instances;
        let mut rows = Vec::new();
        for (key, service) in Self::under(&self.instances, &name) {
            let instance = self.instance(key, service);
            index = index.max(instance.node.modify_index);
            rows.push(instance);
        }
        Answer::new(index, rows)
    }

    pub(crate) fn service_health(&self, name: &str) -> Answer<Vec<InstanceHealth>> {
        let name = fold(name);
        let Some(of_service) = self.of_service.get(&*name) else {
            return Answer::new(self.gone_services.index_of(&name), Vec::new());
        };
        let mut index = of_service.instances.max(of_service.checks);
        let mut rows = Vec::new();
        for (key, service) in Self::under(&self.instances, &name) {
            let Instance { node, service } = self.instance(key, service);
            let (_, node_name, id) = key;
            let of_node = self.indexes_of_node(node_name);
            index = index.max(node.modify_index).max(of_node.node_checks);
            let of_the_node = Arc::default();
            let checks = self
                .checks_below(node_name, &of_the_node)
                .chain(self.checks_below(node_name, id))
                .map(|(_, check)| check.clone())
                .collect();
            rows.push(InstanceHealth {
                node,
                service,
                checks,
            });
        }
        Answer::new(index, rows)
    }

    /// The index of [`Catalog::service_health`], without its rows.
    pub(crate) fn service_health_index(&self, name: &str) -> Index {
        let name = fold(name);
        let Some(of_service) = self.of_service.get(&*name) else {
            return self.gone_services.index_of(&name);
        };
        let index = of_service.instances.max(of_service.checks);
        Self::under(&self.instances, &name).fold(index, |index, ((_, node, _), _)| {
            let of_node = self.indexes_of_node(node).node_checks;
            let row = self.nodes.get(&**node).map_or(0, |node| node.modify_index);
            index.max(of_node).max(row)
        })
    }

    pub(crate) fn service_checks(&self, name: &str) -> Answer<Vec<Arc<Check>>> {
        let name = fold(name);
        let Some(of_service) = self.of_service.get(&*name) else {
            return Answer::new(self.gone_services.index_of(&name), Vec::new());
        };
        let mut rows: Vec<(&Under, Arc<Check>)> = Vec::new();
        for (_, node, id) in Self::under(&self.instances, &name).map(|(key, _)| key) {
            rows.extend(
                self.checks_below(node, id)
                    .map(|(key, check)| (key, check.clone())),
            );
        }
        let mut index = of_service.checks;
        if rows.is_empty() {
            index = index.max(self.gone_services.watermark());
        }
        // By node and check, as the other lists of checks.
        rows.sort_by(|((node, _, id), _), ((other, _, other_id), _)| {
            (node, id).cmp(&(other, other_id))
        });
        Answer::new(index, rows.into_iter().map(|(_, check)| check).collect())
    }

    fn instance(&self, (_, node, _): &Under, service: &Arc<Service>) -> Instance {
        let node = self.nodes.get(&**node);
        Instance {
            node: node.expect("a service's node must be there").clone(),
            service: service.clone(),
        }
    }

    // === states ===

    pub(crate) fn health_state(&self, state: &str) -> Answer<Vec<Arc<Check>>> {
        let state = fold(state);
        if *state == *ANY_STATE {
            let rows = self.checks.values().cloned().collect();
            return Answer::new(self.indexes.checks, rows);
        }
        let rows = Self::under(&self.by_status, &state).map(|(_, check)| check.clone());
        let rows = rows.collect();
        let index = match (self.of_status.get(&*state), Status::parse(&state)) {
            (Some(index), _) => *index,
            (None, Status::Other(_)) => self.indexes.states_left,
            (None, Status::Passing | Status::Warning | Status::Critical) => 0,
        };
        Answer::new(index, rows)
    }
}
