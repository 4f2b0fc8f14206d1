//! Whose a row is, plainly.

use std::sync::Arc;

use super::catalog::key;
use super::{Naive, low};

pub(super) fn writer(owner: &str) -> &str {
    if owner.is_empty() { "api" } else { owner }
}

/// A client's write leaves a row whose it is.
pub(super) fn after_write(owner: Option<&str>, by: &str) -> Arc<str> {
    match owner {
        Some(owner) if by == "api" => owner.into(),
        _ => by.into(),
    }
}

impl Naive {
    fn is_agent_of(&self, by: &str, node: &str) -> bool {
        let id = self.nodes.get(&low(node)).map(|node| low(&node.spec.id));
        id.is_some_and(|id| !id.is_empty() && low(by) == format!("agent:{id}"))
    }

    fn may_remove(&self, owner: &str, by: &str, node: &str) -> bool {
        by == "api" || by == owner || (owner.starts_with("agent:") && self.is_agent_of(by, node))
    }

    pub(super) fn may_write(
        &self,
        owner: &str,
        by: &str,
        node: &str,
        what: &str,
    ) -> Result<(), String> {
        if owner == "api" || self.may_remove(owner, by, node) {
            return Ok(());
        }
        Err(format!("{what} belongs to {owner}; {by} may not write it"))
    }

    // === removals: whether they were allowed ===

    pub(super) fn node_delete_by(&mut self, by: &str, node: &str) -> bool {
        let may = self.nodes.get(&low(node)).is_none_or(|row| {
            let of_an_agent = row.owner.starts_with("agent:");
            by == "api"
                || by == &*row.owner
                || self.is_agent_of(by, node)
                || (by == "gossip" && of_an_agent)
        });
        if may {
            self.node_delete(&low(node));
        }
        may
    }

    pub(super) fn service_delete_by(&mut self, by: &str, node: &str, id: &str) -> bool {
        let row = self.services.get(&key(node, id));
        let may = row.is_none_or(|row| self.may_remove(&row.owner, by, node));
        if may {
            self.service_delete(&low(node), &low(id));
        }
        may
    }

    pub(super) fn check_delete_by(&mut self, by: &str, node: &str, id: &str) -> bool {
        let row = self.checks.get(&key(node, id));
        let may = row.is_none_or(|row| self.may_remove(&row.owner, by, node));
        if may {
            self.check_delete(&low(node), &low(id));
        }
        may
    }
}
