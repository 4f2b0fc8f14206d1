//! `rollcall agent`: a node's own half without a server. Its services and checks are its own; everything else it passes on.
//!
//! ```text
//! task          owns                                ends
//! agent         sync and checks                     with the process, or before it leaves
//! servers       which server is in use              with the process
//! members       what servers say of each other      with the process
//! http::serve   HTTP listeners                      with the process; open answers get a moment
//! ```
//! The node's row is its own and stays when the process ends: only `agent/leave` takes it off the roll. Until gossip exists nobody
//! watches over the process, so it registers no serfHealth: a session on this node has to name its checks.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rollcall_agent::agent::{self, Agent, RESULTS_MAX};
use rollcall_agent::api;
use rollcall_agent::checks::{self, Checks};
use rollcall_agent::forward::Forward;
use rollcall_agent::http_registry::HttpRegistry;
use rollcall_agent::identity;
use rollcall_agent::metrics::CheckMetrics;
use rollcall_agent::registry::{Boxed, Registry};
use rollcall_agent::rows::NodeSpec;
use rollcall_agent::servers::{ServerAddress, Servers};
use rollcall_agent::store::Store;
use rollcall_agent::surroundings::{ALIVE, About, NotDone, Surroundings, member};
use rollcall_api::agent::Member;
use rollcall_edge::Edge;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::disk::{RealDisk, SharedDisk};
use crate::listeners;
use crate::node_agent::{DIRECTORY, Hooks, Reload, Running, port_list};
use crate::run::RunError;
use crate::{metrics, rt};

/// The version of the API we speak.
const API_VERSION: &str = "1.20.1";
/// How often the servers are asked for each other.
const MEMBERS_EVERY: Duration = Duration::from_secs(10);
/// Pause before the process ends after it left, so that the answer gets out.
const LEAVE_PAUSE: Duration = Duration::from_millis(200);

/// Runs an agent until `shutdown` resolves, or until it leaves.
///
/// # Errors
/// The data directory, a file in it, or a port cannot be used.
pub async fn run(
    config: Config,
    hooks: Hooks,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    let disk: SharedDisk = Arc::new(RealDisk);
    let directory = identity::Directory::open(&disk, &config.data_dir, config.node_id)?;
    let id = directory.id();
    let addresses = config.retry_join.iter().map(|join| ServerAddress {
        host: join.host.clone(),
        port: join.port,
    });
    let servers = Arc::new(Servers::new(addresses.collect(), &config.node_name));
    let owner = format!("agent:{id}");
    let registry = HttpRegistry::new(Arc::clone(&servers), &config.node_name, &owner);
    let registry = Arc::new(registry);
    let store = Store::open(disk, &config.data_dir.join(DIRECTORY))?;
    let (results, receiver) = tokio::sync::mpsc::channel(RESULTS_MAX);
    let reads = Arc::clone(&registry) as Arc<dyn checks::NodeReads>;
    let registry_of_metrics = metrics::registry();
    let runs = CheckMetrics::default();
    runs.export(&registry_of_metrics);
    let runner_config = checks::Config {
        observer: Arc::new(runs),
        ..checks::Config::default()
    };
    let runners = Running(Checks::start(runner_config, reads, results));
    let settings = agent::Config {
        node: config.node_name.clone(),
        node_id: id,
        datacenter: config.datacenter.clone(),
        node_row: Some(node_row(&config, id)),
        check_update_interval: config.check_update_interval,
    };
    let agent = Agent::open(
        settings,
        Some(store),
        Arc::new(runners),
        Vec::new(),
        Vec::new(),
    )?;
    tracing::info!(%id, node = %config.node_name, data_dir = %config.data_dir.display(), servers = ?servers.addresses(), "starting");

    agent.metrics().export(&registry_of_metrics);
    let stop = CancellationToken::new();
    let leaving = CancellationToken::new();
    let surroundings = Arc::new(OfAgent {
        config: config.clone(),
        id,
        registry: Arc::clone(&registry),
        reload: hooks.reload,
        known: Mutex::new(Vec::new()),
        leaving: leaving.clone(),
        stop: stop.clone(),
        metrics: Arc::clone(&registry_of_metrics),
    });
    let ready = Arc::new(AtomicBool::new(false));
    let table = api::api(
        Arc::clone(&agent),
        Arc::clone(&surroundings) as Arc<dyn Surroundings>,
        hooks.monitor,
        config.enable_script_checks,
    );
    let forward = Arc::new(Forward::new(Arc::clone(&servers), Arc::clone(&ready)));
    let edge = Edge::new(
        listeners::edge_config(&config),
        vec![table, forward],
        stop.clone(),
    );
    edge.export(&registry_of_metrics);
    listeners::serve(&config, &edge).await?;

    let tasks = async {
        let registry = registry as Arc<dyn Registry>;
        let syncing = async {
            tokio::select! {
                () = leaving.cancelled() => {}
                () = Arc::clone(&agent).run(registry, receiver) => {}
            }
            std::future::pending::<()>().await;
        };
        let becoming_ready = async {
            agent.first_sync().await;
            tracing::info!("the catalog has this node");
            ready.store(true, Ordering::Relaxed);
            std::future::pending::<()>().await;
        };
        tokio::join!(
            syncing,
            becoming_ready,
            servers.tend(),
            surroundings.look(),
            metrics::keep_intervals(registry_of_metrics)
        );
    };
    tokio::select! {
        () = shutdown => {}
        () = stop.cancelled() => rt::sleep(LEAVE_PAUSE).await,
        () = tasks => {}
    }
    tracing::info!("stopping");
    agent.keep_health().await;
    stop.cancel();
    listeners::drained(&edge).await;
    drop(directory);
    Ok(())
}

fn node_row(config: &Config, id: uuid::Uuid) -> NodeSpec {
    let address = config.advertise_addr.to_string();
    let family = if config.advertise_addr.is_ipv4() {
        "ipv4"
    } else {
        "ipv6"
    };
    let kinds = [
        "lan".to_owned(),
        format!("lan_{family}"),
        "wan".to_owned(),
        format!("wan_{family}"),
    ];
    NodeSpec {
        id: id.to_string(),
        node: config.node_name.clone(),
        tagged_addresses: kinds
            .into_iter()
            .map(|kind| (kind, address.clone()))
            .collect(),
        address,
        meta: node_meta().into_iter().collect(),
    }
}

/// What Consul's agents say of themselves.
fn node_meta() -> Vec<(String, String)> {
    vec![
        ("consul-network-segment".to_owned(), String::new()),
        ("consul-version".to_owned(), API_VERSION.to_owned()),
    ]
}

struct OfAgent {
    config: Config,
    id: uuid::Uuid,
    registry: Arc<HttpRegistry>,
    reload: Option<Reload>,
    /// Servers, as one of them last said.
    known: Mutex<Vec<Member>>,
    leaving: CancellationToken,
    stop: CancellationToken,
    metrics: Arc<rollcall_metrics::Registry>,
}

impl OfAgent {
    /// Asks for the servers now and then.
    async fn look(&self) {
        loop {
            if let Some(mut members) = self.registry.members().await {
                members
                    .retain(|member| member.tags.get("role").is_some_and(|role| role == "consul"));
                *self.known.lock() = members;
            }
            rt::sleep(MEMBERS_EVERY).await;
        }
    }
}

impl Surroundings for OfAgent {
    fn about(&self) -> About {
        let config = &self.config;
        About {
            server: false,
            advertise: config.advertise_addr,
            ports: port_list(config, -1),
            http: config.http.iter().map(ToString::to_string).collect(),
            session_ttl_min_ns: i64::try_from(config.session_ttl_min.as_nanos())
                .unwrap_or(i64::MAX),
            node_meta: node_meta(),
            data_dir: config.data_dir.display().to_string(),
            log_level: config.log_level.as_str().to_uppercase(),
        }
    }

    fn members(&self) -> Vec<Member> {
        let address: IpAddr = self.config.advertise_addr;
        let tags = [
            ("acls", "0".to_owned()),
            ("build", format!("{API_VERSION}:")),
            ("dc", self.config.datacenter.clone()),
            ("id", self.id.to_string()),
            ("role", "node".to_owned()),
            ("segment", String::new()),
            ("vsn", "2".to_owned()),
            ("vsn_max", "3".to_owned()),
            ("vsn_min", "2".to_owned()),
            ("rc_kind", "agent".to_owned()),
        ];
        let port = self.config.ports.serf_lan.unwrap_or(0);
        let mut members = self.known.lock().clone();
        members.push(member(&self.config.node_name, address, port, ALIVE, &tags));
        members.sort_by(|a, b| a.name.cmp(&b.name));
        members
    }

    fn stats(&self) -> Value {
        json!({
            "consul": {
                "acl": "disabled",
                "known_servers": self.known.lock().len().to_string(),
                "server": "false",
            },
        })
    }

    fn reload(&self) -> Boxed<'_, Result<(), NotDone>> {
        Box::pin(async move { Reload::carry_out(self.reload.as_ref()) })
    }

    fn leave(&self) -> Boxed<'_, Result<(), NotDone>> {
        Box::pin(async move {
            // Or it would be registered again at once.
            self.leaving.cancel();
            let left = self.registry.deregister_node().await;
            self.stop.cancel();
            left.map_err(|error| NotDone(format!("the node is still registered: {error}")))
        })
    }

    fn metrics(&self, prometheus: bool) -> Option<(String, &'static str)> {
        Some(metrics::render(&self.metrics, prometheus))
    }
}
