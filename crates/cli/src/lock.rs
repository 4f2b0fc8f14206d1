//! `rollcall lock`: runs a command while holding a lock, and stops it when the lock is lost.
//!
//! Semaphores (`-n` above 1) are not in this version.

use std::ffi::OsString;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{ArgAction, Args};
use rollcall_client::{Held, Lock, LockSettings};
use tokio::process::Child;

use crate::child::{self, Stop};
use crate::connect::{ConnectArgs, block_on};
use crate::output;
use crate::time::duration;

/// As Consul's: the child failed and --child-exit-code was given.
const EXIT_CHILD_FAILED: u8 = 2;

/// Run a command while holding a lock
#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Name of the session, for people
    #[arg(long)]
    name: Option<String>,
    /// Give up when the lock is not ours after this long [default: never]
    #[arg(long, alias = "try", value_parser = duration, value_name = "DURATION")]
    timeout: Option<Duration>,
    /// Number of holders; only 1 in this version
    #[arg(short = 'n', default_value_t = 1, value_name = "NUMBER")]
    holders: u32,
    /// TTL of the session; the lock of a holder that dies is free after one to two of these and the lock-delay
    #[arg(long, default_value = "15s", value_parser = duration, value_name = "DURATION")]
    ttl: Duration,
    /// How long the lock stays closed after its holder died [default: 15s]
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    lock_delay: Option<Duration>,
    /// Failed looks at the lock that are borne, a second between them
    #[arg(long, default_value_t = 3, value_name = "NUMBER")]
    monitor_retry: u32,
    /// Exit with 2 when the command failed
    #[arg(long)]
    child_exit_code: bool,
    /// Give standard input to the command
    #[arg(long)]
    pass_stdin: bool,
    /// Run the command through a shell [default: true for one word, else false]
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    shell: Option<bool>,
    /// Tell what happens
    #[arg(long)]
    verbose: bool,
    /// Prefix of the lock; its key is PREFIX/.lock
    prefix: String,
    /// Command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

pub(crate) fn run(args: LockArgs) -> anyhow::Result<ExitCode> {
    ensure!(
        args.holders == 1,
        "-n {}: semaphores are not in this version",
        args.holders
    );
    let client = args.connect.client()?;
    block_on(async {
        let lock = Lock::new(client, settings(&args));
        args.tell(format_args!("Setting up lock at path: {}", args.key()))?;
        let mut stop = Stop::listen()?;
        let held = lock
            .acquire(stop.asked())
            .await
            .context("Lock acquisition failed")?;
        let held = held.context("Shutdown triggered or timeout during lock acquisition")?;
        hold(&args, held, &mut stop).await
    })
}

fn settings(args: &LockArgs) -> LockSettings {
    let words: Vec<_> = args
        .command
        .iter()
        .map(|word| word.to_string_lossy())
        .collect();
    let default = format!("Lock for '{}' at '{}'", words.join(" "), args.prefix);
    LockSettings {
        key: args.key(),
        value: bytes::Bytes::new(),
        session_name: args.name.clone().unwrap_or(default),
        ttl: args.ttl,
        lock_delay: args.lock_delay,
        wait: args.timeout,
        monitor_retries: args.monitor_retry,
    }
}

impl LockArgs {
    /// As Consul's `lock`, so that both exclude each other.
    fn key(&self) -> String {
        let prefix = self.prefix.trim_start_matches('/').trim_end_matches('/');
        if prefix.is_empty() {
            ".lock".to_owned()
        } else {
            format!("{prefix}/.lock")
        }
    }

    fn tell(&self, text: impl std::fmt::Display) -> anyhow::Result<()> {
        if self.verbose {
            output::line(text)
        } else {
            Ok(())
        }
    }
}

enum Ended {
    /// By itself.
    Child(ExitStatus),
    /// We were asked to stop.
    Stopped,
    /// The lock is gone, for this reason.
    Lost(String),
}

async fn hold(args: &LockArgs, mut held: Held, stop: &mut Stop) -> anyhow::Result<ExitCode> {
    args.tell(format_args!("Lock acquired by session {}", held.session()))?;
    let mut child = match spawn(args) {
        Ok(child) => child,
        Err(error) => {
            held.release().await.context("Lock release failed")?;
            return Err(error);
        }
    };
    let ended = tokio::select! {
        // A lost lock is looked at first: nothing else matters then.
        biased;
        reason = held.lost() => Ended::Lost(reason),
        status = child.wait() => Ended::Child(status.context("waiting for the command")?),
        () = stop.asked() => Ended::Stopped,
    };
    match ended {
        Ended::Lost(reason) => {
            child::terminate(&mut child, |text| args.tell(text)).await?;
            // Ends the session, should it live: the command has stopped.
            let released = held.release().await;
            if let Err(error) = released {
                args.tell(format_args!("Lock release failed: {error}"))?;
            }
            bail!("Lock lost, the command was stopped: {reason}")
        }
        Ended::Stopped => {
            args.tell("Shutdown triggered, killing child")?;
            child::terminate(&mut child, |text| args.tell(text)).await?;
            held.release().await.context("Lock release failed")?;
            Ok(ExitCode::SUCCESS)
        }
        Ended::Child(status) => {
            args.tell("Child terminated, releasing lock")?;
            held.release().await.context("Lock release failed")?;
            let failed = args.child_exit_code && !status.success();
            Ok(if failed {
                ExitCode::from(EXIT_CHILD_FAILED)
            } else {
                ExitCode::SUCCESS
            })
        }
    }
}

fn spawn(args: &LockArgs) -> anyhow::Result<Child> {
    let mut command = child::command(&args.command, args.shell);
    command
        .env("ROLLCALL_LOCK_HELD", "true")
        .env("CONSUL_LOCK_HELD", "true");
    if args.pass_stdin {
        command.stdin(Stdio::inherit());
    }
    child::spawn(&mut command, &args.command)
}
