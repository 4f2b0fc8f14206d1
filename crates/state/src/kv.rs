//! The key/value table: live keys, and of the deleted ones what their indexes still need.
//!
//! An answer's index is computed from what it shows: the largest ModifyIndex (for key lists: CreateIndex) of the live keys
//! below the prefix, and the largest deletion below it. No table-wide index is involved, so a write elsewhere moves nothing.
//! Rules of writing (locks, sessions, conditions) are in `kv_write`; this file must not know a session.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

use crate::grave::Graves;
use crate::row::KvEntry;
use crate::{Answer, Index};

/// Live keys and graves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kv {
    entries: OrdMap<Arc<str>, Arc<KvEntry>>,
    pub(crate) graves: Graves,
}

impl Kv {
    pub(crate) fn entry(&self, key: &str) -> Option<&Arc<KvEntry>> {
        self.entries.get(key)
    }

    pub(crate) fn entries(&self) -> &OrdMap<Arc<str>, Arc<KvEntry>> {
        &self.entries
    }

    /// Puts a row in, new or in the place of another. A tombstone of the key goes: the row's CreateIndex is above it.
    pub(crate) fn insert(&mut self, entry: Arc<KvEntry>) {
        match self.entries.get_mut(entry.key()) {
            Some(slot) => *slot = entry,
            None => {
                self.graves.exhume(entry.key());
                self.entries.insert(entry.key_arc().clone(), entry);
            }
        }
    }

    /// Takes a row out and leaves a tombstone.
    pub(crate) fn remove(&mut self, key: &str, index: Index) -> Option<Arc<KvEntry>> {
        let entry = self.entries.remove(key)?;
        self.graves.bury(entry.key_arc().clone(), index);
        Some(entry)
    }

    /// Live rows below a prefix, in the order of their keys.
    pub(crate) fn below<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = &'a Arc<KvEntry>> + 'a {
        self.entries
            .range::<_, str>((Bound::Included(prefix), Bound::Unbounded))
            .map(|(_, entry)| entry)
            .take_while(move |entry| entry.key().starts_with(prefix))
    }

    /// Folds away tombstones up to an index; see [`Graves`].
    pub(crate) fn reap(&mut self, up_to: Index) {
        let entries = &self.entries;
        self.graves.reap(up_to, entries);
    }

    // === queries ===

    pub(crate) fn get(&self, key: &str) -> Answer<Option<Arc<KvEntry>>> {
        match self.entries.get(key) {
            Some(entry) => Answer::new(entry.modify_index, Some(entry.clone())),
            None => Answer::new(self.graves.index_of_absent(key), None),
        }
    }

    pub(crate) fn list(&self, prefix: &str) -> Answer<Vec<Arc<KvEntry>>> {
        let mut index = 0;
        let mut rows = Vec::new();
        for entry in self.below(prefix) {
            index = index.max(entry.modify_index);
            rows.push(entry.clone());
        }
        let index = self.index_below(prefix, !rows.is_empty(), index);
        Answer::new(index, rows)
    }

    pub(crate) fn keys(&self, prefix: &str, separator: Option<&str>) -> Answer<Vec<String>> {
        let mut index = 0;
        let mut keys: Vec<String> = Vec::new();
        let mut any = false;
        for entry in self.below(prefix) {
            any = true;
            index = index.max(entry.create_index);
            let key = shorten(entry.key(), prefix.len(), separator);
            if keys.last().is_none_or(|last| last != key) {
                keys.push(key.to_owned());
            }
        }
        Answer::new(self.index_below(prefix, any, index), keys)
    }

    fn index_below(&self, prefix: &str, any: bool, live: Index) -> Index {
        if any {
            live.max(self.graves.index_below_live(prefix))
        } else {
            self.graves.index_below_absent(prefix)
        }
    }
}

/// Cuts a key after the first separator that follows the prefix. An empty separator cuts nothing.
fn shorten<'a>(key: &'a str, prefix_len: usize, separator: Option<&str>) -> &'a str {
    let Some(separator) = separator.filter(|s| !s.is_empty()) else {
        return key;
    };
    match key[prefix_len..].find(separator) {
        Some(at) => &key[..prefix_len + at + separator.len()],
        None => key,
    }
}
