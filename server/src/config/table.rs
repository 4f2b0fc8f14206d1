//! The table of all settings: the one place of their keys, defaults, bounds and words.
//!
//! Flags, variables, help, `CONFIGURATION.md`, the check for unknown keys and the validation all come from here; a new setting
//! is one entry and one line in `Config::from_layers`. Keys are Consul's where Consul has them.

use std::time::Duration;

use super::setting::{Kind, Setting, Stage};

const FLAG: Kind = Kind::Flag;
const TEXT: Kind = Kind::Text;
const PATH: Kind = Kind::Path;
const PORT: Kind = Kind::Port;
const LIST: Kind = Kind::List;
const ANY: Kind = Kind::Any;

const fn integer(min: i64, max: i64, unit: &'static str) -> Kind {
    Kind::Integer { min, max, unit }
}

const fn duration(min: Duration, max: Duration) -> Kind {
    Kind::Duration { min, max }
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn setting(
    key: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
    stage: Stage,
) -> Setting {
    Setting {
        key,
        alias: None,
        kind,
        default,
        doc,
        stage,
    }
}

const fn built(key: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Setting {
    setting(key, kind, default, doc, Stage::Built)
}

const fn built_as(
    key: &'static str,
    alias: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Setting {
    Setting {
        key,
        alias: Some(alias),
        kind,
        default,
        doc,
        stage: Stage::Built,
    }
}

const fn later(key: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Setting {
    setting(key, kind, default, doc, Stage::Later)
}

const fn later_as(
    key: &'static str,
    alias: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Setting {
    Setting {
        key,
        alias: Some(alias),
        kind,
        default,
        doc,
        stage: Stage::Later,
    }
}

const fn refused(
    key: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Setting {
    setting(key, kind, default, doc, Stage::Refused)
}

const fn inert(key: &'static str) -> Setting {
    setting(
        key,
        ANY,
        "",
        "Without effect while what it refines cannot be switched on.",
        Stage::Inert,
    )
}

const fn left_out(key: &'static str) -> Setting {
    setting(
        key,
        ANY,
        "",
        "Consul's; Rollcall leaves out what it sets.",
        Stage::LeftOut,
    )
}

/// Words of `log_level`, the quietest last.
pub(crate) const LOG_LEVELS: &[&str] = &["trace", "debug", "info", "warn", "error"];

const MIB: i64 = 1 << 20;

/// All settings, in the order of their documentation.
#[rustfmt::skip] // One setting is two lines: what it is, and what it does.
pub const SETTINGS: &[Setting] = &[
    // === Who this server is ===
    built_as("node_name", "node", TEXT, "",
        "Name of this node in the catalog. Default: the host's name."),
    built("node_id", TEXT, "",
        "UUID of this node. Default: made at the first start and kept in the data directory."),
    built("server", FLAG, "true",
        "Whether this is a server. `rollcall server` takes only true, `rollcall agent` only false."),
    built("datacenter", TEXT, "dc1",
        "Name of the datacenter: letters, digits, - and _."),
    built("data_dir", PATH, "",
        "Directory of log, snapshots and identity. A server needs it; `dev` takes a temporary one without it."),
    // === Addresses and ports ===
    built_as("bind_addr", "bind", TEXT, "0.0.0.0",
        "IP address on which this server listens for other servers."),
    built_as("advertise_addr", "advertise", TEXT, "",
        "IP address under which other servers reach this one. Default: bind_addr, or this host's address towards others when that is 0.0.0.0 or ::."),
    built_as("client_addr", "client", TEXT, "127.0.0.1",
        "IP addresses, spaces between, on which clients are served. Anything but loopback opens the API to whoever reaches it, since there are no tokens yet; the log says so."),
    built("addresses.http", TEXT, "",
        "Addresses of the HTTP API in place of client_addr: IP addresses and `unix://PATH`, spaces between."),
    later("addresses.https", TEXT, "", "Addresses of HTTPS; comes with TLS."),
    built("addresses.dns", TEXT, "",
        "IP addresses of DNS in place of client_addr, spaces between."),
    built("unix_sockets.mode", TEXT, "0600",
        "Permissions of unix sockets, octal."),
    built_as("ports.http", "http-port", PORT, "8500", "Port of the HTTP API."),
    refused("ports.https", PORT, "-1", "Port of the HTTP API over TLS."),
    built_as("ports.server", "server-port", PORT, "8300", "Port between servers: Raft and forwarded writes. Cannot be -1."),
    built_as("ports.dns", "dns-port", PORT, "8600", "Port of DNS, UDP and TCP."),
    later_as("ports.serf_lan", "serf-lan-port", PORT, "8301", "Port of gossip inside the datacenter, UDP and TCP; comes with gossip."),
    later_as("ports.serf_wan", "serf-wan-port", PORT, "8302", "Port of gossip between datacenters, UDP and TCP; comes with gossip."),
    // === Forming a cluster ===
    built("bootstrap", FLAG, "false",
        "Form a cluster of this one server. The same as bootstrap_expect 1; not together with another bootstrap_expect."),
    built("bootstrap_expect", integer(0, 15, "servers"), "0",
        "How many servers form the cluster at its first start. 0: join one that exists."),
    built("retry_join", LIST, "",
        "Other servers, as HOST, HOST:PORT or [IPv6]:PORT. Until gossip exists the port of a server's is theirs between servers (default: our ports.server), that of an agent's is their HTTP API's (default 8500)."),
    built("retry_interval", duration(Duration::from_millis(100), secs(3_600)), "30s",
        "Longest pause between attempts to reach the servers of retry_join while none answers: pauses begin at 200ms and double."),
    built("leave_on_terminate", FLAG, "false",
        "Whether SIGTERM is also a departure: the server is taken out of the Raft configuration, and a start lets it in again. Not for a restart."),
    // === Raft ===
    built("performance.raft_multiplier", integer(1, 10, ""), "1",
        "Multiplies Raft's heartbeat and election times. Consul's default is 5, and 1 what it advises for production."),
    built("raft_snapshot_threshold", integer(16, 100_000_000, "log entries"), "1000000",
        "A snapshot is made when this many entries came after the last one."),
    built("raft_trailing_logs", integer(0, 100_000_000, "log entries"), "10240",
        "Log entries kept behind a snapshot, for followers that are a little behind."),
    // === Reads, sessions, limits ===
    built("default_query_time", duration(Duration::from_millis(1), secs(86_400)), "300s",
        "How long a blocking query waits that names no `wait`."),
    built("max_query_time", duration(Duration::from_millis(1), secs(86_400)), "600s",
        "Longest `wait` of a blocking query; a longer one is cut to it."),
    built("session_ttl_min", duration(secs(1), secs(86_400)), "10s",
        "Shortest TTL of a session."),
    built("limits.http_max_conns_per_client", integer(1, 1_000_000, "connections"), "200",
        "Connections of one client address to the HTTP API; more get 429."),
    built("limits.http_max_connections", integer(1, 1_000_000, "connections"), "20000",
        "Connections to the HTTP API from all clients; more are closed. Ours."),
    built("limits.kv_max_value_size", integer(1, 64 * MIB, "bytes"), "524288",
        "Largest value of a key; a larger one gets 413."),
    built("limits.txn_max_req_len", integer(1, 64 * MIB, "bytes"), "524288",
        "Largest body of a transaction; a larger one gets 413."),
    built("limits.max_parked_queries", integer(1, 10_000_000, "queries"), "50000",
        "Blocking queries that may wait at once; more get 429. Ours."),
    built("limits.max_pending_writes", integer(1, 1_000_000, "writes"), "8192",
        "Writes that may wait for Raft at once; more get 503. Ours."),
    // === DNS ===
    built("domain", TEXT, "consul", "Domain of DNS: NAME.service.DOMAIN."),
    built("alt_domain", TEXT, "", "Second domain of DNS, for the same names."),
    built_as("recursors", "recursor", LIST, "",
        "DNS servers, IP or IP:PORT, that are asked in order for names of other domains. Without any such names are refused."),
    built("dns_config.recursor_timeout", duration(Duration::from_millis(1), secs(60)), "2s",
        "How long each recursor is waited for."),
    built("dns_config.allow_stale", FLAG, "true",
        "Whether DNS answers from what this server knows, without asking the leader."),
    built("dns_config.max_stale", duration(Duration::ZERO, secs(315_360_000)), "87600h",
        "With allow_stale: how long ago the leader may have been heard of; after that it is asked."),
    built("dns_config.node_ttl", duration(Duration::ZERO, secs(604_800)), "0s",
        "TTL of nodes' records."),
    built("dns_config.service_ttl.*", ANY, "",
        "TTL of services' records by name: `web`, a prefix `db-*`, or `*`; durations up to 168h. Default: 0s."),
    built("dns_config.only_passing", FLAG, "false",
        "Whether DNS leaves out instances with a warning, as it leaves out critical ones."),
    built("dns_config.udp_answer_limit", integer(0, 1_000, "records"), "3",
        "Most addresses in an answer over UDP to a client without EDNS. 0: as many as fit."),
    built("dns_config.a_record_limit", integer(0, 10_000, "records"), "0",
        "Most A or AAAA records in an answer. 0: as many as fit."),
    built("dns_config.enable_truncate", FLAG, "true",
        "Whether an answer over UDP that was cut says so (TC), so that the client asks again over TCP. Consul's default is false."),
    built("dns_config.udp_max_size", integer(512, 4_096, "bytes"), "4096",
        "Largest answer over UDP, whatever the client offers. Ours."),
    built("dns_config.public_rate", integer(0, 1_000_000, "answers a second"), "200",
        "Answers over UDP to one public network (IPv4 /24, IPv6 /56), so that forged sources gain nothing; past it clients are sent to TCP. 0: no limit. Ours."),
    built("dns_config.soa.refresh", integer(0, 604_800, "seconds"), "3600", "SOA: refresh."),
    built("dns_config.soa.retry", integer(0, 604_800, "seconds"), "600", "SOA: retry."),
    built("dns_config.soa.expire", integer(0, 31_536_000, "seconds"), "86400", "SOA: expire."),
    built("dns_config.soa.min_ttl", integer(0, 604_800, "seconds"), "0",
        "SOA: how long resolvers may remember that a name has no records."),
    left_out("dns_config.disable_compression"), left_out("dns_config.cache_max_age"), left_out("dns_config.use_cache"),
    left_out("dns_config.prefer_namespace"), left_out("dns_config.recursor_strategy"),
    left_out("dns_config.enable_additional_node_meta_txt"),
    // === Services and checks of this node ===
    built("check_update_interval", duration(secs(0), secs(86_400)), "5m",
        "Output of a check that changes while its status does not is written at most this often. 0s: at once."),
    built("enable_script_checks", FLAG, "false",
        "Whether clients may register checks that run programs here. Whoever reaches the HTTP API can then run anything."),
    // === Log, audit, runtime ===
    built("log_level", Kind::Choice(LOG_LEVELS), "info",
        "What is logged. Read again at SIGHUP."),
    built("log_json", FLAG, "false", "Log lines as JSON."),
    built("audit.enabled", FLAG, "false",
        "Write a line for every write: who, what, which index."),
    built("audit.path", PATH, "",
        "File of the audit log. Default: audit.log in data_dir."),
    built("runtime.worker_threads", integer(0, 1_024, "threads"), "0",
        "Threads that serve. 0: one a core. Ours."),
    // === Recognised: arrives with its part ===
    later("enable_local_script_checks", FLAG, "false", "Whether checks from local files may run scripts."),
    later("node_meta.*", ANY, "", "Metadata of this node in the catalog."),
    later("autopilot.*", ANY, "", "Care for the Raft configuration."),
    later("gossip_lan.*", ANY, "", "Gossip inside the datacenter."),
    later("gossip_wan.*", ANY, "", "Gossip between datacenters."),
    later("rejoin_after_leave", FLAG, "false", "Whether gossip joins again after a leave."),
    later("reconnect_timeout", TEXT, "", "How long gossip remembers a failed member."),
    later("retry_join_wan", LIST, "", "Servers of other datacenters."),
    later("advertise_addr_wan", TEXT, "", "Address for other datacenters."),
    later("serf_lan", TEXT, "", "Address of gossip inside the datacenter."),
    later("serf_wan", TEXT, "", "Address of gossip between datacenters."),
    // === Recognised: refused until built ===
    refused("acl.enabled", FLAG, "false", "Tokens and policies."),
    refused("encrypt", TEXT, "", "Key of encrypted gossip."),
    refused("tls.defaults.ca_file", PATH, "", "TLS."),
    refused("tls.defaults.ca_path", PATH, "", "TLS."),
    refused("tls.defaults.cert_file", PATH, "", "TLS."),
    refused("tls.defaults.key_file", PATH, "", "TLS."),
    refused("tls.defaults.verify_incoming", FLAG, "false", "TLS."),
    refused("tls.defaults.verify_outgoing", FLAG, "false", "TLS."),
    refused("tls.internal_rpc.ca_file", PATH, "", "TLS between servers."),
    refused("tls.internal_rpc.ca_path", PATH, "", "TLS between servers."),
    refused("tls.internal_rpc.cert_file", PATH, "", "TLS between servers."),
    refused("tls.internal_rpc.key_file", PATH, "", "TLS between servers."),
    refused("tls.internal_rpc.verify_incoming", FLAG, "false", "TLS between servers."),
    refused("tls.internal_rpc.verify_outgoing", FLAG, "false", "TLS between servers."),
    refused("tls.internal_rpc.verify_server_hostname", FLAG, "false", "TLS between servers."),
    refused("tls.https.ca_file", PATH, "", "TLS of the HTTP API."),
    refused("tls.https.ca_path", PATH, "", "TLS of the HTTP API."),
    refused("tls.https.cert_file", PATH, "", "TLS of the HTTP API."),
    refused("tls.https.key_file", PATH, "", "TLS of the HTTP API."),
    refused("tls.https.verify_incoming", FLAG, "false", "TLS of the HTTP API."),
    refused("tls.https.verify_outgoing", FLAG, "false", "TLS of the HTTP API."),
    refused("service", ANY, "", "A service of this node."),
    refused("services", ANY, "", "Services of this node."),
    refused("check", ANY, "", "A check of this node."),
    refused("checks", ANY, "", "Checks of this node."),
    inert("acl.default_policy"), inert("acl.down_policy"), inert("acl.enable_key_list_policy"),
    inert("acl.enable_token_persistence"), inert("acl.enable_token_replication"), inert("acl.policy_ttl"),
    inert("acl.role_ttl"), inert("acl.token_ttl"), inert("acl.tokens.*"), inert("acl.msp_disable_bootstrap"),
    inert("encrypt_verify_incoming"), inert("encrypt_verify_outgoing"),
    inert("tls.enable_agent_tls_for_checks"), inert("tls.defaults.tls_cipher_suites"), inert("tls.defaults.tls_min_version"),
    inert("tls.internal_rpc.tls_cipher_suites"), inert("tls.internal_rpc.tls_min_version"),
    inert("tls.https.tls_cipher_suites"), inert("tls.https.tls_min_version"), inert("tls.grpc.*"),
    // === Consul's, left out ===
    left_out("addresses.grpc"), left_out("addresses.grpc_tls"), left_out("advertise_reconnect_timeout"),
    left_out("audit.sink.*"), left_out("auto_config.*"), left_out("auto_encrypt.*"), left_out("auto_reload_config"),
    left_out("cache.*"), left_out("check_output_max_size"), left_out("cloud.*"),
    left_out("config_entries.*"), left_out("connect.*"), left_out("default_intention_policy"),
    left_out("disable_anonymous_signature"), left_out("disable_coordinates"), left_out("disable_host_node_id"),
    left_out("disable_http_unprintable_char_filter"), left_out("disable_keyring_file"), left_out("disable_remote_exec"),
    left_out("disable_update_check"), left_out("discard_check_output"), left_out("discovery_max_stale"),
    left_out("enable_agent_tls_for_checks"), left_out("enable_central_service_config"), left_out("enable_debug"),
    left_out("enable_syslog"), left_out("experiments"), left_out("http_config.*"), left_out("license_path"),
    left_out("limits.https_handshake_timeout"), left_out("limits.request_limits.*"), left_out("limits.rpc_client_timeout"),
    left_out("limits.rpc_handshake_timeout"), left_out("limits.rpc_max_burst"),
    left_out("limits.rpc_max_conns_per_client"), left_out("limits.rpc_rate"), left_out("locality.*"),
    left_out("log_file"), left_out("log_rotate_bytes"), left_out("log_rotate_duration"), left_out("log_rotate_max_files"),
    left_out("partition"), left_out("peering.*"), left_out("performance.grpc_keepalive_interval"),
    left_out("performance.grpc_keepalive_timeout"), left_out("performance.leave_drain_time"),
    left_out("performance.rpc_hold_timeout"), left_out("pid_file"), left_out("ports.expose_max_port"),
    left_out("ports.expose_min_port"), left_out("ports.grpc"), left_out("ports.grpc_tls"), left_out("ports.proxy_max_port"),
    left_out("ports.proxy_min_port"), left_out("ports.sidecar_max_port"), left_out("ports.sidecar_min_port"),
    left_out("primary_datacenter"), left_out("primary_gateways"), left_out("primary_gateways_interval"),
    left_out("raft_boltdb.*"), left_out("raft_logstore.*"), left_out("raft_protocol"), left_out("raft_snapshot_interval"), left_out("read_replica"),
    left_out("reconnect_timeout_wan"), left_out("reporting.*"), left_out("retry_interval_wan"), left_out("retry_max"),
    left_out("retry_max_wan"), left_out("rpc.*"), left_out("segment"), left_out("segments"),
    left_out("serf_lan_allowed_cidrs"), left_out("serf_wan_allowed_cidrs"), left_out("server_name"),
    left_out("server_rejoin_age_max"), left_out("skip_leave_on_interrupt"), left_out("syslog_facility"),
    left_out("telemetry.*"), left_out("translate_wan_addrs"), left_out("ui"), left_out("ui_config.*"),
    left_out("ui_content_path"), left_out("ui_dir"), left_out("unix_sockets.group"), left_out("unix_sockets.user"),
    left_out("use_streaming_backend"), left_out("watches"), left_out("xds.*"),
];

/// The setting that a path of the file belongs to.
pub fn find(path: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.covers(path))
}
