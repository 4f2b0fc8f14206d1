//! One name at two addresses: the contract that differs from memberlist's.

use std::time::Duration;

use rollcall_gossip::{Config, Effect, MemberChange, Status};

use super::world::{World, address, lan};

const SECOND: Duration = Duration::from_secs(1);

fn with_id(config: &mut Config, id: &str) {
    config.tags.insert("id".to_owned(), id.to_owned());
}

/// Ten members with ids that know each other.
fn ten(seed: u64) -> World {
    let mut world = World::strangers(seed, 10, |config| {
        let id = format!("id-of-{}", config.name);
        with_id(config, &id);
    });
    world.join_all();
    world.run_until("all know each other", 10 * SECOND, World::agrees);
    world.run(5 * SECOND);
    world
}

fn moved(node: usize, to: usize) -> Config {
    let mut config = lan(node);
    config.advertise = address(to);
    let id = format!("id-of-{}", config.name);
    with_id(&mut config, &id);
    config
}

fn all_find_it_at(world: &World, name: &str, at: usize) -> bool {
    world.up().all(|node| {
        let member = node.pool.member(name);
        member.is_some_and(|member| member.address == address(at) && member.status == Status::Alive)
    })
}

#[test]
fn a_known_id_at_a_new_address_is_taken_over_at_once() {
    let mut world = ten(1);
    let snapshot = world.nodes[4].pool.snapshot();
    world.kill(4);
    // Nobody has missed it yet; its incarnation starts again at 1.
    world.restart(4, moved(4, 104), Some(snapshot));
    let took = world.run_until("all find it", 10 * SECOND, |world| {
        all_find_it_at(world, "m00004", 104)
    });
    assert!(took < 3 * SECOND, "took {took:?}");
    let failed = world
        .seen
        .iter()
        .any(|seen| seen.change == MemberChange::Failed);
    assert!(!failed, "moving is no failure");
}

#[test]
fn all_addresses_changed_at_once_but_one_member_is_enough_to_meet_again() {
    let mut world = ten(2);
    let snapshots: Vec<_> = world
        .nodes
        .iter()
        .map(|node| node.pool.snapshot())
        .collect();
    for node in 1..10 {
        world.kill(node);
    }
    world.run(2 * SECOND);
    for (node, snapshot) in snapshots.into_iter().enumerate().skip(1) {
        world.restart(node, moved(node, 100 + node), Some(snapshot));
    }
    let took = world.run_until("all find all", 30 * SECOND, |world| {
        (1..10).all(|node| all_find_it_at(world, &format!("m{node:05}"), 100 + node))
    });
    assert!(took < 10 * SECOND, "took {took:?}");
}

#[test]
fn another_id_with_a_name_whose_owner_answers_is_refused_and_shown() {
    let mut world = ten(3);
    let mut config = lan(4);
    config.advertise = address(200);
    with_id(&mut config, "somebody else");
    let second = world.add(config, None);
    world.join(second, 0);
    world.run(30 * SECOND);
    // The first stays for all the others, and nobody stops.
    for node in &world.nodes[..10] {
        assert_eq!(node.pool.member("m00004").unwrap().address, address(4));
    }
    let conflicts = world.nodes[..10]
        .iter()
        .map(|node| node.pool.counters().name_conflicts);
    assert!(conflicts.sum::<u64>() > 0);
    let shown = world
        .nodes
        .iter()
        .flat_map(|node| &node.said)
        .any(|effect| {
            matches!(effect, Effect::NameConflict { name, holder, claimant }
            if &**name == "m00004" && *holder == address(4) && *claimant == address(200))
        });
    assert!(shown);
    let failed = world
        .seen
        .iter()
        .any(|seen| seen.change == MemberChange::Failed);
    assert!(!failed, "a conflict is no failure");
}

#[test]
fn another_id_takes_a_name_over_whose_owner_is_silent() {
    let mut world = ten(4);
    world.kill(4);
    let mut config = lan(4);
    config.advertise = address(200);
    with_id(&mut config, "its successor");
    let second = world.add(config, None);
    world.join(second, 0);
    let took = world.run_until("the successor is found", 20 * SECOND, |world| {
        all_find_it_at(world, "m00004", 200)
    });
    assert!(took < 5 * SECOND, "took {took:?}");
}

#[test]
fn the_same_id_twice_tells_the_newcomer_to_stop() {
    let mut world = ten(5);
    let twin = world.add(moved(4, 200), None);
    world.join(twin, 0);
    world.run_until("the newcomer is told", 5 * SECOND, |world| {
        world.nodes[twin].said.iter().any(|effect| {
            matches!(effect, Effect::IdentityTwice { address: at, newcomer: true } if *at == address(4))
        })
    });
    world.kill(twin);
    let wrongly = world.nodes[..10]
        .iter()
        .flat_map(|node| &node.said)
        .any(|effect| matches!(effect, Effect::IdentityTwice { newcomer: true, .. }));
    assert!(!wrongly, "only the newcomer is to stop");
    world.run_until("the first one has its name again", 30 * SECOND, |world| {
        all_find_it_at(world, "m00004", 4)
    });
}

#[test]
fn a_member_without_an_id_keeps_its_name_while_it_answers_and_loses_it_when_it_does_not() {
    let mut world = World::strangers(6, 6, |_| {});
    world.join_all();
    world.run_until("all know each other", 10 * SECOND, World::agrees);
    let mut config = lan(4);
    config.advertise = address(200);
    let second = world.add(config, None);
    world.join(second, 0);
    world.run(10 * SECOND);
    assert_eq!(
        world.nodes[0].pool.member("m00004").unwrap().address,
        address(4)
    );
    world.kill(4);
    world.run_until("the second has it", 60 * SECOND, |world| {
        all_find_it_at(world, "m00004", 200)
    });
}
