//! A disk that is full: the first failed write ends the server, and nothing is acknowledged after it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use openraft::storage::RaftLogStorage as _;
use redb::StorageBackend;

use super::*;
use crate::disk::{Disk, ReadFile, RealDisk, WriteFile};
use crate::raft::types::ServerId;

#[derive(Debug, Clone, Default)]
struct FullDisk(Arc<AtomicBool>);

#[derive(Debug)]
struct FullFile(Box<dyn StorageBackend>, Arc<AtomicBool>);

impl FullFile {
    fn check(&self) -> io::Result<()> {
        match self.1.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

impl StorageBackend for FullFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.0.write(offset, data)
    }
}

impl Disk for FullDisk {
    fn open_database(&self, path: &Path) -> io::Result<Box<dyn StorageBackend>> {
        let file = RealDisk.open_database(path)?;
        Ok(Box::new(FullFile(file, Arc::clone(&self.0))))
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        RealDisk.create(path)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        RealDisk.open(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(path)
    }
    fn exists(&self, path: &Path) -> bool {
        RealDisk.exists(path)
    }
    fn len(&self, path: &Path) -> io::Result<u64> {
        RealDisk.len(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        RealDisk.lock(path)
    }
}

#[tokio::test]
async fn after_the_first_failed_write_nothing_is_acknowledged_and_the_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let full = FullDisk::default();
    let disk: SharedDisk = Arc::new(full.clone());
    let fatal = Fatal::new();
    let mut store =
        Store::open(&disk, directory.path(), fatal.clone(), Sabotage::default()).unwrap();
    let vote = Vote::new(1, ServerId::from(1));
    store.save_vote(&vote).await.unwrap();
    full.0.store(true, Ordering::Relaxed);
    let failed = store.save_vote(&Vote::new(2, ServerId::from(1))).await;
    assert!(failed.unwrap_err().to_string().contains("raft.redb"));
    assert!(fatal.wait().await.contains("raft.redb"));
    // Room again changes nothing: what the disk holds is not known.
    full.0.store(false, Ordering::Relaxed);
    store.put("name", Bytes::new()).await.unwrap_err();
    store.close().await;
    let mut again =
        Store::open(&disk, directory.path(), Fatal::new(), Sabotage::default()).unwrap();
    assert_eq!(again.read_vote().await.unwrap(), Some(vote));
    again.close().await;
}
