//! Puts a server together, and takes it apart again.
//!
//! ```text
//! task            owns                       ends
//! raft (openraft) log, vote, state machine   with the server; after a storage error for good
//! rpc::serve      the server port            with the server
//! http::serve     HTTP listeners             with the server; open answers get a moment
//! forming         bootstrap and addresses    never; its error ends the server
//! leader          duties while leading       never
//! catch_up        own rows in the catalog    never
//! ```

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rollcall_dns::Responder;
use rollcall_edge::{Api, Edge};
use rollcall_metrics::Registry;
use tokio_util::sync::CancellationToken;

use crate::audit::Audit;
use crate::cluster::forming::{Forming, FormingError, Prober};
use crate::cluster::{ClusterHandler, Members};
use crate::config::Config;
use crate::consensus::{Consensus, Parts};
use crate::disk::SharedDisk;
use crate::dns::Roll;
use crate::door::Door as _;
use crate::http::{HttpConfig, Spool};
use crate::identity::{DataDir, IdentityError};
use crate::listeners::{self, listen, listen_error};
use crate::node_agent::{self, Hooks};
use crate::raft::{self, RaftHandle, ServerId, SnapshotLimits};
use crate::rpc::{self, AddressBook};
use crate::sabotage::Sabotage;
use crate::session_keeper::SessionKeeper;
use crate::watch::Watchers;
use crate::{http, leader, metrics, rt};

/// How long SIGTERM waits for another server to take the leadership.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(5);
/// UDP sockets of DNS an address; more than a few tasks find no core of their own.
const DNS_SOCKETS_MAX: usize = 8;
/// How long a server that leaves for good (`leave_on_terminate`) waits to be taken out of the configuration.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a server did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The data directory cannot be used. Nothing in it was changed.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The log or a snapshot cannot be used. Nothing was changed.
    #[error(transparent)]
    Raft(#[from] raft::StartError),
    /// A port is taken, or not ours to take.
    #[error("cannot listen on {address} ({setting})")]
    Listen {
        /// The setting.
        setting: &'static str,
        /// The address.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The audit log cannot be written.
    #[error("cannot write the audit log {path}")]
    Audit {
        /// Its file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// DNS cannot be served.
    #[error("ports.dns, addresses.dns")]
    Dns(#[from] rollcall_dns::ServeError),
    /// The agent's registrations cannot be used. Nothing was changed.
    #[error(transparent)]
    Agent(#[from] rollcall_agent::store::StoreError),
    /// The other servers do not fit this one.
    #[error(transparent)]
    Forming(#[from] FormingError),
    /// A storage error ended the server for good.
    #[error("{0}")]
    Storage(String),
}

/// A server that runs. Dropping it does not stop it; [`Running::stop`] does.
pub struct Running {
    consensus: Arc<Consensus>,
    leaves: bool,
    http: Vec<SocketAddr>,
    dns: Vec<SocketAddr>,
    port: rpc::Server,
    shutdown: CancellationToken,
    failed: tokio::sync::watch::Receiver<Option<Arc<RunError>>>,
}

impl Running {
    /// Where HTTP is answered over TCP.
    pub fn http_addresses(&self) -> &[SocketAddr] {
        &self.http
    }

    /// Where DNS is answered, over UDP and TCP.
    pub fn dns_addresses(&self) -> &[SocketAddr] {
        &self.dns
    }

    /// The server port.
    pub fn server_address(&self) -> SocketAddr {
        self.port.local_addr()
    }

    /// The server behind its door.
    pub fn consensus(&self) -> &Arc<Consensus> {
        &self.consensus
    }

    /// Resolves when the server cannot go on.
    pub async fn failure(&mut self) -> Arc<RunError> {
        let failed = self.failed.wait_for(Option::is_some).await;
        failed
            .ok()
            .and_then(|error| error.clone())
            .expect("the sender must live as long as its tasks")
    }

    /// Hands leadership over, if this server has it, leaves the configuration, if it was told to, and stops.
    pub async fn stop(self) {
        if self.consensus.leads() && self.consensus.raft.voter_ids().len() > 1 {
            match rt::timeout(HAND_OVER_TIMEOUT, self.consensus.transfer_here(None)).await {
                Some(Ok(())) => tracing::info!("leadership handed over"),
                Some(Err(error)) => tracing::warn!(%error, "stopping without a hand-over"),
                None => tracing::warn!("stopping: nobody took the leadership over"),
            }
        }
        if self.leaves {
            self.leave().await;
        }
        self.shutdown.cancel();
        self.consensus.raft.shutdown().await;
    }

    /// Asks the leader to take this server out. If that fails it stays a member that is away.
    async fn leave(&self) {
        let leaving = self.consensus.remove_peer(self.consensus.id.to_string());
        match rt::timeout(LEAVE_TIMEOUT, leaving).await {
            Some(Ok(())) => tracing::info!("left the cluster"),
            Some(Err(error)) => tracing::warn!(%error, "stopping without leaving"),
            None => tracing::warn!("stopping: no leader took this server out"),
        }
    }
}

/// Runs a server until `shutdown` resolves or it cannot go on.
pub async fn run(
    config: Config,
    hooks: Hooks,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    let disk: SharedDisk = Arc::new(crate::disk::RealDisk);
    let options = StartOptions {
        hooks,
        ..StartOptions::default()
    };
    let mut running = start(config, disk, options).await?;
    let failure = tokio::select! {
        () = shutdown => None,
        error = running.failure() => Some(error),
    };
    match failure {
        None => {
            tracing::info!("stopping");
            running.stop().await;
            Ok(())
        }
        Some(error) => {
            running.shutdown.cancel();
            Err(Arc::try_unwrap(error)
                .unwrap_or_else(|shared| RunError::Storage(shared.to_string())))
        }
    }
}

/// What the process, tests and the simulation bring.
#[derive(Debug, Clone, Default)]
pub struct StartOptions {
    /// Promises broken on purpose.
    pub sabotage: Sabotage,
    /// When a snapshot is due; `None`: as configured.
    pub snapshot_limits: Option<SnapshotLimits>,
    /// What the process around the server gives its agent.
    pub hooks: Hooks,
}

fn snapshot_limits(config: &Config) -> SnapshotLimits {
    SnapshotLimits {
        log_entries: config.snapshots.threshold,
        keep_entries: config.snapshots.trailing_logs,
        ..SnapshotLimits::default()
    }
}

/// Starts a server on a disk.
pub async fn start(
    config: Config,
    disk: SharedDisk,
    options: StartOptions,
) -> Result<Running, RunError> {
    let data_dir = Arc::new(DataDir::open(
        disk,
        &config.data_dir,
        config.node_id,
        raft::LOG_FILE,
    )?);
    let identity = data_dir.identity();
    let id = ServerId(identity.id);
    let bound = listen("ports.server", config.server_listen()).await?;
    let server = bound
        .local_addr()
        .map_err(|source| listen_error("ports.server", &config.server_listen(), source))?;
    let advertise = SocketAddr::new(config.advertise_addr, server.port());
    tracing::info!(%id, node = %config.node_name, data_dir = %config.data_dir.display(), %advertise, "starting");

    let book = Arc::new(AddressBook::new());
    let rpc_identity = Arc::new(rpc::Identity::new(id, identity.cluster));
    let client = rpc::Client::new(Arc::clone(&rpc_identity), Arc::clone(&book));
    let members = Arc::new(Members::new(
        Arc::clone(&data_dir),
        Arc::clone(&book),
        Arc::clone(&rpc_identity),
        config.node_name.clone(),
        config.datacenter.clone(),
        advertise,
        u32::try_from(config.bootstrap_expect).unwrap_or(u32::MAX),
    ));
    let prober = Prober::new(
        Arc::clone(&members),
        Arc::clone(&client),
        config.retry_join.clone(),
    );
    prober.check_before_start().await?;
    let watchers = Arc::new(Watchers::default());
    let sessions = Arc::new(SessionKeeper::default());
    let wake = {
        let (watchers, sessions) = (Arc::clone(&watchers), Arc::clone(&sessions));
        Box::new(move |changes: &rollcall_state::Changes| {
            watchers.wake(changes);
            sessions.note(changes);
        })
    };
    let raft = RaftHandle::start(raft::Options {
        id,
        data_dir: config.data_dir.clone(),
        disk: Arc::clone(data_dir.disk()),
        client: Arc::clone(&client),
        wake,
        raft_multiplier: config.raft_multiplier,
        snapshot_limits: options
            .snapshot_limits
            .unwrap_or_else(|| snapshot_limits(&config)),
        sabotage: options.sabotage,
    })
    .await?;
    let parts = Parts {
        rpc: Arc::clone(&client),
        watchers,
        sessions,
        pending_writes_max: config.limits.max_pending_writes,
        sabotage: options.sabotage,
    };
    let consensus = Consensus::new(raft, Arc::clone(&members), parts);
    members.attach(&consensus);

    let shutdown = CancellationToken::new();
    let handler = Arc::new(ClusterHandler::new(
        Arc::clone(&members),
        Arc::clone(&client),
    ));
    let handlers = consensus.raft.handlers(handler);
    let port = rpc::serve(bound, rpc_identity, handlers, &shutdown)
        .map_err(|source| listen_error("ports.server", &config.server_listen(), source))?;
    let registry = metrics::registry();
    let agent = node_agent::start(&config, &consensus, options.hooks, &registry, &shutdown)?;
    let http = serve_http(&config, &consensus, agent, &registry, &shutdown).await?;
    let dns = serve_dns(&config, &consensus, &shutdown).await?;
    let forming = Forming::new(Arc::clone(&consensus), prober, config.retry_interval);
    let failed = spawn_tasks(forming, &consensus, &shutdown);
    Ok(Running {
        consensus,
        leaves: config.leave_on_terminate,
        http,
        dns,
        port,
        shutdown,
        failed,
    })
}

/// Binds what `config.http` names and serves it. The addresses of the TCP listeners, as they were bound.
async fn serve_http(
    config: &Config,
    consensus: &Arc<Consensus>,
    agent: Arc<dyn Api>,
    registry: &Arc<Registry>,
    shutdown: &CancellationToken,
) -> Result<Vec<SocketAddr>, RunError> {
    let audit = config.audit_path.as_deref().map(|path| {
        Audit::open(path).map_err(|source| RunError::Audit {
            path: path.to_owned(),
            source,
        })
    });
    let audit = audit.transpose()?;
    metrics::export(registry, consensus, audit.clone());
    let limits = &config.limits;
    let api = http::api(
        HttpConfig {
            node_name: config.node_name.clone(),
            session_ttl_min: config.session_ttl_min,
            value_bytes: limits.kv_max_value_size,
            txn_bytes: limits.txn_max_req_len,
            spool: Some(Spool {
                disk: Arc::clone(consensus.members.data_dir.disk()),
                directory: config.data_dir.clone(),
            }),
            audit,
            ..HttpConfig::default()
        },
        Arc::clone(consensus) as Arc<dyn crate::door::Door>,
    );
    // The agent is right about its own node, so its table stands first.
    let edge = Edge::new(
        listeners::edge_config(config),
        vec![agent, api],
        shutdown.clone(),
    );
    edge.export(registry);
    let (ticking, stop) = (Arc::clone(registry), shutdown.clone());
    rt::spawn(async move {
        stop.run_until_cancelled(metrics::keep_intervals(ticking))
            .await
    });
    listeners::serve(config, &edge).await
}

/// Serves DNS when the configuration asks for it. The addresses, as they were bound.
async fn serve_dns(
    config: &Config,
    consensus: &Arc<Consensus>,
    shutdown: &CancellationToken,
) -> Result<Vec<SocketAddr>, RunError> {
    // The simulation has no datagrams of ours.
    let listen = config.dns.as_ref().filter(|_| !cfg!(feature = "sim"));
    let Some(listen) = listen else {
        return Ok(Vec::new());
    };
    let max_stale = (listen.config.allow_stale).then_some(listen.config.max_stale);
    let door = Arc::clone(consensus) as Arc<dyn crate::door::Door>;
    let responder = Responder::new(listen.config.clone(), Roll::new(door, max_stale));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let sockets = config.worker_threads.unwrap_or(cores).min(DNS_SOCKETS_MAX);
    let serving = rollcall_dns::serve(&listen.addresses, sockets, responder, shutdown).await?;
    Ok(serving.addresses)
}

/// Starts what runs for the life of the server, until `shutdown`. The receiver tells why it cannot go on.
fn spawn_tasks(
    forming: Forming,
    consensus: &Arc<Consensus>,
    shutdown: &CancellationToken,
) -> tokio::sync::watch::Receiver<Option<Arc<RunError>>> {
    let (failed, receiver) = tokio::sync::watch::channel(None);
    let fatal = consensus.raft.fatal.clone();
    let consensus = Arc::clone(consensus);
    let shutdown = shutdown.clone();
    rt::spawn(async move {
        let error = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            reason = fatal.wait() => RunError::Storage(reason),
            error = forming.run() => RunError::Forming(error),
            () = metrics::count_leader_changes(&consensus.raft, &consensus.leader_changes) => return,
            () = leader::run(Arc::clone(&consensus)) => return,
            () = leader::catch_up(Arc::clone(&consensus)) => return,
        };
        tracing::error!(%error, "this server cannot go on");
        failed.send_replace(Some(Arc::new(error)));
    });
    receiver
}
