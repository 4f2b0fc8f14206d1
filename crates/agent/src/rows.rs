//! The catalog's rows of one node, as anti-entropy sees them, and changes of them.

use std::collections::BTreeMap;

use rollcall_state::command::{CheckSpec, NodeSpec, ServiceSpec};

/// Owner of rows that a client wrote into the catalog itself.
pub const API: &str = "api";

/// What a row is about. Services come before checks: a check needs its service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A service, by id.
    Service(String),
    /// A check, by id.
    Check(String),
}

/// A row and whose it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row<T> {
    /// What it says.
    pub spec: T,
    /// Who wrote it: `api`, `agent:<node id>`, …
    pub owner: String,
}

/// All rows of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// The node; `None`: it is not registered.
    pub node: Option<Row<NodeSpec>>,
    /// Services by id.
    pub services: BTreeMap<String, Row<ServiceSpec>>,
    /// Checks by id.
    pub checks: BTreeMap<String, Row<CheckSpec>>,
}

/// A change of the catalog. Each says the whole row, so doing it twice is doing it once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Registers the node.
    SetNode(NodeSpec),
    /// Registers a service.
    SetService(ServiceSpec),
    /// Registers a check.
    SetCheck(CheckSpec),
    /// Takes a check of ours away; one that is not ours, or not there, stays as it is.
    DeleteCheck(String),
    /// Takes a service of ours away; one that is not ours, or not there, stays as it is.
    DeleteService(String),
}

impl Rows {
    /// Follows a change that was written by `owner`.
    pub fn apply(&mut self, change: &Change, owner: &str) {
        let owner = || owner.to_owned();
        match change {
            Change::SetNode(spec) => {
                let (spec, owner) = (spec.clone(), owner());
                self.node = Some(Row { spec, owner });
            }
            Change::SetService(spec) => {
                let row = Row {
                    spec: spec.clone(),
                    owner: owner(),
                };
                self.services.insert(spec.id.clone(), row);
            }
            Change::SetCheck(spec) => {
                let row = Row {
                    spec: spec.clone(),
                    owner: owner(),
                };
                self.checks.insert(spec.check_id.clone(), row);
            }
            Change::DeleteCheck(id) => {
                self.checks.remove(id);
            }
            Change::DeleteService(id) => {
                self.services.remove(id);
                self.checks.retain(|_, row| row.spec.service_id != *id);
            }
        }
    }
}
