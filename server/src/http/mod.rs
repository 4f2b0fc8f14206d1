//! A server's part of Consul's API, over the one door.
//!
//! `table` has every route; the edge (`rollcall_edge`) brings listeners, connections and paths. Nothing here knows Raft;
//! `error` alone turns the door's errors into statuses.

mod answer_cache;
mod blocking;
mod call;
mod catalog;
mod catalog_write;
mod coordinate;
mod error;
mod filter_fields;
mod health;
mod kv;
mod operator;
mod prepared_query;
mod reading;
mod registration;
mod rows;
mod session;
mod snapshot;
mod table;
mod txn;
mod txn_answer;
mod txn_decode;
mod usage;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rollcall_edge::{Api, Edge, Table};
use tokio_util::sync::CancellationToken;

pub use rollcall_edge::{EdgeConfig, Limits, Listener, serve};

use crate::audit::Audit;
use crate::disk::SharedDisk;
use crate::door::Door;

/// Where an uploaded snapshot is kept until it is known to be whole.
#[derive(Debug, Clone)]
pub struct Spool {
    /// The data directory's disk.
    pub disk: SharedDisk,
    /// A directory on it.
    pub directory: PathBuf,
}

/// What a server's endpoints need to know.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// This server's node: sessions are bound to it unless they name another.
    pub node_name: String,
    /// Shortest TTL of a session.
    pub session_ttl_min: Duration,
    /// Bytes of a key's value; more get 413.
    pub value_bytes: usize,
    /// Bytes of a transaction's body; more get 413.
    pub txn_bytes: usize,
    /// Bytes of an uploaded snapshot; more get 413.
    pub snapshot_bytes: u64,
    /// Without one, snapshots cannot be restored through this server.
    pub spool: Option<Spool>,
    /// Writes are recorded here, if anywhere.
    pub audit: Option<Audit>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        HttpConfig {
            node_name: "localhost".to_owned(),
            session_ttl_min: Duration::from_secs(10),
            value_bytes: 512 * 1024,
            txn_bytes: 512 * 1024,
            snapshot_bytes: 16 << 30,
            spool: None,
            audit: None,
        }
    }
}

/// What a server's endpoints share.
struct ServerApi {
    config: HttpConfig,
    door: Arc<dyn Door>,
    restoring: AtomicBool,
    answers: answer_cache::AnswerCache,
}

/// A server's endpoints over its door.
pub fn api(config: HttpConfig, door: Arc<dyn Door>) -> Arc<dyn Api> {
    let api = ServerApi {
        config,
        door,
        restoring: AtomicBool::new(false),
        answers: answer_cache::AnswerCache::default(),
    };
    Arc::new(Table::new(api, &table::ROUTES))
}

/// An edge with a server's endpoints and no others.
pub fn edge(
    edge: EdgeConfig,
    config: HttpConfig,
    door: Arc<dyn Door>,
    shutdown: CancellationToken,
) -> Arc<Edge> {
    Edge::new(edge, vec![api(config, door)], shutdown)
}

#[cfg(test)]
mod tests;
