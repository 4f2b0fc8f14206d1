//! The rules of keys, sessions, transactions, nodes and restores, one sentence a test. What Consul 1.20.1 was recorded
//! doing comes first in each part.

mod indexes;
mod locks;
mod nodes;
mod owners;
mod queries;
mod restores;
mod sessions;
mod transactions;

use bytes::Bytes;
use rollcall_state::command::*;
use rollcall_state::reply::{Refusal, TxnError, TxnResult};
use rollcall_state::row::KvEntry;
use rollcall_state::{Changes, Command, Context, Include, Loader, Reply, Stamp, State, Topic};
use std::sync::Arc;

/// A state with a node `n1` that has a passing `serfHealth`, and a log to write to.
struct Log {
    state: State,
    index: u64,
    now: u64,
}

const TRUE: Reply = Reply::Bool(true);
const FALSE: Reply = Reply::Bool(false);

impl Log {
    fn new() -> Self {
        let mut log = Log {
            state: State::default(),
            index: 1,
            now: 1_000,
        };
        assert_eq!(
            log.write(register("n1", vec![check("serfHealth", Status::Passing)])),
            TRUE
        );
        log
    }

    fn write(&mut self, command: Command) -> Reply {
        self.write_with_changes(command).0
    }

    fn write_with_changes(&mut self, command: Command) -> (Reply, Changes) {
        self.index += 1;
        let at = Stamp(self.now);
        let context = Context {
            log_index: self.index,
            term: 1,
            leader: 1,
            at,
        };
        self.state.apply(context, &command)
    }

    fn session(&mut self, id: &str, lock_delay_ns: u64, behavior: Behavior) {
        let create = SessionCreate {
            lock_delay_ns,
            behavior,
            ..session(id)
        };
        assert_eq!(self.write(Command::SessionCreate(create)), TRUE);
    }

    fn row(&self, key: &str) -> Arc<KvEntry> {
        self.state
            .kv_get(key)
            .value
            .unwrap_or_else(|| panic!("{key} must be there"))
    }

    fn txn(&mut self, ops: Vec<TxnOp>) -> Result<Vec<TxnResult>, Vec<TxnError>> {
        match self.write(Command::Txn(Txn {
            ops,
            ..Txn::default()
        })) {
            Reply::Txn(result) => result,
            other => panic!("a transaction answered {other:?}"),
        }
    }
}

fn register(node: &str, checks: Vec<CheckSpec>) -> Command {
    let node = NodeSpec {
        node: node.into(),
        ..NodeSpec::default()
    };
    let checks = checks
        .into_iter()
        .map(|c| CheckSpec {
            node: node.node.clone(),
            ..c
        })
        .collect();
    Command::Register(Register {
        node,
        checks,
        ..Register::default()
    })
}

fn check(id: &str, status: Status) -> CheckSpec {
    CheckSpec {
        check_id: id.into(),
        status,
        ..CheckSpec::default()
    }
}

fn session(id: &str) -> SessionCreate {
    SessionCreate {
        id: id.into(),
        name: String::new(),
        node: "n1".into(),
        lock_delay_ns: 0,
        behavior: Behavior::Release,
        ttl: String::new(),
        ttl_ms: 0,
        node_checks: vec!["serfHealth".into()],
        service_checks: None,
    }
}

fn set(key: &str, value: &str, mode: KvMode) -> Command {
    let value = Bytes::copy_from_slice(value.as_bytes());
    Command::KvSet(KvSet {
        key: key.into(),
        value,
        flags: 0,
        mode,
    })
}

fn put(key: &str, value: &str) -> Command {
    set(key, value, KvMode::Set)
}

fn acquire(key: &str, value: &str, session: &str) -> Command {
    set(key, value, KvMode::Acquire(session.into()))
}

fn release(key: &str, value: &str, session: &str) -> Command {
    set(key, value, KvMode::Release(session.into()))
}

fn delete(key: &str) -> Command {
    Command::KvDelete(KvDelete {
        key: key.into(),
        cas: None,
    })
}

fn destroy(id: &str) -> Command {
    Command::SessionDestroy(SessionDestroy { id: id.into() })
}

fn kv_op(verb: KvVerb, key: &str) -> TxnKvOp {
    TxnKvOp {
        verb,
        key: key.into(),
        value: Bytes::from_static(b"v"),
        flags: 0,
        index: 0,
        session: String::new(),
    }
}

fn whats(result: Result<Vec<TxnResult>, Vec<TxnError>>) -> Vec<(usize, String)> {
    let errors = result.expect_err("the transaction must fail");
    errors.into_iter().map(|e| (e.op_index, e.what)).collect()
}
