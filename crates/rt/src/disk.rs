//! Files of the data directory: the real disk's, or the simulation's.
//!
//! The simulation's disk loses or tears what was not synced when its host crashes; hence every write to the data
//! directory goes through [`Disk`], and says when it is durable.

mod real;

use std::fmt;
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;

pub use real::RealDisk;

/// A file being written.
pub trait WriteFile: Write + Send {
    /// Returns when everything written so far is durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file being read.
pub trait ReadFile: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadFile for T {}

/// A directory tree. Paths are absolute.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Opens redb's file, made if it is not there.
    fn open_database(&self, path: &Path) -> io::Result<Box<dyn redb::StorageBackend>>;
    /// Creates (or truncates) a file.
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>>;
    /// Opens a file to read it.
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>>;
    /// Renames a file in its directory and syncs the directory.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file and syncs the directory.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes a directory with its parents, durable.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Names in a directory, sorted.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Whether a file is there.
    fn exists(&self, path: &Path) -> bool;
    /// Bytes of a file.
    fn len(&self, path: &Path) -> io::Result<u64>;
    /// Takes the lock that keeps a second process off this data directory; held until dropped.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;
}

/// Writes a whole small file durably: a temporary file, sync, rename.
pub fn write_atomically(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = disk.create(&temporary)?;
    file.write_all(content)?;
    file.sync()?;
    drop(file);
    disk.rename(&temporary, path)
}

/// A shared disk.
pub type SharedDisk = Arc<dyn Disk>;
