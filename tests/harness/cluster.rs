//! Three servers on this machine that form one cluster.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::http::Request;
use crate::server::{Scratch, Server, Settings, binary, free_port, loopback_address};
use crate::wait_for;

/// A cluster finds (again) a leader that all servers know within this.
pub const LEADER_BOUND: Duration = Duration::from_secs(60);
/// A server that was away has everything within this.
pub const CATCH_UP_BOUND: Duration = Duration::from_secs(60);

/// Three servers. Dropping it ends them; the directory stays when the test failed.
#[derive(Debug)]
pub struct Cluster {
    /// The servers; their order means nothing.
    pub servers: Vec<Server>,
    /// Where their data, logs and configurations are. Dropped last.
    pub scratch: Scratch,
}

impl Cluster {
    /// Three servers, started, with a leader that all of them know.
    pub fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// The same, with settings changed before the first start.
    pub fn start_with(change: impl Fn(&mut Settings)) -> Self {
        let mut cluster = Self::prepared();
        for server in &mut cluster.servers {
            change(&mut server.settings);
            server.start();
        }
        cluster.wait_until_all_answer();
        cluster
    }

    /// Three servers that are not started yet.
    pub fn prepared() -> Self {
        let scratch = Scratch::new();
        let IpAddr::V4(first) = loopback_address(1) else {
            unreachable!("loopback_address is IPv4")
        };
        let addresses = [1, 2, 3].map(|last| {
            let [a, b, c, _] = first.octets();
            IpAddr::from([a, b, c, last])
        });
        let ports = addresses.map(|address| (free_port(address), free_port(address)));
        let join = |index: usize| format!("{}:{}", addresses[index], ports[index].1);
        let servers = (0..3).map(|index| {
            let node_name = format!("server-{}", index + 1);
            let settings = Settings {
                data_dir: scratch.path().join(&node_name),
                node_name,
                address: addresses[index],
                http_port: ports[index].0,
                server_port: ports[index].1,
                dev: false,
                bootstrap_expect: 3,
                retry_join: (0..3).map(join).collect(),
                more: Map::new(),
                wrapper: Vec::new(),
                binary: binary(),
            };
            Server::new(settings, scratch.path())
        });
        Self {
            servers: servers.collect(),
            scratch,
        }
    }

    /// Waits until every server answers linearizable reads and all three are voters.
    pub fn wait_until_all_answer(&mut self) {
        for server in &mut self.servers {
            server.wait_until_it_answers();
        }
        wait_for("three voters", LEADER_BOUND, || {
            let answer =
                self.servers[0].try_send(&Request::new("GET", "/v1/operator/raft/configuration"));
            let answer = answer.map_err(|error| error.to_string())?;
            let voters = match answer.status {
                200 => answer.json()["Servers"].as_array().map_or(0, |servers| {
                    servers
                        .iter()
                        .filter(|server| server["Voter"] == Value::Bool(true))
                        .count()
                }),
                _ => 0,
            };
            if voters == 3 {
                Ok(())
            } else {
                Err(answer.text())
            }
        });
    }

    /// Which server leads, as a server that runs sees it; all that run must agree.
    pub fn leader(&mut self) -> usize {
        let addresses: Vec<String> = self.servers.iter().map(Server::server_address).collect();
        wait_for("one leader that all know", LEADER_BOUND, || {
            let mut leaders = Vec::new();
            for server in &mut self.servers {
                if server.is_running() {
                    let answer = server.try_send(&Request::new("GET", "/v1/status/leader"));
                    leaders.push(answer.map_err(|error| error.to_string())?.text());
                }
            }
            let agreed = leaders.windows(2).all(|pair| pair[0] == pair[1]);
            let leader = leaders.first().filter(|_| agreed);
            let index = leader.and_then(|leader| {
                addresses
                    .iter()
                    .position(|address| *leader == format!("\"{address}\""))
            });
            match index {
                Some(index) if self.servers[index].is_running() => Ok(index),
                _ => Err(format!("{leaders:?}")),
            }
        })
    }

    /// A server that does not lead.
    pub fn follower(&mut self) -> usize {
        (self.leader() + 1) % 3
    }

    /// Hands leadership to this server, and waits until all know it.
    pub fn make_leader(&mut self, index: usize) {
        let address = self.servers[index].server_address();
        wait_for(&format!("server {index} to lead"), LEADER_BOUND, || {
            let leader = self.leader();
            if leader == index {
                return Ok(());
            }
            let asked = &self.servers[leader];
            let servers = asked.get("/v1/operator/raft/configuration").json();
            let id = servers["Servers"]
                .as_array()
                .and_then(|servers| servers.iter().find(|server| server["Address"] == address))
                .and_then(|server| server["ID"].as_str().map(str::to_owned))
                .ok_or_else(|| format!("{address} is not in {servers}"))?;
            let path = format!("/v1/operator/raft/transfer-leader?id={id}");
            let answer = asked.try_send(&Request::new("POST", &path));
            let answer = answer.map_err(|error| error.to_string())?;
            Err(format!(
                "server {leader} leads, and answered {} {}",
                answer.status,
                answer.text()
            ))
        });
    }

    /// Waits until all three have applied a write made now. Their own state is asked (`?stale`), not the leader's.
    pub fn wait_until_caught_up(&mut self) {
        let mark = uuid::Uuid::new_v4().to_string();
        wait_for("a write to be taken", LEADER_BOUND, || {
            let request = Request::new("PUT", "/v1/kv/caught-up").body(mark.clone());
            match self.servers[0].try_send(&request) {
                Ok(answer) if answer.status == 200 => Ok(()),
                Ok(answer) => Err(answer.text()),
                Err(error) => Err(error.to_string()),
            }
        });
        for server in &self.servers {
            let name = &server.settings.node_name;
            wait_for(&format!("{name} to catch up"), CATCH_UP_BOUND, || {
                let answer = server.try_send(&Request::new("GET", "/v1/kv/caught-up?stale&raw"));
                let answer = answer.map_err(|error| error.to_string())?;
                if answer.text() == mark {
                    Ok(())
                } else {
                    Err(answer.text())
                }
            });
        }
    }
}
