//! How nodes, services and checks are written. As Consul 1.20 does it, in its words.

use std::sync::Arc;

use crate::catalog::NodeAndId;
use crate::change::{ANY_STATE, Topic, fold, fold_shared};
use crate::command::{CheckSpec, Deregister, NodeSpec, Register, ServiceSpec, Status};
use crate::owner;
use crate::quote::quote;
use crate::reply::Refusal;
use crate::row::{Check, Node, Service};
use crate::write::Write;

/// The check that gossip (until then: Raft contact) sets on a server's or agent's node.
const SERF_HEALTH: &str = "serfHealth";

impl Write<'_> {
    /// Writes a node, a service and checks. An error may leave a part done: the caller undoes it.
    pub(crate) fn register(&mut self, register: &Register) -> Result<(), Refusal> {
        let Register {
            node,
            service,
            checks,
            skip_node_update,
            owner,
        } = register;
        let owner = &owner::writer(owner);
        if !*skip_node_update || self.tables.catalog.node_row(&node.node).is_none() {
            self.node_set(node, owner)
                .map_err(|e| in_step("failed inserting node", e))?;
        }
        if let Some(service) = service {
            self.service_set(&node.node, service, owner)
                .map_err(|e| in_step("failed inserting service", e))?;
        }
        for check in checks {
            if !check.node.eq_ignore_ascii_case(&node.node) {
                return Err(Refusal::Other(format!(
                    "check node {} does not match node {}",
                    quote(&check.node),
                    quote(&node.node)
                )));
            }
            let step = format!("failed inserting check on node {}", quote(&check.node));
            self.check_set(check, owner)
                .map_err(|e| in_step(&step, e))?;
        }
        Ok(())
    }

    /// Returns `false` when the row is not the writer's to remove. What is not there is removed.
    pub(crate) fn deregister(&mut self, deregister: &Deregister) -> bool {
        let Deregister {
            node,
            service_id,
            check_id,
            owner,
        } = deregister;
        let owner = &owner::writer(owner);
        if !service_id.is_empty() {
            self.service_delete_by(owner, node, service_id)
        } else if !check_id.is_empty() {
            self.check_delete_by(owner, node, check_id)
        } else {
            self.node_delete_by(owner, node)
        }
    }

    // === removals, by whom they are allowed ===

    pub(crate) fn node_delete_by(&mut self, writer: &str, name: &str) -> bool {
        let row = self.tables.catalog.node_row(name);
        let may = row.is_none_or(|node| owner::may_remove_node(writer, node));
        if may {
            self.node_delete(name);
        }
        may
    }

    pub(crate) fn service_delete_by(&mut self, writer: &str, node: &str, id: &str) -> bool {
        let row = self.tables.catalog.service_row(node, id);
        let may = row.is_none_or(|row| self.may_remove(&row.owner, writer, node));
        if may {
            self.service_remove(&(fold(node), fold(id)));
        }
        may
    }

    pub(crate) fn check_delete_by(&mut self, writer: &str, node: &str, id: &str) -> bool {
        let row = self.tables.catalog.check_row(node, id);
        let may = row.is_none_or(|row| self.may_remove(&row.owner, writer, node));
        if may {
            self.check_remove(&(fold(node), fold(id)));
        }
        may
    }

    fn may_remove(&self, owner: &str, writer: &str, node: &str) -> bool {
        let node = self.tables.catalog.node_row(node);
        node.is_none_or(|node| owner::may_remove(owner, writer, node))
    }

    /// Refuses an automatic writer's write to another one's row.
    fn may_write(
        &self,
        owner: &str,
        writer: &str,
        node: &str,
        what: impl FnOnce() -> String,
    ) -> Result<(), Refusal> {
        let node = self.tables.catalog.node_row(node);
        if node.is_none_or(|node| owner::may_write(owner, writer, node)) {
            return Ok(());
        }
        Err(Refusal::Other(format!(
            "{} belongs to {owner}; {writer} may not write it",
            what()
        )))
    }

    // === nodes ===

    pub(crate) fn node_set(&mut self, spec: &NodeSpec, owner: &Arc<str>) -> Result<(), Refusal> {
        let name = fold_shared(&spec.node);
        let mut existing = None;
        if !spec.id.is_empty() {
            let known = self
                .tables
                .catalog
                .names_by_id
                .get(&*fold(&spec.id))
                .cloned();
            match known {
                Some(known) if known == name => {}
                Some(known) => {
                    self.name_is_free(spec, false).map_err(|why| {
                        Refusal::Other(format!(
                            "Error while renaming Node ID: {} ({}): {why}",
                            quote(&spec.id),
                            spec.address
                        ))
                    })?;
                    // A rename: the old name goes with everything on it; the row keeps its CreateIndex.
                    existing = self.tables.catalog.node_row(&known).cloned();
                    self.node_delete(&known);
                }
                None => self.name_is_free(spec, true).map_err(|why| {
                    Refusal::Other(format!(
                        "Error while renaming Node ID: {}: {why}",
                        quote(&spec.id)
                    ))
                })?,
            }
        }
        let renamed = existing.is_some();
        let existing = existing.or_else(|| self.tables.catalog.node_row(&name).cloned());
        if let Some(old) = &existing
            && !renamed
            && old.spec == *spec
        {
            // Who wrote the same thing last is no news: gossip and agent both write a node.
            return Ok(());
        }
        // Of the row whose place it takes: in a rename that is another node's, whose id is gone with it.
        let replaced = self.tables.catalog.node_row(&name);
        let old_id = replaced.map(|old| fold_shared(&old.spec.id));
        let node = Node {
            spec: spec.clone(),
            owner: owner::after_write(existing.as_ref().map(|old| &old.owner), owner),
            create_index: existing.map_or(self.index, |old| old.create_index),
            modify_index: self.index,
        };
        self.tables.catalog.put_node(node, self.index);
        self.touch(Topic::Nodes);
        self.touch_node(&name);
        if let Some(old_id) = old_id.filter(|id| !id.is_empty()) {
            self.touch(Topic::Node(old_id));
        }
        let carried = self.tables.catalog.service_names_on(&name);
        if !carried.is_empty() {
            self.touch(Topic::Instances);
        }
        for service in carried {
            self.touch(Topic::Service(service.clone()));
            self.touch(Topic::ServiceHealth(service));
        }
        Ok(())
    }

    /// Another node's name may be taken only when that node looks dead (or, with `or_without_id`, has no id).
    fn name_is_free(&self, spec: &NodeSpec, or_without_id: bool) -> Result<(), String> {
        let Some(other) = self.tables.catalog.node_row(&spec.node) else {
            return Ok(());
        };
        if other.spec.id.eq_ignore_ascii_case(&spec.id)
            || (or_without_id && other.spec.id.is_empty())
        {
            return Ok(());
        }
        let alive = self
            .tables
            .catalog
            .check_row(&other.spec.node, SERF_HEALTH)
            .is_some_and(|check| check.spec.status != Status::Critical);
        if !alive {
            return Ok(());
        }
        Err(format!(
            "Node name {} is reserved by node {} with name {} ({})",
            spec.node, other.spec.id, other.spec.node, other.spec.address
        ))
    }

    /// Takes a node off the roll, with its services, checks and sessions. Returns whether it was there.
    fn node_delete(&mut self, name: &str) -> bool {
        let name = fold(name);
        if !self.tables.catalog.nodes.contains_key(&*name) {
            return false;
        }
        // Services first: the node's own checks then belong to no service's answer any more.
        let services: Vec<NodeAndId> = keys(self.tables.catalog.services_on(&name));
        for key in services {
            self.service_remove(&key);
        }
        let checks: Vec<NodeAndId> = keys(self.tables.catalog.checks_on(&name));
        for key in checks {
            self.check_remove(&key);
        }
        self.sessions_end_with_node(&name);
        self.touch(Topic::Nodes);
        self.touch_node(&name);
        self.tables.catalog.remove_node(&name, self.index);
        true
    }

    // === services ===

    pub(crate) fn service_set(
        &mut self,
        node: &str,
        spec: &ServiceSpec,
        owner: &Arc<str>,
    ) -> Result<(), Refusal> {
        let Some(node_row) = self.tables.catalog.node_row(node) else {
            return Err(Refusal::MissingNode);
        };
        let node_name = node_row.spec.node.clone();
        let key = (fold(node), fold_shared(&spec.id));
        let old = self.tables.catalog.services.get(&key).cloned();
        if let Some(old) = &old {
            let what = || format!("service {} on node {}", quote(&spec.id), quote(node));
            self.may_write(&old.owner, owner, node, what)?;
        }
        let owner = owner::after_write(old.as_ref().map(|old| &old.owner), owner);
        if let Some(old) = &old
            && old.spec == *spec
            && old.owner == owner
        {
            return Ok(());
        }
        let service = Service {
            node: node_name,
            spec: spec.clone(),
            owner,
            create_index: old.as_ref().map_or(self.index, |old| old.create_index),
            modify_index: self.index,
        };
        self.tables.catalog.put_service(service, self.index);
        self.touch_service(&key.0, &spec.service);
        let Some(old) = old else {
            return Ok(());
        };
        if old.spec.service != spec.service {
            self.touch_service(&key.0, &old.spec.service);
        }
        if old.spec.service != spec.service || old.spec.tags != spec.tags {
            self.checks_follow(&key, spec);
        }
        Ok(())
    }

    /// Checks show the name and tags of their service.
    fn checks_follow(&mut self, (node, id): &NodeAndId, spec: &ServiceSpec) {
        for old in self.tables.catalog.checks_below(node, id) {
            let check = Check {
                service_name: spec.service.clone(),
                service_tags: spec.tags.clone(),
                modify_index: self.index,
                ..(*old).clone()
            };
            self.touch_checks(Some(&old), Some(&check));
            self.tables.catalog.put_check(check, self.index);
        }
    }

    /// Takes a service and its checks off the roll. Returns whether it was there.
    fn service_remove(&mut self, key: &NodeAndId) -> bool {
        if !self.tables.catalog.services.contains_key(key) {
            return false;
        }
        for check in self.tables.catalog.checks_below(&key.0, &key.1) {
            let id = fold_shared(&check.spec.check_id);
            self.check_remove(&(key.0.clone(), id));
        }
        if let Some(service) = self.tables.catalog.remove_service(key, self.index) {
            self.touch_service(&key.0, &service.spec.service);
        }
        true
    }

    // === checks ===

    pub(crate) fn check_set(&mut self, spec: &CheckSpec, owner: &Arc<str>) -> Result<(), Refusal> {
        if self.tables.catalog.node_row(&spec.node).is_none() {
            return Err(Refusal::MissingNode);
        }
        let (service_name, service_tags) = if spec.service_id.is_empty() {
            (Arc::default(), None)
        } else {
            match self
                .tables
                .catalog
                .service_row(&spec.node, &spec.service_id)
            {
                None => return Err(Refusal::MissingService),
                Some(service) => (service.spec.service.clone(), service.spec.tags.clone()),
            }
        };
        let key = (fold_shared(&spec.node), fold_shared(&spec.check_id));
        let old = self.tables.catalog.checks.get(&key).cloned();
        if let Some(old) = &old {
            let what = || {
                let id = quote(&spec.check_id);
                format!("check {id} on node {}", quote(&spec.node))
            };
            self.may_write(&old.owner, owner, &spec.node, what)?;
        }
        let owner = owner::after_write(old.as_ref().map(|old| &old.owner), owner);
        if spec.status == Status::Critical {
            self.sessions_end_with_check(&key.0, &key.1);
        }
        if let Some(old) = &old
            && old.spec == *spec
            && old.owner == owner
        {
            return Ok(());
        }
        let check = Check {
            spec: spec.clone(),
            service_name,
            service_tags,
            owner,
            create_index: old.as_ref().map_or(self.index, |old| old.create_index),
            modify_index: self.index,
        };
        self.touch_checks(old.as_deref(), Some(&check));
        self.tables.catalog.put_check(check, self.index);
        Ok(())
    }

    /// Takes a check off the roll; sessions that name it end. Returns whether it was there.
    fn check_remove(&mut self, key: &NodeAndId) -> bool {
        let Some(check) = self.tables.catalog.remove_check(key, self.index) else {
            return false;
        };
        self.touch_checks(Some(&check), None);
        self.sessions_end_with_check(&key.0, &key.1);
        true
    }

    // === topics ===

    fn touch(&mut self, topic: Topic) {
        self.changes.topics.push(topic);
    }

    /// A folded node whose row or services changed, by its name and by its id.
    fn touch_node(&mut self, name: &Arc<str>) {
        self.touch(Topic::Node(name.clone()));
        if let Some(node) = self.tables.catalog.node_row(name)
            && !node.spec.id.is_empty()
        {
            let id = fold_shared(&node.spec.id);
            self.touch(Topic::Node(id));
        }
    }

    /// An instance that was just written or removed.
    fn touch_service(&mut self, node: &Arc<str>, name: &Arc<str>) {
        let name = fold_shared(name);
        self.touch(Topic::Service(name.clone()));
        self.touch(Topic::ServiceHealth(name));
        self.touch(Topic::Instances);
        self.touch_node(node);
        if self.tables.catalog.indexes.names == self.index {
            self.touch(Topic::Services);
        }
    }

    /// A check as it was, as it is now, or both.
    fn touch_checks(&mut self, old: Option<&Check>, new: Option<&Check>) {
        let either: Vec<&Check> = old.into_iter().chain(new).collect();
        self.touch(Topic::health_state(ANY_STATE));
        for (i, check) in either.iter().enumerate() {
            self.touch(Topic::health_state(check.spec.status.as_str()));
            let (before, node) = (&either[..i], fold_shared(&check.spec.node));
            if before.is_empty() {
                self.touch(Topic::ChecksOfNode(node.clone()));
            }
            if !check.spec.service_id.is_empty() {
                let name = fold_shared(&check.service_name);
                self.touch(Topic::ServiceChecks(name.clone()));
                self.touch(Topic::ServiceHealth(name));
            } else if !before.iter().any(|b| b.spec.service_id.is_empty()) {
                for name in self.tables.catalog.service_names_on(&node) {
                    self.touch(Topic::ServiceHealth(name));
                }
            }
        }
    }
}

fn keys<'a, T: 'a>(rows: impl Iterator<Item = (&'a NodeAndId, T)>) -> Vec<NodeAndId> {
    rows.map(|(key, _)| key.clone()).collect()
}

fn in_step(step: &str, refusal: Refusal) -> Refusal {
    Refusal::Other(format!("{step}: {refusal}"))
}
