//! The simulated cluster: the real servers as hosts of a simulated network, and the switches of their faults.
//!
//! ```text
//! s0 … s4   rollcall_server::run::start over SimDisk, one turmoil host each
//! c0, c1    the clients; a cut-off server takes c0 to its side
//! ```
//! A crash drops a host's runtime with all its tasks; its disk is frozen before and forgets after. What a server's
//! software says when it ends by itself is kept: outside of disk faults that is a violation.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use rollcall_server::config::{Config, Machine};
use rollcall_server::consensus::Consensus;
use rollcall_server::disk::Disk as _;
use rollcall_server::door::{Door as _, View};
use rollcall_server::rt::sim::{Host, SimRuntime};
use rollcall_server::run::{self, StartOptions};
use turmoil::Sim;

use crate::disk::{SimDisk, Trouble};
use crate::faults::{Crash, Victim};
use crate::history::Recorder;

/// Client hosts.
pub const CLIENT_HOSTS: [&str; 2] = ["c0", "c1"];

/// A crash that waits for its disk operation strikes after this at the latest.
const POWER_CUT_WITHIN: Duration = Duration::from_millis(300);

/// What the software of a server and the driver share.
#[derive(Debug, Default)]
struct Slot {
    running: Option<Weak<Consensus>>,
    ended: Option<String>,
}

/// One server.
struct Server {
    address: IpAddr,
    disk: SimDisk,
    host: Arc<Host>,
    slot: Arc<Mutex<Slot>>,
    /// Down until then; `None`: up.
    back_at: Option<Duration>,
    /// A crash under way: when at the latest, and its kind.
    dying: Option<(Duration, Crash)>,
    /// Its disk is, or was since its start, in trouble: it may end by itself.
    excused: bool,
    trouble: Trouble,
    crashes: u64,
}

/// The cluster in its network.
pub struct Cluster<'a> {
    /// The simulation.
    pub sim: Sim<'a>,
    /// The record.
    pub recorder: Recorder,
    seed: u64,
    servers: Vec<Server>,
    blocked: BTreeSet<(usize, usize)>,
    digests: BTreeMap<u64, (usize, u64)>,
}

impl<'a> Cluster<'a> {
    /// Servers that start at `starts`, on empty disks.
    pub fn new(
        mut sim: Sim<'a>,
        seed: u64,
        recorder: Recorder,
        starts: &[Duration],
        options: &StartOptions,
    ) -> Cluster<'a> {
        let addresses: Vec<IpAddr> = (0..starts.len())
            .map(|number| sim.lookup(server_name(number)))
            .collect();
        for name in CLIENT_HOSTS {
            sim.lookup(name);
        }
        let mut servers = Vec::new();
        for (number, start) in starts.iter().enumerate() {
            let server = Server {
                address: addresses[number],
                disk: SimDisk::default(),
                host: Arc::default(),
                slot: Arc::default(),
                back_at: None,
                dying: None,
                excused: false,
                trouble: Trouble::None,
                crashes: 0,
            };
            let software = Software {
                seed: seed ^ (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
                number,
                first_start: *start,
                config: config(number, &addresses),
                disk: server.disk.clone(),
                host: Arc::clone(&server.host),
                slot: Arc::clone(&server.slot),
                recorder: recorder.clone(),
                options: options.clone(),
            };
            let software = Arc::new(software);
            sim.host(server_name(number), move || Arc::clone(&software).boot());
            servers.push(server);
        }
        Cluster {
            sim,
            recorder,
            seed,
            servers,
            blocked: BTreeSet::new(),
            digests: BTreeMap::new(),
        }
    }

    /// How many servers there are.
    pub fn len(&self) -> usize {
        self.servers.len()
    }

    /// Whether there are none (there always are).
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// HTTP addresses of the servers.
    pub fn http_addresses(&self) -> Vec<SocketAddr> {
        self.servers
            .iter()
            .map(|server| SocketAddr::new(server.address, 8500))
            .collect()
    }

    /// Simulated time.
    pub fn now(&self) -> Duration {
        self.sim.elapsed()
    }

    /// One millisecond, and what falls due in it.
    pub fn step(&mut self) {
        self.recorder.set_now(self.sim.elapsed());
        if let Err(error) = self.sim.step() {
            self.recorder.wrong(format!("a host failed: {error}"));
        }
        let now = self.sim.elapsed();
        self.recorder.set_now(now);
        for number in 0..self.servers.len() {
            self.look_after(number, now);
        }
    }

    fn look_after(&mut self, number: usize, now: Duration) {
        let server = &mut self.servers[number];
        if let Some((latest, crash)) = server.dying
            && (server.disk.is_frozen() || now >= latest)
        {
            server.dying = None;
            return self.go_down(number, crash);
        }
        if server.back_at.is_some_and(|at| now >= at) && server.trouble == Trouble::None {
            server.back_at = None;
            server.excused = false;
            self.sim.bounce(server_name(number));
            return;
        }
        if server.back_at.is_none() && server.slot.lock().ended.is_some() {
            self.ended_by_itself(number);
        }
    }

    fn ended_by_itself(&mut self, number: usize) {
        let server = &mut self.servers[number];
        let words = server.slot.lock().ended.clone().unwrap_or_default();
        let line = format!("s{number} ended: {words}");
        if server.excused {
            self.recorder.note(&line);
        } else {
            self.recorder.wrong(line);
        }
        let crash = Crash {
            down: Duration::from_millis(200),
            silent: false,
            at_operation: 0,
        };
        self.go_down(number, crash);
    }

    /// Strikes a server down, at its next disk operations or now.
    pub fn crash(&mut self, number: usize, crash: Crash) {
        let now = self.now();
        let server = &mut self.servers[number];
        if server.back_at.is_some() || server.dying.is_some() {
            return;
        }
        if crash.at_operation == 0 {
            return self.go_down(number, crash);
        }
        server.excused = true;
        server.disk.cut_power_in(crash.at_operation);
        server.dying = Some((now + POWER_CUT_WITHIN, crash));
    }

    fn go_down(&mut self, number: usize, crash: Crash) {
        let now = self.now();
        self.recorder.note(&format!("s{number} down {crash:?}"));
        self.servers[number].disk.freeze();
        let others: Vec<String> = (0..self.servers.len())
            .filter(|other| *other != number)
            .map(server_name)
            .chain(CLIENT_HOSTS.map(str::to_owned))
            .collect();
        let name = server_name(number);
        if crash.silent {
            for other in &others {
                self.sim.partition(name.as_str(), other.as_str());
            }
        }
        self.sim.crash(name.as_str());
        if crash.silent {
            for other in &others {
                self.sim.repair(name.as_str(), other.as_str());
            }
            self.reblock();
        }
        let seed = self.seed;
        let server = &mut self.servers[number];
        server.crashes += 1;
        let salt = server.crashes.wrapping_mul(31).wrapping_add(number as u64);
        server
            .disk
            .crash(seed ^ salt.wrapping_mul(0x2545_f491_4f6c_dd1d));
        server.host.crashed();
        *server.slot.lock() = Slot::default();
        server.back_at = Some(now + crash.down);
    }

    /// Takes a server's disk away. It comes back empty.
    pub fn wipe(&mut self, number: usize, down: Duration) {
        if self.servers[number].back_at.is_none() {
            let crash = Crash {
                down,
                silent: false,
                at_operation: 0,
            };
            self.servers[number].dying = None;
            self.go_down(number, crash);
        }
        self.servers[number].disk.wipe();
    }

    /// Sets what is wrong with a server's disk.
    pub fn set_trouble(&mut self, number: usize, trouble: Trouble) {
        let server = &mut self.servers[number];
        server.trouble = trouble;
        server.excused |= trouble != Trouble::None;
        server.disk.set_trouble(trouble);
    }

    /// Stops or wakes a server's process.
    pub fn set_paused(&self, number: usize, paused: bool) {
        self.servers[number].host.set_paused(paused);
    }

    /// Sets how much longer a server's writes may take.
    pub fn slow_disk(&self, number: usize, milliseconds: u64) {
        self.servers[number].host.slow_disk(milliseconds);
    }

    /// Sets how far a server's time of day is off.
    pub fn step_clock(&self, number: usize, seconds: i64) {
        self.servers[number].host.step_clock(seconds);
    }

    /// Whether a server is up and not about to crash.
    pub fn is_up(&self, number: usize) -> bool {
        let server = &self.servers[number];
        server.back_at.is_none() && server.dying.is_none() && server.consensus().is_some()
    }

    /// The server meant.
    pub fn find(&self, victim: Victim) -> usize {
        match victim {
            Victim::Server(number) => number,
            Victim::Leader => self.leader().unwrap_or(0),
        }
    }

    /// The first server that thinks it leads.
    pub fn leader(&self) -> Option<usize> {
        let leads = |server: &Server| server.consensus().is_some_and(|it| it.leads());
        self.servers.iter().position(leads)
    }

    /// A server's state as it is, if it runs.
    pub fn view(&self, number: usize) -> Option<View> {
        Some(self.servers[number].consensus()?.local())
    }

    /// Whether a server's data directory has a file of such a name.
    pub fn has_file(&self, number: usize, is_it: impl Fn(&str) -> bool) -> bool {
        let names = self.servers[number].disk.list(Path::new("/data"));
        names.is_ok_and(|names| names.iter().any(|name| is_it(name)))
    }

    /// Whether all servers are up and know the same leader, who agrees.
    pub fn stands(&self) -> bool {
        let leaders: Vec<_> = self
            .servers
            .iter()
            .map(|server| server.consensus().and_then(|it| it.leader()))
            .collect();
        leaders[0].is_some()
            && leaders.iter().all(|leader| *leader == leaders[0])
            && self.leader().is_some()
    }

    /// Sets which ways are closed: (from, to) by host number, servers first, then clients.
    pub fn block(&mut self, blocked: BTreeSet<(usize, usize)>) {
        for (from, to) in self.blocked.difference(&blocked) {
            self.sim
                .repair_oneway(self.host_name(*from), self.host_name(*to));
        }
        for (from, to) in blocked.difference(&self.blocked) {
            self.sim
                .partition_oneway(self.host_name(*from), self.host_name(*to));
        }
        self.blocked = blocked;
    }

    /// Opens every way that is not closed on purpose (lossy links break by themselves), and closes those that are.
    pub fn reblock(&mut self) {
        let hosts = self.servers.len() + CLIENT_HOSTS.len();
        for a in 0..hosts {
            for b in a + 1..hosts {
                self.sim.repair(self.host_name(a), self.host_name(b));
            }
        }
        for (from, to) in std::mem::take(&mut self.blocked) {
            self.sim
                .partition_oneway(self.host_name(from), self.host_name(to));
            self.blocked.insert((from, to));
        }
    }

    fn host_name(&self, number: usize) -> String {
        match number.checked_sub(self.servers.len()) {
            Some(client) => CLIENT_HOSTS[client].to_owned(),
            None => server_name(number),
        }
    }

    /// Compares the states of all servers: equal index, equal content. Gives the indexes.
    pub fn compare_states(&mut self) -> Vec<u64> {
        let mut indexes = Vec::new();
        for number in 0..self.servers.len() {
            let Some(consensus) = self.servers[number].consensus() else {
                continue;
            };
            let state = consensus.local().state;
            let (index, digest) = (state.index(), state.digest());
            indexes.push(index);
            let (first, known) = *self.digests.entry(index).or_insert((number, digest));
            if known != digest {
                self.recorder.wrong(format!(
                    "states differ at index {index}: s{first} {known:016x}, s{number} {digest:016x}"
                ));
                self.digests.insert(index, (number, digest));
            }
        }
        indexes
    }

    /// A hash over all writes to all disks, and how many syncs there were.
    pub fn disks(&self) -> (u64, u64) {
        let mut trace = 0u64;
        let mut syncs = 0;
        for server in &self.servers {
            trace = trace.rotate_left(17) ^ server.disk.trace();
            syncs += server.disk.syncs();
        }
        (trace, syncs)
    }
}

impl Server {
    fn consensus(&self) -> Option<Arc<Consensus>> {
        self.slot.lock().running.as_ref().and_then(Weak::upgrade)
    }
}

fn server_name(number: usize) -> String {
    format!("s{number}")
}

fn config(number: usize, addresses: &[IpAddr]) -> Config {
    let others: Vec<String> = addresses
        .iter()
        .enumerate()
        .filter(|(other, _)| *other != number)
        .map(|(_, address)| format!("\"{address}\""))
        .collect();
    let yaml = format!(
        "node_name: {name}
server: true
data_dir: /data
bind_addr: 0.0.0.0
advertise_addr: {address}
client_addr: 0.0.0.0
bootstrap_expect: {expect}
retry_join: [{others}]
retry_interval: 1s
session_ttl_min: 1s
",
        name = server_name(number),
        address = addresses[number],
        expect = addresses.len(),
        others = others.join(", "),
    );
    let machine = Machine {
        host_name: Some(server_name(number)),
        address: Some(addresses[number]),
        current_dir: PathBuf::from("/"),
    };
    Config::from_yaml(&yaml, &machine)
        .expect("the simulation's configuration must be valid")
        .config
}

/// What a host runs, boot after boot.
struct Software {
    seed: u64,
    number: usize,
    first_start: Duration,
    config: Config,
    disk: SimDisk,
    host: Arc<Host>,
    slot: Arc<Mutex<Slot>>,
    recorder: Recorder,
    options: StartOptions,
}

impl Software {
    fn boot(self: Arc<Self>) -> impl Future<Output = turmoil::Result> {
        let boot = self.recorder.booted(self.number);
        let seed = self
            .seed
            .wrapping_add(boot.wrapping_mul(0x94d0_49bb_1331_11eb));
        let host = Arc::clone(&self.host);
        SimRuntime::host(seed, host, async move {
            if boot == 1 {
                rollcall_server::rt::sleep(self.first_start).await;
            }
            self.recorder.note(&format!("s{} boot {boot}", self.number));
            let ended = self.serve().await;
            self.slot.lock().ended = Some(ended);
            // The driver sees it and drops this runtime, as the system does with a process that ended.
            std::future::pending::<turmoil::Result>().await
        })
    }

    async fn serve(&self) -> String {
        let disk = Arc::new(self.disk.clone());
        let started = run::start(self.config.clone(), disk, self.options.clone()).await;
        match started {
            Ok(mut running) => {
                self.slot.lock().running = Some(Arc::downgrade(running.consensus()));
                let error = running.failure().await;
                self.slot.lock().running = None;
                format!("{error}")
            }
            Err(error) => format!("did not start: {error}"),
        }
    }
}
