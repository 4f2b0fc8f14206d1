//! Sockets of a server or an agent: binds what the configuration names, and serves the HTTP API on it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rollcall_edge::{Edge, EdgeConfig};

use crate::config::{Config, HttpListen};
use crate::run::RunError;
use crate::{http, rt};

/// How long requests under way may go on when the process stops.
const DRAIN: Duration = Duration::from_secs(5);
/// Pause before it is looked again whether some are left.
const DRAIN_PAUSE: Duration = Duration::from_millis(20);

/// The edge's settings.
pub(crate) fn edge_config(config: &Config) -> EdgeConfig {
    let limits = &config.limits;
    EdgeConfig {
        datacenter: config.datacenter.clone(),
        default_query_time: config.default_query_time,
        max_query_time: config.max_query_time,
        limits: http::Limits {
            connections_per_client: limits.http_max_conns_per_client,
            connections: limits.http_max_connections,
            parked_queries: limits.max_parked_queries,
            ..http::Limits::default()
        },
    }
}

/// Binds what `config.http` names and serves it. The addresses of the TCP listeners, as they were bound.
pub(crate) async fn serve(config: &Config, edge: &Arc<Edge>) -> Result<Vec<SocketAddr>, RunError> {
    let mut addresses = Vec::new();
    for listener in &config.http {
        let listener: http::Listener = match listener {
            HttpListen::Tcp(address) => {
                let bound = listen("ports.http", *address).await?;
                let local = bound
                    .local_addr()
                    .map_err(|source| listen_error("ports.http", address, source))?;
                if !local.ip().is_loopback() {
                    tracing::warn!(address = %local, "the HTTP API is open to other machines: there are no tokens in this version");
                }
                addresses.push(local);
                bound.into()
            }
            HttpListen::Unix { path, mode } => {
                listen_unix(path, *mode).map_err(|source| RunError::Listen {
                    setting: "addresses.http",
                    address: path.display().to_string(),
                    source,
                })?
            }
        };
        rt::spawn(http::serve(listener, Arc::clone(edge)));
    }
    tracing::info!(?addresses, "serving HTTP");
    Ok(addresses)
}

/// Binds a unix socket. A socket that a process left behind when it died is taken over; one that answers is not.
#[cfg(not(feature = "sim"))]
fn listen_unix(path: &std::path::Path, mode: u32) -> io::Result<http::Listener> {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another process answers there",
            ));
        }
        std::fs::remove_file(path)?;
    }
    let listener = tokio::net::UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(http::Listener::Unix(listener))
}

/// The simulation has no unix sockets.
#[cfg(feature = "sim")]
fn listen_unix(_path: &std::path::Path, _mode: u32) -> io::Result<http::Listener> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "no unix sockets in simulation",
    ))
}

/// Waits a little for requests under way.
pub(crate) async fn drained(edge: &Edge) {
    let drained = async {
        while edge.connections() > 0 {
            rt::sleep(DRAIN_PAUSE).await;
        }
    };
    let _ = rt::timeout(DRAIN, drained).await;
}

/// Binds a TCP socket for `setting`.
pub(crate) async fn listen(
    setting: &'static str,
    address: SocketAddr,
) -> Result<rt::net::TcpListener, RunError> {
    rt::net::TcpListener::bind(address)
        .await
        .map_err(|source| listen_error(setting, &address, source))
}

/// Names what could not be bound.
pub(crate) fn listen_error(
    setting: &'static str,
    address: &SocketAddr,
    source: io::Error,
) -> RunError {
    RunError::Listen {
        setting,
        address: address.to_string(),
        source,
    }
}
