//! Nodes, services and checks, plainly.

use std::sync::Arc;

use rollcall_state::command::{CheckSpec, Deregister, NodeSpec, Register, ServiceSpec, Status};

use super::{Naive, OfService, low};

impl Naive {
    pub(super) fn node_set(&mut self, spec: &NodeSpec) {
        let old = self.nodes.get(&low(&spec.node));
        if old.is_some_and(|(s, ..)| s == spec) {
            return;
        }
        let create = old.map_or(self.index, |(_, create, _)| *create);
        if old.is_none() {
            self.check_events.push((low(&spec.node), self.index));
        }
        self.nodes_changed = self.index;
        self.nodes
            .insert(low(&spec.node), (spec.clone(), create, self.index));
    }

    pub(super) fn service_set(&mut self, node: &str, spec: &ServiceSpec) -> Result<(), String> {
        if !self.nodes.contains_key(&low(node)) {
            return Err("Missing node registration".into());
        }
        let key = (low(node), low(&spec.id));
        let old = self.services.get(&key);
        if old.is_none_or(|(s, ..)| s != spec) {
            let create = old.map_or(self.index, |(_, create, _)| *create);
            self.services
                .insert(key.clone(), (spec.clone(), create, self.index));
            self.checks_follow(&key, spec);
        }
        Ok(())
    }

    /// Checks show their service's name and tags.
    fn checks_follow(&mut self, (node, id): &(String, String), spec: &ServiceSpec) {
        let shown = (spec.service.clone(), spec.tags.clone());
        for ((on, _), ((check, of), _, modify)) in &mut self.checks {
            if on == node && low(&check.service_id) == *id && *of != shown {
                *of = shown.clone();
                *modify = self.index;
                self.check_events.push((node.clone(), self.index));
            }
        }
    }

    pub(super) fn check_set(&mut self, spec: &CheckSpec) -> Result<(), String> {
        let node = low(&spec.node);
        if !self.nodes.contains_key(&node) {
            return Err("Missing node registration".into());
        }
        let service = match self.services.get(&(node.clone(), low(&spec.service_id))) {
            Some((service, ..)) if !spec.service_id.is_empty() => {
                (service.service.clone(), service.tags.clone())
            }
            None if !spec.service_id.is_empty() => {
                return Err("Missing service registration".into());
            }
            _ => (Arc::default(), None),
        };
        let key = (node.clone(), low(&spec.check_id));
        if spec.status == Status::Critical {
            self.end_sessions_of_check(&key.0, &key.1);
        }
        let old = self.checks.get(&key);
        if old.is_none_or(|((s, name), ..)| s != spec || *name != service) {
            let create = old.map_or(self.index, |(_, create, _)| *create);
            self.check_events.push((node, self.index));
            self.checks
                .insert(key, ((spec.clone(), service), create, self.index));
        }
        Ok(())
    }

    pub(crate) fn register(&mut self, register: &Register) -> Result<(), String> {
        let before = self.clone();
        let result = self.try_register(register);
        if result.is_err() {
            *self = before;
        }
        result
    }

    pub(super) fn try_register(&mut self, register: &Register) -> Result<(), String> {
        let node = &register.node.node;
        self.node_set(&register.node);
        if let Some(service) = &register.service {
            self.service_set(node, service)
                .map_err(|e| format!("failed inserting service: {e}"))?;
        }
        for check in &register.checks {
            self.check_set(check)
                .map_err(|e| format!("failed inserting check on node \"{}\": {e}", check.node))?;
        }
        Ok(())
    }

    pub(crate) fn deregister(&mut self, deregister: &Deregister) {
        let node = low(&deregister.node);
        if !deregister.service_id.is_empty() {
            self.service_delete(&node, &low(&deregister.service_id));
        } else if !deregister.check_id.is_empty() {
            self.check_delete(&node, &low(&deregister.check_id));
        } else {
            self.node_delete(&node);
        }
    }

    pub(super) fn check_delete(&mut self, node: &str, id: &str) {
        if self
            .checks
            .remove(&(node.to_owned(), id.to_owned()))
            .is_some()
        {
            self.check_events.push((node.to_owned(), self.index));
            self.removed = self.index;
            self.end_sessions_of_check(node, id);
        }
    }

    pub(super) fn service_delete(&mut self, node: &str, id: &str) {
        if self
            .services
            .remove(&(node.to_owned(), id.to_owned()))
            .is_some()
        {
            self.removed = self.index;
            let of_service = |(spec, _): &(CheckSpec, OfService)| low(&spec.service_id) == id;
            for check in self.checks_where(node, of_service) {
                self.check_delete(node, &check);
            }
        }
    }

    pub(super) fn checks_where(
        &self,
        node: &str,
        of: impl Fn(&(CheckSpec, OfService)) -> bool,
    ) -> Vec<String> {
        let rows = self
            .checks
            .iter()
            .filter(|((n, _), (row, ..))| n == node && of(row));
        rows.map(|((_, id), _)| id.clone()).collect()
    }

    pub(super) fn node_delete(&mut self, node: &str) {
        if !self.nodes.contains_key(node) {
            return;
        }
        let services: Vec<String> = self
            .services
            .keys()
            .filter(|(n, _)| n == node)
            .map(|(_, id)| id.clone())
            .collect();
        services.iter().for_each(|id| self.service_delete(node, id));
        for check in self.checks_where(node, |_| true) {
            self.check_delete(node, &check);
        }
        self.end_sessions(|s| low(&s.node) == node);
        self.nodes.remove(node);
        self.gone_nodes.removals.push((node.to_owned(), self.index));
        self.nodes_changed = self.index;
        self.removed = self.index;
    }

    pub(crate) fn checks_of_node_index(&self, node: &str) -> u64 {
        if !self.nodes.contains_key(&low(node)) {
            return self.gone_nodes.index(&low(node));
        }
        self.check_events
            .iter()
            .filter(|(n, _)| *n == low(node))
            .map(|(_, at)| *at)
            .max()
            .unwrap_or(1)
    }
}
