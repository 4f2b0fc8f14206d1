//! Who waits for what: parked queries register their topics here, and each applied batch wakes exactly those it touched.
//!
//! A query registers first, reads then, and waits last; a writer publishes the state first and wakes then. Both take the
//! same lock, so whatever a reader did not see wakes it. Waking costs one look-up a change and distinct length of
//! registered prefixes, never a walk over all watchers. Ordered maps, so that watchers wake in the order they came and a
//! simulation is repeated exactly. This module must not read the state: what an answer is, is the query's business.

use std::collections::BTreeMap;
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
    key: Named,
    prefix: Prefixes,
    keys: Prefixes,
    sessions: Waiting,
    sessions_of_node: Named,
    session: Named,
    nodes: Waiting,
    node: Named,
    checks_of_node: Named,
}

impl Tables {
    fn add(&mut self, topic: &Topic, id: u64, notify: &Arc<Notify>) {
        let waiting = match topic {
            Topic::KvKey(key) => self.key.entry(Arc::clone(key)).or_default(),
            Topic::KvPrefix(prefix) => self.prefix.entry(prefix),
            Topic::KvKeys(prefix) => self.keys.entry(prefix),
            Topic::Sessions => &mut self.sessions,
            Topic::SessionsOfNode(node) => {
                self.sessions_of_node.entry(Arc::clone(node)).or_default()
            }
            Topic::Session(session) => self.session.entry(Arc::clone(session)).or_default(),
            Topic::Nodes => &mut self.nodes,
            Topic::Node(node) => self.node.entry(Arc::clone(node)).or_default(),
            Topic::ChecksOfNode(node) => self.checks_of_node.entry(Arc::clone(node)).or_default(),
        };
        waiting.insert(id, Arc::clone(notify));
    }

    fn remove(&mut self, topic: &Topic, id: u64) {
        match topic {
            Topic::KvKey(key) => remove(&mut self.key, key, id),
            Topic::KvPrefix(prefix) => self.prefix.remove(prefix, id),
            Topic::KvKeys(prefix) => self.keys.remove(prefix, id),
            Topic::Sessions => {
                self.sessions.remove(&id);
            }
            Topic::SessionsOfNode(node) => remove(&mut self.sessions_of_node, node, id),
            Topic::Session(session) => remove(&mut self.session, session, id),
            Topic::Nodes => {
                self.nodes.remove(&id);
            }
            Topic::Node(node) => remove(&mut self.node, node, id),
            Topic::ChecksOfNode(node) => remove(&mut self.checks_of_node, node, id),
        }
    }

    fn touched(&self, changes: &Changes) -> Waiting {
        let mut touched = Waiting::new();
        if changes.everything {
            self.all(&mut touched);
            return touched;
        }
        for (key, change) in &changes.keys {
            collect(self.key.get(key), &mut touched);
            self.prefix.collect(key, &mut touched);
            match change {
                KvChange::Created | KvChange::Deleted => self.keys.collect(key, &mut touched),
                KvChange::Updated => {}
            }
        }
        if !changes.sessions.is_empty() {
            collect(Some(&self.sessions), &mut touched);
        }
        for (session, node) in &changes.sessions {
            collect(self.session.get(session), &mut touched);
            collect(self.sessions_of_node.get(node), &mut touched);
        }
        if !changes.nodes.is_empty() {
            collect(Some(&self.nodes), &mut touched);
        }
        let of_services = changes.services.iter().map(|(node, _)| node);
        for node in changes.nodes.iter().chain(of_services) {
            collect(self.node.get(node), &mut touched);
        }
        for (node, _) in &changes.checks {
            collect(self.node.get(node), &mut touched);
            collect(self.checks_of_node.get(node), &mut touched);
        }
        touched
    }

    fn all(&self, touched: &mut Waiting) {
        let named = [
            &self.key,
            &self.prefix.by_prefix,
            &self.keys.by_prefix,
            &self.sessions_of_node,
            &self.session,
            &self.node,
            &self.checks_of_node,
        ];
        collect(Some(&self.sessions), touched);
        collect(Some(&self.nodes), touched);
        for waiting in named.into_iter().flat_map(BTreeMap::values) {
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
