//! A disk in memory that forgets what was not synced.
//!
//! Every write is kept beside what is durable until its file is synced. When its host crashes, each unsynced write is
//! kept, torn sector by sector, or lost, as the seed says, and a file whose directory was not synced may be gone.
//! The disk is frozen *before* the crash: the destructors of a dying server write too, and that must not count. A
//! power cut in the middle of a commit is a disk that freezes itself at its nth write or sync.
//!
//! Handles belong to one boot of the host: those of a crashed server are dead.

mod handle;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::handle::Handle;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// What a disk writes in one piece: a torn write is torn between these.
const SECTOR: usize = 512;

/// The disk of one host. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct SimDisk(Arc<Mutex<Platter>>);

#[derive(Debug, Default)]
struct Platter {
    /// Names as programs see them.
    names: BTreeMap<PathBuf, u64>,
    /// Names that survive a crash.
    durable_names: BTreeMap<PathBuf, u64>,
    directories: BTreeSet<PathBuf>,
    files: BTreeMap<u64, File>,
    next_file: u64,
    /// Path and the boot that holds it.
    locks: BTreeMap<PathBuf, u64>,
    boot: u64,
    frozen: bool,
    /// Writes and syncs until the power is cut.
    fuse: Option<u32>,
    trouble: Trouble,
    trace: u64,
    syncs: u64,
}

/// What is wrong with a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    #[default]
    None,
    /// No file can grow.
    Full,
    /// Every sync fails.
    SyncFails,
}

#[derive(Debug, Default)]
struct File {
    durable: Vec<u8>,
    current: Vec<u8>,
    unsynced: Vec<Unsynced>,
}

#[derive(Debug)]
enum Unsynced {
    Write { offset: usize, data: Vec<u8> },
    Length(usize),
}

impl SimDisk {
    /// From now on nothing becomes durable any more, until [`SimDisk::crash`].
    pub fn freeze(&self) {
        self.0.lock().frozen = true;
    }

    /// The power is cut at the nth write or sync from now.
    pub fn cut_power_in(&self, operations: u32) {
        self.0.lock().fuse = Some(operations);
    }

    /// Whether the power was cut, or [`SimDisk::freeze`] called, since the last crash.
    pub fn is_frozen(&self) -> bool {
        self.0.lock().frozen
    }

    /// Sets what is wrong with it.
    pub fn set_trouble(&self, trouble: Trouble) {
        self.0.lock().trouble = trouble;
    }

    /// What a crash leaves. The seed decides the fate of each unsynced write.
    pub fn crash(&self, seed: u64) {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut platter = self.0.lock();
        // One crash in three loses all that was not synced, one keeps it all: a mixture alone would seldom do either.
        let manner = random.random_range(0..3u8);
        let kept: Vec<(PathBuf, u64)> = platter
            .names
            .iter()
            .filter(|(path, _)| !platter.durable_names.contains_key(*path))
            .map(|(path, file)| (path.clone(), *file))
            .collect();
        for (path, file) in kept {
            if keeps(manner, &mut random) {
                platter.durable_names.insert(path, file);
            }
        }
        for file in platter.files.values_mut() {
            file.crash(manner, &mut random);
        }
        platter.names = platter.durable_names.clone();
        let named: BTreeSet<u64> = platter.names.values().copied().collect();
        platter.files.retain(|id, _| named.contains(id));
        platter.boot += 1;
        platter.locks.clear();
        platter.frozen = false;
        platter.fuse = None;
    }

    /// Everything is gone.
    pub fn wipe(&self) {
        let mut platter = self.0.lock();
        *platter = Platter {
            boot: platter.boot + 1,
            trace: platter.trace,
            syncs: platter.syncs,
            next_file: platter.next_file,
            ..Platter::default()
        };
    }

    /// A hash over all that was ever written and synced, in order.
    pub fn trace(&self) -> u64 {
        self.0.lock().trace
    }

    /// How often something was made durable.
    pub fn syncs(&self) -> u64 {
        self.0.lock().syncs
    }

    fn handle(&self, file: u64) -> Handle {
        Handle {
            disk: self.clone(),
            boot: self.0.lock().boot,
            file,
            position: 0,
        }
    }
}

fn keeps(manner: u8, random: &mut SmallRng) -> bool {
    match manner {
        0 => false,
        1 => true,
        _ => random.random_bool(0.5),
    }
}

impl File {
    fn crash(&mut self, manner: u8, random: &mut SmallRng) {
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Unsynced::Length(length) => {
                    if keeps(manner, random) {
                        self.durable.resize(length, 0);
                    }
                }
                Unsynced::Write { offset, data } => {
                    let torn = manner == 2 && random.random_bool(0.5);
                    if !torn && keeps(manner, random) {
                        put(&mut self.durable, offset, &data);
                    }
                    if torn {
                        self.tear(offset, &data, random);
                    }
                }
            }
        }
        self.current = self.durable.clone();
    }

    /// Keeps some sectors of a write. Sectors are the disk's, not the write's.
    fn tear(&mut self, offset: usize, data: &[u8], random: &mut SmallRng) {
        let mut from = 0;
        while from < data.len() {
            let to = (from + SECTOR - (offset + from) % SECTOR).min(data.len());
            if random.random_bool(0.5) {
                put(&mut self.durable, offset + from, &data[from..to]);
            }
            from = to;
        }
    }

    fn sync(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Unsynced::Length(length) => self.durable.resize(length, 0),
                Unsynced::Write { offset, data } => put(&mut self.durable, offset, &data),
            }
        }
    }
}

fn put(content: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if content.len() < offset + data.len() {
        content.resize(offset + data.len(), 0);
    }
    content[offset..offset + data.len()].copy_from_slice(data);
}

impl Platter {
    /// Counts an operation towards the power cut. After it, the disk does not answer as it should.
    fn powered(&mut self) -> io::Result<()> {
        if let Some(fuse) = &mut self.fuse {
            *fuse = fuse.saturating_sub(1);
            if *fuse == 0 {
                self.fuse = None;
                self.frozen = true;
            }
        }
        if self.frozen {
            return Err(io::Error::other("simulated power cut"));
        }
        Ok(())
    }

    fn note(&mut self, what: &[u8], offset: usize, data: &[u8]) {
        let mut hash = crc32fast::Hasher::new();
        hash.update(what);
        hash.update(&offset.to_le_bytes());
        hash.update(data);
        let mixed = self.trace.rotate_left(21) ^ u64::from(hash.finalize());
        self.trace = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn lookup(&self, path: &Path) -> io::Result<u64> {
        self.names
            .get(path)
            .copied()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{}", path.display())))
    }

    fn create(&mut self, path: &Path) -> io::Result<u64> {
        self.powered()?;
        let parent = path.parent().unwrap_or(path);
        if !self.directories.contains(parent) {
            let words = format!("no directory {}", parent.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, words));
        }
        let id = self.next_file;
        self.next_file += 1;
        self.files.insert(id, File::default());
        self.names.insert(path.to_owned(), id);
        Ok(id)
    }

    /// Directories are synced as a whole: names are few.
    fn sync_names(&mut self) {
        self.durable_names = self.names.clone();
        self.syncs += 1;
    }

    fn write(&mut self, file: u64, offset: usize, data: &[u8]) -> io::Result<()> {
        self.powered()?;
        let trouble = self.trouble;
        let content = self.files.get_mut(&file).ok_or(io::ErrorKind::NotFound)?;
        if trouble == Trouble::Full && offset + data.len() > content.current.len() {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        put(&mut content.current, offset, data);
        content.unsynced.push(Unsynced::Write {
            offset,
            data: data.to_vec(),
        });
        self.note(b"write", offset, data);
        Ok(())
    }

    fn set_length(&mut self, file: u64, length: usize) -> io::Result<()> {
        self.powered()?;
        let trouble = self.trouble;
        let content = self.files.get_mut(&file).ok_or(io::ErrorKind::NotFound)?;
        if trouble == Trouble::Full && length > content.current.len() {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        content.current.resize(length, 0);
        content.unsynced.push(Unsynced::Length(length));
        self.note(b"length", length, &[]);
        Ok(())
    }

    fn sync(&mut self, file: u64) -> io::Result<()> {
        self.powered()?;
        if self.trouble == Trouble::SyncFails {
            return Err(io::Error::other("simulated I/O error"));
        }
        let content = self.files.get_mut(&file).ok_or(io::ErrorKind::NotFound)?;
        content.sync();
        self.syncs += 1;
        self.note(b"sync", 0, &[]);
        Ok(())
    }

    fn read(&self, file: u64, offset: usize, into: &mut [u8]) -> io::Result<usize> {
        let content = self.files.get(&file).ok_or(io::ErrorKind::NotFound)?;
        let from = offset.min(content.current.len());
        let to = (offset + into.len()).min(content.current.len());
        into[..to - from].copy_from_slice(&content.current[from..to]);
        Ok(to - from)
    }
}

#[cfg(test)]
mod tests;
