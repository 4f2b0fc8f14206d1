//! What one check does when it runs: the kinds behind one door.

use std::time::Duration;

use super::dial::Dialer;
use super::grpc::GrpcProbe;
use super::http::HttpProbe;
use super::output::Outcome;
use super::scheduler::Class;
use super::script::ScriptProbe;
use super::tcp::TcpProbe;
use crate::definition::{Definition, Every, Kind, TIMEOUT_DEFAULT};

/// How long a script may take when its definition does not say. Consul's.
pub(super) const SCRIPT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// A check, taken apart once and run often.
#[derive(Debug)]
pub(super) enum Probe {
    /// HTTP(S).
    Http(Box<HttpProbe>),
    /// TCP.
    Tcp(TcpProbe),
    /// gRPC.
    Grpc(Box<GrpcProbe>),
    /// A program.
    Script(ScriptProbe),
    /// Nothing that could be run: every run says why.
    Unsound(String),
}

impl Probe {
    /// From a definition; `None`: it is not one of those that run in an interval.
    pub(super) fn new(definition: &Definition) -> Option<(Self, Class, Every)> {
        let limit = definition.output_bytes_max;
        let (probe, every) = match &definition.kind {
            Kind::Ttl { .. } | Kind::Alias { .. } | Kind::Maintenance => return None,
            Kind::Http { every, http } => {
                let probe = HttpProbe::new(http, limit);
                (probe.map(|probe| Probe::Http(Box::new(probe))), every)
            }
            Kind::Tcp {
                every,
                address,
                tls,
            } => (TcpProbe::new(address, tls.as_ref()).map(Probe::Tcp), every),
            Kind::Grpc { every, target, tls } => {
                let probe = GrpcProbe::new(target, tls.as_ref());
                (probe.map(|probe| Probe::Grpc(Box::new(probe))), every)
            }
            Kind::Script { every, args } => {
                (ScriptProbe::new(args, limit).map(Probe::Script), every)
            }
        };
        let class = match &definition.kind {
            Kind::Script { .. } => Class::Process,
            _ => Class::Network,
        };
        Some((probe.unwrap_or_else(Probe::Unsound), class, *every))
    }

    /// Runs it once, within its time-out.
    pub(super) async fn run(&self, dialer: &Dialer, timeout: Option<Duration>) -> Outcome {
        let within = timeout.unwrap_or(TIMEOUT_DEFAULT);
        match self {
            Probe::Http(probe) => probe.run(dialer, within).await,
            Probe::Tcp(probe) => probe.run(dialer, within).await,
            Probe::Grpc(probe) => probe.run(dialer, within).await,
            Probe::Script(probe) => {
                let within = timeout.unwrap_or(SCRIPT_TIMEOUT_DEFAULT);
                Box::pin(probe.run(within)).await
            }
            Probe::Unsound(words) => Outcome::critical(words.clone()),
        }
    }
}
