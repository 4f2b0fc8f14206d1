//! Runs checks: the one task that knows the time, and the short-lived ones that each run one check once.
//!
//! ```text
//! set, remove ──▶ scheduler (locked for moments) ◀── driver: sleeps until something is due, then spawns its runs
//!                      ▲ result                                  │
//!                      └───────────────── run ◀──────────────────┘──▶ results: a bounded channel to the local state
//! ```
//! Tasks: the driver lives until the handle is dropped; a run until its time-out at most; a follower of another node's service until its
//! check is removed. All end with the driver. Whoever does not take results holds back runs, not memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rollcall_rt as rt;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::alias::{Follower, NodeReads};
use super::dial::Dialer;
use super::phase::Time;
use super::probe::Probe;
use super::scheduler::{Bounds, Class, Plan, Scheduler, Start};
use super::tls::{Authorities, Secure};
use crate::definition::{CheckResult, Definition, Every, Kind, Status};

/// Runs over the network at once. Ten thousand checks that all hang leave room for those that do not.
pub const NETWORK_RUNS_MAX: usize = 16_384;
/// Programs at once: more would only take the machine's cores from what it is there for.
pub const PROCESS_RUNS_MAX: usize = 64;
/// Of the file descriptors that this process may have, runs take at most one in so many: the rest is for clients and disks.
const DESCRIPTORS_SHARE: u64 = 2;

/// What the runners need to know.
#[derive(Clone)]
pub struct Config {
    /// Which certificates are believed.
    pub authorities: Authorities,
    /// How many run at once.
    pub bounds: Bounds,
    /// Who hears of every run.
    pub observer: Arc<dyn Observer>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            authorities: Authorities::System,
            bounds: Bounds {
                network: network_bound(),
                process: PROCESS_RUNS_MAX,
            },
            observer: Arc::new(Deaf),
        }
    }
}

fn network_bound() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let share = limit
        .current
        .map_or(u64::MAX, |files| files / DESCRIPTORS_SHARE);
    usize::try_from(share).map_or(NETWORK_RUNS_MAX, |share| share.clamp(1, NETWORK_RUNS_MAX))
}

/// A run that has ended, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ran {
    /// `http`, `tcp`, `grpc` or `script`.
    pub kind: &'static str,
    /// What it found, thresholds not applied.
    pub status: Status,
    /// How long after its time it began.
    pub late: Duration,
    /// How long it took.
    pub took: Duration,
}

/// Hears of every run. Called from the runs themselves: it must be quick.
pub trait Observer: Send + Sync + 'static {
    /// A run has ended.
    fn ran(&self, run: Ran);
}

/// Nobody listens.
struct Deaf;

impl Observer for Deaf {
    fn ran(&self, _run: Ran) {}
}

/// A probe with its time-out.
#[derive(Debug)]
struct Job {
    probe: Probe,
    kind: &'static str,
    class: Class,
    timeout: Option<Duration>,
}

struct Shared {
    /// What [`Time`] counts from.
    began: rt::Instant,
    scheduler: Mutex<Scheduler<Job>>,
    changed: Notify,
    dialer: Dialer,
    observer: Arc<dyn Observer>,
    results: mpsc::Sender<CheckResult>,
    shutdown: CancellationToken,
}

impl Shared {
    fn now(&self) -> Time {
        rt::Instant::now().saturating_duration_since(self.began)
    }
}

/// The runners of an agent. Dropping it ends all of them.
pub struct Checks {
    shared: Arc<Shared>,
    reads: Arc<dyn NodeReads>,
    aliases: Mutex<BTreeMap<String, DropGuard>>,
    _shutdown: DropGuard,
}

impl Checks {
    /// Starts with no checks. Results, thresholds applied, go to `results`; two equal ones of a check in a row are sent once.
    pub fn start(
        config: Config,
        reads: Arc<dyn NodeReads>,
        results: mpsc::Sender<CheckResult>,
    ) -> Self {
        let shutdown = CancellationToken::new();
        let shared = Arc::new(Shared {
            began: rt::Instant::now(),
            scheduler: Mutex::new(Scheduler::new(config.bounds)),
            changed: Notify::new(),
            dialer: Dialer::new(Secure::new(config.authorities)),
            observer: config.observer,
            results,
            shutdown: shutdown.clone(),
        });
        rt::spawn(drive(Arc::clone(&shared)));
        Checks {
            shared,
            reads,
            aliases: Mutex::new(BTreeMap::new()),
            _shutdown: shutdown.drop_guard(),
        }
    }

    /// Runs a check from now on, in the place of one with the same id, of which nothing new is sent. TTL checks and aliases of this
    /// node's own services need no runner and are not looked at.
    pub fn set(&self, definition: &Definition) {
        self.remove(&definition.id);
        match &definition.kind {
            Kind::Alias { node, service_id } if !node.is_empty() => {
                self.follow(&definition.id, node, service_id);
            }
            _ => self.schedule(definition),
        }
    }

    /// Runs a check no more.
    pub fn remove(&self, id: &str) {
        self.aliases.lock().remove(id);
        self.shared.scheduler.lock().remove(id);
    }

    /// How many checks run in an interval.
    pub fn len(&self) -> usize {
        self.shared.scheduler.lock().len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn schedule(&self, definition: &Definition) {
        let Some((probe, class, every)) = Probe::new(definition) else {
            return;
        };
        let Every { timeout, .. } = every;
        let plan = Plan {
            probe: Arc::new(Job {
                probe,
                kind: definition.type_name(),
                class,
                timeout,
            }),
            class,
            every,
            thresholds: definition.thresholds,
        };
        let now = self.shared.now();
        self.shared.scheduler.lock().set(now, &definition.id, plan);
        self.shared.changed.notify_one();
    }

    fn follow(&self, id: &str, node: &str, service_id: &str) {
        let stop = self.shared.shutdown.child_token();
        let mut follower = Follower::new(Arc::clone(&self.reads), node, service_id);
        let (id_told, results) = (id.to_owned(), self.shared.results.clone());
        let stopped = stop.clone();
        rt::spawn(async move {
            while let Some(outcome) = stopped.run_until_cancelled(follower.next()).await {
                let result = CheckResult {
                    id: id_told.clone(),
                    status: outcome.status,
                    output: outcome.output,
                };
                if results.send(result).await.is_err() {
                    return;
                }
            }
        });
        self.aliases.lock().insert(id.to_owned(), stop.drop_guard());
    }
}

async fn drive(shared: Arc<Shared>) {
    loop {
        let now = shared.now();
        let (starts, wake) = {
            let mut scheduler = shared.scheduler.lock();
            (scheduler.due(now), scheduler.next_wake(now))
        };
        for start in starts {
            rt::spawn(run(Arc::clone(&shared), start));
        }
        let woken = async {
            match wake {
                Some(at) => rt::sleep_until(shared.began + at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.shutdown.cancelled() => return,
            () = shared.changed.notified() => {}
            () = woken => {}
        }
    }
}

async fn run(shared: Arc<Shared>, start: Start<Job>) {
    let Start { token, probe, late } = start;
    let job = probe;
    let began = rt::Instant::now();
    let work = async {
        let outcome = job.probe.run(&shared.dialer, job.timeout).await;
        shared.observer.ran(Ran {
            kind: job.kind,
            status: outcome.status,
            late,
            took: began.elapsed(),
        });
        let told = shared.scheduler.lock().judge(token, outcome);
        if let Some(result) = told {
            // Nobody listens only when the agent ends.
            let _ = shared.results.send(result).await;
        }
    };
    if shared.shutdown.run_until_cancelled(work).await.is_none() {
        return;
    }
    let now = shared.now();
    shared.scheduler.lock().finished(now, token, job.class);
    shared.changed.notify_one();
}
