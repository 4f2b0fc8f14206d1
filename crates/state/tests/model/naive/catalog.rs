//! Nodes, services and checks, plainly.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rollcall_state::command::{CheckSpec, Deregister, NodeSpec, Register, ServiceSpec, Status};
use rollcall_state::row::{Check, Node, Service};

use super::owner::{after_write, writer};
use super::{Naive, low};

/// What a write of a row is an event of, for the indexes of lists. Names are folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Of {
    ServicesOn(String),
    ChecksOn(String),
    /// Checks of the node itself.
    OwnChecks(String),
    Instances(String),
    ServiceChecks(String),
    State(String),
}

pub(crate) fn key(node: &str, id: &str) -> (String, String) {
    (low(node), low(id))
}

impl Naive {
    fn event(&mut self, of: Of) {
        self.events.push((of, self.index));
    }

    // === nodes ===

    pub(crate) fn node_by_id(&self, id: &str) -> Option<&Node> {
        let mut nodes = self.nodes.values();
        nodes.find(|node| !id.is_empty() && low(&node.spec.id) == low(id))
    }

    /// A name is another node's while that one's own health check is there and not critical.
    fn name_is_free(&self, spec: &NodeSpec, or_without_id: bool) -> Result<(), String> {
        let Some(Node { spec: other, .. }) = self.nodes.get(&low(&spec.node)) else {
            return Ok(());
        };
        let same = low(&other.id) == low(&spec.id) || (or_without_id && other.id.is_empty());
        let health = self.checks.get(&key(&other.node, "serfHealth"));
        if same || health.is_none_or(|check| check.spec.status == Status::Critical) {
            return Ok(());
        }
        Err(format!(
            "Node name {} is reserved by node {} with name {} ({})",
            spec.node, other.id, other.node, other.address
        ))
    }

    pub(super) fn node_set(&mut self, spec: &NodeSpec, by: &str) -> Result<(), String> {
        let name = low(&spec.node);
        let mut renamed = None;
        if !spec.id.is_empty() {
            let error = format!("Error while renaming Node ID: \"{}\"", spec.id);
            match self.node_by_id(&spec.id).cloned() {
                Some(known) if low(&known.spec.node) == name => {}
                Some(known) => {
                    self.name_is_free(spec, false)
                        .map_err(|why| format!("{error} ({}): {why}", spec.address))?;
                    self.node_delete(&low(&known.spec.node));
                    renamed = Some(known);
                }
                None => self
                    .name_is_free(spec, true)
                    .map_err(|why| format!("{error}: {why}"))?,
            }
        }
        let there = self.nodes.get(&name).cloned();
        if renamed.is_none() && there.as_ref().is_some_and(|old| old.spec == *spec) {
            return Ok(());
        }
        match &there {
            None => self.event(Of::ChecksOn(name.clone())),
            Some(there) if low(&there.spec.id) != low(&spec.id) => {
                self.gone_nodes.remove(&low(&there.spec.id), self.index);
            }
            Some(_) => {}
        }
        let old = renamed.or(there);
        let node = Node {
            spec: spec.clone(),
            owner: after_write(old.as_ref().map(|old| &*old.owner), by),
            create_index: old.map_or(self.index, |old| old.create_index),
            modify_index: self.index,
        };
        self.nodes_changed = self.index;
        if self.services.keys().any(|(on, _)| *on == name) {
            self.instances_changed = self.index;
        }
        self.nodes.insert(name, node);
        Ok(())
    }

    pub(super) fn node_delete(&mut self, node: &str) {
        if !self.nodes.contains_key(node) {
            return;
        }
        let services = self.services.keys().filter(|(n, _)| n == node);
        let services: Vec<String> = services.map(|(_, id)| id.clone()).collect();
        for id in services {
            self.service_delete(node, &id);
        }
        for id in self.checks_where(node, |_| true) {
            self.check_delete(node, &id);
        }
        self.end_sessions(|s| low(&s.node) == node);
        if let Some(row) = self.nodes.remove(node) {
            self.gone_nodes.remove(node, self.index);
            self.gone_nodes.remove(&low(&row.spec.id), self.index);
        }
        self.nodes_changed = self.index;
        self.removed = self.index;
    }

    // === services ===

    /// Puts a row in or takes it out.
    fn put_service(&mut self, key: &(String, String), new: Option<Service>) {
        let names = self.names();
        let old = match new.clone() {
            Some(new) => self.services.insert(key.clone(), new),
            None => self.services.remove(key),
        };
        self.event(Of::ServicesOn(key.0.clone()));
        for row in old.iter().chain(&new) {
            let name = low(&row.spec.service);
            if self.instances_of(&name).is_empty() {
                self.gone_services.remove(&name, self.index);
            }
            self.event(Of::Instances(name));
        }
        self.instances_changed = self.index;
        if self.names() != names {
            self.names_changed = self.index;
        }
    }

    pub(super) fn service_set(
        &mut self,
        node: &str,
        spec: &ServiceSpec,
        by: &str,
    ) -> Result<(), String> {
        let Some(row) = self.nodes.get(&low(node)) else {
            return Err("Missing node registration".into());
        };
        let (on, key) = (row.spec.node.clone(), key(node, &spec.id));
        let old = self.services.get(&key).cloned();
        if let Some(old) = &old {
            let what = format!("service \"{}\" on node \"{node}\"", spec.id);
            self.may_write(&old.owner, by, node, &what)?;
        }
        let owner = after_write(old.as_ref().map(|old| &*old.owner), by);
        if old
            .as_ref()
            .is_some_and(|old| old.spec == *spec && old.owner == owner)
        {
            return Ok(());
        }
        let row = Service {
            node: on,
            spec: spec.clone(),
            owner,
            create_index: old.map_or(self.index, |old| old.create_index),
            modify_index: self.index,
        };
        self.put_service(&key, Some(row));
        self.checks_follow(&key, spec);
        Ok(())
    }

    /// Checks show their service's name and tags.
    fn checks_follow(&mut self, (node, id): &(String, String), spec: &ServiceSpec) {
        for check in self.checks_where(node, |check| low(&check.spec.service_id) == *id) {
            let key = (node.clone(), check);
            let mut row = self.checks[&key].clone();
            if row.service_name != spec.service || row.service_tags != spec.tags {
                row.service_name = spec.service.clone();
                row.service_tags = spec.tags.clone();
                row.modify_index = self.index;
                self.put_check(&key, Some(row));
            }
        }
    }

    pub(super) fn service_delete(&mut self, node: &str, id: &str) {
        let key = key(node, id);
        if self.services.contains_key(&key) {
            self.put_service(&key, None);
            self.removed = self.index;
            for check in self.checks_where(node, |check| low(&check.spec.service_id) == id) {
                self.check_delete(node, &check);
            }
        }
    }

    // === checks ===

    /// Puts a row in or takes it out.
    fn put_check(&mut self, key: &(String, String), new: Option<Check>) {
        let old = match new.clone() {
            Some(new) => self.checks.insert(key.clone(), new),
            None => self.checks.remove(key),
        };
        self.checks_changed = self.index;
        self.event(Of::ChecksOn(key.0.clone()));
        for row in old.iter().chain(&new) {
            let state = low(row.spec.status.as_str());
            if !MEANINGFUL.contains(&&*state) && self.checks_in(&state).is_empty() {
                self.states_left = self.index;
            }
            self.event(Of::State(state));
            self.event(match row.spec.service_id.is_empty() {
                true => Of::OwnChecks(key.0.clone()),
                false => Of::ServiceChecks(low(&row.service_name)),
            });
        }
    }

    pub(super) fn check_set(&mut self, spec: &CheckSpec, by: &str) -> Result<(), String> {
        let key = key(&spec.node, &spec.check_id);
        if !self.nodes.contains_key(&key.0) {
            return Err("Missing node registration".into());
        }
        let service = self.services.get(&(key.0.clone(), low(&spec.service_id)));
        let (service_name, service_tags) = match service {
            Some(row) if !spec.service_id.is_empty() => {
                (row.spec.service.clone(), row.spec.tags.clone())
            }
            None if !spec.service_id.is_empty() => {
                return Err("Missing service registration".into());
            }
            _ => (Arc::default(), None),
        };
        let old = self.checks.get(&key).cloned();
        if let Some(old) = &old {
            let what = format!("check \"{}\" on node \"{}\"", spec.check_id, spec.node);
            self.may_write(&old.owner, by, &spec.node, &what)?;
        }
        if spec.status == Status::Critical {
            self.end_sessions_of_check(&key.0, &key.1);
        }
        let owner = after_write(old.as_ref().map(|old| &*old.owner), by);
        let same = |old: &Check| old.spec == *spec && old.owner == owner;
        if !old.as_ref().is_some_and(same) {
            let row = Check {
                spec: spec.clone(),
                service_name,
                service_tags,
                owner,
                create_index: old.map_or(self.index, |old| old.create_index),
                modify_index: self.index,
            };
            self.put_check(&key, Some(row));
        }
        Ok(())
    }

    pub(super) fn check_delete(&mut self, node: &str, id: &str) {
        let key = key(node, id);
        if self.checks.contains_key(&key) {
            self.put_check(&key, None);
            self.removed = self.index;
            self.end_sessions_of_check(node, id);
        }
    }

    fn checks_where(&self, node: &str, of: impl Fn(&Check) -> bool) -> Vec<String> {
        let rows = self.checks.iter();
        rows.filter(|((n, _), row)| n == node && of(row))
            .map(|((_, id), _)| id.clone())
            .collect()
    }

    // === commands ===

    pub(crate) fn register(&mut self, register: &Register) -> Result<(), String> {
        let before = self.clone();
        let result = self.try_register(register);
        if result.is_err() {
            *self = before;
        }
        result
    }

    fn try_register(&mut self, register: &Register) -> Result<(), String> {
        let node = &register.node.node;
        let by = writer(&register.owner);
        if !register.skip_node_update || !self.nodes.contains_key(&low(node)) {
            self.node_set(&register.node, by)
                .map_err(|e| format!("failed inserting node: {e}"))?;
        }
        if let Some(service) = &register.service {
            self.service_set(node, service, by)
                .map_err(|e| format!("failed inserting service: {e}"))?;
        }
        for check in &register.checks {
            self.check_set(check, by)
                .map_err(|e| format!("failed inserting check on node \"{}\": {e}", check.node))?;
        }
        Ok(())
    }

    /// Whether the writer was allowed to.
    pub(crate) fn deregister(&mut self, deregister: &Deregister) -> bool {
        let by = writer(&deregister.owner);
        let node = &deregister.node;
        if !deregister.service_id.is_empty() {
            self.service_delete_by(by, node, &deregister.service_id)
        } else if !deregister.check_id.is_empty() {
            self.check_delete_by(by, node, &deregister.check_id)
        } else {
            self.node_delete_by(by, node)
        }
    }
}

/// States that are there even when no check is in them.
pub(crate) const MEANINGFUL: [&str; 3] = ["passing", "warning", "critical"];

/// Names as they are spelt: number of instances, and tags.
pub(crate) type Names = BTreeMap<String, (usize, BTreeSet<String>)>;

// === scans ===

impl Naive {
    /// Names with their tags, as far as answers show them: the number of instances is no part of that.
    fn names(&self) -> BTreeMap<String, BTreeSet<String>> {
        let names = self.names_counted().into_iter();
        names.map(|(name, (_, tags))| (name, tags)).collect()
    }

    pub(crate) fn names_counted(&self) -> Names {
        let mut names = Names::new();
        for row in self.services.values() {
            let of = names.entry(row.spec.service.to_string()).or_default();
            of.0 += 1;
            let tags = row.spec.tags.iter().flat_map(|tags| tags.iter());
            of.1.extend(tags.map(|tag| tag.to_string()));
        }
        names
    }

    /// Instances of a folded name, by node and id.
    pub(crate) fn instances_of(&self, name: &str) -> Vec<(&Node, &Service)> {
        let rows = self.services.iter();
        rows.filter(|(_, row)| low(&row.spec.service) == name)
            .map(|((node, _), row)| (&self.nodes[node], row))
            .collect()
    }

    /// Checks in a folded state, by node and id.
    pub(crate) fn checks_in(&self, state: &str) -> Vec<&Check> {
        let rows = self.checks.values();
        rows.filter(|row| state == "any" || low(row.spec.status.as_str()) == state)
            .collect()
    }

    // === expected indexes ===

    pub(crate) fn last(&self, of: &Of) -> u64 {
        let events = self.events.iter().filter(|(what, _)| what == of);
        events.map(|(_, at)| *at).max().unwrap_or(0)
    }

    pub(crate) fn checks_of_node_index(&self, node: &str) -> u64 {
        match self.nodes.contains_key(&low(node)) {
            true => self.last(&Of::ChecksOn(low(node))).max(1),
            false => self.gone_nodes.index(&low(node)),
        }
    }

    /// Of `catalog/service`, and with `health` of `health/service`.
    pub(crate) fn service_index(&self, name: &str, health: bool) -> u64 {
        let rows = self.instances_of(name);
        if rows.is_empty() {
            return self.gone_services.index(name);
        }
        let own = |node: &Node| self.last(&Of::OwnChecks(low(&node.spec.node)));
        let nodes = rows.iter().map(|(node, _)| match health {
            true => node.modify_index.max(own(node)),
            false => node.modify_index,
        });
        let checks = match health {
            true => self.last(&Of::ServiceChecks(name.to_owned())),
            false => 0,
        };
        let instances = self.last(&Of::Instances(name.to_owned()));
        nodes.max().unwrap_or(1).max(instances).max(checks)
    }

    /// Of `health/checks`.
    pub(crate) fn service_checks_index(&self, name: &str, exists: bool) -> u64 {
        if self.instances_of(name).is_empty() {
            return self.gone_services.index(name);
        }
        let last = self.last(&Of::ServiceChecks(name.to_owned()));
        match exists {
            true => last,
            // Until an instance has a check, the answer is the one from before the service came.
            false => last.max(self.gone_services.index_since(name)),
        }
    }

    pub(crate) fn state_index(&self, state: &str) -> u64 {
        let last = match state {
            "any" => self.checks_changed,
            made_up if !MEANINGFUL.contains(&made_up) && self.checks_in(made_up).is_empty() => {
                self.states_left
            }
            state => self.last(&Of::State(state.to_owned())),
        };
        last.max(1)
    }
}
