//! What a million keys cost, and how fast they are written. Ignored: figures of a debug build say nothing.
//!
//! `cargo test --release -p rollcall-state --test measure -- --ignored --nocapture --test-threads 1`

#![allow(clippy::print_stdout)] // its only output are figures for people

use std::time::Instant;

use bytes::Bytes;
use rollcall_state::command::{KvMode, KvSet};
use rollcall_state::{Changes, Command, Context, Include, Loader, Stamp, State};

/// A value of 20 bytes of key and 256 of value, as the benchmark writes them.
fn set(n: u64, fill: u8) -> Command {
    Command::KvSet(KvSet {
        key: format!("bench/{n:014}"),
        value: Bytes::from(vec![fill; 256]),
        flags: 0,
        mode: KvMode::Set,
    })
}

fn context(log_index: u64) -> Context {
    Context {
        log_index,
        term: 1,
        leader: 1,
        at: Stamp(log_index),
    }
}

/// A permutation of 0..count: neighbours are not written one after the other.
fn shuffled(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |i| i.wrapping_mul(7_919_u64) % count)
}

/// Anonymous resident memory in MiB, as Linux counts it.
fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux must have it");
    let line = status.lines().find(|l| l.starts_with("RssAnon:"));
    let kib = line.and_then(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok());
    kib.expect("RssAnon must be a number") / 1024.0
}

#[test]
#[ignore = "measures; needs --release"]
fn a_million_keys() {
    const KEYS: u64 = 1_000_000;
    let before = resident_mib();
    let mut state = State::default();
    let mut changes = Changes::default();
    let start = Instant::now();
    for (i, n) in shuffled(KEYS).enumerate() {
        state.apply_into(context(i as u64 + 1), &set(n, b'v'), &mut changes);
        if i % 64 == 0 {
            changes = Changes::default();
        }
    }
    let rate = KEYS as f64 / start.elapsed().as_secs_f64();
    println!("load: {rate:.0} sets/s, {:.0} MiB", resident_mib() - before);

    let kept = state.clone();
    let start = Instant::now();
    let bytes: usize = kept
        .chunks(1 << 20, Include::Everything)
        .map(|c| c.len())
        .sum();
    println!(
        "snapshot: {} MiB in {:.2} s, {:.0} MiB resident",
        bytes >> 20,
        start.elapsed().as_secs_f64(),
        resident_mib() - before
    );
    drop(kept);
    let start = Instant::now();
    let mut loader = Loader::new();
    let chunks = state.chunks(1 << 20, Include::Everything);
    drop(state);
    for chunk in chunks {
        loader.push(&chunk).expect("own snapshot must load");
    }
    let loaded = loader.finish().expect("own snapshot must be whole");
    println!(
        "load of a snapshot: {:.2} s, {} keys, {:.0} MiB resident",
        start.elapsed().as_secs_f64(),
        loaded.kv_len(),
        resident_mib() - before
    );
}

#[test]
#[ignore = "measures; needs --release"]
fn writes_over_a_hundred_thousand_keys() {
    const KEYS: u64 = 100_000;
    for batch in [u64::MAX, 256, 64, 8, 1] {
        let mut state = State::default();
        let mut index = 0;
        for n in shuffled(KEYS) {
            index += 1;
            state.apply(context(index), &set(n, b'a'));
        }
        let mut published = State::default();
        let commands: Vec<Command> = shuffled(KEYS).map(|n| set(n, b'b')).collect();
        let mut changes = Changes::default();
        let start = Instant::now();
        for command in &commands {
            index += 1;
            state.apply_into(context(index), command, &mut changes);
            if index % batch == 0 {
                published = state.clone();
                changes = Changes::default();
            }
        }
        let rate = KEYS as f64 / start.elapsed().as_secs_f64();
        println!("overwrite, cloned every {batch} sets: {rate:.0} sets/s");
        drop(published);
    }
}
