//! Transactions, plainly.

use rollcall_state::command::{CatalogVerb, KvVerb, Txn, TxnKvOp, TxnNodeOp, TxnOp};
use rollcall_state::row::{Check, Node, Service};

use super::catalog::key;
use super::owner::writer;
use super::{Key, Naive, low};

impl Naive {
    /// What each operation shows, as (key, with value) or a row's name; or the errors.
    pub(crate) fn txn(&mut self, txn: &Txn) -> Result<Vec<Shown>, Vec<(usize, String)>> {
        let before = self.clone();
        let mut shown = Vec::new();
        let mut errors = Vec::new();
        for (i, op) in txn.ops.iter().enumerate() {
            match self.txn_op(op, writer(&txn.owner)) {
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

    fn txn_op(&mut self, op: &TxnOp, by: &str) -> Result<Vec<Shown>, String> {
        match op {
            TxnOp::Kv(op) => self.txn_kv(op),
            TxnOp::Session(op) => match self.session_end(&op.id) {
                true => Ok(vec![]),
                false => Err("failed to delete session: failed deleting session: not found".into()),
            },
            TxnOp::Node(op) => self.txn_node(op, by),
            TxnOp::Service(op) => {
                let key = key(&op.node, &op.service.id);
                let current = self.services.get(&key).map(|row| row.modify_index);
                let what = format!("service \"{}\" on node \"{}\"", op.service.id, op.node);
                if !self.may(op.verb, current, op.index, &what)? {
                    self.service_delete_by(by, &op.node, &op.service.id);
                    return Ok(vec![]);
                }
                if op.verb != CatalogVerb::Get {
                    self.service_set(&op.node, &op.service, by)?;
                }
                Ok(vec![Shown::Service(self.services[&key].clone())])
            }
            TxnOp::Check(op) => {
                let key = key(&op.check.node, &op.check.check_id);
                let current = self.checks.get(&key).map(|row| row.modify_index);
                let what = format!(
                    "check \"{}\" on node \"{}\"",
                    op.check.check_id, op.check.node
                );
                if !self.may(op.verb, current, op.index, &what)? {
                    self.check_delete_by(by, &op.check.node, &op.check.check_id);
                    return Ok(vec![]);
                }
                if op.verb != CatalogVerb::Get {
                    self.check_set(&op.check, by)?;
                }
                Ok(vec![Shown::Check(self.checks[&key].clone())])
            }
        }
    }

    /// Read by its id if one is given, compared and deleted by its name.
    fn txn_node(&mut self, op: &TxnNodeOp, by: &str) -> Result<Vec<Shown>, String> {
        let name = &op.node.node;
        let named = |model: &Naive| model.nodes.get(&low(name)).cloned();
        let shown = |model: &Naive| match op.node.id.is_empty() {
            true => named(model),
            false => model.node_by_id(&op.node.id).cloned(),
        };
        let current = match op.verb {
            CatalogVerb::Get => shown(self),
            _ => named(self),
        };
        let current = current.map(|row| row.modify_index);
        if !self.may(op.verb, current, op.index, &format!("node \"{name}\""))? {
            self.node_delete_by(by, name);
            return Ok(vec![]);
        }
        if op.verb != CatalogVerb::Get {
            self.node_set(&op.node, by)?;
        }
        Ok(shown(self).map(Shown::Node).into_iter().collect())
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
}

/// One result of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shown {
    Key(String, Key, bool),
    Node(Node),
    Service(Service),
    Check(Check),
}
