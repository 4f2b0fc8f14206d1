//! Nodes, services and checks as `/v1/txn` (later `/v1/catalog`, `/v1/health`) shows them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::SortedMap;

/// A node.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)] // Consul's fields
pub struct Node<'a> {
    #[serde(rename = "ID")]
    pub id: &'a str,
    pub node: &'a str,
    pub address: &'a str,
    pub datacenter: &'a str,
    pub tagged_addresses: Option<&'a SortedMap>,
    pub meta: Option<&'a SortedMap>,
    pub create_index: u64,
    pub modify_index: u64,
}

/// A service instance.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)] // Consul's fields
pub struct Service<'a> {
    #[serde(rename = "ID")]
    pub id: &'a str,
    pub service: &'a str,
    pub tags: Option<&'a [Arc<str>]>,
    pub address: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tagged_addresses: Option<BTreeMap<&'a str, TaggedAddress<'a>>>,
    pub meta: Option<&'a SortedMap>,
    pub port: u16,
    pub weights: Weights,
    pub enable_tag_override: bool,
    /// Always the same: there is no mesh.
    pub proxy: Proxy,
    /// Always empty: there is no mesh.
    pub connect: Empty,
    pub peer_name: &'a str,
    pub create_index: u64,
    pub modify_index: u64,
}

/// An address with its port.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)] // Consul's fields
pub struct TaggedAddress<'a> {
    pub address: &'a str,
    pub port: u16,
}

/// DNS weights.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)] // Consul's fields
pub struct Weights {
    pub passing: u32,
    pub warning: u32,
}

/// What Consul shows of a service without sidecar.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)] // Consul's fields
pub struct Proxy {
    pub mode: &'static str,
    pub mesh_gateway: Empty,
    pub expose: Empty,
}

/// `{}`.
#[derive(Debug, Default, Serialize)]
pub struct Empty {}

/// A check.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)] // Consul's fields
pub struct Check<'a> {
    pub node: &'a str,
    #[serde(rename = "CheckID")]
    pub check_id: &'a str,
    pub name: &'a str,
    pub status: &'a str,
    pub notes: &'a str,
    pub output: &'a str,
    #[serde(rename = "ServiceID")]
    pub service_id: &'a str,
    pub service_name: &'a str,
    pub service_tags: Option<&'a [Arc<str>]>,
    pub r#type: &'a str,
    pub interval: &'a str,
    pub timeout: &'a str,
    pub exposed_port: u16,
    pub definition: Empty,
    pub create_index: u64,
    pub modify_index: u64,
}
