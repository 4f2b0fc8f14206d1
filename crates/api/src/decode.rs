//! Request bodies, read as Go reads them: names in any case, `null` is "not given", type errors in Go's words.
//!
//! serde's derive knows neither of the three, and py-consul sends `lockdelay` and `ttl`; so a body is parsed into a tree
//! and taken apart by [`Fields`]. Unknown fields are passed over: a newer client must not fail on an older server.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value};

use crate::duration::DurationError;
use crate::go_json::syntax_error;

/// Why a body was not understood. Shown to the client as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No JSON. Go's words.
    #[error("{0}")]
    Syntax(String),
    /// A value of another type than its field.
    #[error("json: cannot unmarshal {found} into Go {place} of type {wanted}")]
    Type {
        /// What stands there.
        found: String,
        /// `value` or `struct field S.f`.
        place: String,
        /// Go's type.
        wanted: &'static str,
    },
    /// Bytes that are no base64.
    #[error("illegal base64 data at input byte {0}")]
    Base64(usize),
    /// A text that is no duration.
    #[error(transparent)]
    Duration(#[from] DurationError),
}

/// Parses the first JSON value of a body; what follows it is ignored, as Go's decoder does.
pub fn parse(body: &[u8]) -> Result<Value, DecodeError> {
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
    match values.next() {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(DecodeError::Syntax(
            syntax_error(body).unwrap_or_else(|| error.to_string()),
        )),
        None => Err(DecodeError::Syntax("EOF".to_owned())),
    }
}

/// The fields of a JSON object that stands for a Go struct.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    map: Option<&'a Map<String, Value>>,
    /// Name of the Go struct, for errors.
    name: &'static str,
    /// Path of fields that leads here, for errors.
    path: String,
}

impl<'a> Fields<'a> {
    /// The fields of a whole body. `null` has none.
    pub fn of(value: &'a Value, name: &'static str) -> Result<Self, DecodeError> {
        let map = match value {
            Value::Object(map) => Some(map),
            Value::Null => None,
            other => return Err(wrong_value(other, name)),
        };
        Ok(Fields {
            map,
            name,
            path: String::new(),
        })
    }

    /// A field's value under any spelling of its name; `null` counts as not there.
    pub fn get(&self, field: &str) -> Option<&'a Value> {
        let map = self.map?;
        let value = map.get(field).or_else(|| {
            (map.iter())
                .find(|(name, _)| name.eq_ignore_ascii_case(field))
                .map(|(_, value)| value)
        })?;
        (!value.is_null()).then_some(value)
    }

    /// Whether the field stands there at all, be it as `null`.
    pub fn has(&self, field: &str) -> bool {
        (self.map).is_some_and(|map| map.keys().any(|name| name.eq_ignore_ascii_case(field)))
    }

    /// A text; empty when not there.
    pub fn string(&self, field: &str) -> Result<String, DecodeError> {
        Ok(self.optional_string(field)?.unwrap_or_default())
    }

    /// A text.
    pub fn optional_string(&self, field: &str) -> Result<Option<String>, DecodeError> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(self.wrong(field, other, "string")),
        }
    }

    /// An unsigned number; 0 when not there.
    pub fn u64(&self, field: &str) -> Result<u64, DecodeError> {
        match self.get(field) {
            None => Ok(0),
            Some(value) => value
                .as_u64()
                .ok_or_else(|| self.wrong(field, value, "uint64")),
        }
    }

    /// A signed number; 0 when not there.
    pub fn i64(&self, field: &str) -> Result<i64, DecodeError> {
        match self.get(field) {
            None => Ok(0),
            Some(value) => value
                .as_i64()
                .ok_or_else(|| self.wrong(field, value, "int")),
        }
    }

    /// A truth value; false when not there.
    pub fn bool(&self, field: &str) -> Result<bool, DecodeError> {
        match self.get(field) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(other) => Err(self.wrong(field, other, "bool")),
        }
    }

    /// Bytes in base64; none when not there.
    pub fn bytes(&self, field: &str) -> Result<Bytes, DecodeError> {
        match self.get(field) {
            None => Ok(Bytes::new()),
            Some(Value::String(text)) => decode_base64(text),
            Some(other) => Err(self.wrong(field, other, "[]uint8")),
        }
    }

    /// A list of texts.
    pub fn strings(&self, field: &str) -> Result<Option<Vec<String>>, DecodeError> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        let Value::Array(items) = value else {
            return Err(self.wrong(field, value, "[]string"));
        };
        let text = |item: &Value| match item {
            Value::String(text) => Ok(text.clone()),
            Value::Null => Ok(String::new()),
            other => Err(self.wrong(field, other, "string")),
        };
        items.iter().map(text).collect::<Result<_, _>>().map(Some)
    }

    /// A map from text to text.
    pub fn string_map(&self, field: &str) -> Result<Option<BTreeMap<String, String>>, DecodeError> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        let Value::Object(entries) = value else {
            return Err(self.wrong(field, value, "map[string]string"));
        };
        let text = |(name, item): (&String, &Value)| match item {
            Value::String(text) => Ok((name.clone(), text.clone())),
            Value::Null => Ok((name.clone(), String::new())),
            other => Err(self.wrong(field, other, "string")),
        };
        entries.iter().map(text).collect::<Result<_, _>>().map(Some)
    }

    /// A struct within this one.
    pub fn object(&self, field: &str, name: &'static str) -> Result<Option<Self>, DecodeError> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(self.inner(field, map, name))),
            Some(other) => Err(self.wrong(field, other, name)),
        }
    }

    /// A map from text to structs.
    pub fn object_map(
        &self,
        field: &str,
        name: &'static str,
    ) -> Result<Option<Vec<(String, Self)>>, DecodeError> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        let Value::Object(entries) = value else {
            return Err(self.wrong(field, value, "map"));
        };
        let inner = |(key, item): (&String, &'a Value)| match item {
            Value::Object(map) => Ok((key.clone(), self.inner(field, map, name))),
            other => Err(self.wrong(field, other, name)),
        };
        entries
            .iter()
            .map(inner)
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// A list of structs.
    pub fn objects(
        &self,
        field: &str,
        name: &'static str,
    ) -> Result<Option<Vec<Self>>, DecodeError> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        let Value::Array(items) = value else {
            return Err(self.wrong(field, value, name));
        };
        let inner = |item: &'a Value| match item {
            Value::Object(map) => Ok(self.inner(field, map, name)),
            other => Err(self.wrong(field, other, name)),
        };
        items.iter().map(inner).collect::<Result<_, _>>().map(Some)
    }

    /// An error about a field that this type has no reader for.
    pub fn wrong(&self, field: &str, found: &Value, wanted: &'static str) -> DecodeError {
        DecodeError::Type {
            found: kind(found),
            place: format!("struct field {}.{}{field}", self.name, self.path),
            wanted,
        }
    }

    fn inner(&self, field: &str, map: &'a Map<String, Value>, name: &'static str) -> Self {
        Fields {
            map: Some(map),
            name,
            path: format!("{}{field}.", self.path),
        }
    }
}

/// An error about a whole body.
pub fn wrong_value(found: &Value, wanted: &'static str) -> DecodeError {
    DecodeError::Type {
        found: kind(found),
        place: "value".to_owned(),
        wanted,
    }
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(number) => format!("number {number}"),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) => "object".to_owned(),
    }
}

fn decode_base64(text: &str) -> Result<Bytes, DecodeError> {
    use base64::DecodeError as E;
    // Go passes over line ends.
    let joined: String;
    let text = if text.contains(['\r', '\n']) {
        joined = text.replace(['\r', '\n'], "");
        joined.as_str()
    } else {
        text
    };
    match STANDARD.decode(text) {
        Ok(bytes) => Ok(bytes.into()),
        Err(E::InvalidByte(at, _) | E::InvalidLastSymbol(at, _)) => Err(DecodeError::Base64(at)),
        Err(E::InvalidLength(_) | E::InvalidPadding) => Err(DecodeError::Base64(text.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_null_is_not_there() {
        let value =
            parse(br#"{"lockdelay": "1s", "TTL": null, "Flags": 18446744073709551615} rest"#)
                .expect("must parse");
        let fields = Fields::of(&value, "Session").expect("must be an object");
        assert_eq!(fields.string("LockDelay"), Ok("1s".to_owned()));
        assert_eq!(fields.optional_string("TTL"), Ok(None));
        assert!(fields.has("ttl"));
        assert_eq!(fields.u64("flags"), Ok(u64::MAX));
    }

    #[test]
    fn errors_have_gos_words() {
        let value = parse(br#"{"KV": {"Flags": "x", "Index": -1, "Value": "a?=="}}"#).expect("ok");
        let outer = Fields::of(&value, "TxnOp").expect("must be an object");
        let kv = outer.object("KV", "KVTxnOp").expect("ok").expect("there");
        let words = |result: Result<u64, DecodeError>| result.expect_err("must fail").to_string();
        assert_eq!(
            words(kv.u64("Flags")),
            "json: cannot unmarshal string into Go struct field KVTxnOp.KV.Flags of type uint64"
        );
        assert_eq!(
            words(kv.u64("Index")),
            "json: cannot unmarshal number -1 into Go struct field KVTxnOp.KV.Index of type uint64"
        );
        assert_eq!(kv.bytes("Value"), Err(DecodeError::Base64(1)));
        assert_eq!(
            wrong_value(&value, "api.TxnOps").to_string(),
            "json: cannot unmarshal object into Go value of type api.TxnOps"
        );
    }
}
