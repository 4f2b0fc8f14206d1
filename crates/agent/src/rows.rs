//! The catalog's rows of one node, as anti-entropy sees them, and changes of them.
//!
//! Own types, not those of the servers' tables: an agent knows servers by their HTTP API only, and what it compares is what it writes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::definition::Status;

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

/// A node as its agent writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeSpec {
    /// A UUID.
    pub id: String,
    /// Its name.
    pub node: String,
    /// IP address or name.
    pub address: String,
    /// By kind: `lan`, `wan`, …
    pub tagged_addresses: BTreeMap<String, String>,
    /// Key/value pairs.
    pub meta: BTreeMap<String, String>,
}

/// A service instance as its agent writes it. Serde's names are the format of files that live for ever.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// Unique on its node.
    pub id: String,
    /// Its name.
    pub service: String,
    /// In the order they were given.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Empty: the node's.
    #[serde(default)]
    pub address: String,
    /// By kind: `lan`, `wan_ipv4`, …
    #[serde(default)]
    pub tagged_addresses: BTreeMap<String, TaggedAddress>,
    /// Key/value pairs.
    #[serde(default)]
    pub meta: BTreeMap<String, String>,
    /// 0: none.
    #[serde(default)]
    pub port: u16,
    /// For SRV answers.
    #[serde(default)]
    pub weights: Weights,
    /// Whether the catalog's tags win over the agent's.
    #[serde(default)]
    pub enable_tag_override: bool,
}

/// An address with a port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaggedAddress {
    /// IP address or name.
    pub address: String,
    /// Port.
    #[serde(default)]
    pub port: u16,
}

/// DNS SRV weights, 0 to 65,535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weights {
    /// While passing.
    pub passing: u32,
    /// While warning.
    pub warning: u32,
}

impl Default for Weights {
    fn default() -> Self {
        Weights {
            passing: 1,
            warning: 1,
        }
    }
}

/// A check as its agent writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckSpec {
    /// Unique on its node.
    pub check_id: String,
    /// For people.
    pub name: String,
    /// Health. A row that somebody wrote with another word counts as critical; what the agent writes is one of the three.
    pub status: Status,
    /// For people.
    pub notes: String,
    /// Of the last run.
    pub output: String,
    /// The service it belongs to; empty: the node.
    pub service_id: String,
    /// `http`, `tcp`, …
    pub check_type: String,
    /// How often it runs, as Consul shows it.
    pub interval: String,
    /// How long one run may take, as Consul shows it.
    pub timeout: String,
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
