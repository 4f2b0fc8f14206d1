//! Leaving in order: say that we mean to go, then that we are gone, then stay a moment to answer those who have not heard.

use std::time::Duration;

use super::api::{CommandError, Effect};
use super::{Out, Pool, QueueName, Ticket};
use crate::step::TimerKind;
use crate::wire::serf::LeaveIntent;

/// How far our own leave has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaving {
    No,
    /// The intent is being sent.
    Intent(Ticket),
    /// The word that we are gone is being sent.
    Word(Ticket),
    /// Everybody has a moment more to hear it.
    Lingering,
    Done,
}

const STAGE_INTENT: u8 = 1;
const STAGE_WORD: u8 = 2;
const STAGE_LINGER: u8 = 3;

impl Pool {
    pub(super) fn leave(&mut self, now: Duration, out: &mut Out, effects: &mut Vec<Effect>) {
        let ticket = self.ticket();
        self.leaving = Leaving::Intent(ticket);
        let name = self.swim.name().clone();
        let intent = LeaveIntent {
            ltime: self.clock.tick(),
            node: &name,
            prune: false,
        };
        self.leave_intent(now, &intent, out, effects);
        if !self.swim.has_company() {
            return self.say_gone(now, out);
        }
        self.broadcast(now, QueueName::Intents, &intent.encode(), Some(ticket), out);
        let stage = STAGE_INTENT;
        out.timer(
            now + self.config.broadcast_timeout,
            TimerKind::Leave { stage },
        );
    }

    fn say_gone(&mut self, now: Duration, out: &mut Out) {
        let ticket = self.ticket();
        self.leaving = Leaving::Word(ticket);
        let has_company = self.swim.has_company();
        self.swim.leave(now, ticket, out);
        if !has_company {
            return self.linger(now, Duration::ZERO, out);
        }
        let stage = STAGE_WORD;
        out.timer(
            now + self.config.broadcast_timeout,
            TimerKind::Leave { stage },
        );
    }

    fn linger(&mut self, now: Duration, time: Duration, out: &mut Out) {
        self.leaving = Leaving::Lingering;
        let stage = STAGE_LINGER;
        out.timer(now + time, TimerKind::Leave { stage });
    }

    pub(super) fn broadcasted(&mut self, now: Duration, done: Ticket, out: &mut Out) {
        match self.leaving {
            Leaving::Intent(ticket) if ticket == done => self.say_gone(now, out),
            Leaving::Word(ticket) if ticket == done => {
                self.linger(now, self.config.leave_propagate_delay, out);
            }
            _ => {}
        }
    }

    /// A stage took its longest time, or the last is over.
    pub(super) fn leave_stage(
        &mut self,
        now: Duration,
        stage: u8,
        out: &mut Out,
        effects: &mut Vec<Effect>,
    ) {
        match (self.leaving, stage) {
            (Leaving::Intent(_), STAGE_INTENT) => self.say_gone(now, out),
            (Leaving::Word(_), STAGE_WORD) => {
                self.linger(now, self.config.leave_propagate_delay, out);
            }
            (Leaving::Lingering, STAGE_LINGER) => {
                self.leaving = Leaving::Done;
                effects.push(Effect::Left);
            }
            _ => {}
        }
    }

    /// Makes a failed member one that left.
    pub(super) fn force_leave(
        &mut self,
        now: Duration,
        name: &str,
        prune: bool,
        out: &mut Out,
        effects: &mut Vec<Effect>,
    ) -> Result<(), CommandError> {
        if self.roster.get(name).is_none() {
            return Err(CommandError::UnknownMember {
                name: name.to_owned(),
            });
        }
        let intent = LeaveIntent {
            ltime: self.clock.tick(),
            node: name,
            prune,
        };
        self.leave_intent(now, &intent, out, effects);
        self.broadcast(now, QueueName::Intents, &intent.encode(), None, out);
        Ok(())
    }
}
