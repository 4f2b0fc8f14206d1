//! The membership protocol: who is a member, who is suspect, who is gone. Knows nothing of Serf's meaning of messages; what
//! is not its own it passes up as [`Happened`], in the order in which it happened.
//!
//! One value, one `step`. The files beside this one are its parts: `probe` (asking one member after the other), `relay`
//! (asking for others), `belief` (what alive, suspect and dead do to the table), `names` (two members, one name), `gossip`
//! (broadcasts and packets), `streams` (push/pull, TCP pings).

mod belief;
mod gossip;
mod health;
mod members;
mod names;
mod probe;
mod queue;
mod relay;
mod streams;
mod suspicion;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::config::{Config, Lifeguard, Timing};
use crate::count::{Counters, DropReason};
use crate::random::Random;
use crate::step::{NetEffect, StreamId, SwimInput, Timer, TimerKind};
use crate::wire::message::{Message, Versions};
use crate::wire::packet::Framing;
use crate::wire::push_pull::State;
use crate::wire::tags;

pub use members::Name;
pub(crate) use members::{Member, MemberId, Members};
pub(crate) use queue::{Queue, Ticket, transmits_max};

use health::Health;
use names::Contest;
use probe::Probe;
use relay::Relay;
use streams::Stream;
use suspicion::Suspicion;

/// What the layer above gets to know. In order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Happened {
    /// A member is there that was not, or was gone.
    Joined(Arc<Member>),
    /// A member died or left.
    Gone(Arc<Member>),
    /// A member has another meta or address.
    Updated(Arc<Member>),
    /// A message for the layer above.
    User(Bytes),
    /// It is time to exchange state with this member: do so with `exchange_with`.
    ExchangeDue { with: SocketAddr },
    /// Another member wants to exchange state: answer with `send_state`.
    StateWanted { stream: StreamId },
    /// Another member's state of the layer above.
    State { join: bool, user: Bytes },
    /// An exchange of state that we began has ended.
    Exchanged {
        request: Option<u64>,
        with: SocketAddr,
        result: Result<(), ExchangeError>,
    },
    /// A broadcast has been sent often enough, or was replaced.
    Broadcasted(Ticket),
    /// Two members claim one name, and both answer.
    NameConflict {
        name: Name,
        holder: SocketAddr,
        claimant: SocketAddr,
    },
    /// Somebody else runs with our name and our id. `newcomer`: we came second, and should stop.
    IdentityTwice { address: SocketAddr, newcomer: bool },
    /// A probe was answered directly, after this time.
    RoundTrip { name: Name, time: Duration },
}

/// Why an exchange of state failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// The connection could not be opened, or broke.
    #[error("connection failed")]
    Connection,
    /// No answer in time.
    #[error("no answer within {limit:?}")]
    Timeout {
        /// How long we waited.
        limit: Duration,
    },
    /// The answer made no sense.
    #[error("answer is malformed")]
    Malformed(#[source] crate::wire::WireError),
    /// The other side refused, in its own words.
    #[error("refused: {0}")]
    Refused(String),
    /// The answer was of another kind.
    #[error("answer is no state")]
    Unexpected,
}

/// What a step has to say: to the network, and to the layer above.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pub(crate) effects: Vec<NetEffect>,
    pub(crate) happened: Vec<Happened>,
}

impl Out {
    pub(crate) fn timer(&mut self, at: Duration, timer: TimerKind) {
        let timer = Timer(timer);
        self.effects.push(NetEffect::SetTimer { at, timer });
    }
}

/// Which of the broadcast queues, in the order in which packets are filled from them.
/// Statements about members stand before all of these, at place 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueueName {
    Intents = 1,
    Queries = 2,
    Events = 3,
}

/// The state of the membership protocol.
pub(crate) struct Swim {
    timing: Timing,
    lifeguard: Lifeguard,
    framing: Framing,
    random: Box<dyn Random>,
    counters: Counters,
    members: Members,
    me: MemberId,
    name: Name,
    health: Health,
    queues: [Queue; 4],
    gossip_is_set: bool,
    probe: Probe,
    relays: BTreeMap<u32, Relay>,
    suspicions: BTreeMap<MemberId, Suspicion>,
    contests: BTreeMap<Name, Contest>,
    streams: BTreeMap<StreamId, Stream>,
    next_stream: u64,
    seq: u32,
    /// We have exchanged state with another member at least once.
    has_joined: bool,
    /// Extra exchanges of state that are left after a join.
    soon_left: u32,
    is_leaving: bool,
}

impl Swim {
    /// The pool's first member: ourselves. The configuration must be valid.
    pub(crate) fn new(config: &Config, mut random: Box<dyn Random>) -> Self {
        let name: Name = config.name.as_str().into();
        let mut members = Members::default();
        let myself = Member {
            name: name.clone(),
            address: config.advertise,
            meta: tags::encode(&config.tags).into(),
            versions: Versions::OURS,
            incarnation: 1,
            state: State::Alive,
            changed: Duration::ZERO,
        };
        let me = members.insert(myself, &mut *random);
        let levels = if config.lifeguard.local_health {
            config.timing.awareness_max
        } else {
            1
        };
        Self {
            timing: config.timing,
            lifeguard: config.lifeguard,
            framing: Framing {
                keyring: config.keyring.clone(),
                label: config.label.clone(),
                compression: config.compression,
            },
            random,
            counters: Counters::default(),
            members,
            me,
            name,
            health: Health::new(levels),
            queues: Default::default(),
            gossip_is_set: false,
            probe: Probe::default(),
            relays: BTreeMap::new(),
            suspicions: BTreeMap::new(),
            contests: BTreeMap::new(),
            streams: BTreeMap::new(),
            next_stream: 0,
            seq: 0,
            has_joined: false,
            soon_left: 0,
            is_leaving: false,
        }
    }

    pub(crate) fn step(&mut self, now: Duration, input: SwimInput, out: &mut Out) {
        match input {
            SwimInput::Start => self.start(now, out),
            SwimInput::Timer(timer) => self.timer(now, timer, out),
            SwimInput::Packet { from, bytes } => self.packet(now, from, bytes, out),
            SwimInput::StreamAccepted { stream, from } => self.accept(now, stream, from, out),
            SwimInput::StreamData { stream, bytes } => self.stream_data(now, stream, &bytes, out),
            SwimInput::StreamClosed { stream } => self.stream_closed(now, stream, out),
        }
    }

    /// Random phases, so that members started together do not beat together.
    fn start(&mut self, now: Duration, out: &mut Out) {
        let first_probe = now + self.random.part_of(self.timing.probe_interval);
        out.timer(
            first_probe,
            TimerKind::Probe {
                round: self.probe.round,
            },
        );
        let first_exchange = now + self.random.part_of(self.timing.push_pull_interval);
        out.timer(first_exchange, TimerKind::PushPull);
        self.announce_myself(now, out);
    }

    fn timer(&mut self, now: Duration, timer: TimerKind, out: &mut Out) {
        match timer {
            TimerKind::Probe { round } => self.probe_next(now, round, out),
            TimerKind::ProbeTimeout { round } => self.probe_timeout(now, round, out),
            TimerKind::ProbeEnd { round } => self.probe_end(now, round, out),
            TimerKind::RelayNack { seq } => self.relay_nack(now, seq, out),
            TimerKind::RelayEnd { seq } => drop(self.relays.remove(&seq)),
            TimerKind::Suspicion { member } => self.suspicion_over(now, member, out),
            TimerKind::Gossip => self.gossip(now, out),
            TimerKind::PushPull => self.exchange_state(now, out),
            TimerKind::PushPullSoon => self.exchange_at_random(out),
            TimerKind::Stream { stream } => self.stream_timeout(stream, out),
            TimerKind::Contest { seq } => self.contest_timeout(now, seq, out),
            // The layer above keeps its own.
            TimerKind::Leave { .. }
            | TimerKind::Reap
            | TimerKind::Reconnect
            | TimerKind::Query { .. }
            | TimerKind::Coalesce { .. }
            | TimerKind::Prune { .. } => {}
        }
    }

    fn packet(&mut self, now: Duration, from: SocketAddr, bytes: Bytes, out: &mut Out) {
        self.counters.packets_received += 1;
        self.counters.packet_bytes_received += bytes.len() as u64;
        let messages = match self.framing.open_packet(bytes, &mut self.counters) {
            Ok(messages) => messages,
            Err(error) => return self.counters.count_error(&error),
        };
        for bytes in messages {
            match Message::decode(&bytes) {
                Ok(message) => self.message(now, from, message, &bytes, out),
                Err(error) => self.counters.count_error(&error),
            }
        }
    }

    fn message(
        &mut self,
        now: Duration,
        from: SocketAddr,
        message: Message<'_>,
        bytes: &Bytes,
        out: &mut Out,
    ) {
        use crate::count::Kind;
        self.counters.count_received(match message {
            Message::Ping(_) => Kind::Ping,
            Message::IndirectPing(_) => Kind::IndirectPing,
            Message::Ack(_) => Kind::Ack,
            Message::Nack(_) => Kind::Nack,
            Message::Suspect(_) => Kind::Suspect,
            Message::Alive(_) => Kind::Alive,
            Message::Dead(_) => Kind::Dead,
            Message::User(_) => Kind::User,
        });
        match message {
            Message::Ping(ping) => self.answer_ping(from, &ping, out),
            Message::IndirectPing(request) => self.relay_ping(now, from, &request, out),
            Message::Ack(ack) => self.ack(now, from, ack.seq, out),
            Message::Nack(nack) => self.nack(nack.seq),
            Message::Suspect(suspect) => self.hear_suspect(now, &suspect, out),
            Message::Alive(alive) => self.hear_alive(now, &alive, out),
            Message::Dead(dead) => self.hear_dead(now, &dead, out),
            Message::User(body) => out.happened.push(Happened::User(bytes.slice_ref(body))),
        }
    }

    /// An answer to whichever of our pings it was.
    fn ack(&mut self, now: Duration, from: SocketAddr, seq: u32, out: &mut Out) {
        let known = self.probe_ack(now, from, seq, out)
            || self.relay_ack(seq, out)
            || self.contest_ack(now, seq, out);
        if !known {
            self.counters.count_dropped(DropReason::Unasked);
        }
    }

    fn next_seq(&mut self) -> u32 {
        self.seq = self.seq.wrapping_add(1);
        self.seq
    }

    pub(crate) fn myself(&self) -> &Arc<Member> {
        self.members
            .get(self.me)
            .expect("we must be a member of our own pool")
    }

    fn name_of(&self, id: MemberId) -> Name {
        self.members
            .get(id)
            .map_or_else(|| self.name.clone(), |member| member.name.clone())
    }
}

// === What the layer above asks ===

impl Swim {
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    pub(crate) fn random(&mut self) -> &mut dyn Random {
        &mut *self.random
    }

    pub(crate) fn members(&self) -> &Members {
        &self.members
    }

    /// Starts with members that are known already, as if they had been heard of: for simulations of large pools.
    pub(crate) fn adopt(&mut self, members: &Members) {
        let myself = self.myself().as_ref().clone();
        self.members = members.clone();
        self.members.shuffle(&mut *self.random);
        self.me = match self.members.find(&self.name) {
            Some(me) => me,
            None => self.members.insert(myself, &mut *self.random),
        };
        self.has_joined = true;
    }

    /// Takes a member into the table, as if it had been heard of.
    pub(crate) fn meet(&mut self, member: Member) {
        if self.members.find(&member.name).is_none() {
            self.members.insert(member, &mut *self.random);
        }
    }

    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.myself().address
    }

    pub(crate) fn queued(&self) -> usize {
        self.queues.iter().map(Queue::len).sum()
    }

    pub(crate) fn has_joined(&self) -> bool {
        self.has_joined
    }

    pub(crate) fn health_score(&self) -> u32 {
        self.health.score()
    }

    /// Another member than ourselves is there to hear us.
    pub(crate) fn has_company(&self) -> bool {
        self.members
            .iter()
            .any(|(id, member)| id != self.me && !member.is_gone())
    }

    /// Says something else of ourselves from now on.
    pub(crate) fn set_meta(&mut self, now: Duration, meta: Bytes, out: &mut Out) {
        let myself = self.members.change(self.me);
        myself.meta = meta;
        myself.incarnation += 1;
        let updated = self.myself().clone();
        out.happened.push(Happened::Updated(updated));
        self.announce_myself(now, out);
    }
}

#[cfg(test)]
mod tests;
