//! One run: form a cluster, load it while faults strike, heal, converge, and judge.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use rollcall_server::rt::{self, sim::SimRuntime};
use rollcall_server::run::StartOptions;

use crate::afterwards;
use crate::client::Client;
use crate::cluster::{CLIENT_HOSTS, Cluster};
use crate::disk::Trouble;
use crate::faults::{Crash, Fault, Plan, Planned, Victim};
use crate::history::{Counts, Recorder};
use crate::workload::{KeyClient, Shared, catalog::Registrar, locks::Locker};

/// A leader must stand this soon after the last fault: elections take 2–4 s at most with bad luck.
const LEADER_WITHIN: Duration = Duration::from_secs(12);
/// Clients go on this long after that, so that sessions end in quiet and late answers are seen.
const CALM: Duration = Duration::from_millis(4_500);
/// Clients that were told to stop have this long: longer than their patience.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Servers must be equal this soon after the last client left.
const CONVERGE_WITHIN: Duration = Duration::from_secs(5);
/// What is tried after the faults ends within this.
const WORK_WITHIN: Duration = Duration::from_secs(60);
/// Steps that a restore takes, about: the leader dies in one of them.
const RESTORE_STEPS: u64 = 80;
/// How often states are compared, in steps.
const COMPARE_EVERY: u64 = 20;

/// What to run.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Decides everything.
    pub seed: u64,
    /// 3 or 5.
    pub servers: usize,
    /// Promises broken on purpose.
    pub options: StartOptions,
    /// Keep the trace's lines.
    pub keep_lines: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// A hash over everything that happened: calls, answers, faults, every write to every disk.
    pub trace: u64,
    /// How much was done.
    pub counts: Counts,
    /// Syncs of all disks.
    pub syncs: u64,
    /// Simulated time.
    pub simulated: Duration,
    /// What is wrong; empty: nothing.
    pub wrong: Vec<String>,
    /// The trace's lines, if kept.
    pub lines: Vec<String>,
}

/// Runs it. Once a process: tokio numbers its tasks per process, and the order of some things hangs on the number.
pub fn run(scenario: &Scenario) -> Report {
    align_task_ids();
    let plan = Plan::new(scenario.seed, scenario.servers);
    let recorder = Recorder::new(scenario.servers, scenario.keep_lines);
    let sim = turmoil::Builder::new()
        .rng_seed(scenario.seed)
        .enable_random_order()
        .simulation_duration(Duration::from_secs(600))
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(plan.latency_ms))
        .repair_rate(0.1)
        .tcp_capacity(4096)
        .build();
    let mut cluster = Cluster::new(
        sim,
        scenario.seed,
        recorder.clone(),
        &plan.starts,
        &scenario.options,
    );
    let stop = Arc::new(AtomicBool::new(false));
    let clients = spawn_clients(&mut cluster, scenario, &stop);
    let mut run = Run {
        cluster,
        plan,
        active: Vec::new(),
        steps: 0,
        seed: scenario.seed,
    };
    let calm_from = run.all(&stop, &clients);
    let mut wrong = recorder.verdict(u64::try_from(calm_from.as_nanos()).unwrap_or(u64::MAX));
    wrong.dedup();
    let (disks, syncs) = run.cluster.disks();
    recorder.note(&format!("disks {disks:016x}"));
    Report {
        trace: recorder.trace(),
        counts: recorder.counts(),
        syncs,
        simulated: run.cluster.now(),
        wrong,
        lines: recorder.lines(),
    }
}

/// tokio drops the tasks of a dying runtime in an order that hangs on the ids of tasks, which count per process, modulo
/// 64. So every run starts at the same place.
pub(crate) fn align_task_ids() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without drivers must build");
    runtime.block_on(async {
        loop {
            let task = tokio::spawn(async {});
            let id = task.id().to_string();
            task.await.expect("an empty task must end");
            if id.parse::<u64>().is_ok_and(|id| id % 64 == 63) {
                return;
            }
        }
    });
}

/// Client tasks on two hosts; the flags say which are done.
fn spawn_clients(
    cluster: &mut Cluster<'_>,
    scenario: &Scenario,
    stop: &Arc<AtomicBool>,
) -> Vec<Arc<AtomicBool>> {
    let shared = Shared {
        recorder: cluster.recorder.clone(),
        servers: Arc::new(cluster.http_addresses()),
        stop: Arc::clone(stop),
    };
    let mut done = Vec::new();
    for (host, name) in CLIENT_HOSTS.iter().enumerate() {
        let finished = Arc::new(AtomicBool::new(false));
        done.push(Arc::clone(&finished));
        let shared = shared.clone();
        let seed = scenario.seed.wrapping_mul(4).wrapping_add(host as u64) ^ 0xc11e;
        let work = async move {
            let seed_of = |number: u64| seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut tasks = Vec::new();
            for number in [1u64, 2, 3] {
                let at = host * 10 + usize::try_from(number).unwrap_or(0);
                let client = KeyClient::new(shared.clone(), at, seed_of(number));
                tasks.push(rt::spawn(client.run()));
            }
            for number in [4u64, 5] {
                let at = host * 10 + usize::try_from(number).unwrap_or(0);
                let locker = Locker::new(shared.clone(), at, seed_of(number));
                tasks.push(rt::spawn(locker.run()));
            }
            let registrar = Registrar::new(shared.clone(), host * 10 + 8, seed_of(8));
            tasks.push(rt::spawn(registrar.run()));
            // On the side of the server that is cut off.
            let faithful: &[u64] = if host == 0 { &[6, 7] } else { &[] };
            for number in faithful {
                let at = usize::try_from(*number).unwrap_or(0);
                let locker = Locker::new(shared.clone(), at, seed_of(*number));
                tasks.push(rt::spawn(locker.run_faithfully()));
            }
            for task in tasks {
                task.await.expect("a client must not panic");
            }
            finished.store(true, Ordering::Relaxed);
            Ok(())
        };
        cluster
            .sim
            .client(*name, SimRuntime::host(seed, Arc::default(), work));
    }
    done
}

struct Run<'a> {
    cluster: Cluster<'a>,
    plan: Plan,
    /// Faults under way, with the victim they found.
    active: Vec<(Planned, usize)>,
    steps: u64,
    seed: u64,
}

impl Run<'_> {
    /// The whole run. Gives the time from which it was calm.
    fn all(&mut self, stop: &AtomicBool, clients: &[Arc<AtomicBool>]) -> Duration {
        while self.cluster.now() < Plan::HEAL {
            self.strike();
            self.step();
        }
        self.heal();
        let recorder = self.cluster.recorder.clone();
        let calm_from = self.wait_for_calm();
        stop.store(true, Ordering::Relaxed);
        let all_done = |_: &mut Self| clients.iter().all(|done| done.load(Ordering::Relaxed));
        if !self.until(STOP_WITHIN, all_done) {
            recorder.wrong("a client got no answer and no error".to_owned());
        }
        self.probe();
        if !self.until(CONVERGE_WITHIN, Self::is_converged) {
            let indexes = self.cluster.compare_states();
            recorder.wrong(format!("servers did not converge: indexes {indexes:?}"));
        }
        self.restore();
        if !self.until(CONVERGE_WITHIN, Self::is_converged) {
            let indexes = self.cluster.compare_states();
            recorder.wrong(format!(
                "servers did not converge after the restore: {indexes:?}"
            ));
        }
        calm_from
    }

    /// Waits until a leader stands and goes on standing. Requests that wait in queues since the faults (a hand-over among
    /// them) may move the leadership once more; for ever they may not.
    fn wait_for_calm(&mut self) -> Duration {
        let recorder = self.cluster.recorder.clone();
        let latest = self.cluster.now() + LEADER_WITHIN;
        loop {
            let stands = |run: &mut Self| run.cluster.recorder.works() && run.cluster.stands();
            if !self.until(LEADER_WITHIN, stands) {
                recorder.wrong(format!("no leader {LEADER_WITHIN:?} after the last fault"));
            }
            let calm_from = self.cluster.now();
            let leader = self.cluster.leader();
            recorder.note(&format!("calm, s{leader:?} leads"));
            if !self.until(CALM, |run| run.cluster.leader() != leader) {
                return calm_from;
            }
            if self.cluster.now() > latest {
                recorder.wrong("leadership goes on changing without a fault".to_owned());
                return calm_from;
            }
        }
    }

    fn step(&mut self) {
        self.cluster.step();
        self.steps += 1;
        if self.steps.is_multiple_of(COMPARE_EVERY) {
            self.cluster.compare_states();
        }
    }

    fn until(&mut self, at_most: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.cluster.now() + at_most;
        while self.cluster.now() < end {
            if done(self) {
                return true;
            }
            self.step();
        }
        false
    }

    fn is_converged(&mut self) -> bool {
        let indexes = self.cluster.compare_states();
        indexes.len() == self.cluster.len() && indexes.iter().all(|index| *index == indexes[0])
    }

    /// Starts and ends faults whose time has come.
    fn strike(&mut self) {
        let now = self.cluster.now();
        let mut changed = false;
        while let Some(planned) = self.plan.faults.first().copied()
            && planned.at <= now
        {
            self.plan.faults.remove(0);
            let victim = match planned.fault.victim() {
                Some(victim) => self.cluster.find(victim),
                None => 0,
            };
            let words = format!(
                "fault s{victim} {:?} until {:?}",
                planned.fault, planned.until
            );
            self.cluster.recorder.note(&words);
            self.begin(planned.fault, victim);
            self.active.push((planned, victim));
            changed = true;
        }
        let (over, active) = std::mem::take(&mut self.active)
            .into_iter()
            .partition(|(planned, _)| planned.until <= now);
        self.active = active;
        for (planned, victim) in over as Vec<(Planned, usize)> {
            self.end(planned.fault, victim);
            changed = true;
        }
        if changed {
            let blocked = self.blocked();
            self.cluster.block(blocked);
        }
    }

    fn begin(&mut self, fault: Fault, victim: usize) {
        let cluster = &mut self.cluster;
        match fault {
            Fault::CutOff(_) | Fault::Mute(_) | Fault::Deaf(_) | Fault::BrokenLink(..) => {}
            Fault::Loss => cluster.sim.set_fail_rate(0.01),
            Fault::Slow(up_to) => cluster
                .sim
                .set_max_message_latency(Duration::from_millis(up_to)),
            Fault::Pause(_) => cluster.set_paused(victim, true),
            Fault::Crash(_, crash) => cluster.crash(victim, crash),
            Fault::CrashAll(crash) => {
                for number in 0..cluster.len() {
                    cluster.crash(number, crash);
                }
            }
            Fault::DiskFull(_) => cluster.set_trouble(victim, Trouble::Full),
            Fault::SyncFails(_) => cluster.set_trouble(victim, Trouble::SyncFails),
            Fault::SlowDisk(_, up_to) => cluster.slow_disk(victim, up_to),
            Fault::ClockStep(_, seconds) => cluster.step_clock(victim, seconds),
            Fault::Transfer => {
                let addresses = cluster.http_addresses();
                let address = addresses[victim % addresses.len()];
                let name = format!("t{}", self.steps);
                cluster.sim.client(name, transfer(self.steps, address));
            }
            Fault::Wipe(number) => cluster.wipe(number, Duration::from_millis(300)),
        }
    }

    fn end(&mut self, fault: Fault, victim: usize) {
        let cluster = &mut self.cluster;
        match fault {
            Fault::Loss => {
                cluster.sim.set_fail_rate(0.0);
                cluster.reblock();
            }
            Fault::Slow(_) => cluster
                .sim
                .set_max_message_latency(Duration::from_millis(self.plan.latency_ms)),
            Fault::Pause(_) => {
                let still = |(planned, of): &(Planned, usize)| {
                    *of == victim && matches!(planned.fault, Fault::Pause(_))
                };
                if !self.active.iter().any(still) {
                    cluster.set_paused(victim, false);
                }
            }
            Fault::DiskFull(_) | Fault::SyncFails(_) => cluster.set_trouble(victim, Trouble::None),
            Fault::SlowDisk(..) => cluster.slow_disk(victim, 0),
            Fault::ClockStep(..) => cluster.step_clock(victim, 0),
            Fault::CutOff(_)
            | Fault::Mute(_)
            | Fault::Deaf(_)
            | Fault::BrokenLink(..)
            | Fault::Crash(..)
            | Fault::CrashAll(_)
            | Fault::Transfer
            | Fault::Wipe(_) => {}
        }
    }

    /// The ways that the faults under way close.
    fn blocked(&self) -> BTreeSet<(usize, usize)> {
        let servers = self.cluster.len();
        let hosts = servers + CLIENT_HOSTS.len();
        let mut blocked = BTreeSet::new();
        for (planned, victim) in &self.active {
            let victim = *victim;
            match planned.fault {
                Fault::CutOff(_) => {
                    let inside = [victim, servers];
                    for a in inside {
                        for b in (0..hosts).filter(|b| !inside.contains(b)) {
                            blocked.extend([(a, b), (b, a)]);
                        }
                    }
                }
                Fault::Mute(_) => {
                    blocked.extend((0..hosts).filter(|b| *b != victim).map(|b| (victim, b)));
                }
                Fault::Deaf(_) => {
                    blocked.extend((0..servers).filter(|b| *b != victim).map(|b| (b, victim)));
                }
                Fault::BrokenLink(a, b) => blocked.extend([(a, b), (b, a)]),
                _ => {}
            }
        }
        blocked
    }

    /// Ends all faults.
    fn heal(&mut self) {
        for (planned, victim) in std::mem::take(&mut self.active) {
            self.end(planned.fault, victim);
        }
        self.cluster.block(BTreeSet::new());
        self.cluster.reblock();
        self.cluster.recorder.healed();
    }

    /// Every server takes a write, shows everybody's, and wakes those who wait.
    fn probe(&mut self) {
        let addresses = self.cluster.http_addresses();
        let done = self.afterwards("probe", async move { afterwards::probe(&addresses).await });
        self.wait_for("probe", &done);
    }

    /// A snapshot goes out and comes back through another server; in every second seed the leader dies meanwhile.
    fn restore(&mut self) {
        let addresses = self.cluster.http_addresses();
        let begun = Arc::new(AtomicBool::new(false));
        let crashes = self.seed.is_multiple_of(2);
        let begins = Arc::clone(&begun);
        let done = self.afterwards("restore", async move {
            afterwards::restore(&addresses, crashes, &begins).await
        });
        if crashes && self.until(WORK_WITHIN, |_| begun.load(Ordering::Relaxed)) {
            for _ in 0..self.seed % RESTORE_STEPS {
                self.step();
            }
            let crash = Crash {
                down: Duration::from_millis(80),
                silent: false,
                at_operation: 0,
            };
            let leader = self.cluster.find(Victim::Leader);
            self.cluster.crash(leader, crash);
        }
        self.wait_for("restore", &done);
    }

    /// Starts a client of its own. The flag says when it is done; what it finds wrong is recorded.
    fn afterwards(
        &mut self,
        name: &'static str,
        work: impl Future<Output = Result<(), String>> + 'static,
    ) -> Arc<AtomicBool> {
        let done = Arc::new(AtomicBool::new(false));
        let finished = Arc::clone(&done);
        let recorder = self.cluster.recorder.clone();
        let client = async move {
            if let Err(words) = work.await {
                recorder.wrong(format!("{name} after the heal: {words}"));
            }
            finished.store(true, Ordering::Relaxed);
            Ok(())
        };
        let host = SimRuntime::host(1, Arc::default(), client);
        self.cluster.sim.client(name, host);
        done
    }

    fn wait_for(&mut self, what: &str, done: &AtomicBool) {
        if !self.until(WORK_WITHIN, |_| done.load(Ordering::Relaxed)) {
            let recorder = &self.cluster.recorder;
            recorder.wrong(format!("after the heal: {what} did not end"));
        }
    }
}

impl Fault {
    fn victim(&self) -> Option<Victim> {
        match self {
            Fault::CutOff(victim)
            | Fault::Mute(victim)
            | Fault::Deaf(victim)
            | Fault::Pause(victim)
            | Fault::Crash(victim, _)
            | Fault::DiskFull(victim)
            | Fault::SyncFails(victim)
            | Fault::SlowDisk(victim, _)
            | Fault::ClockStep(victim, _) => Some(*victim),
            Fault::Transfer => Some(Victim::Leader),
            Fault::BrokenLink(..)
            | Fault::Loss
            | Fault::Slow(_)
            | Fault::CrashAll(_)
            | Fault::Wipe(_) => None,
        }
    }
}

/// Asks a server to hand leadership over, whatever it answers.
fn transfer(
    seed: u64,
    address: std::net::SocketAddr,
) -> impl Future<Output = turmoil::Result> + 'static {
    let work = async move {
        let mut client = Client::new(address);
        let path = "/v1/operator/raft/transfer-leader";
        let patience = Duration::from_secs(2);
        let _ = client
            .call(Method::POST, path, Bytes::new(), patience)
            .await;
        Ok(())
    };
    SimRuntime::host(seed, Arc::default(), work)
}
