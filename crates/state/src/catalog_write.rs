//! How nodes, services and checks are written. As Consul 1.20 does it, in its words.

use std::sync::Arc;

use crate::change::fold;
use crate::command::{CheckSpec, Deregister, NodeSpec, Register, ServiceSpec, Status};
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

    pub(crate) fn deregister(&mut self, deregister: &Deregister) {
        let Deregister {
            node,
            service_id,
            check_id,
        } = deregister;
        if !service_id.is_empty() {
            self.service_delete(node, service_id);
        } else if !check_id.is_empty() {
            self.check_delete(node, check_id);
        } else {
            self.node_delete(node);
        }
    }

    // === nodes ===

    pub(crate) fn node_set(&mut self, spec: &NodeSpec, owner: &str) -> Result<(), Refusal> {
        let name = fold(&spec.node);
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
                    existing = self.tables.catalog.nodes.get(&*known).cloned();
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
        let existing = existing.or_else(|| self.tables.catalog.nodes.get(&*name).cloned());
        if let Some(old) = &existing
            && !renamed
            && old.spec == *spec
            && old.owner == owner
        {
            return Ok(());
        }
        let node = Node {
            spec: spec.clone(),
            owner: owner.to_owned(),
            create_index: existing.map_or(self.index, |old| old.create_index),
            modify_index: self.index,
        };
        self.tables.catalog.insert_node(Arc::new(node));
        self.changes.nodes.push(name);
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
    pub(crate) fn node_delete(&mut self, name: &str) -> bool {
        let name = fold(name);
        if !self.tables.catalog.nodes.contains_key(&*name) {
            return false;
        }
        for id in self.tables.catalog.service_ids(&name) {
            self.service_delete(&name, &id);
        }
        let checks: Vec<Arc<str>> = self
            .tables
            .catalog
            .check_rows(&name)
            .map(|((_, id), _)| id.clone())
            .collect();
        for id in checks {
            self.check_delete(&name, &id);
        }
        self.sessions_end_with_node(&name);
        self.tables.catalog.remove_node(&name, self.index);
        self.changes.nodes.push(name);
        true
    }

    // === services ===

    pub(crate) fn service_set(
        &mut self,
        node: &str,
        spec: &ServiceSpec,
        owner: &str,
    ) -> Result<(), Refusal> {
        let Some(node_row) = self.tables.catalog.node_row(node) else {
            return Err(Refusal::MissingNode);
        };
        let node_name: Arc<str> = Arc::from(&*node_row.spec.node);
        let key = (fold(node), fold(&spec.id));
        let existing = self.tables.catalog.services.get(&key);
        if existing.is_some_and(|old| old.spec == *spec && old.owner == owner) {
            return Ok(());
        }
        let service = Service {
            node: node_name,
            spec: spec.clone(),
            owner: owner.to_owned(),
            create_index: existing.map_or(self.index, |old| old.create_index),
            modify_index: self.index,
        };
        let renamed_from = existing
            .filter(|old| old.spec.service != spec.service)
            .map(|old| Arc::from(&*old.spec.service));
        for name in renamed_from.into_iter().chain([Arc::from(&*spec.service)]) {
            self.changes.services.push((key.0.clone(), name));
        }
        self.tables.catalog.services.insert(key, Arc::new(service));
        Ok(())
    }

    /// Takes a service and its checks off the roll. Returns whether it was there.
    pub(crate) fn service_delete(&mut self, node: &str, id: &str) -> bool {
        let key = (fold(node), fold(id));
        let Some(service) = self.tables.catalog.services.remove(&key) else {
            return false;
        };
        let checks: Vec<Arc<str>> = self
            .tables
            .catalog
            .check_rows(&key.0)
            .filter(|(_, check)| check.spec.service_id.eq_ignore_ascii_case(id))
            .map(|((_, check), _)| check.clone())
            .collect();
        for check in checks {
            self.check_delete(&key.0, &check);
        }
        self.tables.catalog.removed = self.index;
        self.changes
            .services
            .push((key.0, Arc::from(&*service.spec.service)));
        true
    }

    // === checks ===

    pub(crate) fn check_set(&mut self, spec: &CheckSpec, owner: &str) -> Result<(), Refusal> {
        if self.tables.catalog.node_row(&spec.node).is_none() {
            return Err(Refusal::MissingNode);
        }
        let (service_name, service_tags) = if spec.service_id.is_empty() {
            (String::new(), None)
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
        let key = (fold(&spec.node), fold(&spec.check_id));
        let existing = self.tables.catalog.checks.get(&key).cloned();
        if spec.status == Status::Critical {
            self.sessions_end_with_check(&key.0, &key.1);
        }
        if existing.as_ref().is_some_and(|old| {
            old.spec == *spec
                && old.owner == owner
                && old.service_name == service_name
                && old.service_tags == service_tags
        }) {
            return Ok(());
        }
        let check = Check {
            spec: spec.clone(),
            service_name,
            service_tags,
            owner: owner.to_owned(),
            create_index: existing.map_or(self.index, |old| old.create_index),
            modify_index: self.index,
        };
        self.changes.checks.push(key.clone());
        self.tables.catalog.insert_check(key, Arc::new(check));
        Ok(())
    }

    /// Takes a check off the roll; sessions that name it end. Returns whether it was there.
    pub(crate) fn check_delete(&mut self, node: &str, id: &str) -> bool {
        let key = (fold(node), fold(id));
        if self.tables.catalog.checks.remove(&key).is_none() {
            return false;
        }
        self.tables.catalog.raise_checks(&key.0, self.index);
        self.tables.catalog.removed = self.index;
        self.sessions_end_with_check(&key.0, &key.1);
        self.changes.checks.push(key);
        true
    }
}

fn in_step(step: &str, refusal: Refusal) -> Refusal {
    Refusal::Other(format!("{step}: {refusal}"))
}
