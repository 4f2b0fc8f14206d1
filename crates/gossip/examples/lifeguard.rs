//! Lifeguard's experiments in full: a grid of concurrent and repeated pauses with each part on and off, ten seeds a cell. It
//! prints the table that stands in docs/gossip.md, and with `--csv` the numbers behind it.
//!
//! `cargo run --release -p rollcall-gossip --example lifeguard [-- --csv] [--seeds N]`
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    dead_code,
    reason = "a program for people, on top of the test's modules"
)]

#[path = "../tests/simulation/lifeguard.rs"]
mod lifeguard;
#[path = "../tests/simulation/world.rs"]
mod world;

use std::time::Duration;

use lifeguard::{COLUMNS, Cell, MEMBERS, Outcome, one_long_pause, percentile, repeated_pauses};

const CONCURRENT: [usize; 3] = [4, 16, 32];
const PAUSES: [u64; 3] = [2_048, 16_384, 32_768];
const BETWEEN: [u64; 3] = [64, 1_024, 16_384];
/// Members that are gone at the same time, in the second experiment.
const GONE: [usize; 3] = [1, 4, 16];

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    let csv = arguments.iter().any(|argument| argument == "--csv");
    let seeds = arguments
        .iter()
        .position(|argument| argument == "--seeds")
        .and_then(|at| arguments.get(at + 1)?.parse().ok())
        .unwrap_or(10);
    if csv {
        println!("parts,concurrent,pause_ms,between_ms,false,false_at_healthy,messages,bytes");
    }
    let rows: Vec<_> = COLUMNS
        .iter()
        .map(|(name, parts)| {
            let disturbed = disturbed(name, *parts, seeds, csv);
            let mut gone = Outcome::default();
            for concurrent in GONE {
                for seed in 0..seeds {
                    gone.add(&one_long_pause(*parts, concurrent, seed));
                }
            }
            (*name, disturbed, gone)
        })
        .collect();
    print_table(&rows, seeds);
}

fn disturbed(name: &str, parts: rollcall_gossip::Lifeguard, seeds: u64, csv: bool) -> Outcome {
    let mut all = Outcome::default();
    for concurrent in CONCURRENT {
        for pause in PAUSES {
            for between in BETWEEN {
                let cell = Cell {
                    concurrent,
                    pause: Duration::from_millis(pause),
                    between: Duration::from_millis(between),
                };
                let mut sum = Outcome::default();
                for seed in 0..seeds {
                    sum.add(&repeated_pauses(parts, cell, seed));
                }
                if csv {
                    println!(
                        "{name},{concurrent},{pause},{between},{},{},{},{}",
                        sum.false_positives,
                        sum.false_positives_at_healthy,
                        sum.messages,
                        sum.bytes
                    );
                }
                all.add(&sum);
            }
        }
    }
    all
}

fn print_table(rows: &[(&str, Outcome, Outcome)], seeds: u64) {
    let runs = (CONCURRENT.len() * PAUSES.len() * BETWEEN.len()) as u64 * seeds;
    println!(
        "\n{MEMBERS} members, α = 5, β = 6, {seeds} seeds a cell, {runs} runs of two minutes a row\n"
    );
    println!(
        "| parts | false positives | at healthy members | of SWIM's | first detection p50 | p99 | full dissemination p50 | p99 | messages/s a member | bytes/s a member |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let first = rows
        .first()
        .map_or(0, |row| row.1.false_positives_at_healthy);
    let seconds = |values: &[Duration], part| {
        percentile(&mut values.to_vec(), part).map_or("-".to_owned(), |time| {
            format!("{:.2} s", time.as_secs_f64())
        })
    };
    #[expect(clippy::cast_precision_loss, reason = "figures to look at")]
    for (name, disturbed, gone) in rows {
        let share = disturbed.false_positives_at_healthy as f64 * 100.0 / first.max(1) as f64;
        let a_second = |count: u64| count as f64 / (runs * 120 * MEMBERS as u64) as f64;
        println!(
            "| {name} | {} | {} | {share:.2} % | {} | {} | {} | {} | {:.2} | {:.0} |",
            disturbed.false_positives,
            disturbed.false_positives_at_healthy,
            seconds(&gone.first_detection, 0.5),
            seconds(&gone.first_detection, 0.99),
            seconds(&gone.full_dissemination, 0.5),
            seconds(&gone.full_dissemination, 0.99),
            a_second(disturbed.messages),
            a_second(disturbed.bytes),
        );
    }
}
