//! How keys are written: conditions, locks, deletions. As Consul 1.20 does it, odd corners included.

use std::sync::Arc;

use crate::Index;
use crate::change::KvChange;
use crate::command::{KvDelete, KvMode, KvSet};
use crate::reply::Refusal;
use crate::row::KvEntry;
use crate::write::Write;

/// What a write does to the key's lock.
pub(crate) enum LockUpdate {
    /// The holder stays. As in Consul the LockIndex starts again at 0.
    KeepHolder,
    /// Holder and LockIndex.
    Put(Option<Arc<str>>, u64),
}

impl Write<'_> {
    pub(crate) fn kv_apply(&mut self, set: &KvSet) -> Result<bool, Refusal> {
        let KvSet {
            key,
            value,
            flags,
            mode,
        } = set;
        match mode {
            KvMode::Set => {
                self.kv_put(key, value, *flags, LockUpdate::KeepHolder);
                Ok(true)
            }
            KvMode::Cas(index) => Ok(self.kv_cas(key, value, *flags, *index).is_some()),
            KvMode::Acquire(_) if self.tables.sessions.is_delayed(key, self.at) => Ok(false),
            KvMode::Acquire(session) => Ok(self.kv_lock(key, value, *flags, session)?.is_some()),
            KvMode::Release(session) => Ok(self.kv_unlock(key, value, *flags, session)?.is_some()),
        }
    }

    /// Writes a key without condition and returns its row. A write that changes nothing keeps the old row, and is no change.
    pub(crate) fn kv_put(
        &mut self,
        key: &str,
        value: &[u8],
        flags: u64,
        lock: LockUpdate,
    ) -> Arc<KvEntry> {
        let old = self.tables.kv.entry(key).cloned();
        let holder_before = old.as_ref().and_then(|e| e.session());
        let (holder, lock_index) = match lock {
            LockUpdate::KeepHolder => (holder_before.cloned(), 0),
            LockUpdate::Put(holder, lock_index) => (holder, lock_index),
        };
        let name = match &old {
            Some(old) => old.key_arc().clone(),
            None => Arc::from(key),
        };
        let entry = KvEntry::new(name.clone(), value, flags).with_lock(holder.clone(), lock_index);
        let (create_index, change) = match &old {
            Some(old) if old.same_content(&entry) => return old.clone(),
            Some(old) => (old.create_index, KvChange::Updated),
            None => (self.index, KvChange::Created),
        };
        if holder_before != holder.as_ref() {
            if let Some(before) = holder_before {
                self.tables.sessions.let_go(before, &name);
            }
            if let Some(holder) = &holder {
                self.tables.sessions.hold(holder, &name);
            }
        }
        let entry = Arc::new(entry.with_indexes(create_index, self.index));
        self.tables.kv.insert(entry.clone());
        self.changes.keys.push((name, change));
        entry
    }

    /// `None`: the condition does not hold.
    pub(crate) fn kv_cas(
        &mut self,
        key: &str,
        value: &[u8],
        flags: u64,
        index: Index,
    ) -> Option<Arc<KvEntry>> {
        let current = self.tables.kv.entry(key).map_or(0, |e| e.modify_index);
        (current == index).then(|| self.kv_put(key, value, flags, LockUpdate::KeepHolder))
    }

    /// `None`: another session holds it. The lock-delay is the caller's to check.
    pub(crate) fn kv_lock(
        &mut self,
        key: &str,
        value: &[u8],
        flags: u64,
        session: &str,
    ) -> Result<Option<Arc<KvEntry>>, Refusal> {
        if session.is_empty() {
            return Err(Refusal::Other("missing session".into()));
        }
        let Some(session) = self.tables.sessions.row(session).map(|s| s.id.clone()) else {
            return Err(Refusal::InvalidSession(session.to_owned()));
        };
        let lock_index = match self.tables.kv.entry(key) {
            None => 1,
            Some(entry) => match entry.session() {
                None => entry.lock_index() + 1,
                Some(holder) if *holder == session => entry.lock_index(),
                Some(_) => return Ok(None),
            },
        };
        let lock = LockUpdate::Put(Some(session), lock_index);
        Ok(Some(self.kv_put(key, value, flags, lock)))
    }

    /// `None`: the key is not there, or the session does not hold it.
    pub(crate) fn kv_unlock(
        &mut self,
        key: &str,
        value: &[u8],
        flags: u64,
        session: &str,
    ) -> Result<Option<Arc<KvEntry>>, Refusal> {
        if session.is_empty() {
            return Err(Refusal::Other("missing session".into()));
        }
        let lock_index = match self.tables.kv.entry(key) {
            Some(entry) if entry.session().is_some_and(|s| **s == *session) => entry.lock_index(),
            _ => return Ok(None),
        };
        let lock = LockUpdate::Put(None, lock_index);
        Ok(Some(self.kv_put(key, value, flags, lock)))
    }

    /// Takes the holder from a key whose session ended. The rest of the row stays.
    pub(crate) fn kv_free(&mut self, key: &str) {
        if let Some(entry) = self.tables.kv.entry(key).cloned() {
            let lock = LockUpdate::Put(None, entry.lock_index());
            self.kv_put(key, entry.value(), entry.flags, lock);
        }
    }

    pub(crate) fn kv_delete(&mut self, key: &str) {
        if let Some(entry) = self.tables.kv.remove(key, self.index) {
            if let Some(holder) = entry.session() {
                self.tables.sessions.let_go(holder, entry.key_arc());
            }
            self.changes
                .keys
                .push((entry.key_arc().clone(), KvChange::Deleted));
        }
    }

    /// Whether the condition, if any, holds. A key that is not there meets every condition, as in Consul.
    pub(crate) fn kv_delete_if(&mut self, delete: &KvDelete) -> bool {
        if let (Some(cas), Some(entry)) = (delete.cas, self.tables.kv.entry(&delete.key))
            && entry.modify_index != cas
        {
            return false;
        }
        self.kv_delete(&delete.key);
        true
    }

    pub(crate) fn kv_delete_tree(&mut self, prefix: &str) {
        let keys: Vec<Arc<str>> = self
            .tables
            .kv
            .below(prefix)
            .map(|entry| entry.key_arc().clone())
            .collect();
        for key in keys {
            self.kv_delete(&key);
        }
    }
}
