//! The rules of the state written as plainly as possible: ordered maps, linear scans, the whole history of deletions.
//!
//! Shares no code with the crate beyond its command and answer types. What it must not do: be clever.

pub(crate) mod catalog;
mod owner;
mod query;
mod restore;
mod txn;

use std::collections::BTreeMap;

pub(crate) use txn::Shown;

use catalog::Of;
use rollcall_state::command::{Behavior, KvMode, KvSet, QuerySpec, SessionCreate, Status};
use rollcall_state::row::{Check, Node, Service};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Key {
    pub(crate) value: Vec<u8>,
    pub(crate) flags: u64,
    pub(crate) session: String,
    pub(crate) lock_index: u64,
    pub(crate) create: u64,
    pub(crate) modify: u64,
}

/// A row with its CreateIndex and ModifyIndex.
pub(crate) type Row<T> = (T, u64, u64);

#[derive(Debug, Clone, Default)]
pub(crate) struct Naive {
    pub(crate) index: u64,
    pub(crate) now: u64,
    pub(crate) keys: BTreeMap<String, Key>,
    /// Every deletion since the beginning or the last restore.
    pub(crate) deletions: Vec<(String, u64)>,
    pub(crate) reaped: u64,
    pub(crate) floor: u64,
    pub(crate) sessions: BTreeMap<String, (SessionCreate, u64)>,
    /// Creations and ends: node and index.
    pub(crate) session_events: Vec<(String, u64)>,
    pub(crate) session_ended: u64,
    pub(crate) delays: BTreeMap<String, u64>,
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) services: BTreeMap<(String, String), Service>,
    pub(crate) checks: BTreeMap<(String, String), Check>,
    /// Every write of a row of the catalog since the beginning or the last restore.
    pub(crate) events: Vec<(Of, u64)>,
    pub(crate) queries: BTreeMap<String, Row<QuerySpec>>,
    pub(crate) queries_changed: u64,
    pub(crate) queries_removed: u64,
    pub(crate) gone_nodes: Gone,
    pub(crate) gone_services: Gone,
    pub(crate) nodes_changed: u64,
    pub(crate) names_changed: u64,
    pub(crate) instances_changed: u64,
    pub(crate) checks_changed: u64,
    pub(crate) states_left: u64,
    pub(crate) removed: u64,
}

/// Removals of names that have no prefixes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gone {
    /// Every removal since the beginning or the last restore.
    removals: Vec<(String, u64)>,
    reaped: u64,
    floor: u64,
}

impl Gone {
    /// "" is no name.
    fn remove(&mut self, name: &str, at: u64) {
        if !name.is_empty() {
            self.removals.push((name.to_owned(), at));
        }
    }

    /// Index of the tombstone of a name that is not there; 0: it never was, or its tombstone is reaped.
    fn tombstone(&self, name: &str) -> u64 {
        let last = self.removals.iter().rfind(|(n, _)| n == name);
        last.map(|(_, at)| *at)
            .filter(|at| *at > self.reaped)
            .unwrap_or(0)
    }

    /// Of something empty about a name that came back: its last removal, collected or not.
    fn index_since(&self, name: &str) -> u64 {
        let last = self.removals.iter().rfind(|(n, _)| n == name);
        last.map_or(0, |(_, at)| *at).max(self.floor).max(1)
    }

    pub(crate) fn index(&self, name: &str) -> u64 {
        self.tombstone(name).max(self.floor).max(1)
    }

    fn reap(&mut self, up_to: u64, lives: impl Fn(&str) -> bool) {
        let tombstones = self.removals.iter().map(|(name, _)| name);
        let reaped = tombstones
            .filter(|name| !lives(name))
            .map(|name| self.tombstone(name))
            .filter(|at| *at <= up_to)
            .max();
        self.floor = self.floor.max(reaped.unwrap_or(0));
        self.reaped = self.reaped.max(up_to);
    }
}

/// Of the node and of services on it.
fn check_ids(session: &SessionCreate) -> impl Iterator<Item = &str> {
    let of_services = session.service_checks.iter().flatten().map(|c| &*c.id);
    session
        .node_checks
        .iter()
        .map(|id| &**id)
        .chain(of_services)
}

fn low(name: &str) -> String {
    name.to_lowercase()
}

impl Naive {
    // === keys ===

    fn put(&mut self, key: &str, value: &[u8], flags: u64, session: &str, lock_index: u64) {
        let old = self.keys.get(key).cloned();
        let mut new = Key {
            value: value.to_vec(),
            flags,
            session: session.to_owned(),
            lock_index,
            ..Key::default()
        };
        if let Some(old) = &old {
            new.create = old.create;
            new.modify = old.modify;
            if new == *old {
                return;
            }
        } else {
            new.create = self.index;
        }
        new.modify = self.index;
        self.keys.insert(key.to_owned(), new);
    }

    fn holder(&self, key: &str) -> String {
        self.keys
            .get(key)
            .map(|k| k.session.clone())
            .unwrap_or_default()
    }

    fn delayed(&self, key: &str) -> bool {
        self.delays.get(key).is_some_and(|end| self.now < *end)
    }

    fn lock(&mut self, key: &str, value: &[u8], flags: u64, session: &str) -> Result<bool, String> {
        if session.is_empty() {
            return Err("missing session".into());
        }
        if !self.sessions.contains_key(session) {
            return Err(format!("invalid session \"{session}\""));
        }
        let old = self.keys.get(key).cloned().unwrap_or_default();
        if !old.session.is_empty() && old.session != session {
            return Ok(false);
        }
        let lock_index = old.lock_index + u64::from(old.session.is_empty());
        self.put(key, value, flags, session, lock_index);
        Ok(true)
    }

    fn unlock(
        &mut self,
        key: &str,
        value: &[u8],
        flags: u64,
        session: &str,
    ) -> Result<bool, String> {
        if session.is_empty() {
            return Err("missing session".into());
        }
        let held = self.keys.contains_key(key) && self.holder(key) == session;
        if held {
            self.put(key, value, flags, "", self.keys[key].lock_index);
        }
        Ok(held)
    }

    fn cas(&mut self, key: &str, value: &[u8], flags: u64, index: u64) -> bool {
        let ok = self.keys.get(key).map_or(0, |k| k.modify) == index;
        if ok {
            self.put(key, value, flags, &self.holder(key), 0);
        }
        ok
    }

    /// The answer, or why it was refused.
    pub(crate) fn set(&mut self, set: &KvSet) -> Result<bool, String> {
        let (key, value, flags) = (&*set.key, &*set.value, set.flags);
        match &set.mode {
            KvMode::Set => {
                self.put(key, value, flags, &self.holder(key), 0);
                Ok(true)
            }
            KvMode::Cas(index) => Ok(self.cas(key, value, flags, *index)),
            KvMode::Acquire(_) if self.delayed(key) => Ok(false),
            KvMode::Acquire(session) => self.lock(key, value, flags, session),
            KvMode::Release(session) => self.unlock(key, value, flags, session),
        }
    }

    pub(crate) fn delete(&mut self, key: &str) {
        if self.keys.remove(key).is_some() {
            self.deletions.push((key.to_owned(), self.index));
        }
    }

    pub(crate) fn delete_if(&mut self, key: &str, cas: Option<u64>) -> bool {
        let ok = match (cas, self.keys.get(key)) {
            (Some(cas), Some(row)) => row.modify == cas,
            _ => true,
        };
        if ok {
            self.delete(key);
        }
        ok
    }

    pub(crate) fn delete_tree(&mut self, prefix: &str) {
        let below: Vec<String> = self
            .keys
            .keys()
            .filter(|k| k.starts_with(prefix))
            .cloned()
            .collect();
        below.iter().for_each(|key| self.delete(key));
    }

    pub(crate) fn reap(&mut self, up_to: u64) {
        let reaped = self
            .deletions
            .iter()
            .filter(|(key, at)| *at <= up_to && self.tombstone(key) == *at)
            .map(|(_, at)| *at)
            .max();
        self.floor = self.floor.max(reaped.unwrap_or(0));
        self.reaped = self.reaped.max(up_to);
        let nodes = &self.nodes;
        self.gone_nodes.reap(up_to, |name| {
            nodes.contains_key(name) || nodes.values().any(|n| low(&n.spec.id) == name)
        });
        let services = &self.services;
        self.gone_services.reap(up_to, |name| {
            services.values().any(|s| low(&s.spec.service) == name)
        });
    }

    /// Index of the key's tombstone; 0: it is there, never was, or its tombstone is reaped.
    fn tombstone(&self, key: &str) -> u64 {
        if self.keys.contains_key(key) {
            return 0;
        }
        let last = self
            .deletions
            .iter()
            .filter(|(k, _)| k == key)
            .map(|(_, at)| *at)
            .max();
        last.filter(|at| *at > self.reaped).unwrap_or(0)
    }

    // === expected indexes ===

    pub(crate) fn get_index(&self, key: &str) -> u64 {
        match self.keys.get(key) {
            Some(row) => row.modify,
            None => self.tombstone(key).max(self.floor).max(1),
        }
    }

    /// `of` says what a live row contributes.
    pub(crate) fn below_index(&self, prefix: &str, of: impl Fn(&Key) -> u64) -> u64 {
        let live = self.keys.iter().filter(|(k, _)| k.starts_with(prefix));
        let deleted = self.deletions.iter().filter(|(k, _)| k.starts_with(prefix));
        match live.map(|(_, row)| of(row)).max() {
            Some(live) => live.max(deleted.map(|(_, at)| *at).max().unwrap_or(0)),
            None => {
                let unreaped = deleted
                    .filter(|(_, at)| *at > self.reaped)
                    .map(|(_, at)| *at);
                unreaped.max().unwrap_or(0).max(self.floor).max(1)
            }
        }
    }

    // === sessions ===

    pub(crate) fn session_create(&mut self, create: &SessionCreate) -> Result<(), String> {
        if !self.nodes.contains_key(&low(&create.node)) {
            return Err("Missing node registration".into());
        }
        for id in check_ids(create) {
            match self.checks.get(&(low(&create.node), low(id))) {
                None => return Err(format!("Missing check '{id}' registration")),
                Some(check) if check.spec.status == Status::Critical => {
                    return Err(format!("Check '{id}' is in critical state"));
                }
                Some(_) => {}
            }
        }
        if self.sessions.contains_key(&create.id) {
            return Err(format!("session {} exists", create.id));
        }
        self.sessions
            .insert(create.id.clone(), (create.clone(), self.index));
        self.session_events.push((low(&create.node), self.index));
        Ok(())
    }

    pub(crate) fn session_end(&mut self, id: &str) -> bool {
        let Some((session, _)) = self.sessions.remove(id) else {
            return false;
        };
        self.session_events.push((low(&session.node), self.index));
        self.session_ended = self.index;
        self.queries_end(id);
        let held: Vec<String> = self
            .keys
            .iter()
            .filter(|(_, k)| k.session == id)
            .map(|(k, _)| k.clone())
            .collect();
        for key in held {
            let row = self.keys[&key].clone();
            match session.behavior {
                Behavior::Release => self.put(&key, &row.value, row.flags, "", row.lock_index),
                Behavior::Delete => self.delete(&key),
            }
            let delay = session.lock_delay_ns.div_ceil(1_000_000);
            if delay > 0 {
                let end = self.delays.entry(key).or_default();
                *end = (*end).max(self.now + delay);
            }
        }
        true
    }

    fn end_sessions(&mut self, of: impl Fn(&SessionCreate) -> bool) {
        let ids: Vec<String> = self
            .sessions
            .iter()
            .filter(|(_, (s, _))| of(s))
            .map(|(id, _)| id.clone())
            .collect();
        ids.iter().for_each(|id| {
            self.session_end(id);
        });
    }

    fn end_sessions_of_check(&mut self, node: &str, check: &str) {
        self.end_sessions(|s| low(&s.node) == node && check_ids(s).any(|id| low(id) == check));
    }

    pub(crate) fn sessions_index(&self) -> u64 {
        self.session_events
            .iter()
            .map(|(_, at)| *at)
            .max()
            .unwrap_or(0)
            .max(1)
    }

    pub(crate) fn sessions_of_node_index(&self, node: &str) -> u64 {
        let of_node = |n: &str| n == low(node);
        if !self.sessions.values().any(|(s, _)| of_node(&low(&s.node))) {
            return self.session_ended.max(1);
        }
        self.session_events
            .iter()
            .filter(|(n, _)| of_node(n))
            .map(|(_, at)| *at)
            .max()
            .unwrap_or(1)
    }
}
