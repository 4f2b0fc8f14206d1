//! TCP checks: passing when a connection is accepted and, where TLS is asked for, both sides agree on it.

use std::time::Duration;

use rollcall_rt as rt;

use super::dial::{DialError, Dialer, Target};
use super::output::Outcome;
use super::tls::Protocols;
use crate::definition::Tls;

/// A TCP check, taken apart once.
#[derive(Debug)]
pub(super) struct TcpProbe {
    /// As it was given: it stands in the output.
    given: String,
    target: Target,
    tls: Option<Tls>,
}

impl TcpProbe {
    /// From its definition. The error is what a run would say.
    pub(super) fn new(address: &str, tls: Option<&Tls>) -> Result<Self, String> {
        Ok(TcpProbe {
            given: address.to_owned(),
            target: Target::parse(address)?,
            tls: tls.cloned(),
        })
    }

    /// Runs it once.
    pub(super) async fn run(&self, dialer: &Dialer, timeout: Duration) -> Outcome {
        let (what, opened) = match &self.tls {
            None => {
                let connected = dialer.connect(&self.target, timeout);
                (
                    "TCP",
                    rt::timeout(timeout, connected).await.map(drop_connection),
                )
            }
            Some(tls) => {
                let opened = dialer.open(&self.target, Some(tls), Protocols::None, timeout);
                (
                    "TCP+TLS",
                    rt::timeout(timeout, opened).await.map(drop_connection),
                )
            }
        };
        match opened {
            Some(Ok(())) => Outcome::passing(format!("{what} connect {}: Success", self.given)),
            Some(Err(error)) => Outcome::critical(error.to_string()),
            None => Outcome::critical(format!("dial tcp {}: i/o timeout", self.given)),
        }
    }
}

fn drop_connection<T>(opened: Result<T, DialError>) -> Result<(), DialError> {
    opened.map(drop)
}
