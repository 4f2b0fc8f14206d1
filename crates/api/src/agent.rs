//! What an agent says of its node: services, checks, members, itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catalog::Empty;

/// A service of the agent's node.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)] // Consul's fields
pub struct AgentService<'a> {
    #[serde(rename = "ID")]
    pub id: &'a str,
    pub service: &'a str,
    pub tags: &'a [String],
    pub meta: &'a BTreeMap<String, String>,
    pub port: u16,
    pub address: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tagged_addresses: BTreeMap<&'a str, AgentAddress<'a>>,
    pub weights: AgentWeights,
    pub enable_tag_override: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub content_hash: &'a str,
    pub datacenter: &'a str,
}

/// An address with its port.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)] // Consul's fields
pub struct AgentAddress<'a> {
    pub address: &'a str,
    pub port: u16,
}

/// DNS weights.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)] // Consul's fields
pub struct AgentWeights {
    pub passing: u32,
    pub warning: u32,
}

/// A check of the agent's node, as `agent/checks` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)] // Consul's fields
pub struct AgentCheck<'a> {
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
    pub service_tags: &'a [String],
    pub r#type: &'a str,
    pub interval: String,
    pub timeout: String,
    pub exposed_port: u16,
    pub definition: Empty,
    pub create_index: u64,
    pub modify_index: u64,
}

/// The same check as `agent/health/*` shows it: Consul leaves out how it is run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)] // Consul's fields
pub struct HealthCheck<'a> {
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
    /// `null` when there are none.
    pub service_tags: Option<&'a [String]>,
    pub r#type: &'a str,
    pub exposed_port: u16,
    pub definition: HealthDefinition,
    pub create_index: u64,
    pub modify_index: u64,
}

/// What stands there always.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)] // Consul's fields
pub struct HealthDefinition {
    pub interval: &'static str,
    pub timeout: &'static str,
    pub deregister_critical_service_after: &'static str,
    #[serde(rename = "HTTP")]
    pub http: &'static str,
    pub header: Option<()>,
    pub method: &'static str,
    pub body: &'static str,
    #[serde(rename = "TLSServerName")]
    pub tls_server_name: &'static str,
    #[serde(rename = "TLSSkipVerify")]
    pub tls_skip_verify: bool,
    #[serde(rename = "TCP")]
    pub tcp: &'static str,
    #[serde(rename = "TCPUseTLS")]
    pub tcp_use_tls: bool,
    #[serde(rename = "UDP")]
    pub udp: &'static str,
    #[serde(rename = "GRPC")]
    pub grpc: &'static str,
    #[serde(rename = "OSService")]
    pub os_service: &'static str,
    #[serde(rename = "GRPCUseTLS")]
    pub grpc_use_tls: bool,
}

impl Default for HealthDefinition {
    fn default() -> Self {
        HealthDefinition {
            interval: "0s",
            timeout: "0s",
            deregister_critical_service_after: "0s",
            http: "",
            header: None,
            method: "",
            body: "",
            tls_server_name: "",
            tls_skip_verify: false,
            tcp: "",
            tcp_use_tls: false,
            udp: "",
            grpc: "",
            os_service: "",
            grpc_use_tls: false,
        }
    }
}

/// A service with its health in one word.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)] // Consul's fields
pub struct ServiceHealth<'a> {
    pub aggregated_status: &'a str,
    pub service: Option<AgentService<'a>>,
    pub checks: Option<Vec<HealthCheck<'a>>>,
}

/// A member of the cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)] // Consul's fields
pub struct Member {
    pub name: String,
    pub addr: String,
    pub port: u16,
    pub tags: BTreeMap<String, String>,
    /// Serf's: 1 alive, 3 left, 4 failed.
    pub status: u8,
    pub protocol_min: u8,
    pub protocol_max: u8,
    pub protocol_cur: u8,
    pub delegate_min: u8,
    pub delegate_max: u8,
    pub delegate_cur: u8,
}

/// `agent/version`.
#[derive(Debug, Serialize)]
#[allow(missing_docs, non_snake_case)] // Consul's fields
pub struct Version {
    #[serde(rename = "SHA")]
    pub sha: &'static str,
    #[serde(rename = "BuildDate")]
    pub build_date: &'static str,
    #[serde(rename = "HumanVersion")]
    pub human_version: &'static str,
    #[serde(rename = "FIPS")]
    pub fips: &'static str,
}
