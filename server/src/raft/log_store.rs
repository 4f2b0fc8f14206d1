//! The log as openraft sees it: appended in memory at once, durable when the writer says so.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use parking_lot::Mutex;
use redb::{Database, ReadableDatabase as _};
use rollcall_metrics::Histogram;
use tokio::sync::{mpsc, oneshot};

use super::fatal::Fatal;
use super::log_open::{self, StoreError};
use super::log_tail::Tail;
use super::log_writer::{
    BusySince, Done, LOG, META, META_NAMED, Operation, QUEUE_OPERATIONS_MAX, Writer,
};
use super::record::{entry_bytes, take_entry, unseal};
use super::types::{Entry, LogId, TypeConfig, Vote};
use crate::disk::SharedDisk;
use crate::rt;
use crate::sabotage::Sabotage;

/// Bytes of entries read at once, for replication and for apply: about what one frame should carry.
const READ_BYTES_MAX: usize = 1 << 20;

/// Log, vote and named values of one server, in one file. Clones share it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    // `None` once closed.
    database: Mutex<Option<Arc<Database>>>,
    tail: Arc<Mutex<Tail>>,
    queue: mpsc::Sender<Operation>,
    fatal: Fatal,
    sabotage: Sabotage,
    busy_since: BusySince,
    append_duration: Arc<Histogram>,
}

impl Store {
    /// Opens the log of a data directory, made if there is none, and starts its writer. Call it within a runtime.
    ///
    /// # Errors
    /// See [`StoreError`]; nothing was changed then.
    pub fn open(
        disk: &SharedDisk,
        directory: &Path,
        fatal: Fatal,
        sabotage: Sabotage,
    ) -> Result<Self, StoreError> {
        let opened = log_open::open(disk, directory)?;
        let purged = opened.tail.purged;
        let purging = opened.first_on_disk.zip(purged);
        let purging = purging.filter(|(first, purged)| *first <= purged.index);
        let database = Arc::new(opened.database);
        let (queue, receiver) = mpsc::channel(QUEUE_OPERATIONS_MAX);
        let committed_on_disk = opened.tail.committed;
        let written_end = opened.tail.end_index();
        let tail = Arc::new(Mutex::new(opened.tail));
        let busy_since = BusySince::default();
        let append_duration = Arc::new(Histogram::default());
        let writer = Writer {
            busy_since: Arc::clone(&busy_since),
            append_duration: Arc::clone(&append_duration),
            path: opened.path.clone(),
            database: Arc::clone(&database),
            tail: Arc::clone(&tail),
            queue: receiver,
            fatal: fatal.clone(),
            purging: purging.map(|(first, purged)| (first, purged.index)),
            committed_on_disk,
            written_end,
            journal: opened.journal,
            journaled: Vec::new(),
            sabotage,
        };
        let path = opened.path;
        writer.start().map_err(|source| StoreError::Io {
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            inner: Arc::new(Inner {
                path,
                database: Mutex::new(Some(database)),
                tail,
                queue,
                fatal,
                sabotage,
                busy_since,
                append_duration,
            }),
        })
    }

    /// The first storage error, if there was one.
    pub fn fatal(&self) -> &Fatal {
        &self.inner.fatal
    }

    /// How long commits took.
    pub(super) fn append_duration(&self) -> Arc<Histogram> {
        Arc::clone(&self.inner.append_duration)
    }

    /// For how long the disk has not come back from the commit under way.
    pub fn stalled_for(&self) -> Duration {
        let since = *self.inner.busy_since.lock();
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// The log's file.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Whether this server has ever voted or held an entry: its data must not be taken for a new server's.
    pub fn has_data(&self) -> bool {
        let tail = self.inner.tail.lock();
        tail.vote.is_some() || tail.last.is_some()
    }

    /// The last entry that is in a snapshot only.
    pub(super) fn purged(&self) -> Option<LogId> {
        self.inner.tail.lock().purged
    }

    /// A named value, as last put.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn get(&self, name: &str) -> io::Result<Option<Bytes>> {
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            let Some(database) = self.inner.database.lock().clone() else {
                return Err(redb::Error::DatabaseClosed);
            };
            let transaction = database.begin_read()?;
            let meta = transaction.open_table(META)?;
            let name = format!("{META_NAMED}{name}");
            let value = meta.get(name.as_str())?;
            Ok(value.map(|value| value.value().to_vec()))
        };
        let Some(sealed) = read().map_err(|error| self.failed("read", error))? else {
            return Ok(None);
        };
        let content = unseal(&sealed, "named value").map_err(|error| self.failed("read", error))?;
        Ok(Some(Bytes::copy_from_slice(content)))
    }

    /// Puts a named value (a few hundred bytes at most). Durable when it returns.
    ///
    /// # Errors
    /// When it could not be written; the server must stop.
    pub async fn put(&self, name: &str, value: Bytes) -> io::Result<()> {
        let name = name.to_owned();
        self.write(|done| Operation::Put(name, value, done)).await
    }

    /// Writes what is queued and closes the file. Later calls fail.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        *self.inner.database.lock() = None;
        if self.inner.queue.send(Operation::Close(done)).await.is_ok() {
            // The writer drops `done`, then its own handle of the file.
            let _ = closed.await;
        }
        self.inner.queue.closed().await;
    }

    /// Reports a storage error, after which the server stops, and words it.
    fn failed(&self, what: &str, error: impl std::fmt::Display) -> io::Error {
        let why = format!("{}: {what} failed: {error}", self.inner.path.display());
        self.inner.fatal.report(why.clone());
        io::Error::other(why)
    }

    async fn write(&self, operation: impl FnOnce(Done) -> Operation) -> io::Result<()> {
        let (done, written) = oneshot::channel();
        self.enqueue(operation(done)).await?;
        written.await.unwrap_or_else(|_| Err(self.closed()))
    }

    async fn enqueue(&self, operation: Operation) -> io::Result<()> {
        let sent = self.inner.queue.send(operation).await;
        sent.map_err(|_| self.closed())
    }

    fn closed(&self) -> io::Error {
        io::Error::other(format!("{} is closed", self.inner.path.display()))
    }

    /// Entries of a range that are in the log, up to a number of bytes (one entry at least).
    async fn read(&self, start: u64, end: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let (start, from_disk_to, mut cached) = {
            let tail = self.inner.tail.lock();
            let start = start.max(tail.first_index());
            let end = end.min(tail.end_index());
            if start >= end {
                return Ok(Vec::new());
            }
            let cached_from = tail.cached_from();
            // All in one look, so that the answer is of one moment.
            let cached = tail.cached(start.max(cached_from), end, bytes_max);
            (start, end.min(cached_from), cached)
        };
        if start >= from_disk_to {
            return Ok(cached);
        }
        let mut entries = self.read_disk(start, from_disk_to, bytes_max).await?;
        let complete = entries.len() as u64 == from_disk_to - start;
        let bytes: usize = entries.iter().map(entry_bytes).sum();
        if complete && bytes < bytes_max {
            let mut left = bytes_max - bytes;
            cached.retain(|entry| {
                let fits = entry_bytes(entry) <= left;
                left = if fits { left - entry_bytes(entry) } else { 0 };
                fits
            });
            entries.append(&mut cached);
        }
        Ok(entries)
    }

    async fn read_disk(&self, start: u64, end: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let Some(database) = self.inner.database.lock().clone() else {
            return Err(self.closed());
        };
        let read = rt::blocking(move || read_entries(&database, start, end, bytes_max)).await;
        let entries = read.map_err(|why| self.failed("read", why))?;
        let consecutive = entries
            .iter()
            .zip(start..)
            .all(|(entry, index)| entry.log_id.index == index);
        let first_now = self.inner.tail.lock().first_index();
        if (entries.is_empty() || !consecutive) && start >= first_now {
            let end_now = self.inner.tail.lock().end_index();
            if end <= end_now {
                return Err(self.failed("read", format!("entries from {start} are missing")));
            }
        }
        Ok(entries)
    }
}

fn read_entries(
    database: &Database,
    start: u64,
    end: u64,
    bytes_max: usize,
) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    let mut bytes = 0;
    let mut read = || -> Result<Result<(), super::record::RecordError>, redb::Error> {
        let transaction = database.begin_read()?;
        let log = transaction.open_table(LOG)?;
        for item in log.range(start..end)? {
            let (_, record) = item?;
            bytes += record.value().len();
            if !entries.is_empty() && bytes > bytes_max {
                break;
            }
            match take_entry(record.value()) {
                Ok(entry) => entries.push(entry),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    };
    read()
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    Ok(entries)
}

/// `start..end` of a range of indexes.
fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<TypeConfig> for Store {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        self.read(start, end, usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, READ_BYTES_MAX).await
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        let first = (self.clone(), start, Vec::new().into_iter(), false);
        futures_util::stream::unfold(first, move |(store, next, mut ready, over)| async move {
            if over {
                return None;
            }
            if let Some(entry) = ready.next() {
                return Some((Ok(entry), (store, next, ready, false)));
            }
            let read = store.read(next, end, READ_BYTES_MAX).await;
            let mut ready = match read {
                Ok(entries) => entries.into_iter(),
                Err(error) => return Some((Err(error), (store, next, ready, true))),
            };
            let next = next + ready.len() as u64;
            let entry = ready.next()?;
            Some((Ok(entry), (store, next, ready, false)))
        })
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.inner.tail.lock().vote)
    }
}

impl RaftLogStorage<TypeConfig> for Store {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let tail = self.inner.tail.lock();
        Ok(LogState {
            last_purged_log_id: tail.purged,
            last_log_id: tail.last,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let vote = *vote;
        self.write(|done| Operation::Vote(vote, done)).await?;
        self.inner.tail.lock().vote = Some(vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        // Rides on the next batch.
        self.inner.tail.lock().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.inner.tail.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let epoch = self.inner.tail.lock().append(&entries);
        let flushed = if self.inner.sabotage.skips_fsync() {
            flushed.io_completed(Ok(()));
            IOFlushed::noop()
        } else {
            flushed
        };
        self.enqueue(Operation::Append {
            entries,
            epoch,
            flushed,
        })
        .await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.inner.tail.lock().truncate(last);
        let from = last.map_or(0, |id| id.index + 1);
        self.write(|done| Operation::TruncateFrom(from, done)).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.inner.tail.lock().purge(upto);
        // Not waited for: a purge that is lost is repeated, and later writes queue behind it.
        let (done, _) = oneshot::channel();
        self.enqueue(Operation::Purge(upto, done)).await
    }
}

#[cfg(test)]
#[path = "log_store_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "log_failure_tests.rs"]
mod failure_tests;
