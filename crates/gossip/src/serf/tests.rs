//! Tests of a pool against arbitrary input, and of its snapshot's text.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::Timing;
use crate::random::Seeded;
use crate::step::StreamId;
use crate::tests::golden::golden;

const NAMES: [&str; 17] = [
    "ping",
    "indirect",
    "ack",
    "suspect",
    "alive",
    "dead",
    "push-pull",
    "user",
    "user-stream",
    "nack",
    "err",
    "compress",
    "compound",
    "crc",
    "packet-v1-16",
    "stream-v1",
    "packet-label",
];

fn pool() -> Pool {
    let address = SocketAddr::from(([127, 0, 0, 1], 8301));
    let config = Config::new("a", address, Timing::LAN);
    Pool::new(config, Box::new(Seeded::new(1)), None).unwrap()
}

proptest! {
    /// Messages of all kinds, whole and damaged, over packets and streams.
    #[test]
    fn any_input_leaves_the_pool_alive_and_its_effects_sound(
        inputs in proptest::collection::vec(
            (0_usize..NAMES.len() + 8, any::<bool>(), any::<proptest::sample::Index>(), any::<u8>()),
            1..40,
        ),
    ) {
        let serf = [
            "serf-leave", "serf-join", "serf-event", "serf-query", "serf-response", "serf-relay",
            "serf-ack", "serf-query-bare",
        ];
        let mut pool = pool();
        let mut now = Duration::ZERO;
        pool.step(now, Input::Start);
        for (number, (which, is_packet, place, value)) in inputs.into_iter().enumerate() {
            now += Duration::from_millis(100);
            let mut bytes = match NAMES.get(which) {
                Some(name) => golden(name),
                None => [vec![8], golden(serf[which - NAMES.len()])].concat(),
            };
            if value % 2 == 1 {
                let at = place.index(bytes.len());
                bytes[at] = value;
            }
            let from = SocketAddr::from(([127, 0, 0, 1], 9000));
            let effects = if is_packet {
                pool.step(now, Input::Packet { from, bytes: bytes.into() })
            } else {
                let stream = StreamId::Accepted(number as u64);
                pool.step(now, Input::StreamAccepted { stream, from });
                pool.step(now, Input::StreamData { stream, bytes: bytes.into() })
            };
            for effect in effects {
                if let Effect::Net(NetEffect::SetTimer { at, .. }) = effect {
                    prop_assert!(at >= now);
                }
            }
            prop_assert_eq!(pool.member("a").map(|member| member.status), Some(Status::Alive));
        }
    }

    #[test]
    fn snapshots_survive_their_text(
        names in proptest::collection::btree_set("[a-z0-9.-]{1,20}", 0..20),
        clocks: (u64, u64, u64),
    ) {
        let address = |at: usize| SocketAddr::from(([10, 0, 0, 1], u16::try_from(at).unwrap() + 1));
        let snapshot = Snapshot {
            alive: names.iter().enumerate().map(|(at, name)| (name.as_str().into(), address(at))).collect(),
            clock: clocks.0,
            event_clock: clocks.1,
            query_clock: clocks.2,
        };
        prop_assert_eq!(Snapshot::from_text(&snapshot.to_text()).unwrap(), snapshot);
    }
}

#[test]
fn a_snapshot_that_serf_appended_to_is_read_as_serf_would() {
    let text = "alive: b 10.0.0.2:7946\nclock: 3\nalive: c d 10.0.0.3:7946\nnot-alive: b\n\
                event-clock: 9\ncoordinate: {}\n# a comment\nalive: b 10.0.0.4:7946\nquery-clock: 2\nalive: e 10.";
    let snapshot = Snapshot::from_text(text).unwrap();
    let alive: Vec<_> = snapshot
        .alive
        .iter()
        .map(|(name, at)| format!("{name} {at}"))
        .collect();
    assert_eq!(
        alive,
        ["c d 10.0.0.3:7946", "b 10.0.0.4:7946"],
        "the torn last line is left out"
    );
    assert_eq!(
        (snapshot.clock, snapshot.event_clock, snapshot.query_clock),
        (3, 9, 2)
    );
    let left = Snapshot::from_text(&format!("{text}\nleave\n"));
    assert!(left.is_err(), "the torn line is not the last any more");
    let left = Snapshot::from_text("alive: b 10.0.0.2:7946\nclock: 3\nleave\n").unwrap();
    assert_eq!(left, Snapshot::default());
    let error = Snapshot::from_text("clock: 3\nwhat: ever\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 2 of the gossip snapshot is not understood: \"what: ever\""
    );
}

#[test]
fn a_bad_configuration_is_refused_with_setting_and_bound() {
    let address = SocketAddr::from(([127, 0, 0, 1], 8301));
    let refused = |change: &dyn Fn(&mut Config)| {
        let mut config = Config::new("a", address, Timing::LAN);
        change(&mut config);
        let pool = Pool::new(config, Box::new(Seeded::new(1)), None);
        pool.err().expect("it must be refused").to_string()
    };
    assert!(refused(&|config| config.name.clear()).contains("1 to 255"));
    assert!(refused(&|config| config.advertise.set_port(0)).contains("127.0.0.1:0"));
    let long = "v".repeat(600);
    let tags = refused(&|config| {
        config.tags.insert("t".to_owned(), long.clone());
    });
    assert!(tags.contains("at most 512"), "{tags}");
    let timing = refused(&|config| config.timing.probe_timeout = config.timing.probe_interval);
    assert_eq!(
        timing,
        "gossip setting probe_interval is out of bounds: more than probe_timeout"
    );
}
