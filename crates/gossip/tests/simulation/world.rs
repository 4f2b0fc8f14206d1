//! A network and a clock for pools: packets are late, lost or cut off, members stop, pause, move and come back, and all of it
//! is the same again with the same seed. Nothing here waits: simulated time jumps from event to event.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use rollcall_gossip::{
    Command, Config, Effect, Input, MemberChange, NetEffect, Pool, Random, Seeded, Snapshot,
    Status, StreamId, Timer, Timing,
};

/// A packet takes this long, and up to as much again.
const LATENCY: Duration = Duration::from_micros(500);
/// A paused member's sockets hold so many packets; the rest is lost, as in a kernel.
const HELD_MAX: usize = 2000;

/// Something that will happen at a member.
#[derive(Debug)]
enum Event {
    Timer(Timer),
    Packet(SocketAddr, Bytes),
    Accepted(StreamId, SocketAddr),
    Data(StreamId, Bytes),
    Closed(StreamId),
    Resume,
}

#[derive(Debug)]
struct Scheduled {
    at: Duration,
    order: u64,
    node: usize,
    /// Of which start of the member; events of an earlier one are lost.
    boot: u32,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// A change of a member, seen by another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) at: Duration,
    pub(crate) by: usize,
    pub(crate) change: MemberChange,
    pub(crate) name: String,
}

/// One member and its machine.
pub(crate) struct Node {
    pub(crate) pool: Pool,
    pub(crate) config: Config,
    pub(crate) is_up: bool,
    boot: u32,
    /// Everything but member changes that the pool said.
    pub(crate) said: Vec<Effect>,
    paused: bool,
    held_in: Vec<Event>,
    held_out: Vec<NetEffect>,
}

/// All members and what lies between them.
pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) nodes: Vec<Node>,
    pub(crate) seen: Vec<Seen>,
    random: Seeded,
    events: BinaryHeap<Reverse<Scheduled>>,
    order: u64,
    at_address: BTreeMap<SocketAddr, usize>,
    /// Each end of a stream and the other one.
    peers: BTreeMap<(usize, StreamId), (usize, StreamId)>,
    next_stream: u64,
    /// Part of the packets that are lost.
    pub(crate) loss: f64,
    /// Members in different groups do not reach each other.
    pub(crate) groups: BTreeMap<usize, u32>,
    /// Of packets delivered to nobody, for looking at.
    pub(crate) keep_seen: bool,
}

pub(crate) fn address(number: usize) -> SocketAddr {
    let [_, a, b, c] = u32::try_from(number).unwrap().to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(10, a, b, c), 8301))
}

pub(crate) fn lan(number: usize) -> Config {
    let mut config = Config::new(format!("m{number:05}"), address(number), Timing::LAN);
    config.compression = false;
    config
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: Duration::ZERO,
            nodes: Vec::new(),
            seen: Vec::new(),
            random: Seeded::new(seed),
            events: BinaryHeap::new(),
            order: 0,
            at_address: BTreeMap::new(),
            peers: BTreeMap::new(),
            next_stream: 0,
            loss: 0.0,
            groups: BTreeMap::new(),
            keep_seen: true,
        }
    }

    /// So many members that do not know each other.
    pub(crate) fn strangers(seed: u64, count: usize, change: impl Fn(&mut Config)) -> Self {
        let mut world = Self::new(seed);
        for number in 0..count {
            let mut config = lan(number);
            change(&mut config);
            world.add(config, None);
        }
        world
    }

    /// So many members that all know each other.
    pub(crate) fn acquainted(seed: u64, count: usize, change: impl Fn(&mut Config)) -> Self {
        let mut world = Self::new(seed);
        let configs: Vec<_> = (0..count)
            .map(|number| {
                let mut config = lan(number);
                change(&mut config);
                config
            })
            .collect();
        let pool = |config: &Config, seed: u64| {
            Pool::new(config.clone(), Box::new(Seeded::new(seed)), None).unwrap()
        };
        let mut knows_all = pool(&configs[0], 0);
        for config in &configs[1..] {
            knows_all.meet(&pool(config, 0));
        }
        for config in configs {
            let random = Box::new(Seeded::new(world.random.next()));
            let pool = Pool::with_beliefs_of(config.clone(), random, &knows_all).unwrap();
            world.add_pool(config, pool);
        }
        world
    }

    /// One more member; gives its number.
    pub(crate) fn add(&mut self, config: Config, snapshot: Option<Snapshot>) -> usize {
        let random = Box::new(Seeded::new(self.random.next()));
        let pool = Pool::new(config.clone(), random, snapshot).unwrap();
        self.add_pool(config, pool)
    }

    fn add_pool(&mut self, config: Config, pool: Pool) -> usize {
        let node = self.nodes.len();
        self.at_address.insert(config.advertise, node);
        self.nodes.push(Node {
            pool,
            config,
            is_up: true,
            boot: 0,
            said: Vec::new(),
            paused: false,
            held_in: Vec::new(),
            held_out: Vec::new(),
        });
        self.input(node, Input::Start);
        node
    }

    // === what a test does ===

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_while(end, |_| true);
        self.now = end;
    }

    /// Lets time pass until something holds, looking at it every 50 ms; gives how long that took.
    pub(crate) fn run_until(
        &mut self,
        what: &str,
        limit: Duration,
        holds: impl Fn(&Self) -> bool,
    ) -> Duration {
        let start = self.now;
        while !holds(self) {
            assert!(
                self.now < start + limit,
                "{what}: not within {limit:?}; last seen: {}",
                self.summary()
            );
            self.run(Duration::from_millis(50));
        }
        self.now - start
    }

    fn run_while(&mut self, end: Duration, goes_on: impl Fn(&Self) -> bool) {
        while goes_on(self) {
            match self.events.peek() {
                Some(Reverse(next)) if next.at <= end => {}
                _ => return,
            }
            let Some(Reverse(next)) = self.events.pop() else {
                return;
            };
            self.now = next.at;
            if self.nodes[next.node].is_up && self.nodes[next.node].boot == next.boot {
                self.happen(next.node, next.event);
            }
        }
    }

    pub(crate) fn command(&mut self, node: usize, command: Command) {
        self.input(
            node,
            Input::Command {
                request: 1,
                command,
            },
        );
    }

    /// Everybody joins the first.
    pub(crate) fn join_all(&mut self) {
        for node in 1..self.nodes.len() {
            self.join(node, 0);
        }
    }

    pub(crate) fn join(&mut self, node: usize, seed: usize) {
        let addresses = vec![self.nodes[seed].config.advertise];
        let ignore_old_events = false;
        self.command(
            node,
            Command::Join {
                addresses,
                ignore_old_events,
            },
        );
    }

    /// Kill -9.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].is_up = false;
        self.break_streams(node);
    }

    /// Starts a member again, from nothing or from a snapshot, with another configuration if need be.
    pub(crate) fn restart(&mut self, node: usize, config: Config, snapshot: Option<Snapshot>) {
        let random = Box::new(Seeded::new(self.random.next()));
        self.at_address.remove(&self.nodes[node].config.advertise);
        self.at_address.insert(config.advertise, node);
        let pool = Pool::new(config.clone(), random, snapshot).unwrap();
        let old = &mut self.nodes[node];
        old.pool = pool;
        old.config = config;
        old.is_up = true;
        old.boot += 1;
        old.said.clear();
        self.input(node, Input::Start);
    }

    /// The member's process goes on, but what it sends and what is sent to it waits until the pause is over: the paper's
    /// anomaly.
    pub(crate) fn pause(&mut self, node: usize, time: Duration) {
        self.nodes[node].paused = true;
        self.schedule(self.now + time, node, Event::Resume);
    }

    // === what a test looks at ===

    pub(crate) fn up(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.is_up)
    }

    /// Every member that runs sees exactly those that run as alive.
    pub(crate) fn agrees(&self) -> bool {
        let up: BTreeSet<&str> = self.up().map(|node| &**node.pool.name()).collect();
        self.up().all(|node| alive(&node.pool) == up)
    }

    pub(crate) fn all_see(&self, name: &str, status: Status) -> bool {
        self.up()
            .filter(|node| **node.pool.name() != *name)
            .all(|node| node.pool.member(name).map(|member| member.status) == Some(status))
    }

    fn summary(&self) -> String {
        let lines = self.up().take(5).map(|node| {
            let alive = alive(&node.pool).len();
            format!(
                "{} sees {alive} alive of {}",
                node.pool.name(),
                node.pool.members().len()
            )
        });
        format!(
            "at {:?}: {}",
            self.now,
            lines.collect::<Vec<_>>().join("; ")
        )
    }

    // === how it works ===

    fn happen(&mut self, node: usize, event: Event) {
        let input = match event {
            Event::Resume => return self.resume(node),
            Event::Timer(timer) => Input::Timer(timer),
            event if self.nodes[node].paused => {
                let held = &mut self.nodes[node].held_in;
                if held.len() < HELD_MAX || !matches!(event, Event::Packet(..)) {
                    held.push(event);
                }
                return;
            }
            Event::Packet(from, bytes) => Input::Packet { from, bytes },
            Event::Accepted(stream, from) => Input::StreamAccepted { stream, from },
            Event::Data(stream, bytes) => Input::StreamData { stream, bytes },
            Event::Closed(stream) => {
                self.peers.remove(&(node, stream));
                Input::StreamClosed { stream }
            }
        };
        self.input(node, input);
    }

    /// First what waited to be sent, then what waited to be read.
    fn resume(&mut self, node: usize) {
        self.nodes[node].paused = false;
        for effect in std::mem::take(&mut self.nodes[node].held_out) {
            self.carry_out(node, effect);
        }
        for event in std::mem::take(&mut self.nodes[node].held_in) {
            self.happen(node, event);
        }
    }

    fn input(&mut self, node: usize, input: Input) {
        let effects = self.nodes[node].pool.step(self.now, input);
        for effect in effects {
            match effect {
                Effect::Net(effect) => self.carry_out(node, effect),
                Effect::Member(event) => {
                    if self.keep_seen {
                        self.seen.push(Seen {
                            at: self.now,
                            by: node,
                            change: event.change,
                            name: event.member.name.to_string(),
                        });
                    }
                }
                Effect::RoundTrip { .. } => {}
                effect => self.nodes[node].said.push(effect),
            }
        }
    }

    fn carry_out(&mut self, node: usize, effect: NetEffect) {
        if let NetEffect::SetTimer { at, timer } = effect {
            assert!(at >= self.now, "a timer must not be set for the past");
            return self.schedule(at, node, Event::Timer(timer));
        }
        if self.nodes[node].paused {
            return self.nodes[node].held_out.push(effect);
        }
        let from = self.nodes[node].config.advertise;
        match effect {
            NetEffect::SendPacket { to, bytes } => {
                assert!(bytes.len() <= 1400, "a packet of {} bytes", bytes.len());
                let is_lost = self.loss > 0.0 && self.chance() < self.loss;
                if let Some(receiver) = self.reach(node, to)
                    && !is_lost
                {
                    let at = self.now + LATENCY + LATENCY.mul_f64(self.chance());
                    self.schedule(at, receiver, Event::Packet(from, bytes));
                }
            }
            NetEffect::OpenStream {
                stream, to, bytes, ..
            } => self.open(node, stream, to, bytes),
            NetEffect::SendStream { stream, bytes } => {
                if let Some(&(peer, other)) = self.peers.get(&(node, stream)) {
                    self.schedule(self.now + 2 * LATENCY, peer, Event::Data(other, bytes));
                }
            }
            NetEffect::CloseStream { stream } => {
                if let Some((peer, other)) = self.peers.remove(&(node, stream)) {
                    self.schedule(self.now + 2 * LATENCY, peer, Event::Closed(other));
                }
            }
            NetEffect::SetTimer { .. } => unreachable!("timers were scheduled above"),
        }
    }

    fn open(&mut self, node: usize, stream: StreamId, to: SocketAddr, bytes: Bytes) {
        let from = self.nodes[node].config.advertise;
        match self.reach(node, to) {
            Some(peer) => {
                let other = StreamId::Accepted(self.next_stream);
                self.next_stream += 1;
                self.peers.insert((node, stream), (peer, other));
                self.peers.insert((peer, other), (node, stream));
                self.schedule(self.now + 2 * LATENCY, peer, Event::Accepted(other, from));
                self.schedule(self.now + 2 * LATENCY, peer, Event::Data(other, bytes));
            }
            // Cut off: nothing comes back. Nobody there: refused.
            None if self.is_cut(node, to) => {}
            None => self.schedule(self.now + 2 * LATENCY, node, Event::Closed(stream)),
        }
    }

    fn break_streams(&mut self, node: usize) {
        let broken: Vec<_> = self.peers.iter().filter(|(end, _)| end.0 == node).collect();
        let broken: Vec<_> = broken
            .into_iter()
            .map(|(end, other)| (*end, *other))
            .collect();
        for (end, (peer, stream)) in broken {
            self.peers.remove(&end);
            self.schedule(self.now + LATENCY, peer, Event::Closed(stream));
        }
    }

    fn reach(&self, from: usize, to: SocketAddr) -> Option<usize> {
        let node = *self.at_address.get(&to)?;
        (self.nodes[node].is_up && self.group(from) == self.group(node)).then_some(node)
    }

    fn is_cut(&self, from: usize, to: SocketAddr) -> bool {
        let node = self.at_address.get(&to);
        node.is_some_and(|node| self.group(from) != self.group(*node))
    }

    fn group(&self, node: usize) -> u32 {
        self.groups.get(&node).copied().unwrap_or(0)
    }

    fn chance(&mut self) -> f64 {
        f64::from(u32::try_from(self.random.next() >> 32).unwrap()) / f64::from(u32::MAX)
    }

    fn schedule(&mut self, at: Duration, node: usize, event: Event) {
        self.order += 1;
        self.events.push(Reverse(Scheduled {
            at,
            order: self.order,
            node,
            boot: self.nodes[node].boot,
            event,
        }));
    }
}

/// The names that a pool sees alive.
pub(crate) fn alive(pool: &Pool) -> BTreeSet<&str> {
    let members = pool
        .members()
        .filter(|member| member.status == Status::Alive);
    members.map(|member| &*member.name).collect()
}
