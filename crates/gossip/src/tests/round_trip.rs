//! Whatever we say, we understand: all messages with all values, framed in every way, in one piece and in many.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use proptest::prelude::*;

use crate::count::Counters;
use crate::keyring::Keyring;
use crate::random::Seeded;
use crate::wire::message::{Alive, IndirectPing, Message, Ping, Suspect, Versions};
use crate::wire::packet::Framing;
use crate::wire::push_pull::{NodeState, PushPull, State};
use crate::wire::serf::SerfState;
use crate::wire::stream::{StreamMessage, StreamReader};

fn address() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(|six| IpAddr::from(six).to_canonical()),
    ];
    (ip, 1..=u16::MAX).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn framing() -> impl Strategy<Value = Framing> {
    (any::<bool>(), any::<bool>(), prop_oneof!["", "[a-z]{1,9}"]).prop_map(
        |(compression, sealed, label)| Framing {
            keyring: sealed.then(|| Keyring::new(&[vec![3; 32]]).unwrap()),
            label,
            compression,
        },
    )
}

/// Name, address, meta, incarnation, state: the parts of a member.
type Parts = (String, SocketAddr, Vec<u8>, u32, u8);

fn member() -> impl Strategy<Value = Parts> {
    let meta = proptest::collection::vec(any::<u8>(), 0..300);
    (".{0,40}", address(), meta, any::<u32>(), 0_u8..4)
}

fn node_state(parts: &Parts) -> NodeState<'_> {
    let states = [State::Alive, State::Suspect, State::Dead, State::Left];
    NodeState {
        name: &parts.0,
        address: parts.1,
        meta: &parts.2,
        incarnation: parts.3,
        state: states[usize::from(parts.4)],
        versions: Versions::OURS,
    }
}

proptest! {
    #[test]
    fn packets_survive_every_framing(
        framing in framing(),
        members in proptest::collection::vec(member(), 1..20),
        checksum: bool,
        target in address(),
        seed: u64,
    ) {
        let mut messages: Vec<Bytes> = Vec::new();
        for member in &members {
            let (node, source) = (&member.0[..], Some(member.1));
            messages.push(Ping { seq: member.3, node, source, source_node: "s" }.encode().into());
            let indirect = IndirectPing {
                seq: member.3, target, node, nack: true, source, source_node: "",
            };
            messages.push(indirect.encode().into());
            messages.push(Suspect { incarnation: member.3, node, from: "me" }.encode().into());
            let alive = Alive {
                incarnation: member.3,
                node,
                address: member.1,
                meta: &member.2,
                versions: Versions::OURS,
            };
            let encoded = alive.encode();
            prop_assert_eq!(Message::decode(&encoded).unwrap(), Message::Alive(alive));
            messages.push(encoded.into());
        }
        let mut counters = Counters::default();
        let packet = framing.seal_packet(&messages, checksum, &mut Seeded::new(seed), &mut counters);
        let opened = framing.open_packet(packet.into(), &mut counters).unwrap();
        prop_assert_eq!(opened, messages);
    }

    #[test]
    fn streams_survive_every_framing_and_every_cut(
        framing in framing(),
        members in proptest::collection::vec(member(), 0..20),
        user in proptest::collection::vec(any::<u8>(), 0..200),
        join: bool,
        piece in 1_usize..200,
        seed: u64,
    ) {
        let message = PushPull::encode(join, members.len(), members.iter().map(node_state), &user);
        let mut counters = Counters::default();
        let mut bytes = framing.label_header();
        bytes.extend(framing.seal_stream(message, &mut Seeded::new(seed), &mut counters));
        let mut reader = StreamReader::new(true);
        let mut read = None;
        let pieces = bytes.chunks(piece).len();
        for (at, piece) in bytes.chunks(piece).enumerate() {
            read = reader.push(piece, &framing, &mut counters).unwrap();
            prop_assert_eq!(read.is_some(), at + 1 == pieces);
        }
        let Some(StreamMessage::PushPull(state)) = read else {
            panic!("the message must be whole at its end");
        };
        prop_assert_eq!(state.join, join);
        prop_assert_eq!(&state.user[..], &user[..]);
        let states: Vec<_> = state.states().map(Result::unwrap).collect();
        let expected: Vec<_> = members.iter().map(node_state).collect();
        prop_assert_eq!(states, expected);
    }

    #[test]
    fn the_state_of_serf_survives(
        times: (u64, u64, u64),
        names in proptest::collection::vec(("[a-z]{0,9}", any::<u64>()), 0..30),
        events in proptest::collection::vec((0_u64..4, "[a-z]{0,9}", any::<[u8; 3]>()), 0..30),
    ) {
        let mut events: Vec<_> = events.iter().map(|(time, name, payload)| (*time, &name[..], &payload[..])).collect();
        events.sort_by_key(|event| event.0);
        let state = SerfState {
            ltime: times.0,
            event_ltime: times.1,
            query_ltime: times.2,
            statuses: names.iter().map(|(name, time)| (&name[..], *time)).collect(),
            left: names.iter().map(|(name, _)| &name[..]).collect(),
            events,
        };
        let encoded = state.encode();
        prop_assert_eq!(SerfState::decode(&encoded).unwrap(), state);
    }
}
