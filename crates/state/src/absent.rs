//! What is known of names that are gone: the index of their removal, until it is collected.
//!
//! A removal leaves a tombstone (name, index): the index that an empty answer about this name carries. Collecting drops the tombstone and
//! raises the watermark, which then answers for every name that is not there. Nothing that exists reads either, so
//! collecting moves no index of anything that exists. Keys have prefixes and hence `grave`; these names have none.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::Index;

/// Tombstones of one kind of names, and the watermark.
#[derive(Debug, Clone, Default)]
pub(crate) struct Absent {
    tombstones: OrdMap<Arc<str>, Index>,
    by_index: OrdSet<(Index, Arc<str>)>,
    watermark: Index,
}

impl Absent {
    pub(crate) fn bury(&mut self, name: Arc<str>, index: Index) {
        if let Some(old) = self.tombstones.insert(name.clone(), index) {
            self.by_index.remove(&(old, name.clone()));
        }
        self.by_index.insert((index, name));
    }

    pub(crate) fn exhume(&mut self, name: &str) {
        if let Some((name, index)) = self.tombstones.remove_with_key(name) {
            self.by_index.remove(&(index, name));
        }
    }

    /// Index of a name that is not there.
    pub(crate) fn index_of(&self, name: &str) -> Index {
        let tombstone = self.tombstones.get(name).copied().unwrap_or(0);
        tombstone.max(self.watermark)
    }

    pub(crate) fn tombstones(&self) -> &OrdMap<Arc<str>, Index> {
        &self.tombstones
    }

    pub(crate) fn watermark(&self) -> Index {
        self.watermark
    }

    pub(crate) fn raise_watermark(&mut self, index: Index) {
        self.watermark = self.watermark.max(index);
    }

    /// Index of the last removal that still has a tombstone, or 0.
    pub(crate) fn last_tombstone(&self) -> Index {
        self.by_index.get_max().map_or(0, |(index, _)| *index)
    }

    pub(crate) fn any_up_to(&self, index: Index) -> bool {
        self.by_index
            .get_min()
            .is_some_and(|(oldest, _)| *oldest <= index)
    }

    /// Drops tombstones with index `up_to` and below, the oldest first, at most `max`. Returns how many went.
    pub(crate) fn reap(&mut self, up_to: Index, max: usize) -> usize {
        for done in 0..max {
            match self.by_index.get_min() {
                Some((oldest, _)) if *oldest <= up_to => {}
                _ => return done,
            }
            if let Some((index, name)) = self.by_index.remove_min() {
                self.tombstones.remove(&*name);
                self.raise_watermark(index);
            }
        }
        max
    }
}
