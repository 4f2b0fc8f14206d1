//! Nodes, services, instances and checks as `/v1/catalog`, `/v1/health` and `/v1/agent` show them, owned.
//!
//! Servers write these from borrowed rows; here they are read, so every field may be missing or `null`, and what a later server
//! adds is passed over. What belongs to Consul's mesh is kept as it came, so that printing an answer loses nothing of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// Id of the check that puts a node under maintenance.
pub const NODE_MAINTENANCE: &str = "_node_maintenance";

/// The id of the check that puts one service under maintenance begins so; the service's id follows.
pub const SERVICE_MAINTENANCE_PREFIX: &str = "_service_maintenance:";

/// A node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Node {
    /// A UUID; empty for nodes that no agent runs on.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its name.
    pub node: String,
    /// An IP address or a host name.
    pub address: String,
    /// Where it is.
    pub datacenter: String,
    /// Its other addresses: `lan`, `wan`, and so on.
    #[serde(deserialize_with = "or_default")]
    pub tagged_addresses: BTreeMap<String, String>,
    /// What its owner says about it.
    #[serde(deserialize_with = "or_default")]
    pub meta: BTreeMap<String, String>,
    /// State index of its registration.
    pub create_index: u64,
    /// State index of its last change.
    pub modify_index: u64,
}

/// A service instance, as it stands below a node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Service {
    /// `connect-proxy` and the like for Consul's mesh, else empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Unique on its node.
    #[serde(rename = "ID")]
    pub id: String,
    /// The service's name.
    pub service: String,
    /// In the order they were given.
    #[serde(deserialize_with = "or_default")]
    pub tags: Vec<String>,
    /// Empty: the node's.
    pub address: String,
    /// Its other addresses.
    #[serde(deserialize_with = "or_default")]
    pub tagged_addresses: BTreeMap<String, TaggedAddress>,
    /// What its owner says about it.
    #[serde(deserialize_with = "or_default")]
    pub meta: BTreeMap<String, String>,
    /// 0: none. Consul does not check it.
    pub port: i64,
    /// For DNS.
    pub weights: Weights,
    /// Whether tags set in the catalog stay.
    pub enable_tag_override: bool,
    /// Only Consul's mesh fills it.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub proxy: Value,
    /// Only Consul's mesh fills it.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub connect: Value,
    /// Only Consul's peering fills it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub peer_name: String,
    /// Where it is; an agent says so, a catalog does not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub datacenter: String,
    /// State index of its registration.
    pub create_index: u64,
    /// State index of its last change.
    pub modify_index: u64,
}

/// An address with its port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaggedAddress {
    /// An IP address or a host name.
    pub address: String,
    /// Consul does not check it.
    pub port: i64,
}

/// How often DNS gives an instance out, by its health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Weights {
    /// While its checks pass.
    pub passing: i64,
    /// While one of them warns.
    pub warning: i64,
}

impl Default for Weights {
    fn default() -> Weights {
        Weights {
            passing: 1,
            warning: 1,
        }
    }
}

/// An instance with its node: a row of `/v1/catalog/service/NAME`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CatalogService {
    /// The node's.
    #[serde(rename = "ID")]
    pub id: String,
    /// The node's name.
    pub node: String,
    /// The node's.
    pub address: String,
    /// Where the node is.
    pub datacenter: String,
    /// The node's.
    #[serde(deserialize_with = "or_default")]
    pub tagged_addresses: BTreeMap<String, String>,
    /// The node's.
    #[serde(deserialize_with = "or_default")]
    pub node_meta: BTreeMap<String, String>,
    /// The instance's.
    #[serde(rename = "ServiceID")]
    pub service_id: String,
    /// The service's.
    pub service_name: String,
    /// The instance's.
    #[serde(deserialize_with = "or_default")]
    pub service_tags: Vec<String>,
    /// The instance's; empty: the node's.
    pub service_address: String,
    /// The instance's.
    #[serde(deserialize_with = "or_default")]
    pub service_meta: BTreeMap<String, String>,
    /// The instance's.
    pub service_port: i64,
    /// The instance's.
    pub service_weights: Weights,
    /// The instance's.
    pub service_enable_tag_override: bool,
    /// State index of the instance's registration.
    pub create_index: u64,
    /// State index of the instance's last change.
    pub modify_index: u64,
}

impl CatalogService {
    /// The node it is on, as far as this row tells.
    pub fn into_node(self) -> Node {
        Node {
            id: self.id,
            node: self.node,
            address: self.address,
            datacenter: self.datacenter,
            tagged_addresses: self.tagged_addresses,
            meta: self.node_meta,
            create_index: self.create_index,
            modify_index: self.modify_index,
        }
    }
}

/// A node with all that is on it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeServices {
    /// The node.
    pub node: Option<Node>,
    /// Its instances, by id.
    #[serde(deserialize_with = "or_default")]
    pub services: Vec<Service>,
}

/// A check.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Check {
    /// The node's name.
    pub node: String,
    /// Unique on its node.
    #[serde(rename = "CheckID")]
    pub check_id: String,
    /// For people.
    pub name: String,
    /// `passing`, `warning`, `critical`; the catalog takes any word.
    pub status: String,
    /// For people; the reason of a maintenance.
    pub notes: String,
    /// What it said last.
    pub output: String,
    /// The instance it belongs to; empty: the node.
    #[serde(rename = "ServiceID")]
    pub service_id: String,
    /// The service it belongs to.
    pub service_name: String,
    /// The instance's.
    #[serde(deserialize_with = "or_default")]
    pub service_tags: Vec<String>,
    /// `http`, `ttl`, `maintenance` and so on; empty when no agent runs it.
    pub r#type: String,
    /// Time between two runs, as Go writes it.
    pub interval: String,
    /// Longest run, as Go writes it.
    pub timeout: String,
    /// Only Consul's mesh fills it.
    pub exposed_port: i64,
    /// As it came.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub definition: Value,
    /// State index of its registration; 0 from an agent.
    pub create_index: u64,
    /// State index of its last change; 0 from an agent.
    pub modify_index: u64,
}

impl Check {
    /// Whether it is there because somebody put the node or the instance under maintenance.
    pub fn is_maintenance(&self) -> bool {
        self.check_id == NODE_MAINTENANCE || self.check_id.starts_with(SERVICE_MAINTENANCE_PREFIX)
    }
}

/// An instance with its node and every check that counts for it: a row of `/v1/health/service/NAME`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceEntry {
    /// Where it is.
    pub node: Node,
    /// The instance.
    pub service: Service,
    /// The node's and its own.
    #[serde(deserialize_with = "or_default")]
    pub checks: Vec<Check>,
}

/// Go writes an empty list or map as `null` as often as not.
pub(crate) fn or_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
