//! What a setting is: its key, kind, bounds, default and words, from which flag and variable follow.
//!
//! The table itself stands in `table.rs`. Nothing else may spell a flag or a variable: they are derived from the key, so
//! that the three never drift.

use std::time::Duration;

/// The kind of a setting's value, with its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Words.
    Text,
    /// A path of a file or directory.
    Path,
    /// `true` or `false`.
    Flag,
    /// A whole number within bounds (both included), in `unit`.
    Integer {
        /// Smallest value.
        min: i64,
        /// Largest value.
        max: i64,
        /// What is counted.
        unit: &'static str,
    },
    /// A port: 1..65535, 0 for any free one, -1 for none.
    Port,
    /// A Go duration (`10s`, `1h30m`) within bounds (both included).
    Duration {
        /// Shortest.
        min: Duration,
        /// Longest.
        max: Duration,
    },
    /// A list of words: a YAML list; as flag repeated; as variable with commas between.
    List,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Anything, looked at only to see whether it is set.
    Any,
}

/// How far a setting is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// In effect.
    Built,
    /// Recognised; what it sets up is not in this version. Another value than the default gives a warning.
    Later,
    /// Recognised; a value that would switch it on is an error, because who sets it relies on it.
    Refused,
    /// Recognised; has no effect while the settings that switch its subject on are refused. Not even a warning.
    Inert,
    /// Consul's setting for something Rollcall leaves out. All that are set are named in one warning.
    LeftOut,
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its path in the file, dots between. Ends in `.*` when it stands for everything below.
    pub key: &'static str,
    /// Consul's flag where it differs from the key; taken as a second name of the flag.
    pub alias: Option<&'static str>,
    /// The kind of value.
    pub kind: Kind,
    /// The default, as it would be written. Empty: none.
    pub default: &'static str,
    /// What it does, in one or two sentences.
    pub doc: &'static str,
    /// How far it is built.
    pub stage: Stage,
}

impl Setting {
    /// The flag: `--a-b-c` for `a.b_c`.
    pub fn flag(&self) -> String {
        self.key.replace(['.', '_'], "-")
    }

    /// The variable: `ROLLCALL_A_B_C` for `a.b_c`.
    pub fn variable(&self) -> String {
        format!(
            "ROLLCALL_{}",
            self.key.replace('.', "_").to_ascii_uppercase()
        )
    }

    /// Whether it has a flag and a variable of its own: settings that do something, or that refuse to.
    pub fn has_flag(&self) -> bool {
        match self.stage {
            Stage::Built | Stage::Later | Stage::Refused => {
                !self.key.ends_with(".*") && self.kind != Kind::Any
            }
            Stage::Inert | Stage::LeftOut => false,
        }
    }

    /// Whether `path` is this setting, or one below it when the key ends in `.*`.
    pub(crate) fn covers(&self, path: &str) -> bool {
        match self.key.strip_suffix(".*") {
            Some(parent) => path
                .strip_prefix(parent)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
            None => self.key == path,
        }
    }
}

impl Kind {
    /// The kind in words, with unit and bounds, for documentation.
    pub fn words(&self) -> String {
        match self {
            Kind::Text => "text".into(),
            Kind::Path => "path".into(),
            Kind::Flag => "true or false".into(),
            Kind::Integer { min, max, unit } => format!("{min}..{max} {unit}").trim_end().into(),
            Kind::Port => "port (0: any free one, -1: none)".into(),
            Kind::Duration { min, max } => {
                format!(
                    "duration, {}..{}",
                    super::value::duration_text(*min),
                    super::value::duration_text(*max)
                )
            }
            Kind::List => "list".into(),
            Kind::Choice(words) => words.join(", "),
            Kind::Any => "anything".into(),
        }
    }
}
