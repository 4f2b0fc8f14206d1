//! The rules of keys, sessions, transactions, nodes and restores, one sentence a test. What Consul 1.20.1 was recorded
//! doing comes first in each part.

use bytes::Bytes;
use rollcall_state::command::*;
use rollcall_state::reply::{Refusal, TxnError, TxnResult};
use rollcall_state::row::KvEntry;
use rollcall_state::{Changes, Command, Context, Include, Reply, Stamp, State, Topic};
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
        match self.write(Command::Txn(Txn { ops })) {
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

// === keys and locks ===

#[test]
fn a_lock_goes_through_its_life_as_recorded() {
    let mut log = Log::new();
    log.session("s", 0, Behavior::Release);
    assert_eq!(log.write(acquire("lock", "held", "s")), TRUE);
    let held = log.row("lock");
    assert_eq!(
        (held.lock_index(), held.session().map(|s| &**s)),
        (1, Some("s"))
    );

    assert_eq!(log.write(acquire("lock", "again", "s")), TRUE);
    let again = log.row("lock");
    assert_eq!((again.lock_index(), again.value()), (1, &b"again"[..]));
    assert!(again.modify_index > held.modify_index);

    // A plain put keeps the holder and, as recorded, sets LockIndex back.
    assert_eq!(log.write(put("lock", "steal")), TRUE);
    let stolen = log.row("lock");
    assert_eq!(
        (stolen.lock_index(), stolen.session().map(|s| &**s)),
        (0, Some("s"))
    );

    assert_eq!(log.write(release("lock", "freed", "s")), TRUE);
    let freed = log.row("lock");
    assert_eq!((freed.lock_index(), freed.session()), (0, None));
    assert_eq!(
        (freed.value(), freed.create_index),
        (&b"freed"[..], held.create_index)
    );

    assert_eq!(log.write(acquire("lock", "held2", "s")), TRUE);
    assert_eq!(log.write(destroy("s")), TRUE);
    let ended = log.row("lock");
    assert_eq!(
        (ended.lock_index(), ended.session(), ended.value()),
        (1, None, &b"held2"[..])
    );
    assert_eq!(
        log.write(destroy("s")),
        TRUE,
        "a session that is gone can be destroyed again"
    );
}

#[test]
fn a_lock_has_one_holder() {
    let mut log = Log::new();
    log.session("s", 0, Behavior::Release);
    log.session("t", 0, Behavior::Release);
    assert_eq!(log.write(acquire("k", "1", "s")), TRUE);
    assert_eq!(log.write(acquire("k", "2", "t")), FALSE);
    assert_eq!(log.write(release("k", "2", "t")), FALSE);
    assert_eq!(log.write(release("absent", "2", "t")), FALSE);
    assert_eq!(log.row("k").value(), b"1");
    let refused = Reply::Refused(Refusal::InvalidSession("bogus".into()));
    assert_eq!(log.write(acquire("k", "x", "bogus")), refused);
    assert_eq!(
        Refusal::InvalidSession("bogus".into()).to_string(),
        "invalid session \"bogus\""
    );
    let refused = Reply::Refused(Refusal::Other("missing session".into()));
    assert_eq!(log.write(acquire("k", "x", "")), refused);
    assert_eq!(log.write(release("k", "x", "")), refused);
}

#[test]
fn a_held_key_can_be_deleted_and_is_then_held_by_nobody() {
    let mut log = Log::new();
    log.session("s", 60_000_000_000, Behavior::Delete);
    assert_eq!(log.write(acquire("k", "1", "s")), TRUE);
    assert_eq!(log.write(delete("k")), TRUE);
    assert_eq!(log.write(put("k", "2")), TRUE);
    assert_eq!(log.row("k").lock_index(), 0, "a new key starts afresh");
    assert_eq!(log.write(destroy("s")), TRUE);
    assert_eq!(log.row("k").value(), b"2", "the session held it no more");
}

#[test]
fn a_write_that_changes_nothing_moves_nothing() {
    let mut log = Log::new();
    log.session("s", 0, Behavior::Release);
    assert_eq!(log.write(acquire("k", "1", "s")), TRUE);
    let before = log.state.kv_get("k");
    let (reply, changes) = log.write_with_changes(acquire("k", "1", "s"));
    assert_eq!((reply, changes.is_empty()), (TRUE, true));
    assert_eq!(log.state.kv_get("k"), before);

    assert_eq!(log.write(put("p", "1")), TRUE);
    let cas = KvMode::Cas(log.row("p").modify_index);
    let (reply, changes) = log.write_with_changes(set("p", "1", cas.clone()));
    assert_eq!((reply, changes.is_empty()), (TRUE, true));
    assert_eq!(
        log.write(set("p", "2", cas)),
        TRUE,
        "the index did not move, so it still holds"
    );
}

#[test]
fn conditions_hold_as_recorded() {
    let mut log = Log::new();
    assert_eq!(log.write(put("a", "one")), TRUE);
    assert_eq!(log.write(set("a", "three", KvMode::Cas(0))), FALSE);
    assert_eq!(log.write(set("new", "created", KvMode::Cas(0))), TRUE);
    assert_eq!(log.write(set("a", "no", KvMode::Cas(999_999))), FALSE);
    assert_eq!(log.write(set("absent", "no", KvMode::Cas(1))), FALSE);
    let delete_cas = |key: &str, cas| {
        Command::KvDelete(KvDelete {
            key: key.into(),
            cas: Some(cas),
        })
    };
    assert_eq!(log.write(delete_cas("a", 1)), FALSE);
    assert_eq!(log.write(delete_cas("a", 0)), FALSE);
    assert_eq!(log.write(delete_cas("absent", 5)), TRUE);
    assert_eq!(log.row("a").value(), b"one");
    assert_eq!(log.write(delete("a")), TRUE);
    assert_eq!(log.write(delete("a")), TRUE);
}

#[test]
fn lists_are_ordered_and_cut_as_recorded() {
    let mut log = Log::new();
    for key in ["a", "empty", "new", "dir/x", "dir/y", "dir/sub/z", "dir/"] {
        assert_eq!(log.write(put(key, "1")), TRUE);
    }
    let keys = |prefix, separator| log.state.kv_keys(prefix, separator).value;
    assert_eq!(keys("dir/", None), ["dir/", "dir/sub/z", "dir/x", "dir/y"]);
    assert_eq!(
        keys("dir/", Some("/")),
        ["dir/", "dir/sub/", "dir/x", "dir/y"]
    );
    assert_eq!(keys("", Some("/")), ["a", "dir/", "empty", "new"]);
    let list = log.state.kv_list("dir");
    assert_eq!((list.value.len(), list.index), (4, log.index));
}

// === indexes ===

#[test]
fn index_is_never_zero() {
    let state = State::default();
    assert_eq!(state.kv_get("a").index, 1);
    assert_eq!(state.kv_list("").index, 1);
    assert_eq!(state.kv_keys("a", None).index, 1);
    assert_eq!(state.session("s").index, 1);
    assert_eq!(state.sessions().index, 1);
    assert_eq!(state.sessions_of_node("n").index, 1);
    assert_eq!(state.nodes().index, 1);
    assert_eq!(state.node("n").index, 1);
    assert_eq!(state.checks_of_node("n").index, 1);
}

#[test]
fn a_deletion_moves_lists_above_it_and_collecting_it_moves_nothing_that_exists() {
    let mut log = Log::new();
    for key in ["svc/a/1", "svc/a/2", "svc/b", "other"] {
        assert_eq!(log.write(put(key, "1")), TRUE);
    }
    assert_eq!(log.write(delete("svc/a/2")), TRUE);
    let deleted = log.index;
    let indexes = |log: &Log| {
        ["", "svc", "svc/", "svc/a", "svc/a/", "svc/b", "other"].map(|prefix| {
            (
                log.state.kv_list(prefix).index,
                log.state.kv_keys(prefix, None).index,
            )
        })
    };
    let before = indexes(&log);
    assert!(
        before[..5]
            .iter()
            .all(|(list, keys)| (*list, *keys) == (deleted, deleted))
    );
    assert!(before[5..].iter().all(|(list, _)| *list < deleted));
    assert_eq!(log.state.tombstones(), (deleted, 1));
    assert_eq!(
        log.write(Command::TombstoneReap(TombstoneReap { up_to: deleted })),
        Reply::None
    );
    assert_eq!(log.state.tombstones(), (0, 0));
    assert_eq!(indexes(&log), before);
    assert_eq!(log.state.kv_get("svc/a/2").index, deleted);
    assert_eq!(
        log.state.kv_get("never").index,
        deleted,
        "the coarse watermark"
    );
}

#[test]
fn marks_of_a_churning_prefix_stay_few() {
    let mut log = Log::new();
    assert_eq!(log.write(put("locks/", "")), TRUE);
    for n in 0..1_000 {
        let key = format!("locks/{n}");
        assert_eq!(log.write(put(&key, "1")), TRUE);
        assert_eq!(log.write(delete(&key)), TRUE);
        let up_to = log.index;
        assert_eq!(
            log.write(Command::TombstoneReap(TombstoneReap { up_to })),
            Reply::None
        );
    }
    let all: usize = log
        .state
        .chunks(1 << 20, Include::Everything)
        .map(|c| c.len())
        .sum();
    let live: usize = log
        .state
        .chunks(1 << 20, Include::LiveOnly)
        .map(|c| c.len())
        .sum();
    assert!(
        all - live < 400,
        "{} bytes of graves for one live key",
        all - live
    );
}

#[test]
fn names_of_nodes_ignore_case_and_so_do_their_topics() {
    let mut log = Log::new();
    let create = SessionCreate {
        node: "N1".into(),
        ..session("s")
    };
    let (reply, changes) = log.write_with_changes(Command::SessionCreate(create));
    assert_eq!(reply, TRUE);
    assert!(changes.touches(&Topic::sessions_of_node("n1")));
    assert!(changes.touches(&Topic::sessions_of_node("N1")));
    assert!(!changes.touches(&Topic::sessions_of_node("n2")));
    assert_eq!(
        log.state.sessions_of_node("N1"),
        log.state.sessions_of_node("n1")
    );
    assert_eq!(log.state.sessions_of_node("n1").value.len(), 1);
}

// === sessions ===

#[test]
fn a_session_needs_its_node_and_passing_checks() {
    let mut log = Log::new();
    let mut refused = |create: SessionCreate| match log.write(Command::SessionCreate(create)) {
        Reply::Refused(refusal) => refusal.to_string(),
        other => panic!("answered {other:?}"),
    };
    let ghost = SessionCreate {
        node: "ghost".into(),
        ..session("s")
    };
    assert_eq!(refused(ghost), "Missing node registration");
    let ghost = SessionCreate {
        node_checks: vec!["ghost".into()],
        ..session("s")
    };
    assert_eq!(refused(ghost), "Missing check 'ghost' registration");
    let of_service = ServiceCheckRef {
        id: "ghost".into(),
        namespace: String::new(),
    };
    let ghost = SessionCreate {
        service_checks: Some(vec![of_service]),
        ..session("s")
    };
    assert_eq!(refused(ghost), "Missing check 'ghost' registration");
    assert_eq!(
        log.write(register("n1", vec![check("bad", Status::Critical)])),
        TRUE
    );
    let bad = SessionCreate {
        node_checks: vec!["bad".into()],
        ..session("s")
    };
    let reply = log.write(Command::SessionCreate(bad));
    assert_eq!(reply, Reply::Refused(Refusal::CriticalCheck("bad".into())));
    assert_eq!(
        Refusal::CriticalCheck("bad".into()).to_string(),
        "Check 'bad' is in critical state"
    );
    assert!(log.state.sessions().value.is_empty());
}

#[test]
fn a_check_that_turns_critical_ends_the_sessions_that_name_it() {
    let mut log = Log::new();
    log.session("s", 0, Behavior::Delete);
    let create = SessionCreate {
        node_checks: vec![],
        ..session("free")
    };
    assert_eq!(log.write(Command::SessionCreate(create)), TRUE);
    assert_eq!(log.write(acquire("k", "1", "s")), TRUE);
    assert_eq!(
        log.write(register("n1", vec![check("serfHealth", Status::Warning)])),
        TRUE
    );
    assert!(
        log.state.session("s").value.is_some(),
        "a warning is not critical"
    );
    assert_eq!(
        log.write(register("n1", vec![check("serfHealth", Status::Critical)])),
        TRUE
    );
    assert!(log.state.session("s").value.is_none());
    assert!(log.state.session("free").value.is_some());
    assert!(log.state.kv_get("k").value.is_none(), "behaviour delete");
}

#[test]
fn sessions_end_with_their_node_and_with_checks_that_go() {
    let mut log = Log::new();
    let web = ServiceSpec {
        id: "web".into(),
        service: "web".into(),
        ..ServiceSpec::default()
    };
    let of_web = CheckSpec {
        service_id: "web".into(),
        node: "n1".into(),
        ..check("c", Status::Passing)
    };
    let node = NodeSpec {
        node: "n1".into(),
        ..NodeSpec::default()
    };
    let register = Register {
        node,
        service: Some(web),
        checks: vec![of_web],
        ..Register::default()
    };
    assert_eq!(log.write(Command::Register(register)), TRUE);
    let of_service = ServiceCheckRef {
        id: "c".into(),
        namespace: String::new(),
    };
    let create = SessionCreate {
        service_checks: Some(vec![of_service]),
        ..session("web")
    };
    assert_eq!(log.write(Command::SessionCreate(create)), TRUE);
    log.session("node", 0, Behavior::Release);
    let off = |service: &str| {
        let (node, service_id) = ("n1".into(), service.into());
        Command::Deregister(Deregister {
            node,
            service_id,
            ..Deregister::default()
        })
    };
    assert_eq!(log.write(off("web")), TRUE);
    assert!(log.state.session("web").value.is_none());
    assert!(log.state.session("node").value.is_some());
    assert_eq!(log.write(off("")), TRUE);
    assert!(log.state.session("node").value.is_none());
    assert!(log.state.nodes().value.is_empty() && log.state.checks_of_node("n1").value.is_empty());
}

#[test]
fn nobody_acquires_before_the_lock_delay_is_over() {
    let mut log = Log::new();
    log.session("s", 1_000_001, Behavior::Release); // just over a millisecond: two
    log.session("t", 0, Behavior::Release);
    assert_eq!(log.write(acquire("k", "1", "s")), TRUE);
    assert_eq!(log.write(destroy("s")), TRUE);
    for _ in 0..2 {
        assert_eq!(log.write(acquire("k", "2", "t")), FALSE);
        let lock = TxnKvOp {
            session: "t".into(),
            ..kv_op(KvVerb::Lock, "k")
        };
        let words = "failed to lock key \"k\" due to lock delay".to_owned();
        assert_eq!(whats(log.txn(vec![TxnOp::Kv(lock)])), [(0, words)]);
        log.now += 1;
    }
    assert_eq!(log.write(acquire("k", "2", "t")), TRUE);
}

#[test]
fn a_plain_write_ignores_the_lock_delay_and_leaves_it() {
    let mut log = Log::new();
    log.session("s", 5_000_000, Behavior::Delete);
    log.session("t", 0, Behavior::Release);
    assert_eq!(log.write(acquire("k", "1", "s")), TRUE);
    assert_eq!(log.write(destroy("s")), TRUE);
    assert!(log.state.kv_get("k").value.is_none());
    assert_eq!(log.write(put("k", "2")), TRUE);
    assert_eq!(log.write(acquire("k", "3", "t")), FALSE);
    log.now += 5;
    assert_eq!(log.write(acquire("k", "3", "t")), TRUE);
}

#[test]
fn an_expiry_of_another_leadership_is_void() {
    let mut log = Log::new();
    log.session("s", 0, Behavior::Release);
    let expire = |term, leader| {
        Command::SessionExpire(SessionExpire {
            ids: vec!["s".into()],
            term,
            leader,
        })
    };
    for (term, leader) in [(2, 1), (1, 2), (0, 1)] {
        let (reply, changes) = log.write_with_changes(expire(term, leader));
        assert_eq!((reply, changes.is_empty()), (Reply::None, true));
        assert!(log.state.session("s").value.is_some());
    }
    assert_eq!(log.write(expire(1, 1)), Reply::None);
    assert!(log.state.session("s").value.is_none());
}

#[test]
fn cluster_time_never_goes_back() {
    let mut log = Log::new();
    log.session("s", 10_000_000, Behavior::Release);
    log.session("t", 0, Behavior::Release);
    assert_eq!(log.write(acquire("k", "1", "s")), TRUE);
    assert_eq!(log.write(destroy("s")), TRUE);
    log.now -= 500;
    assert_eq!(log.write(put("other", "1")), TRUE);
    assert_eq!(log.state.stamp(), Stamp(1_000));
    log.now = 1_009;
    assert_eq!(log.write(acquire("k", "2", "t")), FALSE);
    log.now = 1_010;
    assert_eq!(log.write(acquire("k", "2", "t")), TRUE);
}

// === transactions ===

#[test]
fn a_failed_transaction_changes_nothing_and_names_every_error() {
    let mut log = Log::new();
    assert_eq!(log.write(put("t/a", "1")), TRUE);
    let modify = log.index;
    let before = log.state.kv_list("");
    let op = |verb, key: &str, index, session: &str| {
        TxnOp::Kv(TxnKvOp {
            index,
            session: session.into(),
            ..kv_op(verb, key)
        })
    };
    let (_, changes) = log.write_with_changes(Command::Txn(Txn {
        ops: vec![
            op(KvVerb::Set, "t/b", 0, ""),
            op(KvVerb::Get, "gone", 0, ""),
        ],
    }));
    assert!(changes.is_empty());
    let errors = whats(log.txn(vec![
        op(KvVerb::Set, "t/b", 0, ""),
        op(KvVerb::Cas, "t/a", 1, ""),
        op(KvVerb::Get, "t/missing", 0, ""),
        op(KvVerb::CheckIndex, "t/a", 1, ""),
        op(KvVerb::CheckSession, "t/a", 0, "x"),
        op(KvVerb::CheckNotExists, "t/a", 0, ""),
        op(KvVerb::DeleteCas, "t/a", 1, ""),
        op(KvVerb::Lock, "t/a", 0, "nobody"),
        op(KvVerb::Unlock, "t/a", 0, "nobody"),
        op(KvVerb::CheckIndex, "x", 1, ""),
        op(KvVerb::CheckSession, "x", 1, ""),
    ]));
    let words = [
        "failed to set key \"t/a\", index is stale",
        "key \"t/missing\" doesn't exist",
        &format!("failed index check for key \"t/a\", current modify index {modify} != 1"),
        "failed session check for key \"t/a\", current session \"\" != \"x\"",
        "key \"t/a\" exists",
        "failed to delete key \"t/a\", index is stale",
        "invalid session \"nobody\"",
        "failed to unlock key \"t/a\", lock isn't held, or is held by another session",
        "failed to check index, key \"x\" doesn't exist",
        "failed to check session, key \"x\" doesn't exist",
    ];
    let expected: Vec<_> = words
        .iter()
        .enumerate()
        .map(|(i, w)| (i + 1, (*w).to_owned()))
        .collect();
    assert_eq!(errors, expected);
    assert_eq!(log.state.kv_list(""), before);
}

#[test]
fn a_transaction_sees_its_own_writes() {
    let mut log = Log::new();
    let results = log.txn(vec![
        TxnOp::Kv(TxnKvOp {
            flags: 7,
            ..kv_op(KvVerb::Set, "t/a")
        }),
        TxnOp::Kv(kv_op(KvVerb::Get, "t/a")),
        TxnOp::Kv(kv_op(KvVerb::GetTree, "t/")),
        TxnOp::Kv(kv_op(KvVerb::GetOrEmpty, "none")),
        TxnOp::Kv(kv_op(KvVerb::Delete, "t/a")),
        TxnOp::Kv(kv_op(KvVerb::CheckNotExists, "t/a")),
    ]);
    let row = log.index;
    let shown: Vec<(String, bool, u64, u64)> = results
        .expect("must pass")
        .into_iter()
        .map(|result| match result {
            TxnResult::Kv { entry, with_value } => (
                entry.key().into(),
                with_value,
                entry.flags,
                entry.modify_index,
            ),
            other => panic!("{other:?}"),
        })
        .collect();
    let a = |with_value| ("t/a".to_owned(), with_value, 7, row);
    assert_eq!(
        shown,
        [a(false), a(true), a(true), ("none".into(), true, 0, 0)]
    );
    assert!(log.state.kv_get("t/a").value.is_none());
}

#[test]
fn a_transaction_that_writes_is_no_read() {
    let log = Log::new();
    let write = vec![TxnOp::Kv(kv_op(KvVerb::Set, "a"))];
    assert!(!rollcall_state::txn::is_read_only(&write));
    assert!(log.state.txn_read(&write).is_err());
    let read = vec![
        TxnOp::Kv(kv_op(KvVerb::GetTree, "")),
        TxnOp::Kv(kv_op(KvVerb::GetOrEmpty, "a")),
    ];
    assert!(rollcall_state::txn::is_read_only(&read));
    assert_eq!(log.state.txn_read(&read).map(|r| r.len()), Ok(1));
}

#[test]
fn a_transaction_writes_a_node_its_service_and_its_check() {
    let mut log = Log::new();
    let node = || NodeSpec {
        node: "txnode".into(),
        address: "10.9.9.9".into(),
        ..NodeSpec::default()
    };
    let service = || ServiceSpec {
        id: "s1".into(),
        service: "s1".into(),
        port: 1,
        ..ServiceSpec::default()
    };
    let check = CheckSpec {
        node: "txnode".into(),
        service_id: "s1".into(),
        ..check("c1", Status::Passing)
    };
    let node_op = |verb| {
        TxnOp::Node(TxnNodeOp {
            verb,
            node: node(),
            index: 0,
        })
    };
    let service_op = |verb| {
        TxnOp::Service(TxnServiceOp {
            verb,
            node: "txnode".into(),
            service: service(),
            index: 0,
        })
    };
    let results = log.txn(vec![
        node_op(CatalogVerb::Set),
        service_op(CatalogVerb::Set),
        TxnOp::Check(TxnCheckOp {
            verb: CatalogVerb::Set,
            check,
            index: 0,
        }),
    ]);
    let results = results.expect("must pass");
    assert!(
        matches!(&results[2], TxnResult::Check(c) if c.service_name == "s1" && c.create_index == log.index)
    );
    let read = log
        .state
        .txn_read(&[service_op(CatalogVerb::Get), node_op(CatalogVerb::Get)]);
    assert_eq!(read.map(|r| r.len()), Ok(2));
    assert_eq!(log.txn(vec![node_op(CatalogVerb::Delete)]), Ok(vec![]));
    let gone = whats(log.txn(vec![
        node_op(CatalogVerb::Get),
        service_op(CatalogVerb::Set),
    ]));
    let words = ["node \"txnode\" doesn't exist", "Missing node registration"];
    assert_eq!(gone, [(0, words[0].to_owned()), (1, words[1].to_owned())]);
}

// === nodes ===

#[test]
fn a_node_is_known_by_its_id() {
    let mut log = Log::new();
    let node = |id: &str, name: &str, address: &str| {
        let node = NodeSpec {
            id: id.into(),
            node: name.into(),
            address: address.into(),
            ..NodeSpec::default()
        };
        Command::Register(Register {
            node,
            ..Register::default()
        })
    };
    assert_eq!(
        log.write(node("id-1", "n1", "10.0.0.1")),
        TRUE,
        "a node without id gets one"
    );
    assert_eq!(
        log.write(node("id-1", "n1", "10.0.0.9")),
        TRUE,
        "a known id at a new address"
    );
    assert_eq!(
        log.state.node("n1").value.map(|n| n.spec.address.clone()),
        Some("10.0.0.9".into())
    );

    let refused = Reply::Refused(Refusal::Other(
        "failed inserting node: Error while renaming Node ID: \"id-2\": Node name n1 is reserved by node id-1 \
         with name n1 (10.0.0.9)"
            .into(),
    ));
    assert_eq!(
        log.write(node("id-2", "n1", "10.0.0.2")),
        refused,
        "its name is taken while it is well"
    );
    assert_eq!(log.write(register("n2", vec![])), TRUE);

    log.session("s", 0, Behavior::Release);
    let created = log.state.node("n1").value.map(|n| n.create_index);
    assert_eq!(log.write(node("id-1", "renamed", "10.0.0.9")), TRUE);
    assert!(log.state.node("n1").value.is_none());
    assert_eq!(
        log.state.node("renamed").value.map(|n| n.create_index),
        created
    );
    assert_eq!(
        log.state.node_by_id("ID-1").map(|n| n.spec.node.clone()),
        Some("renamed".into())
    );
    assert!(
        log.state.session("s").value.is_none(),
        "what hung on the old name is gone"
    );
}

#[test]
fn a_registration_that_fails_half_way_changes_nothing() {
    let mut log = Log::new();
    let before = log.state.nodes();
    let lost = CheckSpec {
        service_id: "ghost".into(),
        ..check("c", Status::Passing)
    };
    let (reply, changes) = log.write_with_changes(register("half", vec![lost]));
    let words = "failed inserting check on node \"half\": Missing service registration";
    assert_eq!(reply, Reply::Refused(Refusal::Other(words.into())));
    assert!(changes.is_empty());
    assert_eq!(log.state.nodes(), before);
}

// === restore ===

fn chunk(id: &str, sequence: u64, rows: &[u8]) -> Command {
    let rows = Bytes::copy_from_slice(rows);
    Command::RestoreChunk(RestoreChunk {
        id: id.into(),
        sequence,
        rows,
    })
}

fn begin(id: &str) -> Command {
    Command::RestoreBegin(RestoreBegin { id: id.into() })
}

fn swap(id: &str, chunks: u64, bytes: &[u8]) -> Command {
    let checksum = crc32fast::hash(bytes);
    Command::RestoreSwap(RestoreSwap {
        id: id.into(),
        chunks,
        checksum,
    })
}

fn backup(include: Include) -> Vec<u8> {
    let mut log = Log::new();
    log.index = 5_000;
    log.session("restored", 0, Behavior::Release);
    assert_eq!(log.write(acquire("restored", "1", "restored")), TRUE);
    log.state
        .chunks(1 << 20, include)
        .collect::<Vec<_>>()
        .concat()
}

#[test]
fn a_restore_lifts_the_index_above_both_and_keeps_the_rows_indexes() {
    let mut log = Log::new();
    assert_eq!(
        log.write(Command::ClusterInit(ClusterInit { id: "mine".into() })),
        Reply::None
    );
    log.session("s", 50_000_000, Behavior::Release);
    assert_eq!(log.write(acquire("k", "1", "s")), TRUE);
    assert_eq!(log.write(destroy("s")), TRUE);
    let saved = backup(Include::LiveOnly);
    assert_eq!(log.write(begin("r")), Reply::None);
    assert_eq!(log.write(chunk("r", 0, &saved)), Reply::None);
    assert!(log.state.kv_get("restored").value.is_none());
    let (reply, changes) = log.write_with_changes(swap("r", 1, &saved));
    assert_eq!((reply, changes.everything), (Reply::None, true));

    assert_eq!(
        log.state.index(),
        5_003,
        "the backup's 5,002 is the larger one"
    );
    assert_eq!(log.state.offset(), 5_003 - log.index);
    assert_eq!(log.row("restored").modify_index, 5_002);
    assert_eq!(log.state.kv_get("k").index, 5_003);
    assert_eq!(log.state.cluster_id(), Some("mine"));
    assert_eq!(log.write(put("later", "1")), TRUE);
    assert_eq!(log.row("later").modify_index, 5_004);

    // The lock-delay of this cluster goes on; locks and sessions of the backup work.
    assert_eq!(log.write(acquire("k", "2", "restored")), FALSE);
    log.now += 50;
    assert_eq!(log.write(acquire("k", "2", "restored")), TRUE);
    assert_eq!(log.write(destroy("restored")), TRUE);
    assert_eq!(log.row("restored").session(), None);
}

#[test]
fn a_damaged_or_foreign_restore_changes_nothing() {
    let saved = backup(Include::LiveOnly);
    let (head, tail) = saved.split_at(saved.len() / 2);
    let mut flipped = tail.to_vec();
    flipped[tail.len() / 2] ^= 0x40;
    let server = backup(Include::Everything);
    let begun = |more: Vec<Command>| [vec![begin("r"), chunk("r", 0, head)], more].concat();
    let cases: Vec<(&str, Vec<Command>, &str)> = vec![
        ("no beginning", vec![chunk("r", 0, head)], "not under way"),
        (
            "a gap",
            begun(vec![chunk("r", 2, tail)]),
            "chunk 2 came where chunk 1 was expected",
        ),
        (
            "twice the same",
            begun(vec![chunk("r", 0, head)]),
            "chunk 0 came where chunk 1",
        ),
        (
            "half of it",
            begun(vec![swap("r", 1, head)]),
            "ends too early",
        ),
        (
            "another count",
            begun(vec![chunk("r", 1, tail), swap("r", 3, &saved)]),
            "2 chunks arrived of 3",
        ),
        (
            "another checksum",
            begun(vec![chunk("r", 1, tail), swap("r", 2, head)]),
            "checksum",
        ),
        (
            "another restore",
            begun(vec![swap("q", 1, head)]),
            "not the one under way",
        ),
        (
            "nonsense",
            vec![begin("r"), chunk("r", 0, b"GARBAGE")],
            "row number",
        ),
        (
            "a server's snapshot",
            vec![begin("r"), chunk("r", 0, &server)],
            "not a backup",
        ),
        (
            "an ended one",
            begun(vec![
                Command::RestoreAbort(RestoreAbort { id: "r".into() }),
                swap("r", 1, head),
            ]),
            "not under way",
        ),
    ];
    for (name, commands, words) in cases {
        let mut log = Log::new();
        assert_eq!(log.write(put("live", "1")), TRUE);
        let before = (
            log.state.kv_list(""),
            log.state.sessions(),
            log.state.nodes(),
        );
        let last = commands.into_iter().map(|c| log.write(c)).last();
        match last {
            Some(Reply::Refused(Refusal::Restore(why))) => {
                assert!(why.contains(words), "{name}: {why}")
            }
            other => panic!("{name}: {other:?}"),
        }
        let after = (
            log.state.kv_list(""),
            log.state.sessions(),
            log.state.nodes(),
        );
        assert_eq!(before, after, "{name}");
        assert_eq!(log.state.offset(), 0, "{name}");
    }
    // A flipped bit is either seen by the loader or by the checksum.
    let mut log = Log::new();
    let joined = [head, &flipped].concat();
    assert_ne!(crc32fast::hash(&joined), crc32fast::hash(&saved));
    for command in begun(vec![chunk("r", 1, &flipped)]) {
        log.write(command);
    }
    assert!(matches!(
        log.write(swap("r", 2, &saved)),
        Reply::Refused(Refusal::Restore(_))
    ));
}

#[test]
fn a_cluster_is_named_once() {
    let mut log = Log::new();
    let init = |id: &str| Command::ClusterInit(ClusterInit { id: id.into() });
    assert_eq!(log.state.cluster_id(), None);
    assert_eq!(log.write(init("a")), Reply::None);
    assert_eq!(log.write(init("a")), Reply::None);
    assert!(matches!(log.write(init("b")), Reply::Refused(_)));
    assert_eq!(log.state.cluster_id(), Some("a"));
}

#[test]
fn a_blank_entry_moves_the_index_and_nothing_else() {
    let mut log = Log::new();
    let before = (log.state.kv_list(""), log.state.nodes());
    log.state.advance(77);
    assert_eq!(log.state.index(), 77);
    assert_eq!((log.state.kv_list(""), log.state.nodes()), before);
}
