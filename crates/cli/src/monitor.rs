//! `rollcall monitor`: the asked agent's log, as it is written.

use std::io::Write as _;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

use crate::child::Stop;
use crate::connect::{ConnectArgs, block_on};

/// Show an agent's log as it is written, until interrupted
#[derive(Debug, Args)]
pub(crate) struct MonitorArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Lowest level shown, whatever level the agent itself logs at
    #[arg(
        long,
        value_enum,
        default_value = "info",
        ignore_case = true,
        value_name = "LEVEL"
    )]
    log_level: Level,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    #[value(alias = "err")]
    Error,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }
}

/// Interrupting it is how it ends, hence no failure; an agent that stops is one.
pub(crate) fn run(args: MonitorArgs) -> anyhow::Result<()> {
    let client = args.connect.client()?;
    block_on(async {
        let mut stop = Stop::listen()?;
        let agent = client.agent();
        let mut log = tokio::select! {
            log = agent.monitor(args.log_level.as_str()) => log.context("asking for the log")?,
            () = stop.asked() => return Ok(()),
        };
        loop {
            let chunk = tokio::select! {
                chunk = log.chunk() => chunk.context("reading the log")?,
                () = stop.asked() => return Ok(()),
            };
            let Some(chunk) = chunk else {
                bail!("{} ended the log: did it stop?", client.address());
            };
            let mut out = std::io::stdout().lock();
            out.write_all(&chunk)?;
            out.flush()?;
        }
    })
}
