//! `/v1/status`, `/v1/operator/raft`, and whether this server is ready.

use hyper::{Response, StatusCode};
use rollcall_api::operator::{RaftConfiguration, RaftServer, TransferLeader};
use rollcall_api::query::ReadOptions;
use rollcall_edge::{Body, Error, answer};
use rollcall_state::quote::quote;

use super::call::Call;
use crate::door::RaftPeer;

/// `GET /v1/status/leader`: an address, empty without a leader.
pub(super) fn leader(call: &Call<'_>) -> Response<Body> {
    call.json(&call.api.door.leader_address().unwrap_or_default())
}

/// `GET /v1/status/peers`: addresses.
pub(super) async fn peers(call: &Call<'_>) -> Result<Response<Body>, Error> {
    let (peers, _) = call.api.door.raft_peers().await?;
    let addresses: Vec<String> = peers.into_iter().map(|peer| peer.address).collect();
    Ok(call.json(&addresses))
}

/// `GET /v1/operator/raft/configuration`.
pub(super) async fn raft_configuration(call: &Call<'_>) -> Result<Response<Body>, Error> {
    ReadOptions::parse(call.query)?;
    let (peers, index) = call.api.door.raft_peers().await?;
    let server = |peer: RaftPeer| RaftServer {
        id: peer.id,
        node: peer.node,
        address: peer.address,
        leader: peer.leader,
        protocol_version: "3".to_owned(),
        voter: peer.voter,
        last_index: peer.last_index,
    };
    Ok(call.json(&RaftConfiguration {
        servers: peers.into_iter().map(server).collect(),
        index,
    }))
}

/// `DELETE /v1/operator/raft/peer?id=` or `?address=`.
pub(super) async fn remove_peer(call: &Call<'_>) -> Result<Response<Body>, Error> {
    let given = |name| call.query.get(name).filter(|value| !value.is_empty());
    let door = &call.api.door;
    let (what, wanted) = match (given("id"), given("address")) {
        (None, None) => {
            return Err(Error::bad_request(
                "Must specify either ?id with the server's ID or ?address with IP:port of peer to remove",
            ));
        }
        (Some(_), Some(_)) => {
            return Err(Error::bad_request(
                "Must specify only one of ?id or ?address",
            ));
        }
        (Some(id), None) => ("id", id),
        (None, Some(address)) => ("address", address),
    };
    let (peers, _) = door.raft_peers().await?;
    let is_wanted = |peer: &&RaftPeer| match what {
        "id" => peer.id == wanted,
        _ => peer.address == wanted,
    };
    let Some(peer) = peers.iter().find(is_wanted) else {
        let wanted = quote(&wanted);
        let words = format!("{what} {wanted} was not found in the Raft configuration");
        return Err(Error::internal(words));
    };
    door.remove_peer(peer.id.clone()).await?;
    Ok(answer::bare(
        StatusCode::OK,
        Body::Whole(Default::default()),
    ))
}

/// `GET /v1/operator/keyring`: gossip is not encrypted, which Consul calls four errors.
pub(super) async fn keyring(call: &Call<'_>) -> Result<Response<Body>, Error> {
    const EMPTY: &str = "Keyring is empty (encryption not enabled)";
    let (node, datacenter) = (&call.api.config.node_name, &call.edge.config().datacenter);
    Err(Error::internal(format!(
        "4 errors occurred:\n\t* WAN error: 1/1 nodes reported failure\n\t* {node}.{datacenter}: {EMPTY}\n\t* \
         {datacenter} (LAN) error: 1/1 nodes reported failure\n\t* {node}: {EMPTY}\n\n"
    )))
}

/// `POST /v1/operator/raft/transfer-leader`, to `?id=` or to the best follower.
pub(super) async fn transfer_leader(call: &Call<'_>) -> Result<Response<Body>, Error> {
    let id = call.query.get("id").filter(|id| !id.is_empty());
    (call.api.door.transfer_leader(id.map(|id| id.into_owned()))).await?;
    Ok(call.json(&TransferLeader { success: true }))
}

/// `GET /readyz`: whether this server has caught up once. Not whether there is a leader: then all servers would be taken out
/// of service together, and with them whoever could elect one.
pub(super) fn ready(call: &Call<'_>) -> Response<Body> {
    if call.api.door.caught_up_once() {
        answer::plain(StatusCode::OK, "ready\n")
    } else {
        let words = "not ready: this server has not caught up with the cluster since it started\n";
        answer::plain(StatusCode::SERVICE_UNAVAILABLE, words)
    }
}
