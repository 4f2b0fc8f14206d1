//! Values of an expression as numbers and truth values, as Go's `strconv` reads them.

use crate::quote::quote;

/// `strconv.ParseInt(text, 0, 64)`: any base by its prefix, underscores between digits where there is a prefix.
pub(crate) fn parse_int(text: &str) -> Result<i64, String> {
    let syntax = || format!("strconv.ParseInt: parsing {}: invalid syntax", quote(text));
    let (negative, unsigned) = match text.strip_prefix(['+', '-']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    let lower = unsigned.to_ascii_lowercase();
    let (radix, digits) = if let Some(digits) = lower.strip_prefix("0x") {
        (16, digits)
    } else if let Some(digits) = lower.strip_prefix("0b") {
        (2, digits)
    } else if let Some(digits) = lower.strip_prefix("0o") {
        (8, digits)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, &*lower)
    };
    let digits = without_underscores(digits, radix != 10).ok_or_else(syntax)?;
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(syntax());
    }
    let signed = if negative {
        format!("-{digits}")
    } else {
        digits
    };
    i64::from_str_radix(&signed, radix).map_err(|_| {
        let quoted = quote(text);
        format!("strconv.ParseInt: parsing {quoted}: value out of range")
    })
}

/// Underscores may stand between digits, and between prefix and digits; never doubled or last.
fn without_underscores(digits: &str, has_prefix: bool) -> Option<String> {
    if !digits.contains('_') {
        return Some(digits.to_owned());
    }
    let bad = !has_prefix || digits.contains("__") || digits.ends_with('_');
    (!bad).then(|| digits.replace('_', ""))
}

/// `strconv.ParseBool`.
pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!(
            "strconv.ParseBool: parsing {}: invalid syntax",
            quote(text)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_every_base_that_go_knows() {
        let cases = [
            ("80", 80),
            ("-5", -5),
            ("0x1F", 31),
            ("0b101", 5),
            ("0o17", 15),
            ("017", 15),
            ("0x_1f", 31),
            ("0", 0),
        ];
        for (text, number) in cases {
            assert_eq!(parse_int(text), Ok(number), "{text}");
        }
        for bad in ["", "x", "1_0", "0x", "08", "1.5", "0x1__f", "--1"] {
            assert!(
                parse_int(bad).is_err_and(|words| words.ends_with("invalid syntax")),
                "{bad}"
            );
        }
        let words = parse_int("9223372036854775808").expect_err("must not fit");
        assert_eq!(
            words,
            "strconv.ParseInt: parsing \"9223372036854775808\": value out of range"
        );
        assert_eq!(parse_int("-9223372036854775808"), Ok(i64::MIN));
    }
}
