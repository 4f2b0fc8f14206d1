//! Entries and marks come back as written, damage is found, and the bytes of version 1 never change.

use super::*;

fn log_id(term: u64, node: u128, index: u64) -> LogId {
    let node_id = ServerId(Uuid::from_u128(node));
    LogId::new(LeaderId { term, node_id }, index)
}

fn samples() -> Vec<Entry> {
    let ids = [1u128, 2, 3].map(|n| ServerId(Uuid::from_u128(n)));
    let members: std::collections::BTreeMap<_, _> =
        ids.iter().map(|id| (*id, EmptyNode::new())).collect();
    let membership = Membership::new(
        vec![BTreeSet::from([ids[0]]), BTreeSet::from([ids[0], ids[1]])],
        members,
    )
    .unwrap();
    let payloads = [
        EntryPayload::Blank,
        EntryPayload::Normal(LogData(Bytes::from_static(b"a proposal"))),
        EntryPayload::Membership(membership),
    ];
    let numbered = payloads.into_iter().zip(7..);
    numbered
        .map(|(payload, index)| Entry {
            log_id: log_id(3, 9, index),
            payload,
        })
        .collect()
}

fn encoded(entry: &Entry) -> BytesMut {
    let mut out = BytesMut::new();
    put_entry(entry, &mut out);
    out
}

#[test]
fn entries_come_back_as_written() {
    for entry in samples() {
        assert_eq!(take_entry(&encoded(&entry)).unwrap(), entry);
    }
}

#[test]
fn a_flipped_bit_or_a_missing_byte_of_an_entry_is_found() {
    for entry in samples() {
        let whole = encoded(&entry);
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(take_entry(&damaged).is_err(), "bit {bit} of {entry:?}");
        }
        for length in 0..whole.len() {
            assert!(
                take_entry(&whole[..length]).is_err(),
                "{length} bytes of {entry:?}"
            );
        }
    }
}

#[test]
fn an_entry_of_another_format_is_named_and_not_guessed_at() {
    let mut record = encoded(&samples()[0]);
    record[0] = 2;
    let error = take_entry(&record).unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown format 2 of a log entry; this version knows 1"
    );
}

#[test]
fn the_bytes_of_format_1_never_change() {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let normal = encoded(&samples()[1]);
    assert_eq!(
        hex(&normal[..CHECKSUM_AT]),
        "0101030000000000000000000000000000000000000000000009\
         0800000000000000"
    );
    assert_eq!(&normal[ENTRY_HEAD_BYTES..], b"a proposal");
    let vote = seal(|out| put_vote(&Vote::new_committed(5, ServerId(Uuid::from_u128(2))), out));
    assert_eq!(
        hex(&vote[..26]),
        "0105000000000000000000000000000000000000000000000201"
    );
}

#[test]
fn sealed_marks_come_back_and_damage_is_found() {
    let vote = Vote::new_committed(5, ServerId(Uuid::from_u128(2)));
    let sealed = seal(|out| put_vote(&vote, out));
    let mut content = unseal(&sealed, "vote").unwrap();
    assert_eq!(take_vote(&mut content, "vote").unwrap(), vote);
    for bit in 0..sealed.len() * 8 {
        let mut damaged = sealed.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(unseal(&damaged, "vote").is_err(), "bit {bit}");
    }
}
