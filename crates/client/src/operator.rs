//! `/v1/status` and `/v1/operator/raft`.

use hyper::Method;
use rollcall_api::operator::TransferLeader;

use crate::RaftConfiguration;
use crate::error::Error;
use crate::http::{Call, Client, ReadOptions};

/// Who leads.
#[derive(Debug, Clone)]
pub struct Status<'a>(pub(crate) &'a Client);

/// The Raft configuration and changes to it.
#[derive(Debug, Clone)]
pub struct Operator<'a>(pub(crate) &'a Client);

impl Client {
    /// Who leads.
    pub fn status(&self) -> Status<'_> {
        Status(self)
    }

    /// The Raft configuration and changes to it.
    pub fn operator(&self) -> Operator<'_> {
        Operator(self)
    }
}

impl Status<'_> {
    /// `IP:port` of the leader; `None` when there is none.
    pub async fn leader(&self) -> Result<Option<String>, Error> {
        let leader = self
            .0
            .json::<String>(&Call::new(Method::GET, "status/leader"))
            .await?
            .value;
        Ok(Some(leader).filter(|leader| !leader.is_empty()))
    }

    /// `IP:port` of every server.
    pub async fn peers(&self) -> Result<Vec<String>, Error> {
        Ok(self
            .0
            .json(&Call::new(Method::GET, "status/peers"))
            .await?
            .value)
    }
}

impl Operator<'_> {
    /// The Raft configuration.
    pub async fn raft_configuration(
        &self,
        options: &ReadOptions,
    ) -> Result<RaftConfiguration, Error> {
        let call = Call::new(Method::GET, "operator/raft/configuration").read(options);
        Ok(self.0.json(&call).await?.value)
    }

    /// Hands leadership over: to this server, or to the best one.
    pub async fn transfer_leader(&self, id: Option<&str>) -> Result<(), Error> {
        let mut call = Call::new(Method::POST, "operator/raft/transfer-leader");
        if let Some(id) = id {
            call = call.with("id", id);
        }
        let answer: TransferLeader = self.0.json(&call).await?.value;
        if answer.success {
            Ok(())
        } else {
            Err(Error::Request("the leader refused to hand over".into()))
        }
    }

    /// Takes a server out of the Raft configuration, by its id.
    pub async fn remove_peer_by_id(&self, id: &str) -> Result<(), Error> {
        self.0
            .call(&Call::new(Method::DELETE, "operator/raft/peer").with("id", id))
            .await
            .map(drop)
    }

    /// Takes a server out of the Raft configuration, by its `IP:port`.
    pub async fn remove_peer_by_address(&self, address: &str) -> Result<(), Error> {
        self.0
            .call(&Call::new(Method::DELETE, "operator/raft/peer").with("address", address))
            .await
            .map(drop)
    }
}
