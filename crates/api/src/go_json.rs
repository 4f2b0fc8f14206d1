//! Why a text is no JSON, in the words of Go's `encoding/json`.
//!
//! Consul passes those words on and clients show them. The parsing itself is serde's; this scanner runs only over what
//! serde has refused, so it may be slow, and must never refuse what serde accepts.

/// The first syntax error in `text`, in Go's words. `None`: a whole value stands at its beginning.
pub fn syntax_error(text: &[u8]) -> Option<String> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.space();
    if scanner.at == text.len() {
        return Some("EOF".to_owned());
    }
    match scanner.value(0) {
        Ok(()) => None,
        Err(Wrong::End) => Some("unexpected EOF".to_owned()),
        Err(Wrong::Character(context)) => Some(format!(
            "invalid character {} {context}",
            quote(text[scanner.at])
        )),
    }
}

/// Values within values that are followed. Go's scanner follows 10,000, but this one recurses, and a debug build's frames
/// overflow a thread's stack long before that; serde gives up at 128, so nothing that it accepts is refused.
const DEPTH_MAX: usize = 500;

enum Wrong {
    /// The text ends before the value does.
    End,
    /// The character at the scanner's place stands where it must not.
    Character(String),
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Result<u8, Wrong> {
        self.text.get(self.at).copied().ok_or(Wrong::End)
    }

    fn space(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// The next character that is not white space.
    fn next_token(&mut self) -> Result<u8, Wrong> {
        self.space();
        self.peek()
    }

    fn value(&mut self, depth: usize) -> Result<(), Wrong> {
        match self.next_token()? {
            b'{' | b'[' if depth == DEPTH_MAX => wrong("exceeded max depth"),
            b'{' => self.object(depth + 1),
            b'[' => self.array(depth + 1),
            b'"' => self.string(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            b'-' | b'0'..=b'9' => self.number(),
            _ => wrong("looking for beginning of value"),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), Wrong> {
        self.at += 1;
        if self.next_token()? == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            if self.next_token()? != b'"' {
                return wrong("looking for beginning of object key string");
            }
            self.string()?;
            if self.next_token()? != b':' {
                return wrong("after object key");
            }
            self.at += 1;
            self.value(depth)?;
            match self.next_token()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return wrong("after object key:value pair"),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), Wrong> {
        self.at += 1;
        if self.next_token()? == b']' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value(depth)?;
            match self.next_token()? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return wrong("after array element"),
            }
        }
    }

    fn string(&mut self) -> Result<(), Wrong> {
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => {
                    self.at += 1;
                    self.escape()?;
                }
                0..0x20 => return wrong("in string literal"),
                _ => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<(), Wrong> {
        match self.peek()? {
            b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => self.at += 1,
            b'u' => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek()?.is_ascii_hexdigit() {
                        return wrong("in \\u hexadecimal character escape");
                    }
                    self.at += 1;
                }
            }
            _ => return wrong("in string escape code"),
        }
        Ok(())
    }

    fn literal(&mut self, word: &str) -> Result<(), Wrong> {
        for expected in word.bytes() {
            if self.peek()? != expected {
                let expected = expected as char;
                return wrong(&format!("in literal {word} (expecting '{expected}')"));
            }
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Wrong> {
        if self.peek()? == b'-' {
            self.at += 1;
        }
        match self.peek()? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits(),
            _ => return wrong("in numeric literal"),
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            if !self.peek()?.is_ascii_digit() {
                return wrong("after decimal point in numeric literal");
            }
            self.digits();
        }
        if matches!(self.text.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.text.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if !self.peek()?.is_ascii_digit() {
                return wrong("in exponent of numeric literal");
            }
            self.digits();
        }
        Ok(())
    }

    fn digits(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
    }
}

fn wrong<T>(context: &str) -> Result<T, Wrong> {
    Err(Wrong::Character(context.to_owned()))
}

/// A byte as Go quotes it: bytes past ASCII are taken one by one, as Latin-1.
fn quote(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        0x07 => r"'\a'".to_owned(),
        0x08 => r"'\b'".to_owned(),
        0x0b => r"'\v'".to_owned(),
        0x0c => r"'\f'".to_owned(),
        0..0x20 | 0x7f => format!("'\\x{byte:02x}'"),
        0x80..0xa1 | 0xad => format!("'\\u{byte:04x}'"),
        _ => format!("'{}'", byte as char),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntax_errors_have_gos_words() {
        let cases = [
            ("", "EOF"),
            ("  ", "EOF"),
            (
                "{bad json",
                "invalid character 'b' looking for beginning of object key string",
            ),
            ("{\"a\"", "unexpected EOF"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            (
                "{\"a\":1 \"b\"",
                "invalid character '\"' after object key:value pair",
            ),
            ("[1 2]", "invalid character '2' after array element"),
            (
                "[1,]",
                "invalid character ']' looking for beginning of value",
            ),
            (
                "{\"a\":1,}",
                "invalid character '}' looking for beginning of object key string",
            ),
            (
                "nope",
                "invalid character 'o' in literal null (expecting 'u')",
            ),
            ("\"a\nb\"", "invalid character '\\n' in string literal"),
            ("\"\\q\"", "invalid character 'q' in string escape code"),
            (
                "\"\\u12x4\"",
                "invalid character 'x' in \\u hexadecimal character escape",
            ),
            ("-x", "invalid character 'x' in numeric literal"),
            (
                "1.x",
                "invalid character 'x' after decimal point in numeric literal",
            ),
            (
                "1ex",
                "invalid character 'x' in exponent of numeric literal",
            ),
            (
                "\u{e9}",
                "invalid character '\u{c3}' looking for beginning of value",
            ),
        ];
        for (text, words) in cases {
            assert_eq!(
                syntax_error(text.as_bytes()).as_deref(),
                Some(words),
                "{text}"
            );
        }
    }

    #[test]
    fn a_hundred_thousand_brackets_are_too_deep_and_no_stack_overflow() {
        for bracket in ["[", "{\"a\":"] {
            let words = syntax_error(bracket.repeat(100_000).as_bytes()).unwrap();
            assert!(words.ends_with("exceeded max depth"), "{words}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_serde_accepts_has_no_error(text in "[\\[\\]{}:,\" ntrue0-9.e\\\\-]{0,12}") {
            if serde_json::from_str::<serde_json::Value>(&text).is_ok() {
                proptest::prop_assert_eq!(syntax_error(text.as_bytes()), None);
            }
        }
    }
}
