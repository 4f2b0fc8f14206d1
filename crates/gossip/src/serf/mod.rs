//! A pool: Serf's layer on top of the membership protocol. Statuses with Lamport times, so that a leave and a failure are
//! told apart and late words do not win; user events; queries; what is remembered of those that are gone.
//!
//! One value, one `step`. The files beside this one are its parts: `roster` (members and intents), `events`, `queries`,
//! `exchange` (push/pull and joins), `leave`, `reap` (time-outs, reconnects, pruning), `snapshot` (what to keep over a
//! restart).

mod api;
mod clock;
mod events;
mod exchange;
mod internal;
mod leave;
mod queries;
mod reap;
mod roster;
mod snapshot;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::config::{Config, ConfigError, SerfConfig, Timing, check_tags};
use crate::count::{Counters, Kind};
use crate::random::Random;
use crate::step::{NetEffect, SwimInput, TimerKind};
use crate::swim::{Happened, Name, Out, QueueName, Swim, Ticket};
use crate::wire::query::FLAG_ACK;
use crate::wire::serf::{SerfMessage, kind};
use crate::wire::tags::Tags;

pub use api::{
    Command, CommandError, Effect, Input, Member, MemberChange, MemberEvent, QueryAsked,
    QueryHandle, QueryParams, Status, UserEvent,
};
pub use snapshot::{Snapshot, SnapshotError};

use clock::Clock;
use events::Events;
use exchange::Joins;
use leave::Leaving;
use queries::Queries;
use reap::Prunes;
use roster::Roster;

/// A pool, as a value. See [`crate::step`] for what drives it.
pub struct Pool {
    swim: Swim,
    config: SerfConfig,
    timing: Timing,
    tags: Tags,
    clock: Clock,
    roster: Roster,
    events: Events,
    queries: Queries,
    joins: Joins,
    leaving: Leaving,
    prunes: Prunes,
    next_ticket: u64,
}

impl Pool {
    /// A pool with one member: ourselves. With a snapshot it goes on where it was: clocks do not run backwards, events are
    /// not reported again, and [`Input::Start`] tries the members that were alive.
    pub fn new(
        config: Config,
        random: Box<dyn Random>,
        snapshot: Option<Snapshot>,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let swim = Swim::new(&config, random);
        let last = snapshot.unwrap_or_default();
        let mut pool = Self {
            config: config.serf,
            timing: config.timing,
            tags: config.tags,
            clock: Clock::after(last.clock),
            roster: Roster::default(),
            events: Events::new(config.serf.event_buffer, last.event_clock),
            queries: Queries::new(config.serf.event_buffer, last.query_clock),
            joins: Joins::new(last.alive, swim.name()),
            leaving: Leaving::No,
            prunes: Prunes::default(),
            next_ticket: 0,
            swim,
        };
        let myself = pool.swim.members().find(pool.swim.name());
        let myself = myself.and_then(|id| pool.swim.members().get(id)).cloned();
        if let Some(myself) = myself {
            pool.roster.joined(Duration::ZERO, &myself);
        }
        Ok(pool)
    }

    /// A pool that believes what another one does, as if it had been there all along: for simulations of large pools.
    pub fn with_beliefs_of(
        config: Config,
        random: Box<dyn Random>,
        other: &Self,
    ) -> Result<Self, ConfigError> {
        let mut pool = Self::new(config, random, None)?;
        pool.swim.adopt(other.swim.members());
        pool.roster = other.roster.clone();
        pool.clock = other.clock.clone();
        Ok(pool)
    }

    /// Knows another pool's own member from now on, as if it had been heard of.
    pub fn meet(&mut self, other: &Self) {
        let member = other.swim.myself().as_ref().clone();
        self.roster.joined(Duration::ZERO, &member);
        self.swim.meet(member);
    }

    /// Takes one input; gives what is to be done, in order.
    pub fn step(&mut self, now: Duration, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut out = Out::default();
        match input {
            Input::Start => {
                self.swim.step(now, SwimInput::Start, &mut out);
                self.start(now, &mut out);
            }
            Input::Timer(timer) => match timer.0 {
                TimerKind::Leave { stage } => self.leave_stage(now, stage, &mut out, &mut effects),
                TimerKind::Reap => self.reap(now, &mut out, &mut effects),
                TimerKind::Reconnect => self.reconnect(now, &mut out),
                TimerKind::Query { ltime } => self.query_over(ltime, &mut effects),
                TimerKind::Coalesce { round } => self.flush_events(round, &mut effects),
                TimerKind::Prune { round } => self.prune_due(round, &mut effects),
                timer => self.swim.step(now, SwimInput::Timer(timer), &mut out),
            },
            Input::Packet { from, bytes } => {
                self.swim
                    .step(now, SwimInput::Packet { from, bytes }, &mut out);
            }
            Input::StreamAccepted { stream, from } => {
                let input = SwimInput::StreamAccepted { stream, from };
                self.swim.step(now, input, &mut out);
            }
            Input::StreamData { stream, bytes } => {
                let input = SwimInput::StreamData { stream, bytes };
                self.swim.step(now, input, &mut out);
            }
            Input::StreamClosed { stream } => {
                self.swim
                    .step(now, SwimInput::StreamClosed { stream }, &mut out);
            }
            Input::Command { request, command } => {
                self.command(now, request, command, &mut out, &mut effects);
            }
        }
        self.drain(now, &mut out, &mut effects);
        effects
    }

    fn start(&mut self, now: Duration, out: &mut Out) {
        out.timer(now + self.config.reap_interval, TimerKind::Reap);
        out.timer(now + self.config.reconnect_interval, TimerKind::Reconnect);
        self.rejoin(now, out);
    }

    /// Handles what happened below, and what happens because of that, until nothing is left.
    fn drain(&mut self, now: Duration, out: &mut Out, effects: &mut Vec<Effect>) {
        loop {
            effects.extend(out.effects.drain(..).map(Effect::Net));
            let happened = std::mem::take(&mut out.happened);
            if happened.is_empty() {
                return;
            }
            for happened in happened {
                self.happened(now, happened, out, effects);
                effects.extend(out.effects.drain(..).map(Effect::Net));
            }
        }
    }

    fn happened(
        &mut self,
        now: Duration,
        happened: Happened,
        out: &mut Out,
        effects: &mut Vec<Effect>,
    ) {
        match happened {
            Happened::Joined(member) => self.member_joined(now, &member, effects),
            Happened::Gone(member) => self.member_gone(now, &member, effects),
            Happened::Updated(member) => self.member_updated(&member, effects),
            Happened::User(message) => self.message(now, &message, out, effects),
            Happened::ExchangeDue { with } => self.exchange(now, with, false, None, out),
            Happened::StateWanted { stream } => {
                let state = self.local_state();
                self.swim.send_state(stream, &state, out);
            }
            Happened::State { join, user } => self.merge_state(now, join, &user, out, effects),
            Happened::Exchanged {
                request,
                with,
                result,
            } => self.exchanged(now, request, with, result, out, effects),
            Happened::Broadcasted(ticket) => self.broadcasted(now, ticket, out),
            Happened::NameConflict {
                name,
                holder,
                claimant,
            } => effects.push(Effect::NameConflict {
                name,
                holder,
                claimant,
            }),
            Happened::IdentityTwice { address, newcomer } => {
                effects.push(Effect::IdentityTwice { address, newcomer });
            }
            Happened::RoundTrip { name, time } => effects.push(Effect::RoundTrip { name, time }),
        }
    }

    fn command(
        &mut self,
        now: Duration,
        request: u64,
        command: Command,
        out: &mut Out,
        effects: &mut Vec<Effect>,
    ) {
        let done = match command {
            _ if self.leaving != Leaving::No => Err(CommandError::Leaving),
            Command::Join {
                addresses,
                ignore_old_events,
            } => self.join(now, request, addresses, ignore_old_events, out, effects),
            Command::Leave => {
                self.leave(now, out, effects);
                Ok(())
            }
            Command::ForceLeave { name, prune } => {
                self.force_leave(now, &name, prune, out, effects)
            }
            Command::SetTags(tags) => self.set_tags(now, tags, out),
            Command::UserEvent {
                name,
                payload,
                coalesce,
            } => self.fire_event(now, &name, &payload, coalesce, out, effects),
            Command::Query(params) => self.ask(now, request, &params, out, effects),
            Command::Respond { query, payload } => self.respond(now, &query, &payload, out),
        };
        if let Err(error) = done {
            effects.push(Effect::Refused { request, error });
        }
    }

    /// A message of Serf's, from a packet or a stream; told on when it is news.
    fn message(&mut self, now: Duration, bytes: &Bytes, out: &mut Out, effects: &mut Vec<Effect>) {
        let message = match SerfMessage::decode(bytes) {
            Ok(message) => message,
            Err(error) => return self.swim.counters_mut().count_error(&error),
        };
        if let Some(kind) = kind_of(bytes) {
            self.swim.counters_mut().count_received(kind);
        }
        let (is_news, queue) = match message {
            SerfMessage::Join(intent) => (
                self.join_intent(now, intent.ltime, intent.node),
                QueueName::Intents,
            ),
            SerfMessage::Leave(intent) => (
                self.leave_intent(now, &intent, out, effects),
                QueueName::Intents,
            ),
            SerfMessage::UserEvent(event) => (
                self.user_event(now, &event, out, effects),
                QueueName::Events,
            ),
            SerfMessage::Query(query) => {
                (self.query(now, &query, out, effects), QueueName::Queries)
            }
            SerfMessage::QueryResponse(response) => {
                return self.query_response(&response, bytes, effects);
            }
            SerfMessage::Relay(relay) => {
                return self.pass_on(relay.node, relay.to, relay.message, out);
            }
        };
        if is_news {
            self.broadcast(now, queue, bytes, None, out);
        }
    }

    fn broadcast(
        &mut self,
        now: Duration,
        queue: QueueName,
        message: &[u8],
        ticket: Option<Ticket>,
        out: &mut Out,
    ) {
        let depth_max = self.config.queue_depth_max.max(2 * self.roster.len());
        self.swim
            .broadcast_user(now, queue, message, ticket, depth_max, out);
    }

    fn set_tags(&mut self, now: Duration, tags: Tags, out: &mut Out) -> Result<(), CommandError> {
        let meta = check_tags(&tags).map_err(CommandError::Tags)?;
        self.tags = tags;
        self.swim.set_meta(now, meta.into(), out);
        Ok(())
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    fn exchange(
        &mut self,
        now: Duration,
        with: SocketAddr,
        join: bool,
        request: Option<u64>,
        out: &mut Out,
    ) {
        let state = self.local_state();
        self.swim
            .exchange_with(now, with, join, request, &state, out);
    }
}

// === what can be looked at ===

impl Pool {
    /// Our name.
    #[must_use]
    pub fn name(&self) -> &Name {
        self.swim.name()
    }

    /// All members that are known, by name, the failed and the left among them.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &Arc<Member>> {
        self.roster.iter()
    }

    /// One member.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Arc<Member>> {
        self.roster.get(name)
    }

    /// All counters since start.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        self.swim.counters()
    }

    /// How little we trust ourselves to notice answers: 0 is well.
    #[must_use]
    pub fn health_score(&self) -> u32 {
        self.swim.health_score()
    }

    /// Broadcasts that wait, of all kinds.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.swim.queued()
    }

    /// Whether another member has been reached since start.
    #[must_use]
    pub fn has_joined(&self) -> bool {
        self.swim.has_joined()
    }
}

/// The kind of a message of Serf's, for counting.
pub(crate) fn kind_of(message: &[u8]) -> Option<Kind> {
    match *message.first()? {
        kind::LEAVE => Some(Kind::LeaveIntent),
        kind::JOIN => Some(Kind::JoinIntent),
        kind::USER_EVENT => Some(Kind::UserEvent),
        kind::QUERY => Some(Kind::Query),
        kind::QUERY_RESPONSE => match SerfMessage::decode(message) {
            Ok(SerfMessage::QueryResponse(response)) if response.flags & FLAG_ACK != 0 => {
                Some(Kind::QueryAck)
            }
            _ => Some(Kind::QueryResponse),
        },
        kind::RELAY => Some(Kind::Relay),
        _ => None,
    }
}

/// Ends everything that a driver would have to keep for us; used where a list of effects is read in tests and simulations.
impl Effect {
    /// The network part, if it is one.
    #[must_use]
    pub fn net(&self) -> Option<&NetEffect> {
        match self {
            Self::Net(effect) => Some(effect),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
