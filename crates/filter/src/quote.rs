//! Go's quoting of strings (`%q`), which stands in error words that clients compare, and how Go undoes it.

use std::fmt::Write;

/// `text` between double quotes, as Go's `%q`.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            c => escape(&mut out, c),
        }
    }
    out.push('"');
    out
}

/// `text` as a literal of a filter expression. Those end at the first double quote, escaped or not.
pub(crate) fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\x22"),
            c => escape(&mut out, c),
        }
    }
    out.push('"');
    out
}

fn escape(out: &mut String, c: char) {
    let written = match c {
        '\\' => return out.push_str("\\\\"),
        '\u{7}' => return out.push_str("\\a"),
        '\u{8}' => return out.push_str("\\b"),
        '\u{c}' => return out.push_str("\\f"),
        '\n' => return out.push_str("\\n"),
        '\r' => return out.push_str("\\r"),
        '\t' => return out.push_str("\\t"),
        '\u{b}' => return out.push_str("\\v"),
        c if c < ' ' || c == '\u{7f}' => write!(out, "\\x{:02x}", u32::from(c)),
        c if c.is_control() => write!(out, "\\u{:04x}", u32::from(c)),
        c => return out.push(c),
    };
    written.expect("writing to a String must succeed");
}

/// What Go's `strconv.Unquote` makes of a literal with its quotes. `None`: invalid syntax, or not UTF-8.
pub(crate) fn unquote(literal: &str) -> Option<String> {
    if let Some(raw) = literal.strip_prefix('`') {
        return Some(raw.strip_suffix('`')?.replace('\r', ""));
    }
    let text = literal.strip_prefix('"')?.strip_suffix('"')?;
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\n' | '"' => return None,
            '\\' => unescape(&mut rest, &mut out)?,
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    String::from_utf8(out).ok()
}

fn unescape(rest: &mut std::str::Chars<'_>, out: &mut Vec<u8>) -> Option<()> {
    let plain = match rest.next()? {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        'x' => u8::try_from(digits(rest, 2, 16)?).ok()?,
        'u' => return unicode(digits(rest, 4, 16)?, out),
        'U' => return unicode(digits(rest, 8, 16)?, out),
        first @ '0'..='7' => {
            let high = first.to_digit(8)?;
            u8::try_from(high * 64 + digits(rest, 2, 8)?).ok()?
        }
        _ => return None,
    };
    out.push(plain);
    Some(())
}

fn digits(rest: &mut std::str::Chars<'_>, count: usize, radix: u32) -> Option<u32> {
    let mut number: u32 = 0;
    for _ in 0..count {
        let digit = rest.next()?.to_digit(radix)?;
        number = number.checked_mul(radix)?.checked_add(digit)?;
    }
    Some(number)
}

fn unicode(number: u32, out: &mut Vec<u8>) -> Option<()> {
    let c = char::from_u32(number)?;
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_as_go_undoes_them() {
        assert_eq!(unquote(r#""a\tb\x41\101é""#).as_deref(), Some("a\tbAAé"));
        assert_eq!(unquote("`a\\d\r`").as_deref(), Some("a\\d"));
        for bad in [r#""\d""#, "\"\n\"", r#""\x4""#, r#""\'""#, r#""\400""#] {
            assert_eq!(unquote(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_literal_is_read_back(text: String) {
            let literal = literal(&text);
            proptest::prop_assert_eq!(unquote(&literal), Some(text));
        }
    }
}
