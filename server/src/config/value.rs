//! Reads one setting's value from the words of a flag or variable, or from YAML, and checks kind and bounds.
//!
//! It knows nothing of where a value came from; the caller adds that to the error.

use std::time::Duration;

use super::setting::Kind;

/// A value of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// Of `Text`, `Path` and `Choice`.
    Text(String),
    /// Of `Flag`.
    Flag(bool),
    /// Of `Integer` and `Port`.
    Integer(i64),
    /// Of `Duration`.
    Duration(Duration),
    /// Of `List`.
    List(Vec<String>),
    /// Of `Any`: it is set, and to what, as YAML would write it.
    Any(String),
}

/// Highest port.
const PORT_MAX: i64 = 65_535;

/// Reads words (of a flag, a variable or a default). The error says what was expected.
pub(crate) fn from_text(kind: Kind, text: &str) -> Result<Value, String> {
    match kind {
        Kind::Text | Kind::Path => Ok(Value::Text(text.to_owned())),
        Kind::Flag => match text {
            "true" | "1" => Ok(Value::Flag(true)),
            "false" | "0" => Ok(Value::Flag(false)),
            _ => Err("expected true or false".into()),
        },
        Kind::Integer { min, max, unit } => integer(text, min, max, unit),
        Kind::Port => integer(text, -1, PORT_MAX, "(0: any free port, -1: none)"),
        Kind::Duration { min, max } => duration(text, min, max),
        Kind::List => Ok(Value::List(
            text.split(',')
                .map(str::trim)
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect(),
        )),
        Kind::Choice(words) => {
            let lower = text.to_ascii_lowercase();
            if words.contains(&lower.as_str()) {
                Ok(Value::Text(lower))
            } else {
                Err(format!("expected one of {}", words.join(", ")))
            }
        }
        Kind::Any => Ok(Value::Any(text.to_owned())),
    }
}

/// Reads a YAML value. `Ok(None)`: null, which means not set.
pub(crate) fn from_yaml(kind: Kind, yaml: &serde_yaml::Value) -> Result<Option<Value>, String> {
    use serde_yaml::Value as Yaml;
    match (kind, yaml) {
        (_, Yaml::Null) => Ok(None),
        (_, Yaml::Tagged(tagged)) => from_yaml(kind, &tagged.value),
        (Kind::Any, other) => Ok(Some(Value::Any(yaml_text(other)))),
        (Kind::List, Yaml::Sequence(items)) => {
            let words: Result<Vec<String>, String> = items
                .iter()
                .map(|item| scalar_text(item).ok_or_else(|| "expected a list of words".to_owned()))
                .collect();
            words.map(|words| Some(Value::List(words)))
        }
        (Kind::Duration { .. }, Yaml::Number(_)) => {
            Err("expected a duration with its unit, such as 10s or 1h30m".into())
        }
        (_, Yaml::Sequence(_)) => Err(format!("expected {}, found a list", kind.words())),
        (_, Yaml::Mapping(_)) => Err(format!("expected {}, found a mapping", kind.words())),
        (_, scalar) => {
            let text = scalar_text(scalar).unwrap_or_default();
            from_text(kind, &text).map(Some)
        }
    }
}

/// A YAML value in words, for error messages: one line, cut off where it is long.
pub(crate) fn yaml_text(yaml: &serde_yaml::Value) -> String {
    /// Longest excerpt of a value in a message, in characters: enough to find it in the file.
    const SHOWN_MAX: usize = 60;
    let text = scalar_text(yaml)
        .or_else(|| serde_json::to_string(yaml).ok())
        .unwrap_or_else(|| "a value".to_owned());
    if text.chars().count() > SHOWN_MAX {
        text.chars().take(SHOWN_MAX).chain("…".chars()).collect()
    } else {
        text
    }
}

fn scalar_text(yaml: &serde_yaml::Value) -> Option<String> {
    match yaml {
        serde_yaml::Value::Bool(flag) => Some(flag.to_string()),
        serde_yaml::Value::Number(number) => Some(number.to_string()),
        serde_yaml::Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

fn integer(text: &str, min: i64, max: i64, unit: &str) -> Result<Value, String> {
    let expected = || {
        format!("expected a whole number from {min} to {max} {unit}")
            .trim_end()
            .to_owned()
    };
    let number: i64 = text.parse().map_err(|_| expected())?;
    if (min..=max).contains(&number) {
        Ok(Value::Integer(number))
    } else {
        Err(expected())
    }
}

fn duration(text: &str, min: Duration, max: Duration) -> Result<Value, String> {
    let expected = || {
        format!(
            "expected a duration from {} to {}, such as 10s or 1h30m",
            duration_text(min),
            duration_text(max)
        )
    };
    let value = parse_duration(text).ok_or_else(expected)?;
    if (min..=max).contains(&value) {
        Ok(Value::Duration(value))
    } else {
        Err(expected())
    }
}

/// Reads a Go duration that is not negative: numbers with units `ns`, `us`, `µs`, `ms`, `s`, `m`, `h`, one after the other.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = 0u128;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        total = total.checked_add(nanoseconds(number, unit)?)?;
        rest = tail;
    }
    (!text.is_empty())
        .then(|| u64::try_from(total).ok().map(Duration::from_nanos))
        .flatten()
}

fn nanoseconds(number: &str, unit: &str) -> Option<u128> {
    let unit: u128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: u128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut total = whole.checked_mul(unit)?;
    let mut scale = unit;
    for digit in fraction.chars() {
        scale /= 10;
        total = total.checked_add(scale.checked_mul(u128::from(digit.to_digit(10)?))?)?;
    }
    Some(total)
}

/// A duration as a person would write it.
pub(crate) fn duration_text(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    match milliseconds {
        0 => "0s".into(),
        _ if milliseconds.is_multiple_of(3_600_000) => format!("{}h", milliseconds / 3_600_000),
        _ if milliseconds.is_multiple_of(60_000) => format!("{}m", milliseconds / 60_000),
        _ if milliseconds.is_multiple_of(1_000) => format!("{}s", milliseconds / 1_000),
        _ => format!("{milliseconds}ms"),
    }
}
