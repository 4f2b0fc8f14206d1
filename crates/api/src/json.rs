//! JSON as Go writes it: `<`, `>`, `&` and the two line separators escaped, base64 for bytes, indented by four.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::ser::Formatter;

/// A value as Go's `json.Marshal` writes it.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    write(&mut out, value);
    out
}

/// Appends a value as Go's `json.Marshal` writes it.
pub fn write<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let mut serializer = serde_json::Serializer::with_formatter(out, GoFormatter);
    value
        .serialize(&mut serializer)
        .expect("our own types must have string keys and a vector never fails");
}

/// Appends a string with its quotes.
pub fn write_str(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(is_plain) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        write(out, text);
    }
}

/// Appends a number.
pub fn write_u64(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// Appends bytes in base64, or `null` where there are none, as Consul does.
pub fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.is_empty() {
        out.extend_from_slice(b"null");
        return;
    }
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD
        .encode_slice(bytes, &mut out[start..])
        .expect("four characters for every three bytes must suffice");
    out.truncate(start + written);
    out.push(b'"');
}

/// Indents compact JSON as `json.MarshalIndent` with four spaces, with a newline at its end (`?pretty`).
pub fn indent(compact: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(compact.len() * 2);
    let mut depth = 0;
    let mut rest = compact.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => {
                out.push(byte);
                copy_string(&mut rest, &mut out);
            }
            b'{' | b'[' => {
                out.push(byte);
                if let Some(close) = rest.next_if(|next| matches!(next, b'}' | b']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            b'}' | b']' => {
                depth -= 1;
                new_line(&mut out, depth);
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                new_line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            _ => out.push(byte),
        }
    }
    out.push(b'\n');
    out
}

fn copy_string(rest: &mut impl Iterator<Item = u8>, out: &mut Vec<u8>) {
    let mut escaped = false;
    for byte in rest {
        out.push(byte);
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return,
            _ => {}
        }
    }
}

fn new_line(out: &mut Vec<u8>, depth: usize) {
    out.push(b'\n');
    out.resize(out.len() + 4 * depth, b' ');
}

/// Whether a byte stands in a JSON string as it is, and begins nothing that Go escapes.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&')
}

/// serde_json's compact form with Go's additional escapes.
struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (plain, special) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let character = special
                .chars()
                .next()
                .expect("a match must have a character");
            write!(writer, "\\u{:04x}", u32::from(character))?;
            rest = &special[character.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_go_escapes_them() {
        let mut out = Vec::new();
        write_str(&mut out, "a<b>&\u{2028}\"\\\n\u{e9}");
        assert_eq!(
            String::from_utf8(out).expect("JSON is UTF-8"),
            "\"a\\u003cb\\u003e\\u0026\\u2028\\\"\\\\\\n\u{e9}\""
        );
    }

    #[test]
    fn no_bytes_are_null() {
        let mut out = Vec::new();
        write_base64(&mut out, b"");
        write_base64(&mut out, b"one");
        write_base64(&mut out, b"v");
        assert_eq!(out, b"null\"b25l\"\"dg==\"");
    }

    #[test]
    fn indenting_follows_gos_layout() {
        let compact = br#"[{"a":[],"b":{},"c":"x,{\"}"},1]"#;
        let expected = "[\n    {\n        \"a\": [],\n        \"b\": {},\n        \"c\": \"x,{\\\"}\"\n    },\n    1\n]\n";
        assert_eq!(String::from_utf8_lossy(&indent(compact)), expected);
    }

    proptest::proptest! {
        #[test]
        fn numbers_and_strings_are_read_back(number: u64, text: String) {
            let mut out = Vec::new();
            out.push(b'[');
            write_u64(&mut out, number);
            out.push(b',');
            write_str(&mut out, &text);
            out.push(b']');
            for json in [indent(&out), out] {
                let (n, t): (u64, String) = serde_json::from_slice(&json).expect("must be JSON");
                proptest::prop_assert_eq!((n, &t), (number, &text));
            }
        }
    }
}
