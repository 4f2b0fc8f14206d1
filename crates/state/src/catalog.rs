//! The tables of nodes, services and checks.
//!
//! Keys are folded names: Consul ignores their case. How rows may be written is in `catalog_write`. The catalog issue adds the
//! tables by service name and their indexes beside these; what is here already keeps apart what the topics keep apart.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

use crate::change::fold;
use crate::command::CheckSpec;
use crate::row::{Check, Node, Service};
use crate::{Answer, Index};

/// Node and id, both folded.
pub(crate) type NodeAndId = (Arc<str>, Arc<str>);

/// Nodes, services and checks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalog {
    pub(crate) nodes: OrdMap<Arc<str>, Arc<Node>>,
    /// Folded id to folded name, for nodes that have an id.
    pub(crate) names_by_id: OrdMap<Arc<str>, Arc<str>>,
    pub(crate) services: OrdMap<NodeAndId, Arc<Service>>,
    pub(crate) checks: OrdMap<NodeAndId, Arc<Check>>,
    /// By folded node: of the last change of its checks. Only nodes that exist.
    pub(crate) checks_changed: OrdMap<Arc<str>, Index>,
    /// Of the last change of any node's row.
    pub(crate) nodes_changed: Index,
    /// Of the last removal of a node, service or check: the index of everything that is not there.
    pub(crate) removed: Index,
}

impl Catalog {
    pub(crate) fn node_row(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.get(&*fold(name))
    }

    pub(crate) fn service_row(&self, node: &str, id: &str) -> Option<&Arc<Service>> {
        self.services.get(&(fold(node), fold(id)))
    }

    pub(crate) fn check_row(&self, node: &str, id: &str) -> Option<&Arc<Check>> {
        self.checks.get(&(fold(node), fold(id)))
    }

    /// Ids (folded) of the services of a folded node.
    pub(crate) fn service_ids(&self, node: &Arc<str>) -> Vec<Arc<str>> {
        rows_of_node(&self.services, node)
            .map(|((_, id), _)| id.clone())
            .collect()
    }

    /// Checks of a folded node.
    pub(crate) fn check_rows<'a>(
        &'a self,
        node: &'a Arc<str>,
    ) -> impl Iterator<Item = (&'a NodeAndId, &'a Arc<Check>)> + 'a {
        rows_of_node(&self.checks, node)
    }

    pub(crate) fn insert_node(&mut self, node: Arc<Node>) {
        let name = fold(&node.spec.node);
        self.nodes_changed = self.nodes_changed.max(node.modify_index);
        if !self.checks_changed.contains_key(&*name) {
            self.checks_changed.insert(name.clone(), node.create_index);
        }
        if let Some(old) = self.nodes.get(&*name)
            && old.spec.id != node.spec.id
        {
            self.names_by_id.remove(&*fold(&old.spec.id));
        }
        if !node.spec.id.is_empty() {
            self.names_by_id.insert(fold(&node.spec.id), name.clone());
        }
        self.nodes.insert(name, node);
    }

    /// Takes a node's row out; its services and checks are gone before.
    pub(crate) fn remove_node(&mut self, name: &str, index: Index) -> Option<Arc<Node>> {
        let node = self.nodes.remove(name)?;
        if self
            .names_by_id
            .get(&*fold(&node.spec.id))
            .is_some_and(|n| &**n == name)
        {
            self.names_by_id.remove(&*fold(&node.spec.id));
        }
        self.checks_changed.remove(name);
        self.nodes_changed = index;
        self.removed = index;
        Some(node)
    }

    pub(crate) fn insert_service(&mut self, service: Arc<Service>) {
        self.services
            .insert((fold(&service.node), fold(&service.spec.id)), service);
    }

    pub(crate) fn insert_check(&mut self, key: NodeAndId, check: Arc<Check>) {
        self.raise_checks(&key.0, check.modify_index);
        self.checks.insert(key, check);
    }

    pub(crate) fn raise_checks(&mut self, node: &Arc<str>, index: Index) {
        let changed = self.checks_changed.entry(node.clone()).or_insert(index);
        *changed = index.max(*changed);
    }

    // === queries ===

    pub(crate) fn node(&self, name: &str) -> Answer<Option<Arc<Node>>> {
        let row = self.node_row(name).cloned();
        Answer::new(row.as_ref().map_or(self.removed, |n| n.modify_index), row)
    }

    pub(crate) fn node_by_id(&self, id: &str) -> Option<Arc<Node>> {
        let name = self.names_by_id.get(&*fold(id))?;
        self.nodes.get(name).cloned()
    }

    pub(crate) fn list(&self) -> Answer<Vec<Arc<Node>>> {
        Answer::new(self.nodes_changed, self.nodes.values().cloned().collect())
    }

    pub(crate) fn service(&self, node: &str, id: &str) -> Answer<Option<Arc<Service>>> {
        let row = self.service_row(node, id).cloned();
        Answer::new(row.as_ref().map_or(self.removed, |s| s.modify_index), row)
    }

    pub(crate) fn check(&self, node: &str, id: &str) -> Answer<Option<Arc<Check>>> {
        let row = self.check_row(node, id).cloned();
        Answer::new(row.as_ref().map_or(self.removed, |c| c.modify_index), row)
    }

    pub(crate) fn checks_of_node(&self, node: &str) -> Answer<Vec<Arc<Check>>> {
        let node = fold(node);
        let index = self.checks_changed.get(&*node).copied();
        let rows = self
            .check_rows(&node)
            .map(|(_, check)| check.clone())
            .collect();
        Answer::new(index.unwrap_or(self.removed), rows)
    }
}

/// Under which a check is stored.
pub(crate) fn check_key(spec: &CheckSpec) -> NodeAndId {
    (fold(&spec.node), fold(&spec.check_id))
}

fn rows_of_node<'a, T>(
    table: &'a OrdMap<NodeAndId, T>,
    node: &'a Arc<str>,
) -> impl Iterator<Item = (&'a NodeAndId, &'a T)> + 'a {
    let first = (node.clone(), Arc::from(""));
    table
        .range((Bound::Included(first), Bound::Unbounded))
        .take_while(move |((of, _), _)| of == node)
}
