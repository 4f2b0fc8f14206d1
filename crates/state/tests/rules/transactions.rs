//! Transactions: all or nothing, in Consul's words.

use crate::*;

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
        ..Txn::default()
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
        matches!(&results[2], TxnResult::Check(c) if &*c.service_name == "s1" && c.create_index == log.index)
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
