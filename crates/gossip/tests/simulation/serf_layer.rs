//! What Serf adds: leaves and failures told apart, events once, queries answered, the gone forgotten in time.

use std::time::Duration;

use bytes::Bytes;
use rollcall_gossip::{
    Command, CommandError, Effect, Filter, Kind, MemberChange, QueryParams, Status, Tags,
};

use super::world::{World, alive, lan};

const SECOND: Duration = Duration::from_secs(1);

fn event(name: &str, coalesce: bool) -> Command {
    Command::UserEvent {
        name: name.to_owned(),
        payload: Bytes::from_static(b"payload"),
        coalesce,
    }
}

fn events(world: &World, node: usize) -> Vec<String> {
    let events = world.nodes[node]
        .said
        .iter()
        .filter_map(|effect| match effect {
            Effect::UserEvent(event) => Some(event.name.clone()),
            _ => None,
        });
    events.collect()
}

#[test]
fn a_leave_is_a_leave_and_not_a_failure() {
    let mut world = World::acquainted(1, 20, |_| {});
    world.run(5 * SECOND);
    world.command(3, Command::Leave);
    let took = world.run_until("it has left", 15 * SECOND, |world| {
        world.nodes[3].said.contains(&Effect::Left)
    });
    assert!(took < 5 * SECOND, "took {took:?}");
    world.kill(3);
    world.run(30 * SECOND);
    assert!(world.all_see("m00003", Status::Left));
    let failed = world
        .seen
        .iter()
        .any(|seen| seen.change == MemberChange::Failed);
    assert!(!failed);
    assert!(
        world.nodes[3].pool.snapshot().alive.is_empty(),
        "who left does not come back by itself"
    );
}

#[test]
fn a_member_alone_leaves_at_once() {
    let mut world = World::strangers(2, 1, |_| {});
    world.run(SECOND);
    world.command(0, Command::Leave);
    world.run(Duration::from_millis(1));
    assert!(world.nodes[0].said.contains(&Effect::Left));
    world.command(0, event("late", false));
    let refused = Effect::Refused {
        request: 1,
        error: CommandError::Leaving,
    };
    assert!(world.nodes[0].said.contains(&refused));
}

#[test]
fn a_failed_member_can_be_made_to_leave_and_be_pruned() {
    let mut world = World::acquainted(3, 10, |_| {});
    world.run(5 * SECOND);
    world.kill(3);
    world.kill(4);
    world.run_until("both failed", 30 * SECOND, |world| {
        world.all_see("m00003", Status::Failed) && world.all_see("m00004", Status::Failed)
    });
    let force = |name: &str, prune| Command::ForceLeave {
        name: name.to_owned(),
        prune,
    };
    world.command(0, force("m00003", false));
    world.command(0, force("m00004", true));
    world.command(0, force("nobody", true));
    world.run_until("all have done so", 10 * SECOND, |world| {
        let pruned = world.up().all(|node| node.pool.member("m00004").is_none());
        world.all_see("m00003", Status::Left) && pruned
    });
    let unknown = Effect::Refused {
        request: 1,
        error: CommandError::UnknownMember {
            name: "nobody".to_owned(),
        },
    };
    assert!(world.nodes[0].said.contains(&unknown));
}

#[test]
fn a_member_that_is_alive_objects_to_being_made_to_leave() {
    let mut world = World::acquainted(4, 10, |_| {});
    world.run(5 * SECOND);
    let name = "m00003".to_owned();
    world.command(0, Command::ForceLeave { name, prune: false });
    world.run(5 * SECOND);
    assert!(world.agrees());
}

#[test]
fn an_event_reaches_everybody_once_also_through_loss_and_repetition() {
    let mut world = World::acquainted(5, 60, |_| {});
    world.loss = 0.1;
    world.run(5 * SECOND);
    world.command(7, event("deploy", false));
    world.run_until("everybody has it", 20 * SECOND, |world| {
        (0..60).all(|node| !events(world, node).is_empty())
    });
    world.run(60 * SECOND);
    for node in 0..60 {
        assert_eq!(events(&world, node), ["deploy"], "member {node}");
    }
}

#[test]
fn a_late_joiner_gets_recent_events_unless_it_does_not_want_them() {
    let mut world = World::acquainted(6, 5, |_| {});
    world.run(SECOND);
    world.command(0, event("old", false));
    world.run(5 * SECOND);
    let wants = world.add(lan(5), None);
    let ignores = world.add(lan(6), None);
    for (node, ignore_old_events) in [(wants, false), (ignores, true)] {
        let addresses = vec![world.nodes[0].config.advertise];
        world.command(
            node,
            Command::Join {
                addresses,
                ignore_old_events,
            },
        );
    }
    world.run(5 * SECOND);
    world.command(1, event("new", false));
    world.run(10 * SECOND);
    assert_eq!(events(&world, wants), ["old", "new"]);
    assert_eq!(events(&world, ignores), ["new"]);
}

#[test]
fn a_member_that_restarts_does_not_report_an_event_again() {
    let mut world = World::strangers(7, 4, |_| {});
    world.join_all();
    world.run(5 * SECOND);
    world.command(0, event("once", false));
    world.run(5 * SECOND);
    let snapshot = world.nodes[3].pool.snapshot();
    assert!(!events(&world, 3).is_empty());
    world.kill(3);
    world.restart(3, lan(3), Some(snapshot));
    world.run(60 * SECOND);
    assert!(world.agrees());
    assert!(events(&world, 3).is_empty());
}

#[test]
fn events_that_allow_it_become_the_last_of_their_name() {
    let mut world = World::acquainted(8, 3, |config| {
        config.serf.user_coalesce_period = 3 * SECOND;
        config.serf.user_quiescent_period = SECOND;
    });
    world.run(SECOND);
    for _ in 0..5 {
        world.command(0, event("build", true));
        world.command(0, event("page", false));
    }
    world.run(10 * SECOND);
    for node in 0..3 {
        let of = |wanted: &str| {
            events(&world, node)
                .iter()
                .filter(|name| *name == wanted)
                .count()
        };
        assert_eq!(of("build"), 1, "member {node}");
        assert_eq!(of("page"), 5, "member {node}");
    }
}

#[test]
fn an_event_that_is_too_large_is_refused_with_its_size() {
    let mut world = World::strangers(9, 1, |_| {});
    let payload = Bytes::from(vec![0; 600]);
    let name = "large".to_owned();
    world.command(
        0,
        Command::UserEvent {
            name,
            payload,
            coalesce: false,
        },
    );
    let refused = world.nodes[0].said.iter().any(|effect| {
        matches!(effect, Effect::Refused { error: CommandError::TooLarge { bytes, max: 512, .. }, .. } if *bytes > 600)
    });
    assert!(refused);
}

/// Everybody answers every query with its name; gives how often.
fn answer_all(world: &mut World) -> usize {
    let mut answers = 0;
    for node in 0..world.nodes.len() {
        for effect in std::mem::take(&mut world.nodes[node].said) {
            if let Effect::Query(asked) = effect {
                let payload = Bytes::from(world.nodes[node].config.name.clone());
                let query = asked.handle;
                world.command(node, Command::Respond { query, payload });
                answers += 1;
            } else {
                world.nodes[node].said.push(effect);
            }
        }
    }
    answers
}

#[test]
fn a_query_is_acknowledged_and_answered_by_those_who_are_meant() {
    let mut world = World::acquainted(10, 30, |config| {
        let role = if config.name.ends_with('7') {
            "consul"
        } else {
            "node"
        };
        config.tags.insert("role".to_owned(), role.to_owned());
    });
    world.run(5 * SECOND);
    let tag = Filter::Tag {
        tag: "role".to_owned(),
        expression: "^con".to_owned(),
    };
    let params = QueryParams {
        name: "load".to_owned(),
        filters: vec![tag],
        wants_ack: true,
        relay_factor: 2,
        timeout: 5 * SECOND,
        ..QueryParams::default()
    };
    world.command(0, Command::Query(params));
    let mut answers = 0;
    for _ in 0..40 {
        world.run(Duration::from_millis(100));
        answers += answer_all(&mut world);
    }
    world.run(2 * SECOND);
    assert_eq!(answers, 3);
    let said = &world.nodes[0].said;
    let acks = said
        .iter()
        .filter(|effect| matches!(effect, Effect::QueryAck { .. }))
        .count();
    let responses: Vec<_> = said
        .iter()
        .filter_map(|effect| match effect {
            Effect::QueryResponse { from, payload, .. } => {
                Some((from.to_string(), payload.clone()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(acks, 3, "relayed copies are not counted again");
    assert_eq!(responses.len(), 3);
    for (from, payload) in responses {
        assert_eq!(payload, from.as_bytes());
    }
    assert_eq!(said.last(), Some(&Effect::QueryDone { request: 1 }));
    let relayed: u64 = world
        .nodes
        .iter()
        .map(|node| node.pool.counters().sent(Kind::Relay))
        .sum();
    assert_eq!(relayed, 3 * 2 * 2, "each ack and each answer by two others");
}

#[test]
fn new_tags_are_seen_by_all() {
    let mut world = World::acquainted(11, 20, |_| {});
    world.run(SECOND);
    let tags = Tags::from([("vsn".to_owned(), "3".to_owned())]);
    world.command(2, Command::SetTags(tags.clone()));
    world.run_until("all see them", 10 * SECOND, |world| {
        world
            .up()
            .all(|node| node.pool.member("m00002").unwrap().tags() == tags)
    });
    world.run(60 * SECOND);
    let refuted: u64 = world
        .nodes
        .iter()
        .map(|node| node.pool.counters().refutations)
        .sum();
    assert_eq!(refuted, 0, "its own words are not held against it");
}

#[test]
fn the_failed_and_the_left_are_forgotten_in_time() {
    let mut world = World::acquainted(12, 6, |config| {
        config.serf.reconnect_timeout = 60 * SECOND;
        config.serf.tombstone_timeout = 120 * SECOND;
    });
    world.run(5 * SECOND);
    world.kill(1);
    world.command(2, Command::Leave);
    world.run(10 * SECOND);
    world.kill(2);
    world.run(30 * SECOND);
    assert!(world.all_see("m00001", Status::Failed));
    assert!(world.all_see("m00002", Status::Left));
    world.run(60 * SECOND);
    assert!(world.up().all(|node| node.pool.member("m00001").is_none()));
    assert!(
        world.all_see("m00002", Status::Left),
        "tombstones last longer here"
    );
    world.run(60 * SECOND);
    assert!(world.up().all(|node| node.pool.member("m00002").is_none()));
    assert_eq!(alive(&world.nodes[0].pool).len(), 4);
    let reaped = world
        .seen
        .iter()
        .filter(|seen| seen.change == MemberChange::Reaped)
        .count();
    assert_eq!(reaped, 8, "two by each of four");
}
