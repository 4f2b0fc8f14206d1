//! A snapshot restored into an empty cluster of three through the log, while clients read: every read is answered from the
//! old state or from the new one, never from a mixture, and a damaged file changes nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use harness::level::rounds;
use harness::server::{Scratch, Settings, binary};
use harness::{Cluster, Connection, Request, Server};

/// Bytes of a value; with the keys of `full` the snapshot has more than a gigabyte.
const VALUE_BYTES: usize = 1024;

fn rollcall(server: &Server, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(binary())
        .args(arguments)
        .env("ROLLCALL_HTTP_ADDR", server.http().to_string())
        .output()
        .expect("the binary must be startable");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        Ok(said)
    } else {
        Err(said)
    }
}

/// A snapshot of `keys` keys, made by a server of its own.
fn snapshot_of(keys: usize, scratch: &Scratch) -> PathBuf {
    let mut server = Server::new(Settings::single(scratch.path()), scratch.path());
    server.start_and_wait();
    let target = format!("http://{}", server.http());
    let load = keys.to_string();
    let value_bytes = VALUE_BYTES.to_string();
    let words = [
        "bench",
        "kv",
        "--target",
        &target,
        "--op",
        "stale-get",
        "--clients",
        "4",
        "--seconds",
        "1",
    ];
    let loading = [
        &words[..],
        &[
            "--keys",
            &load,
            "--load",
            &load,
            "--value-size",
            &value_bytes,
        ],
    ]
    .concat();
    rollcall(&server, &loading).expect("the keys must be loaded");
    let file = scratch.path().join("saved.snap");
    rollcall(&server, &["snapshot", "save", text(&file)]).expect("a snapshot must be saved");
    server.stop();
    file
}

fn text(path: &Path) -> &str {
    path.to_str().expect("test paths must be UTF-8")
}

/// Reads the keys before and after over and over, linearizably, through one server.
struct Reader {
    stop: Arc<AtomicBool>,
    reads: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Reader {
    fn start(server: &Server) -> Self {
        let (stop, reads) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let mut connection = Connection::open(server.http()).expect("the server must be reachable");
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&reads));
        let thread = std::thread::spawn(move || {
            let old = Request::new("GET", "/v1/kv/before?raw");
            let new = Request::new("GET", "/v1/kv/bench/?keys&separator=0");
            let mut swapped = false;
            // To the end of the restore, and until this server has shown it.
            while !(stopped.load(Ordering::Relaxed) && swapped) {
                // New first: were it there before the old one is gone, the second read would tell.
                let new_there = connection
                    .send(&new)
                    .expect("a read must be answered")
                    .status
                    == 200;
                let old_read = connection.send(&old).expect("a read must be answered");
                assert!(matches!(old_read.status, 200 | 404), "{}", old_read.text());
                assert!(
                    !(new_there && old_read.status == 200),
                    "a mixture of the old and the restored state"
                );
                assert!(
                    !(swapped && old_read.status == 200),
                    "the old state came back"
                );
                swapped |= old_read.status == 404;
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self {
            stop,
            reads,
            thread,
        }
    }

    fn finish(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("every read must have been right");
        self.reads.load(Ordering::Relaxed)
    }
}

#[test]
fn a_restore_through_the_log_is_one_step_for_readers_and_a_damaged_file_changes_nothing() {
    let keys = rounds(20_000, 1_000_000);
    let scratch = Scratch::new();
    let saved = snapshot_of(keys, &scratch);
    let content = fs::read(&saved).expect("the snapshot must be readable");
    assert!(content.len() > keys * VALUE_BYTES);

    let cluster = Cluster::start();
    assert_eq!(cluster.servers[0].put("/v1/kv/before", "live").status, 200);
    let damaged = scratch.path().join("damaged.snap");
    let mut flipped = content.clone();
    flipped[content.len() / 2] ^= 1;
    for (what, bytes) in [
        ("a flipped bit", &flipped[..]),
        ("half a file", &content[..content.len() / 2]),
    ] {
        fs::write(&damaged, bytes).expect("a file must be writable");
        let refused = cluster.servers[1].send(&Request::new("PUT", "/v1/snapshot").body(bytes));
        assert!(
            refused.status >= 400,
            "{what}: {} {}",
            refused.status,
            refused.text()
        );
        let error = rollcall(
            &cluster.servers[1],
            &["snapshot", "restore", text(&damaged)],
        );
        assert!(error.is_err(), "{what} was restored");
        assert_eq!(
            cluster.servers[2].get("/v1/kv/before?raw").text(),
            "live",
            "{what}"
        );
        assert_eq!(
            cluster.servers[2].get("/v1/kv/bench/?keys").status,
            404,
            "{what}"
        );
    }

    let readers: Vec<Reader> = cluster.servers.iter().map(Reader::start).collect();
    rollcall(&cluster.servers[1], &["snapshot", "restore", text(&saved)])
        .expect("it must be restored");
    let index = cluster.servers[1].get("/v1/kv/bench/?keys").index();
    for (server, reader) in cluster.servers.iter().zip(readers) {
        let listed = server.get("/v1/kv/bench/?keys");
        assert_eq!(listed.json().as_array().map(Vec::len), Some(keys));
        assert_eq!(listed.index(), index);
        assert!(reader.finish() > 0, "nobody read meanwhile");
    }
    assert_eq!(
        cluster.servers[0].put("/v1/kv/after", "goes on").status,
        200
    );
    assert_eq!(cluster.servers[2].get("/v1/kv/after?raw").text(), "goes on");
}
