//! What a server's agent says of the server: members, statistics, settings.

use std::sync::Arc;

use rollcall_agent::registry::Boxed;
use rollcall_agent::surroundings::{ALIVE, About, FAILED, NotDone, Surroundings, member};
use rollcall_api::agent::Member;
use rollcall_state::State;
use serde_json::{Value, json};

use super::{Reload, port_list};
use crate::config::Config;
use crate::consensus::Consensus;
use crate::door::Door as _;
use crate::node_rows::SERF_HEALTH;

/// The version of the API we speak.
const API_VERSION: &str = "1.20.1";

pub(super) struct OfServer {
    pub(super) consensus: Arc<Consensus>,
    pub(super) config: Config,
    pub(super) reload: Option<Reload>,
    pub(super) metrics: Arc<rollcall_metrics::Registry>,
}

impl Surroundings for OfServer {
    fn about(&self) -> About {
        let config = &self.config;
        About {
            server: true,
            advertise: config.advertise_addr,
            ports: port_list(config, self.consensus.members.advertise.port().into()),
            http: config.http.iter().map(ToString::to_string).collect(),
            session_ttl_min_ns: i64::try_from(config.session_ttl_min.as_nanos())
                .unwrap_or(i64::MAX),
            node_meta: vec![
                ("consul-network-segment".to_owned(), String::new()),
                ("consul-version".to_owned(), API_VERSION.to_owned()),
            ],
            data_dir: config.data_dir.display().to_string(),
            log_level: config.log_level.as_str().to_uppercase(),
        }
    }

    fn members(&self) -> Vec<Member> {
        let state = self.consensus.local().state;
        let mut ids: Vec<_> = self.consensus.raft.member_ids().into_iter().collect();
        if !ids.contains(&self.consensus.id) {
            ids.push(self.consensus.id);
        }
        let mut members: Vec<Member> = (ids.into_iter())
            .filter_map(|id| self.member(&state, id))
            .collect();
        members.sort_by(|a, b| a.name.cmp(&b.name));
        members
    }

    fn stats(&self) -> Value {
        let consensus = &self.consensus;
        let leads = consensus.leads();
        let view = consensus.local();
        let peers = consensus.raft.voter_ids().len().saturating_sub(1);
        json!({
            "consul": {
                "acl": "disabled",
                "bootstrap": (self.config.bootstrap_expect == 1).to_string(),
                "known_datacenters": "1",
                "leader": leads.to_string(),
                "leader_addr": consensus.leader_address().unwrap_or_default(),
                "server": "true",
            },
            "raft": {
                "applied_index": view.state.index().to_string(),
                "last_contact": if leads { "0".to_owned() } else { format!("{:?}", view.last_contact) },
                "num_peers": peers.to_string(),
                "state": if leads { "Leader" } else { "Follower" },
            },
        })
    }

    fn reload(&self) -> Boxed<'_, Result<(), NotDone>> {
        Box::pin(async move { Reload::carry_out(self.reload.as_ref()) })
    }

    fn leave(&self) -> Boxed<'_, Result<(), NotDone>> {
        Box::pin(async move {
            Err(NotDone(
                "a server cannot leave before gossip exists: stop it, and take it out with `operator raft remove-peer`"
                    .to_owned(),
            ))
        })
    }

    fn metrics(&self, prometheus: bool) -> Option<(String, &'static str)> {
        Some(crate::metrics::render(&self.metrics, prometheus))
    }
}

impl OfServer {
    /// A server as its gossip would show it; alive or not as the leader says.
    fn member(&self, state: &State, id: crate::raft::ServerId) -> Option<Member> {
        let members = &self.consensus.members;
        let own = id == self.consensus.id;
        let address = match own {
            true => members.advertise,
            false => members.book.get(id)?,
        };
        let name = match own {
            true => members.name.clone(),
            false => members.name_of(id),
        };
        let health = state.check(&name, SERF_HEALTH).value;
        let failed = health.is_some_and(|check| check.spec.status.as_str() == "critical");
        let port = |port: Option<u16>| port.unwrap_or(0);
        let ports = &self.config.ports;
        let tags = [
            ("acls", "0".to_owned()),
            ("build", format!("{API_VERSION}:")),
            ("dc", self.config.datacenter.clone()),
            ("id", id.to_string()),
            ("port", address.port().to_string()),
            ("raft_vsn", "3".to_owned()),
            ("role", "consul".to_owned()),
            ("segment", String::new()),
            ("vsn", "2".to_owned()),
            ("vsn_max", "3".to_owned()),
            ("vsn_min", "2".to_owned()),
            ("wan_join_port", port(ports.serf_wan).to_string()),
            ("rc_kind", "server".to_owned()),
        ];
        let status = if failed && !own { FAILED } else { ALIVE };
        Some(member(
            &name,
            address.ip(),
            port(ports.serf_lan),
            status,
            &tags,
        ))
    }
}
