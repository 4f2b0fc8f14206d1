//! Collects what files, variables and flags set, each with where it came from, and says which wins.
//!
//! A flag wins over a variable, a variable over a file, a file over the default. Among files the later wins; lists of files are
//! added up, as Consul does. Nothing is interpreted here beyond kind and bounds; `Config` looks at what belongs together.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::ConfigError;
use super::setting::{Kind, Setting, Stage};
use super::table::{self, SETTINGS};
use super::value::{self, Value};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The table.
    Default,
    /// A file.
    File(PathBuf),
    /// A variable of the environment, by name.
    Variable(String),
    /// A flag, by name without dashes.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("the default"),
            Origin::File(path) => write!(f, "file {}", path.display()),
            Origin::Variable(name) => write!(f, "variable {name}"),
            Origin::Flag(name) => write!(f, "flag --{name}"),
        }
    }
}

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sourced {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// What was set, setting by setting.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// By path; only what was set.
    set: BTreeMap<String, Sourced>,
}

/// A file name's ends that `--config-dir` reads.
const FILE_ENDS: [&str; 3] = ["yaml", "yml", "json"];

/// Largest configuration file, in bytes: a hundred times what a large one has, so that a wrong path (a device, a log) is told
/// from a configuration.
const FILE_BYTES_MAX: u64 = 4 << 20;

impl Layers {
    /// Nothing set.
    pub fn new() -> Layers {
        Layers::default()
    }

    /// Adds a file, or the `.yaml`, `.yml` and `.json` files of a directory in the order of their names.
    pub fn add_path(&mut self, path: &Path) -> Result<(), ConfigError> {
        let read = |source| ConfigError::Read {
            path: path.to_owned(),
            source,
        };
        if !std::fs::metadata(path).map_err(read)?.is_dir() {
            return self.add_file(path);
        }
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path).map_err(read)? {
            let file = entry.map_err(read)?.path();
            let end = file
                .extension()
                .and_then(|end| end.to_str())
                .unwrap_or_default();
            if end == "hcl" {
                return Err(ConfigError::Hcl { path: file });
            }
            if FILE_ENDS.contains(&end) && file.is_file() {
                files.push(file);
            }
        }
        files.sort();
        files.iter().try_for_each(|file| self.add_file(file))
    }

    fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        use std::io::Read as _;
        let read = |source| ConfigError::Read {
            path: path.to_owned(),
            source,
        };
        if path.extension().is_some_and(|end| end == "hcl") {
            return Err(ConfigError::Hcl {
                path: path.to_owned(),
            });
        }
        let mut bytes = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(read)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(ConfigError::TooLarge {
                path: path.to_owned(),
                max: FILE_BYTES_MAX,
            });
        }
        self.add_yaml(path, &bytes)
    }

    /// Adds a file's content. `path` names it in errors.
    pub fn add_yaml(&mut self, path: &Path, content: &[u8]) -> Result<(), ConfigError> {
        let yaml: serde_yaml::Value =
            serde_yaml::from_slice(content).map_err(|error| ConfigError::Syntax {
                path: path.to_owned(),
                detail: error.to_string(),
            })?;
        match yaml {
            serde_yaml::Value::Null => Ok(()),
            serde_yaml::Value::Mapping(mapping) => self.add_mapping(path, "", &mapping),
            other => Err(ConfigError::Syntax {
                path: path.to_owned(),
                detail: format!(
                    "expected settings (key: value), found {}",
                    value::yaml_text(&other)
                ),
            }),
        }
    }

    fn add_mapping(
        &mut self,
        file: &Path,
        parent: &str,
        mapping: &serde_yaml::Mapping,
    ) -> Result<(), ConfigError> {
        for (key, yaml) in mapping {
            let Some(name) = key.as_str() else {
                return Err(ConfigError::Syntax {
                    path: file.to_owned(),
                    detail: format!("{} is no name of a setting", value::yaml_text(key)),
                });
            };
            let path = if parent.is_empty() {
                name.to_owned()
            } else {
                format!("{parent}.{name}")
            };
            // A dot inside a key would read as a level that the file does not have.
            let setting = if name.contains('.') {
                None
            } else {
                table::find(&path)
            };
            match (setting, yaml) {
                (Some(setting), _) => self.add_file_value(file, &path, setting, yaml)?,
                (None, serde_yaml::Value::Mapping(below)) if is_parent(&path) => {
                    self.add_mapping(file, &path, below)?;
                }
                (None, serde_yaml::Value::Null) if is_parent(&path) => {}
                (None, _) if is_parent(&path) => {
                    return Err(invalid(
                        &path,
                        yaml,
                        "expected a mapping of settings",
                        Origin::File(file.to_owned()),
                    ));
                }
                (None, _) => {
                    return Err(ConfigError::UnknownKey {
                        nearest: nearest(&path),
                        key: path,
                        path: file.to_owned(),
                    });
                }
            }
        }
        Ok(())
    }

    fn add_file_value(
        &mut self,
        file: &Path,
        path: &str,
        setting: &Setting,
        yaml: &serde_yaml::Value,
    ) -> Result<(), ConfigError> {
        let origin = Origin::File(file.to_owned());
        let read = value::from_yaml(setting.kind, yaml);
        let Some(value) =
            read.map_err(|expected| invalid(path, yaml, &expected, origin.clone()))?
        else {
            return Ok(());
        };
        match (self.set.get_mut(path), value) {
            (
                Some(Sourced {
                    value: Value::List(words),
                    ..
                }),
                Value::List(more),
            ) => words.extend(more),
            (_, value) => {
                self.set.insert(path.to_owned(), Sourced { value, origin });
            }
        }
        Ok(())
    }

    /// Takes from the environment what belongs to a setting; every other name is left alone, since Kubernetes puts names of its
    /// own (`ROLLCALL_SERVICE_HOST`) beside ours. Call it after the files.
    pub fn add_environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), ConfigError> {
        let known: BTreeMap<String, &Setting> = SETTINGS
            .iter()
            .filter(|setting| setting.has_flag())
            .map(|setting| (setting.variable(), setting))
            .collect();
        for (name, text) in variables {
            // An empty variable is how a template says "not set".
            if let Some(setting) = known.get(&name)
                && !text.is_empty()
            {
                self.add_text(setting, &[text], Origin::Variable(name))?;
            }
        }
        Ok(())
    }

    /// Takes a flag by the key of its setting, with its value (several of a list). Call it last.
    ///
    /// # Panics
    /// When `key` is no setting: the flags are made from the same table.
    pub fn add_flag(&mut self, key: &str, values: &[String]) -> Result<(), ConfigError> {
        let setting = table::find(key).expect("a flag must come from the table");
        self.add_text(setting, values, Origin::Flag(setting.flag()))
    }

    fn add_text(
        &mut self,
        setting: &Setting,
        texts: &[String],
        origin: Origin,
    ) -> Result<(), ConfigError> {
        let text = if setting.kind == Kind::List {
            texts.join(",")
        } else {
            texts.last().cloned().unwrap_or_default()
        };
        let value =
            value::from_text(setting.kind, &text).map_err(|expected| ConfigError::Invalid {
                key: setting.key.to_owned(),
                value: text.clone(),
                expected,
                origin: origin.clone(),
            })?;
        self.set
            .insert(setting.key.to_owned(), Sourced { value, origin });
        Ok(())
    }

    /// Whether a file, a variable or a flag set it.
    pub fn is_set(&self, key: &str) -> bool {
        self.set.contains_key(key)
    }

    /// A setting's value: what was set, else the default of the table, else none.
    pub(crate) fn get(&self, key: &str) -> Option<Sourced> {
        self.set.get(key).cloned().or_else(|| {
            let setting = table::find(key).expect("a setting that is read must stand in the table");
            default_of(setting).map(|value| Sourced {
                value,
                origin: Origin::Default,
            })
        })
    }

    /// Everything set that belongs to settings of a stage and differs from the default.
    pub(crate) fn set_in(
        &self,
        stage: Stage,
    ) -> impl Iterator<Item = (&str, &'static Setting, &Sourced)> {
        self.set.iter().filter_map(move |(path, sourced)| {
            let setting = table::find(path)?;
            let changed = setting.stage == stage && is_switched_on(setting, &sourced.value);
            changed.then_some((path.as_str(), setting, sourced))
        })
    }
}

/// The default of a setting.
pub(crate) fn default_of(setting: &Setting) -> Option<Value> {
    if setting.default.is_empty() {
        return None;
    }
    Some(
        value::from_text(setting.kind, setting.default)
            .expect("a default must be within its own bounds"),
    )
}

/// Whether a value says more than the default does.
fn is_switched_on(setting: &Setting, value: &Value) -> bool {
    match value {
        Value::Text(text) if text.is_empty() => false,
        Value::List(words) if words.is_empty() => false,
        Value::Integer(-1) if setting.kind == Kind::Port => false,
        Value::Any(text)
            if setting.stage != Stage::LeftOut && ["", "[]", "{}"].contains(&text.as_str()) =>
        {
            false
        }
        other => default_of(setting).as_ref() != Some(other),
    }
}

fn is_parent(path: &str) -> bool {
    SETTINGS.iter().any(|setting| {
        setting
            .key
            .strip_prefix(path)
            .is_some_and(|rest| rest.starts_with('.') && rest != ".*")
    })
}

fn invalid(path: &str, yaml: &serde_yaml::Value, expected: &str, origin: Origin) -> ConfigError {
    ConfigError::Invalid {
        key: path.to_owned(),
        value: value::yaml_text(yaml),
        expected: expected.to_owned(),
        origin,
    }
}

/// The known key most like this one, when one is like it at all.
fn nearest(path: &str) -> Option<&'static str> {
    /// A longer key is compared by its first characters only, so that a hostile file costs nothing.
    const COMPARED_MAX: usize = 64;
    let path: Vec<char> = path.chars().take(COMPARED_MAX).collect();
    let last = path.rsplit(|c| *c == '.').next().unwrap_or(&path).to_vec();
    SETTINGS
        .iter()
        .filter(|setting| matches!(setting.stage, Stage::Built | Stage::Later | Stage::Refused))
        .map(|setting| {
            let key: Vec<char> = setting.key.trim_end_matches(".*").chars().collect();
            let own_last = key.rsplit(|c| *c == '.').next().unwrap_or(&key);
            let whole = distance(&path, &key);
            // The right name at the wrong level is as good as a typing error.
            let misplaced = if own_last == last.as_slice() {
                1
            } else {
                usize::MAX
            };
            (whole.min(misplaced), key.len(), setting.key)
        })
        .filter(|(distance, length, _)| *distance <= 1 + length / 4)
        .min()
        .map(|(_, _, key)| key.trim_end_matches(".*"))
}

/// Levenshtein's distance.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
