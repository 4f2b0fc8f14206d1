//! A server is its id, not its address or its name: copies are turned away, moved servers are found again, and a server
//! whose disk was wiped comes back as a new one in its own place.

use std::fs;
use std::path::Path;
use std::time::Duration;

use harness::cluster::CATCH_UP_BOUND;
use harness::server::free_port;
use harness::{Cluster, Request, Server, wait_for};
use serde_json::Value;

/// A copy must be refused within this: one probe, on a busy machine.
const REFUSAL_BOUND: Duration = Duration::from_secs(30);

fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory must be makeable");
    for entry in fs::read_dir(from).expect("the data directory must be readable") {
        let entry = entry.expect("an entry must be readable");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a file must be copyable");
        }
    }
}

/// Servers of the Raft configuration as `server` answers them: id, address, whether it votes.
fn configuration(server: &Server) -> Result<Vec<(String, String, bool)>, String> {
    let answer = server
        .try_send(&Request::new("GET", "/v1/operator/raft/configuration"))
        .map_err(|error| error.to_string())?;
    let body = answer.json();
    let servers = body["Servers"].as_array().ok_or_else(|| answer.text())?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(servers
        .iter()
        .map(|server| {
            (
                text(&server["ID"]),
                text(&server["Address"]),
                server["Voter"] == true,
            )
        })
        .collect())
}

#[test]
fn a_copy_of_a_data_directory_is_turned_away_and_named_while_the_first_goes_on() {
    let cluster = Cluster::start();
    cluster.servers[0].put("/v1/kv/kept", "1");
    let copied = cluster.scratch.path().join("copied");
    copy_directory(&cluster.servers[1].settings.data_dir, &copied);
    let mut settings = cluster.servers[1].settings.clone();
    settings.data_dir = copied.clone();
    settings.http_port = free_port(settings.address);
    settings.server_port = free_port(settings.address);
    let beside = cluster.scratch.path().join("newcomer");
    fs::create_dir_all(&beside).expect("a directory must be makeable");
    let mut newcomer = Server::new(settings, &beside);
    newcomer.start();
    let exit = newcomer.wait_for_exit(REFUSAL_BOUND);
    assert!(!exit.status.success(), "{}", exit.output);
    let named = copied.to_str().expect("test paths must be UTF-8");
    assert!(
        exit.output.contains(named) && exit.output.contains("copy"),
        "{}",
        exit.output
    );
    for server in &cluster.servers {
        assert_eq!(server.get("/v1/kv/kept?raw").text(), "1");
    }
    assert_eq!(cluster.servers[1].put("/v1/kv/kept", "2").status, 200);
}

#[test]
fn a_server_with_a_wiped_disk_takes_its_own_place_as_a_new_server() {
    let mut cluster = Cluster::start();
    cluster.servers[0].put("/v1/kv/kept", "1");
    let victim = cluster.follower();
    let before = configuration(&cluster.servers[victim]).expect("it must answer");
    let address = cluster.servers[victim].server_address();
    let old_id = before
        .iter()
        .find(|(_, at, _)| *at == address)
        .expect("it must be a member")
        .0
        .clone();
    cluster.servers[victim].kill();
    fs::remove_dir_all(&cluster.servers[victim].settings.data_dir)
        .expect("the disk must be wipeable");
    cluster.servers[victim].start();
    let other = (victim + 1) % 3;
    wait_for("three voters without the old id", CATCH_UP_BOUND, || {
        let now = configuration(&cluster.servers[other])?;
        let done = now.len() == 3 && now.iter().all(|(id, _, voter)| *voter && *id != old_id);
        if done {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    });
    wait_for(
        "the new server has what was written",
        CATCH_UP_BOUND,
        || {
            let answer = cluster.servers[victim].try_send(&Request::new("GET", "/v1/kv/kept?raw"));
            match answer {
                Ok(answer) if answer.text() == "1" => Ok(()),
                Ok(answer) => Err(answer.text()),
                Err(error) => Err(error.to_string()),
            }
        },
    );
}

#[test]
fn servers_that_all_come_back_at_other_addresses_find_each_other_by_their_ids() {
    let mut cluster = Cluster::start();
    cluster.servers[0].put("/v1/kv/kept", "1");
    let ids = |cluster: &Cluster| {
        let mut ids: Vec<_> = configuration(&cluster.servers[0])
            .expect("it must answer")
            .into_iter()
            .map(|(id, ..)| id)
            .collect();
        ids.sort();
        ids
    };
    let before = ids(&cluster);
    for server in &mut cluster.servers {
        server.kill();
    }
    // As a StatefulSet does it: names stay (here: retry_join is given anew), every address is another one.
    for server in &mut cluster.servers {
        server.settings.server_port = free_port(server.settings.address);
    }
    let join: Vec<String> = cluster.servers.iter().map(Server::server_address).collect();
    for server in &mut cluster.servers {
        server.settings.retry_join = join.clone();
        server.start();
    }
    cluster.wait_until_all_answer();
    assert_eq!(cluster.servers[1].get("/v1/kv/kept?raw").text(), "1");
    assert_eq!(cluster.servers[2].put("/v1/kv/kept", "2").status, 200);
    assert_eq!(ids(&cluster), before);
}

/// A departure is not an outage: the two that stay are the whole cluster then, and bear it that nobody comes back.
#[test]
fn a_server_told_to_leave_is_taken_out_and_its_next_start_lets_it_in_again() {
    let mut cluster = Cluster::start_with(|settings| {
        let leaves = Value::Bool(true);
        settings
            .more
            .insert("leave_on_terminate".to_owned(), leaves);
    });
    // The leader is the harder case: it has to hand over before it can be taken out.
    let leaver = cluster.leader();
    let stays = (leaver + 1) % 3;
    let address = cluster.servers[leaver].server_address();
    let exit = cluster.servers[leaver].stop();
    assert!(exit.status.success(), "{}", exit.output);
    let now = configuration(&cluster.servers[stays]).expect("it must answer");
    assert!(
        now.len() == 2 && now.iter().all(|(_, at, voter)| *voter && *at != address),
        "{now:?}\n{}",
        exit.output
    );
    assert_eq!(cluster.servers[stays].put("/v1/kv/kept", "1").status, 200);
    cluster.servers[leaver].start();
    cluster.wait_until_all_answer();
    cluster.wait_until_caught_up();
    assert_eq!(cluster.servers[leaver].get("/v1/kv/kept?raw").text(), "1");
}
