//! A key with its value, as `/v1/kv` and `/v1/txn` show it.

use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::json::{write_base64, write_str, write_u64};

/// A key as clients read it. Servers write [`KvRef`], which copies nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct KvPair {
    /// Times it was acquired.
    pub lock_index: u64,
    /// The key.
    pub key: String,
    /// Opaque to the server.
    pub flags: u64,
    /// Base64 on the wire; `null` when empty.
    #[serde(with = "base64_or_null")]
    pub value: Bytes,
    /// The session that holds it; not there when none does.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub session: String,
    /// Index of its creation.
    pub create_index: u64,
    /// Index of its last change.
    pub modify_index: u64,
}

/// A key as a server writes it.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)] // as in `KvPair`
pub struct KvRef<'a> {
    pub lock_index: u64,
    pub key: &'a str,
    pub flags: u64,
    pub value: &'a [u8],
    pub session: Option<&'a str>,
    pub create_index: u64,
    pub modify_index: u64,
}

impl KvRef<'_> {
    /// Appends it as JSON. Written by hand: this is the hot path of every read and of exports of a million keys.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"LockIndex\":");
        write_u64(out, self.lock_index);
        out.extend_from_slice(b",\"Key\":");
        write_str(out, self.key);
        out.extend_from_slice(b",\"Flags\":");
        write_u64(out, self.flags);
        out.extend_from_slice(b",\"Value\":");
        write_base64(out, self.value);
        if let Some(session) = self.session {
            out.extend_from_slice(b",\"Session\":");
            write_str(out, session);
        }
        out.extend_from_slice(b",\"CreateIndex\":");
        write_u64(out, self.create_index);
        out.extend_from_slice(b",\"ModifyIndex\":");
        write_u64(out, self.modify_index);
        out.push(b'}');
    }
}

/// Bytes as base64; none as `null`.
pub mod base64_or_null {
    use base64::Engine as _;

    use super::{Bytes, Deserialize, Deserializer, STANDARD, Serializer};

    /// For serde.
    pub fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        if bytes.is_empty() {
            serializer.serialize_none()
        } else {
            serializer.serialize_str(&STANDARD.encode(bytes))
        }
    }

    /// For serde.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
        STANDARD
            .decode(text)
            .map(Bytes::from)
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_writers_agree_and_have_the_recorded_shape() {
        let pair = KvPair {
            lock_index: 1,
            key: "lock".to_owned(),
            flags: u64::MAX,
            value: Bytes::from_static(b"held"),
            session: "8fc2d6e1-6104-7490-5f53-53252df65c44".to_owned(),
            create_index: 42,
            modify_index: 43,
        };
        let mut out = Vec::new();
        KvRef {
            lock_index: 1,
            key: "lock",
            flags: u64::MAX,
            value: b"held",
            session: Some("8fc2d6e1-6104-7490-5f53-53252df65c44"),
            create_index: 42,
            modify_index: 43,
        }
        .write(&mut out);
        let expected = r#"{"LockIndex":1,"Key":"lock","Flags":18446744073709551615,"Value":"aGVsZA==","Session":"8fc2d6e1-6104-7490-5f53-53252df65c44","CreateIndex":42,"ModifyIndex":43}"#;
        assert_eq!(String::from_utf8_lossy(&out), expected);
        assert_eq!(crate::json::to_vec(&pair), out);
        assert_eq!(
            serde_json::from_slice::<KvPair>(&out).expect("must parse"),
            pair
        );
    }

    #[test]
    fn an_empty_value_is_null_and_no_session_is_left_out() {
        let pair: KvPair = serde_json::from_str(
            r#"{"LockIndex":0,"Key":"e","Flags":0,"Value":null,"CreateIndex":2,"ModifyIndex":2}"#,
        )
        .expect("must parse");
        assert_eq!((pair.value.len(), pair.session.as_str()), (0, ""));
    }
}
