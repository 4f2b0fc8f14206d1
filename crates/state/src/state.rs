//! The state at one index, and the one way to change it: [`State::apply`].
//!
//! A `State` is a handful of persistent maps: `clone` is constant time and shares everything. The server clones once a batch
//! and publishes the clone, not once a command: the first write after a clone copies the path it touches.

use std::sync::Arc;

use crate::catalog::Catalog;
use crate::catalog_read::{Counts, Instance, InstanceHealth, NodeServices, ServiceNames};
use crate::command::{Command, Txn, TxnOp};
use crate::grave::REAP_MAX;
use crate::kv::Kv;
use crate::query::Queries;
use crate::reply::{Refusal, TxnError, TxnResult};
use crate::restore::Staged;
use crate::row::{Check, KvEntry, Node, Query, Service, Session};
use crate::session::Sessions;
use crate::write::Write;
use crate::{Changes, Index, Reply, Stamp, txn};

/// What the log says about a command beside the command itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// Position in the log, from 1.
    pub log_index: u64,
    /// Term of the log entry.
    pub term: u64,
    /// Who led when the entry was proposed: the 128 bits of its UUID.
    pub leader: u128,
    /// The leader's stamp. One that is lower than the state's counts as the state's.
    pub at: Stamp,
}

/// A query's answer and its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// Moves when the answer changes. Never 0.
    pub index: Index,
    /// The answer.
    pub value: T,
}

impl<T> Answer<T> {
    pub(crate) fn new(index: Index, value: T) -> Self {
        Answer {
            index: index.max(1),
            value,
        }
    }
}

/// All tables: what a restore replaces in one step.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tables {
    pub(crate) kv: Kv,
    pub(crate) sessions: Sessions,
    pub(crate) catalog: Catalog,
    pub(crate) queries: Queries,
}

/// The tables, at one index.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub(crate) index: Index,
    pub(crate) offset: u64,
    pub(crate) stamp: Stamp,
    pub(crate) cluster_id: Option<Arc<str>>,
    pub(crate) tables: Tables,
    pub(crate) staged: Option<Arc<Staged>>,
}

impl State {
    /// Applies one command. Never fails: what must not be is a [`Reply::Refused`] and changes nothing.
    pub fn apply(&mut self, context: Context, command: &Command) -> (Reply, Changes) {
        let mut changes = Changes::default();
        let reply = self.apply_into(context, command, &mut changes);
        (reply, changes)
    }

    /// Like [`State::apply`], for a batch: adds to `changes`.
    pub fn apply_into(
        &mut self,
        context: Context,
        command: &Command,
        changes: &mut Changes,
    ) -> Reply {
        self.advance(context.log_index);
        self.stamp = self.stamp.max(context.at);
        self.tables.sessions.drop_ended_delays(self.stamp);
        match command {
            Command::KvSet(set) => bool_reply(self.write(changes).kv_apply(set)),
            Command::KvDelete(delete) => Reply::Bool(self.write(changes).kv_delete_if(delete)),
            Command::KvDeleteTree(tree) => {
                self.write(changes).kv_delete_tree(&tree.prefix);
                Reply::Bool(true)
            }
            Command::SessionCreate(create) => done(self.write(changes).session_create(create)),
            Command::SessionDestroy(destroy) => {
                self.write(changes).session_end(&destroy.id);
                Reply::Bool(true)
            }
            Command::SessionExpire(expire) => {
                // A later leader may have acknowledged a renewal since this was proposed.
                if (expire.term, expire.leader) == (context.term, context.leader) {
                    let mut write = self.write(changes);
                    for id in &expire.ids {
                        write.session_end(id);
                    }
                }
                Reply::None
            }
            Command::Txn(txn) => self.apply_txn(txn, changes),
            Command::Register(register) => {
                let before = self.tables.clone();
                let mut own = Changes::default();
                let result = self.write(&mut own).register(register);
                self.keep_or_undo(result.is_ok(), before, own, changes);
                done(result)
            }
            Command::Deregister(deregister) => {
                Reply::Bool(self.write(changes).deregister(deregister))
            }
            Command::TombstoneReap(reap) => {
                self.tables.kv.reap(reap.up_to);
                self.tables.catalog.reap(reap.up_to, REAP_MAX);
                Reply::None
            }
            Command::RestoreBegin(begin) => self.restore_begin(begin),
            Command::RestoreChunk(chunk) => refused_or_none(self.restore_chunk(chunk)),
            Command::RestoreSwap(swap) => {
                refused_or_none(self.restore_swap(swap, context.log_index, changes))
            }
            Command::RestoreAbort(abort) => self.restore_abort(abort),
            Command::QuerySet(set) => done(self.write(changes).query_set(set)),
            Command::QueryDelete(delete) => done(self.write(changes).query_delete(delete)),
            Command::ClusterInit(init) => refused_or_none(self.cluster_init(&init.id)),
        }
    }

    /// Moves the index over a log entry that is no command: a blank one, or a membership change.
    pub fn advance(&mut self, log_index: u64) {
        self.index = self.index.max(log_index + self.offset);
    }

    fn apply_txn(&mut self, txn: &Txn, changes: &mut Changes) -> Reply {
        let before = self.tables.clone();
        let mut own = Changes::default();
        let result = txn::run(&mut self.write(&mut own), txn);
        self.keep_or_undo(result.is_ok(), before, own, changes);
        Reply::Txn(result)
    }

    fn keep_or_undo(&mut self, ok: bool, before: Tables, own: Changes, changes: &mut Changes) {
        if ok {
            changes.merge(own);
        } else {
            self.tables = before;
        }
    }

    fn cluster_init(&mut self, id: &str) -> Result<(), Refusal> {
        match &self.cluster_id {
            Some(own) if **own != *id => Err(Refusal::Other(format!(
                "this cluster already has the id {own}; it cannot become {id}"
            ))),
            Some(_) => Ok(()),
            None => {
                self.cluster_id = Some(Arc::from(id));
                Ok(())
            }
        }
    }

    pub(crate) fn write<'a>(&'a mut self, changes: &'a mut Changes) -> Write<'a> {
        Write {
            tables: &mut self.tables,
            index: self.index,
            at: self.stamp,
            changes,
        }
    }

    // === queries ===

    /// Index of the last applied log entry, plus the offset. 0 before the first.
    pub fn index(&self) -> Index {
        self.index
    }

    /// What restores added to the log's index.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Cluster time of the last command.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// The cluster's id, once its first command is applied.
    pub fn cluster_id(&self) -> Option<&str> {
        self.cluster_id.as_deref()
    }

    /// One key.
    pub fn kv_get(&self, key: &str) -> Answer<Option<Arc<KvEntry>>> {
        self.tables.kv.get(key)
    }

    /// All keys that start with `prefix`, in order.
    pub fn kv_list(&self, prefix: &str) -> Answer<Vec<Arc<KvEntry>>> {
        self.tables.kv.list(prefix)
    }

    /// Names of the keys that start with `prefix`, in order; cut after the first separator that follows the prefix.
    pub fn kv_keys(&self, prefix: &str, separator: Option<&str>) -> Answer<Vec<String>> {
        self.tables.kv.keys(prefix, separator)
    }

    /// Number of keys.
    pub fn kv_len(&self) -> usize {
        self.tables.kv.entries().len()
    }

    /// The largest index of a removal that still has a tombstone, and the number of tombstones: what a reap is decided by.
    pub fn tombstones(&self) -> (Index, usize) {
        let keys = &self.tables.kv.graves;
        let mut last = keys.last_tombstone();
        let mut count = keys.tombstones().len();
        for gone in self.tables.catalog.gone() {
            last = last.max(gone.last_tombstone());
            count += gone.tombstones().len();
        }
        (last, count)
    }

    /// Whether a reap up to this index is worth a command. One reap folds away a bounded number: ask again after it.
    pub fn has_tombstones_up_to(&self, index: Index) -> bool {
        let Tables { kv, catalog, .. } = &self.tables;
        kv.graves.any_up_to(index) || catalog.gone().iter().any(|gone| gone.any_up_to(index))
    }

    /// One session.
    pub fn session(&self, id: &str) -> Answer<Option<Arc<Session>>> {
        self.tables.sessions.get(id)
    }

    /// All sessions, by id.
    pub fn sessions(&self) -> Answer<Vec<Arc<Session>>> {
        self.tables.sessions.list()
    }

    /// Sessions of one node, by id.
    pub fn sessions_of_node(&self, node: &str) -> Answer<Vec<Arc<Session>>> {
        self.tables.sessions.list_of_node(node)
    }

    /// One node.
    pub fn node(&self, name: &str) -> Answer<Option<Arc<Node>>> {
        self.tables.catalog.node(name)
    }

    /// The node with this id, whatever its name.
    pub fn node_by_id(&self, id: &str) -> Option<Arc<Node>> {
        self.tables.catalog.node_by_id(id)
    }

    /// One service of a node.
    pub fn service(&self, node: &str, id: &str) -> Answer<Option<Arc<Service>>> {
        self.tables.catalog.service(node, id)
    }

    /// One check of a node.
    pub fn check(&self, node: &str, id: &str) -> Answer<Option<Arc<Check>>> {
        self.tables.catalog.check(node, id)
    }

    // === the catalog's lists, each with the topic it waits on ===

    /// All nodes, by name. [`Topic::Nodes`](crate::Topic::Nodes).
    pub fn catalog_nodes(&self) -> Answer<Vec<Arc<Node>>> {
        self.tables.catalog.list()
    }

    /// A node, by its name or its whole id, with its services. [`Topic::node`](crate::Topic::node) of what was asked for.
    pub fn catalog_node(&self, name_or_id: &str) -> Answer<Option<NodeServices>> {
        self.tables.catalog.node_services(name_or_id)
    }

    /// Names of services and their tags. [`Topic::Services`](crate::Topic::Services).
    pub fn catalog_services(&self) -> Answer<ServiceNames> {
        self.tables.catalog.service_names()
    }

    /// All instances with their nodes, by name of service, node and id: for `catalog/services` with a filter or `node-meta`.
    /// [`Topic::Instances`](crate::Topic::Instances).
    pub fn catalog_instances(&self) -> Answer<Vec<Instance>> {
        self.tables.catalog.all_instances()
    }

    /// Instances of a service with their nodes, by node and id. [`Topic::service`](crate::Topic::service).
    pub fn service_instances(&self, name: &str) -> Answer<Vec<Instance>> {
        self.tables.catalog.service_instances(name)
    }

    /// The index of [`State::health_service`], without its rows: tells whether what was made of them still holds.
    pub fn health_service_index(&self, name: &str) -> Index {
        self.tables.catalog.service_health_index(name).max(1)
    }

    /// Of the last change of any node, service or check.
    pub fn catalog_index(&self) -> Index {
        self.tables.catalog.indexes.last()
    }

    /// Instances of a service with their nodes and the checks of both, by node and id. [`Topic::service_health`](crate::Topic::service_health).
    pub fn health_service(&self, name: &str) -> Answer<Vec<InstanceHealth>> {
        self.tables.catalog.service_health(name)
    }

    /// Checks of a service's instances, by node and id. A filter by the nodes' meta needs
    /// [`Topic::service`](crate::Topic::service) and its index too. [`Topic::service_checks`](crate::Topic::service_checks).
    pub fn health_checks(&self, name: &str) -> Answer<Vec<Arc<Check>>> {
        self.tables.catalog.service_checks(name)
    }

    /// Checks of a node and of its services, by id. [`Topic::checks_of_node`](crate::Topic::checks_of_node).
    pub fn health_node(&self, node: &str) -> Answer<Vec<Arc<Check>>> {
        self.tables.catalog.checks_of_node(node)
    }

    /// Checks in a state, or with [`ANY_STATE`](crate::change::ANY_STATE) all, by node and id. A filter by the nodes' meta
    /// needs [`Topic::Nodes`](crate::Topic::Nodes) and its index too. [`Topic::health_state`](crate::Topic::health_state).
    pub fn health_state(&self, state: &str) -> Answer<Vec<Arc<Check>>> {
        self.tables.catalog.health_state(state)
    }

    /// All prepared queries, by id. [`Topic::Queries`](crate::Topic::Queries).
    pub fn queries(&self) -> Answer<Vec<Arc<Query>>> {
        self.tables.queries.list()
    }

    /// One prepared query, by its id. [`Topic::query`](crate::Topic::query).
    pub fn query(&self, id: &str) -> Answer<Option<Arc<Query>>> {
        self.tables.queries.get(id)
    }

    /// The prepared query to execute: by its id, else by its name.
    pub fn query_by_id_or_name(&self, id_or_name: &str) -> Option<Arc<Query>> {
        self.tables.queries.find(id_or_name)
    }

    /// How much of everything there is. Constant time.
    pub fn counts(&self) -> Counts {
        let Tables {
            kv,
            sessions,
            catalog,
            queries,
        } = &self.tables;
        Counts {
            queries: queries.rows().len(),
            keys: kv.entries().len(),
            sessions: sessions.rows().len(),
            nodes: catalog.nodes.len(),
            services: catalog.names.len(),
            instances: catalog.services.len(),
            checks: catalog.checks.len(),
        }
    }

    /// A transaction that only reads (see [`txn::is_read_only`]); a write among `ops` is an error.
    pub fn txn_read(&self, ops: &[TxnOp]) -> Result<Vec<TxnResult>, Vec<TxnError>> {
        txn::read(&self.tables, ops)
    }
}

fn bool_reply(result: Result<bool, Refusal>) -> Reply {
    match result {
        Ok(ok) => Reply::Bool(ok),
        Err(refusal) => Reply::Refused(refusal),
    }
}

fn done(result: Result<(), Refusal>) -> Reply {
    bool_reply(result.map(|()| true))
}

fn refused_or_none(result: Result<(), Refusal>) -> Reply {
    match result {
        Ok(()) => Reply::None,
        Err(refusal) => Reply::Refused(refusal),
    }
}
