//! Script checks: a program of this machine, exit code 0 passing, 1 warning, else critical.
//!
//! Programs run in a process group of their own, so that a time-out ends what they started too; what left the group lives on. Their
//! output is read to its end, whatever its length, and its last bytes are kept. The simulation runs none, so processes are
//! started past `rollcall_rt`. Who may define such checks: [`Scripts`].

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rollcall_api::GoDuration;
use rollcall_rt as rt;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

use super::output::{Outcome, Tail};

/// How long output is awaited of what a program left running behind it, and the program itself after it was killed.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// A program that prints more is ended: reading on would cost this machine a core for nothing.
const PRINTED_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Read at once.
const READ_BYTES: usize = 4096;

/// Who may define checks that run programs (`enable_script_checks`, `enable_local_script_checks`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scripts {
    /// Nobody.
    #[default]
    Nobody,
    /// The configuration's files.
    LocalFiles,
}

/// Where a definition came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A file of the configuration.
    LocalFile,
    /// The HTTP API: whoever reaches it must not choose what runs here, and there are no tokens yet.
    Api,
}

/// Why a script check is not taken. Nothing was changed. The first two in Consul's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScriptsRefused {
    /// The configuration allows none.
    #[error(
        "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or 'enable_local_script_checks' to true"
    )]
    Here,
    /// The configuration allows none, and it came over the API.
    #[error(
        "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true"
    )]
    Remote,
    /// The configuration allows them to local files.
    #[error(
        "Scripts are disabled on this agent from remote calls; define the check in a file of the agent's configuration"
    )]
    OnlyLocal,
}

impl Scripts {
    /// From the two settings. Either means: local files.
    pub fn from_settings(enable_script_checks: bool, enable_local_script_checks: bool) -> Self {
        if enable_script_checks || enable_local_script_checks {
            Scripts::LocalFiles
        } else {
            Scripts::Nobody
        }
    }

    /// Whether a definition from there may run a program.
    pub fn allow(self, source: Source) -> Result<(), ScriptsRefused> {
        match (self, source) {
            (Scripts::LocalFiles, Source::LocalFile) => Ok(()),
            (Scripts::LocalFiles, Source::Api) => Err(ScriptsRefused::OnlyLocal),
            (Scripts::Nobody, Source::LocalFile) => Err(ScriptsRefused::Here),
            (Scripts::Nobody, Source::Api) => Err(ScriptsRefused::Remote),
        }
    }
}

/// A script check.
#[derive(Debug)]
pub struct ScriptProbe {
    program: String,
    arguments: Vec<String>,
    limit: usize,
}

impl ScriptProbe {
    /// A program and its arguments, keeping `limit` bytes of what it prints. The error is what a run would say.
    pub fn new(args: &[String], limit: usize) -> Result<Self, String> {
        let (program, arguments) = args.split_first().ok_or("need an executable to run")?;
        Ok(ScriptProbe {
            program: program.clone(),
            arguments: arguments.to_vec(),
            limit,
        })
    }

    /// Runs it once. Dropping the future kills the program and its group.
    pub async fn run(&self, timeout: Duration) -> Outcome {
        let (mut running, mut printed) = match self.start() {
            Ok(started) => started,
            Err(error) => {
                let words = super::dial::system_words(&error);
                return Outcome::critical(format!("exec: {:?}: {words}", self.program));
            }
        };
        let mut tail = Tail::new(self.limit);
        let ended = rt::timeout(timeout, running.end(&mut printed, &mut tail)).await;
        let words = match ended {
            Some(Ok(Ended::ByItself(status))) => {
                return match status.code() {
                    Some(0) => Outcome::passing(tail.text()),
                    Some(1) => Outcome::warning(tail.text()),
                    _ => Outcome::critical(tail.text()),
                };
            }
            Some(Ok(Ended::PrintedTooMuch)) => {
                format!("Printed more than {PRINTED_BYTES_MAX} bytes running check")
            }
            Some(Err(error)) => format!("Failed running check: {error}"),
            None => format!(
                "Timed out ({}) running check",
                GoDuration::from_std(timeout)
            ),
        };
        running.kill().await;
        match tail.text() {
            output if output.is_empty() => Outcome::critical(words),
            output => Outcome::critical(format!("{words}\n\n{output}")),
        }
    }

    fn start(&self) -> io::Result<(Running, pipe::Receiver)> {
        // One pipe for both, so that the order of what it prints is kept.
        let (reader, writer) = io::pipe()?;
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let group = child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let reader = pipe::Receiver::from_owned_fd(reader.into())?;
        Ok((Running { child, group }, reader))
    }
}

/// How a program came to its end, or to ours.
enum Ended {
    ByItself(ExitStatus),
    PrintedTooMuch,
}

/// A program and its group, killed when this is dropped before the program has ended.
struct Running {
    child: Child,
    group: Option<Pid>,
}

impl Running {
    /// Waits for the program's end and reads what it prints until then, and a little longer what its children print.
    async fn end(&mut self, printed: &mut pipe::Receiver, tail: &mut Tail) -> io::Result<Ended> {
        let mut open = true;
        let status = loop {
            let mut bytes = [0; READ_BYTES];
            tokio::select! {
                status = self.child.wait() => break status,
                read = printed.read(&mut bytes), if open => match read {
                    Ok(0) | Err(_) => open = false,
                    Ok(read) => tail.push(&bytes[..read]),
                },
            }
            if tail.total() > PRINTED_BYTES_MAX {
                return Ok(Ended::PrintedTooMuch);
            }
        }?;
        // It is gone, and its number may soon be another's.
        self.group = None;
        if open {
            rt::timeout(LAST_WORDS, drain(printed, tail)).await;
        }
        Ok(Ended::ByItself(status))
    }

    async fn kill(&mut self) {
        self.kill_group();
        let killed = rt::timeout(LAST_WORDS, self.child.wait()).await;
        if killed.is_none() {
            tracing::warn!(pid = self.child.id(), "a script does not die");
        }
    }

    fn kill_group(&mut self) {
        let Some(group) = self.group.take() else {
            return;
        };
        if let Err(error) = kill_process_group(group, Signal::KILL) {
            tracing::debug!(group = group.as_raw_nonzero(), %error, "a script's group");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill_group();
    }
}

async fn drain(printed: &mut pipe::Receiver, tail: &mut Tail) {
    let mut bytes = [0; READ_BYTES];
    while let Ok(read @ 1..) = printed.read(&mut bytes).await {
        tail.push(&bytes[..read]);
    }
}
