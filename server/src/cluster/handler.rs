//! Answers what other servers ask on the server port, beside Raft's own messages.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Members;
use super::messages::{
    self, Abort, Forwarded, Join, Method, Outcome, PeerReply, PeersReply, Probe, ProbeReply,
    PromiseReply, ReadIndexReply, RenewReply, Target,
};
use crate::consensus::Consensus;
use crate::door::{Boxed, OperatorError};
use crate::identity::Promise;
use crate::raft::ServerId;
use crate::rpc;

/// How long the address that already has an id is asked whether somebody still lives there.
const DUPLICATE_TIMEOUT: Duration = Duration::from_secs(1);

/// The application's half of the server port.
pub struct ClusterHandler {
    members: Arc<Members>,
    rpc: Arc<rpc::Client>,
}

impl ClusterHandler {
    /// Answers for `members`; requests for Raft wait until a consensus is attached to it.
    pub fn new(members: Arc<Members>, rpc: Arc<rpc::Client>) -> Self {
        ClusterHandler { members, rpc }
    }

    fn consensus(&self) -> Result<Arc<Consensus>, String> {
        self.members
            .consensus()
            .ok_or_else(|| "the server is starting".to_owned())
    }

    async fn answer(&self, method: Method, body: &Bytes) -> Result<Bytes, String> {
        match method {
            Method::Probe => {
                let probe: Probe = messages::decode(body)?;
                Ok(messages::encode(&self.probe(probe).await))
            }
            Method::Promise => {
                let asked: Promise = messages::decode(body)?;
                let reply = match self.members.promise(&asked) {
                    Ok(()) => PromiseReply {
                        granted: true,
                        reason: String::new(),
                    },
                    Err(reason) => PromiseReply {
                        granted: false,
                        reason,
                    },
                };
                Ok(messages::encode(&reply))
            }
            Method::Abort => {
                let abort: Abort = messages::decode(body)?;
                self.members
                    .free(abort.cluster, abort.proposer)
                    .map_err(|error| error.to_string())?;
                Ok(Bytes::new())
            }
            Method::Join => {
                let join: Join = messages::decode(body)?;
                Ok(messages::encode(&self.join(join).await?))
            }
            Method::Forward => {
                // What this version does not know must not reach the log: every server would stop at it.
                let forwarded = match rollcall_state::Command::decode(body) {
                    Ok(_) => self.consensus()?.write_locally(body).await,
                    Err(error) => Forwarded::Refused(error.to_string()),
                };
                Ok(messages::encode(&forwarded))
            }
            Method::ReadIndex => {
                let reply: ReadIndexReply = self.consensus()?.read_index_for_follower().await;
                Ok(messages::encode(&reply))
            }
            Method::Renew => {
                let id: String = messages::decode(body)?;
                let reply: RenewReply = self.consensus()?.renew_here(&id).await;
                Ok(messages::encode(&reply))
            }
            Method::Peers => {
                let last = self.consensus()?.raft.last_indexes();
                let peers = last.into_iter().map(|(id, last_index)| PeerReply {
                    id: id.0,
                    last_index,
                });
                Ok(messages::encode(&PeersReply {
                    peers: peers.collect(),
                }))
            }
            Method::RemovePeer => {
                let target: Target = messages::decode(body)?;
                let Some(id) = target.id else {
                    return Err("no server named".into());
                };
                Ok(messages::encode(&outcome(
                    self.consensus()?.remove_here(ServerId(id)).await,
                )))
            }
            Method::TransferLeader => {
                let target: Target = messages::decode(body)?;
                Ok(messages::encode(&outcome(
                    self.consensus()?
                        .transfer_here(target.id.map(ServerId))
                        .await,
                )))
            }
        }
    }

    /// Notes who asks, unless another living process has that id.
    async fn probe(&self, probe: Probe) -> ProbeReply {
        let from = probe.from;
        let own = self.members.about();
        if from.id == own.id {
            let duplicate = (from.boot != own.boot).then(|| own.address.clone());
            return ProbeReply {
                about: own,
                duplicate,
            };
        }
        let duplicate = self.lives_elsewhere(&from).await;
        let foreign =
            own.cluster.is_some() && from.cluster.is_some() && own.cluster != from.cluster;
        if duplicate.is_none() && !foreign {
            self.members.learn(&from);
        }
        ProbeReply {
            about: self.members.about(),
            duplicate,
        }
    }

    /// The address at which another process with the id of `from` answers.
    async fn lives_elsewhere(&self, from: &messages::About) -> Option<String> {
        let claimed: SocketAddr = from.address.parse().ok()?;
        let known = self.members.book.get(ServerId(from.id))?;
        if known == claimed {
            return None;
        }
        let probe = messages::encode(&Probe {
            from: self.members.about(),
        });
        let call = self
            .rpc
            .call_address(known, Method::Probe as u16, probe, DUPLICATE_TIMEOUT);
        let reply: ProbeReply = messages::decode(&call.await.ok()?.1).ok()?;
        (reply.about.id == from.id && reply.about.boot != from.boot).then(|| known.to_string())
    }

    async fn join(&self, join: Join) -> Result<Outcome, String> {
        let consensus = self.consensus()?;
        if self.members.data_dir.identity().cluster != Some(join.cluster) {
            return Ok(Outcome::Refused(format!(
                "this server is not of cluster {}",
                join.cluster
            )));
        }
        self.members.learn(&join.about);
        Ok(outcome(
            consensus.add_learner_here(ServerId(join.about.id)).await,
        ))
    }
}

/// What an operation at this server is, said to the one who asked for it.
fn outcome(result: Result<(), OperatorError>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(OperatorError::Refused(reason)) => Outcome::Refused(reason),
        Err(OperatorError::NoLeader) => Outcome::NotLeader,
        Err(OperatorError::Unknown(reason)) => Outcome::Unknown(reason),
    }
}

impl rpc::Handler for ClusterHandler {
    fn call(&self, _from: ServerId, method: u16, body: Bytes) -> Boxed<'_, Result<Bytes, String>> {
        Box::pin(async move {
            let method =
                Method::from_number(method).ok_or_else(|| format!("unknown method {method:#x}"))?;
            self.answer(method, &body).await
        })
    }
}

#[cfg(test)]
mod tests;
