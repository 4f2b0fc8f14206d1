//! What strangers may send: anything. It never panics, never allocates without bound, and is an error or harmless.

use bytes::Bytes;
use proptest::prelude::*;

use super::golden::golden;
use crate::count::{Counters, DropReason};
use crate::keyring::Keyring;
use crate::random::Seeded;
use crate::wire::WireError;
use crate::wire::message::Message;
use crate::wire::packet::Framing;
use crate::wire::query::Filter;
use crate::wire::serf::{SerfMessage, SerfState};
use crate::wire::stream::{STREAM_BYTES_MAX, StreamMessage, StreamReader};
use crate::wire::tags;

/// Decodes as everything it could be.
fn decode_all(bytes: &[u8]) {
    let _ = Message::decode(bytes);
    let _ = SerfMessage::decode(bytes);
    let _ = SerfState::decode(bytes);
    let _ = Filter::decode(bytes);
    let _ = tags::decode(bytes);
    let _ = tags::find(bytes, "id");
    let keyring = Some(Keyring::new(&[vec![16; 16]]).unwrap());
    for keyring in [None, keyring] {
        let framing = Framing {
            keyring,
            ..Framing::default()
        };
        let mut counters = Counters::default();
        if let Ok(messages) = framing.open_packet(Bytes::copy_from_slice(bytes), &mut counters) {
            for message in messages {
                let _ = Message::decode(&message);
            }
        }
        let mut reader = StreamReader::new(true);
        if let Ok(Some(StreamMessage::PushPull(state))) =
            reader.push(bytes, &framing, &mut counters)
        {
            // As many as the header says, so look only at the first.
            state.states().take(100).for_each(drop);
        }
    }
}

const NAMES: [&str; 24] = [
    "ping",
    "indirect",
    "ack",
    "suspect",
    "alive",
    "dead",
    "push-pull",
    "push-pull-big",
    "user-stream",
    "nack",
    "err",
    "compress",
    "compound",
    "crc",
    "packet-v1-16",
    "packet-v0-16",
    "stream-v1",
    "packet-label",
    "serf-leave",
    "serf-push-pull",
    "serf-event",
    "serf-query",
    "serf-relay",
    "tags",
];

#[test]
fn every_message_cut_anywhere_is_an_error_or_harmless() {
    for name in NAMES {
        let bytes = golden(name);
        for end in 0..bytes.len() {
            decode_all(&bytes[..end]);
        }
    }
}

#[test]
fn every_message_with_any_byte_changed_is_an_error_or_harmless() {
    for name in NAMES {
        let bytes = golden(name);
        for at in 0..bytes.len().min(120) {
            for value in [0x00, 0x7f, 0x80, 0xc1, 0xc6, 0xdb, 0xdd, 0xdf, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                decode_all(&changed);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_an_error_or_harmless(
        kind in 0_u8..16,
        body in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        decode_all(&body);
        decode_all(&[&[kind][..], &body].concat());
    }
}

fn open(bytes: impl Into<Bytes>) -> WireError {
    Framing::default()
        .open_packet(bytes.into(), &mut Counters::default())
        .unwrap_err()
}

#[test]
fn a_wrong_checksum_is_told_from_a_malformed_packet() {
    let mut packet = golden("crc");
    let last = packet.len() - 1;
    packet[last] ^= 1;
    let error = open(packet);
    assert!(matches!(error, WireError::Checksum { .. }), "{error}");
    let mut counters = Counters::default();
    counters.count_error(&error);
    assert_eq!(counters.dropped(DropReason::Checksum), 1);
}

#[test]
fn wrappers_inside_wrappers_end() {
    let mut packet = golden("ping");
    for _ in 0..50 {
        let length = u16::try_from(packet.len()).unwrap().to_be_bytes();
        packet = [&[7, 1, length[0], length[1]], &packet[..]].concat();
    }
    assert_eq!(open(packet), WireError::Wrapped { max: 4 });
}

#[test]
fn values_inside_values_end() {
    let mut message = vec![0, 0x81, 0xa1, b'x'];
    message.extend([0x91].repeat(100_000));
    let error = Message::decode(&message).unwrap_err();
    assert!(matches!(error, WireError::Depth { .. }), "{error}");
}

#[test]
fn a_compressed_bomb_stops_at_the_bound() {
    let bomb = crate::wire::compress::compress(&vec![0; 1 << 20]);
    assert!(
        bomb.len() < 4000,
        "{} bytes stand for a megabyte",
        bomb.len()
    );
    let error = open(bomb);
    assert!(matches!(error, WireError::TooLong { .. }), "{error}");
}

#[test]
fn a_stream_that_announces_too_much_is_refused_at_once() {
    let mut reader = StreamReader::new(true);
    let mut counters = Counters::default();
    let length = u32::try_from(STREAM_BYTES_MAX + 1).unwrap().to_be_bytes();
    let framing = Framing {
        keyring: Some(Keyring::new(&[vec![1; 16]]).unwrap()),
        ..Framing::default()
    };
    let header = [&[10][..], &length].concat();
    let error = reader.push(&header, &framing, &mut counters).unwrap_err();
    assert!(matches!(error, WireError::TooLong { .. }), "{error}");

    let mut reader = StreamReader::new(true);
    // A push/pull whose Serf state is said to have 2^40 bytes.
    let mut announced = vec![6, 0x81, 0xac];
    announced.extend_from_slice(b"UserStateLen");
    announced.extend([0xcf, 0, 0, 1, 0, 0, 0, 0, 0]);
    let error = reader
        .push(&announced, &Framing::default(), &mut counters)
        .unwrap_err();
    assert!(matches!(error, WireError::TooLong { .. }), "{error}");
}

#[test]
fn plain_and_sealed_do_not_mix_and_a_wrong_key_opens_nothing() {
    let sealed = golden("packet-v1-16");
    let framing = |key: Option<u8>| Framing {
        keyring: key.map(|key| Keyring::new(&[vec![key; 16]]).unwrap()),
        ..Framing::default()
    };
    let mut counters = Counters::default();
    let wrong = framing(Some(7)).open_packet(sealed.clone().into(), &mut counters);
    assert_eq!(wrong, Err(WireError::Decrypt));
    let plain = framing(Some(16)).open_packet(golden("ping").into(), &mut counters);
    assert_eq!(plain, Err(WireError::Decrypt));
    let mut damaged = sealed;
    damaged[20] ^= 1;
    let damaged = framing(Some(16)).open_packet(damaged.into(), &mut counters);
    assert_eq!(damaged, Err(WireError::Decrypt));
    let mut reader = StreamReader::new(true);
    let plain = reader.push(&golden("err"), &framing(Some(16)), &mut counters);
    assert_eq!(plain, Err(WireError::Encryption { encrypted: false }));
    let mut reader = StreamReader::new(true);
    let sealed = reader.push(&golden("stream-v1"), &framing(None), &mut counters);
    assert_eq!(sealed, Err(WireError::Encryption { encrypted: true }));
}

#[test]
fn the_length_of_a_sealed_stream_is_authenticated() {
    let framing = Framing {
        keyring: Some(Keyring::new(&[vec![1; 16]]).unwrap()),
        label: "one".to_owned(),
        ..Framing::default()
    };
    let mut counters = Counters::default();
    let sealed = framing.seal_stream(golden("err"), &mut Seeded::new(1), &mut counters);
    let other = Framing {
        label: "two".to_owned(),
        ..framing
    };
    let mut reader = StreamReader::new(false);
    let read = reader.push(&sealed, &other, &mut counters);
    assert_eq!(
        read,
        Err(WireError::Decrypt),
        "the label is authenticated too"
    );
}
