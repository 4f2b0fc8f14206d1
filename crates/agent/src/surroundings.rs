//! What an agent knows only through the process it lives in: a server knows its cluster, an agent its servers.

use std::net::IpAddr;

use rollcall_api::agent::Member;
use serde_json::Value;

use crate::registry::Boxed;

/// Facts of `agent/self` that are the process's, not the node's.
#[derive(Debug, Clone)]
pub struct About {
    /// Whether this is a server.
    pub server: bool,
    /// Where others find this node.
    pub advertise: IpAddr,
    /// Ports by Consul's names: `http`, `dns`, `server`, `serf_lan`, `serf_wan`; -1: none.
    pub ports: Vec<(&'static str, i32)>,
    /// `IP:port` of the HTTP listeners.
    pub http: Vec<String>,
    /// Shortest TTL of a session, nanoseconds.
    pub session_ttl_min_ns: i64,
    /// Metadata of the node.
    pub node_meta: Vec<(String, String)>,
    /// Directory of everything lasting.
    pub data_dir: String,
    /// Word for the log level, as Consul shows it.
    pub log_level: String,
}

/// Why something was not done. The words are shown to the client, with status 500.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotDone(pub String);

/// The process around an agent.
pub trait Surroundings: Send + Sync + 'static {
    /// Facts.
    fn about(&self) -> About;
    /// Members known now; until gossip exists the servers, and this node.
    fn members(&self) -> Vec<Member>;
    /// `Stats` of `agent/self`, by part.
    fn stats(&self) -> Value;
    /// Reads the configuration again.
    fn reload(&self) -> Boxed<'_, Result<(), NotDone>>;
    /// Leaves the cluster and stops.
    fn leave(&self) -> Boxed<'_, Result<(), NotDone>>;
    /// Prometheus text or Consul's JSON, when there are metrics.
    fn metrics(&self, prometheus: bool) -> Option<(String, &'static str)>;
}

/// Serf's word for alive.
pub const ALIVE: u8 = 1;
/// Serf's word for failed.
pub const FAILED: u8 = 4;

/// A member as Serf would show it, with Consul's protocol numbers.
pub fn member(
    name: &str,
    address: IpAddr,
    port: u16,
    status: u8,
    tags: &[(&str, String)],
) -> Member {
    Member {
        name: name.to_owned(),
        addr: address.to_string(),
        port,
        tags: tags
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect(),
        status,
        protocol_min: 1,
        protocol_max: 5,
        protocol_cur: 2,
        delegate_min: 2,
        delegate_max: 5,
        delegate_cur: 4,
    }
}
