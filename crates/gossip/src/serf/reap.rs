//! What becomes of those that are gone: tried again now and then, forgotten in the end, or at once when somebody asks for it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::api::{Effect, MemberChange, Status};
use super::roster::tell;
use super::{Name, Out, Pool};
use crate::step::TimerKind;

/// Members that were leaving when they were to be pruned, and wait for it.
#[derive(Debug, Default)]
pub(super) struct Prunes {
    next: u64,
    waiting: BTreeMap<u64, Name>,
}

impl Pool {
    /// Forgets members and intents that are due.
    pub(super) fn reap(&mut self, now: Duration, out: &mut Out, effects: &mut Vec<Effect>) {
        out.timer(now + self.config.reap_interval, TimerKind::Reap);
        let due: Vec<Name> = self
            .roster
            .iter()
            .filter(|member| {
                let gone_for = now.saturating_sub(member.gone_since);
                match member.status {
                    Status::Failed => gone_for > self.config.reconnect_timeout,
                    Status::Left => gone_for > self.config.tombstone_timeout,
                    Status::Alive | Status::Leaving => false,
                }
            })
            .map(|member| member.name.clone())
            .collect();
        for name in due {
            self.forget(&name, effects);
        }
        let heard_before = now.saturating_sub(self.config.recent_intent_timeout);
        self.roster.forget_intents(heard_before);
    }

    fn forget(&mut self, name: &str, effects: &mut Vec<Effect>) {
        // Ourselves we never forget, even after a leave.
        if *name == **self.swim.name() {
            return;
        }
        if let Some(member) = self.roster.remove(name) {
            tell(MemberChange::Reaped, member, effects);
        }
    }

    /// Forgets a member as soon as it is gone; one that is still leaving gets the time that a leave takes.
    pub(super) fn prune(
        &mut self,
        now: Duration,
        name: &str,
        out: &mut Out,
        effects: &mut Vec<Effect>,
    ) {
        let Some(member) = self.roster.get(name) else {
            return;
        };
        if member.status != Status::Leaving {
            return self.forget(name, effects);
        }
        let round = self.prunes.next;
        self.prunes.next += 1;
        self.prunes.waiting.insert(round, member.name.clone());
        let delay = self.config.broadcast_timeout + self.config.leave_propagate_delay;
        out.timer(now + delay, TimerKind::Prune { round });
    }

    pub(super) fn prune_due(&mut self, round: u64, effects: &mut Vec<Effect>) {
        if let Some(name) = self.prunes.waiting.remove(&round) {
            self.forget(&name, effects);
        }
    }

    /// Tries one failed member again. The more are alive, the less each has to do: together about one try for each failed
    /// member an interval.
    pub(super) fn reconnect(&mut self, now: Duration, out: &mut Out) {
        out.timer(now + self.config.reconnect_interval, TimerKind::Reconnect);
        let failed: Vec<_> = self
            .roster
            .iter()
            .filter(|member| member.status == Status::Failed)
            .map(|member| member.address)
            .collect();
        if failed.is_empty() {
            return;
        }
        let gone = |status| matches!(status, Status::Failed | Status::Left);
        let alive = self
            .roster
            .iter()
            .filter(|member| !gone(member.status))
            .count();
        #[expect(
            clippy::cast_precision_loss,
            reason = "pools have fewer than 2^52 members"
        )]
        let chance = failed.len() as f64 / alive.max(1) as f64;
        if self.swim.random().fraction() > chance {
            return;
        }
        let chosen = failed[self.swim.random().below(failed.len())];
        self.exchange(now, chosen, true, None, out);
    }
}
