//! The command of a watch: gets the JSON on standard input, and ends with us.

use std::ffi::OsString;
use std::process::{ExitStatus, Stdio};

use anyhow::Context as _;
use tokio::io::AsyncWriteExt as _;

use crate::child::{self, Stop};

/// What is run at each change.
pub(super) struct Handler<'a> {
    words: &'a [OsString],
    shell: Option<bool>,
}

/// How a run ended.
pub(super) enum Handled {
    /// With exit code 0.
    Done,
    /// Otherwise, in words.
    Failed(String),
    /// We were asked to stop, and it was stopped.
    Stopped,
}

impl<'a> Handler<'a> {
    /// `None` without words.
    pub(super) fn new(words: &'a [OsString], shell: Option<bool>) -> Option<Handler<'a>> {
        (!words.is_empty()).then_some(Handler { words, shell })
    }

    /// Runs it to its end.
    pub(super) async fn run(
        &self,
        index: u64,
        json: &[u8],
        stop: &mut Stop,
    ) -> anyhow::Result<Handled> {
        let mut command = child::command(self.words, self.shell);
        command
            .env("CONSUL_INDEX", index.to_string())
            .env("ROLLCALL_INDEX", index.to_string())
            .stdin(Stdio::piped());
        let mut child = child::spawn(&mut command, self.words)?;
        let mut input = child
            .stdin
            .take()
            .expect("its standard input must be piped");
        let feed = async {
            // A command that does not read its input closes it: no failure.
            let _ = input.write_all(json).await;
            let _ = input.write_all(b"\n").await;
            drop(input);
            // Only the end of the command is waited for.
            std::future::pending::<()>().await;
        };
        let status = tokio::select! {
            status = child.wait() => Some(status.context("waiting for the command")?),
            () = feed => None,
            () = stop.asked() => None,
        };
        match status {
            None => {
                child::terminate(&mut child, |_| Ok(())).await?;
                Ok(Handled::Stopped)
            }
            Some(status) if status.success() => Ok(Handled::Done),
            Some(status) => Ok(Handled::Failed(self.failed(status))),
        }
    }

    fn failed(&self, status: ExitStatus) -> String {
        let name = self.words[0].to_string_lossy();
        format!("the command {name} failed at this change: {status}")
    }
}
