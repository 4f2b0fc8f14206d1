//! Whose a row is: automatic writers are bound, explicit calls are not.

use crate::*;

const AGENT: &str = "agent:id-1";
const OTHER_AGENT: &str = "agent:id-2";

/// A node `m` with the id `id-1`, and what an owner wrote on it.
fn log_with(owner: &str) -> Log {
    let mut log = Log::new();
    assert_eq!(log.write(by(owner, 1)), TRUE);
    log
}

/// A registration of a node, a service and a check; `port` tells one from another.
fn by(owner: &str, port: u16) -> Command {
    Command::Register(Register {
        node: NodeSpec {
            id: "id-1".into(),
            node: "m".into(),
            ..NodeSpec::default()
        },
        service: Some(ServiceSpec {
            id: "s".into(),
            service: "s".into(),
            port,
            ..ServiceSpec::default()
        }),
        checks: vec![CheckSpec {
            node: "m".into(),
            service_id: "s".into(),
            output: port.to_string().into(),
            ..check("c", Status::Passing)
        }],
        owner: owner.into(),
        ..Register::default()
    })
}

fn off(owner: &str, service_id: &str, check_id: &str) -> Command {
    Command::Deregister(Deregister {
        node: "m".into(),
        service_id: service_id.into(),
        check_id: check_id.into(),
        owner: owner.into(),
    })
}

fn owners(log: &Log) -> [Option<String>; 2] {
    let service = log.state.service("m", "s").value;
    let check = log.state.check("m", "c").value;
    [
        service.map(|row| row.owner.to_string()),
        check.map(|row| row.owner.to_string()),
    ]
}

#[test]
fn an_automatic_writer_writes_its_own_rows_and_takes_those_of_clients() {
    // Owner of the row, writer, owner after a write; `None`: refused.
    let table = [
        ("api", "api", Some("api")),
        ("", "api", Some("api")),
        ("api", "", Some("api")),
        ("api", AGENT, Some(AGENT)),
        ("api", "operator:k", Some("operator:k")),
        (AGENT, AGENT, Some(AGENT)),
        // An explicit call does what it says, and the row stays the agent's, which puts it right.
        (AGENT, "api", Some(AGENT)),
        ("operator:k", "", Some("operator:k")),
        // What an agent left behind that had another node id is the node's agent's now.
        (OTHER_AGENT, AGENT, Some(AGENT)),
        (AGENT, OTHER_AGENT, None),
        (AGENT, "operator:k", None),
        (AGENT, "gossip", None),
        ("operator:k", AGENT, None),
        ("operator:k", "operator:l", None),
        ("gossip", AGENT, None),
        ("sidecar:p", AGENT, None),
    ];
    for (owner, writer, after) in table {
        let mut log = log_with(owner);
        let before = log.state.catalog_instances();
        let (reply, changes) = log.write_with_changes(by(writer, 2));
        let what = format!("{writer:?} writes what is {owner:?}'s: {reply:?}");
        match after {
            Some(after) => {
                assert_eq!(reply, TRUE, "{what}");
                assert_eq!(owners(&log), [Some(after.into()), Some(after.into())]);
                assert_eq!(
                    log.state.service("m", "s").value.map(|s| s.spec.port),
                    Some(2)
                );
            }
            None => {
                assert!(matches!(reply, Reply::Refused(_)), "{what}");
                assert!(changes.is_empty(), "{what}");
                assert_eq!(log.state.catalog_instances(), before, "{what}");
                assert_eq!(owners(&log), [Some(owner.into()), Some(owner.into())]);
            }
        }
    }
}

#[test]
fn an_automatic_writer_removes_its_own_rows_only_and_an_explicit_call_every_row() {
    let table = [
        ("api", "api", true),
        ("api", AGENT, false),
        (AGENT, "", true),
        (AGENT, "api", true),
        (AGENT, AGENT, true),
        (OTHER_AGENT, AGENT, true),
        (AGENT, OTHER_AGENT, false),
        (AGENT, "gossip", false),
        ("gossip", AGENT, false),
        ("operator:k", AGENT, false),
        ("operator:k", "operator:k", true),
    ];
    for (owner, writer, gone) in table {
        for (service, check) in [("s", ""), ("", "c")] {
            let mut log = log_with(owner);
            let (reply, changes) = log.write_with_changes(off(writer, service, check));
            let what = format!("{writer:?} removes what is {owner:?}'s");
            assert_eq!(reply, Reply::Bool(gone), "{what}");
            assert_eq!(changes.is_empty(), !gone, "{what}");
            assert_eq!(
                log.state.check("m", "c").value.is_none(),
                gone,
                "{what}: a service's checks go with it"
            );
        }
    }
    let mut log = Log::new();
    assert_eq!(log.write(off(AGENT, "never", "")), TRUE, "it is not there");
}

#[test]
fn a_node_goes_by_its_owner_its_agent_and_gossip_but_never_by_a_stranger() {
    let table = [
        ("api", "api", true),
        ("api", "gossip", false),
        ("api", AGENT, true),
        ("gossip", AGENT, true),
        ("gossip", OTHER_AGENT, false),
        ("gossip", "gossip", true),
        (AGENT, "gossip", true),
        ("operator:k", "gossip", false),
        ("operator:k", "api", true),
    ];
    for (owner, writer, gone) in table {
        let mut log = log_with(owner);
        let reply = log.write(off(writer, "", ""));
        assert_eq!(reply, Reply::Bool(gone), "{writer} removes {owner}'s node");
        assert_eq!(log.state.node("m").value.is_none(), gone);
    }
}

#[test]
fn the_same_content_again_is_no_change_but_for_an_agent_that_takes_it_over() {
    let mut log = log_with("api");
    let (_, changes) = log.write_with_changes(by("api", 1));
    assert!(changes.is_empty());
    let (_, changes) = log.write_with_changes(by(AGENT, 1));
    assert!(changes.touches(&Topic::service("s")));
    assert!(
        !changes.touches(&Topic::Nodes),
        "who wrote the same node is no news"
    );
    for writer in [AGENT, "api", ""] {
        let (_, changes) = log.write_with_changes(by(writer, 1));
        assert!(changes.is_empty(), "{writer}");
    }
    assert_eq!(owners(&log), [Some(AGENT.into()), Some(AGENT.into())]);
}

#[test]
fn a_transaction_is_bound_as_a_registration_is() {
    let delete = |owner: &str| {
        let op = TxnOp::Service(TxnServiceOp {
            verb: CatalogVerb::Delete,
            node: "m".into(),
            service: ServiceSpec {
                id: "s".into(),
                ..ServiceSpec::default()
            },
            index: 0,
        });
        Command::Txn(Txn {
            ops: vec![op],
            owner: owner.into(),
        })
    };
    let set = |owner: &str| {
        let op = TxnOp::Service(TxnServiceOp {
            verb: CatalogVerb::Set,
            node: "m".into(),
            service: ServiceSpec {
                id: "s".into(),
                service: "s".into(),
                ..ServiceSpec::default()
            },
            index: 0,
        });
        Command::Txn(Txn {
            ops: vec![op],
            owner: owner.into(),
        })
    };
    let mut log = log_with("operator:k");
    let Reply::Txn(Err(errors)) = log.write(set(AGENT)) else {
        panic!("an agent must not write the operator's row");
    };
    let words = "service \"s\" on node \"m\" belongs to operator:k; agent:id-1 may not write it";
    assert_eq!(errors[0].what, words);
    assert_eq!(log.write(delete(AGENT)), Reply::Txn(Ok(vec![])));
    assert!(log.state.service("m", "s").value.is_some());
    assert!(matches!(log.write(set("")), Reply::Txn(Ok(_))));
    assert_eq!(owners(&log)[0].as_deref(), Some("operator:k"));
    assert_eq!(log.write(delete("")), Reply::Txn(Ok(vec![])));
    assert!(log.state.service("m", "s").value.is_none());
}
