//! Every message against the bytes that HashiCorp's codec makes of it (`tests/golden/main.go`, whose output is committed).

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::count::Counters;
use crate::keyring::Keyring;
use crate::random::Seeded;
use crate::wire::message::{
    Ack, Alive, Dead, IndirectPing, Message, Nack, Ping, Suspect, Versions,
};
use crate::wire::msgpack::Reader;
use crate::wire::packet::Framing;
use crate::wire::push_pull::{NodeState, PushPull, State};
use crate::wire::query::{Filter, NameOwner, Query, QueryResponse};
use crate::wire::serf::{JoinIntent, LeaveIntent, Relay, SerfMessage, SerfState, UserEvent};
use crate::wire::stream::{StreamMessage, StreamReader};
use crate::wire::{compress, tags};

/// The bytes of one message in the committed file.
pub(crate) fn golden(name: &str) -> Vec<u8> {
    let line = include_str!("../../tests/golden/golden.txt")
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .unwrap_or_else(|| panic!("golden.txt has no {name}"));
    let digit = |at| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
    (0..line.len()).step_by(2).map(digit).collect()
}

fn v4() -> SocketAddr {
    "127.0.0.1:8301".parse().unwrap()
}

fn v6(port: u16) -> SocketAddr {
    SocketAddr::new("2001:db8::1".parse().unwrap(), port)
}

/// The value encodes to Go's bytes, and Go's bytes decode to the value.
fn same(name: &str, encoded: Vec<u8>, message: Message<'_>) {
    let expected = golden(name);
    assert_eq!(encoded, expected, "{name} encodes otherwise than in Go");
    assert_eq!(Message::decode(&expected).unwrap(), message, "{name}");
}

#[test]
fn probes_are_encoded_as_go_does() {
    let ping = Ping {
        seq: 7,
        node: "b",
        source: Some(v4()),
        source_node: "a",
    };
    same("ping", ping.encode(), Message::Ping(ping.clone()));
    let bare = Ping {
        seq: 4_000_000_000,
        node: "b",
        ..Ping::default()
    };
    same("ping-bare", bare.encode(), Message::Ping(bare.clone()));
    let indirect = IndirectPing {
        seq: 300,
        target: v4(),
        node: "c",
        nack: true,
        source: Some(v6(7946)),
        source_node: "a",
    };
    same(
        "indirect",
        indirect.encode(),
        Message::IndirectPing(indirect.clone()),
    );
    let ack = Ack { seq: 128 };
    same("ack-empty", ack.encode(), Message::Ack(ack.clone()));
    let with_coordinate = golden("ack");
    assert_eq!(
        Message::decode(&with_coordinate).unwrap(),
        Message::Ack(Ack { seq: 70000 })
    );
    let nack = Nack { seq: 70000 };
    same("nack", nack.encode(), Message::Nack(nack.clone()));
}

#[test]
fn statements_about_members_are_encoded_as_go_does() {
    let suspect = Suspect {
        incarnation: 2,
        node: "b",
        from: "a",
    };
    same(
        "suspect",
        suspect.encode(),
        Message::Suspect(suspect.clone()),
    );
    let dead = Dead {
        incarnation: 255,
        node: "b",
        from: "b",
    };
    same("dead", dead.encode(), Message::Dead(dead.clone()));
    let meta = tags::encode(&tags::Tags::from([("role".into(), "consul".into())]));
    let alive = Alive {
        incarnation: 65536,
        node: "node-one",
        address: v6(8301),
        meta: &meta,
        versions: Versions::OURS,
    };
    same("alive", alive.encode(), Message::Alive(alive.clone()));
    let empty = Alive {
        incarnation: 1,
        node: "x",
        address: SocketAddr::new(v4().ip(), 1),
        meta: &[],
        versions: Versions::OURS,
    };
    same("alive-empty", empty.encode(), Message::Alive(empty.clone()));
}

#[test]
fn exchanges_of_state_are_encoded_as_go_does() {
    let long = "n".repeat(300);
    let states = [
        NodeState {
            name: "a",
            address: v4(),
            meta: &[255, 128],
            incarnation: 1,
            state: State::Alive,
            versions: Versions::OURS,
        },
        NodeState {
            name: &long[..40],
            address: v6(8301),
            meta: long.as_bytes(),
            incarnation: 200,
            state: State::Left,
            versions: Versions::OURS,
        },
    ];
    let encoded = PushPull::encode(true, 2, states.iter().cloned(), b"xyz");
    assert_eq!(encoded, golden("push-pull"));
    let StreamMessage::PushPull(decoded) = read_stream(&Framing::default(), &encoded) else {
        panic!("a push/pull must decode as one");
    };
    assert!(decoded.join);
    assert_eq!(&decoded.user[..], b"xyz");
    let decoded: Vec<_> = decoded.states().map(Result::unwrap).collect();
    assert_eq!(decoded, states);
}

fn read_stream(framing: &Framing, bytes: &[u8]) -> StreamMessage {
    let mut reader = StreamReader::new(true);
    let mut counters = Counters::default();
    for piece in bytes.chunks(7) {
        if let Some(message) = reader.push(piece, framing, &mut counters).unwrap() {
            return message;
        }
    }
    panic!("the stream ended before its message");
}

#[test]
fn streams_give_what_go_put_into_them() {
    let plain = Framing::default();
    assert_eq!(
        read_stream(&plain, &golden("user-stream")),
        StreamMessage::User(Bytes::from_static(b"hello"))
    );
    assert_eq!(
        read_stream(&plain, &golden("err")),
        StreamMessage::Error("no".to_owned())
    );
    let sealed = Framing {
        keyring: Some(Keyring::new(&[vec![16; 16]]).unwrap()),
        ..Framing::default()
    };
    let ping = StreamMessage::Ping {
        seq: 1,
        node: "b".to_owned(),
    };
    assert_eq!(read_stream(&sealed, &golden("stream-v1")), ping);
}

#[test]
fn lzw_of_go_decodes_and_ours_decodes_too() {
    let text = "the quick brown fox ".repeat(40).into_bytes();
    let wrapped = golden("compress");
    let plain = compress::decompress(&mut Reader::new(&wrapped[1..]), 1 << 20).unwrap();
    assert_eq!(plain, text);
    let ours = compress::compress(&text);
    let again = compress::decompress(&mut Reader::new(&ours[1..]), 1 << 20).unwrap();
    assert_eq!(again, text);
    assert_eq!(ours, wrapped, "LZW has one form, and Go writes the same");
}

#[test]
fn packets_of_go_open_with_every_size_of_key_and_either_framing() {
    let inner = golden("compound");
    for size in [16_u8, 24, 32] {
        let key = vec![size; usize::from(size)];
        let framing = Framing {
            keyring: Some(Keyring::new(&[vec![9; 16], key]).unwrap()),
            ..Framing::default()
        };
        for version in [0, 1] {
            let packet = golden(&format!("packet-v{version}-{size}"));
            let parts = framing
                .open_packet(packet.into(), &mut Counters::default())
                .unwrap();
            assert_eq!(parts.len(), 2);
            assert!(inner.ends_with(&parts[1]));
        }
    }
    let framing = Framing {
        keyring: Some(Keyring::new(&[vec![16; 16]]).unwrap()),
        label: "test".to_owned(),
        ..Framing::default()
    };
    let parts = framing
        .open_packet(golden("packet-label").into(), &mut Counters::default())
        .unwrap();
    assert_eq!(parts.len(), 1);
}

#[test]
fn compounds_and_checksums_are_framed_as_go_does() {
    let one = Bytes::from(
        Ping {
            seq: 1,
            node: "b",
            ..Ping::default()
        }
        .encode(),
    );
    let two = Bytes::from(golden("suspect"));
    let framing = Framing::default();
    let mut random = Seeded::new(1);
    let mut counters = Counters::default();
    let packet = framing.seal_packet(
        &[one.clone(), two.clone()],
        true,
        &mut random,
        &mut counters,
    );
    assert_eq!(packet, golden("crc"));
    let parts = framing.open_packet(packet.into(), &mut counters).unwrap();
    assert_eq!(parts, [one, two]);
}

#[test]
fn messages_of_serf_are_encoded_as_go_does() {
    let leave = LeaveIntent {
        ltime: 1 << 40,
        node: "b",
        prune: true,
    };
    assert_eq!(leave.encode(), golden("serf-leave"));
    let join = JoinIntent {
        ltime: 1,
        node: "a",
    };
    assert_eq!(join.encode(), golden("serf-join"));
    let event = UserEvent {
        ltime: 4,
        name: "deploy",
        payload: b"v1",
        coalesce: true,
    };
    assert_eq!(event.encode(), golden("serf-event"));
    let decoded = |name| SerfMessage::decode(golden(name).leak()).unwrap();
    assert_eq!(decoded("serf-leave"), SerfMessage::Leave(leave));
    assert_eq!(decoded("serf-join"), SerfMessage::Join(join));
    assert_eq!(decoded("serf-event"), SerfMessage::UserEvent(event));
}

#[test]
fn queries_are_encoded_as_go_does() {
    let nodes = Filter::Nodes(vec!["a".into(), "b".into()]);
    let tag = Filter::Tag {
        tag: "role".into(),
        expression: "^consul$".into(),
    };
    assert_eq!(nodes.encode(), golden("filter-nodes"));
    assert_eq!(tag.encode(), golden("filter-tag"));
    assert_eq!(Filter::decode(&nodes.encode()).unwrap(), nodes);
    assert_eq!(Filter::decode(&tag.encode()).unwrap(), tag);
    let (nodes, tag) = (nodes.encode(), tag.encode());
    let query = Query {
        ltime: 3,
        id: 2_000_000_000,
        source: v4(),
        source_node: "a",
        filters: vec![&nodes, &tag],
        flags: 1,
        relay_factor: 2,
        timeout: Duration::from_secs(15),
        name: "load",
        payload: b"?",
    };
    assert_eq!(query.encode(), golden("serf-query"));
    let bytes = golden("serf-query");
    assert_eq!(
        SerfMessage::decode(&bytes).unwrap(),
        SerfMessage::Query(query)
    );
    let ack = QueryResponse {
        ltime: 3,
        id: 9,
        from: "b",
        flags: 1,
        payload: &[],
    };
    assert_eq!(ack.encode(), golden("serf-ack"));
    let relay = Relay {
        to: v4(),
        node: "a",
        message: &ack.encode(),
    };
    assert_eq!(relay.encode(), golden("serf-relay"));
    let bytes = golden("serf-relay");
    assert_eq!(
        SerfMessage::decode(&bytes).unwrap(),
        SerfMessage::Relay(relay.clone())
    );
}

#[test]
fn name_owners_and_tags_are_encoded_as_go_does() {
    let owner = NameOwner {
        name: "b",
        address: v4(),
        tags: vec![("role", "x")],
        status: 1,
        versions: Versions::OURS,
    };
    assert_eq!(NameOwner::encode(Some(&owner)), golden("serf-conflict"));
    assert_eq!(NameOwner::encode(None), golden("serf-conflict-none"));
    let role = tags::Tags::from([("role".to_owned(), "node".to_owned())]);
    assert_eq!(tags::encode(&role), golden("tags"));
    assert_eq!(tags::decode(&golden("tags")).unwrap(), role);
    let long = tags::Tags::from([("k".to_owned(), "n".repeat(300))]);
    assert_eq!(tags::encode(&long), golden("tags-long"));
    assert_eq!(
        tags::decode(b"web").unwrap()["role"],
        "web",
        "meta of old members is the bare role"
    );
}

#[test]
fn the_state_of_serf_decodes_and_ours_has_the_same_shape() {
    let bytes = golden("serf-push-pull");
    let state = SerfState::decode(&bytes).unwrap();
    let expected = SerfState {
        ltime: 300,
        event_ltime: 9,
        query_ltime: 70000,
        statuses: vec![("a", 5)],
        left: vec!["b"],
        events: vec![(8, "deploy", b"1"), (8, "deploy", b"")],
    };
    assert_eq!(state, expected);
    let ours = expected.encode();
    assert_eq!(SerfState::decode(&ours).unwrap(), expected);
    // Go writes a nil for each empty place of its ring buffer; we write only what is there.
    let without_nils = bytes.len() - 2;
    assert_eq!(ours.len(), without_nils);
}
