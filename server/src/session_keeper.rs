//! Keeps sessions alive and ends them: the leader's half of TTLs.
//!
//! Renewals are not logged, but acknowledged only after a quorum confirmed the leader. Ends are proposed with the
//! leadership that decided them and are void in any other, because a later leader may have acknowledged a renewal since.
//!
//! Lock order: the timers' lock is taken before the state is looked at. The state machine publishes first and notes
//! then, so whoever holds the lock and still finds a session in state also still finds the mark that its end is under way.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rollcall_state::{Changes, Command, command::SessionExpire};
use tokio::sync::Notify;

use crate::consensus::Consensus;
use crate::raft::LeaderId;
use crate::rt::{self, Instant};
use crate::session_timers::{Renewal, SessionTimers};

/// Sessions ended by one command: bounds the command, and the pause its application makes.
const EXPIRE_BATCH_MAX: usize = 1_000;
/// Pause before an end that could not be proposed is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The leader's timers; asleep elsewhere.
#[derive(Debug, Default)]
pub struct SessionKeeper {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// The leadership the timers belong to.
    leadership: Option<LeaderId>,
    timers: SessionTimers,
    /// Sessions that were created or ended since the task last looked.
    noted: Vec<Arc<str>>,
    /// A restore put other sessions in the place of all.
    everything: bool,
}

/// How a renewal ended at the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// It lives for another TTL.
    Yes,
    /// There is no such session.
    Gone,
    /// Its end is proposed and not yet applied. It may still come to nothing, so "gone" would be a lie: ask again.
    Ending,
    /// These timers are not of that leadership (yet, or any more). Nothing was renewed.
    NotKept,
}

impl SessionKeeper {
    /// Called by the state machine after a batch was published.
    pub fn note(&self, changes: &Changes) {
        if changes.sessions.is_empty() && !changes.everything {
            return;
        }
        let mut inner = self.inner.lock();
        if inner.leadership.is_none() {
            return;
        }
        inner.everything |= changes.everything;
        inner
            .noted
            .extend(changes.sessions.iter().map(|(id, _)| Arc::clone(id)));
        drop(inner);
        self.changed.notify_one();
    }

    /// Renews a session. The caller has had a quorum confirm `leadership` since the request arrived, and everything
    /// committed by then is applied here.
    pub fn renew(&self, consensus: &Consensus, leadership: &LeaderId, id: &str) -> Renewed {
        let mut inner = self.inner.lock();
        if inner.leadership.as_ref() != Some(leadership) {
            return Renewed::NotKept;
        }
        let state = consensus.published.state();
        let Some(session) = state.session(id).value else {
            return Renewed::Gone;
        };
        if session.ttl_ms == 0 {
            return Renewed::Yes;
        }
        let ttl = Duration::from_millis(session.ttl_ms);
        match inner
            .timers
            .renew(Arc::clone(&session.id), ttl, Instant::now())
        {
            Renewal::Renewed => Renewed::Yes,
            Renewal::Ending => Renewed::Ending,
        }
    }

    /// Keeps the sessions for as long as the future is polled: one leadership, whose first entry is applied here.
    pub async fn keep(&self, consensus: &Consensus, leadership: LeaderId) {
        self.start(consensus, leadership);
        loop {
            self.take_notes(consensus);
            let (expired, next) = {
                let mut inner = self.inner.lock();
                let expired = inner.timers.take_expired(Instant::now(), EXPIRE_BATCH_MAX);
                (expired, inner.timers.next_deadline())
            };
            if !expired.is_empty() {
                self.end(consensus, leadership, expired).await;
                continue;
            }
            match next {
                Some(deadline) => {
                    tokio::select! {
                        biased;
                        () = self.changed.notified() => {}
                        () = rt::sleep_until(deadline) => {}
                    }
                }
                None => self.changed.notified().await,
            }
        }
    }

    /// Lets the timers go: this server does not lead any more.
    pub fn stop(&self) {
        *self.inner.lock() = Inner::default();
    }

    fn start(&self, consensus: &Consensus, leadership: LeaderId) {
        let mut inner = self.inner.lock();
        *inner = Inner {
            leadership: Some(leadership),
            everything: true,
            ..Inner::default()
        };
        drop(inner);
        self.take_notes(consensus);
    }

    fn take_notes(&self, consensus: &Consensus) {
        let mut inner = self.inner.lock();
        let state = consensus.published.state();
        let now = Instant::now();
        if std::mem::take(&mut inner.everything) {
            let sessions = state.sessions().value;
            let with_ttl = sessions.iter().filter(|session| session.ttl_ms > 0);
            let timers = with_ttl.map(|session| {
                (
                    Arc::clone(&session.id),
                    Duration::from_millis(session.ttl_ms),
                )
            });
            inner.timers.restart(timers, now);
            inner.noted.clear();
            return;
        }
        for id in std::mem::take(&mut inner.noted) {
            match state.session(&id).value {
                Some(session) if session.ttl_ms > 0 => {
                    if inner.timers.ttl(&id).is_none() {
                        inner
                            .timers
                            .renew(id, Duration::from_millis(session.ttl_ms), now);
                    }
                }
                Some(_) => {}
                None => inner.timers.forget(&id),
            }
        }
    }

    async fn end(&self, consensus: &Consensus, leadership: LeaderId, expired: Vec<Arc<str>>) {
        let ids = expired.iter().map(|id| id.to_string()).collect();
        tracing::info!(sessions = expired.len(), "sessions ran out of time");
        let command = Command::SessionExpire(SessionExpire {
            ids,
            term: leadership.term,
            leader: leadership.node_id.0.as_u128(),
        });
        if let Err(error) = consensus.write_as_leader(&command).await {
            tracing::warn!(%error, "sessions that ran out of time could not be ended; trying again");
            rt::sleep(RETRY_PAUSE).await;
            let now = Instant::now();
            let mut inner = self.inner.lock();
            for id in expired {
                inner.timers.put_back(id, now);
            }
        }
    }
}
