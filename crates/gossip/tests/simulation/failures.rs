//! Deaths, slowness, partitions: what is noticed, how fast, and what is forgiven.

use std::time::Duration;

use rollcall_gossip::{Kind, MemberChange, Status};

use super::world::{World, lan};

const SECOND: Duration = Duration::from_secs(1);

fn failures(world: &World) -> usize {
    let failed = |change| change == MemberChange::Failed;
    world.seen.iter().filter(|seen| failed(seen.change)).count()
}

#[test]
fn a_member_killed_in_a_pool_of_ten_is_failed_for_all_within_ten_seconds() {
    for seed in 0..20 {
        let mut world = World::acquainted(seed, 10, |_| {});
        world.run(10 * SECOND);
        world.kill(4);
        let took = world.run_until("all see it failed", 10 * SECOND, |world| {
            world.all_see("m00004", Status::Failed)
        });
        assert!(
            took > 4 * SECOND,
            "seed {seed}: {took:?} is less than a suspect's time"
        );
    }
}

#[test]
fn a_member_that_pauses_shortly_is_suspected_and_refutes() {
    let mut world = World::acquainted(1, 30, |_| {});
    world.run(5 * SECOND);
    world.pause(7, 3 * SECOND);
    world.run(60 * SECOND);
    assert_eq!(failures(&world), 0, "three seconds are forgiven");
    let counters = world.nodes[7].pool.counters();
    assert!(counters.refutations > 0, "it had to object");
    assert!(world.agrees());
}

#[test]
fn a_member_that_comes_back_after_it_was_called_failed_is_alive_again() {
    let mut world = World::acquainted(2, 30, |_| {});
    world.run(5 * SECOND);
    world.pause(7, 40 * SECOND);
    world.run_until("all see it failed", 30 * SECOND, |world| {
        let others = world
            .nodes
            .iter()
            .filter(|node| &**node.pool.name() != "m00007");
        others.into_iter().all(|node| {
            node.pool.member("m00007").map(|member| member.status) == Some(Status::Failed)
        })
    });
    world.run_until("it is back", 60 * SECOND, World::agrees);
}

#[test]
fn loss_of_one_packet_in_ten_kills_nobody() {
    let mut world = World::acquainted(3, 60, |_| {});
    world.loss = 0.1;
    world.run(180 * SECOND);
    assert_eq!(failures(&world), 0);
    let asked: u64 = world
        .nodes
        .iter()
        .map(|node| node.pool.counters().sent(Kind::IndirectPing))
        .sum();
    assert!(asked > 0, "others were asked");
}

#[test]
fn a_network_without_udp_is_saved_by_tcp() {
    let mut world = World::acquainted(4, 5, |_| {});
    world.loss = 1.0;
    world.run(60 * SECOND);
    assert_eq!(failures(&world), 0);
    let by_stream: u64 = world
        .nodes
        .iter()
        .map(|node| node.pool.counters().probes_by_stream)
        .sum();
    assert!(
        by_stream > 50,
        "only {by_stream} probes were answered by TCP"
    );
}

#[test]
fn a_partition_splits_the_pool_and_its_end_mends_it() {
    let mut world = World::acquainted(5, 40, |_| {});
    world.run(5 * SECOND);
    world.groups = (0..20).map(|node| (node, 1)).collect();
    world.run_until("each half sees the other failed", 90 * SECOND, |world| {
        world.nodes.iter().enumerate().all(|(at, node)| {
            node.pool.members().all(|member| {
                let other: usize = member.name[1..].parse().unwrap();
                let together = (at < 20) == (other < 20);
                (member.status == Status::Alive) == together
            })
        })
    });
    // Long enough that both halves have dropped the other from probing; only reconnects find it again.
    world.run(120 * SECOND);
    world.groups.clear();
    let took = world.run_until("the pool is one again", 120 * SECOND, World::agrees);
    assert!(took < 60 * SECOND, "took {took:?}");
}

#[test]
fn half_of_a_pool_killed_at_once_is_noticed_by_the_other_half() {
    let mut world = World::acquainted(6, 100, |_| {});
    world.run(5 * SECOND);
    for node in 0..50 {
        world.kill(node);
    }
    world.run_until("all see them failed", 120 * SECOND, World::agrees);
}

#[test]
fn a_member_restarted_before_it_was_missed_is_no_failure() {
    let mut world = World::strangers(7, 10, |_| {});
    world.join_all();
    world.run_until("all know each other", 10 * SECOND, World::agrees);
    world.run(20 * SECOND);
    let snapshot = world.nodes[5].pool.snapshot();
    world.kill(5);
    world.run(SECOND);
    world.restart(5, lan(5), Some(snapshot));
    world.run(60 * SECOND);
    assert_eq!(failures(&world), 0);
    assert!(world.agrees());
}

#[test]
#[ignore = "minutes and gigabytes: the whole form"]
fn ten_thousand_members_notice_deaths_and_a_newcomer() {
    let mut world = World::acquainted(8, 10_000, |_| {});
    world.keep_seen = false;
    world.run(5 * SECOND);
    for node in 100..110 {
        world.kill(node);
    }
    let late = world.add(lan(10_000), None);
    world.join(late, 0);
    let joined = world.run_until("all know the newcomer", 60 * SECOND, |world| {
        world.all_see("m10000", Status::Alive)
    });
    println!("10,000 members: a newcomer known to all after {joined:?}");
    let failed = world.run_until("all see the dead", 300 * SECOND, |world| {
        (100..110).all(|node| world.all_see(&format!("m{node:05}"), Status::Failed))
    });
    println!(
        "10,000 members: ten dead failed for all {:?} after their death",
        joined + failed
    );
}
