//! Snapshot files of the data directory: written beside the running state, received from a leader, read at the start.
//!
//! `snapshot-<term>-<index>.rcs` is complete by its name alone: files are written as `.tmp`, synced, and renamed. Writing
//! yields the disk and the core in between, so that writes of clients do not wait for it. The newest two stay, so that
//! one that is being sent survives the next.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rollcall_state::{Include, Loader, State};
use serde::{Deserialize, Serialize};

use super::record::{LogIdRecord, StoredMembershipRecord};
use super::types::{LogId, SnapshotMeta};
use crate::archive::frames::{ArchiveError, FrameReader, FrameWriter, Layout};
use crate::disk::{ReadFile, SharedDisk, WriteFile};
use crate::rt;

const PREFIX: &str = "snapshot-";
const SUFFIX: &str = ".rcs";
const TEMPORARY_SUFFIX: &str = ".tmp";
/// Snapshots kept.
const KEPT: usize = 2;
/// Rows are written in chunks of about this size.
const CHUNK_BYTES: usize = 256 << 10;
/// Written between two syncs: a single sync of hundreds of megabytes would hold up the log's own.
const SYNC_BYTES: usize = 4 << 20;
/// Rest after each chunk, so that the core is shared (about half a chunk's work).
const REST: Duration = Duration::from_millis(1);
/// The only layout of header and rows so far.
const FORMAT: u32 = 1;

/// Why a snapshot cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The disk.
    #[error("snapshot {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error(
        "snapshot {} cannot be used: {why}. Nothing was changed. Keep a copy, empty the data directory, and let this server join again as a new one",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
}

/// A whole, verified snapshot file.
#[derive(Debug, Clone)]
pub struct SnapshotFile {
    path: PathBuf,
    bytes: u64,
    // What was received is deleted unless it is installed.
    received: Option<Arc<Received>>,
}

#[derive(Debug)]
struct Received {
    disk: SharedDisk,
    path: PathBuf,
    // Loaded when it was verified; taken when it is installed.
    state: Mutex<Option<State>>,
}

impl Drop for Received {
    fn drop(&mut self) {
        if self.disk.exists(&self.path)
            && let Err(error) = self.disk.remove(&self.path)
        {
            tracing::warn!(%error, "a received snapshot could not be deleted");
        }
    }
}

impl SnapshotFile {
    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    last: Option<LogIdRecord>,
    membership: StoredMembershipRecord,
}

/// What a snapshot held.
pub(super) type Loaded = (SnapshotMeta, State);

/// The snapshots of a data directory.
#[derive(Debug)]
pub(super) struct Snapshots {
    disk: SharedDisk,
    directory: PathBuf,
    current: Mutex<Option<(SnapshotMeta, SnapshotFile)>>,
    // Numbers temporary files of one run.
    temporary: AtomicU64,
}

/// Whether a name in the data directory is a snapshot's.
pub(super) fn is_snapshot(name: &str) -> bool {
    position(name).is_some()
}

/// Term and index in a snapshot's name.
fn position(name: &str) -> Option<(u64, u64)> {
    let rest = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let (term, index) = rest.split_once('-')?;
    Some((term.parse().ok()?, index.parse().ok()?))
}

impl Snapshots {
    /// Opens a data directory's snapshots and loads the newest. Half-written ones of an earlier run are deleted.
    ///
    /// # Errors
    /// When the newest cannot be read: an older one in its place could lose what the log no longer has.
    pub(super) fn open(
        disk: SharedDisk,
        directory: &Path,
    ) -> Result<(Arc<Self>, Option<Loaded>), SnapshotError> {
        let snapshots = Self {
            disk,
            directory: directory.to_owned(),
            current: Mutex::new(None),
            temporary: AtomicU64::new(0),
        };
        let names = snapshots.names()?;
        for name in &names {
            if name.starts_with(PREFIX) && name.ends_with(TEMPORARY_SUFFIX) {
                snapshots.remove(&directory.join(name))?;
            }
        }
        let newest = names
            .iter()
            .filter(|name| is_snapshot(name))
            .max_by_key(|name| position(name).map(|(_, index)| index));
        let Some(newest) = newest else {
            return Ok((Arc::new(snapshots), None));
        };
        let path = directory.join(newest);
        let (meta, state) = snapshots.read(&path)?;
        let file = snapshots.file(&path)?;
        *snapshots.current.lock() = Some((meta.clone(), file));
        Ok((Arc::new(snapshots), Some((meta, state))))
    }

    /// The newest snapshot.
    pub(super) fn current(&self) -> Option<(SnapshotMeta, SnapshotFile)> {
        self.current.lock().clone()
    }

    /// Opens a snapshot to send it.
    pub(super) fn open_file(&self, file: &SnapshotFile) -> io::Result<Box<dyn ReadFile>> {
        self.disk.open(&file.path)
    }

    /// Writes a state. Blocks for seconds when it is large, resting in between.
    pub(super) fn build(
        &self,
        state: &State,
        meta: &SnapshotMeta,
    ) -> Result<SnapshotFile, SnapshotError> {
        let temporary = self.temporary_path();
        let written = self.write(&temporary, state, meta);
        if let Err(source) = written {
            // The first error counts; the file is deleted at the next start at the latest.
            let _ = self.disk.remove(&temporary);
            let path = temporary;
            return Err(SnapshotError::Io { path, source });
        }
        self.put_in_place(&temporary, meta)
    }

    fn write(&self, path: &Path, state: &State, meta: &SnapshotMeta) -> io::Result<()> {
        let header = Header {
            format: FORMAT,
            last: meta.last_log_id.map(LogIdRecord::from),
            membership: StoredMembershipRecord::from(&meta.last_membership),
        };
        let header = serde_json::to_vec(&header)?;
        let mut writer = FrameWriter::begin(Layout::Raft, self.disk.create(path)?, &header)?;
        let mut unsynced = 0;
        for chunk in state.chunks(CHUNK_BYTES, Include::Everything) {
            writer.frame(&chunk)?;
            unsynced += chunk.len();
            if unsynced >= SYNC_BYTES {
                writer.sink().sync()?;
                unsynced = 0;
            }
            rt::rest(REST);
        }
        writer.end()?.sync()
    }

    /// Begins to receive a snapshot from a leader.
    pub(super) fn receive(self: &Arc<Self>) -> Result<Incoming, SnapshotError> {
        let path = self.temporary_path();
        let file = self.disk.create(&path);
        let file = file.map_err(|source| io_error(&path, source))?;
        Ok(Incoming {
            snapshots: Arc::clone(self),
            path,
            file,
            unsynced: 0,
        })
    }

    /// Puts a received snapshot in place of the others and gives its state.
    pub(super) fn install(
        self: &Arc<Self>,
        meta: &SnapshotMeta,
        file: SnapshotFile,
    ) -> Result<State, SnapshotError> {
        let in_place = file.path.parent() == Some(&self.directory);
        let Some(received) = &file.received else {
            if in_place {
                // At the start openraft may install what is in place already.
                return Ok(self.read(&file.path)?.1);
            }
            return self.install(meta, self.copy_of(&file)?);
        };
        let state = received.state.lock().take();
        let state = match state {
            Some(state) => state,
            None => self.read(&file.path)?.1,
        };
        self.put_in_place(&file.path, meta)?;
        Ok(state)
    }

    /// Takes another directory's snapshot as if it had been received.
    fn copy_of(self: &Arc<Self>, file: &SnapshotFile) -> Result<SnapshotFile, SnapshotError> {
        let mut incoming = self.receive()?;
        let source = self.open_file(file);
        let mut source = source.map_err(|source| io_error(&file.path, source))?;
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let read = source.read(&mut buffer);
            let read = read.map_err(|source| io_error(&file.path, source))?;
            if read == 0 {
                return Ok(incoming.finish()?.1);
            }
            incoming.write(&buffer[..read])?;
        }
    }

    fn put_in_place(
        &self,
        temporary: &Path,
        meta: &SnapshotMeta,
    ) -> Result<SnapshotFile, SnapshotError> {
        let (term, index) = meta
            .last_log_id
            .map_or((0, 0), |id: LogId| (id.leader_id.term, id.index));
        let path = self
            .directory
            .join(format!("{PREFIX}{term}-{index}{SUFFIX}"));
        self.disk
            .rename(temporary, &path)
            .map_err(|source| io_error(&path, source))?;
        let file = self.file(&path)?;
        {
            let mut current = self.current.lock();
            let newer = current
                .as_ref()
                .is_none_or(|(known, _)| known.last_log_id <= meta.last_log_id);
            if newer {
                *current = Some((meta.clone(), file.clone()));
            }
        }
        self.prune()?;
        Ok(file)
    }

    fn prune(&self) -> Result<(), SnapshotError> {
        let mut found: Vec<(u64, u64, String)> = Vec::new();
        for name in self.names()? {
            if let Some((term, index)) = position(&name) {
                found.push((index, term, name));
            }
        }
        found.sort();
        let old = found.len().saturating_sub(KEPT);
        for (_, _, name) in found.into_iter().take(old) {
            self.remove(&self.directory.join(name))?;
        }
        Ok(())
    }

    /// Reads a snapshot from end to end.
    fn read(&self, path: &Path) -> Result<(SnapshotMeta, State), SnapshotError> {
        let source = self.disk.open(path);
        let source = source.map_err(|source| io_error(path, source))?;
        let source = io::BufReader::with_capacity(CHUNK_BYTES, source);
        load(source).map_err(|error| match error {
            LoadError::Archive(ArchiveError::Io(source)) => io_error(path, source),
            other => SnapshotError::Damaged {
                path: path.to_owned(),
                why: other.to_string(),
            },
        })
    }

    fn file(&self, path: &Path) -> Result<SnapshotFile, SnapshotError> {
        let bytes = self.disk.len(path);
        Ok(SnapshotFile {
            path: path.to_owned(),
            bytes: bytes.map_err(|source| io_error(path, source))?,
            received: None,
        })
    }

    fn names(&self) -> Result<Vec<String>, SnapshotError> {
        let names = self.disk.list(&self.directory);
        names.map_err(|source| io_error(&self.directory, source))
    }

    fn remove(&self, path: &Path) -> Result<(), SnapshotError> {
        let removed = self.disk.remove(path);
        removed.map_err(|source| io_error(path, source))
    }

    fn temporary_path(&self) -> PathBuf {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{number}{TEMPORARY_SUFFIX}");
        self.directory.join(name)
    }
}

/// A snapshot that is being received.
pub(super) struct Incoming {
    snapshots: Arc<Snapshots>,
    path: PathBuf,
    file: Box<dyn WriteFile>,
    unsynced: usize,
}

impl Incoming {
    /// Adds bytes. Blocks.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        let mut written = self.file.write_all(bytes);
        self.unsynced += bytes.len();
        if written.is_ok() && self.unsynced >= SYNC_BYTES {
            self.unsynced = 0;
            written = self.file.sync();
        }
        written.map_err(|source| io_error(&self.path, source))
    }

    /// Checks that it is whole. It is deleted when it is not, or is not installed after all. Blocks.
    pub(super) fn finish(mut self) -> Result<(SnapshotMeta, SnapshotFile), SnapshotError> {
        let received = Received {
            disk: Arc::clone(&self.snapshots.disk),
            path: self.path.clone(),
            state: Mutex::new(None),
        };
        let synced = self.file.sync();
        synced.map_err(|source| io_error(&self.path, source))?;
        let (meta, state) = self.snapshots.read(&self.path)?;
        *received.state.lock() = Some(state);
        let mut file = self.snapshots.file(&self.path)?;
        file.received = Some(Arc::new(received));
        Ok((meta, file))
    }

    /// Gives it up.
    pub(super) fn abandon(self) {
        if let Err(error) = self.snapshots.disk.remove(&self.path) {
            tracing::warn!(%error, "a half-received snapshot could not be deleted");
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("its header makes no sense: {0}")]
    Header(String),
    #[error("it has format {0}; this version knows {FORMAT}")]
    Format(u32),
    #[error("its rows make no sense: {0}")]
    Rows(String),
}

fn load(source: impl Read) -> Result<(SnapshotMeta, State), LoadError> {
    let (header, mut chunks) = FrameReader::open(Layout::Raft, source)?;
    let header: Header =
        serde_json::from_slice(&header).map_err(|error| LoadError::Header(error.to_string()))?;
    if header.format != FORMAT {
        return Err(LoadError::Format(header.format));
    }
    let membership = header.membership.try_into();
    let last_membership =
        membership.map_err(|error: super::RecordError| LoadError::Header(error.to_string()))?;
    let mut loader = Loader::new();
    while let Some(chunk) = chunks.next_frame()? {
        let pushed = loader.push(&chunk);
        pushed.map_err(|error| LoadError::Rows(error.to_string()))?;
    }
    let state = loader.finish();
    let state = state.map_err(|error| LoadError::Rows(error.to_string()))?;
    let meta = SnapshotMeta {
        last_log_id: header.last.map(LogId::from),
        last_membership,
    };
    Ok((meta, state))
}

fn io_error(path: &Path, source: io::Error) -> SnapshotError {
    let path = path.to_owned();
    SnapshotError::Io { path, source }
}
