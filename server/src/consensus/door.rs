//! The consensus as the one door: what edges see of it.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::errors::{ClientWriteError, RaftError};
use rollcall_state::{Command, Index, Topic};

use super::hold::{Asked, HOLD, RETRY_PAUSE};
use super::{Consensus, ROUND_TIMEOUT, WRITE_TIMEOUT};
use crate::cluster::messages::{self, Method, Outcome, PeersReply, RenewReply, Target};
use crate::door::{
    Boxed, Committed, Consistency, Door, OperatorError, ProposeError, RaftPeer, ReadError, View,
    Watch,
};
use crate::raft::ServerId;
use crate::rt::{self, Instant};
use crate::session_keeper::Renewed;

/// How long a hand-over of leadership is waited for.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(5);

impl Consensus {
    /// Renews a session at this server, which must lead.
    pub async fn renew_here(&self, id: &str) -> RenewReply {
        let Some(leadership) = self.raft.leadership() else {
            return RenewReply::NotLeader;
        };
        if !self.sabotage.renews_without_quorum() {
            let Ok(index) = self.rounds.index().await else {
                return RenewReply::NotLeader;
            };
            if rt::timeout(ROUND_TIMEOUT, self.published.wait_applied(index))
                .await
                .is_none()
            {
                return RenewReply::NotLeader;
            }
        }
        // The round may have been another leader's, if this server was deposed meanwhile.
        if self.raft.leadership() != Some(leadership) {
            return RenewReply::NotLeader;
        }
        match self.sessions.renew(self, &leadership, id) {
            Renewed::Yes => RenewReply::Renewed,
            Renewed::Gone => RenewReply::Gone,
            Renewed::NotKept | Renewed::Ending => RenewReply::NotLeader,
        }
    }

    async fn renew(&self, id: &str) -> Result<bool, ProposeError> {
        self.hold(|leader| async move {
            let reply = if leader == self.id {
                self.renew_here(id).await
            } else {
                let body = messages::encode(&id);
                match self
                    .ask(leader, Method::Renew, body, ROUND_TIMEOUT * 2)
                    .await
                {
                    Asked::Answered(reply) => reply,
                    Asked::NotDone => RenewReply::NotLeader,
                    Asked::Unknown(why) => {
                        return ControlFlow::Break(Err(ProposeError::Unknown(why)));
                    }
                }
            };
            match reply {
                RenewReply::Renewed => ControlFlow::Break(Ok(true)),
                RenewReply::Gone => ControlFlow::Break(Ok(false)),
                RenewReply::NotLeader => ControlFlow::Continue(()),
            }
        })
        .await
    }

    async fn view(&self, consistency: Consistency) -> Result<View, ReadError> {
        match consistency {
            Consistency::Linearizable => {
                self.barrier().await?;
                Ok(View {
                    last_contact: Duration::ZERO,
                    known_leader: true,
                    ..self.local()
                })
            }
            Consistency::Stale(None) => Ok(self.local()),
            Consistency::Stale(Some(index)) => {
                let mut applied = self.published.subscribe();
                let reached = async {
                    while self.published.state().index() < index {
                        if applied.changed().await.is_err() {
                            return;
                        }
                    }
                };
                // After the hold it answers as it is: the caller parks on topics then, as it would anywhere.
                let _ = rt::timeout(HOLD, reached).await;
                Ok(self.local())
            }
        }
    }

    // === membership ===

    /// Lets a newcomer in as a learner. This server must lead.
    pub async fn add_learner_here(&self, id: ServerId) -> Result<(), OperatorError> {
        self.must_lead()?;
        if self.raft.member_ids().contains(&id) {
            return Ok(());
        }
        let change = ChangeMembers::AddNodes([(id, openraft::EmptyNode {})].into());
        self.change_members(change, true).await
    }

    /// Removes a server from the configuration. This server must lead.
    pub async fn remove_here(&self, id: ServerId) -> Result<(), OperatorError> {
        self.must_lead()?;
        let voters = self.raft.voter_ids();
        if !self.raft.member_ids().contains(&id) {
            return Err(OperatorError::Refused(format!(
                "id {:?} was not found in the Raft configuration",
                id.to_string()
            )));
        }
        if !voters.contains(&id) {
            return self
                .change_members(ChangeMembers::RemoveNodes([id].into()), false)
                .await;
        }
        if voters.len() == 1 {
            return Err(OperatorError::Refused(format!(
                "server {id} is the only voter and cannot be removed"
            )));
        }
        self.change_members(ChangeMembers::RemoveVoters([id].into()), false)
            .await
    }

    /// Makes learners voters and takes others out, in one change. This server must lead.
    pub async fn replace_voters(
        &self,
        add: BTreeSet<ServerId>,
        remove: BTreeSet<ServerId>,
    ) -> Result<(), OperatorError> {
        self.must_lead()?;
        let voters: BTreeSet<ServerId> = self.raft.voter_ids().union(&add).copied().collect();
        let voters = voters.difference(&remove).copied().collect();
        self.change_members(ChangeMembers::ReplaceAllVoters(voters), false)
            .await
    }

    async fn change_members(
        &self,
        change: ChangeMembers<ServerId, openraft::EmptyNode>,
        retain: bool,
    ) -> Result<(), OperatorError> {
        let changed = rt::timeout(
            WRITE_TIMEOUT,
            self.raft.raft.change_membership(change, retain),
        )
        .await;
        match changed {
            None => Err(OperatorError::Unknown(format!(
                "not done within {} s",
                WRITE_TIMEOUT.as_secs()
            ))),
            Some(Ok(_)) => Ok(()),
            Some(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => {
                Err(OperatorError::NoLeader)
            }
            Some(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error)))) => {
                Err(OperatorError::Refused(error.to_string()))
            }
            Some(Err(error)) => Err(OperatorError::Unknown(error.to_string())),
        }
    }

    /// Hands leadership over. This server must lead. Returns when another server leads.
    pub async fn transfer_here(&self, to: Option<ServerId>) -> Result<(), OperatorError> {
        self.must_lead()?;
        let to = match to {
            Some(to) if to == self.id => return Ok(()),
            Some(to) if self.raft.voter_ids().contains(&to) => to,
            Some(to) => {
                return Err(OperatorError::Refused(format!(
                    "server {to} is not a voter"
                )));
            }
            None => self
                .best_follower()
                .ok_or_else(|| OperatorError::Refused("there is no other voter".into()))?,
        };
        let triggered = self.raft.raft.trigger().transfer_leader(to).await;
        triggered.map_err(|error| OperatorError::Unknown(error.to_string()))?;
        let deadline = Instant::now() + TRANSFER_TIMEOUT;
        while self.leads() || self.leader().is_none() {
            if Instant::now() >= deadline {
                return Err(OperatorError::Unknown(format!(
                    "server {to} did not take over within {} s",
                    TRANSFER_TIMEOUT.as_secs()
                )));
            }
            rt::sleep(RETRY_PAUSE).await;
        }
        Ok(())
    }

    /// The voter, other than this server, that has most of the log.
    fn best_follower(&self) -> Option<ServerId> {
        let voters = self.raft.voter_ids();
        let last = self.raft.last_indexes();
        let others = voters.into_iter().filter(|id| *id != self.id);
        others.max_by_key(|id| (last.get(id).copied().unwrap_or(0), std::cmp::Reverse(*id)))
    }

    fn must_lead(&self) -> Result<(), OperatorError> {
        if self.leads() {
            Ok(())
        } else {
            Err(OperatorError::NoLeader)
        }
    }

    /// Asks the leader, wherever it is, for an operation that is refused by all others.
    async fn at_leader(
        &self,
        method: Method,
        target: Option<ServerId>,
    ) -> Result<(), OperatorError> {
        self.hold(|leader| async move {
            let result = if leader == self.id {
                match (method, target) {
                    (Method::RemovePeer, Some(id)) => self.remove_here(id).await,
                    (_, to) => self.transfer_here(to).await,
                }
            } else {
                self.ask_leader(leader, method, target).await
            };
            match result {
                Err(OperatorError::NoLeader) => ControlFlow::Continue(()),
                other => ControlFlow::Break(other),
            }
        })
        .await
    }

    async fn ask_leader(
        &self,
        leader: ServerId,
        method: Method,
        target: Option<ServerId>,
    ) -> Result<(), OperatorError> {
        let body = messages::encode(&Target {
            id: target.map(|id| id.0),
        });
        let patience = WRITE_TIMEOUT + ROUND_TIMEOUT;
        match self.ask(leader, method, body, patience).await {
            Asked::Answered(Outcome::Done) => Ok(()),
            Asked::Answered(Outcome::Refused(reason)) => Err(OperatorError::Refused(reason)),
            Asked::Answered(Outcome::NotLeader) | Asked::NotDone => Err(OperatorError::NoLeader),
            Asked::Answered(Outcome::Unknown(reason)) | Asked::Unknown(reason) => {
                Err(OperatorError::Unknown(reason))
            }
        }
    }

    async fn peers(&self) -> Result<(Vec<RaftPeer>, Index), ReadError> {
        let leader = self.leader();
        let mut last = self.raft.last_indexes();
        if let Some(leader) = leader.filter(|leader| *leader != self.id) {
            let asked = self.ask(leader, Method::Peers, bytes::Bytes::new(), ROUND_TIMEOUT);
            if let Asked::Answered(PeersReply { peers }) = asked.await {
                let peers = peers.into_iter();
                last = peers
                    .map(|peer| (ServerId(peer.id), peer.last_index))
                    .collect();
            }
        }
        let voters = self.raft.voter_ids();
        let peers = self.raft.member_ids().into_iter().map(|id| RaftPeer {
            id: id.to_string(),
            node: self.members.name_of(id),
            address: self.address_of(id).unwrap_or_default(),
            leader: leader == Some(id),
            voter: voters.contains(&id),
            last_index: last.get(&id).copied().unwrap_or(0),
        });
        Ok((peers.collect(), self.raft.membership_index()))
    }

    fn address_of(&self, id: ServerId) -> Option<String> {
        if id == self.id {
            return Some(self.members.advertise.to_string());
        }
        self.members.book.get(id).map(|address| address.to_string())
    }
}

impl Door for Consensus {
    fn propose(&self, command: Command) -> Boxed<'_, Result<Committed, ProposeError>> {
        Box::pin(async move { self.write(&command).await })
    }

    fn read(&self, consistency: Consistency) -> Boxed<'_, Result<View, ReadError>> {
        Box::pin(self.view(consistency))
    }

    fn local(&self) -> View {
        View {
            state: self.published.state(),
            known_leader: self.leader().is_some(),
            last_contact: self.raft.last_contact(),
        }
    }

    fn watch(&self, topics: Vec<Topic>) -> Box<dyn Watch> {
        Box::new(self.watchers.register(topics))
    }

    fn renew_session(&self, id: String) -> Boxed<'_, Result<bool, ProposeError>> {
        Box::pin(async move { self.renew(&id).await })
    }

    fn leader_address(&self) -> Option<String> {
        self.address_of(self.leader()?)
    }

    fn raft_peers(&self) -> Boxed<'_, Result<(Vec<RaftPeer>, Index), ReadError>> {
        Box::pin(self.peers())
    }

    fn transfer_leader(&self, id: Option<String>) -> Boxed<'_, Result<(), OperatorError>> {
        Box::pin(async move {
            let to = id.map(|id| parse_id(&id)).transpose()?;
            self.at_leader(Method::TransferLeader, to).await
        })
    }

    fn remove_peer(&self, id: String) -> Boxed<'_, Result<(), OperatorError>> {
        Box::pin(async move {
            self.at_leader(Method::RemovePeer, Some(parse_id(&id)?))
                .await
        })
    }

    fn caught_up_once(&self) -> bool {
        self.caught_up.load(Ordering::Acquire)
    }
}

fn parse_id(id: &str) -> Result<ServerId, OperatorError> {
    id.parse().map_err(|_| {
        OperatorError::Refused(format!("id {id:?} was not found in the Raft configuration"))
    })
}
