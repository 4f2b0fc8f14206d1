//! Writes and reads over Raft: what the door does behind its back.
//!
//! ```text
//!  propose ── leader here? ── yes ─ stamp ─ openraft ─ applied ─ answer
//!                 └─ no ── Forward to the leader ─┘        (ambiguity is said, never retried)
//!  read ── Rounds (one read-index round for all that wait) ── wait until applied here ── snapshot
//! ```
//! A write that is surely not proposed (the one asked does not lead, nothing was sent) waits for a leader up to
//! [`HOLD`]; one that may have been is answered "outcome unknown".

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::ReadPolicy;
use rollcall_metrics::{Counter, Histogram};
use rollcall_state::{Command, Proposal, Stamp};

use crate::clock::ClusterClock;
use crate::cluster::messages::{self, Forwarded, Method, ReadIndexReply};
use crate::door::{Committed, ProposeError, ReadError};
use crate::raft::{LogData, Published, RaftHandle, ServerId};
use crate::rounds::{self, RoundError, Rounds};
use crate::rpc::{self, CallError};
use crate::rt::{self, Instant};
use crate::sabotage::Sabotage;
use crate::session_keeper::SessionKeeper;
use crate::watch::Watchers;

mod door;

/// How long a request that surely changed nothing waits for a leader (Consul's `rpc_hold_timeout`).
pub const HOLD: Duration = Duration::from_secs(7);
/// How long a proposed write is waited for before its outcome is called unknown.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one read-index round may take, on the leader or on the way to it.
const ROUND_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause before asking again whether there is a leader, where no event tells it.
const RETRY_PAUSE: Duration = Duration::from_millis(25);

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

/// How a write ended at the server it was proposed to.
enum Written {
    Applied(Committed),
    /// Surely not proposed.
    NotLeader,
    Failed(ProposeError),
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
        let deadline = Instant::now() + HOLD;
        loop {
            let written = match self.leader() {
                Some(leader) if leader == self.id => self.write_here(&encoded).await,
                Some(leader) => self.write_there(leader, encoded.clone()).await,
                None => Written::NotLeader,
            };
            match written {
                Written::Applied(committed) => return Ok(committed),
                Written::Failed(error) => return Err(error),
                Written::NotLeader => {}
            }
            if let Some(reason) = self.raft.fatal.reason() {
                return Err(ProposeError::Stopping(reason));
            }
            if Instant::now() >= deadline {
                return Err(ProposeError::NoLeader);
            }
            rt::sleep(RETRY_PAUSE).await;
        }
    }

    /// Proposes an encoded command at this server, without forwarding.
    pub async fn write_locally(&self, encoded: &Bytes) -> Forwarded {
        match self.write_here(encoded).await {
            Written::Applied(Committed { index, reply }) => Forwarded::Applied { index, reply },
            Written::NotLeader => Forwarded::NotLeader,
            Written::Failed(ProposeError::Busy(limit)) => Forwarded::Busy(limit),
            Written::Failed(ProposeError::NoLeader) => Forwarded::NotLeader,
            Written::Failed(error @ (ProposeError::Unknown(_) | ProposeError::Stopping(_))) => {
                Forwarded::Unknown(error.to_string())
            }
        }
    }

    /// Cluster time, for what this server writes as leader.
    pub(crate) fn cluster_time(&self) -> Stamp {
        // The leadership first: what was applied after it was read can only put the time forward.
        let leadership = self.raft.leadership();
        self.clock.now(self.published.state().stamp(), leadership)
    }

    async fn write_here(&self, encoded: &Bytes) -> Written {
        let waiting = self.pending_writes.fetch_add(1, Ordering::Relaxed);
        let _pending = Pending(&self.pending_writes);
        if waiting >= self.pending_writes_max {
            return Written::Failed(ProposeError::Busy(self.pending_writes_max));
        }
        let at = self.cluster_time();
        let data =
            Proposal::stamp_encoded(at, encoded).expect("the command must have been checked");
        let data = LogData(data);
        let began = rt::Instant::now();
        let Some(result) = rt::timeout(WRITE_TIMEOUT, self.raft.raft.client_write(data)).await
        else {
            let seconds = WRITE_TIMEOUT.as_secs();
            return Written::Failed(ProposeError::Unknown(format!(
                "not applied within {seconds} s"
            )));
        };
        match result {
            Ok(response) => {
                self.commit_duration.observe(began.elapsed());
                let applied = response.data;
                Written::Applied(Committed {
                    index: applied.index,
                    reply: applied.reply,
                })
            }
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => Written::NotLeader,
            Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_))) => {
                Written::Failed(ProposeError::Unknown(
                    "this server stopped leading before the write was applied".into(),
                ))
            }
            Err(RaftError::APIError(other)) => {
                Written::Failed(ProposeError::Unknown(other.to_string()))
            }
            Err(RaftError::Fatal(fatal)) => {
                let reason = self
                    .raft
                    .fatal
                    .reason()
                    .unwrap_or_else(|| fatal.to_string());
                Written::Failed(ProposeError::Unknown(reason))
            }
        }
    }

    async fn write_there(&self, leader: ServerId, encoded: Bytes) -> Written {
        let answer = self
            .rpc
            .call(
                leader,
                Method::Forward as u16,
                encoded,
                WRITE_TIMEOUT + ROUND_TIMEOUT,
            )
            .await;
        let body = match answer {
            Ok(body) => body,
            Err(CallError::NotSent(_) | CallError::Refused(_)) => return Written::NotLeader,
            Err(error) => return Written::Failed(ProposeError::Unknown(error.to_string())),
        };
        match messages::decode(&body) {
            Ok(Forwarded::Applied { index, reply }) => Written::Applied(Committed { index, reply }),
            Ok(Forwarded::NotLeader) => Written::NotLeader,
            Ok(Forwarded::Busy(limit)) => Written::Failed(ProposeError::Busy(limit)),
            Ok(Forwarded::Unknown(reason)) => Written::Failed(ProposeError::Unknown(reason)),
            Err(error) => Written::Failed(ProposeError::Unknown(error)),
        }
    }

    // === reads ===

    /// Returns once what is applied here is as fresh as a linearizable read needs.
    pub async fn barrier(&self) -> Result<(), ReadError> {
        let deadline = Instant::now() + HOLD;
        loop {
            match self.rounds.index().await {
                Ok(index) => {
                    let left = deadline
                        .saturating_duration_since(Instant::now())
                        .max(ROUND_TIMEOUT);
                    return match rt::timeout(left, self.published.wait_applied(index)).await {
                        Some(()) => Ok(()),
                        None => Err(ReadError::NoLeader),
                    };
                }
                Err(RoundError::Busy) => return Err(ReadError::Busy(rounds::WAITING_MAX)),
                Err(RoundError::NoLeader) => {}
            }
            if let Some(reason) = self.raft.fatal.reason() {
                return Err(ReadError::Stopping(reason));
            }
            if Instant::now() >= deadline {
                return Err(ReadError::NoLeader);
            }
            rt::sleep(RETRY_PAUSE).await;
        }
    }

    /// One round for all that wait: the log index that a confirmed leader had committed.
    async fn round(&self) -> Result<u64, RoundError> {
        match self.leader() {
            Some(leader) if leader == self.id => self.round_here().await,
            Some(leader) => {
                let call = self.rpc.call(
                    leader,
                    Method::ReadIndex as u16,
                    Bytes::new(),
                    ROUND_TIMEOUT,
                );
                let body = call.await.map_err(|_| RoundError::NoLeader)?;
                match messages::decode(&body) {
                    Ok(ReadIndexReply::Index(index)) => Ok(index),
                    Ok(ReadIndexReply::NotLeader) | Err(_) => Err(RoundError::NoLeader),
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
