//! Tables for the bootstrap's decision.

use super::*;

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn server(n: u128) -> About {
    About {
        id: id(n),
        name: format!("s{n}"),
        datacenter: "dc1".into(),
        address: format!("127.0.0.{n}:8300"),
        boot: 1,
        expect: 3,
        cluster: None,
        initialised: false,
        promise: None,
        leader: None,
        peers: Vec::new(),
    }
}

fn promise(cluster: u128, ids: &[u128]) -> Promise {
    Promise {
        cluster: id(cluster),
        ids: ids.iter().map(|n| id(*n)).collect(),
        proposer: id(ids[0]),
    }
}

#[test]
fn the_lowest_id_proposes_when_all_expected_servers_are_in_sight() {
    assert_eq!(
        decide(&server(1), &[server(2), server(3)], false),
        Step::Propose(vec![id(1), id(2), id(3)])
    );
    assert!(matches!(
        decide(&server(2), &[server(1), server(3)], false),
        Step::Wait(_)
    ));
    assert!(matches!(
        decide(&server(1), &[server(2)], false),
        Step::Wait(_)
    ));
}

#[test]
fn a_single_server_forms_its_own_cluster() {
    let me = About {
        expect: 1,
        ..server(1)
    };
    assert_eq!(decide(&me, &[], false), Step::Propose(vec![id(1)]));
}

#[test]
fn an_empty_server_that_sees_data_joins_and_never_initialises() {
    let old = About {
        cluster: Some(id(99)),
        initialised: true,
        leader: Some(id(3)),
        ..server(3)
    };
    assert_eq!(
        decide(&server(1), &[server(2), old.clone()], false),
        Step::Join(id(99))
    );
    let promised = About {
        promise: Some(promise(50, &[1, 2, 3])),
        ..server(1)
    };
    assert!(matches!(
        decide(&promised, &[server(2), old], false),
        Step::Wait(_)
    ));
}

#[test]
fn fewer_than_a_quorum_with_data_and_no_leader_is_refused_with_the_rescue_named() {
    let old = About {
        cluster: Some(id(99)),
        initialised: true,
        ..server(3)
    };
    let Step::Wait(reason) = decide(&server(1), &[server(2), old], false) else {
        panic!("must wait")
    };
    assert!(
        reason.contains("fewer than a quorum") && reason.contains("snapshot restore"),
        "{reason}"
    );
}

#[test]
fn a_promise_is_given_once() {
    let asked = promise(50, &[1, 2, 3]);
    assert_eq!(may_promise(&server(2), &asked), Ok(()));
    let promised = About {
        promise: Some(asked.clone()),
        ..server(2)
    };
    assert_eq!(
        may_promise(&promised, &asked),
        Ok(()),
        "asking again must be harmless"
    );
    assert!(may_promise(&promised, &promise(51, &[1, 2, 3])).is_err());
    assert!(may_promise(&promised, &promise(50, &[1, 2, 4])).is_err());
    let member = About {
        cluster: Some(id(60)),
        ..server(2)
    };
    assert!(may_promise(&member, &asked).is_err());
    assert!(may_promise(&server(4), &asked).is_err());
}

#[test]
fn the_proposer_gives_up_only_when_others_could_take_the_place_of_the_missing() {
    let me = About {
        promise: Some(promise(50, &[1, 2, 3])),
        ..server(1)
    };
    assert!(matches!(decide(&me, &[server(2)], true), Step::Wait(_)));
    assert!(matches!(
        decide(&me, &[server(2), server(4)], false),
        Step::Wait(_)
    ));
    assert!(matches!(
        decide(&me, &[server(2), server(4)], true),
        Step::GiveUp(_)
    ));
    assert!(matches!(
        decide(&me, &[server(2), server(3)], true),
        Step::Collect(_)
    ));
}

#[test]
fn only_the_proposer_frees_and_only_what_it_gave_up() {
    let plan = promise(50, &[1, 2, 3]);
    let held = About {
        promise: Some(plan.clone()),
        ..server(2)
    };
    assert_eq!(
        promises_to_free(&server(1), std::slice::from_ref(&held)),
        vec![(id(2), plan.clone())]
    );
    let still = About {
        promise: Some(plan.clone()),
        ..server(1)
    };
    assert!(promises_to_free(&still, std::slice::from_ref(&held)).is_empty());
    let formed = About {
        cluster: Some(id(50)),
        ..server(1)
    };
    assert!(promises_to_free(&formed, std::slice::from_ref(&held)).is_empty());
    assert!(promises_to_free(&server(3), &[held]).is_empty());
}

#[test]
fn a_proposer_that_crashed_after_writing_the_cluster_id_goes_on() {
    let plan = promise(50, &[1, 2, 3]);
    let me = About {
        cluster: Some(id(50)),
        promise: Some(plan.clone()),
        ..server(1)
    };
    assert_eq!(decide(&me, &[], true), Step::Collect(plan));
}
