//! Commands of the user's that `lock` and `watch` run: how they are started, and how they end with us.
//!
//! A child gets a process group of its own, so that what it started is stopped with it.

use std::ffi::{OsStr, OsString};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// Time between SIGTERM and SIGKILL: well inside the default lock-delay of 15 s, so that no two children believe they hold a lock.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// The command of these words (at least one), run through the user's shell when asked for, or when it is one word.
pub(crate) fn command(words: &[OsString], shell: Option<bool>) -> Command {
    let mut command = if shell.unwrap_or(words.len() == 1) {
        let shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
        let mut command = Command::new(shell);
        command.arg("-c").arg(words.join(OsStr::new(" ")));
        command
    } else {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
    };
    command
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    command
}

/// Starts it.
pub(crate) fn spawn(command: &mut Command, words: &[OsString]) -> anyhow::Result<Child> {
    command
        .spawn()
        .with_context(|| format!("Error starting {}", words[0].to_string_lossy()))
}

/// SIGTERM to the child's group, SIGKILL after [`GRACE`]. `tell` hears what happens.
pub(crate) async fn terminate(
    child: &mut Child,
    tell: impl Fn(String) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    // No id: it has ended, and its number may be somebody else's by now.
    let Some(group) = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)) else {
        return Ok(());
    };
    tell(format!("Terminating child pid {}", group.as_raw_nonzero()))?;
    kill_process_group(group, Signal::TERM).context("terminating the command")?;
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        tell(format!(
            "Child did not exit after grace period of {GRACE:?}"
        ))?;
        kill_process_group(group, Signal::KILL).context("killing the command")?;
        child.wait().await.context("waiting for the command")?;
    }
    Ok(())
}

/// SIGINT and SIGTERM of this process.
pub(crate) struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Stop {
    /// From now on they do not end the process.
    pub(crate) fn listen() -> anyhow::Result<Stop> {
        let interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
        let terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
        Ok(Stop {
            interrupt,
            terminate,
        })
    }

    /// Waits for one. Cancel-safe.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
