//! The tables of nodes, services and checks, and what is derived from their rows.
//!
//! Keys are folded names: Consul ignores their case. Each query has its index, so that none walks over rows it does not return (`catalog_read`);
//! the rules of writing are in `catalog_write`. This file keeps the tables in step: a row goes in and out through it,
//! when a command writes it and when a snapshot is loaded.
//!
//! Indexes are kept where a write knows them: by service name (its instances, their checks), by node (its services, its checks, the checks of
//! the node itself). What a service's answer owes to its nodes is added up when it is read, from the nodes it shows anyway, so that a
//! node check that flips costs one entry and not one a service.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

use crate::Index;
use crate::absent::Absent;
use crate::change::{fold, fold_shared};
use crate::command::Status;
use crate::row::{Check, Node, Service};

/// Node and id, both folded.
pub(crate) type NodeAndId = (Arc<str>, Arc<str>);

/// A name and a [`NodeAndId`].
pub(crate) type Under = (Arc<str>, Arc<str>, Arc<str>);

/// A node with what is read with it.
#[derive(Debug, Clone)]
pub(crate) struct NodeEntry {
    pub(crate) row: Arc<Node>,
    pub(crate) indexes: NodeIndexes,
    /// Checks of the node itself, by folded id: every instance on it shows them.
    pub(crate) own_checks: OrdMap<Arc<str>, Arc<Check>>,
}

/// An instance with what is read with it.
#[derive(Debug, Clone)]
pub(crate) struct InstanceEntry {
    pub(crate) row: Arc<Service>,
    /// Its checks, by folded id. They are few.
    pub(crate) checks: Arc<[Arc<Check>]>,
}

/// Of what a folded node carries.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct NodeIndexes {
    /// Last write or removal of one of its services.
    pub(crate) services: Index,
    /// Last write or removal of any check on it.
    pub(crate) checks: Index,
    /// Last write or removal of a check of the node itself.
    pub(crate) node_checks: Index,
}

/// Of a folded service name that has instances.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ServiceIndexes {
    /// Last write or removal of an instance.
    pub(crate) instances: Index,
    /// Last write or removal of an instance's check.
    pub(crate) checks: Index,
}

/// A service's name as it is spelt, with what `catalog/services` shows of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceName {
    instances: usize,
    /// Each with the number of its mentions.
    tags: OrdMap<Arc<str>, usize>,
}

impl ServiceName {
    /// Number of instances, on all nodes.
    pub fn instances(&self) -> usize {
        self.instances
    }

    /// Tags of all instances, each once, in order.
    pub fn tags(&self) -> impl ExactSizeIterator<Item = &Arc<str>> {
        self.tags.keys()
    }
}

/// Nodes, services and checks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalog {
    pub(crate) nodes: OrdMap<Arc<str>, NodeEntry>,
    /// Folded id to folded name, for nodes that have an id.
    pub(crate) names_by_id: OrdMap<Arc<str>, Arc<str>>,
    pub(crate) services: OrdMap<NodeAndId, Arc<Service>>,
    /// The same rows under the service's folded name.
    pub(crate) instances: OrdMap<Under, InstanceEntry>,
    /// Only folded names that have instances.
    pub(crate) of_service: OrdMap<Arc<str>, ServiceIndexes>,
    /// By the name as it is spelt.
    pub(crate) names: OrdMap<Arc<str>, ServiceName>,
    pub(crate) checks: OrdMap<NodeAndId, Arc<Check>>,
    /// The same rows: (folded status, node, check id).
    pub(crate) by_status: OrdMap<Under, Arc<Check>>,
    /// By folded status, of its last change: the three that mean something once they were seen, others while there are checks in them.
    pub(crate) of_status: OrdMap<Arc<str>, Index>,
    pub(crate) gone_nodes: Absent,
    pub(crate) gone_services: Absent,
    pub(crate) indexes: CatalogIndexes,
}

/// Of whole tables.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CatalogIndexes {
    /// Last change of any node's row.
    pub(crate) nodes: Index,
    /// Last change of the map of names to tags.
    pub(crate) names: Index,
    /// Last change of any instance or of the row of a node that has some.
    pub(crate) instances: Index,
    /// Last change of any check.
    pub(crate) checks: Index,
    /// Last removal of a node, service or check: the index of a single row that is not there.
    pub(crate) removed: Index,
    /// Last time that a made-up state lost its last check: the index of every made-up state.
    pub(crate) states_left: Index,
}

impl CatalogIndexes {
    /// Of the last change of anything.
    pub(crate) fn last(&self) -> Index {
        let CatalogIndexes {
            nodes,
            names,
            instances,
            checks,
            removed,
            states_left,
        } = *self;
        nodes
            .max(names)
            .max(instances)
            .max(checks)
            .max(removed)
            .max(states_left)
    }

    pub(crate) fn raise(&mut self, to: CatalogIndexes) {
        self.nodes = self.nodes.max(to.nodes);
        self.names = self.names.max(to.names);
        self.instances = self.instances.max(to.instances);
        self.checks = self.checks.max(to.checks);
        self.removed = self.removed.max(to.removed);
        self.states_left = self.states_left.max(to.states_left);
    }
}

impl Catalog {
    pub(crate) fn node_row(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.get(&*fold(name)).map(|entry| &entry.row)
    }

    pub(crate) fn service_row(&self, node: &str, id: &str) -> Option<&Arc<Service>> {
        self.services.get(&(fold(node), fold(id)))
    }

    pub(crate) fn check_row(&self, node: &str, id: &str) -> Option<&Arc<Check>> {
        self.checks.get(&(fold(node), fold(id)))
    }

    /// Services of a folded node.
    pub(crate) fn services_on<'a>(
        &'a self,
        node: &'a Arc<str>,
    ) -> impl Iterator<Item = (&'a NodeAndId, &'a Arc<Service>)> + 'a {
        rows_of_node(&self.services, node)
    }

    /// Checks of a folded node and of its services.
    pub(crate) fn checks_on<'a>(
        &'a self,
        node: &'a Arc<str>,
    ) -> impl Iterator<Item = (&'a NodeAndId, &'a Arc<Check>)> + 'a {
        rows_of_node(&self.checks, node)
    }

    /// Checks of a service of a node, or with "" of the node itself; both folded.
    pub(crate) fn checks_below(&self, node: &Arc<str>, service: &Arc<str>) -> Vec<Arc<Check>> {
        if service.is_empty() {
            let entry = self.nodes.get(&**node);
            return entry.map_or(Vec::new(), |e| e.own_checks.values().cloned().collect());
        }
        let entry = self.instance_entry(&(node.clone(), service.clone()));
        entry.map_or(Vec::new(), |e| e.checks.to_vec())
    }

    pub(crate) fn instance_key(&self, (node, id): &NodeAndId) -> Option<Under> {
        let service = self.services.get(&(node.clone(), id.clone()))?;
        let name = fold_shared(&service.spec.service);
        Some((name, node.clone(), id.clone()))
    }

    fn instance_entry(&self, key: &NodeAndId) -> Option<&InstanceEntry> {
        self.instances.get(&self.instance_key(key)?)
    }

    /// Rows under a folded name.
    pub(crate) fn under<'a, T>(
        table: &'a OrdMap<Under, T>,
        name: &'a Arc<str>,
    ) -> impl Iterator<Item = (&'a Under, &'a T)> + 'a {
        let first = (name.clone(), Arc::default(), Arc::default());
        table
            .range((Bound::Included(first), Bound::Unbounded))
            .take_while(move |((of, _, _), _)| of == name)
    }

    /// Folded names of the services on a folded node, each once.
    pub(crate) fn service_names_on(&self, node: &Arc<str>) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = self
            .services_on(node)
            .map(|(_, service)| fold_shared(&service.spec.service))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    // === nodes ===

    /// Puts a row in, new or in the place of another. `since`: of the answer about its checks until it has some, if the name is new.
    pub(crate) fn put_node(&mut self, node: Node, since: Index) {
        let node = Arc::new(node);
        let name = fold_shared(&node.spec.node);
        let id = fold_shared(&node.spec.id);
        let index = node.modify_index;
        self.indexes.nodes = self.indexes.nodes.max(index);
        if self.services_on(&name).next().is_some() {
            self.indexes.instances = self.indexes.instances.max(index);
        }
        self.gone_nodes.exhume(&name);
        if let Some(old) = self.nodes.get(&*name)
            && !old.row.spec.id.is_empty()
            && !old.row.spec.id.eq_ignore_ascii_case(&id)
        {
            let old_id = fold_shared(&old.row.spec.id);
            self.names_by_id.remove(&*old_id);
            self.gone_nodes.bury(old_id, index);
        }
        if !id.is_empty() {
            self.gone_nodes.exhume(&id);
            self.names_by_id.insert(id, name.clone());
        }
        match self.nodes.get_mut(&*name) {
            Some(entry) => entry.row = node,
            None => {
                let indexes = NodeIndexes {
                    checks: since,
                    ..NodeIndexes::default()
                };
                let entry = NodeEntry {
                    row: node,
                    indexes,
                    own_checks: OrdMap::new(),
                };
                self.nodes.insert(name, entry);
            }
        }
    }

    /// Takes a node's row out; its services and checks are gone before.
    pub(crate) fn remove_node(&mut self, name: &Arc<str>, index: Index) -> Option<Arc<Node>> {
        let node = self.nodes.remove(&**name)?.row;
        let id = fold_shared(&node.spec.id);
        if self.names_by_id.get(&*id).is_some_and(|n| n == name) {
            self.names_by_id.remove(&*id);
            self.gone_nodes.bury(id, index);
        }
        self.gone_nodes.bury(name.clone(), index);
        self.indexes.nodes = index;
        self.indexes.removed = index;
        Some(node)
    }

    // === services ===

    /// Puts a row in, new or in the place of another. `index`: of the write.
    pub(crate) fn put_service(&mut self, mut service: Service, index: Index) {
        let node = self.node_key(&service.node);
        let name = self.service_key(&service.spec.service);
        self.share_service(&mut service, &node, &name);
        let service = Arc::new(service);
        let key = (node, fold_shared(&service.spec.id));
        let old = self.services.insert(key.clone(), service.clone());
        let mut names_changed = self.name_mentions(&service, true);
        let mut checks = Arc::default();
        if let Some(old) = &old {
            names_changed |= self.name_mentions(old, false);
            let old_name = fold_shared(&old.spec.service);
            let old_key = (old_name.clone(), key.0.clone(), key.1.clone());
            if let Some(entry) = self.instances.get(&old_key) {
                checks = entry.checks.clone();
            }
            if old_name != name {
                self.forget_instance(&old_name, &key, index);
            }
        }
        let indexes = match self.of_service.get(&*name) {
            Some(indexes) => ServiceIndexes {
                instances: indexes.instances.max(index),
                ..*indexes
            },
            None => {
                // Until it has a check, the answer about its checks is the one that was there before, at the index it had.
                let checks = self.gone_services.index_of(&name);
                self.gone_services.exhume(&name);
                ServiceIndexes {
                    instances: index,
                    checks,
                }
            }
        };
        self.of_service.insert(name.clone(), indexes);
        let entry = InstanceEntry {
            row: service,
            checks,
        };
        self.instances.insert((name, key.0.clone(), key.1), entry);
        self.note_instance(&key.0, index, names_changed);
    }

    /// Takes a row out; its checks are gone before.
    pub(crate) fn remove_service(&mut self, key: &NodeAndId, index: Index) -> Option<Arc<Service>> {
        let service = self.services.remove(key)?;
        let names_changed = self.name_mentions(&service, false);
        self.forget_instance(&fold_shared(&service.spec.service), key, index);
        self.note_instance(&key.0, index, names_changed);
        self.indexes.removed = index;
        Some(service)
    }

    fn note_instance(&mut self, node: &str, index: Index, names_changed: bool) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.indexes.services = node.indexes.services.max(index);
        }
        self.indexes.instances = self.indexes.instances.max(index);
        if names_changed {
            self.indexes.names = self.indexes.names.max(index);
        }
    }

    fn forget_instance(&mut self, name: &Arc<str>, (node, id): &NodeAndId, index: Index) {
        self.instances
            .remove(&(name.clone(), node.clone(), id.clone()));
        if Self::under(&self.instances, name).next().is_none() {
            self.of_service.remove(&**name);
            self.gone_services.bury(name.clone(), index);
        } else if let Some(indexes) = self.of_service.get_mut(&**name) {
            indexes.instances = index;
        }
    }

    /// Counts a row in or out of the map of names to tags. Returns whether that added or took a name or a tag.
    fn name_mentions(&mut self, service: &Service, comes: bool) -> bool {
        let spelt = &service.spec.service;
        let tags = service.spec.tags.iter().flat_map(|tags| tags.iter());
        let mut changed = false;
        if comes {
            let name = self.names.entry(spelt.clone()).or_default();
            changed |= name.instances == 0;
            name.instances += 1;
            for tag in tags {
                let mentions = name.tags.entry(tag.clone()).or_default();
                changed |= *mentions == 0;
                *mentions += 1;
            }
        } else if let Some(name) = self.names.get_mut(&**spelt) {
            name.instances -= 1;
            if name.instances == 0 {
                self.names.remove(&**spelt);
                return true;
            }
            for tag in tags {
                if let Some(mentions) = name.tags.get_mut(&**tag) {
                    *mentions -= 1;
                    if *mentions == 0 {
                        name.tags.remove(&**tag);
                        changed = true;
                    }
                }
            }
        }
        changed
    }

    // === restores and collecting ===

    /// Lifts the indexes of lists and of what is absent: what was restored is another answer than what was there.
    pub(crate) fn lift(&mut self, to: Index) {
        self.indexes = CatalogIndexes {
            nodes: to,
            names: to,
            instances: to,
            checks: to,
            removed: to,
            states_left: to,
        };
        for status in [Status::Passing, Status::Warning, Status::Critical] {
            self.raise_status(self.status_key(&status), to);
        }
        let seen: Vec<Arc<str>> = self.of_status.keys().cloned().collect();
        for status in seen {
            self.raise_status(status, to);
        }
        self.gone_nodes.raise_watermark(to);
        self.gone_services.raise_watermark(to);
    }

    /// The tables of tombstones, in a fixed order.
    pub(crate) fn gone(&self) -> [&Absent; 2] {
        [&self.gone_nodes, &self.gone_services]
    }

    /// Drops tombstones, at most `max`.
    pub(crate) fn reap(&mut self, up_to: Index, max: usize) {
        let done = self.gone_nodes.reap(up_to, max);
        self.gone_services.reap(up_to, max - done);
    }
}

fn rows_of_node<'a, T>(
    table: &'a OrdMap<NodeAndId, T>,
    node: &'a Arc<str>,
) -> impl Iterator<Item = (&'a NodeAndId, &'a T)> + 'a {
    let first = (node.clone(), Arc::default());
    table
        .range((Bound::Included(first), Bound::Unbounded))
        .take_while(move |((of, _), _)| of == node)
}
