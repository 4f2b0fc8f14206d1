//! Transactions: several operations that happen all or not at all.
//!
//! As Consul does it, every operation runs and every error is collected; with one error nothing is kept (the caller puts
//! the tables back as they were, which is free, since they are persistent) and there are no results.

use std::sync::Arc;

use crate::Index;
use crate::command::{
    CatalogVerb, KvDelete, KvVerb, Txn, TxnCheckOp, TxnKvOp, TxnNodeOp, TxnOp, TxnServiceOp,
};
use crate::owner;
use crate::quote::quote;
use crate::reply::{TxnError, TxnResult};
use crate::row::{Check, KvEntry, Node, Service};
use crate::state::Tables;
use crate::write::Write;

type OpResult = Result<Vec<TxnResult>, String>;

/// Whether no operation writes, so that [`crate::State::txn_read`] may run it.
pub fn is_read_only(ops: &[TxnOp]) -> bool {
    ops.iter().all(|op| match op {
        TxnOp::Kv(op) => match op.verb {
            KvVerb::Get
            | KvVerb::GetOrEmpty
            | KvVerb::GetTree
            | KvVerb::CheckIndex
            | KvVerb::CheckSession
            | KvVerb::CheckNotExists => true,
            KvVerb::Set
            | KvVerb::Cas
            | KvVerb::Lock
            | KvVerb::Unlock
            | KvVerb::Delete
            | KvVerb::DeleteCas
            | KvVerb::DeleteTree => false,
        },
        TxnOp::Node(op) => op.verb == CatalogVerb::Get,
        TxnOp::Service(op) => op.verb == CatalogVerb::Get,
        TxnOp::Check(op) => op.verb == CatalogVerb::Get,
        TxnOp::Session(_) => false,
    })
}

/// Runs a transaction. After an error the tables are half written: the caller undoes.
pub(crate) fn run(write: &mut Write<'_>, txn: &Txn) -> Result<Vec<TxnResult>, Vec<TxnError>> {
    let owner = &owner::writer(&txn.owner);
    collect(&txn.ops, |op| match op {
        TxnOp::Kv(op) => kv(write, op),
        TxnOp::Node(op) => node(write, op, owner),
        TxnOp::Service(op) => service(write, op, owner),
        TxnOp::Check(op) => check(write, op, owner),
        TxnOp::Session(op) => {
            if write.session_end(&op.id) {
                Ok(Vec::new())
            } else {
                Err("failed to delete session: failed deleting session: not found".into())
            }
        }
    })
}

/// Runs a transaction that only reads.
pub(crate) fn read(tables: &Tables, ops: &[TxnOp]) -> Result<Vec<TxnResult>, Vec<TxnError>> {
    collect(ops, |op| {
        let found = match op {
            TxnOp::Kv(op) => kv_read(tables, op),
            TxnOp::Node(op) if op.verb == CatalogVerb::Get => Some(node_get(tables, op)),
            TxnOp::Service(op) if op.verb == CatalogVerb::Get => Some(service_get(tables, op)),
            TxnOp::Check(op) if op.verb == CatalogVerb::Get => Some(check_get(tables, op)),
            TxnOp::Node(_) | TxnOp::Service(_) | TxnOp::Check(_) | TxnOp::Session(_) => None,
        };
        found.unwrap_or_else(|| Err("a write in a transaction that only reads".into()))
    })
}

fn collect(
    ops: &[TxnOp],
    mut run: impl FnMut(&TxnOp) -> OpResult,
) -> Result<Vec<TxnResult>, Vec<TxnError>> {
    let mut results = Vec::new();
    let mut errors = Vec::new();
    for (op_index, op) in ops.iter().enumerate() {
        match run(op) {
            Ok(more) => results.extend(more),
            Err(what) => errors.push(TxnError { op_index, what }),
        }
    }
    if errors.is_empty() {
        Ok(results)
    } else {
        Err(errors)
    }
}

// === keys ===

fn shown(entry: Arc<KvEntry>, with_value: bool) -> TxnResult {
    TxnResult::Kv { entry, with_value }
}

fn written(entry: Option<Arc<KvEntry>>, otherwise: impl FnOnce() -> String) -> OpResult {
    entry
        .map(|entry| vec![shown(entry, false)])
        .ok_or_else(otherwise)
}

fn kv(write: &mut Write<'_>, op: &TxnKvOp) -> OpResult {
    if let Some(read) = kv_read(write.tables, op) {
        return read;
    }
    let TxnKvOp {
        verb,
        key,
        value,
        flags,
        index,
        session,
    } = op;
    let name = || quote(key);
    match verb {
        KvVerb::Set => {
            let keep = crate::kv_write::LockUpdate::KeepHolder;
            let entry = write.kv_put(key, value, *flags, keep);
            Ok(vec![shown(entry, false)])
        }
        KvVerb::Cas => written(write.kv_cas(key, value, *flags, *index), || {
            format!("failed to set key {}, index is stale", name())
        }),
        KvVerb::Lock if write.tables.sessions.is_delayed(key, write.at) => {
            Err(format!("failed to lock key {} due to lock delay", name()))
        }
        KvVerb::Lock => {
            let locked = write.kv_lock(key, value, *flags, session);
            written(locked.map_err(|e| e.to_string())?, || {
                format!("failed to lock key {}, lock is already held", name())
            })
        }
        KvVerb::Unlock => {
            let freed = write.kv_unlock(key, value, *flags, session);
            written(freed.map_err(|e| e.to_string())?, || {
                format!(
                    "failed to unlock key {}, lock isn't held, or is held by another session",
                    name()
                )
            })
        }
        KvVerb::Delete => {
            write.kv_delete(key);
            Ok(Vec::new())
        }
        KvVerb::DeleteCas => {
            let delete = KvDelete {
                key: key.clone(),
                cas: Some(*index),
            };
            if write.kv_delete_if(&delete) {
                Ok(Vec::new())
            } else {
                Err(format!("failed to delete key {}, index is stale", name()))
            }
        }
        KvVerb::DeleteTree => {
            write.kv_delete_tree(key);
            Ok(Vec::new())
        }
        KvVerb::Get
        | KvVerb::GetOrEmpty
        | KvVerb::GetTree
        | KvVerb::CheckIndex
        | KvVerb::CheckSession
        | KvVerb::CheckNotExists => unreachable!("kv_read must have answered a read"),
    }
}

/// `None`: the verb writes.
fn kv_read(tables: &Tables, op: &TxnKvOp) -> Option<OpResult> {
    let key = &*op.key;
    let name = || quote(key);
    let entry = tables.kv.entry(key);
    let result = match (op.verb, entry) {
        (KvVerb::Get, Some(entry)) | (KvVerb::GetOrEmpty, Some(entry)) => {
            Ok(vec![shown(entry.clone(), true)])
        }
        (KvVerb::Get, None) => Err(format!("key {} doesn't exist", name())),
        (KvVerb::GetOrEmpty, None) => {
            let empty = KvEntry::new(Arc::from(key), &[], op.flags);
            Ok(vec![shown(Arc::new(empty), true)])
        }
        (KvVerb::GetTree, _) => Ok(tables
            .kv
            .below(key)
            .map(|entry| shown(entry.clone(), true))
            .collect()),
        (KvVerb::CheckIndex, None) => Err(format!(
            "failed to check index, key {} doesn't exist",
            name()
        )),
        (KvVerb::CheckIndex, Some(entry)) if entry.modify_index != op.index => Err(format!(
            "failed index check for key {}, current modify index {} != {}",
            name(),
            entry.modify_index,
            op.index
        )),
        (KvVerb::CheckSession, None) => Err(format!(
            "failed to check session, key {} doesn't exist",
            name()
        )),
        (KvVerb::CheckSession, Some(entry)) if holder(entry) != op.session => Err(format!(
            "failed session check for key {}, current session {} != {}",
            name(),
            quote(holder(entry)),
            quote(&op.session)
        )),
        (KvVerb::CheckIndex | KvVerb::CheckSession, Some(entry)) => {
            Ok(vec![shown(entry.clone(), false)])
        }
        (KvVerb::CheckNotExists, None) => Ok(Vec::new()),
        (KvVerb::CheckNotExists, Some(_)) => Err(format!("key {} exists", name())),
        (
            KvVerb::Set
            | KvVerb::Cas
            | KvVerb::Lock
            | KvVerb::Unlock
            | KvVerb::Delete
            | KvVerb::DeleteCas
            | KvVerb::DeleteTree,
            _,
        ) => return None,
    };
    Some(result)
}

fn holder(entry: &KvEntry) -> &str {
    entry.session().map_or("", |session| session)
}

// === nodes, services, checks ===

/// Whether a conditional write may go on: index 0 means "must not exist".
fn may_set(current: Option<Index>, wanted: Index) -> bool {
    current.unwrap_or(0) == wanted
}

fn node_row<'a>(tables: &'a Tables, op: &TxnNodeOp) -> Option<&'a Arc<Node>> {
    if op.node.id.is_empty() {
        return tables.catalog.node_row(&op.node.node);
    }
    let id = crate::change::fold(&op.node.id);
    let name = tables.catalog.names_by_id.get(&*id)?;
    tables.catalog.node_row(name)
}

fn node_get(tables: &Tables, op: &TxnNodeOp) -> OpResult {
    match node_row(tables, op) {
        Some(node) => Ok(vec![TxnResult::Node(node.clone())]),
        None => Err(format!("node {} doesn't exist", quote(&op.node.node))),
    }
}

fn node(write: &mut Write<'_>, op: &TxnNodeOp, owner: &Arc<str>) -> OpResult {
    let name = || quote(&op.node.node);
    let current = |write: &Write<'_>| {
        let row = write.tables.catalog.node_row(&op.node.node);
        row.map(|node| node.modify_index)
    };
    match op.verb {
        CatalogVerb::Get => return node_get(write.tables, op),
        CatalogVerb::Cas if !may_set(current(write), op.index) => {
            return Err(format!("failed to set node {}, index is stale", name()));
        }
        CatalogVerb::Set | CatalogVerb::Cas => {
            write.node_set(&op.node, owner).map_err(|e| e.to_string())?;
        }
        CatalogVerb::DeleteCas if current(write) != Some(op.index) => {
            return Err(format!("failed to delete node {}, index is stale", name()));
        }
        CatalogVerb::Delete | CatalogVerb::DeleteCas => {
            write.node_delete_by(owner, &op.node.node);
            return Ok(Vec::new());
        }
    }
    let row = node_row(write.tables, op).cloned();
    Ok(row.into_iter().map(TxnResult::Node).collect())
}

fn service_row<'a>(tables: &'a Tables, op: &TxnServiceOp) -> Option<&'a Arc<Service>> {
    tables.catalog.service_row(&op.node, &op.service.id)
}

fn service_name(op: &TxnServiceOp) -> String {
    format!(
        "service {} on node {}",
        quote(&op.service.id),
        quote(&op.node)
    )
}

fn service_get(tables: &Tables, op: &TxnServiceOp) -> OpResult {
    match service_row(tables, op) {
        Some(service) => Ok(vec![TxnResult::Service(service.clone())]),
        None => Err(format!("{} doesn't exist", service_name(op))),
    }
}

fn service(write: &mut Write<'_>, op: &TxnServiceOp, owner: &Arc<str>) -> OpResult {
    let current = service_row(write.tables, op).map(|service| service.modify_index);
    match op.verb {
        CatalogVerb::Get => return service_get(write.tables, op),
        CatalogVerb::Cas if !may_set(current, op.index) => {
            return Err(format!(
                "failed to set {}, index is stale",
                service_name(op)
            ));
        }
        CatalogVerb::Set | CatalogVerb::Cas => {
            write
                .service_set(&op.node, &op.service, owner)
                .map_err(|e| e.to_string())?;
        }
        CatalogVerb::DeleteCas if current != Some(op.index) => {
            return Err(format!(
                "failed to delete {}, index is stale",
                service_name(op)
            ));
        }
        CatalogVerb::Delete | CatalogVerb::DeleteCas => {
            write.service_delete_by(owner, &op.node, &op.service.id);
            return Ok(Vec::new());
        }
    }
    let row = service_row(write.tables, op).cloned();
    Ok(row.into_iter().map(TxnResult::Service).collect())
}

fn check_row<'a>(tables: &'a Tables, op: &TxnCheckOp) -> Option<&'a Arc<Check>> {
    tables.catalog.check_row(&op.check.node, &op.check.check_id)
}

fn check_name(op: &TxnCheckOp) -> String {
    format!(
        "check {} on node {}",
        quote(&op.check.check_id),
        quote(&op.check.node)
    )
}

fn check_get(tables: &Tables, op: &TxnCheckOp) -> OpResult {
    match check_row(tables, op) {
        Some(check) => Ok(vec![TxnResult::Check(check.clone())]),
        None => Err(format!("{} doesn't exist", check_name(op))),
    }
}

fn check(write: &mut Write<'_>, op: &TxnCheckOp, owner: &Arc<str>) -> OpResult {
    let current = check_row(write.tables, op).map(|check| check.modify_index);
    match op.verb {
        CatalogVerb::Get => return check_get(write.tables, op),
        CatalogVerb::Cas if !may_set(current, op.index) => {
            return Err(format!("failed to set {}, index is stale", check_name(op)));
        }
        CatalogVerb::Set | CatalogVerb::Cas => {
            write
                .check_set(&op.check, owner)
                .map_err(|e| e.to_string())?;
        }
        CatalogVerb::DeleteCas if current != Some(op.index) => {
            return Err(format!(
                "failed to delete {}, index is stale",
                check_name(op)
            ));
        }
        CatalogVerb::Delete | CatalogVerb::DeleteCas => {
            write.check_delete_by(owner, &op.check.node, &op.check.check_id);
            return Ok(Vec::new());
        }
    }
    let row = check_row(write.tables, op).cloned();
    Ok(row.into_iter().map(TxnResult::Check).collect())
}
