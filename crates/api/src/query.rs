//! Query strings: pairs without allocation, and the options every read understands.

use std::borrow::Cow;

use crate::duration::GoDuration;

/// The part of a URL behind its `?`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Query<'a>(pub &'a str);

impl<'a> Query<'a> {
    /// Names and values, decoded, in their order. A pair with a damaged escape is left out, as Go's `Query()` does.
    pub fn pairs(self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> {
        self.0
            .split('&')
            .filter(|pair| !pair.is_empty() && !pair.contains(';'))
            .filter_map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Some((decode(name, Plus::IsSpace)?, decode(value, Plus::IsSpace)?))
            })
    }

    /// The first value of a name; bare names have an empty one.
    pub fn get(self, name: &str) -> Option<Cow<'a, str>> {
        (self.pairs().find(|(found, _)| found == name)).map(|(_, value)| value)
    }

    /// Whether the name stands there, with whatever value: Consul's flags are set by their presence.
    pub fn has(self, name: &str) -> bool {
        !self.0.is_empty() && self.get(name).is_some()
    }
}

/// What a `+` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plus {
    /// In query strings.
    IsSpace,
    /// In paths.
    IsItself,
}

/// Undoes percent-encoding. `None`: a damaged escape, or not UTF-8.
pub fn decode(text: &str, plus: Plus) -> Option<Cow<'_, str>> {
    let special = |byte: &u8| *byte == b'%' || (*byte == b'+' && plus == Plus::IsSpace);
    if !text.as_bytes().iter().any(special) {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'%' => {
                let (digits, tail) = rest.split_at_checked(2)?;
                let high = char::from(digits[0]).to_digit(16)?;
                let low = char::from(digits[1]).to_digit(16)?;
                decoded.push(u8::try_from(high * 16 + low).ok()?);
                rest = tail;
            }
            b'+' if plus == Plus::IsSpace => decoded.push(b' '),
            _ => decoded.push(byte),
        }
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// Percent-encodes a text for a query string, as Go's `QueryEscape`.
pub fn encode_query(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push('+'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Percent-encodes a path, as Go's `URL.String()`: `/` stays.
pub fn encode_path(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => encoded.push(char::from(byte)),
            b'-' | b'_' | b'.' | b'~' | b'/' | b'$' | b'&' | b'+' | b',' | b':' | b';' | b'='
            | b'@' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// What every read understands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Answer from this server's state as it is.
    pub stale: bool,
    /// `?consistent`. Every answer that is not stale is; it is only said back.
    pub consistent: bool,
    /// `?cached`: an older answer would do.
    pub cached: bool,
    /// Wait until the answer's index is above this. 0: do not wait.
    pub index: u64,
    /// How long to wait. `None`: not given.
    pub wait: Option<GoDuration>,
}

/// Why options were refused (400). The words are Consul's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the words say it
pub enum OptionsError {
    #[error("Cannot specify ?stale with ?consistent, conflicting semantics.")]
    StaleAndConsistent,
    #[error("Cannot specify ?cached with ?consistent, conflicting semantics.")]
    CachedAndConsistent,
    #[error("Invalid index")]
    Index,
    #[error("Invalid wait time")]
    Wait,
}

impl ReadOptions {
    /// Reads the options of a query string.
    pub fn parse(query: Query<'_>) -> Result<Self, OptionsError> {
        let mut options = ReadOptions::default();
        if query.0.is_empty() {
            return Ok(options);
        }
        let (mut wait, mut index) = (None, None);
        for (name, value) in query.pairs() {
            match name.as_ref() {
                "stale" => options.stale = true,
                "consistent" => options.consistent = true,
                "cached" => options.cached = true,
                "wait" if wait.is_none() => wait = Some(value),
                "index" if index.is_none() => index = Some(value),
                _ => {}
            }
        }
        if options.stale && options.consistent {
            return Err(OptionsError::StaleAndConsistent);
        }
        if options.cached && options.consistent {
            return Err(OptionsError::CachedAndConsistent);
        }
        if let Some(wait) = wait.filter(|wait| !wait.is_empty()) {
            options.wait = Some(wait.parse().map_err(|_| OptionsError::Wait)?);
        }
        if let Some(index) = index.filter(|index| !index.is_empty()) {
            options.index = parse_u64(&index).map_err(|_| OptionsError::Index)?;
        }
        Ok(options)
    }
}

/// Why a text is no unsigned number. The words are those of Go's `strconv`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// Not only digits.
    #[error("strconv.ParseUint: parsing {0:?}: invalid syntax")]
    Syntax(String),
    /// Above 2^64 - 1.
    #[error("strconv.ParseUint: parsing {0:?}: value out of range")]
    Range(String),
}

/// Reads an unsigned number as Go does: digits only, no sign.
pub fn parse_u64(text: &str) -> Result<u64, NumberError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NumberError::Syntax(text.to_owned()));
    }
    (text.parse()).map_err(|_| NumberError::Range(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_count_by_presence_and_values_are_decoded() {
        let query = Query("stale&recurse=&separator=%2F&x=a+b&bad=%zz&index=7&wait=2.5s");
        assert!(query.has("stale") && query.has("recurse") && !query.has("keys"));
        assert_eq!(query.get("separator").as_deref(), Some("/"));
        assert_eq!(query.get("x").as_deref(), Some("a b"));
        assert_eq!(query.get("bad"), None);
        let options = ReadOptions::parse(query).expect("must parse");
        assert!(options.stale);
        assert_eq!(options.index, 7);
        assert_eq!(options.wait, Some(GoDuration(2_500_000_000)));
    }

    #[test]
    fn bad_options_are_refused_in_consuls_words() {
        let cases = [
            ("stale&consistent", OptionsError::StaleAndConsistent),
            ("cached&consistent", OptionsError::CachedAndConsistent),
            ("index=bad", OptionsError::Index),
            ("index=-1", OptionsError::Index),
            ("index=5&wait=bad", OptionsError::Wait),
        ];
        for (query, error) in cases {
            assert_eq!(ReadOptions::parse(Query(query)), Err(error), "{query}");
        }
    }

    #[test]
    fn numbers_have_gos_words() {
        let words = |text| parse_u64(text).expect_err("must fail").to_string();
        assert_eq!(
            words("notanumber"),
            "strconv.ParseUint: parsing \"notanumber\": invalid syntax"
        );
        assert_eq!(
            words("+1"),
            "strconv.ParseUint: parsing \"+1\": invalid syntax"
        );
        assert_eq!(
            words("18446744073709551616"),
            "strconv.ParseUint: parsing \"18446744073709551616\": value out of range"
        );
    }

    proptest::proptest! {
        #[test]
        fn what_is_encoded_is_decoded(text: String) {
            let query = encode_query(&text);
            proptest::prop_assert_eq!(decode(&query, Plus::IsSpace), Some(text.as_str().into()));
            let path = encode_path(&text);
            proptest::prop_assert_eq!(decode(&path, Plus::IsItself), Some(text.as_str().into()));
        }
    }
}
