//! `/v1/operator/raft`, as servers write and clients read it.

use serde::{Deserialize, Serialize};

/// The answer of `operator/raft/configuration`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RaftConfiguration {
    /// Voters and learners.
    pub servers: Vec<RaftServer>,
    /// Raft index of the configuration.
    pub index: u64,
}

/// One server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RaftServer {
    /// A UUID.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its name.
    pub node: String,
    /// `IP:port` between servers.
    pub address: String,
    /// Whether it leads.
    pub leader: bool,
    /// Consul's protocol number, which clients show: 3.
    pub protocol_version: String,
    /// Whether it votes.
    pub voter: bool,
    /// Last Raft index known of it.
    pub last_index: u64,
}

/// The answer of `operator/raft/transfer-leader`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TransferLeader {
    /// Always true; failures have another status.
    pub success: bool,
}
