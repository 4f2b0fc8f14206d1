//! The user's commands over the real binary: words, exit codes, files, and what `lock` and the signals do.
//!
//! The words are Consul's where Consul has the command, so they are compared exactly.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use harness::server::{Scratch, binary};
use harness::{Server, Settings, wait_for};
use rustix::process::Signal;

/// What a command may take on a machine with much else to do.
const COMMAND_BOUND: Duration = Duration::from_secs(60);

struct Commands {
    server: Server,
    scratch: Scratch,
}

/// What a command gave: standard output, standard error, exit code.
type Gave = (String, String, i32);

impl Commands {
    fn start() -> Self {
        let scratch = Scratch::new();
        let mut server = Server::new(Settings::single(scratch.path()), scratch.path());
        server.start_and_wait();
        let rollcall = Commands { server, scratch };
        // A server answers a moment before its node is registered; sessions need the node.
        let session = wait_for("a session", COMMAND_BOUND, || {
            let (id, error, code) = rollcall.run(&["session", "create"]);
            if code == 0 { Ok(id) } else { Err(error) }
        });
        rollcall.good(&["session", "destroy", session.trim()]);
        rollcall
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(words)
            .env("CONSUL_HTTP_ADDR", format!("http://{}", self.server.http()))
            .env_remove("ROLLCALL_HTTP_ADDR")
            .current_dir(self.scratch.path())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Gave {
        gave(self.command(words).output().expect("the binary must start"))
    }

    fn run_with_input(&self, words: &[&str], input: &[u8]) -> Gave {
        let mut command = self.command(words);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary must start");
        let mut stdin = child.stdin.take().expect("it must be piped");
        stdin.write_all(input).expect("it must be read");
        drop(stdin);
        gave(child.wait_with_output().expect("it must end"))
    }

    #[track_caller]
    fn good(&self, words: &[&str]) -> String {
        let (out, error, code) = self.run(words);
        assert_eq!((error.as_str(), code), ("", 0), "{words:?} printed {out}");
        out
    }

    #[track_caller]
    fn bad(&self, words: &[&str], code: i32) -> String {
        let (out, error, got) = self.run(words);
        assert_eq!((out.as_str(), got), ("", code), "{words:?} said {error}");
        error
    }
}

fn gave(output: Output) -> Gave {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (
        text(output.stdout),
        text(output.stderr),
        output.status.code().unwrap_or(-1),
    )
}

#[test]
fn keys_are_written_read_and_deleted_in_consuls_words() {
    let rollcall = Commands::start();
    assert_eq!(
        rollcall.good(&["kv", "put", "a/b", "-5"]),
        "Success! Data written to: a/b\n"
    );
    assert_eq!(
        rollcall.good(&["kv", "put", "-flags=42", "a/c"]),
        "Success! Data written to: a/c\n"
    );
    assert_eq!(rollcall.good(&["kv", "get", "a/b"]), "-5\n");
    assert_eq!(
        rollcall.good(&["kv", "get", "-recurse", "/a"]),
        "a/b:-5\na/c:\n"
    );
    assert_eq!(rollcall.good(&["kv", "get", "-keys", ""]), "a/\n");
    assert_eq!(
        rollcall.good(&["kv", "get", "-keys", "-separator=", ""]),
        "a/b\na/c\n"
    );
    assert_eq!(
        rollcall.bad(&["kv", "get", "gone"], 1),
        "Error! No key exists at: gone\n"
    );
    assert_eq!(
        rollcall.bad(&["kv", "get"], 1),
        "Error! Missing KEY argument\n"
    );
    let detailed = rollcall.good(&["kv", "get", "-detailed", "a/c"]);
    let index = detailed
        .lines()
        .find_map(|line| line.strip_prefix("ModifyIndex"))
        .expect("it must be told")
        .trim()
        .to_owned();
    assert!(detailed.contains("Flags            42\n"), "{detailed}");
    let cas = |index: &str| {
        ["kv", "put", "-cas", "-modify-index", index, "a/c", "new"].map(str::to_owned)
    };
    let words = cas("1");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    assert_eq!(
        rollcall.bad(&words, 1),
        "Error! Did not write to a/c: CAS failed\n"
    );
    let words = cas(&index);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    assert_eq!(rollcall.good(&words), "Success! Data written to: a/c\n");
    let (out, _, code) = rollcall.run_with_input(&["kv", "put", "bytes", "-"], &[0, 255, 10]);
    assert_eq!(
        (out.as_str(), code),
        ("Success! Data written to: bytes\n", 0)
    );
    assert_eq!(rollcall.good(&["kv", "get", "-base64", "bytes"]), "AP8K\n");
    assert_eq!(
        rollcall.good(&["kv", "delete", "bytes"]),
        "Success! Deleted key: bytes\n"
    );
    assert_eq!(
        rollcall.good(&["kv", "delete", "-recurse", "a"]),
        "Success! Deleted keys with prefix: a\n"
    );
    assert_eq!(rollcall.good(&["kv", "get", "-recurse", ""]), "");
    assert!(
        rollcall
            .bad(&["kv", "get", "-nonsense", "k"], 2)
            .contains("--nonsense")
    );
}

#[test]
fn an_export_is_imported_to_the_same_keys() {
    let rollcall = Commands::start();
    let entry = |key: String, flags: u64, value: &str| serde_json::json!({ "key": key, "flags": flags, "value": value });
    let mut entries: Vec<_> = (0..150)
        .map(|n| entry(format!("many/{n:03}"), n, "dmFsdWU="))
        .collect();
    // Too large for a transaction, not for a key.
    let large = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        vec![b'x'; 500_000],
    );
    entries.push(entry("many/large".to_owned(), 7, &large));
    entries.push(entry("many/none".to_owned(), u64::MAX, ""));
    let json = serde_json::to_vec(&entries).expect("it must be JSON");
    fs::write(rollcall.scratch.path().join("in.json"), &json).expect("it must be writable");
    let told = rollcall.good(&["kv", "import", "@in.json"]);
    assert_eq!(told.lines().count(), 152);
    assert!(told.starts_with("Imported: many/000\n"), "{told}");
    let exported = rollcall.good(&["kv", "export", "many/"]);
    let read: Vec<serde_json::Value> =
        serde_json::from_str(&exported).expect("an export must be JSON");
    assert!(read == entries, "the export differs from what was imported");
    rollcall.good(&["kv", "delete", "-recurse"]);
    let (_, error, code) = rollcall.run_with_input(&["kv", "import", "-"], exported.as_bytes());
    assert_eq!((error.as_str(), code), ("", 0));
    assert!(
        rollcall.good(&["kv", "export"]) == exported,
        "the second export differs from the first"
    );
    let error = rollcall.bad(&["kv", "import", "{}"], 1);
    assert!(error.starts_with("Error! Cannot unmarshal data"), "{error}");
}

#[test]
fn a_snapshot_is_saved_looked_at_and_restored_and_a_damaged_one_is_refused() {
    let rollcall = Commands::start();
    rollcall.good(&["kv", "put", "kept", "1"]);
    let said = rollcall.good(&["snapshot", "save", "s.snap"]);
    assert!(
        said.starts_with("Saved and verified snapshot to index "),
        "{said}"
    );
    let inspected: serde_json::Value =
        serde_json::from_str(&rollcall.good(&["snapshot", "inspect", "-o", "json", "s.snap"]))
            .expect("it must be JSON");
    assert_eq!(inspected["keys"], 1);
    rollcall.good(&["kv", "put", "kept", "2"]);
    rollcall.good(&["kv", "put", "later", "2"]);
    let mut damaged = fs::read(rollcall.scratch.path().join("s.snap")).expect("it must be there");
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(rollcall.scratch.path().join("d.snap"), &damaged).expect("it must be writable");
    fs::write(rollcall.scratch.path().join("h.snap"), &damaged[..middle])
        .expect("it must be writable");
    for file in ["d.snap", "h.snap", "no.snap"] {
        let error = rollcall.bad(&["snapshot", "restore", file], 1);
        assert!(
            error.contains("Error verifying snapshot file"),
            "{file}: {error}"
        );
        rollcall.bad(&["snapshot", "inspect", file], 1);
    }
    assert_eq!(rollcall.good(&["kv", "get", "kept"]), "2\n");
    assert_eq!(
        rollcall.good(&["snapshot", "restore", "s.snap"]),
        "Restored snapshot\n"
    );
    assert_eq!(rollcall.good(&["kv", "get", "-recurse", ""]), "kept:1\n");
}

#[test]
fn a_session_holds_a_key_until_it_is_destroyed() {
    let rollcall = Commands::start();
    let session = rollcall
        .good(&["session", "create", "-name=n", "-ttl=15s", "-lock-delay=0s"])
        .trim()
        .to_owned();
    assert_eq!(
        rollcall.good(&["kv", "put", "-acquire", "-session", &session, "k", "v"]),
        "Success! Lock acquired on: k\n"
    );
    let other = rollcall.good(&["session", "create"]).trim().to_owned();
    assert_eq!(
        rollcall.bad(&["kv", "put", "-acquire", "-session", &other, "k", "v"], 1),
        "Error! Did not acquire lock\n"
    );
    let list = rollcall.good(&["session", "list"]);
    assert!(
        list.starts_with("ID ") && list.lines().count() == 3,
        "{list}"
    );
    rollcall.good(&["session", "renew", &session]);
    rollcall.good(&["session", "destroy", &session]);
    assert_eq!(
        rollcall.bad(&["session", "renew", &session], 1),
        format!("Error! No session exists with id: {session}\n")
    );
    let peers = rollcall.good(&["operator", "raft", "list-peers"]);
    assert!(
        peers.starts_with("Node ") && peers.contains("leader"),
        "{peers}"
    );
}

#[test]
fn a_command_under_a_lock_is_stopped_when_the_lock_is_lost() {
    let rollcall = Commands::start();
    assert_eq!(
        rollcall.good(&["lock", "p", "echo held $CONSUL_LOCK_HELD"]),
        "held true\n"
    );
    rollcall.bad(
        &["lock", "-child-exit-code", "p", "--", "sh", "-c", "exit 3"],
        2,
    );
    assert_eq!(
        rollcall.good(&["kv", "get", "-keys"]),
        "",
        "the key of a lock that is free must be gone"
    );
    let script = "trap 'touch stopped; exit 0' TERM; touch started; while :; do sleep 0.1; done";
    let mut holder = rollcall
        .command(&["lock", "p", "--", "sh", "-c", script])
        .spawn()
        .expect("the binary must start");
    let there = |name: &str| {
        rollcall
            .scratch
            .path()
            .join(name)
            .exists()
            .then_some(())
            .ok_or_else(|| format!("no file {name}"))
    };
    wait_for("the command to start", COMMAND_BOUND, || there("started"));
    let error = rollcall.bad(&["lock", "-timeout=1s", "p", "--", "touch", "never"], 1);
    assert!(error.contains("timeout during lock acquisition"), "{error}");
    there("never").expect_err("nobody else may hold it");
    let sessions: serde_json::Value =
        serde_json::from_str(&rollcall.good(&["session", "list", "-o", "json"]))
            .expect("it must be JSON");
    rollcall.good(&[
        "session",
        "destroy",
        sessions[0]["ID"].as_str().expect("it must have an id"),
    ]);
    wait_for("the command to be stopped", COMMAND_BOUND, || {
        there("stopped")
    });
    let status = holder.wait().expect("it must end");
    assert_eq!(status.code(), Some(1));
}

#[test]
fn signals_change_the_log_level_and_stop_the_server_in_order() {
    let mut rollcall = Commands::start();
    rollcall.server.signal(Signal::HUP);
    wait_for("the configuration to be read again", COMMAND_BOUND, || {
        let output = rollcall.server.output();
        output
            .contains("configuration read again")
            .then_some(())
            .ok_or(output)
    });
    rollcall.good(&["kv", "put", "k", "v"]);
    let exit = rollcall.server.stop();
    assert_eq!(exit.status.code(), Some(0), "{}", exit.output);
    let error = rollcall.bad(&["kv", "get", "k"], 1);
    assert!(error.contains("cannot connect to http://"), "{error}");
}
