//! The rules of the state written as plainly as possible: ordered maps, linear scans, the whole history of deletions.
//!
//! Shares no code with the crate beyond its command and answer types. What it must not do: be clever.

use std::collections::BTreeMap;

use rollcall_state::command::{
    Behavior, CatalogVerb, CheckSpec, Deregister, KvMode, KvSet, KvVerb, NodeSpec, Register,
    ServiceSpec, SessionCreate, Status, TxnKvOp, TxnOp,
};

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
    pub(crate) nodes: BTreeMap<String, Row<NodeSpec>>,
    pub(crate) services: BTreeMap<(String, String), Row<ServiceSpec>>,
    pub(crate) checks: BTreeMap<(String, String), Row<(CheckSpec, String)>>,
    pub(crate) check_events: Vec<(String, u64)>,
    pub(crate) nodes_changed: u64,
    pub(crate) removed: u64,
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
        for id in &create.node_checks {
            match self.checks.get(&(low(&create.node), low(id))) {
                None => return Err(format!("Missing check '{id}' registration")),
                Some(((check, _), ..)) if check.status == Status::Critical => {
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
        self.end_sessions(|s| {
            low(&s.node) == node && s.node_checks.iter().any(|id| low(id) == check)
        });
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

    // === catalog ===

    fn node_set(&mut self, spec: &NodeSpec) {
        let old = self.nodes.get(&low(&spec.node));
        if old.is_some_and(|(s, ..)| s == spec) {
            return;
        }
        let create = old.map_or(self.index, |(_, create, _)| *create);
        if old.is_none() {
            self.check_events.push((low(&spec.node), self.index));
        }
        self.nodes_changed = self.index;
        self.nodes
            .insert(low(&spec.node), (spec.clone(), create, self.index));
    }

    fn service_set(&mut self, node: &str, spec: &ServiceSpec) -> Result<(), String> {
        if !self.nodes.contains_key(&low(node)) {
            return Err("Missing node registration".into());
        }
        let key = (low(node), low(&spec.id));
        let old = self.services.get(&key);
        if old.is_none_or(|(s, ..)| s != spec) {
            let create = old.map_or(self.index, |(_, create, _)| *create);
            self.services
                .insert(key, (spec.clone(), create, self.index));
        }
        Ok(())
    }

    fn check_set(&mut self, spec: &CheckSpec) -> Result<(), String> {
        let node = low(&spec.node);
        if !self.nodes.contains_key(&node) {
            return Err("Missing node registration".into());
        }
        let service = match self.services.get(&(node.clone(), low(&spec.service_id))) {
            Some((service, ..)) if !spec.service_id.is_empty() => service.service.clone(),
            None if !spec.service_id.is_empty() => {
                return Err("Missing service registration".into());
            }
            _ => String::new(),
        };
        let key = (node.clone(), low(&spec.check_id));
        if spec.status == Status::Critical {
            self.end_sessions_of_check(&key.0, &key.1);
        }
        let old = self.checks.get(&key);
        if old.is_none_or(|((s, name), ..)| s != spec || *name != service) {
            let create = old.map_or(self.index, |(_, create, _)| *create);
            self.check_events.push((node, self.index));
            self.checks
                .insert(key, ((spec.clone(), service), create, self.index));
        }
        Ok(())
    }

    pub(crate) fn register(&mut self, register: &Register) -> Result<(), String> {
        let before = self.clone();
        let result = self.try_register(register);
        if result.is_err() {
            *self = before;
        }
        result
    }

    fn try_register(&mut self, register: &Register) -> Result<(), String> {
        let node = &register.node.node;
        self.node_set(&register.node);
        if let Some(service) = &register.service {
            self.service_set(node, service)
                .map_err(|e| format!("failed inserting service: {e}"))?;
        }
        for check in &register.checks {
            self.check_set(check)
                .map_err(|e| format!("failed inserting check on node \"{}\": {e}", check.node))?;
        }
        Ok(())
    }

    pub(crate) fn deregister(&mut self, deregister: &Deregister) {
        let node = low(&deregister.node);
        if !deregister.service_id.is_empty() {
            self.service_delete(&node, &low(&deregister.service_id));
        } else if !deregister.check_id.is_empty() {
            self.check_delete(&node, &low(&deregister.check_id));
        } else {
            self.node_delete(&node);
        }
    }

    fn check_delete(&mut self, node: &str, id: &str) {
        if self
            .checks
            .remove(&(node.to_owned(), id.to_owned()))
            .is_some()
        {
            self.check_events.push((node.to_owned(), self.index));
            self.removed = self.index;
            self.end_sessions_of_check(node, id);
        }
    }

    fn service_delete(&mut self, node: &str, id: &str) {
        if self
            .services
            .remove(&(node.to_owned(), id.to_owned()))
            .is_some()
        {
            self.removed = self.index;
            let of_service = |(spec, _): &(CheckSpec, String)| low(&spec.service_id) == id;
            for check in self.checks_where(node, of_service) {
                self.check_delete(node, &check);
            }
        }
    }

    fn checks_where(&self, node: &str, of: impl Fn(&(CheckSpec, String)) -> bool) -> Vec<String> {
        let rows = self
            .checks
            .iter()
            .filter(|((n, _), (row, ..))| n == node && of(row));
        rows.map(|((_, id), _)| id.clone()).collect()
    }

    fn node_delete(&mut self, node: &str) {
        if !self.nodes.contains_key(node) {
            return;
        }
        let services: Vec<String> = self
            .services
            .keys()
            .filter(|(n, _)| n == node)
            .map(|(_, id)| id.clone())
            .collect();
        services.iter().for_each(|id| self.service_delete(node, id));
        for check in self.checks_where(node, |_| true) {
            self.check_delete(node, &check);
        }
        self.end_sessions(|s| low(&s.node) == node);
        self.nodes.remove(node);
        self.nodes_changed = self.index;
        self.removed = self.index;
    }

    pub(crate) fn checks_of_node_index(&self, node: &str) -> u64 {
        if !self.nodes.contains_key(&low(node)) {
            return self.removed.max(1);
        }
        self.check_events
            .iter()
            .filter(|(n, _)| *n == low(node))
            .map(|(_, at)| *at)
            .max()
            .unwrap_or(1)
    }

    // === transactions ===

    /// What each operation shows, as (key, with value) or a row's name; or the errors.
    pub(crate) fn txn(&mut self, ops: &[TxnOp]) -> Result<Vec<Shown>, Vec<(usize, String)>> {
        let before = self.clone();
        let mut shown = Vec::new();
        let mut errors = Vec::new();
        for (i, op) in ops.iter().enumerate() {
            match self.txn_op(op) {
                Ok(more) => shown.extend(more),
                Err(what) => errors.push((i, what)),
            }
        }
        if errors.is_empty() {
            return Ok(shown);
        }
        *self = before;
        Err(errors)
    }

    fn txn_op(&mut self, op: &TxnOp) -> Result<Vec<Shown>, String> {
        match op {
            TxnOp::Kv(op) => self.txn_kv(op),
            TxnOp::Session(op) => match self.session_end(&op.id) {
                true => Ok(vec![]),
                false => Err("failed to delete session: failed deleting session: not found".into()),
            },
            TxnOp::Node(op) => {
                let name = op.node.node.clone();
                let current = self.nodes.get(&low(&name)).map(|(.., modify)| *modify);
                let what = format!("node \"{name}\"");
                if !self.may(op.verb, current, op.index, &what)? {
                    self.node_delete(&low(&name));
                    return Ok(vec![]);
                }
                if op.verb != CatalogVerb::Get {
                    self.node_set(&op.node);
                }
                Ok(vec![Shown::Node(
                    name.clone(),
                    self.nodes[&low(&name)].clone(),
                )])
            }
            TxnOp::Service(op) => {
                let key = (low(&op.node), low(&op.service.id));
                let current = self.services.get(&key).map(|(.., modify)| *modify);
                let what = format!("service \"{}\" on node \"{}\"", op.service.id, op.node);
                if !self.may(op.verb, current, op.index, &what)? {
                    self.service_delete(&key.0, &key.1);
                    return Ok(vec![]);
                }
                if op.verb != CatalogVerb::Get {
                    self.service_set(&op.node, &op.service)?;
                }
                Ok(vec![Shown::Service(
                    key.0.clone(),
                    self.services[&key].clone(),
                )])
            }
            TxnOp::Check(op) => {
                let key = (low(&op.check.node), low(&op.check.check_id));
                let current = self.checks.get(&key).map(|(.., modify)| *modify);
                let what = format!(
                    "check \"{}\" on node \"{}\"",
                    op.check.check_id, op.check.node
                );
                if !self.may(op.verb, current, op.index, &what)? {
                    self.check_delete(&key.0, &key.1);
                    return Ok(vec![]);
                }
                if op.verb != CatalogVerb::Get {
                    self.check_set(&op.check)?;
                }
                Ok(vec![Shown::Check(self.checks[&key].clone())])
            }
        }
    }

    /// Whether to go on with a get or set (`true`) or a delete (`false`).
    fn may(
        &self,
        verb: CatalogVerb,
        current: Option<u64>,
        index: u64,
        what: &str,
    ) -> Result<bool, String> {
        match verb {
            CatalogVerb::Get if current.is_none() => Err(format!("{what} doesn't exist")),
            CatalogVerb::Cas if current.unwrap_or(0) != index => {
                Err(format!("failed to set {what}, index is stale"))
            }
            CatalogVerb::DeleteCas if current != Some(index) => {
                Err(format!("failed to delete {what}, index is stale"))
            }
            CatalogVerb::Get | CatalogVerb::Set | CatalogVerb::Cas => Ok(true),
            CatalogVerb::Delete | CatalogVerb::DeleteCas => Ok(false),
        }
    }

    fn txn_kv(&mut self, op: &TxnKvOp) -> Result<Vec<Shown>, String> {
        let (key, value, flags) = (&*op.key, &*op.value, op.flags);
        let row = self.keys.get(key).cloned();
        let name = format!("\"{key}\"");
        let ok = |ok: bool, what: String| if ok { Ok(()) } else { Err(what) };
        match op.verb {
            KvVerb::Get => {
                let row = row.ok_or(format!("key {name} doesn't exist"))?;
                return Ok(vec![Shown::Key(key.to_owned(), row, true)]);
            }
            KvVerb::GetOrEmpty => {
                let empty = Key {
                    flags,
                    ..Key::default()
                };
                return Ok(vec![Shown::Key(key.to_owned(), row.unwrap_or(empty), true)]);
            }
            KvVerb::GetTree => {
                let below = self.keys.iter().filter(|(k, _)| k.starts_with(key));
                return Ok(below
                    .map(|(k, r)| Shown::Key(k.clone(), r.clone(), true))
                    .collect());
            }
            KvVerb::Set => self.put(key, value, flags, &self.holder(key), 0),
            KvVerb::Cas => ok(
                self.cas(key, value, flags, op.index),
                format!("failed to set key {name}, index is stale"),
            )?,
            KvVerb::Lock if self.delayed(key) => {
                return Err(format!("failed to lock key {name} due to lock delay"));
            }
            KvVerb::Lock => ok(
                self.lock(key, value, flags, &op.session)?,
                format!("failed to lock key {name}, lock is already held"),
            )?,
            KvVerb::Unlock => ok(
                self.unlock(key, value, flags, &op.session)?,
                format!(
                    "failed to unlock key {name}, lock isn't held, or is held by another session"
                ),
            )?,
            KvVerb::CheckIndex => {
                let row = row.ok_or(format!("failed to check index, key {name} doesn't exist"))?;
                let words = format!(
                    "failed index check for key {name}, current modify index {} != {}",
                    row.modify, op.index
                );
                ok(row.modify == op.index, words)?;
            }
            KvVerb::CheckSession => {
                let row =
                    row.ok_or(format!("failed to check session, key {name} doesn't exist"))?;
                let words = format!(
                    "failed session check for key {name}, current session \"{}\" != \"{}\"",
                    row.session, op.session
                );
                ok(row.session == op.session, words)?;
            }
            KvVerb::CheckNotExists => {
                ok(row.is_none(), format!("key {name} exists"))?;
                return Ok(vec![]);
            }
            KvVerb::Delete => {
                self.delete(key);
                return Ok(vec![]);
            }
            KvVerb::DeleteCas => {
                ok(
                    self.delete_if(key, Some(op.index)),
                    format!("failed to delete key {name}, index is stale"),
                )?;
                return Ok(vec![]);
            }
            KvVerb::DeleteTree => {
                self.delete_tree(key);
                return Ok(vec![]);
            }
        }
        Ok(vec![Shown::Key(
            key.to_owned(),
            self.keys[key].clone(),
            false,
        )])
    }

    /// What a swap leaves: the saved rows, this cluster's time and lock-delays, and everything absent at the new index.
    pub(crate) fn restore(&mut self, saved: &Naive, above: u64) {
        *self = Naive {
            index: above,
            now: self.now,
            keys: saved.keys.clone(),
            deletions: Vec::new(),
            reaped: 0,
            floor: above,
            sessions: saved.sessions.clone(),
            session_events: saved
                .sessions
                .values()
                .map(|(s, create)| (low(&s.node), *create))
                .chain([(String::new(), above)])
                .collect(),
            session_ended: above,
            delays: self.delays.clone(),
            nodes: saved.nodes.clone(),
            services: saved.services.clone(),
            checks: saved.checks.clone(),
            check_events: saved
                .nodes
                .iter()
                .map(|(name, (_, create, _))| (name.clone(), *create))
                .chain(
                    saved
                        .checks
                        .iter()
                        .map(|((n, _), (.., modify))| (n.clone(), *modify)),
                )
                .collect(),
            nodes_changed: above,
            removed: above,
        };
    }
}

/// One result of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shown {
    Key(String, Key, bool),
    Node(String, Row<NodeSpec>),
    Service(String, Row<ServiceSpec>),
    Check(Row<(CheckSpec, String)>),
}
