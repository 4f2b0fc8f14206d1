//! Script checks: real programs, some of them ill-behaved.

use std::path::Path;

use super::*;
use crate::checks::{Scripts, ScriptsRefused, Source};

fn script(args: &[&str], timeout: Duration) -> Kind {
    Kind::Script {
        every: every(Duration::from_secs(1), timeout),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
    }
}

fn shell(text: &str, timeout: Duration) -> Kind {
    script(&["/bin/sh", "-c", text], timeout)
}

/// Whether a process is there and no zombie.
fn lives(pid: &str) -> bool {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid).join("status"));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}

async fn wait_until_gone(pid: &str) {
    let end = std::time::Instant::now() + PATIENCE;
    while lives(pid) {
        assert!(std::time::Instant::now() < end, "process {pid} lives on");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_exit_code_decides() {
    for (text, status, output) in [
        ("echo fine", Status::Passing, "fine\n"),
        ("echo hmm >&2; exit 1", Status::Warning, "hmm\n"),
        ("echo bad; exit 2", Status::Critical, "bad\n"),
        ("exit 255", Status::Critical, ""),
        ("echo a; echo b >&2; echo c", Status::Passing, "a\nb\nc\n"),
        ("kill -9 $$", Status::Critical, ""),
    ] {
        let outcome = run(shell(text, PATIENCE)).await;
        assert_eq!(
            (outcome.status, outcome.output.as_str()),
            (status, output),
            "{text}"
        );
    }
    let outcome = run(script(&["/no/such/program"], PATIENCE)).await;
    assert_outcome(
        &outcome,
        Status::Critical,
        "exec: \"/no/such/program\": no such file or directory",
    );
    // No shell: arguments are as they are.
    let outcome = run(script(&["echo", "$HOME; exit 1"], PATIENCE)).await;
    assert_eq!(outcome, Outcome::passing("$HOME; exit 1\n"));
}

#[tokio::test]
async fn at_the_time_out_the_whole_group_dies_even_if_it_ignores_term() {
    let text = "trap '' TERM; sh -c 'trap \"\" TERM; echo $$; sleep 1000' & echo $$; wait";
    let outcome = run(shell(text, SHORT)).await;
    assert_outcome(
        &outcome,
        Status::Critical,
        "Timed out (300ms) running check\n\n",
    );
    let printed = outcome.output.split("\n\n").nth(1).unwrap_or_default();
    let pids: Vec<&str> = printed.lines().collect();
    assert_eq!(pids.len(), 2, "{outcome:?}");
    for pid in pids {
        wait_until_gone(pid).await;
    }
}

#[tokio::test]
async fn the_end_of_what_is_printed_is_kept() {
    let outcome = run(shell("seq 1 10000", PATIENCE)).await;
    assert_eq!(outcome.status, Status::Passing);
    assert!(
        outcome
            .output
            .starts_with("Captured 4096 of 48894 bytes\n...\n"),
        "{outcome:?}"
    );
    assert!(outcome.output.ends_with("\n9999\n10000\n"), "{outcome:?}");
}

#[tokio::test]
async fn a_program_that_prints_without_end_is_ended() {
    let outcome = run(script(&["yes", "no"], PATIENCE)).await;
    assert_outcome(
        &outcome,
        Status::Critical,
        "Printed more than 16777216 bytes running check",
    );
    // The cut may fall anywhere within a line.
    assert!(outcome.output.contains("no\nno\nno\n"));
    assert!(outcome.output.len() < 4300);
}

#[tokio::test]
async fn a_child_left_behind_does_not_hold_up_the_result() {
    let started = std::time::Instant::now();
    let outcome = run(shell("sleep 1000 & echo $!", PATIENCE)).await;
    assert_eq!(outcome.status, Status::Passing);
    assert!(started.elapsed() < PATIENCE / 2, "{:?}", started.elapsed());
    let pid = outcome.output.trim();
    assert!(
        lives(pid),
        "what a script started is its own business once it has ended well"
    );
    let raw = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    rustix::process::kill_process(raw, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_run_that_is_dropped_kills_its_program() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let text = format!(
        "echo $$ > {0}.new; mv {0}.new {0}; sleep 1000",
        file.display()
    );
    let running = tokio::spawn(run(shell(&text, PATIENCE)));
    let end = std::time::Instant::now() + PATIENCE;
    let pid = loop {
        if let Ok(pid) = std::fs::read_to_string(&file) {
            break pid.trim().to_owned();
        }
        assert!(std::time::Instant::now() < end, "the script did not start");
        tokio::task::yield_now().await;
    };
    assert!(lives(&pid));
    running.abort();
    wait_until_gone(&pid).await;
}

#[test]
fn scripts_are_taken_from_local_files_only_and_only_when_allowed() {
    let nobody = Scripts::from_settings(false, false);
    assert_eq!(nobody.allow(Source::Api), Err(ScriptsRefused::Remote));
    assert_eq!(nobody.allow(Source::LocalFile), Err(ScriptsRefused::Here));
    for (any, local) in [(true, false), (false, true), (true, true)] {
        let allowed = Scripts::from_settings(any, local);
        assert_eq!(allowed.allow(Source::LocalFile), Ok(()));
        assert_eq!(allowed.allow(Source::Api), Err(ScriptsRefused::OnlyLocal));
    }
    // As recorded.
    assert_eq!(
        ScriptsRefused::Remote.to_string(),
        "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true"
    );
}
