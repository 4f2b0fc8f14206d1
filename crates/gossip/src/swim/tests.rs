//! Tests of single steps: given what is believed, when this arrives, these effects.

mod bounds;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::config::{Config, Timing};
use crate::count::Kind;
use crate::random::Seeded;
use crate::wire::message::{Alive, Dead, IndirectPing, Ping, Suspect};
use crate::wire::packet::Framing;

const SECOND: Duration = Duration::from_secs(1);

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

fn swim(change: impl Fn(&mut Config)) -> Swim {
    let mut config = Config::new("me", at(1), Timing::LAN);
    config.compression = false;
    change(&mut config);
    Swim::new(&config, Box::new(Seeded::new(1)))
}

fn alive(node: &str, port: u16, incarnation: u32, versions: [u8; 6]) -> Vec<u8> {
    let alive = Alive {
        incarnation,
        node,
        address: at(port),
        meta: &[],
        versions: Versions(versions),
    };
    alive.encode()
}

const NEW: [u8; 6] = [1, 5, 2, 2, 5, 5];
/// Understands neither TCP pings nor nacks nor checksums.
const OLD: [u8; 6] = [1, 2, 2, 2, 4, 4];

fn hear(swim: &mut Swim, now: Duration, from: u16, packet: Vec<u8>) -> Out {
    let mut out = Out::default();
    let (from, bytes) = (at(from), packet.into());
    swim.step(now, SwimInput::Packet { from, bytes }, &mut out);
    out
}

fn timer(swim: &mut Swim, now: Duration, timer: TimerKind) -> Out {
    let mut out = Out::default();
    swim.step(now, SwimInput::Timer(timer), &mut out);
    out
}

/// Receiver, whether it has a checksum, and the messages of each packet.
fn packets(out: &Out) -> Vec<(u16, bool, Vec<Bytes>)> {
    let packets = out.effects.iter().filter_map(|effect| match effect {
        NetEffect::SendPacket { to, bytes } => {
            let mut counters = Counters::default();
            let messages = Framing::default()
                .open_packet(bytes.clone(), &mut counters)
                .unwrap();
            Some((to.port(), counters.received(Kind::Checksum) > 0, messages))
        }
        _ => None,
    });
    packets.collect()
}

fn state_of(swim: &Swim, name: &str) -> Option<State> {
    let id = swim.members.find(name)?;
    swim.members.get(id).map(|member| member.state)
}

fn suspect(incarnation: u32, node: &str, from: &str) -> Vec<u8> {
    Suspect {
        incarnation,
        node,
        from,
    }
    .encode()
}

fn dead(incarnation: u32, node: &str, from: &str) -> Vec<u8> {
    Dead {
        incarnation,
        node,
        from,
    }
    .encode()
}

/// Lets the one other member's probe run until its time-out.
fn probe_without_answer(swim: &mut Swim) -> Out {
    timer(swim, SECOND, TimerKind::Probe { round: 0 });
    timer(swim, SECOND * 3 / 2, TimerKind::ProbeTimeout { round: 0 })
}

#[test]
fn a_probe_goes_to_a_member_and_an_answer_in_time_ends_it() {
    let mut swim = swim(|_| {});
    hear(&mut swim, Duration::ZERO, 2, alive("b", 2, 1, NEW));
    let out = timer(&mut swim, SECOND, TimerKind::Probe { round: 0 });
    let sent = packets(&out);
    assert_eq!((sent[0].0, sent[0].1), (2, true), "b takes checksums");
    let Message::Ping(ping) = Message::decode(&sent[0].2[0]).unwrap() else {
        panic!("a ping goes first");
    };
    assert_eq!(
        (ping.node, ping.source_node, ping.source),
        ("b", "me", Some(at(1)))
    );
    let ack = crate::wire::message::Ack { seq: ping.seq }.encode();
    let out = hear(&mut swim, SECOND + SECOND / 10, 2, ack);
    let time = SECOND / 10;
    assert!(out.happened.contains(&Happened::RoundTrip {
        name: "b".into(),
        time
    }));
    let late = timer(
        &mut swim,
        SECOND * 3 / 2,
        TimerKind::ProbeTimeout { round: 0 },
    );
    assert!(late.effects.is_empty(), "the timer is stale");
    timer(&mut swim, 2 * SECOND, TimerKind::ProbeEnd { round: 0 });
    assert_eq!(state_of(&swim, "b"), Some(State::Alive));
}

#[test]
fn without_answer_three_others_are_asked_and_tcp_is_tried() {
    let mut swim = swim(|_| {});
    hear(&mut swim, Duration::ZERO, 2, alive("b", 2, 1, NEW));
    timer(&mut swim, SECOND, TimerKind::Probe { round: 0 });
    for (name, port) in [("c", 3), ("d", 4), ("e", 5), ("f", 6)] {
        hear(&mut swim, SECOND, port, alive(name, port, 1, NEW));
    }
    let out = timer(
        &mut swim,
        SECOND * 3 / 2,
        TimerKind::ProbeTimeout { round: 0 },
    );
    let sent = packets(&out);
    assert_eq!(sent.len(), 3);
    for (port, _, messages) in &sent {
        let Message::IndirectPing(request) = Message::decode(&messages[0]).unwrap() else {
            panic!("an indirect ping goes first");
        };
        assert_eq!(
            (request.node, request.target, request.nack),
            ("b", at(2), true)
        );
        assert_ne!(*port, 2, "the silent one is not asked for itself");
    }
    let by_tcp = out.effects.iter().any(|effect| {
        matches!(effect, NetEffect::OpenStream { to, timeout, .. } if *to == at(2) && *timeout == SECOND / 2)
    });
    assert!(by_tcp);
    timer(&mut swim, 2 * SECOND, TimerKind::ProbeEnd { round: 0 });
    assert_eq!(state_of(&swim, "b"), Some(State::Suspect));
    assert_eq!(
        swim.health_score(),
        3,
        "three who should have said no said nothing"
    );
}

#[test]
fn old_members_get_no_checksums_no_tcp_pings_and_are_asked_for_no_nacks() {
    let mut swim = swim(|_| {});
    hear(&mut swim, Duration::ZERO, 2, alive("b", 2, 1, OLD));
    let out = timer(&mut swim, SECOND, TimerKind::Probe { round: 0 });
    assert!(packets(&out).iter().all(|(_, checksum, _)| !checksum));
    hear(&mut swim, SECOND, 3, alive("c", 3, 1, OLD));
    let out = timer(
        &mut swim,
        SECOND * 3 / 2,
        TimerKind::ProbeTimeout { round: 0 },
    );
    let sent = packets(&out);
    let Message::IndirectPing(request) = Message::decode(&sent[0].2[0]).unwrap() else {
        panic!("an indirect ping goes first");
    };
    assert!(!request.nack);
    let tcp = |effect: &NetEffect| matches!(effect, NetEffect::OpenStream { .. });
    assert!(!out.effects.iter().any(tcp));
    timer(&mut swim, 2 * SECOND, TimerKind::ProbeEnd { round: 0 });
    assert_eq!(swim.health_score(), 1, "nobody could have said no");
}

#[test]
fn a_suspect_is_told_with_its_next_probe_unless_that_part_is_off() {
    for buddy in [true, false] {
        let mut swim = swim(|config| config.lifeguard.buddy = buddy);
        hear(&mut swim, Duration::ZERO, 2, alive("b", 2, 1, NEW));
        hear(&mut swim, Duration::ZERO, 3, suspect(1, "b", "c"));
        // Nothing waits to be told any more.
        swim.queues = Default::default();
        let out = timer(&mut swim, SECOND, TimerKind::Probe { round: 0 });
        let messages = &packets(&out)[0].2;
        assert_eq!(messages.len(), if buddy { 2 } else { 1 });
        if buddy {
            let accusation = Suspect {
                incarnation: 1,
                node: "b",
                from: "me",
            };
            assert_eq!(
                Message::decode(&messages[1]).unwrap(),
                Message::Suspect(accusation)
            );
        }
    }
}

#[test]
fn a_helper_passes_answers_on_and_says_early_that_there_is_none() {
    let mut swim = swim(|_| {});
    let request = IndirectPing {
        seq: 77,
        target: at(9),
        node: "z",
        nack: true,
        source: Some(at(2)),
        source_node: "b",
    };
    let out = hear(&mut swim, SECOND, 2, request.encode());
    let sent = packets(&out);
    let Message::Ping(ping) = Message::decode(&sent[0].2[0]).unwrap() else {
        panic!("a ping goes out");
    };
    let seq = ping.seq;
    let nack_at = SECOND + Duration::from_millis(400);
    let expected = Timer(TimerKind::RelayNack { seq });
    assert!(out.effects.contains(&NetEffect::SetTimer {
        at: nack_at,
        timer: expected
    }));
    let out = timer(&mut swim, nack_at, TimerKind::RelayNack { seq });
    let nack = crate::wire::message::Nack { seq: 77 };
    assert_eq!(
        Message::decode(&packets(&out)[0].2[0]).unwrap(),
        Message::Nack(nack)
    );
    let ack = crate::wire::message::Ack { seq }.encode();
    let out = hear(&mut swim, nack_at, 9, ack);
    let passed = crate::wire::message::Ack { seq: 77 };
    assert_eq!(packets(&out)[0].0, 2, "late, but better than never");
    assert_eq!(
        Message::decode(&packets(&out)[0].2[0]).unwrap(),
        Message::Ack(passed)
    );
}

#[test]
fn a_ping_for_somebody_else_is_not_answered() {
    let mut swim = swim(|_| {});
    let ping = Ping {
        seq: 1,
        node: "not me",
        ..Ping::default()
    };
    let out = hear(&mut swim, SECOND, 2, ping.encode());
    assert!(out.effects.is_empty());
    assert_eq!(swim.counters.dropped(DropReason::WrongNode), 1);
}

#[test]
fn we_object_to_being_suspected_and_to_being_dead_but_not_after_we_left() {
    let mut swim = swim(|_| {});
    hear(&mut swim, SECOND, 2, suspect(4, "me", "b"));
    assert_eq!(swim.myself().incarnation, 5);
    hear(&mut swim, SECOND, 2, dead(9, "me", "b"));
    assert_eq!(swim.myself().incarnation, 10);
    hear(&mut swim, SECOND, 2, suspect(3, "me", "b"));
    assert_eq!(swim.myself().incarnation, 10, "old words need no answer");
    assert_eq!(swim.health_score(), 2);
    swim.leave(SECOND, Ticket(1), &mut Out::default());
    hear(&mut swim, SECOND, 2, dead(20, "me", "b"));
    hear(&mut swim, SECOND, 2, alive("me", 1, 30, NEW));
    assert_eq!(state_of(&swim, "me"), Some(State::Left));
}

#[test]
fn incarnations_order_what_is_said() {
    let mut swim = swim(|_| {});
    hear(&mut swim, SECOND, 2, alive("b", 2, 5, NEW));
    hear(&mut swim, SECOND, 2, suspect(4, "b", "c"));
    assert_eq!(state_of(&swim, "b"), Some(State::Alive), "an old suspicion");
    hear(&mut swim, SECOND, 2, suspect(5, "b", "c"));
    assert_eq!(
        state_of(&swim, "b"),
        Some(State::Suspect),
        "suspect beats alive"
    );
    hear(&mut swim, SECOND, 2, alive("b", 2, 5, NEW));
    assert_eq!(
        state_of(&swim, "b"),
        Some(State::Suspect),
        "the same word again clears nothing"
    );
    hear(&mut swim, SECOND, 2, alive("b", 2, 6, NEW));
    assert_eq!(state_of(&swim, "b"), Some(State::Alive));
    hear(&mut swim, SECOND, 2, dead(6, "b", "c"));
    assert_eq!(state_of(&swim, "b"), Some(State::Dead));
    let out = hear(&mut swim, SECOND, 2, alive("b", 2, 7, NEW));
    assert!(matches!(&out.happened[..], [Happened::Joined(_)]));
    hear(&mut swim, SECOND, 2, dead(7, "b", "b"));
    assert_eq!(state_of(&swim, "b"), Some(State::Left), "its own word");
    hear(&mut swim, SECOND, 2, suspect(9, "stranger", "c"));
    assert_eq!(state_of(&swim, "stranger"), None);
}

#[test]
fn a_suspect_that_says_nothing_dies_when_its_time_is_over_and_not_before() {
    let mut swim = swim(|_| {});
    for (name, port) in [("b", 2), ("c", 3), ("d", 4), ("e", 5)] {
        hear(&mut swim, Duration::ZERO, port, alive(name, port, 1, NEW));
    }
    let id = swim.members.find("b").unwrap();
    hear(&mut swim, SECOND, 3, suspect(1, "b", "c"));
    let over = TimerKind::Suspicion { member: id };
    timer(&mut swim, 24 * SECOND, over);
    assert_eq!(
        state_of(&swim, "b"),
        Some(State::Suspect),
        "nobody confirmed: six times as long"
    );
    hear(&mut swim, 24 * SECOND, 4, suspect(1, "b", "d"));
    let out = hear(&mut swim, 24 * SECOND, 5, suspect(1, "b", "e"));
    let now = NetEffect::SetTimer {
        at: 24 * SECOND,
        timer: Timer(over),
    };
    assert!(
        out.effects.contains(&now),
        "with two confirmations its time has been over long since"
    );
    timer(&mut swim, 24 * SECOND, over);
    assert_eq!(state_of(&swim, "b"), Some(State::Dead));
}

#[test]
fn others_dead_are_only_suspects_to_us() {
    let mut swim = swim(|_| {});
    hear(&mut swim, Duration::ZERO, 2, alive("b", 2, 1, NEW));
    let remote = crate::wire::push_pull::NodeState {
        name: "b",
        address: at(2),
        meta: &[],
        incarnation: 1,
        state: State::Dead,
        versions: Versions(NEW),
    };
    swim.hear_state(SECOND, &remote, &mut Out::default());
    assert_eq!(state_of(&swim, "b"), Some(State::Suspect));
}

#[test]
fn nonsense_versions_and_addresses_are_not_taken_in() {
    let mut swim = swim(|_| {});
    hear(&mut swim, SECOND, 2, alive("b", 2, 1, [3, 2, 2, 2, 5, 5]));
    hear(&mut swim, SECOND, 2, alive("c", 0, 1, NEW));
    hear(&mut swim, SECOND, 2, alive("", 2, 1, NEW));
    assert_eq!(swim.members.len(), 1);
    assert_eq!(swim.counters.dropped(DropReason::Versions), 3);
}

#[test]
fn a_probe_that_only_tcp_answers_is_answered() {
    let mut swim = swim(|_| {});
    hear(&mut swim, Duration::ZERO, 2, alive("b", 2, 1, NEW));
    let out = probe_without_answer(&mut swim);
    let opened = out.effects.iter().find_map(|effect| match effect {
        NetEffect::OpenStream { stream, bytes, .. } => Some((*stream, bytes.clone())),
        _ => None,
    });
    let (stream, bytes) = opened.unwrap();
    let Message::Ping(ping) = Message::decode(&bytes).unwrap() else {
        panic!("a ping is written");
    };
    let bytes = crate::wire::message::Ack { seq: ping.seq }.encode().into();
    swim.step(
        SECOND * 2,
        SwimInput::StreamData { stream, bytes },
        &mut Out::default(),
    );
    timer(&mut swim, 2 * SECOND, TimerKind::ProbeEnd { round: 0 });
    assert_eq!(state_of(&swim, "b"), Some(State::Alive));
    assert_eq!(swim.counters.probes_by_stream, 1);
}
