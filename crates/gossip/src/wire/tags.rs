//! A member's tags as they stand in its meta: one magic byte and a map of strings. Meta without the magic byte is what very
//! old members wrote: the bare role.

use std::collections::BTreeMap;

use super::WireError;
use super::msgpack::{Reader, Writer};

/// Names and values of what a member says of itself, in order.
pub type Tags = BTreeMap<String, String>;

const MAGIC: u8 = 255;

/// Encodes tags as meta.
pub(crate) fn encode(tags: &Tags) -> Vec<u8> {
    let mut writer = Writer::of_kind(MAGIC);
    writer.map(tags.len());
    for (tag, value) in tags {
        writer.string(tag);
        writer.string(value);
    }
    writer.finish()
}

/// Decodes meta. What is not text is replaced, not refused: tags of others are shown, never acted on without a check.
pub(crate) fn decode(meta: &[u8]) -> Result<Tags, WireError> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let Some((&MAGIC, body)) = meta.split_first() else {
        return Ok(Tags::from([("role".to_owned(), text(meta))]));
    };
    let mut reader = Reader::new(body);
    let mut tags = Tags::new();
    for _ in 0..reader.map()? {
        let tag = text(reader.raw()?);
        tags.insert(tag, text(reader.raw()?));
    }
    Ok(tags)
}

/// One tag's value, read without decoding the others. Absent, or meta that is no map of strings: `None`.
pub(crate) fn find<'a>(meta: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    let (&MAGIC, body) = meta.split_first()? else {
        return None;
    };
    let mut reader = Reader::new(body);
    for _ in 0..reader.map().ok()? {
        let tag = reader.raw().ok()?;
        let value = reader.raw().ok()?;
        if tag == wanted.as_bytes() {
            return Some(value);
        }
    }
    None
}
