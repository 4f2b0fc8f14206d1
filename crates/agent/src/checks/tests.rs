//! Checks against real sockets and real programs: what a run says of each kind of healthy and unhealthy thing.

mod alias;
mod grpc;
mod http;
mod http_tls;
mod running;
mod script;
mod server;
mod tcp;

use std::time::Duration;

use super::dial::Dialer;
use super::output::Outcome;
use super::probe::Probe;
use super::tls::{Authorities, Secure};
use crate::definition::{Definition, Every, Http, Kind, OUTPUT_BYTES_MAX, Status, Thresholds};

/// Long enough for anything on this machine; where a test waits for it, it has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of checks that are to time out.
const SHORT: Duration = Duration::from_millis(300);

fn every(interval: Duration, timeout: Duration) -> Every {
    Every {
        interval,
        timeout: Some(timeout),
    }
}

fn definition(id: &str, kind: Kind) -> Definition {
    Definition {
        id: id.to_owned(),
        name: id.to_owned(),
        notes: String::new(),
        service_id: String::new(),
        kind,
        initial_status: Status::Critical,
        thresholds: Thresholds::default(),
        deregister_critical_service_after: None,
        output_bytes_max: OUTPUT_BYTES_MAX,
        with_service: false,
    }
}

fn http_kind(http: Http, timeout: Duration) -> Kind {
    Kind::Http {
        every: every(Duration::from_secs(1), timeout),
        http,
    }
}

fn get(url: impl Into<String>) -> Http {
    Http {
        url: url.into(),
        ..Http::default()
    }
}

/// One run, believing these authorities.
async fn run_with(kind: Kind, authorities: Authorities) -> Outcome {
    let definition = definition("c", kind);
    let (probe, _, every) = Probe::new(&definition).expect("it must be run in an interval");
    let dialer = Dialer::new(Secure::new(authorities));
    probe.run(&dialer, every.timeout).await
}

/// One run.
async fn run(kind: Kind) -> Outcome {
    run_with(kind, Authorities::System).await
}

async fn run_http(http: Http) -> Outcome {
    run(http_kind(http, PATIENCE)).await
}

#[track_caller]
fn assert_outcome(outcome: &Outcome, status: Status, words: &str) {
    assert_eq!(outcome.status, status, "{outcome:?}");
    assert!(
        outcome.output.contains(words),
        "{outcome:?} lacks {words:?}"
    );
}
