//! The same test over a real Consul: `ROLLCALL_TEST_CONSUL=/path/to/consul` starts that instead of Rollcall.
//!
//! A client suite that passes on both says that the client sees no difference; one that passes only on ours may test what
//! we made up. For the suites that only drive clients (`client_*`); those about our own files and commands must not be run so.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::server::{Settings, path_text};

/// Consul's gossip port; every server of a test has an address of its own.
const SERF_PORT: u16 = 8301;

/// The Consul to test instead of Rollcall, if one is asked for.
pub fn binary() -> Option<PathBuf> {
    std::env::var_os("ROLLCALL_TEST_CONSUL").map(PathBuf::from)
}

/// What starts it; writes its configuration beside `config`.
///
/// # Panics
/// When the directory is not writable.
pub(crate) fn command(binary: &Path, settings: &Settings, config: &Path) -> Vec<String> {
    let config = config.with_extension("json");
    std::fs::write(&config, document(settings).to_string())
        .expect("the test's directory must be writable");
    let words = [
        path_text(binary),
        "agent".to_owned(),
        "-config-file".to_owned(),
    ];
    words.into_iter().chain([path_text(&config)]).collect()
}

/// Answers 200 once the server's own node is in the catalog.
pub(crate) fn node_path(settings: &Settings) -> String {
    format!("/v1/catalog/node-services/{}", settings.node_name)
}

fn document(settings: &Settings) -> Value {
    let mut document = json!({
        "node_name": settings.node_name,
        "server": true,
        "data_dir": path_text(&settings.data_dir),
        "bind_addr": settings.address.to_string(),
        "client_addr": settings.address.to_string(),
        "ports": {
            "http": settings.http_port,
            "server": settings.server_port,
            "serf_lan": SERF_PORT,
            "serf_wan": -1,
            "dns": -1,
            "grpc": -1,
            "grpc_tls": -1,
        },
        "bootstrap_expect": settings.bootstrap_expect,
        "retry_interval": "500ms",
        "performance": { "raft_multiplier": 1 },
        "telemetry": { "prometheus_retention_time": "60s" },
        "log_level": "warn",
        "disable_update_check": true,
    });
    if settings.bootstrap_expect == 1 {
        document["bootstrap_expect"] = Value::Null;
        document["bootstrap"] = json!(true);
    }
    let others = settings.retry_join.iter().filter_map(|address| {
        let (host, _) = address.rsplit_once(':')?;
        Some(format!("{host}:{SERF_PORT}"))
    });
    document["retry_join"] = others.collect();
    document
}
