//! Coming together: joins, exchanges of state, snapshots, encryption.

use std::time::Duration;

use rollcall_gossip::{
    DropReason, Effect, ExchangeError, Keyring, Kind, MemberChange, Snapshot, Status,
};

use super::world::{World, alive, lan};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn fifty_strangers_who_join_one_all_know_each_other_within_seconds() {
    let mut world = World::strangers(1, 50, |_| {});
    world.join_all();
    let took = world.run_until("all know each other", 10 * SECOND, World::agrees);
    assert!(took < 5 * SECOND, "took {took:?}");
    world.run(60 * SECOND);
    let failed = world
        .seen
        .iter()
        .filter(|seen| seen.change == MemberChange::Failed)
        .count();
    assert_eq!(failed, 0, "nobody was slow, and nobody was called failed");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let mut world = World::strangers(7, 30, |_| {});
        world.loss = 0.1;
        world.join_all();
        world.run(30 * SECOND);
        let counters: Vec<_> = world
            .nodes
            .iter()
            .map(|node| node.pool.counters().clone())
            .collect();
        (world.seen, counters)
    };
    assert_eq!(run(), run());
}

#[test]
fn a_hundred_and_fifty_join_through_a_network_that_loses_one_packet_in_five() {
    let mut world = World::strangers(2, 150, |_| {});
    world.loss = 0.2;
    world.join_all();
    let took = world.run_until("all know each other", 120 * SECOND, World::agrees);
    assert!(took < 60 * SECOND, "took {took:?}");
}

#[test]
fn a_join_says_who_did_not_answer_and_why() {
    let mut world = World::strangers(3, 2, |_| {});
    world.kill(1);
    world.join(0, 1);
    world.run(SECOND);
    let done = world.nodes[0].said.iter().find_map(|effect| match effect {
        Effect::JoinDone {
            request,
            joined,
            failed,
        } => Some((*request, *joined, failed.clone())),
        _ => None,
    });
    let at = world.nodes[1].config.advertise;
    let refused = (at, ExchangeError::Connection);
    assert_eq!(done, Some((Some(1), 0, vec![refused])));
}

#[test]
fn a_member_that_restarts_finds_the_others_by_its_snapshot() {
    let mut world = World::strangers(4, 5, |_| {});
    world.join_all();
    world.run_until("all know each other", 10 * SECOND, World::agrees);
    let text = world.nodes[3].pool.snapshot().to_text();
    world.kill(3);
    world.run(20 * SECOND);
    assert!(world.all_see("m00003", Status::Failed));
    // Two of those it knew are gone as well.
    world.kill(1);
    world.kill(2);
    let snapshot = Snapshot::from_text(&text).unwrap();
    assert_eq!(snapshot.alive.len(), 5);
    world.restart(3, lan(3), Some(snapshot));
    world.run_until("it is back", 20 * SECOND, |world| {
        world.all_see("m00003", Status::Alive) && alive(&world.nodes[3].pool).len() == 3
    });
}

fn keyed(keys: &[u8]) -> Option<Keyring> {
    let keys: Vec<_> = keys.iter().map(|key| vec![*key; 32]).collect();
    Some(Keyring::new(&keys).unwrap())
}

#[test]
fn a_stranger_with_the_wrong_key_changes_nothing_and_is_counted() {
    let mut world = World::strangers(5, 6, |config| config.keyring = keyed(&[1]));
    world.join_all();
    world.run_until("all know each other", 10 * SECOND, World::agrees);
    let mut config = lan(6);
    config.keyring = keyed(&[2]);
    let stranger = world.add(config, None);
    let mut config = lan(7);
    config.keyring = None;
    let plain = world.add(config, None);
    world.join(stranger, 0);
    world.join(plain, 0);
    world.run(60 * SECOND);
    assert_eq!(alive(&world.nodes[0].pool).len(), 6);
    assert_eq!(alive(&world.nodes[stranger].pool).len(), 1);
    let counters = world.nodes[0].pool.counters();
    assert!(counters.dropped(DropReason::Undecryptable) > 0);
    assert!(counters.dropped(DropReason::Encryption) > 0);
    assert!(counters.received(Kind::Encrypted) > 0);
}

#[test]
fn members_with_two_keys_bridge_a_change_of_keys() {
    // The first seals, all open: half of the pool already seals with the new key.
    let mut world = World::strangers(6, 6, |config| {
        let number: usize = config.name[1..].parse().unwrap();
        config.keyring = keyed(if number < 3 { &[1, 2] } else { &[2, 1] });
    });
    world.join_all();
    world.run_until("all know each other", 10 * SECOND, World::agrees);
}

#[test]
fn a_late_joiner_learns_in_one_exchange_what_all_know() {
    let mut world = World::acquainted(8, 200, |_| {});
    world.run(5 * SECOND);
    let late = world.add(lan(200), None);
    world.join(late, 100);
    world.run(Duration::from_millis(100));
    assert_eq!(alive(&world.nodes[late].pool).len(), 201);
    let took = world.run_until("all know it", 10 * SECOND, World::agrees);
    assert!(took < 4 * SECOND, "took {took:?}");
}
