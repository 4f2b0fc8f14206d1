//! `rollcall server`, `rollcall agent` and `rollcall dev`: configuration, log, runtime and signals around `rollcall_server::run`.
//!
//! SIGTERM and SIGINT stop the server in order, a second one at once; SIGHUP reads the configuration again and takes the log
//! level from it (everything else needs a restart, and the log says so when it changed).

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use rollcall_server::config::{Checked, Config};
use rollcall_server::node_agent::{Hooks, Reload};
use tokio::signal::unix::{SignalKind, signal};

use crate::log::{self, LevelHandle};
use crate::settings::SettingArgs;

/// Run a server, or an agent
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    #[command(flatten)]
    settings: SettingArgs,
}

/// Run one server for trying out
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Directory of Kubernetes resources to load; not in this version
    #[arg(long, value_name = "PATH")]
    manifests: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingArgs,
}

/// What `agent` sets before files, variables and flags.
const AGENT_SETTINGS: &str = "server: false\n";

/// What `dev` sets before files, variables and flags: one server, for this machine only.
const DEV_SETTINGS: &str = "bootstrap: true\nbind_addr: 127.0.0.1\n";

/// Runs `rollcall server` until it stops.
pub(crate) fn server(args: ServerArgs) -> anyhow::Result<()> {
    let settings = args.settings;
    serve(move || {
        let checked = SettingArgs::check(&settings.layers("")?)?;
        anyhow::ensure!(
            checked.config.server,
            "server = false: that is `rollcall agent`"
        );
        Ok(checked)
    })
}

/// Runs `rollcall agent` until it stops.
pub(crate) fn agent(args: ServerArgs) -> anyhow::Result<()> {
    let settings = args.settings;
    serve(move || {
        let checked = SettingArgs::check(&settings.layers(AGENT_SETTINGS)?)?;
        anyhow::ensure!(
            !checked.config.server,
            "server = true: that is `rollcall server`"
        );
        anyhow::ensure!(
            !checked.config.retry_join.is_empty(),
            "retry_join: an agent needs at least one server, as HOST or HOST:PORT of its HTTP API"
        );
        Ok(checked)
    })
}

/// Runs `rollcall dev` until it stops; a temporary data directory goes with it.
pub(crate) fn dev(args: DevArgs) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.manifests.is_none(),
        "--manifests: loading resources is not in this version"
    );
    let settings = args.settings;
    let temporary = if settings.layers(DEV_SETTINGS)?.is_set("data_dir") {
        None
    } else {
        let directory = tempfile::Builder::new().prefix("rollcall-dev-").tempdir();
        Some(directory.context("making a temporary data directory")?)
    };
    let path = temporary
        .as_ref()
        .map(|directory| directory.path().to_str().map(str::to_owned));
    // `temporary` itself stays here: it is removed when the server has stopped, whatever became of its tasks.
    serve(move || {
        let mut layers = settings.layers(DEV_SETTINGS)?;
        if let Some(path) = &path {
            let path = path
                .clone()
                .context("the path of the temporary directory must be text")?;
            layers.add_flag("data_dir", &[path])?;
        }
        SettingArgs::check(&layers)
    })
}

/// Runs a server; `read` reads its configuration, again at every SIGHUP and `agent/reload`.
fn serve(read: impl Fn() -> anyhow::Result<Checked> + Send + Sync + 'static) -> anyhow::Result<()> {
    let Checked { config, warnings } = read()?;
    let (level, monitor) = log::start(config.log_level, config.log_json)?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    tracing::debug!(?config, "configuration");
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = config.worker_threads {
        builder.worker_threads(threads);
    }
    let runtime = builder
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let running = config.clone();
    let reload = Arc::new(move || {
        read()
            .and_then(|checked| reload(checked.config, &running, &level))
            .map_err(|error| format!("configuration not read again: {error:#}"))
    });
    let outcome = runtime.block_on(async move {
        let shutdown = shutdown_signal()?;
        spawn_reloader(Arc::clone(&reload))?;
        let hooks = Hooks {
            monitor,
            reload: Some(Reload(reload)),
        };
        run_server(config, hooks, shutdown).await
    });
    // Work on other threads that cannot be cancelled (a file being written) must not hold up the exit.
    runtime.shutdown_background();
    outcome
}

/// The call site of the server, or the agent, itself.
async fn run_server(
    config: Config,
    hooks: Hooks,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    if config.server {
        Ok(rollcall_server::run(config, hooks, shutdown).await?)
    } else {
        Ok(rollcall_server::agent_process::run(config, hooks, shutdown).await?)
    }
}

/// Resolves at the first SIGTERM or SIGINT. At the second the process exits at once.
fn shutdown_signal() -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    /// As a shell reports a program that SIGINT ended.
    const EXIT_INTERRUPTED: i32 = 130;
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let (told, wait) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let name = next().await;
        tracing::info!(signal = name, "stopping; a second signal stops at once");
        // The server may have ended by itself meanwhile.
        let _ = told.send(());
        let name = next().await;
        tracing::warn!(signal = name, "stopping at once");
        std::process::exit(EXIT_INTERRUPTED);
    });
    Ok(async move {
        // The sender lives in a task that ends only with the process.
        let _ = wait.await;
    })
}

/// At SIGHUP reads the configuration again.
fn spawn_reloader(
    reload: Arc<impl Fn() -> Result<(), String> + Send + Sync + 'static>,
) -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            if let Err(error) = reload() {
                tracing::error!("{error}");
            }
        }
    });
    Ok(())
}

/// Takes the log level from a configuration that was read again.
fn reload(new: Config, running: &Config, level: &LevelHandle) -> anyhow::Result<()> {
    level.set(new.log_level)?;
    tracing::info!(
        log_level = new.log_level.as_str(),
        "configuration read again"
    );
    if (Config {
        log_level: running.log_level,
        ..new
    }) != *running
    {
        tracing::warn!("other settings changed too: they take effect at the next start");
    }
    Ok(())
}
