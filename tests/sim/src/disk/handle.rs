//! The server's side of the simulated disk: open files, the lock, and the trait they come from.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rollcall_server::disk::{Disk, ReadFile, WriteFile};

use super::{Platter, SimDisk};

/// An open file of one boot.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) disk: SimDisk,
    pub(super) boot: u64,
    pub(super) file: u64,
    pub(super) position: usize,
}

impl Handle {
    fn with<T>(&self, f: impl FnOnce(&mut Platter) -> io::Result<T>) -> io::Result<T> {
        let mut platter = self.disk.0.lock();
        if platter.boot != self.boot {
            return Err(io::Error::other("a handle of a crashed server"));
        }
        f(&mut platter)
    }

    fn length(&self) -> io::Result<usize> {
        self.with(|platter| Ok(platter.files[&self.file].current.len()))
    }
}

impl Write for Handle {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.with(|platter| platter.write(self.file, self.position, data))?;
        self.position += data.len();
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WriteFile for Handle {
    fn sync(&mut self) -> io::Result<()> {
        self.with(|platter| platter.sync(self.file))
    }
}

impl Read for Handle {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.with(|platter| platter.read(self.file, self.position, into))?;
        self.position += count;
        Ok(count)
    }
}

impl Seek for Handle {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (base, offset) = match to {
            SeekFrom::Start(at) => (0, i64::try_from(at).unwrap_or(i64::MAX)),
            SeekFrom::Current(offset) => (self.position, offset),
            SeekFrom::End(offset) => (self.length()?, offset),
        };
        let base = i64::try_from(base).unwrap_or(i64::MAX);
        self.position = usize::try_from(base.saturating_add(offset))
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position as u64)
    }
}

impl redb::StorageBackend for Handle {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.length()? as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let wanted = out.len();
        let count = self.with(|platter| platter.read(self.file, at(offset)?, out))?;
        if count < wanted {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.with(|platter| platter.set_length(self.file, at(len)?))
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.with(|platter| platter.sync(self.file))
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.with(|platter| platter.write(self.file, at(offset)?, data))
    }
}

fn at(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// A held lock of one boot.
#[derive(Debug)]
struct Held {
    disk: SimDisk,
    boot: u64,
    path: PathBuf,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut platter = self.disk.0.lock();
        if platter.locks.get(&self.path) == Some(&self.boot) {
            platter.locks.remove(&self.path);
        }
    }
}

impl Disk for SimDisk {
    fn open_database(&self, path: &Path) -> io::Result<Box<dyn redb::StorageBackend>> {
        let file = {
            let mut platter = self.0.lock();
            match platter.lookup(path) {
                Ok(file) => file,
                Err(_) => {
                    let file = platter.create(path)?;
                    platter.sync_names();
                    file
                }
            }
        };
        Ok(Box::new(self.handle(file)))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let file = self.0.lock().create(path)?;
        Ok(Box::new(self.handle(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        let file = self.0.lock().lookup(path)?;
        Ok(Box::new(self.handle(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut platter = self.0.lock();
        platter.powered()?;
        let file = platter.lookup(from)?;
        platter.names.remove(from);
        platter.names.insert(to.to_owned(), file);
        platter.sync_names();
        platter.note(b"rename", 0, to.as_os_str().as_encoded_bytes());
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut platter = self.0.lock();
        platter.powered()?;
        platter.lookup(path)?;
        platter.names.remove(path);
        platter.sync_names();
        platter.note(b"remove", 0, path.as_os_str().as_encoded_bytes());
        Ok(())
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut platter = self.0.lock();
        platter.powered()?;
        let all = path.ancestors().map(Path::to_owned);
        platter.directories.extend(all);
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let platter = self.0.lock();
        let names = platter.names.keys().chain(&platter.directories);
        let mut names: Vec<String> = names
            .filter(|name| name.parent() == Some(path))
            .filter_map(|name| Some(name.file_name()?.to_string_lossy().into_owned()))
            .collect();
        names.sort();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> bool {
        let platter = self.0.lock();
        platter.names.contains_key(path) || platter.directories.contains(path)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let platter = self.0.lock();
        let file = platter.lookup(path)?;
        Ok(platter.files[&file].current.len() as u64)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let mut platter = self.0.lock();
        let boot = platter.boot;
        if platter.locks.insert(path.to_owned(), boot).is_some() {
            return Err(io::Error::from(io::ErrorKind::WouldBlock));
        }
        Ok(Box::new(Held {
            disk: self.clone(),
            boot,
            path: path.to_owned(),
        }))
    }
}
