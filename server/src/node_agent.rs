//! A server's own agent: the same as every node's, with the door as its registry.
//!
//! The node's row and serfHealth are the server's (`node_rows`); the agent keeps the services and checks that clients register with
//! it. Its files stand in the data directory, in `agent/`.

mod registry;
mod surroundings;

use std::sync::Arc;

use rollcall_agent::agent::{self, Agent, RESULTS_MAX, Runners};
use rollcall_agent::checks::Checks;
use rollcall_agent::definition::Definition;
use rollcall_agent::metrics::CheckMetrics;
use rollcall_agent::monitor::Monitor;
use rollcall_agent::registry::Registry;
use rollcall_agent::store::{Store, StoreError};
use rollcall_agent::surroundings::NotDone;
use rollcall_agent::{api, checks};
use rollcall_edge::Api;
use tokio_util::sync::CancellationToken;

use self::registry::DoorRegistry;
use self::surroundings::OfServer;
use crate::config::Config;
use crate::consensus::Consensus;
use crate::rt;

/// Where the agent's files are, below the data directory.
pub(crate) const DIRECTORY: &str = "agent";

/// Reads the configuration again, for `agent/reload`. What it says is shown to the client.
#[derive(Clone)]
pub struct Reload(pub Arc<dyn Fn() -> Result<(), String> + Send + Sync>);

impl Reload {
    /// Does it, where there is a configuration to read.
    pub(crate) fn carry_out(reload: Option<&Reload>) -> Result<(), NotDone> {
        match reload {
            Some(reload) => (reload.0)().map_err(NotDone),
            None => Err(NotDone(
                "this process has no configuration to read again".to_owned(),
            )),
        }
    }
}

/// Ports by Consul's names; -1: none.
pub(crate) fn port_list(config: &Config, server: i32) -> Vec<(&'static str, i32)> {
    let port = |port: Option<u16>| port.map_or(-1, i32::from);
    vec![
        ("http", port(config.ports.http)),
        ("dns", port(config.ports.dns)),
        ("server", server),
        ("serf_lan", port(config.ports.serf_lan)),
        ("serf_wan", port(config.ports.serf_wan)),
    ]
}

impl std::fmt::Debug for Reload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reload")
    }
}

/// What the process around a server gives its agent.
#[derive(Debug, Clone, Default)]
pub struct Hooks {
    /// Its log.
    pub monitor: Monitor,
    /// How it reads its configuration again.
    pub reload: Option<Reload>,
}

/// The runners behind the agent's trait.
pub(crate) struct Running(pub(crate) Checks);

impl Runners for Running {
    fn set(&self, definition: &Definition) {
        self.0.set(definition);
    }

    fn remove(&self, id: &str) {
        self.0.remove(id);
    }
}

/// Starts a server's agent, until `shutdown`; its endpoints.
///
/// # Errors
/// Its files cannot be read.
pub fn start(
    config: &Config,
    consensus: &Arc<Consensus>,
    hooks: Hooks,
    registry_of_metrics: &Arc<rollcall_metrics::Registry>,
    shutdown: &CancellationToken,
) -> Result<Arc<dyn Api>, StoreError> {
    let store = Store::open(
        Arc::clone(consensus.members.data_dir.disk()),
        &config.data_dir.join(DIRECTORY),
    )?;
    let registry = Arc::new(DoorRegistry::new(Arc::clone(consensus)));
    let (results, receiver) = tokio::sync::mpsc::channel(RESULTS_MAX);
    let reads = Arc::clone(&registry) as Arc<dyn checks::NodeReads>;
    let runs = CheckMetrics::default();
    runs.export(registry_of_metrics);
    let runner_config = checks::Config {
        observer: Arc::new(runs),
        ..checks::Config::default()
    };
    let runners = Running(Checks::start(runner_config, reads, results));
    let settings = agent::Config {
        node: config.node_name.clone(),
        node_id: consensus.id.0,
        datacenter: config.datacenter.clone(),
        node_row: None,
        check_update_interval: config.check_update_interval,
    };
    let agent = Agent::open(
        settings,
        Some(store),
        Arc::new(runners),
        Vec::new(),
        Vec::new(),
    )?;
    agent.metrics().export(registry_of_metrics);
    let surroundings = OfServer {
        metrics: Arc::clone(registry_of_metrics),
        consensus: Arc::clone(consensus),
        config: config.clone(),
        reload: hooks.reload,
    };
    let shutdown = shutdown.clone();
    let running = Arc::clone(&agent);
    rt::spawn(async move {
        let registry = registry as Arc<dyn Registry>;
        tokio::select! {
            biased;
            () = shutdown.cancelled() => running.keep_health().await,
            () = Arc::clone(&running).run(registry, receiver) => {}
        }
    });
    Ok(api::api(
        agent,
        Arc::new(surroundings),
        hooks.monitor,
        config.enable_script_checks,
    ))
}
