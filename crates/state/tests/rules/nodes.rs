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
