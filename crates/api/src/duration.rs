//! Durations as Go spells them: `1.5h`, `300ms`, `2m30s`.
//!
//! Clients send them in `?wait=`, session TTLs and lock-delays; errors must have Go's words, since clients show and
//! match them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A signed span in nanoseconds, as Go's `time.Duration`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(pub i64);

/// Why a text is no duration. The words are Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not a number with a unit, or too large.
    #[error("time: invalid duration {}", quote(.0))]
    Invalid(String),
    /// A number without unit. A bare `0` is allowed.
    #[error("time: missing unit in duration {}", quote(.0))]
    MissingUnit(String),
    /// A unit that Go does not know.
    #[error("time: unknown unit {} in duration {}", quote(.unit), quote(.value))]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// The whole text.
        value: String,
    },
}

const MICROSECOND: i64 = 1_000;
const MILLISECOND: i64 = 1_000 * MICROSECOND;
const SECOND: i64 = 1_000 * MILLISECOND;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

impl GoDuration {
    /// From whole seconds.
    pub const fn from_secs(seconds: i64) -> Self {
        GoDuration(seconds * SECOND)
    }

    /// Without its sign's meaning: negative spans are zero.
    pub fn to_std(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }

    /// From a standard duration; past 292 years it is 292 years.
    pub fn from_std(duration: Duration) -> Self {
        GoDuration(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let invalid = || DurationError::Invalid(text.to_owned());
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(GoDuration(0));
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total: i128 = 0;
        while !rest.is_empty() {
            let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
            let (number, after) = rest.split_at(number_end.unwrap_or(rest.len()));
            // A second point begins what Go then takes for a unit; either way it is no duration.
            let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
            if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
                return Err(invalid());
            }
            let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.');
            let (unit, next) = after.split_at(unit_end.unwrap_or(after.len()));
            let scale = match unit {
                "" => return Err(DurationError::MissingUnit(text.to_owned())),
                "ns" => 1,
                "us" | "\u{b5}s" | "\u{3bc}s" => MICROSECOND,
                "ms" => MILLISECOND,
                "s" => SECOND,
                "m" => MINUTE,
                "h" => HOUR,
                _ => {
                    return Err(DurationError::UnknownUnit {
                        unit: unit.to_owned(),
                        value: text.to_owned(),
                    });
                }
            };
            total += span(whole, fraction, scale).ok_or_else(invalid)?;
            rest = next;
        }
        let signed = if negative { -total } else { total };
        i64::try_from(signed).map(GoDuration).map_err(|_| invalid())
    }
}

/// Nanoseconds of `whole.fraction` units; `None` when it is too large.
fn span(whole: &str, fraction: &str, unit: i64) -> Option<i128> {
    let unit = i128::from(unit);
    let whole: i128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut nanoseconds = whole
        .checked_mul(unit)
        .filter(|&ns| ns <= i128::from(i64::MAX) + 1)?;
    let mut place = unit;
    let mut fraction_of_unit = 0;
    for digit in fraction.bytes().take(DIGITS_MAX) {
        // One digit at a time would round each: collect over the common denominator instead.
        place *= 10;
        fraction_of_unit = fraction_of_unit * 10 + i128::from(digit - b'0') * unit;
    }
    nanoseconds += fraction_of_unit / (place / unit);
    Some(nanoseconds)
}

/// Digits after the point that can matter: an hour has 3.6e12 nanoseconds.
const DIGITS_MAX: usize = 14;

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0.unsigned_abs();
        if ns == 0 {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let second = SECOND.unsigned_abs();
        match ns {
            0..1_000 => write!(f, "{ns}ns"),
            1_000..1_000_000 => decimal(f, ns, 1_000, "\u{b5}s"),
            1_000_000..1_000_000_000 => decimal(f, ns, 1_000_000, "ms"),
            _ => {
                let (hours, minutes) = (ns / second / 3600, ns / second / 60 % 60);
                if hours > 0 {
                    write!(f, "{hours}h")?;
                }
                if hours > 0 || minutes > 0 {
                    write!(f, "{minutes}m")?;
                }
                decimal(f, ns % (60 * second), second, "s")
            }
        }
    }
}

/// `value / unit` without trailing zeros.
fn decimal(f: &mut fmt::Formatter<'_>, value: u64, unit: u64, name: &str) -> fmt::Result {
    write!(f, "{}", value / unit)?;
    let fraction = value % unit;
    if fraction > 0 {
        let width = unit.ilog10() as usize;
        let digits = format!("{fraction:0width$}");
        write!(f, ".{}", digits.trim_end_matches('0'))?;
    }
    f.write_str(name)
}

/// Go's own quoting in this package: other than printable ASCII as `\xNN`.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => {
                quoted.push('\\');
                quoted.push(byte as char);
            }
            b' '..=b'~' => quoted.push(byte as char),
            _ => quoted.push_str(&format!("\\x{byte:02x}")),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_go_reads_them() {
        let cases = [
            ("0", 0),
            ("+0", 0),
            ("5s", 5 * SECOND),
            ("1.5h", 5_400 * SECOND),
            ("300ms", 300 * MILLISECOND),
            ("2.5s", 2_500 * MILLISECOND),
            (".5s", 500 * MILLISECOND),
            ("1.s", SECOND),
            ("60000ms", MINUTE),
            ("1h2m3s", 3723 * SECOND),
            ("-1m", -MINUTE),
            ("7us", 7_000),
            ("7\u{b5}s", 7_000),
            ("7\u{3bc}s", 7_000),
            ("0.001s", MILLISECOND),
            ("0.3333333333333333333h", 1_199_999_999_999),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
        ];
        for (text, nanoseconds) in cases {
            assert_eq!(text.parse(), Ok(GoDuration(nanoseconds)), "{text}");
        }
    }

    #[test]
    fn errors_have_gos_words() {
        let cases = [
            ("bad", "time: invalid duration \"bad\""),
            ("", "time: invalid duration \"\""),
            ("-", "time: invalid duration \"-\""),
            (".s", "time: invalid duration \".s\""),
            ("5", "time: missing unit in duration \"5\""),
            ("5d", "time: unknown unit \"d\" in duration \"5d\""),
            ("3000000h", "time: invalid duration \"3000000h\""),
            ("\u{e9}", "time: invalid duration \"\\xc3\\xa9\""),
        ];
        for (text, words) in cases {
            let error = GoDuration::from_str(text).expect_err(text);
            assert_eq!(error.to_string(), words);
        }
    }

    #[test]
    fn spans_are_printed_as_go_prints_them() {
        let cases = [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1\u{b5}s"),
            (2_200_000, "2.2ms"),
            (10 * SECOND, "10s"),
            (100 * SECOND, "1m40s"),
            (24 * HOUR, "24h0m0s"),
            (HOUR + 500 * MILLISECOND, "1h0m0.5s"),
            (-MINUTE, "-1m0s"),
        ];
        for (nanoseconds, text) in cases {
            assert_eq!(GoDuration(nanoseconds).to_string(), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_printed_is_read_back(nanoseconds: i64) {
            let printed = GoDuration(nanoseconds).to_string();
            proptest::prop_assert_eq!(printed.parse(), Ok(GoDuration(nanoseconds)));
        }
    }
}
