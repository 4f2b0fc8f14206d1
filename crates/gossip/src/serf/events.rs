//! User events: something said to all members, once. Those of recent Lamport times are kept, to know them again and to pass
//! them on in push/pulls.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::api::{CommandError, Effect, UserEvent};
use super::clock::Clock;
use super::{Out, Pool, QueueName};
use crate::count::DropReason;
use crate::step::TimerKind;
use crate::wire::serf;

/// Different events of one Lamport time. Members that fire at the same moment share a time; hundreds do not.
const EVENTS_AT_ONE_TIME_MAX: usize = 256;
/// Events held back to be coalesced; beyond it they are reported at once.
const COALESCED_MAX: usize = 1024;

/// Recent events.
#[derive(Debug, Clone)]
pub(super) struct Events {
    pub(super) clock: Clock,
    /// Older ones are not reported: they were before we started, or before we joined and did not want to know.
    pub(super) not_before: u64,
    /// Times that are kept.
    window: u64,
    recent: BTreeMap<u64, Vec<(String, Bytes)>>,
    held: BTreeMap<String, Held>,
    held_round: u64,
    held_since: Duration,
}

#[derive(Debug, Clone)]
struct Held {
    ltime: u64,
    events: Vec<UserEvent>,
}

impl Events {
    pub(super) fn new(window: usize, last: u64) -> Self {
        Self {
            clock: Clock::after(last),
            not_before: last + 1,
            window: window as u64,
            recent: BTreeMap::new(),
            held: BTreeMap::new(),
            held_round: 0,
            held_since: Duration::ZERO,
        }
    }

    /// Notes an event; false if it is known or too old.
    fn note(&mut self, event: &serf::UserEvent<'_>) -> Result<(), Option<DropReason>> {
        self.clock.witness(event.ltime);
        if event.ltime < self.not_before {
            return Err(None);
        }
        let oldest = self.clock.time().saturating_sub(self.window);
        if event.ltime < oldest || event.ltime > self.clock.time() {
            return Err(Some(DropReason::Old));
        }
        self.recent = self.recent.split_off(&oldest);
        let known = self.recent.entry(event.ltime).or_default();
        if known
            .iter()
            .any(|(name, payload)| name == event.name && payload == event.payload)
        {
            return Err(None);
        }
        if known.len() >= EVENTS_AT_ONE_TIME_MAX {
            return Err(Some(DropReason::Full));
        }
        known.push((event.name.to_owned(), Bytes::copy_from_slice(event.payload)));
        Ok(())
    }

    /// All that is kept: time, name, payload.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &str, &[u8])> {
        self.recent.iter().flat_map(|(ltime, events)| {
            events
                .iter()
                .map(|(name, payload)| (*ltime, &name[..], &payload[..]))
        })
    }

    /// Keeps the newest of each name; false if there is no room.
    fn hold(&mut self, event: UserEvent) -> Result<(), UserEvent> {
        if self.held.len() >= COALESCED_MAX {
            return Err(event);
        }
        let held = self.held.entry(event.name.clone()).or_insert(Held {
            ltime: event.ltime,
            events: Vec::new(),
        });
        if held.ltime < event.ltime {
            held.ltime = event.ltime;
            held.events.clear();
        }
        if held.ltime == event.ltime {
            held.events.push(event);
        }
        Ok(())
    }
}

impl Pool {
    /// Tells all members something.
    pub(super) fn fire_event(
        &mut self,
        now: Duration,
        name: &str,
        payload: &[u8],
        coalesce: bool,
        out: &mut Out,
        effects: &mut Vec<Effect>,
    ) -> Result<(), CommandError> {
        let event = serf::UserEvent {
            ltime: self.events.clock.time(),
            name,
            payload,
            coalesce,
        };
        let message = event.encode();
        let max = self.config.user_event_bytes_max;
        if message.len() > max {
            return Err(CommandError::TooLarge {
                what: "user event",
                bytes: message.len(),
                max,
            });
        }
        self.events.clock.tick();
        self.user_event(now, &event, out, effects);
        self.broadcast(now, QueueName::Events, &message, None, out);
        Ok(())
    }

    /// An event came. True if it is news.
    pub(super) fn user_event(
        &mut self,
        now: Duration,
        event: &serf::UserEvent<'_>,
        out: &mut Out,
        effects: &mut Vec<Effect>,
    ) -> bool {
        match self.events.note(event) {
            Ok(()) => {}
            Err(None) => return false,
            Err(Some(reason)) => {
                self.swim.counters_mut().count_dropped(reason);
                return false;
            }
        }
        let event = UserEvent {
            ltime: event.ltime,
            name: event.name.to_owned(),
            payload: Bytes::copy_from_slice(event.payload),
            coalesce: event.coalesce,
        };
        let period = self.config.user_coalesce_period;
        if !event.coalesce || period.is_zero() {
            effects.push(Effect::UserEvent(event));
            return true;
        }
        if self.events.held.is_empty() {
            self.events.held_since = now;
        }
        match self.events.hold(event) {
            Ok(()) => {
                self.events.held_round += 1;
                let round = self.events.held_round;
                let quiet = now + self.config.user_quiescent_period;
                let at = quiet.min(self.events.held_since + period);
                out.timer(at, TimerKind::Coalesce { round });
            }
            Err(event) => effects.push(Effect::UserEvent(event)),
        }
        true
    }

    /// It has been quiet, or long enough.
    pub(super) fn flush_events(&mut self, round: u64, effects: &mut Vec<Effect>) {
        if round != self.events.held_round {
            return;
        }
        let held = std::mem::take(&mut self.events.held);
        let events = held.into_values().flat_map(|held| held.events);
        effects.extend(events.map(Effect::UserEvent));
    }
}
