//! What a million keys cost, and how fast they are written. An example, not a test: there is nothing to fail.
//!
//! `cargo run --release -p rollcall-state --example measure`

#![allow(clippy::print_stdout)] // its only output are figures for people

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

/// A permutation of 0..count (a power of ten): each number far from the one before.
fn shuffled(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |i| i.wrapping_mul(618_033_989) % count)
}

/// Seconds this thread was on a processor: other work on the machine must not count.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux must have it");
    let first = stat
        .split_whitespace()
        .next()
        .and_then(|ns| ns.parse::<f64>().ok());
    first.expect("schedstat must begin with a number") / 1e9
}

/// Anonymous resident memory in MiB, as Linux counts it.
fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux must have it");
    let line = status.lines().find(|l| l.starts_with("RssAnon:"));
    let kib = line.and_then(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok());
    kib.expect("RssAnon must be a number") / 1024.0
}

fn main() {
    a_million_keys();
    writes_over_a_hundred_thousand_keys();
}

fn a_million_keys() {
    const KEYS: u64 = 1_000_000;
    let before = resident_mib();
    let mut state = State::default();
    let mut changes = Changes::default();
    let start = cpu_seconds();
    for (i, n) in shuffled(KEYS).enumerate() {
        state.apply_into(context(i as u64 + 1), &set(n, b'v'), &mut changes);
        if i % 64 == 0 {
            changes = Changes::default();
        }
    }
    let rate = KEYS as f64 / (cpu_seconds() - start);
    println!(
        "load: {rate:.0} sets per CPU second, {:.0} MiB",
        resident_mib() - before
    );

    let kept = state.clone();
    let start = cpu_seconds();
    let bytes: usize = kept
        .chunks(1 << 20, Include::Everything)
        .map(|c| c.len())
        .sum();
    println!(
        "snapshot: {} MiB in {:.2} s, {:.0} MiB resident",
        bytes >> 20,
        (cpu_seconds() - start),
        resident_mib() - before
    );
    drop(kept);
    let start = cpu_seconds();
    let mut loader = Loader::new();
    let chunks = state.chunks(1 << 20, Include::Everything);
    drop(state);
    for chunk in chunks {
        loader.push(&chunk).expect("own snapshot must load");
    }
    let loaded = loader.finish().expect("own snapshot must be whole");
    println!(
        "load of a snapshot: {:.2} s, {} keys, {:.0} MiB resident",
        (cpu_seconds() - start),
        loaded.kv_len(),
        resident_mib() - before
    );
}

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
        let start = cpu_seconds();
        for command in &commands {
            index += 1;
            state.apply_into(context(index), command, &mut changes);
            if index % batch == 0 {
                published = state.clone();
                changes = Changes::default();
            }
        }
        let rate = KEYS as f64 / (cpu_seconds() - start);
        println!("overwrite, cloned every {batch} sets: {rate:.0} sets per CPU second");
        drop(published);
    }
}
