//! Opening the log's file: made once, checked whole each time before anything is written to it.
//!
//! A file is made under another name and renamed when it is complete, so an empty or half file under the real name is
//! damage. The check goes through [`Overlay`]: redb would repair a damaged file and so perhaps lose what was promised.

use std::io;
use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase as _, ReadableTable as _, StorageBackend as _};

use super::log_journal::{self, Journal};
use super::log_tail::Tail;
use super::log_writer::{
    LOG, META, META_COMMITTED, META_FORMAT, META_JOURNAL, META_NAMED, META_PURGED, META_VOTE,
    journal_mark,
};
use super::overlay::{Boxed, Overlay};
use super::record::{RecordError, check_entry, put_entry, seal, take_log_id, take_vote, unseal};
use super::types::{Entry, LogId};
use crate::disk::{Disk, SharedDisk};

/// Name of the file in the data directory.
pub const FILE_NAME: &str = "raft.redb";
/// redb's cache, whose default of 1 GiB is more than a server may use; the newest entries are cached above it.
const CACHE_BYTES: usize = 16 << 20;
/// The only layout of tables so far.
const FORMAT: u32 = 1;
/// A file smaller than this is not worth compacting.
const COMPACT_FROM_BYTES: u64 = 64 << 20;
/// A larger file is compacted when less than one part in this many is in use.
const COMPACT_BELOW_PART: u64 = 4;

/// Why the log cannot be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data directory holds snapshots or a journal, but no log.
    #[error(
        "{} is missing, though its directory holds a journal or snapshots. Put it back from where it was moved, or give this server an empty data directory",
        path.display()
    )]
    Missing {
        /// The log's file.
        path: PathBuf,
    },
    /// The operating system refused, or the disk failed.
    #[error("cannot open {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not what this server wrote.
    #[error(
        "{} is damaged: {why}. Nothing was changed. Keep a copy, empty the data directory, and let this server join again as a new one",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// Another version wrote the file.
    #[error(
        "{} has format {found}; this version knows {FORMAT}. Start the version that wrote it",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: u32,
    },
    /// Another process has it open.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
}

/// An opened, verified log.
pub(super) struct Opened {
    pub(super) path: PathBuf,
    pub(super) database: Database,
    pub(super) journal: Journal,
    pub(super) tail: Tail,
    /// Entries below this index may still have to be deleted.
    pub(super) first_on_disk: Option<u64>,
}

/// Opens the log of a data directory, made if the directory has none.
pub(super) fn open(disk: &SharedDisk, directory: &Path) -> Result<Opened, StoreError> {
    let path = directory.join(FILE_NAME);
    if !disk.exists(&path) {
        create(disk.as_ref(), directory, &path)?;
    }
    let backend = open_backend(disk.as_ref(), &path)?;
    let overlay = Overlay::new(backend).map_err(|source| io_error(&path, source))?;
    let size = overlay.len().map_err(|source| io_error(&path, source))?;
    if size == 0 {
        return Err(damaged(&path, "it is empty"));
    }
    let checked = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true)
        .create_with_backend(overlay)
        .map_err(|error| database_error(&path, error))?;
    let (tail, first_on_disk) = verify(&checked, &path)?;
    let (generation, in_use) = journal_state(&checked, &path)?;
    drop(checked);
    let journal_path = directory.join(log_journal::FILE_NAME);
    let journaled = match in_use {
        true => log_journal::read(disk.as_ref(), &journal_path, generation)?,
        false => Vec::new(),
    };
    let tail = with_journaled(tail, &journaled, &journal_path)?;
    let mut database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create_with_backend(Boxed(open_backend(disk.as_ref(), &path)?))
        .map_err(|error| database_error(&path, error))?;
    compact_if_worthwhile(disk.as_ref(), &path, &mut database)?;
    let journal = Journal::open(disk.as_ref(), &journal_path, generation + 1)
        .map_err(|source| io_error(&journal_path, source))?;
    take_over(&database, &journaled, journal.generation())
        .map_err(|error| io_error(&path, io::Error::other(error)))?;
    Ok(Opened {
        path,
        database,
        journal,
        tail,
        first_on_disk,
    })
}

fn create(disk: &dyn Disk, directory: &Path, path: &Path) -> Result<(), StoreError> {
    let names = disk
        .list(directory)
        .map_err(|source| io_error(directory, source))?;
    let rest_of_a_log =
        |name: &String| super::snapshot::is_snapshot(name) || name == log_journal::FILE_NAME;
    if names.iter().any(rest_of_a_log) {
        return Err(StoreError::Missing {
            path: path.to_owned(),
        });
    }
    let new = path.with_extension("redb.new");
    if disk.exists(&new) {
        disk.remove(&new).map_err(|source| io_error(&new, source))?;
    }
    let database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create_with_backend(Boxed(open_backend(disk, &new)?))
        .map_err(|error| database_error(&new, error))?;
    let written = || -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        transaction.open_table(LOG)?;
        let sealed = seal(|out| out.extend_from_slice(&FORMAT.to_le_bytes()));
        transaction
            .open_table(META)?
            .insert(META_FORMAT, sealed.as_ref())?;
        Ok(transaction.commit()?)
    };
    written().map_err(|error| io_error(&new, io::Error::other(error)))?;
    drop(database);
    disk.rename(&new, path)
        .map_err(|source| io_error(path, source))
}

fn open_backend(disk: &dyn Disk, path: &Path) -> Result<Box<dyn redb::StorageBackend>, StoreError> {
    disk.open_database(path)
        .map_err(|source| io_error(path, source))
}

/// Reads everything once: that all records are whole, and that no index is missing.
fn verify(database: &Database, path: &Path) -> Result<(Tail, Option<u64>), StoreError> {
    let broken = |error: redb::Error| damaged(path, error);
    let transaction = database.begin_read().map_err(|e| broken(e.into()))?;
    let meta = transaction.open_table(META).map_err(|e| broken(e.into()))?;
    let log = transaction.open_table(LOG).map_err(|e| broken(e.into()))?;
    let mark = |name: &'static str| -> Result<Option<Vec<u8>>, StoreError> {
        let Some(value) = meta.get(name).map_err(|e| broken(e.into()))? else {
            return Ok(None);
        };
        let content = unseal(value.value(), name).map_err(|error| damaged(path, error))?;
        Ok(Some(content.to_vec()))
    };
    check_format(mark(META_FORMAT)?, path)?;
    check_named(&meta, path)?;
    let log_id = |name| -> Result<Option<LogId>, StoreError> {
        let found = mark(name)?.map(|content| take_log_id(&mut content.as_slice(), name));
        found.transpose().map_err(|error| damaged(path, error))
    };
    let vote = mark(META_VOTE)?.map(|content| take_vote(&mut content.as_slice(), META_VOTE));
    let vote = vote.transpose().map_err(|error| damaged(path, error))?;
    let (committed, purged) = (log_id(META_COMMITTED)?, log_id(META_PURGED)?);
    let mut last = purged;
    let mut first_on_disk = None;
    for item in log.iter().map_err(|e| broken(e.into()))? {
        let (index, record) = item.map_err(|e| broken(e.into()))?;
        let found = check_entry(record.value()).map_err(|error| damaged(path, error))?;
        let index = index.value();
        first_on_disk.get_or_insert(index);
        if purged.is_some_and(|purged| index <= purged.index) {
            continue;
        }
        let expected = last.map_or(0, |id| id.index + 1);
        if index != expected || found.index != index {
            let at = found.index;
            return Err(damaged(
                path,
                format!("entry {at} stands at {index}, where {expected} must follow"),
            ));
        }
        last = Some(found);
    }
    if committed > last {
        return Err(damaged(path, "committed entries are missing at its end"));
    }
    Ok((Tail::found(vote, committed, purged, last), first_on_disk))
}

/// The journal's generation, and whether it may hold entries.
fn journal_state(database: &Database, path: &Path) -> Result<(u64, bool), StoreError> {
    let read = || -> Result<Option<Vec<u8>>, redb::Error> {
        let transaction = database.begin_read()?;
        let meta = transaction.open_table(META)?;
        let value = meta.get(META_JOURNAL)?;
        Ok(value.map(|value| value.value().to_vec()))
    };
    let Some(sealed) = read().map_err(|error| damaged(path, error))? else {
        return Ok((0, false));
    };
    let content = unseal(&sealed, META_JOURNAL).map_err(|error| damaged(path, error))?;
    match content.split_first_chunk::<8>() {
        Some((generation, [in_use])) => Ok((u64::from_le_bytes(*generation), *in_use != 0)),
        Some(_) | None => Err(damaged(path, "its mark of the journal is not one")),
    }
}

/// The log with what the journal adds to its end.
fn with_journaled(tail: Tail, journaled: &[Entry], journal: &Path) -> Result<Tail, StoreError> {
    let mut last = tail.last;
    for entry in journaled {
        let at = entry.log_id.index;
        if let Some(expected) = last.map(|last| last.index + 1)
            && at != expected
        {
            return Err(damaged(
                journal,
                format!("entry {at} stands where {expected} must follow"),
            ));
        }
        last = Some(entry.log_id);
    }
    Ok(Tail::found(tail.vote, tail.committed, tail.purged, last))
}

/// Puts the journal's entries into the log and starts a new generation, in one commit.
fn take_over(database: &Database, journaled: &[Entry], generation: u64) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut log = transaction.open_table(LOG)?;
        let mut record = bytes::BytesMut::new();
        for entry in journaled {
            record.clear();
            put_entry(entry, &mut record);
            log.insert(entry.log_id.index, &record[..])?;
        }
        let mark = journal_mark(generation, true);
        transaction
            .open_table(META)?
            .insert(META_JOURNAL, mark.as_ref())?;
    }
    Ok(transaction.commit()?)
}

fn check_format(content: Option<Vec<u8>>, path: &Path) -> Result<(), StoreError> {
    let content = content.ok_or_else(|| damaged(path, "it does not say its format"))?;
    let found = <[u8; 4]>::try_from(content.as_slice())
        .map(u32::from_le_bytes)
        .map_err(|_| damaged(path, "its format is not a number"))?;
    if found != FORMAT {
        let path = path.to_owned();
        return Err(StoreError::Format { path, found });
    }
    Ok(())
}

fn check_named(
    meta: &redb::ReadOnlyTable<&'static str, &'static [u8]>,
    path: &Path,
) -> Result<(), StoreError> {
    for item in meta.iter().map_err(|error| damaged(path, error))? {
        let (name, value) = item.map_err(|error| damaged(path, error))?;
        if name.value().starts_with(META_NAMED) {
            unseal(value.value(), "named value").map_err(|error| damaged(path, error))?;
        }
    }
    Ok(())
}

/// Gives space back that an earlier, longer log took.
fn compact_if_worthwhile(
    disk: &dyn Disk,
    path: &Path,
    database: &mut Database,
) -> Result<(), StoreError> {
    let failed = |error: redb::Error| io_error(path, io::Error::other(error));
    let size = disk.len(path).map_err(|source| io_error(path, source))?;
    if size < COMPACT_FROM_BYTES {
        return Ok(());
    }
    let transaction = database.begin_write().map_err(|e| failed(e.into()))?;
    let stats = transaction.stats().map_err(|e| failed(e.into()))?;
    transaction.abort().map_err(|e| failed(e.into()))?;
    if stats.stored_bytes() >= size / COMPACT_BELOW_PART {
        return Ok(());
    }
    let compacted = database.compact().map_err(|e| failed(e.into()))?;
    let now = disk.len(path).map_err(|source| io_error(path, source))?;
    tracing::info!(path = %path.display(), before = size, now, compacted, "compacted the log's file");
    Ok(())
}

fn io_error(path: &Path, source: io::Error) -> StoreError {
    let path = path.to_owned();
    StoreError::Io { path, source }
}

fn damaged(path: &Path, why: impl ToString) -> StoreError {
    StoreError::Damaged {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

fn database_error(path: &Path, error: redb::DatabaseError) -> StoreError {
    use redb::{DatabaseError, StorageError};
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse {
            path: path.to_owned(),
        },
        DatabaseError::Storage(StorageError::Io(error))
            if !matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            ) =>
        {
            io_error(path, error)
        }
        other => damaged(path, other),
    }
}

impl From<(&Path, RecordError)> for StoreError {
    fn from((path, error): (&Path, RecordError)) -> Self {
        damaged(path, error)
    }
}
