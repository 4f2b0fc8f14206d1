//! What the catalog answers: rows, shared, and the index of each answer. No JSON; tags, meta and filters are the edge's.
//!
//! Every answer is a range of a table whose order is the answer's. An answer's index is the largest of the indexes of what it shows and of
//! what was last taken from it. For a name that is not there it is its tombstone's, then the watermark.

use std::sync::Arc;

use imbl::OrdMap;

use crate::catalog::{Catalog, NodeEntry, ServiceName, Under};
use crate::change::{ANY_STATE, fold, fold_shared};
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
        self.nodes.get(name).map(|entry| entry.row.clone())
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
        let rows = self.nodes.values().map(|entry| entry.row.clone());
        Answer::new(self.indexes.nodes, rows.collect())
    }

    pub(crate) fn node_services(&self, name_or_id: &str) -> Answer<Option<NodeServices>> {
        let asked = fold(name_or_id);
        let by_id = || self.nodes.get(self.names_by_id.get(&*asked)?);
        let Some(NodeEntry { row, indexes, .. }) = self.nodes.get(&*asked).or_else(by_id) else {
            return Answer::new(self.gone_nodes.index_of(&asked), None);
        };
        let name = fold(&row.spec.node);
        let services = self.services_on(&name).map(|(_, s)| s.clone()).collect();
        let index = row.modify_index.max(indexes.services);
        let node = row.clone();
        Answer::new(index, Some(NodeServices { node, services }))
    }

    pub(crate) fn checks_of_node(&self, node: &str) -> Answer<Vec<Arc<Check>>> {
        let node = fold(node);
        let index = match self.nodes.get(&*node) {
            Some(entry) => entry.indexes.checks,
            None => self.gone_nodes.index_of(&node),
        };
        let rows = self.checks_on(&node).map(|(_, check)| check.clone());
        Answer::new(index, rows.collect())
    }

    // === services ===

    pub(crate) fn service_names(&self) -> Answer<ServiceNames> {
        Answer::new(self.indexes.names, ServiceNames(self.names.clone()))
    }

    pub(crate) fn all_instances(&self) -> Answer<Vec<Instance>> {
        let rows = self.instances.iter().map(|(key, entry)| Instance {
            node: self.node_of(key).row.clone(),
            service: entry.row.clone(),
        });
        Answer::new(self.indexes.instances, rows.collect())
    }

    pub(crate) fn service_instances(&self, name: &str) -> Answer<Vec<Instance>> {
        let name = fold(name);
        let Some(of_service) = self.of_service.get(&*name) else {
            return Answer::new(self.gone_services.index_of(&name), Vec::new());
        };
        let mut index = of_service.instances;
        let mut rows = Vec::new();
        for (key, entry) in Self::under(&self.instances, &name) {
            let node = self.node_of(key).row.clone();
            index = index.max(node.modify_index);
            let service = entry.row.clone();
            rows.push(Instance { node, service });
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
        for (key, entry) in Self::under(&self.instances, &name) {
            let of_node = self.node_of(key);
            let node = of_node.row.clone();
            index = index
                .max(node.modify_index)
                .max(of_node.indexes.node_checks);
            let service = entry.row.clone();
            let mut checks = Vec::with_capacity(of_node.own_checks.len() + entry.checks.len());
            checks.extend(of_node.own_checks.values().cloned());
            checks.extend_from_slice(&entry.checks);
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
        Self::under(&self.instances, &name).fold(index, |index, (key, _)| {
            let NodeEntry { row, indexes, .. } = self.node_of(key);
            index.max(row.modify_index).max(indexes.node_checks)
        })
    }

    pub(crate) fn service_checks(&self, name: &str) -> Answer<Vec<Arc<Check>>> {
        let name = fold(name);
        let Some(of_service) = self.of_service.get(&*name) else {
            return Answer::new(self.gone_services.index_of(&name), Vec::new());
        };
        let entries = Self::under(&self.instances, &name);
        let mut rows: Vec<(&Arc<str>, Arc<Check>)> = entries
            .flat_map(|((_, node, _), entry)| entry.checks.iter().map(move |c| (node, c.clone())))
            .collect();
        let mut index = of_service.checks;
        if rows.is_empty() {
            index = index.max(self.gone_services.watermark());
        }
        // By node and check, as the other lists of checks.
        rows.sort_by_cached_key(|(node, check)| {
            (Arc::clone(node), fold_shared(&check.spec.check_id))
        });
        Answer::new(index, rows.into_iter().map(|(_, check)| check).collect())
    }

    fn node_of(&self, (_, node, _): &Under) -> &NodeEntry {
        let node = self.nodes.get(&**node);
        node.expect("a service's node must be there")
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
