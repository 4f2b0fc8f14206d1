//! The leader's duties: sessions' TTLs, `serfHealth` of the servers, tombstones, learners that became ready.
//!
//! One task a server. It sleeps until this server leads, has a quorum confirm it and everything before applied, then does
//! the duties until the leadership is gone. What it writes goes through the log like everybody's writes, and only
//! while it leads.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rollcall_state::command::{ClusterInit, TombstoneReap};
use rollcall_state::{Command, Index};

use crate::consensus::Consensus;
use crate::node_rows;
use crate::raft::ServerId;
use crate::rt::{self, Instant};

/// How often servers' contact is looked at.
const TICK: Duration = Duration::from_millis(500);
/// Silence after which a server's `serfHealth` turns critical (until gossip exists, Raft contact is all there is). As slow
/// as Serf's LAN timing, so that a pause of some seconds ends nobody's sessions.
const SILENT_AFTER: Duration = Duration::from_secs(10);
/// How long a learner must have been ready: by then the silence of the voter it may have to replace has shown.
const STABLE_AFTER: Duration = Duration::from_secs(3);
/// Silence of a voter that makes learners wait, to see whether it is dead. A few heartbeats of a busy machine.
const QUIET_AFTER: Duration = Duration::from_millis(1_500);
/// A sync of the log that takes longer than this makes the leader hand over: a healthy disk takes milliseconds.
const DISK_STALLED_AFTER: Duration = Duration::from_secs(3);
/// A learner this close to the end of the log (entries) is ready to vote.
const READY_WITHIN: u64 = 256;
/// Tombstones are kept this long after the deletion.
const TOMBSTONE_TTL: Duration = Duration::from_secs(15 * 60);
/// How often the index is noted for tombstones: their age is known to within this.
const TOMBSTONE_GRAIN: Duration = Duration::from_secs(30);
/// Pause before the duties are begun again after an error.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Runs for the life of the server.
pub async fn run(consensus: Arc<Consensus>) {
    loop {
        let leadership = consensus.raft.wait_leadership().await;
        tracing::info!(term = leadership.term, "this server leads");
        tokio::select! {
            biased;
            () = consensus.raft.wait_leadership_lost(leadership) => {}
            () = duties(&consensus, leadership) => {}
        }
        consensus.sessions.stop();
        tracing::info!(term = leadership.term, "this server does not lead any more");
    }
}

/// Waits, on any server, until it has caught up once since its start, and registers its own node.
pub async fn catch_up(consensus: Arc<Consensus>) {
    loop {
        if consensus.raft.initialised() && consensus.barrier().await.is_ok() {
            break;
        }
        rt::sleep(RETRY_PAUSE).await;
    }
    // A default session needs this server's node: who asks a ready server for one must get it.
    while node_rows::register_own(&consensus).await == node_rows::Own::NotYet {
        rt::sleep(RETRY_PAUSE).await;
    }
    consensus.caught_up.store(true, Ordering::Release);
    tracing::info!(index = consensus.published.state().index(), "ready");
    node_rows::keep_own(&consensus).await;
}

async fn duties(consensus: &Arc<Consensus>, leadership: crate::raft::LeaderId) {
    // Timers start when a quorum has confirmed this leadership: no renewal of an earlier leader can be acknowledged later.
    while consensus.barrier().await.is_err() {
        rt::sleep(RETRY_PAUSE).await;
    }
    // Cluster time runs from here on, also while nobody writes.
    consensus.cluster_time();
    name_cluster(consensus).await;
    tokio::join!(
        consensus.sessions.keep(consensus, leadership),
        watch_servers(consensus),
        reap_tombstones(consensus)
    );
}

/// The first thing in the log of a new cluster is its id.
async fn name_cluster(consensus: &Consensus) {
    while consensus.published.state().cluster_id().is_none() {
        let identity = consensus.members.data_dir.identity();
        let id = identity
            .cluster
            .or_else(|| identity.promise.map(|promise| promise.cluster));
        let Some(id) = id else { return };
        if let Err(error) = consensus
            .write_as_leader(&Command::ClusterInit(ClusterInit { id: id.to_string() }))
            .await
        {
            tracing::warn!(%error, "the cluster's id is not in the log yet; trying again");
            rt::sleep(RETRY_PAUSE).await;
        }
    }
}

async fn watch_servers(consensus: &Consensus) {
    // Nobody is silent before this leader has listened for as long as silence takes.
    let since = Instant::now();
    let mut ready_since = BTreeMap::new();
    loop {
        let listened = since.elapsed();
        let silences: BTreeMap<ServerId, Duration> = consensus
            .raft
            .silent_for()
            .into_iter()
            .map(|(id, silence)| (id, silence.unwrap_or(listened).min(listened)))
            .collect();
        for (id, silence) in &silences {
            node_rows::set_health(consensus, *id, *silence < SILENT_AFTER).await;
        }
        promote(consensus, &silences, &mut ready_since).await;
        leave_slow_disk(consensus).await;
        rt::sleep(TICK).await;
    }
}

/// A learner that is ready votes. It takes the place of a dead voter, if there is one, in one change. While some voter is silent
/// but not yet dead it waits: it may be the one that comes in the place of that voter (a server whose disk was wiped).
async fn promote(
    consensus: &Consensus,
    silences: &BTreeMap<ServerId, Duration>,
    ready_since: &mut BTreeMap<ServerId, Instant>,
) {
    let silent = |id: &ServerId| {
        silences
            .get(id)
            .is_some_and(|silence| *silence >= QUIET_AFTER)
    };
    let dead = |id: &ServerId| {
        silences
            .get(id)
            .is_some_and(|silence| *silence >= SILENT_AFTER)
    };
    let voters = consensus.raft.voter_ids();
    let last = consensus.raft.last_indexes();
    let end = last.get(&consensus.id).copied().unwrap_or(0);
    let mut ready = consensus.raft.member_ids();
    ready.retain(|id| {
        !voters.contains(id)
            && !silent(id)
            && last.get(id).copied().unwrap_or(0) + READY_WITHIN >= end
    });
    ready_since.retain(|id, _| ready.contains(id));
    for id in &ready {
        ready_since.entry(*id).or_insert_with(Instant::now);
    }
    if voters.iter().any(|id| silent(id) && !dead(id)) {
        return;
    }
    let stable = |id: &&ServerId| {
        ready_since
            .get(*id)
            .is_some_and(|since| since.elapsed() >= STABLE_AFTER)
    };
    let Some(ready) = ready.iter().find(stable).copied() else {
        return;
    };
    let replaced: BTreeSet<ServerId> = voters
        .iter()
        .filter(|id| dead(id))
        .copied()
        .take(1)
        .collect();
    tracing::info!(server = %ready, ?replaced, "a learner is ready and becomes a voter");
    if let Err(error) = consensus.replace_voters([ready].into(), replaced).await {
        tracing::warn!(%error, server = %ready, "not a voter yet; trying again");
    }
}

/// A leader whose disk hangs holds up nobody it can help: its followers sync without it, but it cannot vote or count
/// itself, so another one leads better.
async fn leave_slow_disk(consensus: &Consensus) {
    let stalled = consensus.raft.disk_stalled_for();
    if stalled < DISK_STALLED_AFTER || consensus.raft.voter_ids().len() < 2 {
        return;
    }
    tracing::warn!(
        seconds = stalled.as_secs(),
        "the disk does not come back from a sync; handing leadership over"
    );
    if let Err(error) = consensus.transfer_here(None).await {
        tracing::warn!(%error, "leadership stays here for now");
    }
}

async fn reap_tombstones(consensus: &Consensus) {
    let mut noted: VecDeque<(Instant, Index)> = VecDeque::new();
    loop {
        noted.push_back((Instant::now(), consensus.published.state().index()));
        rt::sleep(TOMBSTONE_GRAIN).await;
        let mut up_to = None;
        while let Some((at, index)) = noted.front()
            && at.elapsed() >= TOMBSTONE_TTL
        {
            up_to = Some(*index);
            noted.pop_front();
        }
        let Some(up_to) = up_to else { continue };
        // One command folds away a bounded number of tombstones.
        while consensus.published.state().has_tombstones_up_to(up_to) {
            if let Err(error) = consensus
                .write_as_leader(&Command::TombstoneReap(TombstoneReap { up_to }))
                .await
            {
                tracing::warn!(%error, up_to, "tombstones stay for now");
                break;
            }
        }
    }
}
