//! Where a server is: `host:port`, `http://host:port`, `unix:///path`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Port of the HTTP API where none is named.
const PORT_DEFAULT: u16 = 8500;

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// Over TCP.
    Tcp {
        /// Name or IP address, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// Over a unix socket.
    Unix(PathBuf),
}

/// An address that is none, or that cannot be reached by this version. The caller's to correct.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("address {address:?}: {expected}")]
pub struct AddressError {
    /// As it was given.
    pub address: String,
    /// What it may be.
    pub expected: &'static str,
}

impl Default for Address {
    fn default() -> Self {
        Address::Tcp {
            host: "127.0.0.1".into(),
            port: PORT_DEFAULT,
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |expected| AddressError {
            address: text.to_owned(),
            expected,
        };
        if let Some(path) = text.strip_prefix("unix://") {
            let unix = || Address::Unix(path.into());
            return (!path.is_empty())
                .then(unix)
                .ok_or_else(|| wrong("expected a path after unix://"));
        }
        if text.starts_with("https://") {
            return Err(wrong(
                "TLS is not in this version: expected http://HOST:PORT or unix://PATH",
            ));
        }
        let rest = text
            .strip_prefix("http://")
            .or_else(|| text.strip_prefix("tcp://"))
            .unwrap_or(text);
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        split(authority).ok_or_else(|| wrong("expected HOST:PORT, http://HOST:PORT or unix://PATH"))
    }
}

fn split(authority: &str) -> Option<Address> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (
                host,
                if port.is_empty() {
                    None
                } else {
                    Some(port.strip_prefix(':')?)
                },
            )
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    if host.is_empty() || !host.chars().all(allowed) {
        return None;
    }
    let port = port.map_or(Some(PORT_DEFAULT), |port| {
        port.parse().ok().filter(|port| *port != 0)
    })?;
    Some(Address::Tcp {
        host: host.to_owned(),
        port,
    })
}

impl Address {
    /// `host:port` for the Host header.
    pub(crate) fn authority(&self) -> String {
        match self {
            Address::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Address::Tcp { host, port } => format!("{host}:{port}"),
            Address::Unix(_) => "localhost".into(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { .. } => write!(f, "http://{}", self.authority()),
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_consuls_tools_write_them() {
        for (text, shown) in [
            ("127.0.0.1:8501", Some("http://127.0.0.1:8501")),
            ("http://consul:80/", Some("http://consul:80")),
            ("consul", Some("http://consul:8500")),
            ("http://[::1]:7", Some("http://[::1]:7")),
            ("[::1]", Some("http://[::1]:8500")),
            ("unix:///run/a.sock", Some("unix:///run/a.sock")),
            ("unix://", None),
            ("https://consul:8501", None),
            ("http://", None),
            ("http://a:b", None),
            ("http://a:0", None),
            ("http://a/prefix", None),
            ("http://a b", None),
            ("[::1", None),
            ("[::1]7", None),
            ("", None),
        ] {
            let read = text
                .parse::<Address>()
                .ok()
                .map(|address| address.to_string());
            assert_eq!(read.as_deref(), shown, "{text:?}");
        }
    }
}
