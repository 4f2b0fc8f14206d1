//! The tables of sessions, of the keys they hold, and of lock-delays.
//!
//! Which node or check a session hangs on is checked in `session_write`; the TTL is the leader's business, outside state:
//! renewals are not logged, an end of time arrives as a command. Lock-delay ends are stamps of cluster time,
//! so that they survive a change of leader and a snapshot.

use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::change::fold;
use crate::row::Session;
use crate::{Answer, Index, Stamp};

/// At most so many ended lock-delays are dropped with one command, so that no command pays for a thousand others.
const ENDED_DELAYS_PER_COMMAND: usize = 16;

/// Sessions of one node.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodeSessions {
    /// Of the last creation or end on this node.
    pub(crate) index: Index,
    ids: OrdSet<Arc<str>>,
}

/// Sessions, what they hold, and lock-delays.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sessions {
    rows: OrdMap<Arc<str>, Arc<Session>>,
    /// By folded node name; only nodes that have sessions.
    by_node: OrdMap<Arc<str>, NodeSessions>,
    /// (session, key)
    held: OrdSet<(Arc<str>, Arc<str>)>,
    delays: OrdMap<Arc<str>, Stamp>,
    delays_by_end: OrdSet<(Stamp, Arc<str>)>,
    /// Of the last creation or end.
    changed: Index,
    /// Of the last end: the index of every session that is not there.
    ended: Index,
}

impl Sessions {
    pub(crate) fn row(&self, id: &str) -> Option<&Arc<Session>> {
        self.rows.get(id)
    }

    pub(crate) fn rows(&self) -> &OrdMap<Arc<str>, Arc<Session>> {
        &self.rows
    }

    pub(crate) fn by_node(&self) -> &OrdMap<Arc<str>, NodeSessions> {
        &self.by_node
    }

    pub(crate) fn delays(&self) -> &OrdMap<Arc<str>, Stamp> {
        &self.delays
    }

    pub(crate) fn changed(&self) -> Index {
        self.changed
    }

    pub(crate) fn ended(&self) -> Index {
        self.ended
    }

    /// Raises the indexes of the list and of what is absent.
    pub(crate) fn raise(&mut self, changed: Index, ended: Index) {
        self.changed = self.changed.max(changed);
        self.ended = self.ended.max(ended);
    }

    /// Raises the index of a node's list; void for a node without sessions.
    pub(crate) fn raise_node(&mut self, node: &str, index: Index) {
        if let Some(of_node) = self.by_node.get_mut(node) {
            of_node.index = of_node.index.max(index);
        }
    }

    pub(crate) fn insert(&mut self, session: Arc<Session>) {
        let index = session.create_index;
        let of_node = self.by_node.entry(fold(&session.node)).or_default();
        of_node.index = of_node.index.max(index);
        of_node.ids.insert(session.id.clone());
        self.changed = self.changed.max(index);
        self.rows.insert(session.id.clone(), session);
    }

    /// Takes the row out; what it holds is the caller's next step.
    pub(crate) fn remove(&mut self, id: &str, index: Index) -> Option<Arc<Session>> {
        let session = self.rows.remove(id)?;
        let node = fold(&session.node);
        if let Some(of_node) = self.by_node.get_mut(&*node) {
            of_node.index = index;
            of_node.ids.remove(id);
            if of_node.ids.is_empty() {
                self.by_node.remove(&*node);
            }
        }
        self.changed = index;
        self.ended = index;
        Some(session)
    }

    /// Sessions of a node whose name is folded.
    pub(crate) fn ids_of_node(&self, node: &str) -> Vec<Arc<str>> {
        self.by_node
            .get(node)
            .map(|of_node| of_node.ids.iter().cloned().collect())
            .unwrap_or_default()
    }

    // === held keys ===

    pub(crate) fn hold(&mut self, session: &Arc<str>, key: &Arc<str>) {
        self.held.insert((session.clone(), key.clone()));
    }

    pub(crate) fn let_go(&mut self, session: &Arc<str>, key: &Arc<str>) {
        self.held.remove(&(session.clone(), key.clone()));
    }

    pub(crate) fn keys_held_by(&self, session: &Arc<str>) -> Vec<Arc<str>> {
        let first = (session.clone(), Arc::from(""));
        self.held
            .range((Bound::Included(first), Bound::Unbounded))
            .take_while(|(holder, _)| holder == session)
            .map(|(_, key)| key.clone())
            .collect()
    }

    // === lock-delays ===

    /// Nobody acquires `key` before `end`. Of two delays the later end counts.
    pub(crate) fn delay(&mut self, key: Arc<str>, end: Stamp) {
        let old = self.delays.get(&*key).copied();
        if old.is_some_and(|old| old >= end) {
            return;
        }
        if let Some(old) = old {
            self.delays_by_end.remove(&(old, key.clone()));
        }
        self.delays.insert(key.clone(), end);
        self.delays_by_end.insert((end, key));
    }

    pub(crate) fn is_delayed(&self, key: &str, at: Stamp) -> bool {
        self.delays.get(key).is_some_and(|end| at < *end)
    }

    pub(crate) fn drop_ended_delays(&mut self, at: Stamp) {
        for _ in 0..ENDED_DELAYS_PER_COMMAND {
            match self.delays_by_end.get_min() {
                Some((end, _)) if *end <= at => {}
                _ => return,
            }
            if let Some((_, key)) = self.delays_by_end.remove_min() {
                self.delays.remove(&*key);
            }
        }
    }

    // === queries ===

    pub(crate) fn get(&self, id: &str) -> Answer<Option<Arc<Session>>> {
        match self.rows.get(id) {
            Some(session) => Answer::new(session.modify_index, Some(session.clone())),
            None => Answer::new(self.ended, None),
        }
    }

    pub(crate) fn list(&self) -> Answer<Vec<Arc<Session>>> {
        Answer::new(self.changed, self.rows.values().cloned().collect())
    }

    pub(crate) fn list_of_node(&self, node: &str) -> Answer<Vec<Arc<Session>>> {
        let Some(of_node) = self.by_node.get(&*fold(node)) else {
            return Answer::new(self.ended, Vec::new());
        };
        let rows = of_node.ids.iter().filter_map(|id| self.rows.get(id));
        Answer::new(of_node.index, rows.cloned().collect())
    }
}
