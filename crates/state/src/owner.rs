//! Whose a row is, and who may write or remove it.
//!
//! Owners bind the automatic writers (an agent's anti-entropy, the leader's gossip, the operator, a sidecar), so that each touches its own
//! rows only. They never bind an explicit call: `api` does what it says. But a row of an automatic writer stays that writer's when
//! `api` writes into it: the owner puts it right again, and still takes it away when it is done with it. Rejected: the
//! last writer owns; then an agent whose tags a client overrode could never remove its own service.
//!
//! A node has one agent at a time. Rows left behind by an agent that came back under another node id belong to the new one.

use std::sync::Arc;

use crate::row::Node;

/// The owner of what clients write.
pub const API: &str = "api";

/// The leader, for what gossip says.
pub const GOSSIP: &str = "gossip";

const AGENT: &str = "agent:";

/// The writer's name; an empty one is [`API`].
pub(crate) fn writer(owner: &Arc<str>) -> Arc<str> {
    if owner.is_empty() {
        Arc::from(API)
    } else {
        owner.clone()
    }
}

/// Who owns a row after `writer` wrote it. Ownership goes from `api` to an automatic writer, never back.
pub(crate) fn after_write(row: Option<&Arc<str>>, writer: &Arc<str>) -> Arc<str> {
    match row {
        Some(owner) if is_api(writer) && !is_api(owner) => owner.clone(),
        Some(_) | None => writer.clone(),
    }
}

/// Whether `writer` may write a service or a check of `node` that has this owner.
pub(crate) fn may_write(owner: &str, writer: &str, node: &Node) -> bool {
    is_api(owner) || may_remove(owner, writer, node)
}

/// Whether `writer` may take a service or a check of `node` that has this owner off the roll.
pub(crate) fn may_remove(owner: &str, writer: &str, node: &Node) -> bool {
    is_api(writer) || owner == writer || (owner.starts_with(AGENT) && is_agent_of(writer, node))
}

/// Whether `writer` may take this node off the roll: its owner, its own agent, and gossip what agents wrote.
pub(crate) fn may_remove_node(writer: &str, node: &Node) -> bool {
    is_api(writer)
        || *node.owner == *writer
        || is_agent_of(writer, node)
        || (writer == GOSSIP && node.owner.starts_with(AGENT))
}

fn is_api(owner: &str) -> bool {
    owner.is_empty() || owner == API
}

fn is_agent_of(writer: &str, node: &Node) -> bool {
    let id = writer.strip_prefix(AGENT);
    id.is_some_and(|id| !id.is_empty() && id.eq_ignore_ascii_case(&node.spec.id))
}
