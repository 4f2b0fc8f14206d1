//! Connections to what is checked: names, addresses, TLS, and what went wrong in words that people of Consul know.
//!
//! A connection serves one run. Kept alive it would be cheaper, but would check less: a server that accepts nobody any more, has no
//! file descriptors left, or is not the one its name now leads to still answers on an old connection; and what closes an idle
//! connection just as a request is sent makes a healthy service critical. Consul does the same.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rollcall_rt as rt;
use rt::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use super::tls::{Protocols, Secure, TlsError};
use crate::definition::Tls;

/// Names looked up at once. A lookup holds a thread that disks need too, for half a minute where no DNS server answers.
const LOOKUPS_MAX: usize = 32;
/// Before it is tried again to get what this machine itself lacked: a socket, a port, memory.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// Name or IP address, without brackets.
    pub(super) host: String,
    /// Port.
    pub(super) port: u16,
}

impl Target {
    /// `host:port` or `[address]:port`. The error is in Go's words.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':')),
            None => match text.rsplit_once(':') {
                Some((host, _)) if host.contains(':') => {
                    return Err(format!(
                        "dial tcp: address {text}: too many colons in address"
                    ));
                }
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port =
            port.ok_or_else(|| format!("dial tcp: address {text}: missing port in address"))?;
        let port = port
            .parse()
            .map_err(|_| format!("dial tcp: address {port}: invalid port"))?;
        // As in Go, no host is this one.
        let host = if host.is_empty() { "localhost" } else { host };
        Ok(Target {
            host: host.to_owned(),
            port,
        })
    }
}

/// Why there is no connection. Nothing was sent that a server could act upon.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// The name leads nowhere.
    #[error("dial tcp: lookup {host}: no such host")]
    Lookup {
        /// The name.
        host: String,
    },
    /// No connection to the address.
    #[error("dial tcp {address}: {}", connect_words(.source))]
    Connect {
        /// The first that was tried.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The address did not answer in its share of the time.
    #[error("dial tcp {address}: i/o timeout")]
    Silent {
        /// The first that was tried.
        address: SocketAddr,
    },
    /// No TLS with it.
    #[error("{0}")]
    Tls(TlsError),
}

fn connect_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connect: connection reset by peer".to_owned(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        _ => format!("connect: {}", system_words(error)),
    }
}

/// A system error without its number.
pub(super) fn system_words(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    words.to_lowercase()
}

/// Something this machine lacks, which says nothing about the service.
fn is_shortage_here(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::ADDRNOTAVAIL)
    )
}

/// Bytes both ways, with or without TLS.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A connection to what is checked.
pub(super) struct Connection {
    /// The bytes.
    pub(super) wire: Box<dyn Wire>,
    /// Whether the other side chose HTTP/2 when it was offered.
    pub(super) http2: bool,
}

/// Makes connections.
#[derive(Debug)]
pub(super) struct Dialer {
    secure: Secure,
    lookups: Arc<Semaphore>,
}

impl Dialer {
    /// With these certificates.
    pub(super) fn new(secure: Secure) -> Self {
        Dialer {
            secure,
            lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)),
        }
    }

    /// Connects within a time, which the addresses of a name share.
    pub(super) async fn connect(
        &self,
        to: &Target,
        within: Duration,
    ) -> Result<TcpStream, DialError> {
        let end = rt::Instant::now() + within;
        let addresses = self.resolve(to).await;
        let mut failure = None;
        for (tried, address) in addresses.iter().enumerate() {
            let left = end.saturating_duration_since(rt::Instant::now());
            let share = left / (addresses.len() - tried) as u32;
            let error = match rt::timeout(share, connect_one(*address)).await {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(source)) => DialError::Connect {
                    address: *address,
                    source,
                },
                None => DialError::Silent { address: *address },
            };
            failure.get_or_insert(error);
        }
        Err(failure.unwrap_or_else(|| DialError::Lookup {
            host: to.host.clone(),
        }))
    }

    /// Connects and, with `tls`, agrees on TLS.
    pub(super) async fn open(
        &self,
        to: &Target,
        tls: Option<&Tls>,
        protocols: Protocols,
        within: Duration,
    ) -> Result<Connection, DialError> {
        let stream = self.connect(to, within).await?;
        let Some(tls) = tls else {
            return Ok(Connection {
                wire: Box::new(stream),
                http2: false,
            });
        };
        let (config, name) = self
            .secure
            .client(tls, &to.host, protocols)
            .await
            .map_err(DialError::Tls)?;
        let stream = TlsConnector::from(config)
            .connect(name, stream)
            .await
            .map_err(|error| DialError::Tls(TlsError::of_handshake(error)))?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Connection {
            wire: Box::new(stream),
            http2,
        })
    }

    /// The lookup itself goes on when nobody waits for it any more, so it keeps its place for itself.
    async fn resolve(&self, to: &Target) -> Vec<SocketAddr> {
        if let Ok(address) = to.host.parse() {
            return vec![SocketAddr::new(address, to.port)];
        }
        let permit = Arc::clone(&self.lookups)
            .acquire_owned()
            .await
            .expect("the semaphore must stay open");
        let Target { host, port } = to.clone();
        let lookup = rt::spawn(async move {
            let addresses = rt::net::resolve(&host, port).await;
            drop(permit);
            addresses
        });
        lookup.await.unwrap_or_default()
    }
}

/// Waits, within the time its caller gives it, for what this machine lacks.
fn connect_one(address: SocketAddr) -> Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>> {
    Box::pin(async move {
        loop {
            match TcpStream::connect(address).await {
                Err(error) if is_shortage_here(&error) => {
                    tracing::debug!(%address, %error, "a check waits for a socket");
                    rt::sleep(SHORTAGE_PAUSE).await;
                }
                other => return other,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_addresses() {
        let target = |host: &str, port| {
            Ok(Target {
                host: host.to_owned(),
                port,
            })
        };
        for (text, expected) in [
            ("127.0.0.1:80", target("127.0.0.1", 80)),
            ("[::1]:80", target("::1", 80)),
            ("db.example:5432", target("db.example", 5432)),
            (":80", target("localhost", 80)),
        ] {
            assert_eq!(Target::parse(text), expected, "{text}");
        }
        for (text, words) in [
            ("db", "missing port"),
            ("[::1]", "missing port"),
            ("::1:80", "too many colons"),
            ("db:http", "invalid port"),
            ("db:70000", "invalid port"),
        ] {
            let error = Target::parse(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
