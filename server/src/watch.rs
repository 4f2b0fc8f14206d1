//! Who waits for what: parked queries register their topics here, and each applied batch wakes exactly those it touched.
//!
//! A query registers first, reads then, and waits last; a writer publishes the state first and wakes then. Both take the
//! same lock, so whatever a reader did not see wakes it. Waking costs one look-up a change and distinct length of
//! registered prefixes, never a walk over all watchers. Watchers are sorted before they wake, in the order they came, so that a
//! simulation is repeated exactly. This module must not read the state: what an answer is, is the query's business.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use rollcall_state::change::KvChange;
use rollcall_state::{Changes, Topic};
use tokio::sync::Notify;

use crate::door::{Boxed, Watch};

/// All parked queries of a server.
#[derive(Debug, Default)]
pub struct Watchers {
    tables: Mutex<Tables>,
}

/// One query's registration; dropping it takes it back.
#[derive(Debug)]
pub struct Registration {
    watchers: Arc<Watchers>,
    id: u64,
    topics: Vec<Topic>,
    notify: Arc<Notify>,
}

impl Watchers {
    /// Registers interest in topics. Changes that are published from now on wake it, also before it waits.
    pub fn register(self: &Arc<Self>, topics: Vec<Topic>) -> Registration {
        let notify = Arc::new(Notify::new());
        let mut tables = self.tables.lock();
        tables.last_id += 1;
        tables.count += 1;
        let id = tables.last_id;
        for topic in &topics {
            tables.add(topic, id, &notify);
        }
        drop(tables);
        Registration {
            watchers: Arc::clone(self),
            id,
            topics,
            notify,
        }
    }

    /// Wakes the watchers of what changed. Call it after the changed state is published.
    pub fn wake(&self, changes: &Changes) {
        let touched = {
            let tables = self.tables.lock();
            if tables.count == 0 {
                return;
            }
            tables.touched(changes)
        };
        for notify in touched.values() {
            notify.notify_one();
        }
    }

    /// Number of registrations that live.
    pub fn count(&self) -> usize {
        self.tables.lock().count
    }
}

impl Watch for Registration {
    fn changed(&mut self) -> Boxed<'_, ()> {
        Box::pin(self.notify.notified())
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut tables = self.watchers.tables.lock();
        tables.count -= 1;
        for topic in &self.topics {
            tables.remove(topic, self.id);
        }
    }
}

/// Watchers by the order of their registration.
type Waiting = BTreeMap<u64, Arc<Notify>>;
/// Watchers by name of what they watch.
type Named = BTreeMap<Arc<str>, Waiting>;

#[derive(Debug, Default)]
struct Tables {
    last_id: u64,
    count: usize,
    /// All topics but prefixes: one look-up a change. Never walked but when everything changed, and then the order of the watchers decides.
    exact: HashMap<Topic, Waiting>,
    prefix: Prefixes,
    keys: Prefixes,
}

impl Tables {
    fn add(&mut self, topic: &Topic, id: u64, notify: &Arc<Notify>) {
        let waiting = match topic {
            Topic::KvPrefix(prefix) => self.prefix.entry(prefix),
            Topic::KvKeys(prefix) => self.keys.entry(prefix),
            exact => self.exact.entry(exact.clone()).or_default(),
        };
        waiting.insert(id, Arc::clone(notify));
    }

    fn remove(&mut self, topic: &Topic, id: u64) {
        match topic {
            Topic::KvPrefix(prefix) => self.prefix.remove(prefix, id),
            Topic::KvKeys(prefix) => self.keys.remove(prefix, id),
            exact => {
                if let Some(waiting) = self.exact.get_mut(exact) {
                    waiting.remove(&id);
                    if waiting.is_empty() {
                        self.exact.remove(exact);
                    }
                }
            }
        }
    }

    fn touched(&self, changes: &Changes) -> Waiting {
        let mut touched = Waiting::new();
        if changes.everything {
            self.all(&mut touched);
            return touched;
        }
        for (key, change) in &changes.keys {
            self.collect(&Topic::KvKey(Arc::clone(key)), &mut touched);
            self.prefix.collect(key, &mut touched);
            match change {
                KvChange::Created | KvChange::Deleted => self.keys.collect(key, &mut touched),
                KvChange::Updated => {}
            }
        }
        if !changes.sessions.is_empty() {
            self.collect(&Topic::Sessions, &mut touched);
        }
        for (session, node) in &changes.sessions {
            self.collect(&Topic::Session(Arc::clone(session)), &mut touched);
            self.collect(&Topic::SessionsOfNode(Arc::clone(node)), &mut touched);
        }
        for topic in &changes.topics {
            self.collect(topic, &mut touched);
        }
        touched
    }

    fn collect(&self, topic: &Topic, touched: &mut Waiting) {
        collect(self.exact.get(topic), touched);
    }

    fn all(&self, touched: &mut Waiting) {
        let prefixes = [&self.prefix, &self.keys].map(|prefixes| prefixes.by_prefix.values());
        let prefixes = prefixes.into_iter().flatten();
        for waiting in self.exact.values().chain(prefixes) {
            collect(Some(waiting), touched);
        }
    }
}

/// Watchers of prefixes, and how many distinct prefixes of each length there are: a key is looked up once a length.
#[derive(Debug, Default)]
struct Prefixes {
    by_prefix: Named,
    lengths: BTreeMap<usize, usize>,
}

impl Prefixes {
    fn entry(&mut self, prefix: &Arc<str>) -> &mut Waiting {
        let lengths = &mut self.lengths;
        self.by_prefix.entry(Arc::clone(prefix)).or_insert_with(|| {
            *lengths.entry(prefix.len()).or_default() += 1;
            Waiting::new()
        })
    }

    fn remove(&mut self, prefix: &Arc<str>, id: u64) {
        let known = self.by_prefix.contains_key(prefix);
        remove(&mut self.by_prefix, prefix, id);
        if !known || self.by_prefix.contains_key(prefix) {
            return;
        }
        if let Some(distinct) = self.lengths.get_mut(&prefix.len()) {
            *distinct -= 1;
            if *distinct == 0 {
                self.lengths.remove(&prefix.len());
            }
        }
    }

    fn collect(&self, key: &str, touched: &mut Waiting) {
        for (&length, _) in self.lengths.range(..=key.len()) {
            // `get` is `None` inside a character: no prefix ends there.
            if let Some(prefix) = key.get(..length) {
                collect(self.by_prefix.get(prefix), touched);
            }
        }
    }
}

fn collect(waiting: Option<&Waiting>, touched: &mut Waiting) {
    for (id, notify) in waiting.into_iter().flatten() {
        touched.insert(*id, Arc::clone(notify));
    }
}

fn remove(named: &mut Named, name: &Arc<str>, id: u64) {
    if let Some(waiting) = named.get_mut(name) {
        waiting.remove(&id);
        if waiting.is_empty() {
            named.remove(name);
        }
    }
}

#[cfg(test)]
mod tests;
