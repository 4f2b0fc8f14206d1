//! Writes and reads over Raft: what the door does behind its back.
//!
//! ```text
//!  propose ── leader here? ── yes ─ stamp ─ openraft ─ applied ─ answer
//!                 └─ no ── Forward to the leader ─┘        (ambiguity is said, never retried)
//!  read ── Rounds (one read-index round for all that wait) ── wait until applied here ── snapshot
//! ```
//! A write that is surely not proposed (the one asked does not lead, nothing was sent) waits for a leader up to
//! [`HOLD`] (`hold`); one that may have been is answered "outcome unknown".

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::ReadPolicy;
use rollcall_metrics::{Counter, Histogram};
use rollcall_state::{Command, Proposal, Stamp};

use crate::clock::ClusterClock;
use crate::cluster::messages::{Forwarded, Method, ReadIndexReply};
use crate::door::{Committed, ProposeError, ReadError};
use crate::raft::{LogData, Published, RaftHandle, ServerId};
use crate::rounds::{self, RoundError, Rounds};
use crate::rpc;
use crate::rt::{self, Instant};
use crate::sabotage::Sabotage;
use crate::session_keeper::SessionKeeper;
use crate::watch::Watchers;

mod door;
mod hold;

pub use self::hold::HOLD;
use self::hold::{Asked, Attempt};

/// How long a proposed write is waited for before its outcome is called unknown.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one read-index round may take, on the leader or on the way to it.
const ROUND_TIMEOUT: Duration = Duration::from_secs(2);

/// Raft with what stands around it.
pub struct Consensus {
    pub(crate) raft: RaftHandle,
    pub(crate) id: ServerId,
    pub(crate) rpc: Arc<rpc::Client>,
    pub(crate) published: Arc<Published>,
    pub(crate) watchers: Arc<Watchers>,
    pub(crate) clock: ClusterClock,
    pub(crate) sessions: Arc<SessionKeeper>,
    sabotage: Sabotage,
    pub(crate) members: Arc<crate::cluster::Members>,
    rounds: Rounds,
    /// How long writes took here, on the leader.
    pub(crate) commit_duration: Arc<Histogram>,
    /// Times the leader changed, as seen here.
    pub(crate) leader_changes: Arc<Counter>,
    pending_writes: AtomicUsize,
    pending_writes_max: usize,
    pub(crate) caught_up: AtomicBool,
}

/// What the consensus is made of beside Raft.
pub struct Parts {
    /// Calls other servers.
    pub rpc: Arc<rpc::Client>,
    /// Parked queries; the state machine wakes them.
    pub watchers: Arc<Watchers>,
    /// Sessions' timers; the state machine tells them what changed.
    pub sessions: Arc<SessionKeeper>,
    /// Writes that may wait for Raft at once.
    pub pending_writes_max: usize,
    /// Promises broken on purpose (simulation only).
    pub sabotage: Sabotage,
}

/// Counts a write while it waits.
struct Pending<'a>(&'a AtomicUsize);

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a forwarded write's end is to the one who wrote.
fn decided(forwarded: Forwarded) -> Attempt<Committed, ProposeError> {
    ControlFlow::Break(match forwarded {
        Forwarded::Applied { index, reply } => Ok(Committed { index, reply }),
        Forwarded::NotLeader => return ControlFlow::Continue(()),
        Forwarded::Busy(limit) => Err(ProposeError::Busy(limit)),
        Forwarded::Refused(why) => Err(ProposeError::Refused(why)),
        Forwarded::Unknown(why) => Err(ProposeError::Unknown(why)),
    })
}

impl std::fmt::Debug for Consensus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consensus")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Consensus {
    /// Puts the parts together and starts the task that shares read rounds.
    pub fn new(raft: RaftHandle, members: Arc<crate::cluster::Members>, parts: Parts) -> Arc<Self> {
        Arc::new_cyclic(|consensus: &std::sync::Weak<Self>| {
            let weak = consensus.clone();
            let rounds = Rounds::start(move || {
                let consensus = weak.upgrade();
                async move {
                    match consensus {
                        Some(consensus) => consensus.round().await,
                        None => Err(RoundError::NoLeader),
                    }
                }
            });
            Consensus {
                id: raft.id,
                published: Arc::clone(&raft.published),
                clock: ClusterClock::new(raft.published.state().stamp()),
                rpc: parts.rpc,
                watchers: parts.watchers,
                sessions: parts.sessions,
                sabotage: parts.sabotage,
                raft,
                members,
                rounds,
                commit_duration: Arc::default(),
                leader_changes: Arc::default(),
                pending_writes: AtomicUsize::new(0),
                pending_writes_max: parts.pending_writes_max,
                caught_up: AtomicBool::new(false),
            }
        })
    }

    /// The leader this server knows of.
    pub fn leader(&self) -> Option<ServerId> {
        self.raft.leader()
    }

    /// Whether this server thinks it leads.
    pub fn leads(&self) -> bool {
        self.leader() == Some(self.id)
    }

    /// Writes that wait for Raft here.
    pub fn pending_writes(&self) -> usize {
        self.pending_writes.load(Ordering::Relaxed)
    }

    // === writes ===

    /// Proposes a command here or at the leader.
    pub async fn write(&self, command: &Command) -> Result<Committed, ProposeError> {
        let encoded = command.encode();
        self.hold(|leader| {
            let encoded = encoded.clone();
            async move {
                if leader == self.id {
                    return decided(self.write_locally(&encoded).await);
                }
                let patience = WRITE_TIMEOUT + ROUND_TIMEOUT;
                match self.ask(leader, Method::Forward, encoded, patience).await {
                    Asked::Answered(forwarded) => decided(forwarded),
                    Asked::NotDone => ControlFlow::Continue(()),
                    Asked::Unknown(why) => ControlFlow::Break(Err(ProposeError::Unknown(why))),
                }
            }
        })
        .await
    }

    /// Proposes only while this server leads: for the leader's own duties.
    pub async fn write_as_leader(&self, command: &Command) -> Result<Committed, ProposeError> {
        match decided(self.write_locally(&command.encode()).await) {
            ControlFlow::Break(result) => result,
            ControlFlow::Continue(()) => Err(ProposeError::NoLeader),
        }
    }

    /// Cluster time, for what this server writes as leader.
    pub(crate) fn cluster_time(&self) -> Stamp {
        // The leadership first: what was applied after it was read can only put the time forward.
        let leadership = self.raft.leadership();
        self.clock.now(self.published.state().stamp(), leadership)
    }

    /// Proposes an encoded command at this server, without forwarding.
    pub async fn write_locally(&self, encoded: &Bytes) -> Forwarded {
        let waiting = self.pending_writes.fetch_add(1, Ordering::Relaxed);
        let _pending = Pending(&self.pending_writes);
        if waiting >= self.pending_writes_max {
            return Forwarded::Busy(self.pending_writes_max);
        }
        let at = self.cluster_time();
        let data =
            Proposal::stamp_encoded(at, encoded).expect("the command must have been checked");
        let began = rt::Instant::now();
        let written = self.raft.raft.client_write(LogData(data));
        let Some(result) = rt::timeout(WRITE_TIMEOUT, written).await else {
            let seconds = WRITE_TIMEOUT.as_secs();
            return Forwarded::Unknown(format!("not applied within {seconds} s"));
        };
        match result {
            Ok(response) => {
                self.commit_duration.observe(began.elapsed());
                Forwarded::Applied {
                    index: response.data.index,
                    reply: response.data.reply,
                }
            }
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => Forwarded::NotLeader,
            Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_))) => Forwarded::Unknown(
                "this server stopped leading before the write was applied".into(),
            ),
            Err(RaftError::APIError(other)) => Forwarded::Unknown(other.to_string()),
            Err(RaftError::Fatal(fatal)) => {
                let reason = self.raft.fatal.reason();
                Forwarded::Unknown(reason.unwrap_or_else(|| fatal.to_string()))
            }
        }
    }

    // === reads ===

    /// Returns once what is applied here is as fresh as a linearizable read needs.
    pub async fn barrier(&self) -> Result<(), ReadError> {
        let deadline = Instant::now() + HOLD;
        self.hold(|_leader| async move {
            let index = match self.rounds.index().await {
                Ok(index) => index,
                Err(RoundError::Busy) => {
                    return ControlFlow::Break(Err(ReadError::Busy(rounds::WAITING_MAX)));
                }
                Err(RoundError::NoLeader) => return ControlFlow::Continue(()),
            };
            let left = deadline.saturating_duration_since(Instant::now());
            let applied = self.published.wait_applied(index);
            let reached = rt::timeout(left.max(ROUND_TIMEOUT), applied).await;
            ControlFlow::Break(reached.ok_or(ReadError::NoLeader))
        })
        .await
    }

    /// One round for all that wait: the log index that a confirmed leader had committed. It does not outlast the leader it
    /// asked: when that one is dead or deposed its successor answers long before a time-out.
    async fn round(&self) -> Result<u64, RoundError> {
        tokio::select! {
            biased;
            result = self.round_at(self.leader()) => result,
            () = self.raft.wait_leader_changed() => Err(RoundError::NoLeader),
        }
    }

    async fn round_at(&self, leader: Option<ServerId>) -> Result<u64, RoundError> {
        match leader {
            Some(leader) if leader == self.id => self.round_here().await,
            Some(leader) => {
                let asked = self.ask(leader, Method::ReadIndex, Bytes::new(), ROUND_TIMEOUT);
                match asked.await {
                    Asked::Answered(ReadIndexReply::Index(index)) => Ok(index),
                    Asked::Answered(ReadIndexReply::NotLeader)
                    | Asked::NotDone
                    | Asked::Unknown(_) => Err(RoundError::NoLeader),
                }
            }
            None => Err(RoundError::NoLeader),
        }
    }

    /// A round at this server, which must lead.
    async fn round_here(&self) -> Result<u64, RoundError> {
        if self.sabotage.lets_deposed_leader_answer() {
            return Ok(self.published.applied());
        }
        let round = self.raft.raft.get_read_linearizer(ReadPolicy::ReadIndex);
        match rt::timeout(ROUND_TIMEOUT, round).await {
            Some(Ok(linearizer)) => Ok(linearizer.read_log_id().index()),
            Some(Err(_)) | None => Err(RoundError::NoLeader),
        }
    }

    /// Answers a follower's round: shared with all others that wait here.
    pub async fn read_index_for_follower(&self) -> ReadIndexReply {
        if !self.leads() {
            return ReadIndexReply::NotLeader;
        }
        match self.rounds.index().await {
            Ok(index) if self.leads() => ReadIndexReply::Index(index),
            Ok(_) | Err(_) => ReadIndexReply::NotLeader,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_write_that_surely_was_not_proposed_is_tried_again() {
        let words = || "words".to_owned();
        let again = decided(Forwarded::NotLeader);
        assert_eq!(again, ControlFlow::Continue(()));
        for (forwarded, error) in [
            (Forwarded::Busy(7), ProposeError::Busy(7)),
            (Forwarded::Refused(words()), ProposeError::Refused(words())),
            (Forwarded::Unknown(words()), ProposeError::Unknown(words())),
        ] {
            assert_eq!(decided(forwarded), ControlFlow::Break(Err(error)));
        }
    }
}
