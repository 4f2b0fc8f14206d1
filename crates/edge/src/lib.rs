//! The HTTP edge: listeners, connections and requests, for servers and agents alike.
//!
//! ```text
//! accept ──▶ link (bytes, time-outs, hang-ups) ──▶ hyper ──▶ handle ──▶ Api::find ──▶ Api::answer
//! ```
//! One task a connection; it owns the link and the handlers of its requests, and dies with the connection. Raw hyper and
//! static tables of routes: the hot path is a read or write of one key, and every allocation there is seen in the bench.
//! What is answered is not known here: a server brings its table, an agent its own, asked in order. TLS will wrap the socket in
//! `accept`; tokens will be checked in `handle`, before an endpoint is called.

mod accept;
pub mod answer;
pub mod body;
mod error;
mod handle;
mod link;
pub mod metrics;
mod parking;
mod route;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

pub use self::accept::{Listener, serve};
pub use self::answer::{Body, Meta};
pub use self::error::{Error, undecodable};
pub use self::handle::{Call, Client};
pub use self::parking::Parking;
pub use self::route::{Answering, Api, Found, Handler, Matched, Route, Table, route};

/// Bounds of the edge. Past them a client gets 413, 429 or 431; nothing grows without one.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections of one client address; more get 429. Unix sockets have no address and do not count.
    pub connections_per_client: usize,
    /// Connections of all clients; more are closed.
    pub connections: usize,
    /// Blocking queries that wait; more get 429.
    pub parked_queries: usize,
    /// Bytes of a request's head (path, query, headers); more get 431.
    pub head_bytes: usize,
    /// How long a connection may be idle between requests: longer than clients keep theirs in a pool (Prometheus 4 min).
    pub idle: Duration,
    /// How long a request's head may take.
    pub head: Duration,
    /// How long a client may take none of an answer's bytes.
    pub write: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections_per_client: 200,
            connections: 20_000,
            parked_queries: 50_000,
            head_bytes: 64 * 1024,
            idle: Duration::from_secs(5 * 60),
            head: Duration::from_secs(10),
            write: Duration::from_secs(60),
        }
    }
}

/// What the edge needs to know.
#[derive(Debug, Clone)]
pub struct EdgeConfig {
    /// Ours; requests for another are refused.
    pub datacenter: String,
    /// Wait of a blocking query that names none.
    pub default_query_time: Duration,
    /// Longest wait of a blocking query.
    pub max_query_time: Duration,
    /// Bounds.
    pub limits: Limits,
}

impl Default for EdgeConfig {
    fn default() -> Self {
        EdgeConfig {
            datacenter: "dc1".to_owned(),
            default_query_time: Duration::from_secs(300),
            max_query_time: Duration::from_secs(600),
            limits: Limits::default(),
        }
    }
}

/// What all listeners and connections of a process share.
pub struct Edge {
    config: EdgeConfig,
    apis: Vec<Arc<dyn Api>>,
    requests: metrics::RequestMetrics,
    shutdown: CancellationToken,
    parked: AtomicUsize,
    connections: AtomicUsize,
    clients: Mutex<HashMap<IpAddr, usize>>,
}

impl std::fmt::Debug for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edge")
            .field("config", &self.config)
            .field("parked", &self.parked)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

impl Edge {
    /// Makes the edge of one process. `apis` are asked in order; the first that knows a path answers. When `shutdown` is
    /// cancelled, listeners close and parked queries answer at once.
    pub fn new(
        config: EdgeConfig,
        apis: Vec<Arc<dyn Api>>,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Edge {
            config,
            requests: metrics::RequestMetrics::new(&apis),
            apis,
            shutdown,
            parked: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            clients: Mutex::new(HashMap::new()),
        })
    }

    /// As it was made.
    pub fn config(&self) -> &EdgeConfig {
        &self.config
    }

    /// Cancelled when the process stops: streams without an end of their own watch it.
    pub fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// Blocking queries that wait now.
    pub fn parked(&self) -> usize {
        self.parked.load(Ordering::Relaxed)
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// A share of a bounded number; given back when dropped.
struct Share<'a>(&'a AtomicUsize);

impl<'a> Share<'a> {
    /// `None`: all are taken.
    fn take(taken: &'a AtomicUsize, limit: usize) -> Option<Self> {
        let share = Share(taken);
        if taken.fetch_add(1, Ordering::Relaxed) < limit {
            Some(share)
        } else {
            // Dropping `share` gives back what was just added.
            None
        }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
