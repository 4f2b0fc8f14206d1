//! Anti-entropy over real processes: what is lost comes back, what is kept survives, what is others' stays.

use std::net::IpAddr;
use std::time::Duration;

use harness::server::{Scratch, free_port, loopback_address};
use harness::{Request, Server, Settings, wait_for};
use serde_json::{Value, json};

/// "Within a second", with room for a debug build on a busy machine.
const SOON: Duration = Duration::from_secs(5);
/// A server that was wiped forms anew, and its agents have to notice.
const REFORMED: Duration = Duration::from_secs(30);

fn settings(scratch: &Scratch, name: &str, address: IpAddr) -> Settings {
    let mut settings = Settings::single(scratch.path());
    settings.node_name = name.to_owned();
    settings.address = address;
    settings.http_port = free_port(address);
    settings.server_port = free_port(address);
    settings.data_dir = scratch.path().join(name);
    settings
}

fn server(scratch: &Scratch) -> Server {
    let mut server = Server::new(
        settings(scratch, "solo", loopback_address(1)),
        scratch.path(),
    );
    server.start_and_wait();
    server
}

fn agent(scratch: &Scratch, server: &Server) -> Server {
    let mut settings = settings(scratch, "edge", loopback_address(2));
    settings.dev = false;
    settings.more.insert("server".into(), json!(false));
    settings
        .more
        .insert("retry_join".into(), json!([server.http().to_string()]));
    let mut agent = Server::new(settings, scratch.path());
    agent.start_and_wait();
    agent
}

fn put(server: &Server, path: &str, body: Value) {
    let answer = server.put(path, body.to_string());
    assert_eq!(answer.status, 200, "{path} {body}: {}", answer.text());
}

/// The ports of the services of a node, by id.
fn ports(server: &Server, node: &str) -> Result<Value, String> {
    let answer = server.try_send(&Request::new("GET", &format!("/v1/catalog/node/{node}")));
    let answer = answer.map_err(|error| error.to_string())?;
    if answer.status != 200 {
        return Err(format!("{} {}", answer.status, answer.text()));
    }
    let services = answer.json()["Services"].clone();
    let ports = services.as_object().into_iter().flatten();
    Ok(ports
        .filter(|(id, _)| *id != "consul")
        .map(|(id, service)| (id.clone(), service["Port"].clone()))
        .collect::<serde_json::Map<_, _>>()
        .into())
}

fn wait_for_ports(server: &Server, node: &str, bound: Duration, expected: &Value) {
    wait_for(
        &format!("services of {node} to be {expected}"),
        bound,
        || {
            let found = ports(server, node)?;
            if found == *expected {
                Ok(())
            } else {
                Err(found.to_string())
            }
        },
    );
}

#[test]
fn what_is_deregistered_behind_the_agents_back_comes_back_and_what_is_others_stays() {
    let scratch = Scratch::new();
    let server = server(&scratch);
    let agent = agent(&scratch, &server);
    for (at, node) in [(&server, "solo"), (&agent, "edge")] {
        put(
            at,
            "/v1/agent/service/register",
            json!({"Name": "web", "Port": 80, "Check": {"CheckID": "c", "TTL": "1h"}}),
        );
        let theirs = json!({"Node": node, "SkipNodeUpdate": true, "Service": {"Service": "theirs", "Port": 9}});
        put(&server, "/v1/catalog/register", theirs);
        let both = json!({"theirs": 9, "web": 80});
        wait_for_ports(&server, node, SOON, &both);
        put(
            &server,
            "/v1/catalog/deregister",
            json!({"Node": node, "ServiceID": "web"}),
        );
        wait_for_ports(&server, node, SOON, &both);
        put(
            &server,
            "/v1/catalog/deregister",
            json!({"Node": node, "CheckID": "c"}),
        );
        wait_for("the check to come back", SOON, || {
            let checks = server.get(&format!("/v1/health/node/{node}")).json();
            let there = checks
                .as_array()
                .into_iter()
                .flatten()
                .any(|check| check["CheckID"] == "c");
            if there {
                Ok(())
            } else {
                Err(checks.to_string())
            }
        });
        // Overwritten under the same id: the agent is right about its own node.
        let wrong =
            json!({"Node": node, "SkipNodeUpdate": true, "Service": {"Service": "web", "Port": 1}});
        put(&server, "/v1/catalog/register", wrong);
        wait_for_ports(&server, node, SOON, &both);
        // The whole node: what clients wrote into the catalog is gone then, as they said.
        put(&server, "/v1/catalog/deregister", json!({"Node": node}));
        wait_for_ports(&server, node, REFORMED, &json!({"web": 80}));
    }
}

#[test]
fn registrations_and_check_states_survive_kill_9_of_server_and_agent() {
    let scratch = Scratch::new();
    let mut server = server(&scratch);
    let mut agent = agent(&scratch, &server);
    for at in [&server, &agent] {
        put(
            at,
            "/v1/agent/service/register",
            json!({"ID": "a/b", "Name": "web", "Port": 80, "Check": {"CheckID": "c", "TTL": "1h"}}),
        );
        assert_eq!(at.put("/v1/agent/check/warn/c?note=hm", "").status, 200);
        assert_eq!(
            at.put("/v1/agent/service/maintenance/a/b?enable=true&reason=r", "")
                .status,
            200
        );
    }
    server.kill();
    agent.kill();
    server.start_and_wait();
    agent.start_and_wait();
    for at in [&server, &agent] {
        let checks = at.get("/v1/agent/checks").json();
        assert_eq!(checks["c"]["Status"], "warning", "{checks}");
        assert_eq!(checks["c"]["Output"], "hm");
        assert_eq!(checks["_service_maintenance:a/b"]["Notes"], "r");
        assert_eq!(at.get("/v1/agent/services").json()["a/b"]["Port"], 80);
        // What was deregistered stays so.
        assert_eq!(at.put("/v1/agent/service/deregister/a/b", "").status, 200);
        assert_eq!(at.get("/v1/agent/checks").json(), json!({}));
    }
}

#[test]
fn an_agent_registers_again_with_a_server_that_lost_everything() {
    let scratch = Scratch::new();
    let mut server = server(&scratch);
    let agent = agent(&scratch, &server);
    put(
        &agent,
        "/v1/agent/service/register",
        json!({"Name": "web", "Port": 80}),
    );
    server.kill();
    std::fs::remove_dir_all(&server.settings.data_dir).expect("the data directory must be there");
    server.start_and_wait();
    wait_for_ports(&server, "edge", REFORMED, &json!({"web": 80}));
}

#[test]
fn an_agent_passes_the_rest_on_and_says_what_is_unknown() {
    let scratch = Scratch::new();
    let mut server = server(&scratch);
    let agent = agent(&scratch, &server);
    assert_eq!(agent.put("/v1/kv/a%2Fb?flags=7", "x").text(), "true");
    assert_eq!(server.get("/v1/kv/a/b?raw").text(), "x");
    let index = agent
        .get("/v1/kv/a/b")
        .header("X-Consul-Index")
        .map(str::to_owned);
    let index = index.expect("a read through an agent must have its index");
    let changed = std::thread::scope(|scope| {
        let path = format!("/v1/kv/a/b?raw&wait=30s&index={index}");
        let parked = scope.spawn(|| agent.get(&{ path }));
        server.put("/v1/kv/a/b", "y");
        parked.join().expect("the parked read must not panic")
    });
    assert_eq!(changed.text(), "y");
    let large = vec![b'v'; 2 << 20];
    assert_eq!(agent.put("/v1/kv/large", large).status, 413);
    assert_eq!(agent.get("/v1/nothing").status, 404);
    server.kill();
    let down = agent.put("/v1/kv/a", "z");
    assert_eq!(down.status, 500, "{}", down.text());
    // What is the node's own is answered without servers.
    assert_eq!(agent.get("/v1/agent/services").status, 200);
}

#[test]
fn a_node_stays_registered_until_its_agent_leaves() {
    let scratch = Scratch::new();
    let server = server(&scratch);
    let mut agent = agent(&scratch, &server);
    put(
        &agent,
        "/v1/agent/service/register",
        json!({"Name": "web", "Port": 80}),
    );
    agent.stop();
    assert_eq!(ports(&server, "edge"), Ok(json!({"web": 80})));
    agent.start_and_wait();
    assert_eq!(agent.put("/v1/agent/leave", "").status, 200);
    agent.wait_for_exit(SOON);
    assert_eq!(server.get("/v1/catalog/node/edge").json(), Value::Null);
}

#[test]
fn a_damaged_registration_is_named_at_the_start_and_left_alone() {
    let scratch = Scratch::new();
    let mut server = server(&scratch);
    put(
        &server,
        "/v1/agent/service/register",
        json!({"Name": "web"}),
    );
    server.kill();
    let directory = server.settings.data_dir.join("agent/services");
    let file = std::fs::read_dir(&directory)
        .expect("readable")
        .next()
        .expect("one file")
        .expect("readable")
        .path();
    std::fs::write(&file, "{\"format\": 1").expect("writable");
    server.start();
    let exit = server.wait_for_exit(REFORMED);
    assert!(!exit.status.success());
    assert!(
        exit.output.contains(&file.display().to_string()),
        "{}",
        exit.output
    );
    assert_eq!(
        std::fs::read_to_string(&file).expect("readable"),
        "{\"format\": 1"
    );
}
