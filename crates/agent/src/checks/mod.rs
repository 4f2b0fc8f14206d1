//! Check runners: they run what a [`crate::definition::Definition`] says and report results.
//!
//! ```text
//! definition ─▶ probe (http, tcp, grpc, script) ─▶ outcome ─▶ streak (thresholds) ─▶ CheckResult
//!                 ▲ when: scheduler over phase (pure)
//! ```
//! `scheduler`, `phase`, `streak`, `output` and `alias::judge` are pure: time is an argument. `runners` gives them a clock, sockets and
//! tasks. TTL checks and aliases of this node's own services need no runner: the local state knows the time and its neighbours. The
//! runners know nothing of catalogs: how often an output that changes is written down is decided where results go.

pub mod alias;
mod dial;
mod exchange;
mod grpc;
mod http;
mod output;
mod phase;
mod probe;
mod runners;
mod scheduler;
pub mod script;
mod streak;
mod tcp;
mod tls;
mod url;

pub use alias::NodeReads;
pub use output::Outcome;
pub use runners::{Checks, Config, NETWORK_RUNS_MAX, Observer, PROCESS_RUNS_MAX, Ran};
pub use scheduler::Bounds;
pub use script::{Scripts, ScriptsRefused, Source};
pub use tls::Authorities;

#[cfg(test)]
mod tests;
