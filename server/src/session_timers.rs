//! When sessions run out of time: the leader's timers, pure.
//!
//! A session ends no earlier than its TTL and no later than twice its TTL after its last acknowledged renewal. The timers
//! live in the leader's memory only; a new leader starts every TTL afresh ([`SessionTimers::restart`]), which is late by
//! an election at most: the slack below leaves the rest of the second TTL for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::rt::Instant;

/// Time beyond the TTL before the leader ends a session: a quarter of the TTL, at most this. It covers the way of the
/// acknowledgement to the client; the rest of the second TTL is left for an election.
const SLACK_MAX: Duration = Duration::from_secs(5);

/// The timers of one term.
#[derive(Debug, Default)]
pub struct SessionTimers {
    sessions: BTreeMap<Arc<str>, Timer>,
    order: BTreeSet<(Instant, Arc<str>)>,
}

#[derive(Debug, Clone, Copy)]
struct Timer {
    ttl: Duration,
    deadline: Instant,
    /// Its end has been proposed: from here on a renewal is refused, since the end may be applied any moment.
    ending: bool,
}

/// What a renewal found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// The session lives for another TTL.
    Renewed,
    /// Its end is under way.
    Ending,
}

impl SessionTimers {
    /// Forgets everything and starts the TTL of each session afresh.
    pub fn restart(
        &mut self,
        sessions: impl IntoIterator<Item = (Arc<str>, Duration)>,
        now: Instant,
    ) {
        self.sessions.clear();
        self.order.clear();
        for (id, ttl) in sessions {
            self.renew(id, ttl, now);
        }
    }

    /// Starts or starts again the TTL of a session that exists in state.
    pub fn renew(&mut self, id: Arc<str>, ttl: Duration, now: Instant) -> Renewal {
        if let Some(timer) = self.sessions.get(&id) {
            if timer.ending {
                return Renewal::Ending;
            }
            self.order.remove(&(timer.deadline, id.clone()));
        }
        let deadline = now + ttl + (ttl / 4).min(SLACK_MAX);
        self.order.insert((deadline, id.clone()));
        self.sessions.insert(
            id,
            Timer {
                ttl,
                deadline,
                ending: false,
            },
        );
        Renewal::Renewed
    }

    /// Forgets a session that has ended.
    pub fn forget(&mut self, id: &str) {
        if let Some((id, timer)) = self.sessions.remove_entry(id) {
            self.order.remove(&(timer.deadline, id));
        }
    }

    /// When the next session runs out.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.order.first().map(|(deadline, _)| *deadline)
    }

    /// Takes sessions that have run out, at most `limit`, and marks them as ending.
    pub fn take_expired(&mut self, now: Instant, limit: usize) -> Vec<Arc<str>> {
        let mut expired = Vec::new();
        while expired.len() < limit
            && let Some((deadline, _)) = self.order.first()
            && *deadline <= now
        {
            let (_, id) = self.order.pop_first().expect("the first must be there");
            if let Some(timer) = self.sessions.get_mut(&id) {
                timer.ending = true;
            }
            expired.push(id);
        }
        expired
    }

    /// The end of a session could not be proposed: it is tried again at `now`.
    pub fn put_back(&mut self, id: Arc<str>, now: Instant) {
        if let Some(timer) = self.sessions.get_mut(&id) {
            timer.deadline = now;
            self.order.insert((now, id));
        }
    }

    /// How many sessions have a timer.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// The TTL a session was started with.
    pub fn ttl(&self, id: &str) -> Option<Duration> {
        self.sessions.get(id).map(|timer| timer.ttl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    #[test]
    fn a_session_ends_between_one_and_two_ttls_after_its_last_renewal() {
        let start = Instant::now();
        let mut timers = SessionTimers::default();
        timers.renew("a".into(), TTL, start);
        let renewed = start + Duration::from_secs(8);
        assert_eq!(timers.renew("a".into(), TTL, renewed), Renewal::Renewed);
        assert!(timers.take_expired(renewed + TTL, 10).is_empty());
        let deadline = timers.next_deadline().unwrap();
        assert!(deadline > renewed + TTL && deadline < renewed + 2 * TTL);
        assert_eq!(timers.take_expired(deadline, 10), vec![Arc::from("a")]);
    }

    #[test]
    fn a_renewal_is_refused_once_the_end_was_proposed_and_the_end_is_retried() {
        let start = Instant::now();
        let mut timers = SessionTimers::default();
        timers.renew("a".into(), TTL, start);
        let late = start + 2 * TTL;
        assert_eq!(timers.take_expired(late, 10).len(), 1);
        assert_eq!(timers.renew("a".into(), TTL, late), Renewal::Ending);
        timers.put_back("a".into(), late);
        assert_eq!(timers.take_expired(late, 10), vec![Arc::from("a")]);
        timers.forget("a");
        assert!(timers.is_empty());
        assert_eq!(timers.renew("a".into(), TTL, late), Renewal::Renewed);
    }

    #[test]
    fn a_new_leader_starts_every_ttl_afresh() {
        let start = Instant::now();
        let mut timers = SessionTimers::default();
        timers.renew("old".into(), TTL, start);
        let later = start + Duration::from_secs(9);
        timers.restart([(Arc::from("a"), TTL), (Arc::from("b"), 2 * TTL)], later);
        assert_eq!(timers.len(), 2);
        assert!(timers.take_expired(start + TTL + SLACK_MAX, 10).is_empty());
    }
}
