//! How sessions begin and end, and lock-delays.

use crate::*;

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
    assert!(
        log.state.catalog_nodes().value.is_empty() && log.state.health_node("n1").value.is_empty()
    );
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
