//! What deleted keys leave behind, so that indexes of what exists never move when it is collected.
//!
//! A deletion leaves a *tombstone* (key, index). Reaping folds a tombstone of key K into a *mark* on the longest prefix L
//! that K shares with a live key. A query of prefix P sees the marks at and below P. That is exact: if P begins K and something lives below P,
//! then P begins L; if nothing lives below P, the *watermark* (largest index ever reaped) answers, and it is no lower.
//! Marks that another fact outweighs are dropped, so that they stay few. Rejected: one tombstone a prefix (an
//! answer's index would move for keys that are not in it), and keeping tombstones for ever.
//!
//! **Invariant:** a mark's prefix begins a live key or a tombstone's key, and no mark is above the watermark.

use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::Index;
use crate::row::KvEntry;

/// At most so many rows are looked at to find out whether a mark is redundant. A redundant mark that stays is only
/// a few bytes too many; an unbounded look would make reaping quadratic.
const REDUNDANCY_LOOK_MAX: usize = 16;

/// One reap folds away at most so many tombstones (some tens of milliseconds), so that no command holds up those after it.
pub(crate) const REAP_MAX: usize = 10_000;

/// Tombstones, marks and the watermark.
#[derive(Debug, Clone, Default)]
pub(crate) struct Graves {
    tombstones: OrdMap<Arc<str>, Index>,
    by_index: OrdSet<(Index, Arc<str>)>,
    marks: OrdMap<Arc<str>, Index>,
    watermark: Index,
}

impl Graves {
    pub(crate) fn bury(&mut self, key: Arc<str>, index: Index) {
        if let Some(old) = self.tombstones.insert(key.clone(), index) {
            self.by_index.remove(&(old, key.clone()));
        }
        self.by_index.insert((index, key));
    }

    pub(crate) fn exhume(&mut self, key: &str) {
        if let Some((key, index)) = self.tombstones.remove_with_key(key) {
            self.by_index.remove(&(index, key));
        }
    }

    pub(crate) fn tombstones(&self) -> &OrdMap<Arc<str>, Index> {
        &self.tombstones
    }

    pub(crate) fn marks(&self) -> &OrdMap<Arc<str>, Index> {
        &self.marks
    }

    pub(crate) fn watermark(&self) -> Index {
        self.watermark
    }

    pub(crate) fn raise_watermark(&mut self, index: Index) {
        self.watermark = self.watermark.max(index);
    }

    pub(crate) fn set_mark(&mut self, prefix: Arc<str>, index: Index) {
        self.marks.insert(prefix, index);
    }

    /// Index of a key that is not there.
    pub(crate) fn index_of_absent(&self, key: &str) -> Index {
        let tombstone = self.tombstones.get(key).copied().unwrap_or(0);
        tombstone.max(self.watermark)
    }

    /// Index of a prefix below which nothing lives.
    pub(crate) fn index_below_absent(&self, prefix: &str) -> Index {
        self.last_tombstone_below(prefix).max(self.watermark)
    }

    /// What deletions contribute to the index of a prefix below which something lives.
    pub(crate) fn index_below_live(&self, prefix: &str) -> Index {
        self.last_tombstone_below(prefix)
            .max(max_below(&self.marks, prefix))
    }

    /// Whether a reap up to this index would find any.
    pub(crate) fn any_up_to(&self, index: Index) -> bool {
        self.by_index
            .get_min()
            .is_some_and(|(oldest, _)| *oldest <= index)
    }

    /// Index of the last deletion that still has a tombstone, or 0.
    pub(crate) fn last_tombstone(&self) -> Index {
        self.by_index.get_max().map_or(0, |(index, _)| *index)
    }

    fn last_tombstone_below(&self, prefix: &str) -> Index {
        if prefix.is_empty() {
            return self.last_tombstone();
        }
        max_below(&self.tombstones, prefix)
    }

    /// Folds tombstones with index `up_to` and below into marks, the oldest first, at most [`REAP_MAX`].
    pub(crate) fn reap(&mut self, up_to: Index, live: &OrdMap<Arc<str>, Arc<KvEntry>>) {
        for _ in 0..REAP_MAX {
            let oldest = self.by_index.get_min().filter(|(index, _)| *index <= up_to);
            let Some((index, key)) = oldest.cloned() else {
                return;
            };
            self.by_index.remove_min();
            self.tombstones.remove(&*key);
            self.raise_watermark(index);
            self.drop_marks_on_the_way_to(&key);
            if let Some(len) = shared_with_live(&key, live)
                && !self.is_redundant(&key[..len], index, live)
            {
                self.marks.insert(Arc::from(&key[..len]), index);
            }
        }
    }

    /// Removes the marks on prefixes of `key`, whose deletion is being folded. Reaping goes from the oldest on, so none is newer: those
    /// longer than what `key` still shares with a live key have nothing below them, the others are outweighed.
    fn drop_marks_on_the_way_to(&mut self, key: &str) {
        let mut path = key;
        // The closest mark at or before `path`: every prefix of `path` sorts there too.
        while let Some((mark, _)) = self.marks.get_prev(path) {
            let mark = mark.clone();
            let common = common_prefix(&mark, path);
            if common < mark.len() {
                path = &path[..common];
                continue;
            }
            self.marks.remove(&*mark);
            match cut_last_char(&path[..common]) {
                Some(shorter) => path = shorter,
                None => return,
            }
        }
    }

    fn is_redundant(
        &self,
        prefix: &str,
        index: Index,
        live: &OrdMap<Arc<str>, Arc<KvEntry>>,
    ) -> bool {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let newer_mark = self
            .marks
            .range::<_, str>(from)
            .take(REDUNDANCY_LOOK_MAX)
            .take_while(|(mark, _)| mark.starts_with(prefix))
            .any(|(_, at)| *at >= index);
        newer_mark
            || live
                .range::<_, str>(from)
                .take(REDUNDANCY_LOOK_MAX)
                .take_while(|(key, _)| key.starts_with(prefix))
                .any(|(_, entry)| entry.create_index >= index)
    }
}

fn max_below(map: &OrdMap<Arc<str>, Index>, prefix: &str) -> Index {
    map.range::<_, str>((Bound::Included(prefix), Bound::Unbounded))
        .take_while(|(key, _)| key.starts_with(prefix))
        .map(|(_, index)| *index)
        .max()
        .unwrap_or(0)
}

/// Length of the longest prefix of `key` that a live key has too; `None`: nothing lives at all.
fn shared_with_live(key: &str, live: &OrdMap<Arc<str>, Arc<KvEntry>>) -> Option<usize> {
    let before = live.get_prev(key).map(|(k, _)| common_prefix(k, key));
    let after = live.get_next(key).map(|(k, _)| common_prefix(k, key));
    before.max(after)
}

/// Length in bytes of the longest common prefix that ends between two characters.
fn common_prefix(a: &str, b: &str) -> usize {
    let mut same = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    while !b.is_char_boundary(same) {
        same -= 1;
    }
    same
}

fn cut_last_char(s: &str) -> Option<&str> {
    let (at, _) = s.char_indices().next_back()?;
    Some(&s[..at])
}
