//! The one writer of the log's files: it makes all that queued durable with one sync, then answers all.
//!
//! A thread of its own in the real build, since a sync takes milliseconds; a spawned task in simulation. After the first
//! error it writes nothing more: what the disk holds is not known any longer.
//!
//! ```text
//! entries only ──queue──▶ writer: one record in the journal (one sync) ──▶ callbacks; redb later
//! anything else, or the journal is full ▶ writer: begin · what is in the journal · all that queued · commit (one sync) ──▶ callbacks
//! ```

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use openraft::storage::IOFlushed;
use parking_lot::Mutex;
use redb::{Database, Durability, TableDefinition, WriteTransaction};
use rollcall_metrics::Histogram;
use tokio::sync::{mpsc, oneshot};

use super::fatal::Fatal;
use super::log_journal::Journal;
use super::log_tail::Tail;
use super::record::{entry_bytes, put_entry, put_log_id, put_vote, seal};
use super::types::{Entry, LogId, TypeConfig, Vote};
use crate::sabotage::Sabotage;

/// Entries by index.
pub(super) const LOG: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("log");
/// Small values by name.
pub(super) const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta");

pub(super) const META_FORMAT: &str = "format";
pub(super) const META_VOTE: &str = "vote";
pub(super) const META_COMMITTED: &str = "committed";
pub(super) const META_PURGED: &str = "purged";
/// The journal's generation, and whether it may hold entries.
pub(super) const META_JOURNAL: &str = "journal";
/// Prefix of the server's own named values, so that they cannot clash with Raft's.
pub(super) const META_NAMED: &str = "named/";

/// Operations that wait for the writer. Past it callers wait: the disk is slower than what comes in.
pub(super) const QUEUE_OPERATIONS_MAX: usize = 1024;
/// Bytes of entries in one transaction: a longer one would let the first callers wait for the last.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// Purged entries deleted per transaction, so that a purge of a million does not hold up a write.
const PURGE_ENTRIES_PER_BATCH: usize = 2048;
/// Writing takes up to this long in simulation, so that followers may be ahead of the leader's own disk.
#[cfg(feature = "sim")]
const SIMULATED_WRITE_MAX_MS: u64 = 4;

/// Something to write.
pub(super) enum Operation {
    /// Entries, and whom to tell when they are durable.
    Append {
        entries: Vec<Entry>,
        epoch: u64,
        flushed: IOFlushed<TypeConfig>,
    },
    /// A vote.
    Vote(Vote, Done),
    /// Deletes entries from this index on.
    TruncateFrom(u64, Done),
    /// Deletes entries up to this one: at once for readers, by and by on disk.
    Purge(LogId, Done),
    /// A named value.
    Put(String, Bytes, Done),
    /// Ends the writer and closes the file.
    Close(Done),
}

/// Told when an operation is durable, or why it is not.
pub(super) type Done = oneshot::Sender<io::Result<()>>;

/// The writer.
pub(super) struct Writer {
    pub(super) path: PathBuf,
    pub(super) database: Arc<Database>,
    pub(super) tail: Arc<Mutex<Tail>>,
    pub(super) queue: mpsc::Receiver<Operation>,
    pub(super) fatal: Fatal,
    /// Purged entries still on disk: first and last index.
    pub(super) purging: Option<(u64, u64)>,
    pub(super) committed_on_disk: Option<LogId>,
    /// One past the last entry that was ever written: a mark of what is committed must not run ahead of it.
    pub(super) written_end: u64,
    pub(super) journal: Journal,
    /// Entries that are durable in the journal and not yet in redb, with the epochs of their appends.
    pub(super) journaled: Vec<(Vec<Entry>, u64)>,
    pub(super) sabotage: Sabotage,
    /// Since when the commit under way has not come back.
    pub(super) busy_since: BusySince,
    /// How long commits took.
    pub(super) append_duration: Arc<Histogram>,
}

/// Since when the disk has been at work on one commit; `None` between commits.
pub(super) type BusySince = Arc<Mutex<Option<crate::rt::Instant>>>;

impl Writer {
    /// Starts it. It ends when its queue is closed.
    #[cfg(not(feature = "sim"))]
    pub(super) fn start(mut self) -> io::Result<()> {
        let run = move || {
            while let Some(batch) = self.next_batch_blocking() {
                if self.write(batch).is_break() {
                    break;
                }
            }
        };
        std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(run)
            .map(drop)
    }

    /// Starts it. It ends when its queue is closed.
    #[cfg(feature = "sim")]
    pub(super) fn start(mut self) -> io::Result<()> {
        crate::rt::spawn(async move {
            loop {
                let first = match self.purging {
                    Some(_) => self.queue.try_recv().ok(),
                    None => match self.queue.recv().await {
                        Some(first) => Some(first),
                        None => break,
                    },
                };
                let at_most = SIMULATED_WRITE_MAX_MS + crate::rt::sim::Host::current_slow_disk_ms();
                let delay = crate::rt::random_u64() % (at_most + 1);
                crate::rt::sleep(std::time::Duration::from_millis(delay)).await;
                let batch = self.gather(first);
                if self.write(batch).is_break() {
                    break;
                }
            }
        });
        Ok(())
    }

    #[cfg(not(feature = "sim"))]
    fn next_batch_blocking(&mut self) -> Option<Vec<Operation>> {
        let first = match self.purging {
            Some(_) => match self.queue.try_recv() {
                Ok(first) => Some(first),
                Err(mpsc::error::TryRecvError::Empty) => None,
                Err(mpsc::error::TryRecvError::Disconnected) => return None,
            },
            None => Some(self.queue.blocking_recv()?),
        };
        Some(self.gather(first))
    }

    /// All that queued, up to the limit.
    fn gather(&mut self, first: Option<Operation>) -> Vec<Operation> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut next = first.or_else(|| self.queue.try_recv().ok());
        while let Some(operation) = next {
            if let Operation::Append { entries, .. } = &operation {
                bytes += entries.iter().map(entry_bytes).sum::<usize>();
            }
            batch.push(operation);
            if bytes >= BATCH_BYTES_MAX {
                break;
            }
            next = self.queue.try_recv().ok();
        }
        batch
    }

    /// Writes a batch and answers. Breaks when it must not be called again.
    fn write(&mut self, batch: Vec<Operation>) -> std::ops::ControlFlow<()> {
        let outcome = match self.fatal.reason() {
            Some(why) => Err(why),
            None => self.commit_timed(&batch).map_err(|error| {
                let why = format!("{}: write failed: {error}", self.path.display());
                self.fatal.report(why.clone());
                why
            }),
        };
        let mut flow = std::ops::ControlFlow::Continue(());
        for operation in batch {
            let result = match &outcome {
                Ok(_) => Ok(()),
                Err(why) => Err(io::Error::other(why.clone())),
            };
            match operation {
                Operation::Append {
                    entries,
                    epoch,
                    flushed,
                } => {
                    match outcome {
                        Ok(Where::Journal) => self.journaled.push((entries, epoch)),
                        Ok(Where::Redb) => self.in_redb(&entries, epoch),
                        Err(_) => {}
                    }
                    flushed.io_completed(result);
                }
                Operation::Close(done) => {
                    flow = std::ops::ControlFlow::Break(());
                    if outcome.is_ok()
                        && let Err(error) = self.journal.clear()
                    {
                        // redb knows that nothing is in it: the file is only longer than it need be.
                        tracing::debug!(%error, "the journal was not emptied");
                    }
                    // Who waits for the end is told by `done` being dropped with the writer.
                    drop(done);
                }
                Operation::Vote(_, done)
                | Operation::TruncateFrom(_, done)
                | Operation::Purge(_, done)
                | Operation::Put(_, _, done) => {
                    // Whoever asked may have been cancelled.
                    let _ = done.send(result);
                }
            }
        }
        flow
    }

    fn commit_timed(&mut self, batch: &[Operation]) -> Result<Where, redb::Error> {
        let began = crate::rt::Instant::now();
        *self.busy_since.lock() = Some(began);
        let outcome = match self.append_to_journal(batch) {
            Ok(true) => Ok(Where::Journal),
            Ok(false) => self.commit(batch).map(|()| Where::Redb),
            Err(error) => Err(redb::Error::Io(error)),
        };
        *self.busy_since.lock() = None;
        self.append_duration.observe(began.elapsed());
        outcome
    }

    /// `false`: the batch is nothing for the journal, or does not fit any more.
    fn append_to_journal(&mut self, batch: &[Operation]) -> io::Result<bool> {
        let mut entries = Vec::new();
        for operation in batch {
            match operation {
                Operation::Append { entries: more, .. } => entries.extend(more),
                Operation::Vote(..)
                | Operation::TruncateFrom(..)
                | Operation::Purge(..)
                | Operation::Put(..)
                | Operation::Close(_) => return Ok(false),
            }
        }
        if entries.is_empty() || self.sabotage.skips_fsync() {
            return Ok(false);
        }
        let appended = self.journal.append(entries.into_iter())?;
        if appended {
            self.written_end = self.written_end.max(end_of(batch));
        }
        Ok(appended)
    }

    /// From now on these may be read from redb.
    fn in_redb(&self, entries: &[Entry], epoch: u64) {
        if let Some(last) = entries.last() {
            self.tail.lock().flushed(epoch, last.log_id.index);
        }
    }

    fn commit(&mut self, batch: &[Operation]) -> Result<(), redb::Error> {
        let committed = self.tail.lock().committed;
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(self.durability(batch))?;
        let mut purging = self.purging;
        self.put_journaled(&transaction, batch)?;
        self.put_batch(&transaction, batch, &mut purging)?;
        purging = delete_purged(&transaction, purging)?;
        let written_end = self.written_end.max(end_of(batch));
        // A leader's followers may have committed what is still in its own queue.
        let news = committed
            .filter(|new| new.index < written_end && Some(new) != self.committed_on_disk.as_ref());
        if let Some(committed) = &news {
            let mut meta = transaction.open_table(META)?;
            let sealed = seal(|out| put_log_id(committed, out));
            meta.insert(META_COMMITTED, sealed.as_ref())?;
        }
        transaction.commit()?;
        if !self.journaled.is_empty() {
            self.journal.restart(self.journal.generation() + 1);
        }
        for (entries, epoch) in std::mem::take(&mut self.journaled) {
            self.in_redb(&entries, epoch);
        }
        self.purging = purging;
        self.written_end = written_end;
        self.committed_on_disk = news.or(self.committed_on_disk);
        Ok(())
    }

    fn durability(&self, batch: &[Operation]) -> Durability {
        let entries_only = |operation: &Operation| matches!(operation, Operation::Append { .. });
        if self.sabotage.skips_fsync() && batch.iter().all(entries_only) {
            return Durability::None;
        }
        Durability::Immediate
    }

    /// Takes over what is in the journal, and says so.
    fn put_journaled(
        &self,
        transaction: &WriteTransaction,
        batch: &[Operation],
    ) -> Result<(), redb::Error> {
        let closes = |operation: &Operation| matches!(operation, Operation::Close(_));
        let closing = batch.iter().any(closes);
        if self.journaled.is_empty() && !closing {
            return Ok(());
        }
        let mut log = transaction.open_table(LOG)?;
        let mut record = BytesMut::new();
        for entry in self.journaled.iter().flat_map(|(entries, _)| entries) {
            record.clear();
            put_entry(entry, &mut record);
            log.insert(entry.log_id.index, &record[..])?;
        }
        let mut meta = transaction.open_table(META)?;
        let mark = journal_mark(self.journal.generation() + 1, !closing);
        meta.insert(META_JOURNAL, mark.as_ref())?;
        Ok(())
    }

    fn put_batch(
        &self,
        transaction: &WriteTransaction,
        batch: &[Operation],
        purging: &mut Option<(u64, u64)>,
    ) -> Result<(), redb::Error> {
        let mut log = transaction.open_table(LOG)?;
        let mut meta = transaction.open_table(META)?;
        let mut record = BytesMut::new();
        for operation in batch {
            match operation {
                Operation::Append { entries, .. } => {
                    for entry in entries {
                        record.clear();
                        put_entry(entry, &mut record);
                        log.insert(entry.log_id.index, &record[..])?;
                    }
                }
                Operation::Vote(vote, _) => {
                    let sealed = seal(|out| put_vote(vote, out));
                    meta.insert(META_VOTE, sealed.as_ref())?;
                }
                Operation::TruncateFrom(index, _) => log.retain_in(*index.., |_, _| false)?,
                Operation::Purge(upto, _) => {
                    let sealed = seal(|out| put_log_id(upto, out));
                    meta.insert(META_PURGED, sealed.as_ref())?;
                    let first = purging.map_or(0, |(first, _)| first);
                    *purging = Some((first, upto.index));
                }
                Operation::Put(name, value, _) => {
                    let name = format!("{META_NAMED}{name}");
                    let sealed = seal(|out| out.extend_from_slice(value));
                    meta.insert(name.as_str(), sealed.as_ref())?;
                }
                Operation::Close(_) => {}
            }
        }
        Ok(())
    }
}

/// Where a batch was made durable.
#[derive(Clone, Copy)]
enum Where {
    Journal,
    Redb,
}

/// The value of [`META_JOURNAL`].
pub(super) fn journal_mark(generation: u64, in_use: bool) -> Bytes {
    seal(|out| {
        out.extend_from_slice(&generation.to_le_bytes());
        out.extend_from_slice(&[u8::from(in_use)]);
    })
}

/// One past the last entry of a batch, or 0.
fn end_of(batch: &[Operation]) -> u64 {
    let ends = batch.iter().filter_map(|operation| match operation {
        Operation::Append { entries, .. } => Some(entries.last()?.log_id.index + 1),
        Operation::Purge(upto, _) => Some(upto.index + 1),
        Operation::Vote(..)
        | Operation::TruncateFrom(..)
        | Operation::Put(..)
        | Operation::Close(_) => None,
    });
    ends.max().unwrap_or(0)
}

/// Deletes some of the purged entries. What is left to delete.
fn delete_purged(
    transaction: &WriteTransaction,
    purging: Option<(u64, u64)>,
) -> Result<Option<(u64, u64)>, redb::Error> {
    let Some((first, last)) = purging else {
        return Ok(None);
    };
    let mut log = transaction.open_table(LOG)?;
    let mut deleted = 0;
    for item in log.extract_from_if(first..=last, |_, _| true)? {
        let at = item?.0.value() + 1;
        deleted += 1;
        if deleted == PURGE_ENTRIES_PER_BATCH {
            return Ok((at <= last).then_some((at, last)));
        }
    }
    Ok(None)
}
