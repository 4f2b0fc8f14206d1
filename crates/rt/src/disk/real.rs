//! The real disk: std's files, synced when asked, directories too.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::Path;

use super::{Disk, ReadFile, WriteFile};

/// Files of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

/// Names the file in an error, which std's do not.
fn named<T>(what: &str, path: &Path, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| {
        io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
    })
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    named("sync directory", directory, synced)
}

struct Written(File, std::path::PathBuf);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        named("write", &self.1, self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        named("write", &self.1, self.0.flush())
    }
}

impl WriteFile for Written {
    fn sync(&mut self) -> io::Result<()> {
        named("sync", &self.1, self.0.sync_all())
    }
}

impl Disk for RealDisk {
    fn open_database(&self, path: &Path) -> io::Result<Box<dyn redb::StorageBackend>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = named("open", path, options.open(path))?;
        let backend = redb::backends::FileBackend::new(file).map_err(io::Error::other);
        Ok(Box::new(named("open", path, backend)?))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let file = named("create", path, File::create(path))?;
        Ok(Box::new(Written(file, path.to_owned())))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        Ok(Box::new(named("open", path, File::open(path))?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        named("rename", from, fs::rename(from, to))?;
        sync_directory_of(to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        named("remove", path, fs::remove_file(path))?;
        sync_directory_of(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut missing = Vec::new();
        let mut at = Some(path);
        while let Some(directory) = at.filter(|directory| !directory.exists()) {
            missing.push(directory);
            at = directory.parent();
        }
        named("create directory", path, fs::create_dir_all(path))?;
        // Each new directory is an entry of its parent, which must be durable as well.
        missing.into_iter().try_for_each(sync_directory_of)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in named("list", path, fs::read_dir(path))? {
            let entry = named("list", path, entry)?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        Ok(named("look at", path, fs::metadata(path))?.len())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let file = named("open", path, options.open(path))?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                format!(
                    "another process uses this data directory: {} is locked",
                    path.display()
                ),
            )),
            Err(TryLockError::Error(error)) => named("lock", path, Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::disk::write_atomically;

    #[test]
    fn a_small_file_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/file.json");
        RealDisk.create_dir_all(path.parent().unwrap()).unwrap();
        for content in [b"one".as_slice(), b"two"] {
            write_atomically(&RealDisk, &path, content).unwrap();
            let mut read = Vec::new();
            let mut file = RealDisk.open(&path).unwrap();
            file.read_to_end(&mut read).unwrap();
            assert_eq!(read, content);
        }
        let names = RealDisk.list(path.parent().unwrap()).unwrap();
        assert_eq!(names, ["file.json"]);
    }

    #[test]
    fn a_second_lock_on_the_same_directory_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("LOCK");
        let held = RealDisk.lock(&path).unwrap();
        let refused = RealDisk.lock(&path).err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        assert!(refused.to_string().contains("LOCK"), "{refused}");
        drop(held);
        RealDisk.lock(&path).unwrap();
    }

    #[test]
    fn errors_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let error = RealDisk.open(&dir.path().join("absent")).err().unwrap();
        assert!(error.to_string().contains("absent"), "{error}");
    }
}
