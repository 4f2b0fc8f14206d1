//! The few protobuf messages of etcd's `etcdserverpb.KV` that a load needs, written and read by hand.
//!
//! Field numbers are those of etcd's published `rpc.proto`. Generated code would bring a compiler and a runtime for a dozen fields.

/// `RangeRequest` for one key.
pub(crate) fn range_request(key: &str, serializable: bool) -> Vec<u8> {
    let mut message = Vec::with_capacity(key.len() + 8);
    bytes_field(&mut message, 1, key.as_bytes());
    if serializable {
        varint(&mut message, 7 << 3);
        varint(&mut message, 1);
    }
    message
}

/// `PutRequest`.
pub(crate) fn put_request(key: &str, value: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(key.len() + value.len() + 12);
    bytes_field(&mut message, 1, key.as_bytes());
    bytes_field(&mut message, 2, value);
    message
}

/// `TxnRequest` that puts all entries (`success` of no comparison).
pub(crate) fn put_all_request(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut message = Vec::new();
    for (key, value) in entries {
        let mut operation = Vec::new();
        bytes_field(&mut operation, 2, &put_request(key, value));
        bytes_field(&mut message, 2, &operation);
    }
    message
}

/// Whether a message has the field of this number at its top level (`kvs`, number 2, of a `RangeResponse`); `None`: not protobuf.
pub(crate) fn has_field(mut message: &[u8], wanted: u64) -> Option<bool> {
    while !message.is_empty() {
        let tag = read_varint(&mut message)?;
        if tag >> 3 == wanted {
            return Some(true);
        }
        let skipped = match tag & 7 {
            0 => {
                read_varint(&mut message)?;
                0
            }
            1 => 8,
            2 => usize::try_from(read_varint(&mut message)?).ok()?,
            5 => 4,
            _ => return None,
        };
        message = message.get(skipped..)?;
    }
    Some(false)
}

fn bytes_field(message: &mut Vec<u8>, number: u64, content: &[u8]) {
    varint(message, number << 3 | 2);
    varint(message, content.len() as u64);
    message.extend_from_slice(content);
}

fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

fn read_varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_the_bytes_that_protoc_writes() {
        assert_eq!(range_request("ab", true), b"\x0a\x02ab\x38\x01");
        assert_eq!(put_request("k", &[7; 200])[..6], *b"\x0a\x01k\x12\xc8\x01");
        assert_eq!(
            put_all_request(&[("k".to_owned(), b"v".to_vec())]),
            b"\x12\x08\x12\x06\x0a\x01k\x12\x01v"
        );
    }

    #[test]
    fn a_field_is_found_behind_others_and_a_cut_message_is_no_answer() {
        let answer = b"\x0a\x03\x08\xac\x02\x12\x00\x20\x01";
        assert_eq!(has_field(answer, 2), Some(true));
        assert_eq!(has_field(answer, 4), Some(true));
        assert_eq!(has_field(answer, 3), Some(false));
        assert_eq!(has_field(&answer[..3], 2), None);
    }
}
