//! Reads typed values out of [`Layers`] by key, and makes errors that name key, value and origin.
//!
//! Kinds were checked when the layers were filled, so a value of another kind here is a bug of ours and panics.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;

use super::ConfigError;
use super::layers::{Layers, Origin, Sourced};
use super::setting::Stage;
use super::value::{Value, duration_text};

/// Layers being read.
pub(super) struct Reader<'a> {
    layers: &'a Layers,
    /// What was read, so that a test can see that no built setting is forgotten.
    seen: Mutex<BTreeSet<String>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(layers: &'a Layers) -> Reader<'a> {
        Reader {
            layers,
            seen: Mutex::new(BTreeSet::new()),
        }
    }

    #[cfg(test)]
    pub(super) fn seen(&self) -> BTreeSet<String> {
        self.seen.lock().clone()
    }

    fn get(&self, key: &str) -> Option<Sourced> {
        self.seen.lock().insert(key.to_owned());
        self.layers.get(key)
    }

    /// Words; `None` when not set or empty.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        match self.get(key)?.value {
            Value::Text(text) => Some(text).filter(|text| !text.is_empty()),
            other => panic!("{key} must be text, is {other:?}"),
        }
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        match self.get(key).map(|sourced| sourced.value) {
            Some(Value::Flag(flag)) => flag,
            other => panic!("{key} must be a flag with a default, is {other:?}"),
        }
    }

    /// A whole number, whose bounds must fit the type.
    pub(super) fn number<T: TryFrom<i64>>(&self, key: &str) -> T {
        match self.get(key).map(|sourced| sourced.value) {
            Some(Value::Integer(number)) => T::try_from(number)
                .ok()
                .expect("a setting's bounds must fit the type it is read into"),
            other => panic!("{key} must be a number with a default, is {other:?}"),
        }
    }

    /// A port; `None` for -1.
    pub(super) fn port(&self, key: &str) -> Option<u16> {
        u16::try_from(self.number::<i64>(key)).ok()
    }

    pub(super) fn duration(&self, key: &str) -> Duration {
        match self.get(key).map(|sourced| sourced.value) {
            Some(Value::Duration(duration)) => duration,
            other => panic!("{key} must be a duration with a default, is {other:?}"),
        }
    }

    pub(super) fn list(&self, key: &str) -> Vec<String> {
        match self.get(key).map(|sourced| sourced.value) {
            None => Vec::new(),
            Some(Value::List(words)) => words,
            other => panic!("{key} must be a list, is {other:?}"),
        }
    }

    pub(super) fn ip(&self, key: &str) -> Result<IpAddr, ConfigError> {
        let text = self.text(key).unwrap_or_default();
        text.parse()
            .map_err(|_| self.wrong(key, "expected an IP address"))
    }

    /// What was set below `key.*`: the last part of each path, and its value as text.
    pub(super) fn below(&self, key: &str) -> Vec<(String, String)> {
        self.seen.lock().insert(format!("{key}.*"));
        let prefix = format!("{key}.");
        let set = self.layers.set_in(Stage::Built);
        set.filter_map(|(path, _, sourced)| {
            let name = path.strip_prefix(&prefix)?;
            Some((name.to_owned(), shown(&sourced.value)))
        })
        .collect()
    }

    /// An error about a setting's value.
    pub(super) fn wrong(&self, key: &str, expected: &str) -> ConfigError {
        let value = self
            .get(key)
            .map(|sourced| shown(&sourced.value))
            .unwrap_or_default();
        self.wrong_as(key, &value, expected)
    }

    /// An error about a value that is a part of the setting, or not from the settings at all.
    pub(super) fn wrong_as(&self, key: &str, value: &str, expected: &str) -> ConfigError {
        let origin = self
            .get(key)
            .map_or(Origin::Default, |sourced| sourced.origin);
        ConfigError::Invalid {
            key: key.to_owned(),
            value: value.to_owned(),
            expected: expected.to_owned(),
            origin,
        }
    }

    /// Fails on the first setting that would switch on what is not built.
    pub(super) fn refuse_not_built(&self) -> Result<(), ConfigError> {
        match self.layers.set_in(Stage::Refused).next() {
            None => Ok(()),
            Some((path, _, sourced)) => Err(ConfigError::NotBuilt {
                key: path.to_owned(),
                origin: sourced.origin.clone(),
            }),
        }
    }

    /// One warning for all that is left out, one for all that comes later.
    pub(super) fn warnings(&self) -> Vec<String> {
        let named = |stage| {
            let paths: Vec<&str> = self.layers.set_in(stage).map(|(path, _, _)| path).collect();
            paths.join(", ")
        };
        let mut warnings = Vec::new();
        let left_out = named(Stage::LeftOut);
        if !left_out.is_empty() {
            warnings.push(format!(
                "settings of Consul that have no effect here: {left_out}"
            ));
        }
        let later = named(Stage::Later);
        if !later.is_empty() {
            warnings.push(format!(
                "settings that have no effect in this version yet: {later}"
            ));
        }
        warnings
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) | Value::Any(text) => text.clone(),
        Value::Flag(flag) => flag.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Duration(duration) => duration_text(*duration),
        Value::List(words) => words.join(", "),
    }
}
