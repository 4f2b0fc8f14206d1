//! Whatever comes: the right code or silence, within bounds, never a panic.

use domain::base::Message;
use domain::base::iana::Rcode;
use proptest::prelude::*;
use rollcall_dns::{Config, Outcome, Responder, Shuffle, Transport};
use serde_json::Value;

use crate::roll::Roll;
use crate::{NOW, data, question};

fn responder() -> Responder<Roll> {
    let setup: Value = serde_json::from_str(&data("consul-dns-setup.json")).expect("JSON");
    Responder::new(Config::default(), Roll::recorded(&setup))
}

/// `None`: silence.
fn answer(request: &[u8], transport: Transport) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut shuffle = Shuffle::new(1);
    match responder().respond(request, transport, NOW, None, &mut shuffle, &mut out) {
        Outcome::Reply => Some(out),
        Outcome::Silence => None,
        Outcome::Recurse | Outcome::Follow(..) => panic!("there are no recursors"),
    }
}

fn code(request: &[u8]) -> Option<Rcode> {
    let answer = answer(request, Transport::Udp)?;
    Some(
        Message::from_octets(answer)
            .expect("a message")
            .header()
            .rcode(),
    )
}

/// A header that says there is one question, and a body.
fn message(body: &[u8]) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(body);
    message
}

#[test]
fn what_is_no_question_gets_silence() {
    let mut response = question("web.service.consul A").0;
    response[2] |= 0x80;
    for request in [&b""[..], b"hello", &[0; 11], &response] {
        assert_eq!(code(request), None, "{request:?}");
    }
}

#[test]
fn questions_that_cannot_be_read_are_format_errors() {
    // A pointer to itself, a pointer behind itself, a label with reserved bits, a name that is cut, no question, two questions.
    let looped = message(&[0xc0, 12, 0, 1, 0, 1]);
    let ahead = message(&[0xc0, 14, 0xc0, 12, 0, 1, 0, 1]);
    let reserved = message(&[0x80, b'a', 0, 0, 1, 0, 1]);
    let cut = message(&[3, b'w', b'e']);
    let mut none = message(&[]);
    none[5] = 0;
    let mut two = question("web.service.consul A +noedns").0;
    two[5] = 2;
    for request in [looped, ahead, reserved, cut, none, two] {
        assert_eq!(code(&request), Some(Rcode::FORMERR), "{request:?}");
    }
}

#[test]
fn a_name_that_is_too_long_is_a_format_error() {
    let mut body = Vec::new();
    for _ in 0..5 {
        body.push(63);
        body.extend_from_slice(&[b'a'; 63]);
    }
    body.extend_from_slice(&[0, 0, 1, 0, 1]);
    assert_eq!(code(&message(&body)), Some(Rcode::FORMERR));
}

#[test]
fn other_classes_and_transfers_are_refused() {
    let mut chaos = question("web.service.consul A +noedns").0;
    let class = chaos.len() - 1;
    chaos[class] = 3;
    assert_eq!(code(&chaos), Some(Rcode::REFUSED));
    let transfer = question("consul AXFR +noedns").0;
    assert_eq!(code(&transfer), Some(Rcode::REFUSED));
}

proptest! {
    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        answer(&bytes, Transport::Udp);
        answer(&message(&bytes), Transport::Tcp);
    }

    #[test]
    fn a_damaged_question_gets_an_answer_within_its_size_or_none(
        query in prop::sample::select(vec![
            "many.service.consul SRV", "many.service.consul A +noedns", "web.service.consul ANY",
            "n1.node.consul TXT", "pq.query.consul SRV", "1.0.1.10.in-addr.arpa PTR", "consul SOA",
        ]),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let (mut request, _) = question(query);
        for (place, byte) in damage {
            let place = place.index(request.len());
            request[place] = byte;
        }
        if let Some(answer) = answer(&request, Transport::Udp) {
            prop_assert!(answer.len() <= 4096, "{} bytes", answer.len());
            prop_assert_eq!(&answer[..2], &request[..2]);
            prop_assert!(answer[2] & 0x80 != 0);
            let message = Message::from_octets(&answer[..]).expect("a message");
            prop_assert!(message.sections().is_ok());
        }
    }
}
