//! What is known of the log without asking the disk: its ends, the vote, and its newest entries.
//!
//! Entries are readable the moment they are appended, before they are durable; and replication reads the newest, so
//! they are served from here. An entry leaves this cache only once it is durable.

use std::collections::VecDeque;

use super::record::entry_bytes;
use super::types::{Entry, LogId, Vote};

/// Newest entries kept in memory for replication: a follower that lags more reads from the disk.
const CACHE_BYTES_MAX: usize = 8 << 20;

/// Ends, vote and newest entries of the log.
#[derive(Debug, Default)]
pub(super) struct Tail {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    pub(super) last: Option<LogId>,
    /// The first index of a log that was never purged: 0, except in openraft's storage suite.
    start: u64,
    cache: VecDeque<Entry>,
    cache_bytes: usize,
    /// One past the last entry that is on disk.
    durable_end: u64,
    /// Counts truncations: a commit of entries that were cut off meanwhile must not count as durable.
    epoch: u64,
}

impl Tail {
    /// The log as found on disk.
    pub(super) fn found(
        vote: Option<Vote>,
        committed: Option<LogId>,
        purged: Option<LogId>,
        last: Option<LogId>,
    ) -> Self {
        Self {
            vote,
            committed,
            purged,
            last,
            durable_end: last.map_or(0, |id| id.index + 1),
            ..Self::default()
        }
    }

    /// Adds entries. Returns the epoch to give back with [`Tail::flushed`].
    pub(super) fn append(&mut self, entries: &[Entry]) -> u64 {
        if let (None, Some(first)) = (self.last, entries.first()) {
            self.start = first.log_id.index;
        }
        for entry in entries {
            self.cache_bytes += entry_bytes(entry);
            self.last = Some(entry.log_id);
            self.cache.push_back(entry.clone());
        }
        self.epoch
    }

    /// Entries up to `index`, appended in `epoch`, are durable.
    pub(super) fn flushed(&mut self, epoch: u64, index: u64) {
        if epoch == self.epoch {
            self.durable_end = self.durable_end.max(index + 1);
        }
        while self.cache_bytes > CACHE_BYTES_MAX {
            let evictable = self.cache.front();
            if evictable.is_none_or(|entry| entry.log_id.index >= self.durable_end) {
                break;
            }
            self.drop_front();
        }
    }

    /// Cuts off everything after `last`.
    pub(super) fn truncate(&mut self, last: Option<LogId>) {
        let end = last.map_or(0, |id| id.index + 1);
        if end >= self.end_index() {
            return;
        }
        let cut = |entry: &Entry| entry.log_id.index >= end;
        while self.cache.back().is_some_and(cut) {
            let entry = self.cache.pop_back().expect("there must be a last entry");
            self.cache_bytes -= entry_bytes(&entry);
        }
        self.last = last.max(self.purged);
        self.durable_end = self.durable_end.min(end);
        self.epoch += 1;
    }

    /// Drops everything up to `upto`.
    pub(super) fn purge(&mut self, upto: LogId) {
        let old = |entry: &Entry| entry.log_id.index <= upto.index;
        while self.cache.front().is_some_and(old) {
            self.drop_front();
        }
        self.purged = self.purged.max(Some(upto));
        self.last = self.last.max(Some(upto));
        self.durable_end = self.durable_end.max(upto.index + 1);
    }

    fn drop_front(&mut self) {
        let entry = self.cache.pop_front().expect("there must be a first entry");
        self.cache_bytes -= entry_bytes(&entry);
    }

    /// The first index that is in the log; beyond the last one if it is empty.
    pub(super) fn first_index(&self) -> u64 {
        self.purged.map_or(self.start, |id| id.index + 1)
    }

    /// One past the last index.
    pub(super) fn end_index(&self) -> u64 {
        self.last.map_or(0, |id| id.index + 1)
    }

    /// The first index that is in memory; [`Tail::end_index`] if none is.
    pub(super) fn cached_from(&self) -> u64 {
        self.cache
            .front()
            .map_or(self.end_index(), |entry| entry.log_id.index)
    }

    /// Entries of `start..end` in memory, in order; the caller asks for what is cached only. Stops past `bytes_max`,
    /// after one entry at least.
    pub(super) fn cached(&self, start: u64, end: u64, bytes_max: usize) -> Vec<Entry> {
        let from = self.cached_from();
        let skip = start.saturating_sub(from) as usize;
        let count = end.min(self.end_index()).saturating_sub(start) as usize;
        let mut bytes = 0;
        let taken = self.cache.iter().skip(skip).take(count);
        let taken = taken.take_while(|entry| {
            let before = bytes;
            bytes += entry_bytes(entry);
            before == 0 || bytes <= bytes_max
        });
        taken.cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use openraft::EntryPayload;

    use super::*;
    use crate::raft::types::{LeaderId, LogData, ServerId};

    fn id(index: u64) -> LogId {
        let node_id = ServerId::ANYONE;
        LogId::new(LeaderId { term: 1, node_id }, index)
    }

    fn entries(range: std::ops::Range<u64>, size: usize) -> Vec<Entry> {
        let data = LogData(Bytes::from(vec![0; size]));
        range
            .map(|index| Entry {
                log_id: id(index),
                payload: EntryPayload::Normal(data.clone()),
            })
            .collect()
    }

    fn indexes(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.log_id.index).collect()
    }

    #[test]
    fn entries_that_are_not_durable_stay_in_memory_whatever_their_size() {
        let mut tail = Tail::default();
        let epoch = tail.append(&entries(0..20, 1 << 20));
        assert_eq!(tail.cached_from(), 0);
        tail.flushed(epoch, 3);
        assert_eq!(tail.cached_from(), 4);
        tail.flushed(epoch, 19);
        assert_eq!(
            tail.cached_from(),
            13,
            "7 entries of 1 MiB and some fit 8 MiB"
        );
    }

    #[test]
    fn what_was_cut_off_does_not_become_durable_when_its_write_ends() {
        let mut tail = Tail::default();
        let old = tail.append(&entries(0..5, 1));
        tail.truncate(Some(id(2)));
        let new = tail.append(&entries(3..5, 5 << 20));
        tail.flushed(old, 4);
        assert_eq!(
            tail.cached_from(),
            0,
            "3 and 4 are not durable, nor is what lies before known to be"
        );
        tail.flushed(new, 4);
        assert_eq!(tail.cached_from(), 4);
        assert_eq!(tail.end_index(), 5);
    }

    #[test]
    fn a_read_stops_at_its_limit_but_gives_one_entry_at_least() {
        let mut tail = Tail::default();
        tail.append(&entries(0..5, 100));
        assert_eq!(indexes(&tail.cached(1, 5, 300)), [1, 2]);
        assert_eq!(indexes(&tail.cached(1, 5, 1)), [1]);
        assert_eq!(indexes(&tail.cached(3, 9, usize::MAX)), [3, 4]);
    }

    #[test]
    fn purging_beyond_the_end_moves_the_end() {
        let mut tail = Tail::default();
        tail.append(&entries(0..5, 1));
        tail.purge(id(9));
        assert_eq!((tail.first_index(), tail.end_index()), (10, 10));
        assert_eq!(tail.cached_from(), 10);
    }
}
