//! The binary `rollcall-sim`: runs seeds, each in a process of its own, and says which ones failed and how to replay them.
//!
//! `--replay` runs every seed twice, in two processes, and compares the traces. `--sabotage` breaks a promise of the
//! servers on purpose and demands that some seed notices.
#![allow(clippy::print_stdout, clippy::print_stderr)] // its output is its purpose

use std::collections::VecDeque;
use std::io::Write as _;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::Parser;
use rollcall_server::raft::SnapshotLimits;
use rollcall_server::run::StartOptions;
use rollcall_server::sabotage::Sabotage;
use rollcall_sim::scenario::{self, Scenario};

/// Runs the real servers in simulation.
#[derive(Debug, Parser)]
struct Arguments {
    /// Seeds, `A..B` (B not included) or one number.
    #[arg(long, default_value = "0..10", value_parser = seeds)]
    seeds: (u64, u64),
    /// 3 or 5; by default three, and five for every fourth seed.
    #[arg(long)]
    servers: Option<usize>,
    /// Breaks a promise; the run succeeds when a seed notices.
    #[arg(long, value_parser = ["skip_fsync", "leader_restore", "deposed_leader_answers", "renew_without_quorum", "apply_reads_clock"])]
    sabotage: Option<String>,
    /// Prints the trace of each seed.
    #[arg(long)]
    trace: bool,
    /// Runs every seed twice and compares.
    #[arg(long)]
    replay: bool,
    /// Plays the stories instead: bugs that seeds found once.
    #[arg(long)]
    stories: bool,
    /// Plays the one story in this process.
    #[arg(long, hide = true)]
    story: Option<String>,
    /// Processes at a time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Runs the one seed in this process.
    #[arg(long, hide = true)]
    here: bool,
}

fn seeds(text: &str) -> Result<(u64, u64), String> {
    let number = |text: &str| {
        text.parse::<u64>()
            .map_err(|error| format!("{text}: {error}"))
    };
    match text.split_once("..") {
        Some((from, to)) => Ok((number(from)?, number(to)?)),
        None => number(text).map(|seed| (seed, seed + 1)),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = if let Some(name) = &arguments.story {
        stories::play_here(name)
    } else if arguments.stories {
        stories::play_all()
    } else if arguments.here {
        Ok(run_here(&arguments))
    } else {
        run_all(&arguments)
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("rollcall-sim: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The stories, each in a process of its own, as the seeds.
mod stories {
    use anyhow::Context as _;
    use rollcall_sim::stories::STORIES;

    use super::{Command, bail};

    pub(super) fn play_all() -> anyhow::Result<bool> {
        let program = std::env::current_exe().context("this program's path")?;
        let mut good = true;
        for (name, _) in STORIES {
            let played = Command::new(&program).args(["--story", name]).status();
            good &= played.context("cannot start a child process")?.success();
        }
        Ok(good)
    }

    pub(super) fn play_here(name: &str) -> anyhow::Result<bool> {
        let Some((_, story)) = STORIES.iter().find(|(known, _)| *known == name) else {
            bail!("no story {name:?}");
        };
        super::log_if_wanted();
        let told = story();
        match &told {
            Ok(()) => println!("story {name}: as it must be"),
            Err(words) => println!("story {name} FAILED: {words}"),
        }
        Ok(told.is_ok())
    }
}

fn sabotage(name: Option<&str>) -> Sabotage {
    let mut sabotage = Sabotage::default();
    match name {
        Some("skip_fsync") => sabotage.skip_fsync = true,
        Some("leader_restore") => sabotage.leader_restore = true,
        Some("deposed_leader_answers") => sabotage.deposed_leader_answers = true,
        Some("renew_without_quorum") => sabotage.renew_without_quorum = true,
        Some("apply_reads_clock") => sabotage.apply_reads_clock = true,
        _ => {}
    }
    sabotage
}

fn servers(arguments: &Arguments, seed: u64) -> usize {
    let by_seed = if seed % 4 == 3 { 5 } else { 3 };
    arguments.servers.unwrap_or(by_seed)
}

/// Log lines carry simulated time.
struct SimulatedTime;

impl tracing_subscriber::fmt::time::FormatTime for SimulatedTime {
    fn format_time(
        &self,
        to: &mut tracing_subscriber::fmt::format::Writer<'_>,
    ) -> std::fmt::Result {
        let now = turmoil::sim_elapsed().unwrap_or_default();
        write!(to, "{:>9}", now.as_micros())
    }
}

fn log_if_wanted() {
    if std::env::var_os("RUST_LOG").is_some() {
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .with_timer(SimulatedTime)
            .init();
    }
}

/// One seed in this process. The last line is the verdict that the parent reads.
fn run_here(arguments: &Arguments) -> bool {
    log_if_wanted();
    let seed = arguments.seeds.0;
    let started = Instant::now();
    let report = scenario::run(&Scenario {
        seed,
        servers: servers(arguments, seed),
        options: StartOptions {
            sabotage: sabotage(arguments.sabotage.as_deref()),
            // Small, so that snapshots are made and sent in every run.
            snapshot_limits: Some(SnapshotLimits {
                log_bytes: 1 << 20,
                log_entries: 120,
                keep_entries: 30,
                keep_bytes: 1 << 20,
            }),
            ..StartOptions::default()
        },
        keep_lines: arguments.trace,
    });
    let mut out = std::io::stdout().lock();
    for line in report.lines.iter().chain(&report.wrong) {
        // A closed pipe ends the process by the write after the next.
        let _ = writeln!(out, "{line}");
    }
    let _ = writeln!(
        out,
        "seed {seed} servers {} trace {:016x} answered {} unknown {} refused {} syncs {} simulated {:.1}s took {:.2}s wrong {}",
        servers(arguments, seed),
        report.trace,
        report.counts.answered,
        report.counts.unknown,
        report.counts.refused,
        report.syncs,
        report.simulated.as_secs_f64(),
        started.elapsed().as_secs_f64(),
        report.wrong.len(),
    );
    report.wrong.is_empty()
}

/// What a child process said.
struct Outcome {
    seed: u64,
    good: bool,
    output: String,
}

impl Outcome {
    fn last_line(&self) -> &str {
        self.output.lines().last().unwrap_or("(no output)")
    }

    fn trace(&self) -> Option<&str> {
        self.last_line().split_once("trace ")?.1.split(' ').next()
    }
}

fn run_child(arguments: &Arguments, seed: u64) -> anyhow::Result<Outcome> {
    let program = std::env::current_exe().context("this program's path")?;
    let mut command = Command::new(program);
    command
        .args(replay_arguments(arguments, seed))
        .arg("--here");
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start a child process")?;
    Ok(Outcome {
        seed,
        good: output.status.success(),
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
    })
}

fn replay_arguments(arguments: &Arguments, seed: u64) -> Vec<String> {
    let mut list = vec!["--seeds".to_owned(), seed.to_string()];
    list.extend(["--servers".to_owned(), servers(arguments, seed).to_string()]);
    if let Some(name) = &arguments.sabotage {
        list.extend(["--sabotage".to_owned(), name.clone()]);
    }
    if arguments.trace {
        list.push("--trace".to_owned());
    }
    list
}

fn run_all(arguments: &Arguments) -> anyhow::Result<bool> {
    let (from, to) = arguments.seeds;
    if to <= from {
        bail!("no seeds in {from}..{to}");
    }
    let queue: Mutex<VecDeque<u64>> = Mutex::new((from..to).collect());
    let failed: Mutex<Vec<u64>> = Mutex::default();
    let started = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..arguments.jobs.max(1))
            .map(|_| scope.spawn(|| work(arguments, &queue, &failed)))
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().expect("a worker must not panic"))
    })?;
    let mut failed = failed.into_inner().expect("no worker panicked");
    failed.sort_unstable();
    let left = queue.into_inner().expect("no worker panicked").len();
    let ran = usize::try_from(to - from)? - left;
    let seconds = started.elapsed().as_secs_f64();
    match &arguments.sabotage {
        Some(name) if failed.is_empty() => {
            println!("sabotage {name}: NOT noticed by {ran} seeds ({seconds:.1} s)");
            Ok(false)
        }
        Some(name) => {
            println!(
                "sabotage {name}: noticed by seed {} within {ran} seeds ({seconds:.1} s)",
                failed[0]
            );
            Ok(true)
        }
        None => {
            let again = if arguments.replay {
                ", each twice with equal traces"
            } else {
                ""
            };
            println!(
                "{ran} seeds{again}: {} failed ({seconds:.1} s)",
                failed.len()
            );
            Ok(failed.is_empty())
        }
    }
}

fn work(
    arguments: &Arguments,
    queue: &Mutex<VecDeque<u64>>,
    failed: &Mutex<Vec<u64>>,
) -> anyhow::Result<()> {
    loop {
        let next = queue.lock().expect("no worker panicked").pop_front();
        let Some(seed) = next else { return Ok(()) };
        let outcome = run_child(arguments, seed)?;
        let mut good = outcome.good;
        if arguments.sabotage.is_some() {
            if !good {
                // A crash of the simulation itself is no catch.
                if outcome.trace().is_none() {
                    bail!("seed {seed} gave no verdict: {}", outcome.last_line());
                }
                failed.lock().expect("no worker panicked").push(seed);
                queue.lock().expect("no worker panicked").clear();
                let first: String = outcome
                    .output
                    .lines()
                    .next()
                    .unwrap_or("")
                    .chars()
                    .take(300)
                    .collect();
                println!("seed {seed}: {first}");
            }
            continue;
        }
        if arguments.trace {
            println!("{}", outcome.output);
        } else {
            println!("{}", outcome.last_line());
        }
        if arguments.replay {
            let again = run_child(arguments, seed)?;
            if again.trace().is_none() || again.trace() != outcome.trace() {
                println!("seed {seed}: the second run differs: {}", again.last_line());
                good = false;
            }
        }
        if !good {
            println!("seed {seed} FAILED:\n{}", outcome.output);
            let list = replay_arguments(arguments, outcome.seed).join(" ");
            println!("replay: tests/sim/run.sh {list} --trace");
            failed.lock().expect("no worker panicked").push(seed);
        }
    }
}
