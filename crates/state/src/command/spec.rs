//! Nodes, services and checks as they are written, and as their rows keep them.
//!
//! Strings are shared pointers: a row is a clone of what was written, and what repeats (names, tags, types) is kept once
//! (see `share`). Fields with defaults are left out on the wire when they are empty, so that old samples are still
//! written as they ever were.

use std::sync::Arc;

use rollcall_api::SortedMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A list of short texts: tags, arguments, header values.
pub type Texts = Arc<[Arc<str>]>;

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A node as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSpec {
    /// A UUID, or empty.
    #[serde(default)]
    pub id: Arc<str>,
    /// Its name.
    pub node: Arc<str>,
    /// IP address or name.
    #[serde(default)]
    pub address: Arc<str>,
    /// `lan`, `wan`, …
    #[serde(default)]
    pub tagged_addresses: Option<SortedMap>,
    /// Key/value pairs of its owner.
    #[serde(default)]
    pub meta: Option<SortedMap>,
}

/// A service instance as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// Unique on its node.
    pub id: Arc<str>,
    /// Its name.
    pub service: Arc<str>,
    /// `None` is `null` in answers.
    #[serde(default)]
    pub tags: Option<Texts>,
    /// Empty: the node's.
    #[serde(default)]
    pub address: Arc<str>,
    /// By kind of address.
    #[serde(default)]
    pub tagged_addresses: Option<SortedMap<TaggedAddress>>,
    /// Key/value pairs of its owner.
    #[serde(default)]
    pub meta: Option<SortedMap>,
    /// 0 to 65,535.
    #[serde(default)]
    pub port: u16,
    /// For SRV answers.
    #[serde(default)]
    pub weights: Weights,
    /// Whether the catalog's tags win over the agent's.
    #[serde(default)]
    pub enable_tag_override: bool,
    /// Empty: an ordinary service. Kept and shown as written; the mesh's kinds mean nothing here.
    #[serde(default, skip_serializing_if = "is_default")]
    pub kind: Arc<str>,
    /// Path of a Unix socket instead of address and port, or empty.
    #[serde(default, skip_serializing_if = "is_default")]
    pub socket_path: Arc<str>,
}

/// An address with a port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaggedAddress {
    /// IP address or name.
    pub address: Arc<str>,
    /// Port.
    #[serde(default)]
    pub port: u16,
}

/// DNS SRV weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// Health of a check. As Consul does, the catalog keeps and shows any word; only the three mean something.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// All is well.
    Passing,
    /// Something is not well, but it serves.
    Warning,
    /// It does not serve.
    #[default]
    Critical,
    /// Any other word, as written. It counts as not passing.
    Other(Arc<str>),
}

impl Status {
    /// From its spelling. An empty one is critical, as in Consul.
    pub fn parse(text: &str) -> Status {
        match text {
            "passing" => Status::Passing,
            "warning" => Status::Warning,
            "critical" | "" => Status::Critical,
            other => Status::Other(Arc::from(other)),
        }
    }

    /// Its spelling.
    pub fn as_str(&self) -> &str {
        match self {
            Status::Passing => "passing",
            Status::Warning => "warning",
            Status::Critical => "critical",
            Status::Other(other) => other,
        }
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Status::parse(&String::deserialize(deserializer)?))
    }
}

/// A check as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckSpec {
    /// Its node's name.
    pub node: Arc<str>,
    /// Unique on its node.
    pub check_id: Arc<str>,
    /// For people.
    #[serde(default)]
    pub name: Arc<str>,
    /// Health.
    #[serde(default)]
    pub status: Status,
    /// For people.
    #[serde(default)]
    pub notes: Arc<str>,
    /// Of the last run.
    #[serde(default)]
    pub output: Arc<str>,
    /// The service it belongs to; empty: the node.
    #[serde(default)]
    pub service_id: Arc<str>,
    /// `http`, `tcp`, … as its owner says.
    #[serde(default)]
    pub check_type: Arc<str>,
    /// How often it runs, as its owner spelt it (`10s`), or empty.
    #[serde(default, skip_serializing_if = "is_default")]
    pub interval: Arc<str>,
    /// How long one run may take, as its owner spelt it, or empty.
    #[serde(default, skip_serializing_if = "is_default")]
    pub timeout: Arc<str>,
    /// Of the mesh; kept and shown.
    #[serde(default, skip_serializing_if = "is_default")]
    pub exposed_port: u16,
    /// What a runner of external checks reads; `None` is `{}` in answers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub definition: Option<Box<CheckDefinition>>,
}

/// How a check is run, for those who run other people's checks from the catalog. We keep and show it. Names are Consul's
/// (`structs.HealthCheckDefinition`); durations are nanoseconds, 0: none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // the names are Consul's
pub struct CheckDefinition {
    #[serde(skip_serializing_if = "is_default")]
    pub http: Arc<str>,
    #[serde(skip_serializing_if = "is_default")]
    pub tls_server_name: Arc<str>,
    #[serde(skip_serializing_if = "is_default")]
    pub tls_skip_verify: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub header: SortedMap<Texts>,
    #[serde(skip_serializing_if = "is_default")]
    pub method: Arc<str>,
    #[serde(skip_serializing_if = "is_default")]
    pub body: Arc<str>,
    #[serde(skip_serializing_if = "is_default")]
    pub disable_redirects: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub tcp: Arc<str>,
    #[serde(skip_serializing_if = "is_default")]
    pub tcp_use_tls: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub udp: Arc<str>,
    #[serde(skip_serializing_if = "is_default")]
    pub h2ping: Arc<str>,
    #[serde(skip_serializing_if = "is_default")]
    pub h2ping_use_tls: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub os_service: Arc<str>,
    #[serde(skip_serializing_if = "is_default")]
    pub interval_ns: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub output_max_size: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub timeout_ns: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub deregister_critical_service_after_ns: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub script_args: Texts,
    #[serde(skip_serializing_if = "is_default")]
    pub docker_container_id: Arc<str>,
    #[serde(skip_serializing_if = "is_default")]
    pub shell: Arc<str>,
    #[serde(skip_serializing_if = "is_default")]
    pub grpc: Arc<str>,
    #[serde(skip_serializing_if = "is_default")]
    pub grpc_use_tls: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub alias_node: Arc<str>,
    #[serde(skip_serializing_if = "is_default")]
    pub alias_service: Arc<str>,
    #[serde(skip_serializing_if = "is_default")]
    pub ttl_ns: u64,
}
