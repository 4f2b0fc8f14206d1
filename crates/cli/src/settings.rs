//! The flags of `server` and `dev`, made from the table of settings, and the configuration they lead to.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use rollcall_server::config::{Checked, Config, Kind, Layers, Machine, SETTINGS, Setting};

/// What the command line says of the configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct SettingArgs {
    /// Files and directories, in the order of the command line.
    paths: Vec<PathBuf>,
    /// Values by key.
    flags: Vec<(&'static str, Vec<String>)>,
}

const FILE: &str = "config-file";
const DIRECTORY: &str = "config-dir";

impl SettingArgs {
    /// Reads files, environment and flags on top of `base`, which is YAML with the lowest rank.
    pub(crate) fn layers(&self, base: &str) -> anyhow::Result<Layers> {
        let mut layers = Layers::new();
        layers.add_yaml("(built in)".as_ref(), base.as_bytes())?;
        for path in &self.paths {
            layers.add_path(path)?;
        }
        layers.add_environment(std::env::vars_os().filter_map(as_text))?;
        for (key, values) in &self.flags {
            layers.add_flag(key, values)?;
        }
        Ok(layers)
    }

    /// The configuration of these layers.
    pub(crate) fn check(layers: &Layers) -> anyhow::Result<Checked> {
        Config::from_layers(layers, &Machine::this()).context("the configuration is not valid")
    }
}

/// Variables that are no text cannot be settings.
fn as_text((name, value): (OsString, OsString)) -> Option<(String, String)> {
    Some((name.into_string().ok()?, value.into_string().ok()?))
}

impl Args for SettingArgs {
    fn augment_args(command: Command) -> Command {
        let path = |name: &'static str, help: &'static str| {
            Arg::new(name)
                .long(name)
                .value_name("PATH")
                .action(ArgAction::Append)
                .value_parser(clap::value_parser!(PathBuf))
                .help(help)
        };
        let command = command
            .arg(path(
                FILE,
                "YAML or JSON file of settings; several are merged, the later wins",
            ))
            .arg(path(
                DIRECTORY,
                "Directory whose .yaml, .yml and .json files are read in the order of their names",
            ));
        command.args(
            SETTINGS
                .iter()
                .filter(|setting| setting.has_flag())
                .map(flag),
        )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = SettingArgs::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let mut paths: Vec<(usize, PathBuf)> = Vec::new();
        for name in [FILE, DIRECTORY] {
            let positions = matches.indices_of(name).into_iter().flatten();
            let values = matches
                .get_many::<PathBuf>(name)
                .into_iter()
                .flatten()
                .cloned();
            paths.extend(positions.zip(values));
        }
        paths.sort();
        self.paths = paths.into_iter().map(|(_, path)| path).collect();
        for setting in SETTINGS.iter().filter(|setting| setting.has_flag()) {
            if let Some(values) = matches.get_many::<String>(setting.key) {
                self.flags.push((setting.key, values.cloned().collect()));
            }
        }
        Ok(())
    }
}

fn flag(setting: &'static Setting) -> Arg {
    let default = if setting.default.is_empty() {
        String::new()
    } else {
        format!(" [default: {}]", setting.default)
    };
    let help = format!(
        "{} ({}){default} [env: {}]",
        setting.doc,
        setting.kind.words(),
        setting.variable()
    );
    let arg = Arg::new(setting.key)
        .long(setting.flag())
        .value_name(value_name(setting.kind))
        .allow_hyphen_values(true)
        .action(if setting.kind == Kind::List {
            ArgAction::Append
        } else {
            ArgAction::Set
        })
        .help(help)
        .help_heading("Settings");
    let arg = match setting.alias {
        Some(alias) => arg.visible_alias(alias),
        None => arg,
    };
    match setting.kind {
        // `--bootstrap` alone means true, as in Go.
        Kind::Flag => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        _ => arg,
    }
}

fn value_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::Any => "TEXT",
        Kind::Path => "PATH",
        Kind::Flag => "BOOL",
        Kind::Integer { .. } => "NUMBER",
        Kind::Port => "PORT",
        Kind::Duration { .. } => "DURATION",
        Kind::List => "TEXT",
        Kind::Choice(_) => "WORD",
    }
}
