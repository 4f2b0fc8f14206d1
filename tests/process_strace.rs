//! No acknowledgement leaves before a majority has synced the write: seen from outside, in the system calls.
//!
//! Each of three servers runs under strace, which writes a trace of syncs, writes and sends, with times. One client
//! writes one key after the other, each with a token that occurs nowhere else; `harness::strace` then finds for each
//! write when it left the client's socket and when which server had it on disk. Every sync is held up on its way back
//! (strace's fault injection), so that a server that does not wait for it is far too early, not a little.

use std::fs;
use std::path::PathBuf;

use harness::level::rounds;
use harness::strace::{CALLS, Trace, judge, parse};
use harness::{Cluster, Request};

/// Longer than everything else a write does.
const SYNC_DELAY_US: u32 = 15_000;
/// So much of each buffer is in the trace: more than redb's pages and our frames.
const STRING_LIMIT: u32 = 1 << 20;

fn trace_path(cluster: &Cluster, name: &str) -> PathBuf {
    cluster.scratch.path().join(format!("{name}.strace"))
}

fn traced() -> Cluster {
    let mut cluster = Cluster::prepared();
    let names: Vec<_> = cluster
        .servers
        .iter()
        .map(|s| s.settings.node_name.clone())
        .collect();
    for (index, name) in names.iter().enumerate() {
        let path = trace_path(&cluster, name);
        let server = &mut cluster.servers[index];
        // -D: the server is our child and strace its grandchild, so that our signals reach the server.
        let words = [
            "strace",
            "-D",
            "-f",
            "-q",
            "-ttt",
            "-T",
            "-yy",
            "--seccomp-bpf",
        ];
        let mut wrapper: Vec<String> = words.map(str::to_owned).into();
        wrapper.extend(["-e".to_owned(), CALLS.to_owned()]);
        let delay = format!("inject=fsync,fdatasync:delay_exit={SYNC_DELAY_US}");
        wrapper.extend([
            "-e".to_owned(),
            delay,
            "-s".to_owned(),
            STRING_LIMIT.to_string(),
        ]);
        wrapper.extend(["-o".to_owned(), path.display().to_string(), "--".to_owned()]);
        server.settings.wrapper = wrapper;
        server.start();
    }
    cluster.wait_until_all_answer();
    cluster
}

/// Writes through one server, and gives back the tokens.
fn write(cluster: &Cluster, server: usize, count: usize) -> Vec<String> {
    let mut connection = cluster.servers[server]
        .connect()
        .expect("it must take connections");
    (0..count)
        .map(|number| {
            let token = format!("token{server}x{number}x{}", uuid::Uuid::new_v4().simple());
            let request = Request::new("PUT", &format!("/v1/kv/{token}")).body(token.clone());
            let answer = connection
                .send(&request)
                .expect("the write must be answered");
            assert_eq!((answer.status, answer.text().trim()), (200, "true"));
            token
        })
        .collect()
}

#[test]
fn no_acknowledgement_goes_out_before_its_sync_on_a_majority() {
    let mut cluster = traced();
    let leader = cluster.leader();
    let follower = (leader + 1) % 3;
    let count = rounds(40, 400);
    let written = [
        (leader, write(&cluster, leader, count)),
        (follower, write(&cluster, follower, count)),
    ];
    assert_eq!(cluster.leader(), leader, "the leader moved during the test");
    for server in &mut cluster.servers {
        server.stop();
    }
    let names: Vec<_> = cluster
        .servers
        .iter()
        .map(|s| s.settings.node_name.clone())
        .collect();
    let texts: Vec<_> = names
        .iter()
        .map(|name| {
            fs::read(trace_path(&cluster, name)).expect("strace must have written its trace")
        })
        .collect();
    let traces: Vec<_> = texts
        .iter()
        .zip(&cluster.servers)
        .map(|(text, server)| Trace {
            calls: parse(&String::from_utf8_lossy(text)),
            data_dir: &server.settings.data_dir,
            http: server.http(),
        })
        .collect();
    let mut shortest = u64::MAX;
    let mut faults = Vec::new();
    for (asked, tokens) in &written {
        for token in tokens {
            match judge(token, *asked, &traces) {
                Ok(margin) => shortest = shortest.min(margin),
                Err(fault) => faults.push(fault),
            }
        }
    }
    assert!(
        faults.is_empty(),
        "{} of {}: {:#?}",
        faults.len(),
        2 * count,
        &faults[..faults.len().min(5)]
    );
    println!(
        "{} writes; the closest acknowledgement left {shortest} us after the majority's sync",
        2 * count
    );
}
