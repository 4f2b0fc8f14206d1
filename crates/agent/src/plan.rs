//! What the catalog needs to be like this node: a pure function of the two.
//!
//! Ownership binds it. Rows that somebody else owns are never touched; a row that a client wrote into the catalog itself
//! (`api`) under an id this node also has is taken over, and the log says so; a row of ours that this node no longer has goes;
//! all others stay. An output that changed alone waits its time.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::rows::NodeSpec;

use crate::local::Local;
use crate::rows::{API, Change, Key, Rows};

/// How much is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// What changed here since it was last written.
    Marked,
    /// Everything.
    Full,
}

/// Who writes.
#[derive(Debug, Clone)]
pub struct Writer {
    /// `agent:<node id>`.
    pub owner: String,
    /// The node's row, where this agent keeps it; servers keep theirs elsewhere.
    pub node: Option<NodeSpec>,
}

/// What to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order.
    pub changes: Vec<Change>,
    /// Rows of `api` that become ours.
    pub taken_over: Vec<Key>,
    /// Rows of others that stand in the way, with their owners. They stay.
    pub in_the_way: Vec<(Key, String)>,
    /// What turned out to be in the catalog already.
    pub in_sync: Vec<Key>,
}

/// Compares this node with the catalog.
pub fn plan(local: &Local, rows: &Rows, writer: &Writer, scope: Scope, now: Duration) -> Plan {
    let mut plan = Plan::default();
    if let Some(wanted) = &writer.node
        && (rows.node.as_ref()).is_none_or(|row| row.spec != *wanted || row.owner != writer.owner)
    {
        plan.changes.push(Change::SetNode(wanted.clone()));
    }
    let all: BTreeSet<Key>;
    let keys = match scope {
        Scope::Marked => local.unsynced(),
        Scope::Full => {
            all = everything(local, rows, &writer.owner);
            &all
        }
    };
    let mut deleted_services = Vec::new();
    let mut deleted_checks = Vec::new();
    for key in keys {
        match key {
            Key::Service(id) => service(local, rows, writer, id, &mut plan, &mut deleted_services),
            Key::Check(id) => check(local, rows, writer, id, now, &mut plan, &mut deleted_checks),
        }
    }
    // A service takes its checks with it, so the checks go first.
    plan.changes.extend(deleted_checks);
    plan.changes.extend(deleted_services);
    plan
}

/// Ids of this node, and ids of rows that are ours.
fn everything(local: &Local, rows: &Rows, owner: &str) -> BTreeSet<Key> {
    let services = local.services().keys().cloned();
    let checks = local.checks().keys().cloned();
    let own_services = rows.services.iter().filter(|(_, row)| row.owner == owner);
    let own_checks = rows.checks.iter().filter(|(_, row)| row.owner == owner);
    (services.map(Key::Service))
        .chain(checks.map(Key::Check))
        .chain(own_services.map(|(id, _)| Key::Service(id.clone())))
        .chain(own_checks.map(|(id, _)| Key::Check(id.clone())))
        .chain(local.unsynced().iter().cloned())
        .collect()
}

fn service(
    local: &Local,
    rows: &Rows,
    writer: &Writer,
    id: &str,
    plan: &mut Plan,
    deleted: &mut Vec<Change>,
) {
    let row = rows.services.get(id);
    let key = || Key::Service(id.to_owned());
    match (local.services().get(id), row) {
        (Some(service), Some(row)) => match standing(&row.owner, writer) {
            Standing::Foreign => plan.in_the_way.push((key(), row.owner.clone())),
            Standing::Own if row.spec == service.spec => plan.in_sync.push(key()),
            standing => {
                if standing == Standing::Free {
                    plan.taken_over.push(key());
                }
                plan.changes.push(Change::SetService(service.spec.clone()));
            }
        },
        (Some(service), None) => plan.changes.push(Change::SetService(service.spec.clone())),
        (None, Some(row)) if row.owner == writer.owner => {
            deleted.push(Change::DeleteService(id.to_owned()));
        }
        (None, _) => plan.in_sync.push(key()),
    }
}

fn check(
    local: &Local,
    rows: &Rows,
    writer: &Writer,
    id: &str,
    now: Duration,
    plan: &mut Plan,
    deleted: &mut Vec<Change>,
) {
    let key = || Key::Check(id.to_owned());
    let row = rows.checks.get(id);
    let Some(wanted) = local.check_spec(id) else {
        match row {
            Some(row) if row.owner == writer.owner => {
                deleted.push(Change::DeleteCheck(id.to_owned()));
            }
            _ => plan.in_sync.push(key()),
        }
        return;
    };
    // A check of a service that another writer holds under the same id has no place to hang on.
    let service = &wanted.service_id;
    if let Some(row) = rows.services.get(service)
        && standing(&row.owner, writer) == Standing::Foreign
    {
        plan.in_the_way.push((key(), row.owner.clone()));
        return;
    }
    let Some(row) = row else {
        plan.changes.push(Change::SetCheck(wanted));
        return;
    };
    match standing(&row.owner, writer) {
        Standing::Foreign => plan.in_the_way.push((key(), row.owner.clone())),
        Standing::Own if row.spec == wanted => plan.in_sync.push(key()),
        Standing::Own => {
            let mut but_for_output = wanted.clone();
            but_for_output.output.clone_from(&row.spec.output);
            let only_output = but_for_output == row.spec;
            if only_output && local.output_waits(id, &row.spec.output, now) {
                plan.in_sync.push(key());
            } else {
                plan.changes.push(Change::SetCheck(wanted));
            }
        }
        Standing::Free => {
            plan.taken_over.push(key());
            plan.changes.push(Change::SetCheck(wanted));
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Ours.
    Own,
    /// A client's: the agent is right about its own node.
    Free,
    /// Another automatic writer's.
    Foreign,
}

fn standing(owner: &str, writer: &Writer) -> Standing {
    if owner == writer.owner {
        Standing::Own
    } else if owner == API || owner.is_empty() {
        Standing::Free
    } else {
        Standing::Foreign
    }
}

#[cfg(test)]
mod tests;
