//! The log over a real redb file: openraft's suite, restarts, and damage.

use std::path::Path;

use openraft::EntryPayload;
use openraft::storage::RaftLogStorage as _;
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt as _;
use tempfile::TempDir;

use super::*;
use crate::disk::RealDisk;
use crate::raft::snapshot::Snapshots;
use crate::raft::state_machine::StateMachine;
use crate::raft::types::{LeaderId, LogData, ServerId};

struct OverRedb;

impl StoreBuilder<TypeConfig, Store, StateMachine, TempDir> for OverRedb {
    async fn build(
        &self,
    ) -> Result<(TempDir, Store, StateMachine), openraft::StorageError<TypeConfig>> {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path()).unwrap();
        let disk: SharedDisk = Arc::new(RealDisk);
        let (snapshots, started) = Snapshots::open(disk, directory.path()).unwrap();
        let wake = Box::new(|_: &rollcall_state::Changes| {});
        let machine = StateMachine::new(
            started,
            snapshots,
            wake,
            store.fatal().clone(),
            Sabotage::default(),
        );
        Ok((directory, store, machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openrafts_storage_suite_passes() {
    Suite::test_all(OverRedb).await.unwrap();
}

fn open(directory: &Path) -> Result<Store, StoreError> {
    let disk: SharedDisk = Arc::new(RealDisk);
    Store::open(&disk, directory, Fatal::new(), Sabotage::default())
}

fn id(term: u64, index: u64) -> LogId {
    let node_id = ServerId::from(1);
    LogId::new(LeaderId { term, node_id }, index)
}

fn entry(index: u64, size: usize) -> Entry {
    let content = Bytes::from(vec![index as u8; size]);
    Entry {
        log_id: id(1, index),
        payload: EntryPayload::Normal(LogData(content)),
    }
}

async fn append(store: &mut Store, entries: Vec<Entry>) {
    let (sender, flushed) = TypeConfig::oneshot();
    let callback = IOFlushed::signal(sender);
    store.append(entries, callback).await.unwrap();
    flushed.await.unwrap().unwrap();
}

/// What a store holds, as one value.
async fn content(store: &mut Store) -> String {
    let entries = store.try_get_log_entries(..).await.unwrap();
    let vote = store.read_vote().await.unwrap();
    let state = store.get_log_state().await.unwrap();
    let named = store.get("name").unwrap();
    format!("{entries:?} {vote:?} {state:?} {named:?}")
}

/// A closed data directory with a little of everything, and what it holds.
async fn filled() -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path()).unwrap();
    let vote = Vote::new_committed(1, ServerId::from(1));
    store.save_vote(&vote).await.unwrap();
    append(&mut store, (0..60).map(|i| entry(i, 100)).collect()).await;
    store.save_committed(Some(id(1, 50))).await.unwrap();
    store
        .put("name", Bytes::from_static(b"value"))
        .await
        .unwrap();
    store.purge(id(1, 9)).await.unwrap();
    append(&mut store, vec![entry(60, 10)]).await;
    let content = content(&mut store).await;
    store.close().await;
    (directory, content)
}

#[tokio::test]
async fn all_that_was_acknowledged_is_there_after_a_restart() {
    let (directory, before) = filled().await;
    let mut store = open(directory.path()).unwrap();
    assert_eq!(content(&mut store).await, before);
    assert_eq!(store.read_committed().await.unwrap(), Some(id(1, 50)));
    assert!(store.has_data());
    store.close().await;
}

#[tokio::test]
async fn entries_are_readable_at_once_and_from_the_disk_once_memory_lets_go_of_them() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path()).unwrap();
    let large: Vec<_> = (0..40).map(|index| entry(index, 512 << 10)).collect();
    store
        .append(large.clone(), IOFlushed::noop())
        .await
        .unwrap();
    assert_eq!(store.try_get_log_entries(..).await.unwrap(), large);
    append(&mut store, vec![entry(40, 1)]).await;
    let cached_from = store.inner.tail.lock().cached_from();
    assert!(cached_from > 20, "cached from {cached_from}");
    assert_eq!(store.try_get_log_entries(..40).await.unwrap(), large);
    let some = store.limited_get_log_entries(3, 41).await.unwrap();
    assert_eq!(
        some,
        large[3..4],
        "one entry of 512 KiB and some fits 1 MiB"
    );
    use futures_util::StreamExt as _;
    let streamed: Vec<_> = store
        .clone()
        .entries_stream(5..41)
        .await
        .map(Result::unwrap)
        .collect()
        .await;
    assert_eq!(streamed[..35], large[5..]);
    assert_eq!(streamed[35], entry(40, 1));
}

#[tokio::test]
async fn what_replaces_a_cut_off_tail_is_what_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path()).unwrap();
    append(&mut store, (0..10).map(|index| entry(index, 5)).collect()).await;
    store.truncate_after(Some(id(1, 4))).await.unwrap();
    let mut new = entry(5, 9);
    new.log_id = id(2, 5);
    append(&mut store, vec![new.clone()]).await;
    store.close().await;
    let mut store = open(directory.path()).unwrap();
    let read = store.try_get_log_entries(4..).await.unwrap();
    assert_eq!(read, [entry(4, 5), new]);
}

#[tokio::test]
async fn the_file_does_not_keep_growing_while_the_log_is_purged() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path()).unwrap();
    let mut sizes = Vec::new();
    for round in 0..12u64 {
        let entries = round * 500..(round + 1) * 500;
        append(
            &mut store,
            entries.map(|index| entry(index, 1000)).collect(),
        )
        .await;
        store.purge(id(1, round * 500 + 400)).await.unwrap();
        append(&mut store, vec![]).await;
        sizes.push(std::fs::metadata(store.path()).unwrap().len());
    }
    assert!(sizes[11] <= sizes[3] * 2, "{sizes:?}");
}

/// Opens a damaged copy: either it is refused by name and left as it is, or it holds what was written.
async fn refused_or_whole(directory: &Path, whole: &str, what: &str) -> bool {
    let path = directory.join("raft.redb");
    let before = std::fs::read(&path).unwrap();
    match open(directory) {
        Err(error) => {
            assert!(error.to_string().contains("raft.redb"), "{what}: {error}");
            let after = std::fs::read(&path).unwrap();
            assert!(before == after, "{what}: the file was changed");
            true
        }
        Ok(mut store) => {
            assert_eq!(content(&mut store).await, whole, "{what}");
            store.close().await;
            std::fs::write(&path, before).unwrap();
            false
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_is_refused_or_harmless() {
    let (directory, whole) = filled().await;
    let path = directory.path().join("raft.redb");
    let intact = std::fs::read(&path).unwrap();
    let used = intact.iter().rposition(|byte| *byte != 0).unwrap();
    let mut refused = 0;
    for position in (0..used).step_by(used / 120) {
        let mut damaged = intact.clone();
        damaged[position] ^= 0x10;
        std::fs::write(&path, &damaged).unwrap();
        let what = format!("byte {position}");
        refused += u32::from(refused_or_whole(directory.path(), &whole, &what).await);
    }
    assert!(refused > 10, "only {refused} of 120 were noticed");
}

#[tokio::test]
async fn a_truncated_an_empty_or_a_foreign_file_is_refused() {
    let (directory, whole) = filled().await;
    let path = directory.path().join("raft.redb");
    let intact = std::fs::read(&path).unwrap();
    for part in 0..20 {
        let length = intact.len() / 20 * part;
        std::fs::write(&path, &intact[..length]).unwrap();
        let what = format!("{length} bytes of {}", intact.len());
        assert!(
            refused_or_whole(directory.path(), &whole, &what).await,
            "{what}"
        );
    }
    std::fs::write(&path, vec![b'x'; intact.len()]).unwrap();
    assert!(refused_or_whole(directory.path(), &whole, "foreign").await);
    std::fs::write(&path, b"#!/bin/sh\n").unwrap();
    assert!(refused_or_whole(directory.path(), &whole, "short and foreign").await);
}

#[tokio::test]
async fn a_directory_with_snapshots_and_no_log_is_not_taken_for_a_new_one() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("snapshot-3-99.rcs"), b"x").unwrap();
    let error = open(directory.path()).err().unwrap();
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
    assert!(error.to_string().contains("raft.redb"));
}

#[tokio::test]
async fn a_file_of_another_format_is_named() {
    let (directory, _) = filled().await;
    let path = directory.path().join("raft.redb");
    {
        let database = redb::Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        let sealed = crate::raft::record::seal(|out| out.extend_from_slice(&2u32.to_le_bytes()));
        transaction
            .open_table(META)
            .unwrap()
            .insert("format", sealed.as_ref())
            .unwrap();
        transaction.commit().unwrap();
    }
    let error = open(directory.path()).err().unwrap();
    assert!(
        matches!(error, StoreError::Format { found: 2, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_file_that_is_open_elsewhere_is_not_opened_again() {
    let (directory, _) = filled().await;
    let store = open(directory.path()).unwrap();
    let error = open(directory.path()).err().unwrap();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    store.close().await;
    open(directory.path()).unwrap().close().await;
}
