//! Finds the other servers, forms a cluster with them or joins theirs: the driver of `bootstrap`.
//!
//! One task for the life of the server. Before there is a log it asks often; afterwards it goes on, seldom, so that
//! servers which moved are found again by their ids.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::Members;
use super::bootstrap::{self, Step};
use super::messages::{self, Abort, About, Join, Method, Outcome, Probe, ProbeReply, PromiseReply};
use crate::config::JoinAddress;
use crate::consensus::Consensus;
use crate::identity::Promise;
use crate::raft::ServerId;
use crate::rpc;
use crate::rt::{self, Instant};

/// Pause between rounds while this server has no cluster. While nobody answers it doubles, up to `retry_interval`.
const PAUSE_FORMING: Duration = Duration::from_millis(200);
/// Pause between rounds afterwards, while some server of the cluster does not answer or no leader is known.
const PAUSE_SEEKING: Duration = Duration::from_millis(500);
/// Pause between rounds once all is well.
const PAUSE_SETTLED: Duration = Duration::from_secs(5);
/// How long one question may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// How long one question may take before Raft is started.
const START_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a server of the own plan may be missing before the plan is given up.
const MISSING_LONG: Duration = Duration::from_secs(10);

/// Why forming ended the server.
#[derive(Debug, thiserror::Error)]
pub enum FormingError {
    /// Another process runs on a copy of this data directory.
    #[error(
        "server {id} already runs at {address}: {directory} is a copy of its data directory; give this server a data directory of its own"
    )]
    Duplicate {
        /// The id both have.
        id: Uuid,
        /// Where the other one is.
        address: String,
        /// This one's data directory.
        directory: String,
    },
    /// The servers that answer are of another cluster.
    #[error(
        "{directory} belongs to cluster {own}, but the servers in retry_join belong to cluster {other}: point retry_join at the right servers, or start on an empty data directory"
    )]
    OtherCluster {
        /// This one's data directory.
        directory: String,
        /// Its cluster.
        own: Uuid,
        /// Theirs.
        other: Uuid,
    },
    /// The identity could not be written.
    #[error(transparent)]
    Identity(#[from] crate::identity::IdentityError),
    /// Raft refused to be initialised.
    #[error("cannot initialise the log: {0}")]
    Initialise(String),
}

/// Asks other servers who they are.
pub struct Prober {
    members: Arc<Members>,
    rpc: Arc<rpc::Client>,
    retry_join: Vec<JoinAddress>,
}

impl Prober {
    /// Names in `retry_join` may resolve to many addresses and are resolved again each round.
    pub fn new(members: Arc<Members>, rpc: Arc<rpc::Client>, retry_join: Vec<JoinAddress>) -> Self {
        Prober {
            members,
            rpc,
            retry_join,
        }
    }

    /// Asks once, before Raft speaks as this server: a copy of a data directory must not vote, and neither must one
    /// of another cluster. Who does not answer at once is not waited for.
    pub async fn check_before_start(&self) -> Result<(), FormingError> {
        self.ask_all(START_TIMEOUT).await.map(drop)
    }

    async fn ask_all(&self, timeout: Duration) -> Result<Vec<About>, FormingError> {
        let me = self.members.about();
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for name in &self.retry_join {
            addresses.extend(rt::net::resolve(&name.host, name.port).await);
        }
        addresses.extend(
            self.members
                .book
                .list()
                .into_iter()
                .map(|(_, address)| address),
        );
        addresses.sort_unstable();
        addresses.dedup();
        addresses.retain(|address| *address != self.members.advertise);
        let probe = messages::encode(&Probe { from: me.clone() });
        let probes = addresses.into_iter().map(|address| {
            let call = self
                .rpc
                .call_address(address, Method::Probe as u16, probe.clone(), timeout);
            async move { (address, call.await) }
        });
        let answers = futures_util::future::join_all(probes).await;
        let mut others: Vec<About> = Vec::new();
        let mut foreign = None;
        for (address, answer) in answers {
            let reply: ProbeReply = match answer
                .map_err(|error| error.to_string())
                .and_then(|(_, body)| messages::decode(&body))
            {
                Ok(reply) => reply,
                Err(error) => {
                    tracing::debug!(%address, %error, "no answer");
                    continue;
                }
            };
            self.check_duplicate(&me, &reply)?;
            if reply.about.id == me.id {
                continue;
            }
            if let (Some(own), Some(other)) = (me.cluster, reply.about.cluster)
                && own != other
            {
                foreign = Some((own, other));
                continue;
            }
            self.members.learn(&reply.about);
            if !others.iter().any(|other| other.id == reply.about.id) {
                others.push(reply.about);
            }
        }
        match foreign {
            Some((own, other)) if others.is_empty() => Err(FormingError::OtherCluster {
                directory: self.directory(),
                own,
                other,
            }),
            _ => Ok(others),
        }
    }

    fn check_duplicate(&self, me: &About, reply: &ProbeReply) -> Result<(), FormingError> {
        match &reply.duplicate {
            Some(address) => Err(FormingError::Duplicate {
                id: me.id,
                address: address.clone(),
                directory: self.directory(),
            }),
            None => Ok(()),
        }
    }

    fn directory(&self) -> String {
        self.members.data_dir.path().display().to_string()
    }
}

/// What the task needs.
pub struct Forming {
    members: Arc<Members>,
    consensus: Arc<Consensus>,
    rpc: Arc<rpc::Client>,
    prober: Prober,
    /// `retry_interval`.
    pause_max: Duration,
    /// The pause after this round, while this server has no cluster.
    pause: Duration,
    /// Since when a server of the own plan has been missing.
    missing_since: Option<Instant>,
    /// Whether a leader was heard of since this process started.
    led: bool,
    last_said: String,
}

impl Forming {
    /// Goes on asking with `prober`; while nobody answers, after pauses that grow to `pause_max`.
    pub fn new(consensus: Arc<Consensus>, prober: Prober, pause_max: Duration) -> Self {
        Forming {
            members: Arc::clone(&consensus.members),
            rpc: Arc::clone(&consensus.rpc),
            consensus,
            prober,
            pause_max: pause_max.max(PAUSE_FORMING),
            pause: PAUSE_FORMING,
            missing_since: None,
            led: false,
            last_said: String::new(),
        }
    }

    /// Runs until an error ends the server.
    pub async fn run(mut self) -> FormingError {
        loop {
            match self.round().await {
                // A server that speaks up is answered at once, however long the pause has become.
                Ok(pause) => drop(rt::timeout(pause, self.members.another_found()).await),
                Err(error) => return error,
            }
        }
    }

    async fn round(&mut self) -> Result<Duration, FormingError> {
        let others = self.prober.ask_all(CALL_TIMEOUT).await?;
        let me = self.members.about();
        for (id, promise) in bootstrap::promises_to_free(&me, &others) {
            let abort = Abort {
                cluster: promise.cluster,
                proposer: promise.proposer,
            };
            let call = self.rpc.call(
                ServerId(id),
                Method::Abort as u16,
                messages::encode(&abort),
                CALL_TIMEOUT,
            );
            if let Err(error) = call.await {
                tracing::warn!(%id, %error, "a promise could not be freed; trying again");
            }
        }
        if me.initialised {
            let pause = self.settled(&me, &others)?;
            self.come_back(&others).await;
            return Ok(pause);
        }
        let step = bootstrap::decide(&me, &others, self.missing_long(&me, &others));
        self.take(step, &others).await?;
        let pause = self.pause;
        self.pause = match others.is_empty() {
            true => (2 * pause).min(self.pause_max),
            false => PAUSE_FORMING,
        };
        Ok(pause)
    }

    /// There is a log: the cluster's id may still have to be written down.
    fn settled(&mut self, me: &About, others: &[About]) -> Result<Duration, FormingError> {
        if self.members.data_dir.identity().cluster.is_none() {
            let in_state = self
                .consensus
                .published
                .state()
                .cluster_id()
                .and_then(|id| Uuid::try_parse(id).ok());
            if let Some(cluster) = me
                .promise
                .as_ref()
                .map(|promise| promise.cluster)
                .or(in_state)
            {
                self.members.belong(cluster)?;
            }
        }
        let members = self.consensus.raft.member_ids();
        let all_answer = members
            .iter()
            .all(|id| id.0 == me.id || others.iter().any(|other| other.id == id.0));
        let settled = all_answer && self.consensus.leader().is_some();
        Ok(if settled {
            PAUSE_SETTLED
        } else {
            PAUSE_SEEKING
        })
    }

    fn missing_long(&mut self, me: &About, others: &[About]) -> bool {
        let missing = me.promise.as_ref().is_some_and(|promise| {
            promise
                .ids
                .iter()
                .any(|id| *id != me.id && !others.iter().any(|other| other.id == *id))
        });
        if !missing {
            self.missing_since = None;
            return false;
        }
        let since = *self.missing_since.get_or_insert_with(Instant::now);
        since.elapsed() >= MISSING_LONG
    }

    // === steps ===

    async fn take(&mut self, step: Step, others: &[About]) -> Result<(), FormingError> {
        match step {
            Step::Wait(reason) => {
                if reason != self.last_said {
                    tracing::info!(%reason, "no cluster yet");
                    self.last_said = reason;
                }
            }
            Step::Join(cluster) => self.join(cluster, others).await?,
            Step::Propose(ids) => {
                let proposer = self.members.data_dir.identity().id;
                let promise = Promise {
                    cluster: rt::new_uuid(),
                    ids,
                    proposer,
                };
                tracing::info!(cluster = %promise.cluster, servers = promise.ids.len(), "collecting promises for a new cluster");
                if let Err(reason) = self.members.promise(&promise) {
                    tracing::warn!(%reason, "cannot promise to myself");
                    return Ok(());
                }
                self.collect(promise).await?;
            }
            Step::Collect(promise) => self.collect(promise).await?,
            Step::GiveUp(promise) => {
                tracing::warn!(cluster = %promise.cluster, "giving the bootstrap up: servers of its list are gone and others are there");
                self.members.free(promise.cluster, promise.proposer)?;
                self.missing_since = None;
            }
        }
        Ok(())
    }

    /// Asks all servers of the list; with every promise in hand the cluster exists.
    async fn collect(&self, promise: Promise) -> Result<(), FormingError> {
        let me = self.members.data_dir.identity().id;
        let body = messages::encode(&promise);
        let asked = promise.ids.iter().filter(|id| **id != me).map(|id| {
            let call = self.rpc.call(
                ServerId(*id),
                Method::Promise as u16,
                body.clone(),
                CALL_TIMEOUT,
            );
            async move { (*id, call.await) }
        });
        for (id, answer) in futures_util::future::join_all(asked).await {
            let reply = answer
                .map_err(|error| error.to_string())
                .and_then(|body| messages::decode(&body));
            match reply {
                Ok(PromiseReply { granted: true, .. }) => {}
                Ok(PromiseReply { reason, .. }) | Err(reason) => {
                    tracing::info!(%id, %reason, "no promise yet");
                    return Ok(());
                }
            }
        }
        // From here on the plan is never given up: the cluster's id stands on this disk before the first vote is asked for.
        self.members.belong(promise.cluster)?;
        let ids = promise.ids.iter().map(|id| ServerId(*id)).collect();
        self.consensus
            .raft
            .initialise(ids)
            .await
            .map_err(FormingError::Initialise)?;
        tracing::info!(cluster = %promise.cluster, "cluster formed");
        Ok(())
    }

    async fn join(&mut self, cluster: Uuid, others: &[About]) -> Result<(), FormingError> {
        self.members.belong(cluster)?;
        self.ask_in(cluster, others).await;
        Ok(())
    }

    /// A server that was taken out while it was away asks to be let in. The leader knows whether that is so: who is in
    /// stays in. One that was taken out while it ran does not ask, or `remove-peer` would be undone at once.
    async fn come_back(&mut self, others: &[About]) {
        // Heard of, not known: on the disk there still is the vote for the leader of then.
        self.led |= self.consensus.raft.last_contact() < Duration::MAX;
        let cluster = self.members.data_dir.identity().cluster;
        if let Some(cluster) = cluster.filter(|_| !self.led) {
            self.ask_in(cluster, others).await;
        }
    }

    async fn ask_in(&mut self, cluster: Uuid, others: &[About]) {
        let about = self.members.about();
        let leaders = others.iter().filter_map(|other| other.leader);
        let Some(leader) = leaders.into_iter().find(|leader| *leader != about.id) else {
            self.last_said = "waiting for a leader to join".into();
            return;
        };
        let body = messages::encode(&Join { cluster, about });
        let answer = self
            .rpc
            .call(ServerId(leader), Method::Join as u16, body, CALL_TIMEOUT)
            .await;
        let outcome = answer
            .map_err(|error| error.to_string())
            .and_then(|body| messages::decode(&body));
        match outcome {
            Ok(Outcome::Done) => tracing::info!(%cluster, %leader, "known to the leader"),
            Ok(other) => tracing::info!(%cluster, %leader, ?other, "not let in yet"),
            Err(error) => tracing::info!(%cluster, %leader, %error, "not let in yet"),
        }
    }
}
