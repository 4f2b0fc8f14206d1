//! The agent as a whole: local state behind a lock, files, runners, and the tasks that tend them.
//!
//! ```text
//! task     owns                              ends
//! tend     results of checks, all deadlines  with the agent's owner
//! sync     a copy of the node's rows         with the agent's owner
//! ```
//! A registration is on disk before it is in `local`, and in the catalog (if a server answers soon) before the client hears
//! of it, as with Consul: clients register and then ask the catalog.

mod tend;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rollcall_rt as rt;
use tokio::sync::{mpsc, watch};

use crate::definition::{CheckResult, Definition, Status};
use crate::local::{Effects, Local, LocalError, LocalSettings, Outcome, Source};
use crate::metrics::SyncMetrics;
use crate::plan::Writer;
use crate::registry::Registry;
use crate::rows::{NodeSpec, ServiceSpec};
use crate::store::{Health, Store, StoreError};
use crate::sync::Sync;

/// How long a client that registers waits for the catalog to follow. It is answered then in any case: the registration is
/// kept, and the catalog follows when it can.
const SYNC_WAIT: Duration = Duration::from_secs(1);
/// Results of checks that wait to be taken in: a burst of a few thousand checks ending together.
pub const RESULTS_MAX: usize = 4096;

/// What an agent is.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of its node.
    pub node: String,
    /// Id of its node.
    pub node_id: uuid::Uuid,
    /// Datacenter.
    pub datacenter: String,
    /// The node's row, where the agent keeps it; servers keep theirs themselves.
    pub node_row: Option<NodeSpec>,
    /// An output that changes while its check's status does not is written at most this often.
    pub check_update_interval: Duration,
}

/// Runs checks that have to be run.
pub trait Runners: Send + std::marker::Sync + 'static {
    /// Starts a check, or starts it again with another definition.
    fn set(&self, definition: &Definition);
    /// Stops a check.
    fn remove(&self, id: &str);
}

/// Why an agent did not do what it was asked to. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// It makes no sense here.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// It could not be kept.
    #[error("cannot keep the registration: {0}")]
    Store(#[source] StoreError),
}

/// A node's own half.
pub struct Agent {
    config: Config,
    local: Mutex<Local>,
    /// Order of changes on disk and in `local`.
    changing: tokio::sync::Mutex<()>,
    store: Option<Store>,
    runners: Arc<dyn Runners>,
    started: rt::Instant,
    version: watch::Sender<u64>,
    synced: watch::Sender<u64>,
    sync_fails: AtomicBool,
    metrics: SyncMetrics,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Agent {
    /// An agent with what its files have, and what the configuration's files say (which win).
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn open(
        config: Config,
        store: Option<Store>,
        runners: Arc<dyn Runners>,
        configured: Vec<(ServiceSpec, Vec<Definition>)>,
        configured_checks: Vec<Definition>,
    ) -> Result<Arc<Self>, StoreError> {
        let mut local = Local::new(LocalSettings {
            node: config.node.clone(),
            check_update_interval: config.check_update_interval,
        });
        let now = Duration::ZERO;
        if let Some(store) = &store {
            load(store, &mut local)?;
        }
        for (service, checks) in configured {
            local.register_service(service, checks, Source::File, false, now);
        }
        for check in configured_checks {
            let id = check.id.clone();
            if let Err(error) = local.register_check(check, Source::File, now) {
                tracing::error!(check = %id, %error, "a check of the configuration is not registered");
            }
        }
        local.mark_restored();
        let definitions: Vec<Definition> = local
            .checks()
            .values()
            .map(|check| check.definition.clone())
            .collect();
        for definition in definitions
            .iter()
            .filter(|definition| definition.is_run(&config.node))
        {
            runners.set(definition);
        }
        Ok(Arc::new(Agent {
            config,
            local: Mutex::new(local),
            changing: tokio::sync::Mutex::new(()),
            store,
            runners,
            started: rt::Instant::now(),
            version: watch::Sender::new(1),
            synced: watch::Sender::new(0),
            sync_fails: AtomicBool::new(false),
            metrics: SyncMetrics::default(),
        }))
    }

    /// Tends checks and keeps the catalog like this node; never ends. `results` is where runners send theirs.
    pub async fn run(
        self: Arc<Self>,
        registry: Arc<dyn Registry>,
        results: mpsc::Receiver<CheckResult>,
    ) {
        let sync = Sync::new(Arc::clone(&self), registry, self.writer());
        tokio::select! {
            () = sync.run() => {}
            () = self.tend(results) => {}
        }
    }

    /// Whose rows this agent writes.
    pub fn writer(&self) -> Writer {
        Writer {
            owner: format!("agent:{}", self.config.node_id),
            node: self.config.node_row.clone(),
        }
    }

    /// What it is.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Reads or changes the local state. For reads, and for marks of anti-entropy.
    pub fn with_local<T>(&self, run: impl FnOnce(&mut Local) -> T) -> T {
        run(&mut self.local.lock())
    }

    /// How anti-entropy fares.
    pub fn metrics(&self) -> &SyncMetrics {
        &self.metrics
    }

    /// Time as `local` counts it.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Resolves at each change of the local state.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Resolves once the catalog was like this node for the first time.
    pub async fn first_sync(&self) {
        let mut synced = self.synced.subscribe();
        // The sender lives in this agent.
        let _ = synced.wait_for(|version| *version > 0).await;
    }

    pub(crate) fn version(&self) -> u64 {
        *self.version.borrow()
    }

    pub(crate) fn note_synced(&self, version: u64) {
        self.sync_fails.store(false, Ordering::Relaxed);
        self.metrics.syncs.increment();
        self.synced.send_replace(version);
    }

    pub(crate) fn note_sync_failed(&self) {
        self.sync_fails.store(true, Ordering::Relaxed);
        self.metrics.failures.increment();
        self.synced.send_modify(|_| {});
    }

    fn changed(&self) -> u64 {
        let mut version = 0;
        self.version.send_modify(|current| {
            *current += 1;
            version = *current;
        });
        version
    }

    /// Waits until the catalog has followed, within bounds.
    async fn settled(&self, version: u64) {
        let mut synced = self.synced.subscribe();
        let there =
            synced.wait_for(|done| *done >= version || self.sync_fails.load(Ordering::Relaxed));
        let _ = rt::timeout(SYNC_WAIT, there).await;
    }

    /// Registers a service with its checks. See [`Local::register_service`].
    ///
    /// # Errors
    /// It could not be kept.
    pub async fn register_service(
        &self,
        service: ServiceSpec,
        checks: Vec<Definition>,
        replace: bool,
    ) -> Result<(), AgentError> {
        let changing = self.changing.lock().await;
        {
            let (service, checks) = (service.clone(), checks.clone());
            self.store(move |store| {
                store.put_service(&service)?;
                checks.iter().try_for_each(|check| store.put_check(check))
            })
            .await?;
        }
        let now = self.now();
        let effects = self
            .with_local(|local| local.register_service(service, checks, Source::Api, replace, now));
        self.follow(changing, effects).await
    }

    /// Deregisters a service and its checks.
    ///
    /// # Errors
    /// It is not there, or its files cannot be removed.
    pub async fn deregister_service(&self, id: &str) -> Result<(), AgentError> {
        let changing = self.changing.lock().await;
        let now = self.now();
        let effects = self.with_local(|local| local.deregister_service(id, now))?;
        self.follow(changing, effects).await
    }

    /// Registers a check.
    ///
    /// # Errors
    /// Its service is not there, or it could not be kept.
    pub async fn register_check(&self, check: Definition) -> Result<(), AgentError> {
        let changing = self.changing.lock().await;
        let service = &check.service_id;
        if !service.is_empty() && !self.with_local(|local| local.services().contains_key(service)) {
            return Err(LocalError::NoSuchService(service.clone()).into());
        }
        {
            let check = check.clone();
            self.store(move |store| store.put_check(&check)).await?;
        }
        let now = self.now();
        let effects = self.with_local(|local| local.register_check(check, Source::Api, now))?;
        self.follow(changing, effects).await
    }

    /// Deregisters a check.
    ///
    /// # Errors
    /// It is not there, or its file cannot be removed.
    pub async fn deregister_check(&self, id: &str) -> Result<(), AgentError> {
        let changing = self.changing.lock().await;
        let now = self.now();
        let effects = self.with_local(|local| local.deregister_check(id, now))?;
        self.follow(changing, effects).await
    }

    /// Says how a TTL check fares.
    ///
    /// # Errors
    /// It is not there or no TTL check, or it could not be kept.
    pub async fn update_check(
        &self,
        id: &str,
        status: Status,
        output: &str,
    ) -> Result<(), AgentError> {
        let _changing = self.changing.lock().await;
        let now = self.now();
        let outcome = self.with_local(|local| local.update_ttl(id, status, output, now))?;
        if outcome == Outcome::Status {
            let health = Health {
                id: id.to_owned(),
                status,
                output: output.to_owned(),
            };
            self.store(move |store| store.put_health(&health)).await?;
            drop(_changing);
            self.settled(self.changed()).await;
        } else if self.with_local(|local| !local.unsynced().is_empty()) {
            self.changed();
        }
        Ok(())
    }

    /// Takes the node out of use, or puts it back.
    ///
    /// # Errors
    /// It could not be kept.
    pub async fn node_maintenance(&self, reason: Option<&str>) -> Result<(), AgentError> {
        let changing = self.changing.lock().await;
        let now = self.now();
        let effects = self.with_local(|local| match reason {
            Some(reason) => local.start_node_maintenance(reason, now),
            None => local.end_node_maintenance(now),
        });
        self.keep_maintenance(crate::local::NODE_MAINTENANCE)
            .await?;
        self.follow(changing, effects).await
    }

    /// Takes a service out of use, or puts it back.
    ///
    /// # Errors
    /// It is not there, or it could not be kept.
    pub async fn service_maintenance(
        &self,
        id: &str,
        reason: Option<&str>,
    ) -> Result<(), AgentError> {
        let changing = self.changing.lock().await;
        let now = self.now();
        let effects = self.with_local(|local| match reason {
            Some(reason) => local.start_service_maintenance(id, reason, now),
            None => local.end_service_maintenance(id, now),
        })?;
        self.keep_maintenance(&crate::local::service_maintenance(id))
            .await?;
        self.follow(changing, effects).await
    }

    async fn keep_maintenance(&self, id: &str) -> Result<(), AgentError> {
        let check =
            self.with_local(|local| local.checks().get(id).map(|check| check.definition.clone()));
        match check {
            Some(check) => self.store(move |store| store.put_check(&check)).await,
            None => Ok(()),
        }
    }

    /// Lets runners, files and the catalog follow a change of `local`.
    async fn follow(
        &self,
        changing: tokio::sync::MutexGuard<'_, ()>,
        effects: Effects,
    ) -> Result<(), AgentError> {
        let version = self.changed();
        let kept = self.carry_out(effects).await;
        drop(changing);
        kept?;
        self.settled(version).await;
        Ok(())
    }

    async fn carry_out(&self, effects: Effects) -> Result<(), AgentError> {
        for id in &effects.stopped {
            self.runners.remove(id);
        }
        for definition in effects
            .started
            .iter()
            .filter(|definition| definition.is_run(&self.config.node))
        {
            self.runners.set(definition);
        }
        if effects.checks_gone.is_empty() && effects.services_gone.is_empty() {
            return Ok(());
        }
        // A check without its service makes no sense at the next start: it goes first.
        self.store(move |store| {
            (effects.checks_gone.iter()).try_for_each(|id| store.remove_check(id))?;
            (effects.services_gone.iter()).try_for_each(|id| store.remove_service(id))
        })
        .await
    }

    async fn store(
        &self,
        run: impl FnOnce(&Store) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), AgentError> {
        let Some(store) = self.store.clone() else {
            return Ok(());
        };
        rt::blocking(move || run(&store))
            .await
            .map_err(AgentError::Store)
    }
}

/// Puts what the files have into the local state.
fn load(store: &Store, local: &mut Local) -> Result<(), StoreError> {
    let now = Duration::ZERO;
    let loaded = store.load()?;
    let (services, checks) = (loaded.services.len(), loaded.checks.len());
    for service in loaded.services {
        local.register_service(service, Vec::new(), Source::Api, false, now);
    }
    for check in loaded.checks {
        let id = check.id.clone();
        if let Err(error) = local.register_check(check, Source::Api, now) {
            // Its service was deregistered while the files were being removed.
            tracing::warn!(check = %id, %error, "a check that was kept is of no service any more; removed");
            store.remove_check(&id)?;
        }
    }
    for health in loaded.health {
        local.restore_status(&health.id, health.status, health.output, now);
    }
    if services + checks > 0 {
        tracing::info!(services, checks, "registrations of the last run are back");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
