//! The HTTP edge: Consul's API over the one door.
//!
//! ```text
//! accept ──▶ link (bytes, time-outs, hang-ups) ──▶ hyper ──▶ handle ──▶ route ──▶ kv, session, txn, … ──▶ Door
//! ```
//! One task a connection; it owns the link and the handlers of its requests, and dies with the connection. Raw hyper and
//! one static table of routes: the hot path is a read or write of one key, and every allocation there is seen in the bench.
//! Nothing here knows Raft; `error` alone turns errors into statuses. TLS will wrap the socket in `accept`; tokens will be
//! checked in `handle`, before a route's endpoint is called.

mod accept;
mod answer;
mod blocking;
mod body;
mod error;
mod handle;
mod kv;
mod link;
mod operator;
mod route;
mod session;
mod snapshot;
mod txn;
mod txn_answer;
mod txn_decode;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

pub use self::accept::{Listener, serve};
use crate::audit::Audit;
use crate::disk::SharedDisk;
use crate::door::Door;

/// Bounds of the edge. Past them a client gets 413, 429 or 431; nothing grows without one.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections of one client address; more get 429. Unix sockets have no address and do not count.
    pub connections_per_client: usize,
    /// Connections of all clients; more are closed.
    pub connections: usize,
    /// Blocking queries that wait; more get 429.
    pub parked_queries: usize,
    /// Bytes of a key's value; more get 413.
    pub value_bytes: usize,
    /// Bytes of a transaction's body; more get 413.
    pub txn_bytes: usize,
    /// Bytes of a request's head (path, query, headers); more get 431.
    pub head_bytes: usize,
    /// Bytes of an uploaded snapshot; more get 413.
    pub snapshot_bytes: u64,
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
            value_bytes: 512 * 1024,
            txn_bytes: 512 * 1024,
            head_bytes: 64 * 1024,
            snapshot_bytes: 16 << 30,
            idle: Duration::from_secs(5 * 60),
            head: Duration::from_secs(10),
            write: Duration::from_secs(60),
        }
    }
}

/// Where an uploaded snapshot is kept until it is known to be whole.
#[derive(Debug, Clone)]
pub struct Spool {
    /// The data directory's disk.
    pub disk: SharedDisk,
    /// A directory on it.
    pub directory: PathBuf,
}

/// What the edge needs to know.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Ours; requests for another are refused.
    pub datacenter: String,
    /// This server's node: sessions are bound to it unless they name another.
    pub node_name: String,
    /// Wait of a blocking query that names none.
    pub default_query_time: Duration,
    /// Longest wait of a blocking query.
    pub max_query_time: Duration,
    /// Shortest TTL of a session.
    pub session_ttl_min: Duration,
    /// Bounds.
    pub limits: Limits,
    /// Without one, snapshots cannot be restored through this server.
    pub spool: Option<Spool>,
    /// Writes are recorded here, if anywhere.
    pub audit: Option<Audit>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        HttpConfig {
            datacenter: "dc1".to_owned(),
            node_name: "localhost".to_owned(),
            default_query_time: Duration::from_secs(300),
            max_query_time: Duration::from_secs(600),
            session_ttl_min: Duration::from_secs(10),
            limits: Limits::default(),
            spool: None,
            audit: None,
        }
    }
}

/// What all listeners and connections of a server share.
pub struct Edge {
    config: HttpConfig,
    door: Arc<dyn Door>,
    shutdown: CancellationToken,
    parked: AtomicUsize,
    connections: AtomicUsize,
    clients: Mutex<HashMap<IpAddr, usize>>,
    restoring: AtomicBool,
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
    /// Makes the edge of one server. When `shutdown` is cancelled, listeners close and parked queries answer at once.
    pub fn new(config: HttpConfig, door: Arc<dyn Door>, shutdown: CancellationToken) -> Arc<Self> {
        Arc::new(Edge {
            config,
            door,
            shutdown,
            parked: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            clients: Mutex::new(HashMap::new()),
            restoring: AtomicBool::new(false),
        })
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

#[cfg(test)]
mod tests;
