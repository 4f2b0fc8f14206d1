//! Nodes, services and checks.

use crate::*;

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
    let before = log.state.catalog_nodes();
    let lost = CheckSpec {
        service_id: "ghost".into(),
        ..check("c", Status::Passing)
    };
    let (reply, changes) = log.write_with_changes(register("half", vec![lost]));
    let words = "failed inserting check on node \"half\": Missing service registration";
    assert_eq!(reply, Reply::Refused(Refusal::Other(words.into())));
    assert!(changes.is_empty());
    assert_eq!(log.state.catalog_nodes(), before);
}

fn known(id: &str, name: &str) -> Command {
    let node = NodeSpec {
        id: id.into(),
        node: name.into(),
        ..NodeSpec::default()
    };
    Command::Register(Register {
        node,
        ..Register::default()
    })
}

#[test]
fn a_node_that_takes_a_name_back_answers_about_its_checks_at_the_index_of_the_rename() {
    let mut log = Log::new();
    assert_eq!(log.write(known("id-1", "old")), TRUE);
    assert_eq!(log.write(register("new", vec![])), TRUE);
    let off = Deregister {
        node: "new".into(),
        ..Deregister::default()
    };
    assert_eq!(log.write(Command::Deregister(off)), TRUE);
    let gone = log.state.health_node("new").index;
    assert_eq!(log.write(known("id-1", "new")), TRUE);
    let created = log.state.node("new").value.map(|n| n.create_index);
    assert!(created < Some(gone), "a rename keeps the CreateIndex");
    assert_eq!(log.state.health_node("new").index, log.state.index());
}

#[test]
fn who_waits_for_a_node_by_its_id_wakes_when_another_node_takes_its_name() {
    let mut log = Log::new();
    assert_eq!(log.write(known("id-1", "a")), TRUE);
    assert_eq!(log.write(known("id-2", "b")), TRUE);
    let (reply, changes) = log.write_with_changes(known("id-1", "b"));
    assert_eq!(reply, TRUE, "no health check says that b is alive");
    assert!(log.state.catalog_node("id-2").value.is_none());
    for asked in ["a", "b", "id-1", "id-2"] {
        assert!(changes.touches(&Topic::node(asked)), "{asked}");
        let index = log.state.catalog_node(asked).index;
        assert_eq!(index, log.state.index(), "{asked}");
    }
}

#[test]
fn a_snapshot_keeps_the_check_index_of_a_node_whose_name_an_older_one_did_not_have() {
    let mut log = Log::new();
    assert_eq!(log.write(known("", "old")), TRUE);
    assert_eq!(log.write(known("id-2", "young")), TRUE);
    // The row under `old` now has the CreateIndex of the younger node.
    assert_eq!(log.write(known("id-2", "old")), TRUE);
    let answer = log.state.health_node("old");
    let mut loader = Loader::new();
    for chunk in log.state.chunks(100, Include::Everything) {
        loader.push(&chunk).expect("own snapshot must load");
    }
    let loaded = loader.finish().expect("own snapshot must be whole");
    assert_eq!(loaded.health_node("old"), answer);
    assert_eq!(loaded.digest(), log.state.digest());
}
