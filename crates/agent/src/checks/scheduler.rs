//! Which check runs next, and what its result means: the core of the runners.
//!
//! Pure: time is an argument, what is to be done comes back as values ([`Start`], [`CheckResult`]). One heap holds every check's next
//! run, so ten thousand checks cost ten thousand small entries and no task. A check never runs twice at once. When too many run, those
//! that are due wait in the order in which they became due; how late each started is told, never hidden.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use super::output::Outcome;
use super::phase::{Time, next_run, phase};
use super::streak::Streak;
use crate::definition::{CheckResult, Every, Status, Thresholds};

/// What bounds how many run at once: a connection that waits costs little, a program much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// HTTP, TCP and gRPC.
    Network,
    /// Scripts.
    Process,
}

/// How many runs there may be at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Of class network; at least 1.
    pub network: usize,
    /// Of class process; at least 1.
    pub process: usize,
}

/// Tells one registration of a check from the next under the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Token(u64);

/// A check to be run now.
#[derive(Debug)]
pub(super) struct Start<P> {
    /// To be handed back with the result.
    pub(super) token: Token,
    /// What to do.
    pub(super) probe: Arc<P>,
    /// How long after its time it starts.
    pub(super) late: Duration,
}

/// What a check needs to be scheduled.
#[derive(Debug)]
pub(super) struct Plan<P> {
    /// What to do.
    pub(super) probe: Arc<P>,
    /// What it counts against.
    pub(super) class: Class,
    /// When.
    pub(super) every: Every,
    /// How many results in a row change the status.
    pub(super) thresholds: Thresholds,
}

#[derive(Debug)]
struct Slot<P> {
    id: String,
    plan: Plan<P>,
    phase: Duration,
    streak: Streak,
    /// The run that is planned, waits, or goes on.
    due: Time,
    /// What was told last: status and hash of the output.
    told: Option<(Status, u64)>,
}

#[derive(Debug, Default)]
struct Lane {
    running: usize,
    waiting: VecDeque<Token>,
}

/// All checks that are run, by time.
#[derive(Debug)]
pub(super) struct Scheduler<P> {
    bounds: Bounds,
    tokens: BTreeMap<String, Token>,
    slots: BTreeMap<Token, Slot<P>>,
    /// May hold entries of checks that are gone: they are skipped when their time comes.
    due: BinaryHeap<Reverse<(Time, Token)>>,
    network: Lane,
    process: Lane,
    next_token: u64,
}

impl<P> Scheduler<P> {
    /// No checks yet.
    pub(super) fn new(bounds: Bounds) -> Self {
        Scheduler {
            bounds,
            tokens: BTreeMap::new(),
            slots: BTreeMap::new(),
            due: BinaryHeap::new(),
            network: Lane::default(),
            process: Lane::default(),
            next_token: 0,
        }
    }

    /// Runs a check from now on, in the place of one with the same id, whose results count no more.
    pub(super) fn set(&mut self, now: Time, id: &str, plan: Plan<P>) {
        self.remove(id);
        let token = Token(self.next_token);
        self.next_token += 1;
        let phase = phase(id, plan.every.interval);
        let due = next_run(phase, plan.every.interval, now);
        self.due.push(Reverse((due, token)));
        self.tokens.insert(id.to_owned(), token);
        let slot = Slot {
            id: id.to_owned(),
            plan,
            phase,
            streak: Streak::new(),
            due,
            told: None,
        };
        self.slots.insert(token, slot);
    }

    /// Runs a check no more. A run that goes on ends by itself and is not told.
    pub(super) fn remove(&mut self, id: &str) -> bool {
        let Some(token) = self.tokens.remove(id) else {
            return false;
        };
        self.slots.remove(&token);
        self.forget_the_gone();
        true
    }

    /// The checks that are to start now.
    pub(super) fn due(&mut self, now: Time) -> Vec<Start<P>> {
        while let Some(Reverse((at, token))) = self.due.peek().copied() {
            if at > now {
                break;
            }
            self.due.pop();
            let Some(slot) = self.slots.get(&token) else {
                continue;
            };
            self.lane(slot.plan.class).waiting.push_back(token);
        }
        let mut starts = Vec::new();
        self.start_waiting(Class::Network, now, &mut starts);
        self.start_waiting(Class::Process, now, &mut starts);
        starts
    }

    /// Judges the result of a run. What is to be told, if anything: not what was told already, not what thresholds hold back, nothing of
    /// a check that is gone. The run still counts as running until [`Self::finished`], so that results that nobody takes yet hold
    /// back new runs.
    pub(super) fn judge(&mut self, token: Token, outcome: Outcome) -> Option<CheckResult> {
        let slot = self.slots.get_mut(&token)?;
        let status = slot.streak.count(slot.plan.thresholds, outcome.status)?;
        let told = (status, hash(&outcome.output));
        if slot.told.replace(told) == Some(told) {
            return None;
        }
        Some(CheckResult {
            id: slot.id.clone(),
            status,
            output: outcome.output,
        })
    }

    /// A run of this class has ended, and its check waits for its next time.
    pub(super) fn finished(&mut self, now: Time, token: Token, class: Class) {
        let lane = self.lane(class);
        lane.running = lane.running.saturating_sub(1);
        let Some(slot) = self.slots.get_mut(&token) else {
            return;
        };
        slot.due = next_run(slot.phase, slot.plan.every.interval, now.max(slot.due));
        self.due.push(Reverse((slot.due, token)));
    }

    /// When [`Self::due`] has something to do next. A result may make it earlier: ask again after each.
    pub(super) fn next_wake(&self, now: Time) -> Option<Time> {
        let startable =
            |lane: &Lane, bound: usize| lane.running < bound && !lane.waiting.is_empty();
        if startable(&self.network, self.bounds.network)
            || startable(&self.process, self.bounds.process)
        {
            return Some(now);
        }
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// How many checks there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    fn start_waiting(&mut self, class: Class, now: Time, starts: &mut Vec<Start<P>>) {
        let bound = match class {
            Class::Network => self.bounds.network,
            Class::Process => self.bounds.process,
        };
        while self.lane(class).running < bound {
            let Some(token) = self.lane(class).waiting.pop_front() else {
                return;
            };
            let Some(slot) = self.slots.get(&token) else {
                continue;
            };
            starts.push(Start {
                token,
                probe: Arc::clone(&slot.plan.probe),
                late: now.saturating_sub(slot.due),
            });
            self.lane(class).running += 1;
        }
    }

    fn lane(&mut self, class: Class) -> &mut Lane {
        match class {
            Class::Network => &mut self.network,
            Class::Process => &mut self.process,
        }
    }

    /// Programs that register the same check again and again leave entries behind, far in the future where the interval is long:
    /// rebuilt once they are the greater part.
    fn forget_the_gone(&mut self) {
        if self.due.len() > 2 * self.slots.len() + 64 {
            self.due
                .retain(|Reverse((_, token))| self.slots.contains_key(token));
        }
    }
}

fn hash(output: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    output.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
