//! Nodes, services and checks as answers show them, out of borrowed rows. The order of fields is Consul's, and so is what is
//! left out when empty.

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
    /// Ours, for those who ask: whose row it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<&'a str>,
}

/// A service instance on its node.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)] // Consul's fields
pub struct Service<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub kind: &'a str,
    #[serde(rename = "ID")]
    pub id: &'a str,
    pub service: &'a str,
    pub tags: Option<&'a [Arc<str>]>,
    pub address: &'a str,
    #[serde(skip_serializing_if = "TaggedAddresses::is_empty")]
    pub tagged_addresses: TaggedAddresses<'a>,
    pub meta: Option<&'a SortedMap>,
    #[serde(skip_serializing_if = "is_zero")]
    pub port: u16,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub socket_path: &'a str,
    pub weights: Weights,
    pub enable_tag_override: bool,
    /// Always the same: there is no mesh.
    pub proxy: Proxy,
    /// Always empty: there is no mesh.
    pub connect: Empty,
    pub peer_name: &'a str,
    pub create_index: u64,
    pub modify_index: u64,
    /// Ours, for those who ask: whose row it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<&'a str>,
}

/// A service instance with its node, in one (`catalog/service`).
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)] // Consul's fields
pub struct ServiceNode<'a> {
    #[serde(rename = "ID")]
    pub id: &'a str,
    pub node: &'a str,
    pub address: &'a str,
    pub datacenter: &'a str,
    pub tagged_addresses: Option<&'a SortedMap>,
    pub node_meta: Option<&'a SortedMap>,
    pub service_kind: &'a str,
    #[serde(rename = "ServiceID")]
    pub service_id: &'a str,
    pub service_name: &'a str,
    pub service_tags: &'a [Arc<str>],
    pub service_address: &'a str,
    #[serde(skip_serializing_if = "TaggedAddresses::is_empty")]
    pub service_tagged_addresses: TaggedAddresses<'a>,
    pub service_weights: Weights,
    pub service_meta: &'a SortedMap,
    pub service_port: u16,
    pub service_socket_path: &'a str,
    pub service_enable_tag_override: bool,
    /// Always the same: there is no mesh.
    pub service_proxy: Proxy,
    /// Always empty: there is no mesh.
    pub service_connect: Empty,
    /// Always `null`: not in this version.
    pub service_locality: (),
    pub create_index: u64,
    pub modify_index: u64,
}

/// A service's addresses by kind: names, addresses, ports.
#[derive(Debug, Default)]
pub struct TaggedAddresses<'a>(pub Vec<(&'a str, TaggedAddress<'a>)>);

impl TaggedAddresses<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for TaggedAddresses<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, address)| (name, address)))
    }
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
    pub definition: CheckDefinition<'a>,
    pub create_index: u64,
    pub modify_index: u64,
    /// Ours, for those who ask: whose row it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<&'a str>,
}

/// How a check is run; what is empty is left out. Go writes three of the durations as texts before everything else.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)] // Consul's fields
pub struct CheckDefinition<'a> {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub interval: String,
    #[serde(skip_serializing_if = "is_none")]
    pub output_max_size: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub timeout: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub deregister_critical_service_after: String,
    #[serde(rename = "HTTP", skip_serializing_if = "str::is_empty")]
    pub http: &'a str,
    #[serde(rename = "TLSServerName", skip_serializing_if = "str::is_empty")]
    pub tls_server_name: &'a str,
    #[serde(rename = "TLSSkipVerify", skip_serializing_if = "is_false")]
    pub tls_skip_verify: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<&'a SortedMap<Arc<[Arc<str>]>>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub method: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub body: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    pub disable_redirects: bool,
    #[serde(rename = "TCP", skip_serializing_if = "str::is_empty")]
    pub tcp: &'a str,
    #[serde(rename = "TCPUseTLS", skip_serializing_if = "is_false")]
    pub tcp_use_tls: bool,
    #[serde(rename = "UDP", skip_serializing_if = "str::is_empty")]
    pub udp: &'a str,
    #[serde(rename = "H2PING", skip_serializing_if = "str::is_empty")]
    pub h2ping: &'a str,
    #[serde(rename = "OSService", skip_serializing_if = "str::is_empty")]
    pub os_service: &'a str,
    #[serde(rename = "H2PingUseTLS", skip_serializing_if = "is_false")]
    pub h2ping_use_tls: bool,
    #[serde(skip_serializing_if = "<[Arc<str>]>::is_empty")]
    pub script_args: &'a [Arc<str>],
    #[serde(rename = "DockerContainerID", skip_serializing_if = "str::is_empty")]
    pub docker_container_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub shell: &'a str,
    #[serde(rename = "GRPC", skip_serializing_if = "str::is_empty")]
    pub grpc: &'a str,
    #[serde(rename = "GRPCUseTLS", skip_serializing_if = "is_false")]
    pub grpc_use_tls: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub alias_node: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub alias_service: &'a str,
    /// Nanoseconds.
    #[serde(rename = "TTL", skip_serializing_if = "is_none")]
    pub ttl: u64,
}

fn is_zero(port: &u16) -> bool {
    *port == 0
}

fn is_none(number: &u64) -> bool {
    *number == 0
}

fn is_false(value: &bool) -> bool {
    !*value
}
