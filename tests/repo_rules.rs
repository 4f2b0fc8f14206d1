//! The rules of this repository, as tests: what a reviewer would otherwise have to look for.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A longer file has two subjects, or says in its opening lines why it has not.
const LINES_MAX: usize = 500;
/// Long enough to be one subject still; past it nothing helps.
const LINES_MAX_WITH_REASON: usize = 900;
/// Words that say nothing about what is inside.
const EMPTY_NAMES: [&str; 6] = ["utils", "util", "common", "helpers", "misc", "base"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ must lie in the repository")
        .to_owned()
}

/// Every file that is committed or about to be, relative to the root, that is there and is text.
fn files() -> Vec<(PathBuf, String)> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git must be installed");
    assert!(
        listed.status.success(),
        "git ls-files failed: {}",
        String::from_utf8_lossy(&listed.stderr)
    );
    let names = String::from_utf8(listed.stdout).expect("file names must be UTF-8");
    let files: Vec<_> = names
        .lines()
        .filter_map(|name| {
            let text = fs::read_to_string(root().join(name)).ok()?;
            Some((PathBuf::from(name), text))
        })
        .collect();
    assert!(files.len() > 20, "only {} files were found", files.len());
    files
}

fn rust_files() -> impl Iterator<Item = (PathBuf, String)> {
    files()
        .into_iter()
        .filter(|(path, _)| path.extension().is_some_and(|extension| extension == "rs"))
}

fn must_be_empty(rule: &str, offenders: Vec<String>) {
    assert!(
        offenders.is_empty(),
        "{rule}:\n  {}",
        offenders.join("\n  ")
    );
}

/// The opening `//!` lines.
fn opening(text: &str) -> String {
    text.lines()
        .take_while(|line| line.starts_with("//!"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn every_rust_file_opens_by_saying_what_it_is_for() {
    let silent = rust_files().filter(|(_, text)| !text.starts_with("//! "));
    must_be_empty(
        "these files do not open with `//!`",
        silent.map(|(p, _)| p.display().to_string()).collect(),
    );
}

#[test]
fn no_rust_file_is_longer_than_500_lines_without_saying_why() {
    let long = rust_files().filter_map(|(path, text)| {
        let lines = text.lines().count();
        let reason = opening(&text).contains("Longer than 500 lines");
        let bound = if reason {
            LINES_MAX_WITH_REASON
        } else {
            LINES_MAX
        };
        (lines > bound).then(|| format!("{}: {lines} lines", path.display()))
    });
    must_be_empty(
        "split these, or say `Longer than 500 lines` and why",
        long.collect(),
    );
}

#[test]
fn no_folder_or_file_has_an_empty_name() {
    let empty = files().into_iter().filter_map(|(path, _)| {
        let vague = path.components().any(|component| {
            let name = component.as_os_str().to_string_lossy().to_lowercase();
            EMPTY_NAMES.contains(&name.split('.').next().unwrap_or_default())
        });
        vague.then(|| path.display().to_string())
    });
    must_be_empty("name these by what they hold", empty.collect());
}

#[test]
fn pure_crates_know_no_runtime_and_no_clock() {
    for name in ["api", "gossip", "state"] {
        let folder = PathBuf::from(format!("crates/{name}"));
        let manifest =
            fs::read_to_string(root().join(&folder).join("Cargo.toml")).expect("it must be there");
        let dependencies = manifest
            .split("[dev-dependencies]")
            .next()
            .unwrap_or_default();
        for impure in ["tokio", "hyper", "rand", "openraft", "tracing"] {
            let named = dependencies.lines().any(|line| {
                line.split(['.', ' ', '='])
                    .next()
                    .is_some_and(|dependency| dependency == impure)
            });
            assert!(
                !named,
                "crates/{name} must stay pure, but depends on {impure}"
            );
        }
        let impure = rust_files()
            .filter(|(path, _)| path.starts_with(folder.join("src")))
            .filter_map(|(path, text)| {
                let words = [
                    "std::time::Instant",
                    "SystemTime",
                    "std::thread",
                    "std::net::Tcp",
                    "HashMap",
                    "HashSet",
                ];
                let word = words.into_iter().find(|word| {
                    text.lines()
                        .any(|line| !line.trim_start().starts_with("//") && line.contains(word))
                })?;
                Some(format!("{}: {word}", path.display()))
            });
        must_be_empty(
            "pure crates read no clock and iterate over nothing unordered",
            impure.collect(),
        );
    }
}

#[test]
fn no_file_names_the_place_where_it_was_written() {
    // Put together here, so that this file does not offend itself.
    let places: Vec<String> = [
        ["/", "work/"],
        ["/tmp", "/w/"],
        ["../", "shared"],
        ["artif", "actory"],
        ["farm", "-bench"],
    ]
    .iter()
    .map(|parts| parts.concat())
    .collect();
    let offenders = files().into_iter().filter_map(|(path, text)| {
        let place = places.iter().find(|place| text.contains(place.as_str()))?;
        Some(format!("{}: {place}", path.display()))
    });
    must_be_empty("these mean nothing on another machine", offenders.collect());
}

#[test]
fn scripts_are_executable_and_stop_at_the_first_error() {
    use std::os::unix::fs::PermissionsExt as _;
    let careless = files()
        .into_iter()
        .filter(|(_, text)| text.starts_with("#!/usr/bin/env bash"))
        .filter_map(|(path, text)| {
            let mode = fs::metadata(root().join(&path))
                .expect("a listed file must be there")
                .permissions()
                .mode();
            let strict = text.contains("set -euo pipefail");
            (mode & 0o111 == 0 || !strict).then(|| path.display().to_string())
        });
    must_be_empty(
        "make these executable, with `set -euo pipefail`",
        careless.collect(),
    );
}

#[test]
fn every_dependency_is_given_once_for_the_workspace() {
    let own = files().into_iter().filter(|(path, _)| {
        path.file_name().is_some_and(|name| name == "Cargo.toml") && path.components().count() > 1
    });
    let offenders = own.flat_map(|(path, text)| {
        let versions = text.lines().filter(|line| {
            let bare = line
                .split_once('=')
                .is_some_and(|(_, value)| value.trim().starts_with("\"="));
            line.contains("version = \"") || bare
        });
        versions
            .map(|line| format!("{}: {line}", path.display()))
            .collect::<Vec<_>>()
    });
    must_be_empty(
        "versions stand in [workspace.dependencies]",
        offenders.collect(),
    );
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).expect("there must be a README.md")
}

/// What stands between backquotes in the first column of README's tables.
fn first_columns(text: &str) -> BTreeSet<String> {
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|line| line.split('|').nth(1));
    cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_endpoints_in_the_readme_are_those_that_are_routed() {
    // The tables of servers and agents.
    let tables = ["server/src/http/table.rs", "crates/agent/src/api/mod.rs"];
    let routes: String = tables
        .iter()
        .map(|table| {
            let text = fs::read_to_string(root().join(table)).expect("it must be there");
            let table = text.split("#[cfg(test)]").next().unwrap_or_default();
            table.to_owned()
        })
        .collect();
    let routed: BTreeSet<String> = routes
        .split('"')
        .filter(|text| {
            text.starts_with("/v1/") || text.starts_with("/livez") || text.starts_with("/readyz")
        })
        // The prefix that answers for tokens, which do not exist yet, is nothing to tell people of.
        .filter(|path| path.len() > "/v1/".len() && !path.starts_with("/v1/acl/"))
        .map(|path| path.trim_end_matches('/').to_owned())
        .collect();
    let told: BTreeSet<String> = first_columns(&readme())
        .into_iter()
        .filter(|path| path.starts_with('/'))
        // What is in capitals stands for a name.
        .map(|path| {
            path.trim_end_matches(|c: char| c.is_ascii_uppercase())
                .trim_end_matches('/')
                .to_owned()
        })
        .collect();
    assert_eq!(told, routed);
}

#[test]
fn the_settings_in_the_readme_exist() {
    let table =
        fs::read_to_string(root().join("server/src/config/table.rs")).expect("it must be there");
    let settings: Vec<String> = first_columns(&readme())
        .into_iter()
        .filter(|key| !key.starts_with('/'))
        .collect();
    assert!(settings.len() > 8, "only {settings:?}");
    let missing = settings
        .into_iter()
        .filter(|key| !table.contains(&format!("\"{key}\"")));
    must_be_empty("README names settings that do not exist", missing.collect());
}

#[test]
fn the_commands_in_the_readme_exist() {
    let readme = readme();
    let commands: Vec<&str> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter_map(|line| line.find("rollcall ").map(|at| (at, line)))
        .filter(|(at, line)| *at == 0 || line[..*at].ends_with(' '))
        .map(|(at, line)| line[at..].split(['#', '&']).next().unwrap_or_default())
        .filter(|line| !line.contains('='))
        .collect();
    assert!(commands.len() > 8, "only {commands:?}");
    for command in commands {
        // Help shows that the subcommand is there, and its flags; what follows `--` is somebody else's command.
        let words: Vec<&str> = command
            .split_whitespace()
            .skip(1)
            .take_while(|word| *word != "--")
            .collect();
        let plain = words.iter().take_while(|word| !word.starts_with("--"));
        let output = Command::new(harness::server::binary())
            .args(plain)
            .arg("--help")
            .output();
        let output = output.expect("the binary must be executable");
        let help = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        for flag in words.iter().filter(|word| word.starts_with("--")) {
            assert!(
                help.contains(*flag),
                "{command}: its help does not know {flag}"
            );
        }
    }
}
