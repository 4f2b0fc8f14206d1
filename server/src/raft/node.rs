//! A Raft node: its parts, put together and taken apart.
//!
//! ```text
//! task            owns                                 dies
//! RaftCore, …     openraft's own                       with shutdown()
//! log-writer      the log's file                       when the store is closed
//! snapshots_when  when a snapshot is due               with shutdown()
//! watch_core      whether RaftCore still runs          with shutdown()
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{InitializeError, RaftError};
use openraft::{Config, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::fatal::Fatal;
use super::log_open::StoreError;
use super::log_store::Store;
use super::network::NetworkFactory;
use super::published::Published;
use super::service::{Append, Calls, Receive};
use super::snapshot::{SnapshotError, Snapshots};
use super::state_machine::{Growth, StateMachine, Wake};
use super::types::{Raft, ServerId};
use crate::disk::SharedDisk;
use crate::rpc;
use crate::rt;
use crate::sabotage::Sabotage;

/// Heartbeats go out this often at multiplier 1. Three may be lost before a follower stirs.
const HEARTBEAT_MS: u64 = 80;
/// At multiplier 1 a follower waits the longer of these plus a random time between both before it asks for votes:
/// another leader is there 0.5 to 0.7 s after one died, and a busy machine with two cores does not change leaders.
const ELECTION_MS: (u64, u64) = (170, 340);
/// Answers to appends, at multiplier 1: longer than any sync of a healthy disk.
const RESPONSE_TIMEOUT_MS: u64 = 1000;
/// Entries of one append between servers. Bytes are limited as well, where the log is read.
const APPEND_ENTRIES_MAX: u64 = 1024;
/// Raft's tasks end in milliseconds; a disk that hangs must not keep the process.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// When a snapshot is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotLimits {
    /// Bytes of log since the last one; at least the size of the last one, whatever is set here.
    pub log_bytes: u64,
    /// Entries since the last one.
    pub log_entries: u64,
    /// Entries kept after a snapshot for followers that lag a little.
    pub keep_entries: u64,
    /// Bytes kept after a snapshot, about: fewer entries are kept when they are large.
    pub keep_bytes: u64,
}

impl Default for SnapshotLimits {
    fn default() -> Self {
        Self {
            log_bytes: 64 << 20,
            log_entries: 1_000_000,
            keep_entries: 10_000,
            keep_bytes: 64 << 20,
        }
    }
}

/// How a Raft node is started.
pub struct Options {
    /// This server.
    pub id: ServerId,
    /// Where log and snapshots are. It exists.
    pub data_dir: PathBuf,
    /// The disk they are on.
    pub disk: SharedDisk,
    /// Calls other servers.
    pub client: Arc<rpc::Client>,
    /// Told of each published batch's changes (`Watchers::wake`).
    pub wake: Wake,
    /// Consul's `performance.raft_multiplier`: scales all time-outs. 1 to 10; 0 counts as 1.
    pub raft_multiplier: u32,
    /// When a snapshot is due.
    pub snapshot_limits: SnapshotLimits,
    /// Promises broken on purpose (simulation only).
    pub sabotage: Sabotage,
}

/// Why a Raft node does not start. Nothing was changed on disk, except where a file was made for the first time.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A snapshot.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The log goes on where no snapshot leads to.
    #[error(
        "{} begins after entry {purged}, but the newest snapshot beside it ends at {snapshot}: a snapshot file is missing. Put it back, or empty the data directory and let this server join again as a new one",
        path.display()
    )]
    Gap {
        /// The log's file.
        path: PathBuf,
        /// Entries up to this index are only in a snapshot.
        purged: u64,
        /// The newest snapshot's last index; 0: there is none.
        snapshot: u64,
    },
    /// openraft refused.
    #[error("Raft does not start: {0}")]
    Raft(String),
}

/// A running Raft node.
pub struct RaftHandle {
    /// This server.
    pub id: ServerId,
    /// openraft's handle: writes, read index, membership, metrics.
    pub raft: Raft,
    /// The applied state.
    pub published: Arc<Published>,
    /// Why the server must stop, once it must.
    pub fatal: Fatal,
    store: Store,
    snapshots: Arc<Snapshots>,
    contact: Arc<Contact>,
    stop: CancellationToken,
}

impl fmt::Debug for RaftHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RaftHandle({})", self.id)
    }
}

/// When a leader was last heard of.
#[derive(Debug, Default)]
pub(super) struct Contact(Mutex<Option<rt::Instant>>);

impl Contact {
    /// A leader's message came.
    pub(super) fn made(&self) {
        *self.0.lock() = Some(rt::Instant::now());
    }
}

impl RaftHandle {
    /// Opens log and snapshots and starts Raft. Call it within a runtime, and serve [`RaftHandle::handlers`] then.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let fatal = Fatal::new();
        let (disk, directory) = (options.disk, options.data_dir);
        // Snapshots first: they are only read, while to open the log marks its file, and a start that fails changes nothing.
        let (snapshots, started) = Snapshots::open(Arc::clone(&disk), &directory)?;
        let store = Store::open(&disk, &directory, fatal.clone(), options.sabotage)?;
        let end = started.as_ref().and_then(|(meta, _)| meta.last_log_id);
        if let Err(error) = check_no_gap(&store, end.map_or(0, |id| id.index)) {
            store.close().await;
            return Err(error);
        }
        let machine = StateMachine::new(
            started,
            Arc::clone(&snapshots),
            options.wake,
            fatal.clone(),
            options.sabotage,
        );
        let published = machine.published();
        let growth = machine.growth();
        let multiplier = u64::from(options.raft_multiplier.max(1));
        let network = NetworkFactory {
            client: options.client,
            snapshots: Arc::clone(&snapshots),
            response_timeout: Duration::from_millis(RESPONSE_TIMEOUT_MS * multiplier),
        };
        let config = config(multiplier, &options.snapshot_limits, options.sabotage)?;
        let raft = Raft::new(options.id, config, network, store.clone(), machine).await;
        let raft = raft.map_err(|error| {
            StartError::Raft(fatal.reason().unwrap_or_else(|| error.to_string()))
        })?;
        let stop = CancellationToken::new();
        spawn_until(&stop, {
            let (raft, snapshots) = (raft.clone(), Arc::clone(&snapshots));
            snapshots_when_due(raft, snapshots, growth, options.snapshot_limits)
        });
        spawn_until(&stop, watch_core(raft.clone(), fatal.clone()));
        Ok(Self {
            id: options.id,
            raft,
            published,
            fatal,
            store,
            snapshots,
            contact: Arc::default(),
            stop,
        })
    }

    /// What this server answers with on its port: Raft's messages, and the application's calls.
    pub fn handlers(&self, application: Arc<dyn rpc::Handler>) -> rpc::Handlers {
        rpc::Handlers {
            call: Arc::new(Calls {
                raft: self.raft.clone(),
                application,
            }),
            append: Arc::new(Append {
                raft: self.raft.clone(),
                contact: Arc::clone(&self.contact),
            }),
            snapshot: Arc::new(Receive {
                raft: self.raft.clone(),
                snapshots: Arc::clone(&self.snapshots),
                contact: Arc::clone(&self.contact),
                place: Semaphore::new(1),
            }),
        }
    }

    /// Log, vote and named values.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// How long ago a leader was heard of; zero on the leader, [`Duration::MAX`] before the first.
    pub fn last_contact(&self) -> Duration {
        if self.leadership().is_some() {
            return Duration::ZERO;
        }
        let heard = *self.contact.0.lock();
        heard.map_or(Duration::MAX, |at| at.elapsed())
    }

    /// Makes this server the first of a cluster with these voters. It must have no data. Doing it twice does nothing.
    ///
    /// # Errors
    /// In words.
    pub async fn initialise(&self, voters: BTreeSet<ServerId>) -> Result<(), String> {
        match self.raft.initialize(voters).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Stops Raft and closes the log.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        let stopped = rt::timeout(SHUTDOWN_TIMEOUT, async {
            if let Err(error) = self.raft.shutdown().await {
                tracing::warn!(%error, "Raft did not end well");
            }
            self.store.close().await;
        });
        if stopped.await.is_none() {
            tracing::warn!("Raft did not end in time");
        }
    }
}

impl Drop for RaftHandle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn check_no_gap(store: &Store, snapshot: u64) -> Result<(), StartError> {
    match store.purged() {
        Some(purged) if purged.index > snapshot => Err(StartError::Gap {
            path: store.path().to_owned(),
            purged: purged.index,
            snapshot,
        }),
        _ => Ok(()),
    }
}

fn config(
    multiplier: u64,
    limits: &SnapshotLimits,
    sabotage: Sabotage,
) -> Result<Arc<Config>, StartError> {
    let config = Config {
        cluster_name: "rollcall".to_owned(),
        heartbeat_interval: HEARTBEAT_MS * multiplier,
        election_timeout_min: ELECTION_MS.0 * multiplier,
        election_timeout_max: ELECTION_MS.1 * multiplier,
        enable_pre_vote: Some(true),
        // A leader that lost its unsynced tail must not lead again in its old term.
        enable_leader_restore: Some(sabotage.restores_leader()),
        max_payload_entries: APPEND_ENTRIES_MAX,
        // Ours are due by bytes, which openraft does not count.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: limits.keep_entries,
        purge_batch_size: (limits.keep_entries / 4).clamp(1, 4096),
        install_snapshot_timeout: 600_000,
        backoff: "20ms 40ms ...500ms".to_owned(),
        ..Config::default()
    };
    let config = config.validate();
    config
        .map(Arc::new)
        .map_err(|error| StartError::Raft(error.to_string()))
}

fn spawn_until(stop: &CancellationToken, task: impl Future<Output = ()> + Send + 'static) {
    let stop = stop.clone();
    rt::spawn(async move {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = task => {}
        }
    });
}

/// Asks for a snapshot whenever the log has grown enough.
async fn snapshots_when_due(
    raft: Raft,
    snapshots: Arc<Snapshots>,
    growth: Arc<Growth>,
    limits: SnapshotLimits,
) {
    loop {
        growth.grown.notified().await;
        let last_bytes = snapshots.current().map_or(0, |(_, file)| file.bytes());
        let bytes = growth.bytes.load(Ordering::Relaxed);
        let entries = growth.entries.load(Ordering::Relaxed);
        if bytes < limits.log_bytes.max(last_bytes) && entries < limits.log_entries {
            continue;
        }
        growth.bytes.store(0, Ordering::Relaxed);
        growth.entries.store(0, Ordering::Relaxed);
        tracing::info!(bytes, entries, "the log has grown; taking a snapshot");
        let applied = raft.metrics().borrow_watched().last_applied;
        if raft.trigger().snapshot().await.is_err() {
            return;
        }
        let average = bytes / entries.max(1);
        let keep = limits.keep_entries.min(limits.keep_bytes / average.max(1));
        purge_after_snapshot(&raft, applied.map_or(0, |id| id.index), keep).await;
    }
}

/// Waits until a snapshot holds everything up to `applied` and drops all of the log before it but `keep` entries. openraft
/// itself keeps a number of entries, whatever their size: after a restore they would be gigabytes.
async fn purge_after_snapshot(raft: &Raft, applied: u64, keep: u64) {
    let mut metrics = raft.metrics();
    loop {
        let (snapshot, running) = {
            let now = metrics.borrow_watched();
            (
                now.snapshot.map_or(0, |id| id.index),
                now.running_state.is_ok(),
            )
        };
        if !running {
            return;
        }
        if snapshot >= applied {
            // An error means that Raft has stopped, which others report.
            let _ = raft
                .trigger()
                .purge_log(snapshot.saturating_sub(keep))
                .await;
            return;
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

/// Reports when openraft stopped by itself: it does after a storage error.
async fn watch_core(raft: Raft, fatal: Fatal) {
    let mut metrics = raft.metrics();
    loop {
        let running = metrics.borrow_watched().running_state.clone();
        if let Err(error) = running {
            fatal.report(format!("Raft stopped: {error}"));
            return;
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
