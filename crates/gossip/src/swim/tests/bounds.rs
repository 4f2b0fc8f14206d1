//! What holds whatever is said: bounds of packets, connections and states.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

#[test]
fn packets_stay_within_the_bound_however_much_there_is_to_say() {
    for sealed in [false, true] {
        let mut swim = swim(|config| {
            config.keyring = sealed.then(|| crate::keyring::Keyring::new(&[vec![1; 16]]).unwrap());
        });
        let mut out = Out::default();
        for number in 0..500_u16 {
            let name = "n".repeat(usize::from(number % 200)) + &number.to_string();
            let meta = vec![7; usize::from(number % 512)];
            let alive = Alive {
                incarnation: 1,
                node: &name,
                address: at(number + 2),
                meta: &meta,
                versions: Versions(NEW),
            };
            swim.hear_alive(SECOND, &alive, &mut out);
        }
        for round in 0..200 {
            swim.gossip(SECOND + SECOND * round, &mut out);
        }
        let sizes = out.effects.iter().filter_map(|effect| match effect {
            NetEffect::SendPacket { bytes, .. } => Some(bytes.len()),
            _ => None,
        });
        let (count, longest) = sizes.fold((0, 0), |(count, longest), size| {
            (count + 1, longest.max(size))
        });
        assert!(count > 300, "{count} packets");
        assert!(
            (1300..=1400).contains(&longest),
            "the longest has {longest} bytes"
        );
    }
}

#[test]
fn connections_of_others_are_bounded() {
    let mut swim = swim(|_| {});
    let mut closed = 0;
    for number in 0..200 {
        let mut out = Out::default();
        let stream = StreamId::Accepted(number);
        swim.step(
            SECOND,
            SwimInput::StreamAccepted {
                stream,
                from: at(2),
            },
            &mut out,
        );
        closed += out
            .effects
            .iter()
            .filter(|effect| matches!(effect, NetEffect::CloseStream { .. }))
            .count();
    }
    assert_eq!(closed, 72);
    assert_eq!(swim.counters.dropped(DropReason::Full), 72);
    let mut out = Out::default();
    let stream = StreamId::Accepted(0);
    swim.step(
        SECOND * 11,
        SwimInput::Timer(TimerKind::Stream { stream }),
        &mut out,
    );
    assert_eq!(
        out.effects,
        [NetEffect::CloseStream { stream }],
        "a silent one is closed in time"
    );
}

proptest! {
    /// Whatever members say of each other, in whatever order: no panic, no packet too long, and we stay alive.
    #[test]
    fn any_words_in_any_order_leave_a_sound_table(
        words in proptest::collection::vec((0_u8..6, 0_usize..4, 0_u32..5, 1_u16..6, 0_usize..4), 0..80),
    ) {
        let names = ["me", "b", "c", "d"];
        let mut swim = swim(|_| {});
        let mut now = Duration::ZERO;
        for (what, node, incarnation, port, from) in words {
            now += SECOND / 4;
            let (node, from) = (names[node], names[from]);
            let out = match what {
                0 | 1 => hear(&mut swim, now, port, alive(node, port, incarnation, NEW)),
                2 => hear(&mut swim, now, port, suspect(incarnation, node, from)),
                3 => hear(&mut swim, now, port, dead(incarnation, node, from)),
                4 => {
                    let round = swim.probe.round;
                    timer(&mut swim, now, TimerKind::Probe { round })
                }
                _ => timer(&mut swim, now, TimerKind::Gossip),
            };
            for effect in &out.effects {
                match effect {
                    NetEffect::SendPacket { bytes, .. } => prop_assert!(bytes.len() <= 1400),
                    NetEffect::SetTimer { at, .. } => prop_assert!(*at >= now),
                    _ => {}
                }
            }
            prop_assert_eq!(state_of(&swim, "me"), Some(State::Alive));
            for (id, member) in swim.members.iter() {
                let is_suspect = member.state == State::Suspect;
                prop_assert_eq!(is_suspect, swim.suspicions.contains_key(&id), "{}", member.name);
            }
        }
    }
}
