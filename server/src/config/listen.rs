//! Addresses in settings: where the HTTP API listens, and whom a server joins.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use super::reader::Reader;
use super::{ConfigError, Machine};

/// One listener of the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpListen {
    /// TCP; port 0 for any free one.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix {
        /// Its absolute path.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

impl fmt::Display for HttpListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpListen::Tcp(address) => address.fmt(f),
            HttpListen::Unix { path, .. } => write!(f, "unix://{}", path.display()),
        }
    }
}

/// A server to join, resolved at every attempt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct JoinAddress {
    /// Name or IP address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl fmt::Display for JoinAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse::<Ipv6Addr>() {
            Ok(address) => write!(f, "[{address}]:{}", self.port),
            Err(_) => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// The listeners from `addresses.http`, or else `client_addr`. None when the port is switched off.
pub(super) fn http(
    read: &Reader<'_>,
    port: Option<u16>,
    machine: &Machine,
) -> Result<Vec<HttpListen>, ConfigError> {
    let mode = socket_mode(read)?;
    let from_client = read.text("client_addr");
    let from_addresses = read.text("addresses.http");
    let (key, words) = match from_addresses {
        Some(words) => ("addresses.http", words),
        None => ("client_addr", from_client.unwrap_or_default()),
    };
    let mut listeners = Vec::new();
    for word in words.split_whitespace() {
        let listener = match word.strip_prefix("unix://") {
            Some(path) if !path.is_empty() => Some(HttpListen::Unix {
                path: machine.current_dir.join(path),
                mode,
            }),
            Some(_) => return Err(read.wrong_as(key, word, "expected a path after unix://")),
            None => {
                let address: IpAddr = word.parse().map_err(|_| {
                    read.wrong_as(
                        key,
                        word,
                        "expected IP addresses or unix://PATH, spaces between",
                    )
                })?;
                port.map(|port| HttpListen::Tcp(SocketAddr::new(address, port)))
            }
        };
        listeners.extend(listener.filter(|listener| !listeners.contains(listener)));
    }
    if words.split_whitespace().next().is_none() {
        return Err(read.wrong(
            key,
            "expected at least one address; to serve no HTTP set ports.http to -1",
        ));
    }
    Ok(listeners)
}

fn socket_mode(read: &Reader<'_>) -> Result<u32, ConfigError> {
    let text = read.text("unix_sockets.mode").unwrap_or_default();
    match u32::from_str_radix(&text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err(read.wrong(
            "unix_sockets.mode",
            "expected octal permissions, 0 to 0777, in quotes",
        )),
    }
}

/// The servers of `retry_join`.
pub(super) fn retry_join(
    read: &Reader<'_>,
    default_port: u16,
) -> Result<Vec<JoinAddress>, ConfigError> {
    let mut addresses = Vec::new();
    for word in read.list("retry_join") {
        let address = join_address(&word, default_port).ok_or_else(|| {
            let expected = if word.contains("provider=") {
                "expected HOST or HOST:PORT: lookup at a cloud provider is left out"
            } else {
                "expected HOST, HOST:PORT or [IPv6]:PORT"
            };
            read.wrong_as("retry_join", &word, expected)
        })?;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

fn join_address(word: &str, default_port: u16) -> Option<JoinAddress> {
    if let Ok(address) = word.parse::<IpAddr>() {
        return Some(JoinAddress {
            host: address.to_string(),
            port: default_port,
        });
    }
    if let Ok(address) = word.parse::<SocketAddr>() {
        return (address.port() != 0).then(|| JoinAddress {
            host: address.ip().to_string(),
            port: address.port(),
        });
    }
    let (host, port) = match word.split_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port != 0)?),
        None => (word, default_port),
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    // 253 bytes is the longest name DNS can carry.
    let valid = !host.is_empty() && host.len() <= 253 && host.chars().all(allowed);
    valid.then(|| JoinAddress {
        host: host.to_owned(),
        port,
    })
}
