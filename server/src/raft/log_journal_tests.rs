//! What a crash leaves behind: copies of a running store's directory are opened again.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use openraft::EntryPayload;
use openraft::RaftLogReader as _;
use openraft::storage::{IOFlushed, RaftLogStorage as _};
use openraft::type_config::TypeConfigExt as _;
use tempfile::TempDir;

use super::*;
use crate::disk::{RealDisk, SharedDisk};
use crate::raft::fatal::Fatal;
use crate::raft::log_store::Store;
use crate::raft::types::{LeaderId, LogData, LogId, ServerId, TypeConfig, Vote};
use crate::sabotage::Sabotage;

fn open(directory: &Path) -> Result<Store, StoreError> {
    let disk: SharedDisk = Arc::new(RealDisk);
    Store::open(&disk, directory, Fatal::new(), Sabotage::default())
}

fn id(index: u64) -> LogId {
    let node_id = ServerId::from(1);
    LogId::new(LeaderId { term: 1, node_id }, index)
}

fn entry(index: u64, size: usize) -> Entry {
    let content = Bytes::from(vec![index as u8; size]);
    Entry {
        log_id: id(index),
        payload: EntryPayload::Normal(LogData(content)),
    }
}

async fn append(store: &mut Store, entries: Vec<Entry>) {
    let (sender, flushed) = TypeConfig::oneshot();
    store
        .append(entries, IOFlushed::signal(sender))
        .await
        .unwrap();
    flushed.await.unwrap().unwrap();
}

/// The directory as a crash at this moment leaves it.
fn crashed(directory: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["raft.redb", FILE_NAME] {
        std::fs::copy(directory.join(name), copy.path().join(name)).unwrap();
    }
    copy
}

async fn indexes(store: &mut Store) -> Vec<u64> {
    let entries = store.try_get_log_entries(..).await.unwrap();
    entries.iter().map(|entry| entry.log_id.index).collect()
}

/// A store with three entries in redb and five in the journal, each in a record of its own.
async fn with_a_journal() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path()).unwrap();
    append(&mut store, (0..3).map(|index| entry(index, 100)).collect()).await;
    let vote = Vote::new(1, ServerId::from(1));
    store.save_vote(&vote).await.unwrap();
    for index in 3..8 {
        append(&mut store, vec![entry(index, 5000)]).await;
    }
    (directory, store)
}

/// Where the record of entry 3 + `number` begins, given how `with_a_journal` fills it.
fn place_of(number: usize) -> usize {
    4096 + number * 8192
}

#[tokio::test]
async fn entries_acknowledged_before_a_crash_are_there_again_and_again() {
    let (directory, store) = with_a_journal().await;
    let copy = crashed(directory.path());
    for round in 0..3u64 {
        let mut again = open(copy.path()).unwrap();
        let expected: Vec<u64> = (0..8 + round).collect();
        assert_eq!(indexes(&mut again).await, expected);
        append(&mut again, vec![entry(8 + round, 10)]).await;
        let next = crashed(copy.path());
        again.close().await;
        std::fs::copy(next.path().join(FILE_NAME), copy.path().join(FILE_NAME)).unwrap();
        std::fs::copy(next.path().join("raft.redb"), copy.path().join("raft.redb")).unwrap();
    }
    store.close().await;
}

#[tokio::test]
async fn after_a_stop_in_order_the_journal_is_empty_and_nothing_is_missing() {
    let (directory, store) = with_a_journal().await;
    store.close().await;
    let journal = std::fs::read(directory.path().join(FILE_NAME)).unwrap();
    assert!(journal.is_empty(), "{} bytes", journal.len());
    let mut again = open(directory.path()).unwrap();
    assert_eq!(indexes(&mut again).await, (0..8).collect::<Vec<_>>());
    again.close().await;
}

#[tokio::test]
async fn many_times_the_journals_length_passes_through_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path()).unwrap();
    for round in 0..300 {
        let entries = (round * 4..round * 4 + 4).map(|index| entry(index, 3000));
        append(&mut store, entries.collect()).await;
        if round % 97 == 0 {
            let copy = crashed(directory.path());
            let mut again = open(copy.path()).unwrap();
            let expected: Vec<u64> = (0..round * 4 + 4).collect();
            assert_eq!(indexes(&mut again).await, expected);
            again.close().await;
        }
    }
    // One that never fits.
    append(&mut store, vec![entry(1200, 2 << 20)]).await;
    let copy = crashed(directory.path());
    let mut again = open(copy.path()).unwrap();
    assert_eq!(indexes(&mut again).await.len(), 1201);
    again.close().await;
    store.close().await;
}

#[tokio::test]
async fn what_was_truncated_does_not_come_back_from_the_journal() {
    let (directory, mut store) = with_a_journal().await;
    store.truncate_after(Some(id(4))).await.unwrap();
    append(&mut store, vec![entry(5, 7)]).await;
    let copy = crashed(directory.path());
    let mut again = open(copy.path()).unwrap();
    assert_eq!(indexes(&mut again).await, [0, 1, 2, 3, 4, 5]);
    let last = again.try_get_log_entries(5..).await.unwrap();
    assert_eq!(last, [entry(5, 7)]);
    again.close().await;
    store.close().await;
}

#[tokio::test]
async fn a_torn_last_record_is_as_if_it_had_not_been_written() {
    let (directory, store) = with_a_journal().await;
    let copy = crashed(directory.path());
    store.close().await;
    let path = copy.path().join(FILE_NAME);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[place_of(4) + 4096..].fill(0);
    std::fs::write(&path, bytes).unwrap();
    let mut again = open(copy.path()).unwrap();
    assert_eq!(indexes(&mut again).await, (0..7).collect::<Vec<_>>());
    again.close().await;
}

#[tokio::test]
async fn damage_before_a_whole_record_is_refused_by_name_and_nothing_is_changed() {
    let (directory, store) = with_a_journal().await;
    let copy = crashed(directory.path());
    store.close().await;
    let path = copy.path().join(FILE_NAME);
    let intact = std::fs::read(&path).unwrap();
    let log = std::fs::read(copy.path().join("raft.redb")).unwrap();
    let flipped = |place: usize| {
        let mut bytes = intact.clone();
        bytes[place] ^= 1;
        bytes
    };
    let mut damaged: Vec<Vec<u8>> = (0..4)
        .map(|record| flipped(place_of(record) + 60))
        .collect();
    damaged.extend([
        flipped(3),
        flipped(place_of(1) + 9),
        flipped(place_of(2) + 17),
    ]);
    damaged.extend([intact[..intact.len() / 2].to_vec(), Vec::new()]);
    for (case, bytes) in damaged.into_iter().enumerate() {
        std::fs::write(&path, &bytes).unwrap();
        let error = open(copy.path())
            .err()
            .unwrap_or_else(|| panic!("case {case} was not noticed"));
        assert!(
            error.to_string().contains(FILE_NAME),
            "case {case}: {error}"
        );
        assert!(
            std::fs::read(&path).unwrap() == bytes,
            "case {case}: changed"
        );
        assert!(
            std::fs::read(copy.path().join("raft.redb")).unwrap() == log,
            "case {case}: the log was changed"
        );
    }
    std::fs::remove_file(&path).unwrap();
    let error = open(copy.path()).err().unwrap();
    assert!(error.to_string().contains(FILE_NAME), "{error}");
}

#[tokio::test]
async fn a_journal_without_its_log_is_not_taken_for_a_new_server() {
    let (directory, store) = with_a_journal().await;
    let copy = crashed(directory.path());
    store.close().await;
    std::fs::remove_file(copy.path().join("raft.redb")).unwrap();
    let error = open(copy.path()).err().unwrap();
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
}
