//! Checks of single settings, and of settings that belong together.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use uuid::Uuid;

use super::reader::Reader;
use super::{ConfigError, Limits, LogLevel, Machine, Ports};

pub(super) fn ports(read: &Reader<'_>) -> Result<Ports, ConfigError> {
    let ports = Ports {
        http: read.port("ports.http"),
        server: read.port("ports.server").ok_or_else(|| {
            read.wrong(
                "ports.server",
                "expected a port: a server cannot be without",
            )
        })?,
        dns: read.port("ports.dns"),
        serf_lan: read.port("ports.serf_lan"),
        serf_wan: read.port("ports.serf_wan"),
    };
    let named = [
        ("ports.server", Some(ports.server)),
        ("ports.http", ports.http),
        ("ports.dns", ports.dns),
        ("ports.serf_lan", ports.serf_lan),
        ("ports.serf_wan", ports.serf_wan),
    ];
    for (position, (key, port)) in named.iter().enumerate() {
        let taken = named[..position]
            .iter()
            .find(|(_, other)| port.is_some_and(|port| port != 0) && other == port);
        if let Some((other, _)) = taken {
            return Err(read.wrong(
                key,
                &format!("expected a port of its own, {other} has the same"),
            ));
        }
    }
    Ok(ports)
}

pub(super) fn node_name(read: &Reader<'_>, machine: &Machine) -> Result<String, ConfigError> {
    /// Longest node name, in bytes: a DNS name's limit.
    const NAME_BYTES_MAX: usize = 253;
    let name = read
        .text("node_name")
        .or_else(|| machine.host_name.clone())
        .unwrap_or_default();
    let allowed = |c: char| !c.is_whitespace() && !c.is_control() && c != '/';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(allowed) {
        return Err(read.wrong_as(
            "node_name",
            &name,
            "expected 1 to 253 bytes without spaces and slashes",
        ));
    }
    Ok(name)
}

pub(super) fn node_id(read: &Reader<'_>) -> Result<Option<Uuid>, ConfigError> {
    match read.text("node_id") {
        None => Ok(None),
        Some(text) => match Uuid::try_parse(&text) {
            Ok(id) if !id.is_nil() => Ok(Some(id)),
            _ => Err(read.wrong(
                "node_id",
                "expected a UUID, such as 3f2b1c9e-8a4d-4f0b-9c7e-1d2a5b6c7d8e",
            )),
        },
    }
}

pub(super) fn datacenter(read: &Reader<'_>) -> Result<String, ConfigError> {
    /// Longest name of a datacenter, in bytes: it becomes a DNS label.
    const NAME_BYTES_MAX: usize = 63;
    let name = read
        .text("datacenter")
        .unwrap_or_default()
        .to_ascii_lowercase();
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(allowed) {
        return Err(read.wrong("datacenter", "expected 1 to 63 letters, digits, - and _"));
    }
    Ok(name)
}

pub(super) fn data_dir(read: &Reader<'_>, machine: &Machine) -> Result<PathBuf, ConfigError> {
    match read.text("data_dir") {
        Some(path) => Ok(machine.current_dir.join(path)),
        None => Err(read.wrong(
            "data_dir",
            "expected a directory: a server must keep what it acknowledges",
        )),
    }
}

pub(super) fn audit_path(read: &Reader<'_>, data_dir: &Path, machine: &Machine) -> Option<PathBuf> {
    let path = read.text("audit.path");
    read.flag("audit.enabled").then(|| {
        path.map_or_else(
            || data_dir.join("audit.log"),
            |path| machine.current_dir.join(path),
        )
    })
}

pub(super) fn advertise_addr(
    read: &Reader<'_>,
    bind: IpAddr,
    machine: &Machine,
) -> Result<IpAddr, ConfigError> {
    let address = match read.text("advertise_addr") {
        Some(_) => read.ip("advertise_addr")?,
        None if !bind.is_unspecified() => bind,
        None => machine.address.ok_or_else(|| {
            read.wrong(
                "advertise_addr",
                "expected an IP address: this host's could not be found out",
            )
        })?,
    };
    if address.is_unspecified() {
        return Err(read.wrong(
            "advertise_addr",
            "expected an address that others can reach",
        ));
    }
    Ok(address)
}

pub(super) fn bootstrap_expect(read: &Reader<'_>) -> Result<usize, ConfigError> {
    let expect: usize = read.number("bootstrap_expect");
    match (read.flag("bootstrap"), expect) {
        (true, 0 | 1) => Ok(1),
        (true, _) => Err(read.wrong(
            "bootstrap_expect",
            "expected 1 or nothing together with bootstrap",
        )),
        (false, expect) => Ok(expect),
    }
}

pub(super) fn query_times(read: &Reader<'_>) -> Result<Duration, ConfigError> {
    let default = read.duration("default_query_time");
    if default > read.duration("max_query_time") {
        return Err(read.wrong("default_query_time", "expected no more than max_query_time"));
    }
    Ok(default)
}

pub(super) fn limits(read: &Reader<'_>) -> Limits {
    Limits {
        http_max_conns_per_client: read.number("limits.http_max_conns_per_client"),
        http_max_connections: read.number("limits.http_max_connections"),
        kv_max_value_size: read.number("limits.kv_max_value_size"),
        txn_max_req_len: read.number("limits.txn_max_req_len"),
        max_parked_queries: read.number("limits.max_parked_queries"),
        max_pending_writes: read.number("limits.max_pending_writes"),
    }
}

pub(super) fn log_level(read: &Reader<'_>) -> LogLevel {
    match read.text("log_level").as_deref() {
        Some("trace") => LogLevel::Trace,
        Some("debug") => LogLevel::Debug,
        Some("warn") => LogLevel::Warn,
        Some("error") => LogLevel::Error,
        _ => LogLevel::Info,
    }
}
