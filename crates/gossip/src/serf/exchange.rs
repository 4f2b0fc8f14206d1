//! Joining, and what Serf adds to an exchange of state: clocks, the time of each member's status, who left, recent events.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::api::{CommandError, Effect};
use super::{Out, Pool, QueueName};
use crate::count::Kind;
use crate::swim::{ExchangeError, Name};
use crate::wire::serf::{JoinIntent, LeaveIntent, SerfState, UserEvent};

/// Addresses asked at one time for one join: a name may resolve to hundreds, and one that answers is enough to know all.
const AT_ONE_TIME_MAX: usize = 8;
/// Joins at one time.
const JOINS_MAX: usize = 64;
/// Addresses of one join; with eight at a time and ten seconds each, more would take many minutes.
const ADDRESSES_MAX: usize = 1024;

/// Joins that are under way.
#[derive(Debug)]
pub(super) struct Joins {
    running: BTreeMap<u64, Join>,
    next: u64,
    /// Members of the snapshot, until the first step.
    previous: Vec<SocketAddr>,
}

#[derive(Debug)]
struct Join {
    /// Of the command; none when we join by ourselves.
    request: Option<u64>,
    waiting: Vec<SocketAddr>,
    asked: usize,
    joined: usize,
    failed: Vec<(SocketAddr, ExchangeError)>,
    ignore_old_events: bool,
    /// One that answers is enough.
    first_is_enough: bool,
}

impl Joins {
    pub(super) fn new(previous: Vec<(Name, SocketAddr)>, myself: &Name) -> Self {
        let others = previous.into_iter().filter(|(name, _)| name != myself);
        Self {
            running: BTreeMap::new(),
            next: 0,
            previous: others.map(|(_, address)| address).collect(),
        }
    }
}

impl Pool {
    pub(super) fn join(
        &mut self,
        now: Duration,
        request: u64,
        addresses: Vec<SocketAddr>,
        ignore_old_events: bool,
        out: &mut Out,
        effects: &mut Vec<Effect>,
    ) -> Result<(), CommandError> {
        if self.joins.running.len() >= JOINS_MAX {
            return Err(CommandError::TooMany {
                what: "joins",
                max: JOINS_MAX,
            });
        }
        if addresses.len() > ADDRESSES_MAX {
            return Err(CommandError::TooMany {
                what: "addresses of a join",
                max: ADDRESSES_MAX,
            });
        }
        let join = Join {
            request: Some(request),
            waiting: addresses,
            asked: 0,
            joined: 0,
            failed: Vec::new(),
            ignore_old_events,
            first_is_enough: false,
        };
        self.begin(now, join, out, effects);
        Ok(())
    }

    /// Tries the members of the snapshot, in random order, until one answers.
    pub(super) fn rejoin(&mut self, now: Duration, out: &mut Out) {
        let mut waiting = std::mem::take(&mut self.joins.previous);
        if waiting.is_empty() {
            return;
        }
        self.swim.random().shuffle(&mut waiting);
        waiting.truncate(ADDRESSES_MAX);
        let join = Join {
            request: None,
            waiting,
            asked: 0,
            joined: 0,
            failed: Vec::new(),
            ignore_old_events: false,
            first_is_enough: true,
        };
        self.begin(now, join, out, &mut Vec::new());
    }

    fn begin(&mut self, now: Duration, mut join: Join, out: &mut Out, effects: &mut Vec<Effect>) {
        join.waiting.reverse();
        let number = self.joins.next;
        self.joins.next += 1;
        self.joins.running.insert(number, join);
        self.ask_more(now, number, out, effects);
    }

    fn ask_more(&mut self, now: Duration, number: u64, out: &mut Out, effects: &mut Vec<Effect>) {
        loop {
            let Some(join) = self.joins.running.get_mut(&number) else {
                return;
            };
            let enough = join.first_is_enough && join.joined > 0;
            if enough {
                join.waiting.clear();
            }
            if join.asked >= AT_ONE_TIME_MAX {
                return;
            }
            match join.waiting.pop() {
                Some(address) => {
                    join.asked += 1;
                    self.exchange(now, address, true, Some(number), out);
                }
                None if join.asked == 0 => break,
                None => return,
            }
        }
        if let Some(join) = self.joins.running.remove(&number) {
            if join.joined > 0 {
                self.announce_join(now, out);
            }
            effects.push(Effect::JoinDone {
                request: join.request,
                joined: join.joined,
                failed: join.failed,
            });
        }
    }

    pub(super) fn exchanged(
        &mut self,
        now: Duration,
        number: Option<u64>,
        with: SocketAddr,
        result: Result<(), ExchangeError>,
        out: &mut Out,
        effects: &mut Vec<Effect>,
    ) {
        let Some(number) = number else {
            return;
        };
        let Some(join) = self.joins.running.get_mut(&number) else {
            return;
        };
        join.asked -= 1;
        match result {
            Ok(()) => join.joined += 1,
            Err(error) => join.failed.push((with, error)),
        }
        self.ask_more(now, number, out, effects);
    }

    /// Says that we are here, later than everything that was said of us.
    pub(super) fn announce_join(&mut self, now: Duration, out: &mut Out) {
        let name = self.swim.name().clone();
        let ltime = self.clock.time();
        self.join_intent(now, ltime, &name);
        let intent = JoinIntent { ltime, node: &name };
        self.broadcast(now, QueueName::Intents, &intent.encode(), None, out);
    }

    // === state ===

    pub(super) fn local_state(&self) -> Bytes {
        use super::api::Status;
        let statuses = self.roster.iter();
        let left = self
            .roster
            .iter()
            .filter(|member| member.status == Status::Left);
        let state = SerfState {
            ltime: self.clock.time(),
            event_ltime: self.events.clock.time(),
            query_ltime: self.queries.clock.time(),
            statuses: statuses
                .map(|member| (&*member.name, member.status_ltime))
                .collect(),
            left: left.map(|member| &*member.name).collect(),
            events: self.events.iter().collect(),
        };
        state.encode()
    }

    pub(super) fn merge_state(
        &mut self,
        now: Duration,
        join: bool,
        bytes: &Bytes,
        out: &mut Out,
        effects: &mut Vec<Effect>,
    ) {
        let state = match SerfState::decode(bytes) {
            Ok(state) => state,
            Err(error) => return self.swim.counters_mut().count_error(&error),
        };
        self.swim.counters_mut().count_received(Kind::SerfState);
        // No message of the present time has been sent yet, so one less has been seen.
        self.clock.witness(state.ltime.saturating_sub(1));
        self.events
            .clock
            .witness(state.event_ltime.saturating_sub(1));
        self.queries
            .clock
            .witness(state.query_ltime.saturating_sub(1));

        let statuses: BTreeMap<&str, u64> = state.statuses.iter().copied().collect();
        // Those who left first. When they said so is not known: after the last that is known of them.
        for node in &state.left {
            let ltime = statuses.get(node).copied().unwrap_or(0).saturating_add(1);
            let intent = LeaveIntent {
                ltime,
                node,
                prune: false,
            };
            self.leave_intent(now, &intent, out, effects);
        }
        let left: BTreeSet<&str> = state.left.iter().copied().collect();
        for (node, ltime) in &statuses {
            if !left.contains(node) {
                self.join_intent(now, *ltime, node);
            }
        }
        let ignores = |join: &Join| join.ignore_old_events;
        if join && self.joins.running.values().any(ignores) {
            self.events.not_before = self.events.not_before.max(state.event_ltime);
        }
        for (ltime, name, payload) in state.events {
            let event = UserEvent {
                ltime,
                name,
                payload,
                coalesce: false,
            };
            self.user_event(now, &event, out, effects);
        }
    }
}
