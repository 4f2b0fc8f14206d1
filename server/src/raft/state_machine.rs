//! Applies committed entries, publishes the state, wakes watchers, and only then answers.
//!
//! The order is a contract: a client that has its answer finds its write in any read of this server. The state is cloned
//! once a batch, not once an entry. What is applied lives in memory; on disk are the log and the snapshots, from which
//! a start builds it again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{Stream, StreamExt as _};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use rollcall_state::{Changes, State};
use tokio::sync::Notify;

use super::apply;
use super::fatal::Fatal;
use super::published::Published;
use super::record::entry_bytes;
use super::snapshot::{SnapshotFile, Snapshots};
use crate::sabotage::Sabotage;

use super::types::{Applied, Entry, LogId, SnapshotMeta, StoredMembership, TypeConfig};

/// Entries applied between two publications. More would let answers and watchers wait for the whole of a long replay.
const BATCH_ENTRIES_MAX: usize = 1024;

/// Told of each published batch's changes.
pub type Wake = Box<dyn Fn(&Changes) + Send + Sync>;

/// A snapshot with what openraft wants to know of it.
pub(super) type Snapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotFile>;

/// How much was applied since the last snapshot, and whether one is due.
#[derive(Debug)]
pub(super) struct Growth {
    pub(super) bytes: AtomicU64,
    pub(super) entries: AtomicU64,
    /// Told after each batch.
    pub(super) grown: Notify,
}

/// The state machine.
pub struct StateMachine {
    state: State,
    last_applied: Option<LogId>,
    membership: StoredMembership,
    published: Arc<Published>,
    wake: Wake,
    snapshots: Arc<Snapshots>,
    growth: Arc<Growth>,
    fatal: Fatal,
    sabotage: Sabotage,
}

/// What is applied together.
#[derive(Default)]
struct Batch {
    entries: Vec<(Entry, Option<ApplyResponder<TypeConfig>>)>,
}

impl StateMachine {
    /// Starts from the newest snapshot, or empty.
    pub(super) fn new(
        started: Option<(SnapshotMeta, State)>,
        snapshots: Arc<Snapshots>,
        wake: Wake,
        fatal: Fatal,
        sabotage: Sabotage,
    ) -> Self {
        let (meta, state) = started.unwrap_or_default();
        let applied = meta.last_log_id.map_or(0, |id| id.index);
        Self {
            published: Arc::new(Published::new(state.clone(), applied)),
            state,
            last_applied: meta.last_log_id,
            membership: meta.last_membership,
            wake,
            snapshots,
            growth: Arc::new(Growth {
                bytes: AtomicU64::new(0),
                entries: AtomicU64::new(0),
                grown: Notify::new(),
            }),
            fatal,
            sabotage,
        }
    }

    /// Where readers find the state.
    pub(super) fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published)
    }

    pub(super) fn growth(&self) -> Arc<Growth> {
        Arc::clone(&self.growth)
    }

    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.last_applied,
            last_membership: self.membership.clone(),
        }
    }

    fn apply_batch(&mut self, batch: &mut Batch) -> io::Result<()> {
        let mut changes = Changes::default();
        let mut answers = Vec::with_capacity(batch.entries.len());
        let mut bytes = 0;
        let count = batch.entries.len() as u64;
        for (entry, responder) in batch.entries.drain(..) {
            bytes += entry_bytes(&entry) as u64;
            let applied = self.apply_entry(entry, &mut changes)?;
            if let Some(responder) = responder {
                answers.push((responder, applied));
            }
        }
        let Some(last) = self.last_applied else {
            return Ok(());
        };
        self.published.publish(self.state.clone(), last.index);
        (self.wake)(&changes);
        for (responder, applied) in answers {
            responder.send(applied);
        }
        self.growth.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.growth.entries.fetch_add(count, Ordering::Relaxed);
        self.growth.grown.notify_one();
        Ok(())
    }

    fn apply_entry(&mut self, entry: Entry, changes: &mut Changes) -> io::Result<Applied> {
        let at = entry.log_id;
        let applied = match entry.payload {
            EntryPayload::Blank => apply::nothing(&mut self.state, &at),
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(at), membership);
                apply::nothing(&mut self.state, &at)
            }
            EntryPayload::Normal(data) => {
                let clock = self.sabotage.applies_by_clock().then(own_clock);
                let applied = apply::proposal(&mut self.state, &at, &data.0, changes, clock);
                applied.map_err(|error| {
                    let why = format!("log entry {at} cannot be applied: {error}");
                    self.fatal.report(why.clone());
                    io::Error::new(io::ErrorKind::InvalidData, why)
                })?
            }
        };
        self.last_applied = Some(at);
        Ok(applied)
    }
}

/// This server's own time of day in milliseconds, which apply must never read.
fn own_clock() -> u64 {
    let now = crate::rt::time_of_day();
    let since = now.duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.last_applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut batch = Batch::default();
        while let Some(item) = entries.next().await {
            batch.entries.push(item?);
            if batch.entries.len() >= BATCH_ENTRIES_MAX {
                self.apply_batch(&mut batch)?;
            }
        }
        self.apply_batch(&mut batch)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            state: self.state.clone(),
            meta: self.meta(),
            snapshots: Arc::clone(&self.snapshots),
            fatal: self.fatal.clone(),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotFile,
    ) -> io::Result<()> {
        let snapshots = Arc::clone(&self.snapshots);
        let installing = meta.clone();
        let installed = crate::rt::blocking(move || snapshots.install(&installing, snapshot)).await;
        let state = installed.map_err(|error| {
            self.fatal.report(error.to_string());
            io::Error::other(error)
        })?;
        self.state = state;
        self.last_applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        let applied = meta.last_log_id.map_or(0, |id| id.index);
        self.published.publish(self.state.clone(), applied);
        let everything = Changes {
            everything: true,
            ..Changes::default()
        };
        (self.wake)(&everything);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        Ok(self
            .snapshots
            .current()
            .map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

/// Writes the state of one moment into a file while writes go on.
pub struct Builder {
    state: State,
    meta: SnapshotMeta,
    snapshots: Arc<Snapshots>,
    fatal: Fatal,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let snapshots = Arc::clone(&self.snapshots);
        let state = std::mem::take(&mut self.state);
        let meta = self.meta.clone();
        let built = crate::rt::blocking(move || snapshots.build(&state, &meta)).await;
        match built {
            Ok(snapshot) => Ok(Snapshot {
                meta: self.meta.clone(),
                snapshot,
            }),
            Err(error) => {
                self.fatal.report(error.to_string());
                Err(io::Error::other(error))
            }
        }
    }
}
