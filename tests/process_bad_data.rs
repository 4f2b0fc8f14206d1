//! Data directories on bad days: a damaged file, a foreign one, no permission, a full disk, a second server.
//!
//! Each time the server says which file it is about, ends with a code that is not 0, and has overwritten nothing: the
//! directory is compared byte by byte.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::server::{Exit, Scratch, binary};
use harness::{Cluster, Request, Server, Settings, wait_for};
use serde_json::json;

/// A server that cannot use its data says so and ends within this.
const REFUSAL_BOUND: Duration = Duration::from_secs(60);
/// Occurs in the log, so that a damaged bit can be put into an entry that counts.
const TOKEN: &str = "the-value-that-is-looked-for";

/// Every file below a directory with its content. No server may run on it: files of one that does come and go.
fn content(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).expect("a file must be readable");
        (path, bytes)
    };
    names(directory).into_iter().map(read).collect()
}

/// Every file below a directory.
fn names(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a data directory must be readable") {
            let path = entry.expect("an entry must be readable").path();
            if path.is_dir() {
                directories.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files
}

fn copy(from: &Path, to: &Path) {
    for (path, bytes) in content(from) {
        let target = to.join(path.strip_prefix(from).expect("it must lie below"));
        fs::create_dir_all(target.parent().expect("a file must lie in a directory"))
            .expect("it must be writable");
        fs::write(target, bytes).expect("the scratch directory must be writable");
    }
}

fn single(scratch: &Scratch) -> Server {
    let mut settings = Settings::single(scratch.path());
    // Often enough for a snapshot to be there after a few writes.
    settings.dev = false;
    settings.more.insert("bootstrap".to_owned(), json!(true));
    settings
        .more
        .insert("raft_snapshot_threshold".to_owned(), json!(16));
    settings
        .more
        .insert("raft_trailing_logs".to_owned(), json!(4));
    settings
        .more
        .insert("raft_snapshot_interval".to_owned(), json!("1s"));
    Server::new(settings, scratch.path())
}

/// A server that has written a few entries and a snapshot, and was stopped.
fn used(scratch: &Scratch) -> Server {
    let mut server = single(scratch);
    server.start_and_wait();
    for number in 0..60 {
        assert_eq!(
            server
                .put(
                    &format!("/v1/kv/used/{number}"),
                    format!("{TOKEN}-{number}")
                )
                .status,
            200
        );
    }
    let directory = server.settings.data_dir.clone();
    wait_for("a snapshot file", REFUSAL_BOUND, || {
        let files = names(&directory);
        let snapshots = files
            .iter()
            .filter(|path| path.to_string_lossy().contains("snapshot"))
            .count();
        if snapshots > 0 {
            Ok(())
        } else {
            Err(format!("{files:?}"))
        }
    });
    for number in 0..6 {
        assert_eq!(
            server
                .put(
                    &format!("/v1/kv/tail/{number}"),
                    format!("{TOKEN}-tail-{number}")
                )
                .status,
            200
        );
    }
    let exit = server.stop();
    assert!(
        exit.status.success(),
        "a stop in order ends with {}:\n{}",
        exit.status,
        exit.output
    );
    server
}

/// It ends by itself with a code that is not 0, without a panic, and its words hold `named`.
fn assert_refuses(server: &mut Server, named: &str) -> Exit {
    server.start();
    let exit = server.wait_for_exit(REFUSAL_BOUND);
    let code = exit.status.code();
    assert!(
        code.is_some_and(|code| code != 0),
        "ended with {}:\n{}",
        exit.status,
        exit.output
    );
    assert!(
        !exit.output.contains("panicked"),
        "it panicked:\n{}",
        exit.output
    );
    assert!(
        exit.output.contains(named),
        "{named} is not named:\n{}",
        exit.output
    );
    exit
}

fn assert_unchanged(before: &BTreeMap<PathBuf, Vec<u8>>, directory: &Path) {
    let after = content(directory);
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(before), names(&after), "files came or went");
    for (path, bytes) in before {
        assert!(*bytes == after[path], "{} was overwritten", path.display());
    }
}

/// One way to damage a file, or several.
type Damage = fn(&[u8]) -> Vec<Vec<u8>>;

fn cut_in_half(bytes: &[u8]) -> Vec<Vec<u8>> {
    vec![bytes[..bytes.len() / 2].to_vec()]
}

fn emptied(_: &[u8]) -> Vec<Vec<u8>> {
    vec![Vec::new()]
}

fn another_programs(_: &[u8]) -> Vec<Vec<u8>> {
    vec![b"#!/bin/sh\necho This is not the file you are looking for.\n".repeat(200)]
}

/// The lowest bit: a digit becomes another digit, and a letter another letter.
fn with_one_bit_flipped(bytes: &[u8]) -> Vec<Vec<u8>> {
    let token = TOKEN.as_bytes();
    let places = match bytes
        .windows(token.len())
        .rposition(|window| window == token)
    {
        // Within the last entry: elsewhere in a database there may be nothing at all.
        Some(entry) => vec![entry],
        None => (1..6).map(|sixth| bytes.len() * sixth / 6).collect(),
    };
    let flip = |place: usize| {
        let mut bytes = bytes.to_vec();
        bytes[place] ^= 1;
        bytes
    };
    places.into_iter().map(flip).collect()
}

/// Term and index of a snapshot, from its name.
fn snapshot_numbers(path: &Path) -> Option<Vec<u64>> {
    let name = path.file_name()?.to_str()?;
    let numbers = name.strip_prefix("snapshot-")?.split(['-', '.']);
    Some(numbers.map_while(|number| number.parse().ok()).collect())
}

/// The files that a start reads. Of two snapshots the older one is kept only for a follower to whom it is being sent.
fn files_of_a_start(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = content(directory);
    let newest = files.keys().filter_map(|path| snapshot_numbers(path)).max();
    files.retain(|path, _| {
        let numbers = snapshot_numbers(path);
        numbers.is_none() || numbers == newest
    });
    files
}

fn every_file_damaged(damage: Damage) {
    let scratch = Scratch::new();
    let mut server = used(&scratch);
    let original = server.settings.data_dir.clone();
    let mut tried = 0;
    for (path, bytes) in files_of_a_start(&original) {
        // The lock file is empty and its content is nobody's business.
        let damaged = if bytes.is_empty() {
            Vec::new()
        } else {
            damage(&bytes)
        };
        let relative = path.strip_prefix(&original).expect("it must lie below");
        for damaged in damaged {
            tried += 1;
            server.settings.data_dir = scratch.path().join(format!("damaged-{tried}"));
            copy(&original, &server.settings.data_dir);
            let file = server.settings.data_dir.join(relative);
            fs::write(&file, damaged).expect("the scratch directory must be writable");
            let before = content(&server.settings.data_dir);
            assert_refuses(
                &mut server,
                file.to_str().expect("test paths must be UTF-8"),
            );
            assert_unchanged(&before, &server.settings.data_dir);
        }
    }
    assert!(
        tried >= 3,
        "identity, log and snapshot are three files; {tried} were damaged"
    );
    // And undamaged it starts: it was the damage.
    server.settings.data_dir = original;
    server.start_and_wait();
    assert_eq!(
        server.get("/v1/kv/tail/5?raw").text(),
        format!("{TOKEN}-tail-5")
    );
}

#[test]
fn a_file_cut_in_half_is_named_and_left_alone() {
    every_file_damaged(cut_in_half);
}

#[test]
fn an_emptied_file_is_named_and_left_alone() {
    every_file_damaged(emptied);
}

#[test]
fn a_file_with_one_bit_flipped_is_named_and_left_alone() {
    every_file_damaged(with_one_bit_flipped);
}

#[test]
fn a_file_of_another_program_is_named_and_left_alone() {
    every_file_damaged(another_programs);
}

#[test]
fn a_second_server_on_one_data_directory_is_turned_away() {
    let scratch = Scratch::new();
    let mut first = single(&scratch);
    first.start_and_wait();
    first.put("/v1/kv/mine", "still here");
    let mut settings = Settings::single(scratch.path());
    settings.node_name = "second".to_owned();
    settings.data_dir = first.settings.data_dir.clone();
    settings.dev = false;
    settings.more = first.settings.more.clone();
    let mut second = Server::new(settings, scratch.path());
    let directory = first
        .settings
        .data_dir
        .to_str()
        .expect("test paths must be UTF-8")
        .to_owned();
    let exit = assert_refuses(&mut second, &directory);
    assert!(exit.output.contains("in use"), "{}", exit.output);
    assert_eq!(first.get("/v1/kv/mine?raw").text(), "still here");
    assert_eq!(first.put("/v1/kv/mine", "and takes writes").status, 200);
}

#[test]
fn a_data_directory_of_another_cluster_is_refused() {
    let scratch = Scratch::new();
    let mut stranger = used(&scratch);
    let mut cluster = Cluster::start();
    cluster.servers[0].put("/v1/kv/ours", "as it was");
    // The third server finds a directory of the other cluster where its own should be.
    cluster.servers[2].stop();
    let directory = cluster.servers[2].settings.data_dir.clone();
    fs::rename(&directory, cluster.scratch.path().join("aside")).expect("it must be movable");
    copy(&stranger.settings.data_dir, &directory);
    let before = content(&directory);
    assert_refuses(
        &mut cluster.servers[2],
        directory.to_str().expect("test paths must be UTF-8"),
    );
    assert_unchanged(&before, &directory);
    for server in &cluster.servers[..2] {
        assert_eq!(server.get("/v1/kv/ours?raw").text(), "as it was");
        assert_eq!(server.get("/v1/kv/used/1").status, 404);
    }
    stranger.start_and_wait();
    assert_eq!(
        stranger.get("/v1/kv/used/1?raw").text(),
        format!("{TOKEN}-1")
    );
}

/// A user who owns nothing here.
const NOBODY: &str = "65534";

fn as_nobody(server: &mut Server, scratch: &Scratch) {
    // Nobody must reach the binary and the configuration, just not the data.
    let reachable = scratch.path().join("rollcall");
    fs::copy(binary(), &reachable).expect("the binary must be readable");
    for path in [scratch.path(), &reachable] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
            .expect("root must be allowed to");
    }
    let words = [
        "setpriv",
        "--reuid",
        NOBODY,
        "--regid",
        NOBODY,
        "--clear-groups",
        "--",
    ];
    server.settings.wrapper = words.map(str::to_owned).into();
    server.settings.binary = reachable;
}

#[test]
fn a_data_directory_without_permission_is_named() {
    assert!(
        rustix::process::getuid().is_root(),
        "run this as root: it starts a server as another user"
    );
    let scratch = Scratch::new();
    let mut server = used(&scratch);
    let directory = server.settings.data_dir.clone();
    as_nobody(&mut server, &scratch);
    let before = content(&directory);
    let named = directory
        .to_str()
        .expect("test paths must be UTF-8")
        .to_owned();
    let exit = assert_refuses(&mut server, &named);
    assert!(
        exit.output.to_lowercase().contains("permission denied"),
        "{}",
        exit.output
    );
    assert_unchanged(&before, &directory);
    // One that does not exist and cannot be made.
    server.settings.data_dir = directory.join("below");
    let named = server
        .settings
        .data_dir
        .to_str()
        .expect("test paths must be UTF-8")
        .to_owned();
    let exit = assert_refuses(&mut server, &named);
    assert!(
        exit.output.to_lowercase().contains("permission denied"),
        "{}",
        exit.output
    );
}

/// A file system of a few megabytes; unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf, megabytes: u32) -> Self {
        fs::create_dir_all(&path).expect("the scratch directory must be writable");
        let disk = Self(path);
        disk.run(
            "mount",
            &["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"],
        );
        disk
    }

    fn grow(&self, megabytes: u32) {
        self.run("mount", &["-o", &format!("remount,size={megabytes}m")]);
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let output = Command::new(program).args(arguments).arg(&self.0).output();
        let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "run this as root: {program} {arguments:?}: {words}"
        );
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server may still be on it. What remains is freed with the process.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_stops_the_server_which_keeps_every_acknowledged_write() {
    let scratch = Scratch::new();
    let mut server = single(&scratch);
    let disk = SmallDisk::mount(server.settings.data_dir.clone(), 24);
    server.start_and_wait();
    let value = "v".repeat(100_000);
    let mut acknowledged = 0;
    for number in 0..2_000 {
        let request =
            Request::new("PUT", &format!("/v1/kv/full/{number}")).body(format!("{number}-{value}"));
        match server.try_send(&request) {
            Ok(answer) if answer.status == 200 => acknowledged += 1,
            _ => break,
        }
    }
    assert!(
        acknowledged > 10 && acknowledged < 2_000,
        "{acknowledged} writes went onto 24 MB"
    );
    let exit = server.wait_for_exit(REFUSAL_BOUND);
    assert!(
        exit.status.code().is_some_and(|code| code != 0),
        "ended with {}:\n{}",
        exit.status,
        exit.output
    );
    let named = server
        .settings
        .data_dir
        .to_str()
        .expect("test paths must be UTF-8");
    assert!(
        exit.output.contains(named),
        "{named} is not named:\n{}",
        server.last_lines()
    );
    assert!(
        exit.output.contains("No space left"),
        "no word of the full disk:\n{}",
        server.last_lines()
    );
    // Still full: it either runs (and refuses writes when it must) or says so again; it never throws anything away.
    disk.grow(400);
    server.start_and_wait();
    for number in 0..acknowledged {
        let answer = server.get(&format!("/v1/kv/full/{number}?raw"));
        assert_eq!(
            answer.status, 200,
            "acknowledged write {number} of {acknowledged} is gone"
        );
        assert!(answer.text().starts_with(&format!("{number}-v")));
    }
    assert_eq!(server.put("/v1/kv/after", "x").status, 200);
}
