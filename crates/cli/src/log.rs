//! Log lines of the servers: to standard error, as text or JSON, at a level that changes without a restart.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use rollcall_agent::monitor::Monitor;
use rollcall_server::config::LogLevel;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, reload};

/// Changes the level of a running log.
#[derive(Clone)]
pub(crate) struct LevelHandle(reload::Handle<EnvFilter, Registry>);

/// Starts the log, with a monitor beside it that has levels of its own. Once a process.
pub(crate) fn start(level: LogLevel, json: bool) -> anyhow::Result<(LevelHandle, Monitor)> {
    let (filter, handle) = reload::Layer::new(filter(level));
    let monitor = Monitor::default();
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = if json {
        lines.json().with_filter(filter).boxed()
    } else {
        lines.with_filter(filter).boxed()
    };
    let registry = tracing_subscriber::registry()
        .with(lines)
        .with(monitor.layer());
    registry.try_init().context("starting the log")?;
    Ok((LevelHandle(handle), monitor))
}

impl LevelHandle {
    /// From now on this level.
    pub(crate) fn set(&self, level: LogLevel) -> anyhow::Result<()> {
        self.0
            .reload(filter(level))
            .context("changing the log level")
    }
}

/// Libraries log one level quieter than we do: their `info` is for whoever writes them.
fn filter(level: LogLevel) -> EnvFilter {
    let libraries = match level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "info",
        LogLevel::Info | LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    };
    EnvFilter::new(format!(
        "{libraries},rollcall={0},rollcall_agent={0},rollcall_edge={0},rollcall_server={0},rollcall_state={0}",
        level.as_str()
    ))
}
