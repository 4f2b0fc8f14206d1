//! The servers' own rows in the catalog: each server's node, its service `consul`, and `serfHealth`.
//!
//! Each server registers itself through the log, because a default session needs its node and `serfHealth`. Until gossip
//! exists the leader sets `serfHealth` from Raft contact. Rows are compared first: a write that changes nothing is
//! not made.

use std::time::Duration;

use rollcall_state::command::{CheckSpec, NodeSpec, Register, ServiceSpec, Status, Weights};
use rollcall_state::{Command, Reply, SortedMap, State};

use crate::consensus::Consensus;
use crate::door::Committed;
use crate::raft::ServerId;
use crate::rt;

/// Id of the check that says whether a node is there, as Consul's clients know it.
pub const SERF_HEALTH: &str = "serfHealth";
/// The service every server offers.
const SERVICE: &str = "consul";
/// The version of the API we speak, as clients ask for it.
const API_VERSION: &str = "1.20.1";
/// Pause before a registration that failed is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Pause before it is looked again whether a row has arrived here.
const APPLY_PAUSE: Duration = Duration::from_millis(10);
/// How often a server looks whether its rows still say what they should.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How a server's own rows stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// They say what they should.
    Registered,
    /// Another node has the name. Shown in the log; looked at again later.
    Refused,
    /// They could not be written.
    NotYet,
}

/// Keeps this server's own node and service registered.
pub async fn keep_own(consensus: &Consensus) {
    loop {
        let pause = match register_own(consensus).await {
            Own::Registered | Own::Refused => LOOK_EVERY,
            Own::NotYet => RETRY_PAUSE,
        };
        rt::sleep(pause).await;
    }
}

/// Registers this server's own node and service, where they are not there as they should be.
pub async fn register_own(consensus: &Consensus) -> Own {
    let register = own_rows(consensus);
    if is_registered(&consensus.published.state(), &register) {
        return Own::Registered;
    }
    let name = register.node.node.clone();
    match consensus.write(&Command::Register(register)).await {
        Ok(Committed {
            reply: Reply::Refused(refusal),
            ..
        }) => {
            tracing::error!(node = %name, %refusal, "this server's node cannot be registered; give it a node_name of its own");
            Own::Refused
        }
        Ok(committed) => {
            // A follower may not have applied yet what the leader has; it must not register again because of that.
            let applied = async {
                while consensus.published.state().index() < committed.index {
                    rt::sleep(APPLY_PAUSE).await;
                }
            };
            let _ = rt::timeout(RETRY_PAUSE, applied).await;
            tracing::info!(node = %name, index = committed.index, "this server's node is registered");
            Own::Registered
        }
        Err(error) => {
            tracing::warn!(node = %name, %error, "this server's node is not registered yet");
            Own::NotYet
        }
    }
}

fn own_rows(consensus: &Consensus) -> Register {
    let address = consensus.members.advertise.ip().to_string();
    let family = if consensus.members.advertise.is_ipv4() {
        "ipv4"
    } else {
        "ipv6"
    };
    let tagged = [
        "lan".to_owned(),
        format!("lan_{family}"),
        "wan".to_owned(),
        format!("wan_{family}"),
    ];
    let name = consensus.members.name.clone();
    let meta = [
        ("consul-network-segment", ""),
        ("consul-version", API_VERSION),
    ];
    Register {
        node: NodeSpec {
            id: consensus.id.to_string().into(),
            node: name.as_str().into(),
            address: address.as_str().into(),
            tagged_addresses: Some(
                tagged
                    .into_iter()
                    .map(|tag| (tag, address.as_str()))
                    .collect(),
            ),
            meta: Some(text_map(&meta)),
        },
        service: Some(ServiceSpec {
            id: SERVICE.into(),
            service: SERVICE.into(),
            port: consensus.members.advertise.port(),
            meta: Some(text_map(&[
                ("version", API_VERSION),
                ("non_voter", "false"),
                ("read_replica", "false"),
            ])),
            weights: Weights::default(),
            ..ServiceSpec::default()
        }),
        checks: vec![serf_health(&name, true)],
        skip_node_update: false,
        owner: "gossip".into(),
    }
}

fn text_map(pairs: &[(&str, &str)]) -> SortedMap {
    pairs.iter().copied().collect()
}

fn serf_health(node: &str, alive: bool) -> CheckSpec {
    let (status, output) = if alive {
        (Status::Passing, "Agent alive and reachable")
    } else {
        (Status::Critical, "Agent not live or unreachable")
    };
    CheckSpec {
        node: node.into(),
        check_id: SERF_HEALTH.into(),
        name: "Serf Health Status".into(),
        status,
        output: output.into(),
        ..CheckSpec::default()
    }
}

fn is_registered(state: &State, wanted: &Register) -> bool {
    let node = state.node(&wanted.node.node).value;
    let service = wanted
        .service
        .as_ref()
        .and_then(|service| state.service(&wanted.node.node, &service.id).value);
    let same_service = service.is_some_and(|found| Some(&found.spec) == wanted.service.as_ref());
    node.is_some_and(|found| found.spec == wanted.node)
        && same_service
        && state.check(&wanted.node.node, SERF_HEALTH).value.is_some()
}

/// Sets `serfHealth` of a server's node, if its node is registered and the check says otherwise. For the leader.
pub async fn set_health(consensus: &Consensus, id: ServerId, alive: bool) {
    let state = consensus.published.state();
    let Some(node) = state.node_by_id(&id.to_string()) else {
        return;
    };
    let name = node.spec.node.clone();
    let wanted = serf_health(&name, alive);
    if state
        .check(&name, SERF_HEALTH)
        .value
        .is_some_and(|found| found.spec.status == wanted.status)
    {
        return;
    }
    let spec = node.spec.clone();
    tracing::info!(node = %name, alive, "Raft contact changed");
    let register = Register {
        node: spec,
        checks: vec![wanted],
        skip_node_update: true,
        owner: "gossip".into(),
        service: None,
    };
    if let Err(error) = consensus
        .write_as_leader(&Command::Register(register))
        .await
    {
        tracing::warn!(node = %name, %error, "serfHealth is not written yet");
    }
}
