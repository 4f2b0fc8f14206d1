//! The configuration: raw settings in, one validated [`Config`] out.
//!
//! [`table::SETTINGS`] is the one place of keys, defaults, bounds and words; [`Layers`] collects what files, variables and flags
//! set; [`Config::from_layers`] checks what belongs together and gives typed values. The rest of the server sees only [`Config`]
//! and never a key. Nothing here opens a socket or touches the data directory, so a wrong setting changes nothing.

mod check;
mod dns;
mod document;
mod layers;
mod listen;
mod reader;
mod setting;
mod table;
mod value;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use uuid::Uuid;

pub use dns::DnsListen;
pub use document::document;
pub use layers::{Layers, Origin};
pub use listen::{HttpListen, JoinAddress};
pub use setting::{Kind, Setting, Stage};
pub use table::{SETTINGS, find};

use reader::Reader;

/// What is wrong with a configuration. Nothing was started or changed; whoever wrote the setting must act.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file or directory that was named cannot be read.
    #[error("configuration {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is too large to be a configuration.
    #[error("configuration {} is larger than {max} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound.
        max: u64,
    },
    /// A file is not YAML.
    #[error("configuration {}: {detail}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What and where.
        detail: String,
    },
    /// Consul's own language is not read.
    #[error("configuration {} is HCL, which is not read: write it as YAML or JSON with the same keys", path.display())]
    Hcl {
        /// The file.
        path: PathBuf,
    },
    /// No such setting.
    #[error("configuration {}: unknown key {key}{}", path.display(), nearest.map(|key| format!(" (did you mean {key}?)")).unwrap_or_default())]
    UnknownKey {
        /// The full path of the key.
        key: String,
        /// The file.
        path: PathBuf,
        /// A known key that is like it.
        nearest: Option<&'static str>,
    },
    /// A value of the wrong kind or out of bounds.
    #[error("{key} = {value:?} ({origin}): {expected}")]
    Invalid {
        /// The setting.
        key: String,
        /// The value as it was written.
        value: String,
        /// What it may be.
        expected: String,
        /// Where it was set.
        origin: Origin,
    },
    /// Recognised, but what it switches on is not in this version.
    #[error(
        "{key} ({origin}) would switch on what this version does not have: remove it, and do not rely on it"
    )]
    NotBuilt {
        /// The setting.
        key: String,
        /// Where it was set.
        origin: Origin,
    },
}

/// Port of a server's HTTP API, where an agent's `retry_join` names none.
const AGENT_JOIN_PORT: u16 = 8500;

/// Ports. `None`: switched off. 0: any free one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    /// The HTTP API.
    pub http: Option<u16>,
    /// Raft and forwarding between servers.
    pub server: u16,
    /// DNS.
    pub dns: Option<u16>,
    /// Gossip in the datacenter (its listener comes with gossip).
    pub serf_lan: Option<u16>,
    /// Gossip between datacenters (its listener comes with gossip).
    pub serf_wan: Option<u16>,
}

/// When snapshots are made, and what of the log is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshots {
    /// Log entries after the last snapshot that call for the next.
    pub threshold: u64,
    /// Log entries kept behind a snapshot.
    pub trailing_logs: u64,
}

/// Limits of the edges. Past them: 413, 429 or 503, never growth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections of one client address.
    pub http_max_conns_per_client: usize,
    /// Connections of all clients.
    pub http_max_connections: usize,
    /// Bytes of a key's value.
    pub kv_max_value_size: usize,
    /// Bytes of a transaction's body.
    pub txn_max_req_len: usize,
    /// Blocking queries that wait.
    pub max_parked_queries: usize,
    /// Writes that wait for Raft.
    pub max_pending_writes: usize,
}

/// Level of the log, the quietest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// For debugging.
    Debug,
    /// What happens.
    Info,
    /// What may need somebody.
    Warn,
    /// What went wrong.
    Error,
}

impl LogLevel {
    /// As a filter directive of `tracing`.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Trace => "trace",
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
        }
    }
}

/// A valid configuration of one server. See [`table::SETTINGS`] (or CONFIGURATION.md) for each value's bounds and default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// A server, or a node's agent without one.
    pub server: bool,
    /// Name in the catalog.
    pub node_name: String,
    /// Id given by the operator; else the data directory has or gets one.
    pub node_id: Option<Uuid>,
    /// Datacenter.
    pub datacenter: String,
    /// Where everything lasting is kept; absolute.
    pub data_dir: PathBuf,
    /// Where other servers are listened for.
    pub bind_addr: IpAddr,
    /// Where other servers find this one.
    pub advertise_addr: IpAddr,
    /// Listeners of the HTTP API; empty when `ports.http` is -1.
    pub http: Vec<HttpListen>,
    /// Ports.
    pub ports: Ports,
    /// How many servers form the cluster; 0: join one.
    pub bootstrap_expect: usize,
    /// Other servers.
    pub retry_join: Vec<JoinAddress>,
    /// Longest pause between attempts to reach them while none answers.
    pub retry_interval: Duration,
    /// Whether a server that is told to stop leaves the Raft configuration.
    pub leave_on_terminate: bool,
    /// Multiplies Raft's times, 1..=10.
    pub raft_multiplier: u32,
    /// Snapshots.
    pub snapshots: Snapshots,
    /// Wait of a blocking query that names none.
    pub default_query_time: Duration,
    /// Longest wait of a blocking query.
    pub max_query_time: Duration,
    /// Shortest TTL of a session.
    pub session_ttl_min: Duration,
    /// Limits.
    pub limits: Limits,
    /// DNS; `None` when `ports.dns` is -1.
    pub dns: Option<DnsListen>,
    /// Output of a check that changes alone is written at most this often; zero: at once.
    pub check_update_interval: Duration,
    /// Whether clients may register checks that run programs.
    pub enable_script_checks: bool,
    /// What is logged.
    pub log_level: LogLevel,
    /// Log lines as JSON.
    pub log_json: bool,
    /// File of the audit log, when it is on; absolute.
    pub audit_path: Option<PathBuf>,
    /// Threads that serve; `None`: one a core.
    pub worker_threads: Option<usize>,
}

/// What a configuration takes from the machine when it is not set. A value, so that reading a configuration stays repeatable.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The host's name.
    pub host_name: Option<String>,
    /// The address under which this host is seen by others.
    pub address: Option<IpAddr>,
    /// Directory that relative paths start from.
    pub current_dir: PathBuf,
}

impl Machine {
    /// This machine. Sends nothing: the address is what the system would send from.
    pub fn this() -> Machine {
        let host_name = std::fs::read_to_string("/proc/sys/kernel/hostname")
            .or_else(|_| std::fs::read_to_string("/etc/hostname"))
            .ok()
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty());
        // An address of the documentation range: asking for the way there opens no connection.
        let address = std::net::UdpSocket::bind("0.0.0.0:0")
            .and_then(|socket| {
                socket
                    .connect("192.0.2.1:9")
                    .and_then(|()| socket.local_addr())
            })
            .ok()
            .map(|address| address.ip());
        Machine {
            host_name,
            address,
            current_dir: std::env::current_dir().unwrap_or_else(|_| "/".into()),
        }
    }
}

/// A configuration and what its writer should hear of.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The configuration.
    pub config: Config,
    /// To be logged as warnings, once.
    pub warnings: Vec<String>,
}

impl Config {
    /// Checks what was set and makes the configuration of it.
    pub fn from_layers(layers: &Layers, machine: &Machine) -> Result<Checked, ConfigError> {
        Config::read(&Reader::new(layers), machine)
    }

    /// A configuration from YAML alone: for tests and simulations, which have no flags.
    pub fn from_yaml(yaml: &str, machine: &Machine) -> Result<Checked, ConfigError> {
        let mut layers = Layers::new();
        layers.add_yaml(Path::new("(text)"), yaml.as_bytes())?;
        Config::from_layers(&layers, machine)
    }

    fn read(read: &Reader<'_>, machine: &Machine) -> Result<Checked, ConfigError> {
        read.refuse_not_built()?;
        let server = read.flag("server");
        let ports = check::ports(read)?;
        let bind_addr = read.ip("bind_addr")?;
        let data_dir = check::data_dir(read, machine)?;
        // Servers join servers at the port between them; agents know only their HTTP API.
        let join_port = if server {
            ports.server
        } else {
            AGENT_JOIN_PORT
        };
        let config = Config {
            server,
            node_name: check::node_name(read, machine)?,
            node_id: check::node_id(read)?,
            datacenter: check::datacenter(read)?,
            bind_addr,
            advertise_addr: check::advertise_addr(read, bind_addr, machine)?,
            http: listen::http(read, ports.http, machine)?,
            bootstrap_expect: check::bootstrap_expect(read)?,
            retry_join: listen::retry_join(read, join_port)?,
            retry_interval: read.duration("retry_interval"),
            leave_on_terminate: read.flag("leave_on_terminate"),
            raft_multiplier: read.number("performance.raft_multiplier"),
            snapshots: Snapshots {
                threshold: read.number("raft_snapshot_threshold"),
                trailing_logs: read.number("raft_trailing_logs"),
            },
            default_query_time: check::query_times(read)?,
            max_query_time: read.duration("max_query_time"),
            session_ttl_min: read.duration("session_ttl_min"),
            limits: check::limits(read),
            dns: dns::dns(read, ports.dns)?,
            check_update_interval: read.duration("check_update_interval"),
            enable_script_checks: read.flag("enable_script_checks"),
            log_level: check::log_level(read),
            log_json: read.flag("log_json"),
            audit_path: check::audit_path(read, &data_dir, machine),
            worker_threads: Some(read.number("runtime.worker_threads"))
                .filter(|threads| *threads > 0),
            data_dir,
            ports,
        };
        let mut warnings = read.warnings();
        warnings.extend(config.warnings());
        Ok(Checked { config, warnings })
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.bootstrap_expect > 1 && self.bootstrap_expect.is_multiple_of(2) {
            warnings.push(format!(
                "bootstrap_expect {}: an even number of servers bears no more failures than one fewer",
                self.bootstrap_expect
            ));
        }
        warnings
    }

    /// Where other servers are listened for.
    pub fn server_listen(&self) -> SocketAddr {
        SocketAddr::new(self.bind_addr, self.ports.server)
    }
}
