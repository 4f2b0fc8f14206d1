//! Brings Go's spellings of flags to those of clap: `-recurse` to `--recurse`, `-stale=false` to nothing.
//!
//! Consul's scripts and fingers write one dash. Only names that the command really has are touched, and nothing that stands where
//! a value, or the command of `lock`, is expected; so a value may look like a flag.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

/// The arguments (the program's name first) as clap wants them.
pub(crate) fn normalise(root: &Command, arguments: Vec<OsString>) -> Vec<OsString> {
    let mut root = root.clone();
    // Passes global flags down to the subcommands.
    root.build();
    let mut command = &root;
    let mut positionals = 0;
    let mut arguments = arguments.into_iter();
    let mut normal: Vec<OsString> = arguments.next().into_iter().collect();
    while let Some(argument) = arguments.next() {
        let Some(text) = argument.to_str() else {
            normal.push(argument);
            continue;
        };
        if text == "--" || takes_the_rest(command, positionals, text) {
            normal.push(argument);
            normal.extend(arguments);
            break;
        }
        if let Some((flag, value)) = long_flag(command, text) {
            normal.extend(spell(flag, text, value));
            if takes_next(flag, value) {
                normal.extend(arguments.next());
            }
        } else if let Some(below) = command.find_subcommand(text) {
            command = below;
            normal.push(argument);
        } else {
            if text.strip_prefix('-').is_none_or(str::is_empty) {
                positionals += 1;
            }
            // A short flag such as `-o json`: its value is no positional.
            let short = text
                .strip_prefix('-')
                .filter(|name| name.chars().count() == 1);
            let short = short.and_then(|name| {
                command
                    .get_arguments()
                    .find(|arg| arg.get_short().is_some_and(|c| name.starts_with(c)))
            });
            normal.push(unknown(command, text, short.is_some()).unwrap_or(argument));
            if short.is_some_and(|flag| takes_next(flag, None)) {
                normal.extend(arguments.next());
            }
        }
    }
    normal
}

/// Whether what comes now is the command of `lock` or `watch`, with flags of its own. Where nothing stands before the command, as
/// in `watch`, its first word is the first that is no flag.
fn takes_the_rest(command: &Command, positionals: usize, text: &str) -> bool {
    command.get_positionals().any(|arg| {
        let index = arg.get_index().unwrap_or(usize::MAX);
        let begins = positionals > 0 || !text.starts_with('-');
        arg.is_trailing_var_arg_set() && begins && positionals + 1 >= index
    })
}

/// The flag that this is, with one dash or two, and its value after `=`.
fn long_flag<'a, 'b>(command: &'a Command, text: &'b str) -> Option<(&'a Arg, Option<&'b str>)> {
    let name = text.strip_prefix("--").or_else(|| text.strip_prefix('-'))?;
    let (name, value) = match name.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (name, None),
    };
    // One letter after one dash is a short flag.
    if name.chars().count() < 2 {
        return None;
    }
    let named = |arg: &&Arg| {
        arg.get_long() == Some(name)
            || arg
                .get_all_aliases()
                .is_some_and(|aliases| aliases.contains(&name))
    };
    command.get_arguments().find(named).map(|arg| (arg, value))
}

/// With two dashes; a switch with a value is itself or nothing.
fn spell(flag: &Arg, text: &str, value: Option<&str>) -> Option<OsString> {
    let name = text.trim_start_matches('-');
    if matches!(flag.get_action(), ArgAction::SetTrue) {
        match value {
            Some("true" | "1" | "t" | "T" | "TRUE" | "True") => {
                return Some(format!("--{}", name.split('=').next().unwrap_or(name)).into());
            }
            Some("false" | "0" | "f" | "F" | "FALSE" | "False") => return None,
            _ => {}
        }
    }
    Some(format!("--{name}").into())
}

/// With two dashes what is no flag of this command, so that the error names all of it and not its first letter.
fn unknown(command: &Command, text: &str, short: bool) -> Option<OsString> {
    let name = text
        .strip_prefix('-')
        .filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()))?;
    let first = name.chars().next();
    let cluster = command.get_arguments().any(|arg| arg.get_short() == first);
    let value = command
        .get_positionals()
        .any(Arg::is_allow_hyphen_values_set);
    (!short && !cluster && !value && name.len() > 1).then(|| format!("--{name}").into())
}

/// Whether the next argument is this flag's value.
fn takes_next(flag: &Arg, value: Option<&str>) -> bool {
    value.is_none() && flag.get_action().takes_values() && !flag.is_require_equals_set()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        let stale = Arg::new("stale").long("stale").action(ArgAction::SetTrue);
        let name = Arg::new("name").long("name").alias("called");
        let format = Arg::new("format").short('o').long("format").global(true);
        let key = Arg::new("key");
        let child = Arg::new("child")
            .num_args(1..)
            .trailing_var_arg(true)
            .allow_hyphen_values(true);
        Command::new("rollcall")
            .arg(format)
            .subcommand(Command::new("kv").subcommand(Command::new("get").args([
                stale,
                name.clone(),
                key.clone(),
                Arg::new("data"),
            ])))
            .subcommand(Command::new("watch").args([name.clone(), child.clone()]))
            .subcommand(Command::new("lock").args([name, key, child]))
    }

    fn normal(line: &str) -> String {
        let words = line.split(' ').map(OsString::from).collect();
        let normal = normalise(&command(), words);
        normal
            .iter()
            .map(|word| word.to_str().expect("words"))
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn one_dash_becomes_two_where_the_command_has_the_flag() {
        for (line, expected) in [
            ("r kv get -stale a", "r kv get --stale a"),
            ("r kv get -stale=true a", "r kv get --stale a"),
            ("r kv get --stale=false a", "r kv get a"),
            ("r kv get -name=x a", "r kv get --name=x a"),
            ("r kv get -called x a", "r kv get --called x a"),
            ("r kv get -name -stale a", "r kv get --name -stale a"),
            ("r kv get -unknown a", "r kv get --unknown a"),
            ("r kv get -5 a", "r kv get -5 a"),
            ("r kv get a -", "r kv get a -"),
            ("r kv get -format json a", "r kv get --format json a"),
            ("r kv get -o json -stale a", "r kv get -o json --stale a"),
            ("r kv get -- -stale", "r kv get -- -stale"),
            (
                "r lock -name n k cmd -name x",
                "r lock --name n k cmd -name x",
            ),
            ("r lock k cmd -name n -stale", "r lock k cmd -name n -stale"),
            ("r watch -name n cmd -name", "r watch --name n cmd -name"),
            ("r watch -o json cmd -name", "r watch -o json cmd -name"),
            ("r watch cmd -name=n", "r watch cmd -name=n"),
        ] {
            assert_eq!(normal(line), expected, "{line}");
        }
    }
}
