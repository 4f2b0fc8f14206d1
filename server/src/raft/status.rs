//! What Raft says of itself, in our words: who leads, who belongs, who was heard of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::{Instant as _, ServerState};

use rollcall_metrics::Histogram;

use super::{LeaderId, Metrics, RaftHandle, ServerId};
use crate::rt;

/// Pause before Raft is asked again where no event tells.
const PAUSE: Duration = Duration::from_millis(10);

/// How far a server is: log indexes, not the state's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Term.
    pub term: u64,
    /// Last entry of the log.
    pub last: u64,
    /// Last entry known to be committed.
    pub committed: u64,
    /// Last entry applied.
    pub applied: u64,
}

impl RaftHandle {
    fn with_metrics<T>(&self, look: impl FnOnce(&Metrics) -> T) -> T {
        look(&self.raft.metrics().borrow_watched())
    }

    /// The leader this server knows of, which may be itself.
    pub fn leader(&self) -> Option<ServerId> {
        self.with_metrics(|metrics| metrics.current_leader)
    }

    /// This server's leadership, while it leads.
    pub fn leadership(&self) -> Option<LeaderId> {
        self.with_metrics(|metrics| {
            let leads = metrics.state == ServerState::Leader && metrics.vote.is_committed();
            leads.then(|| *metrics.vote.leader_id())
        })
    }

    /// Resolves when this server leads.
    pub async fn wait_leadership(&self) -> LeaderId {
        loop {
            if let Some(leadership) = self.leadership() {
                return leadership;
            }
            self.metrics_changed().await;
        }
    }

    /// Resolves when this server has not that leadership any more.
    pub async fn wait_leadership_lost(&self, leadership: LeaderId) {
        while self.leadership() == Some(leadership) {
            self.metrics_changed().await;
        }
    }

    /// Resolves when this server knows another leader than it does now, or the same in a later term.
    pub async fn wait_leader_changed(&self) {
        let known = || self.with_metrics(|metrics| (metrics.current_leader, metrics.current_term));
        let before = known();
        // Who waits for this rarely waits long: a timer is cheaper than a watch.
        rt::sleep(PAUSE).await;
        while known() == before {
            self.metrics_changed().await;
        }
    }

    pub(crate) async fn metrics_changed(&self) {
        // Metrics change with every batch; a pause keeps a busy server from looking at each.
        let mut metrics = self.raft.metrics();
        if metrics.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        rt::sleep(PAUSE).await;
    }

    /// Whether the log holds anything, or a vote was given.
    pub fn initialised(&self) -> bool {
        self.with_metrics(|metrics| metrics.last_log_index.is_some() || metrics.current_term > 0)
    }

    /// How far this server is.
    pub fn progress(&self) -> Progress {
        self.with_metrics(|metrics| Progress {
            term: metrics.current_term,
            last: metrics.last_log_index.unwrap_or(0),
            committed: metrics.local_committed.as_ref().map_or(0, |id| id.index),
            applied: metrics.last_applied.as_ref().map_or(0, |id| id.index),
        })
    }

    /// How long this server took to make batches of its log durable.
    pub fn append_duration(&self) -> Arc<Histogram> {
        self.store().append_duration()
    }

    /// For how long this server's disk has not come back from a commit of the log.
    pub fn disk_stalled_for(&self) -> Duration {
        self.store().stalled_for()
    }

    /// Voters and learners.
    pub fn member_ids(&self) -> BTreeSet<ServerId> {
        self.with_metrics(|metrics| {
            metrics
                .membership_config
                .nodes()
                .map(|(id, _)| *id)
                .collect()
        })
    }

    /// Voters.
    pub fn voter_ids(&self) -> BTreeSet<ServerId> {
        self.with_metrics(|metrics| metrics.membership_config.voter_ids().collect())
    }

    /// Log index of the current membership.
    pub fn membership_index(&self) -> u64 {
        self.with_metrics(|metrics| metrics.membership_config.log_id().map_or(0, |id| id.index))
    }

    /// Last log index of each server, as far as it is known here: of all on the leader, of itself elsewhere.
    pub fn last_indexes(&self) -> BTreeMap<ServerId, u64> {
        self.with_metrics(|metrics| {
            let mut last: BTreeMap<ServerId, u64> = BTreeMap::new();
            for (id, matching) in metrics.replication.iter().flatten() {
                last.insert(*id, matching.as_ref().map_or(0, |id| id.index));
            }
            last.insert(metrics.id, metrics.last_log_index.unwrap_or(0));
            last
        })
    }

    /// For how long each other server has not acknowledged anything to this leader; `None`: never yet. Empty elsewhere.
    pub fn silent_for(&self) -> BTreeMap<ServerId, Option<Duration>> {
        self.with_metrics(|metrics| {
            let heard = metrics.heartbeat.iter().flatten();
            let others = heard.filter(|(id, _)| **id != metrics.id);
            others
                .map(|(id, at)| (*id, at.as_ref().map(|at| at.elapsed())))
                .collect()
        })
    }
}
