//! `/v1/agent/*` as recorded from Consul 1.20.1: on a server, and on an agent before a server; and the traps of clients that
//! belong here, each by its name.

use std::collections::BTreeMap;
use std::net::IpAddr;

use harness::recording::{self, Body, Indexes, Recording, Renaming};
use harness::server::{Scratch, free_port};
use harness::{Request, Response, Server, Settings};
use serde_json::{Value, json};

/// What says more of a machine or a mesh than of the agent: looked at in a test of its own.
const OWN_TEST: [&str; 4] = [
    "/v1/agent/self",
    "/v1/agent/members",
    "/v1/agent/host",
    "/v1/agent/metrics",
];

fn server(scratch: &Scratch) -> Server {
    let mut settings = Settings::single(scratch.path());
    // The recorded address, which stands in rows.
    settings.address = IpAddr::from([127, 0, 0, 1]);
    settings.http_port = free_port(settings.address);
    settings.server_port = free_port(settings.address);
    settings.dev = false;
    settings.more.insert("bootstrap".into(), json!(true));
    // Other suites use the address too, but not the ports.
    let ports = json!({"http": settings.http_port, "server": settings.server_port, "dns": -1});
    settings.more.insert("ports".into(), ports);
    let mut server = Server::new(settings, scratch.path());
    server.start_and_wait();
    server
}

/// An agent of its own node before a server.
fn agent(scratch: &Scratch, server: &Server) -> Server {
    let mut settings = Settings::single(scratch.path());
    settings.node_name = "edge".to_owned();
    settings.dev = false;
    settings.address = IpAddr::from([127, 0, 0, 1]);
    settings.http_port = free_port(settings.address);
    settings.server_port = free_port(settings.address);
    settings.data_dir = scratch.path().join("edge");
    settings.more.insert("server".into(), json!(false));
    settings
        .more
        .insert("retry_join".into(), json!([server.http().to_string()]));
    let mut agent = Server::new(settings, scratch.path());
    agent.start_and_wait();
    agent
}

/// Checks come in the order of a Go map, and long answers without their length: neither says anything.
fn settled(value: &mut Value) {
    match value {
        Value::Array(values) => {
            values.iter_mut().for_each(settled);
            values.sort_by_key(|value| value["CheckID"].as_str().unwrap_or_default().to_owned());
        }
        Value::Object(fields) => {
            fields.remove("ContentHash");
            fields.values_mut().for_each(settled);
        }
        _ => {}
    }
}

fn differences(
    mut recording: Recording,
    server: &Server,
    mut answer: Response,
    indexes: &mut Indexes,
) -> Vec<String> {
    let length = |(name, _): &(String, String)| name != "Content-Length";
    recording.headers.retain(length);
    answer.headers.retain(length);
    if let Body::Json(expected) = &mut recording.body {
        settled(expected);
        let mut ours = answer.json();
        settled(&mut ours);
        answer.body = ours.to_string().into_bytes();
    }
    let renaming = Renaming::none(&server.settings.node_name);
    recording::differences(&recording, &renaming, &answer, indexes)
}

/// Replays the group but for `skipped` paths.
fn replay(server: &Server, skipped: &[&str]) {
    let mut indexes = Indexes::default();
    let mut faults = Vec::new();
    let renaming = Renaming::none(&server.settings.node_name);
    let recordings = recording::load()
        .into_iter()
        .filter(|recording| recording.group == "agent");
    let mut replayed = 0;
    for recording in recordings {
        let path = recording.path.split('?').next().unwrap_or_default();
        if OWN_TEST.contains(&path)
            || skipped
                .iter()
                .any(|skipped| recording.path.starts_with(skipped))
        {
            continue;
        }
        let mut request = Request::new(&recording.method, &renaming.path(&recording));
        if !recording.request_body.is_empty() {
            request = request.body(recording.request_body.clone());
        }
        let answer = server.send(&request);
        let title = recording.title();
        let found = differences(recording, server, answer, &mut indexes);
        faults.extend(found.into_iter().map(|fault| format!("{title}: {fault}")));
        replayed += 1;
    }
    assert!(replayed > 50, "{replayed}");
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_servers_agent_answers_as_recorded() {
    let scratch = Scratch::new();
    // The node's `consul` service says less of a mesh than Consul's.
    replay(&server(&scratch), &["/v1/catalog/node/"]);
}

#[test]
fn an_agent_before_a_server_answers_as_recorded() {
    let scratch = Scratch::new();
    let server = server(&scratch);
    let agent = agent(&scratch, &server);
    // Its node has no serfHealth yet, and no `consul` service.
    replay(&agent, &["/v1/catalog/node/", "/v1/health/service/"]);
}

#[test]
fn what_clients_read_of_self_and_members_is_there() {
    let scratch = Scratch::new();
    let server = server(&scratch);
    let agent = agent(&scratch, &server);
    for (asked, is_server) in [(&server, true), (&agent, false)] {
        let name = &asked.settings.node_name;
        let itself = asked.get("/v1/agent/self").json();
        assert_eq!(itself["Config"]["Version"], "1.20.1");
        assert_eq!(itself["Config"]["NodeName"], **name);
        assert_eq!(itself["Config"]["Datacenter"], "dc1");
        assert_eq!(itself["Config"]["Server"], is_server);
        assert_eq!(itself["Config"]["SessionTTLMin"], 10_000_000_000_u64);
        assert_eq!(itself["Member"]["Addr"], "127.0.0.1");
        assert_eq!(itself["DebugConfig"]["GRPCPort"], -1);
        assert_eq!(itself["DebugConfig"]["ConnectEnabled"], false);
        assert_eq!(itself["Stats"]["consul"]["server"], is_server.to_string());
    }
    let own = server.get("/v1/agent/members").json();
    assert_eq!(own[0]["Name"], "solo");
    assert_eq!(own[0]["Status"], 1);
    assert_eq!(own[0]["Tags"]["role"], "consul");
    let wan = server.get("/v1/agent/members?wan=1").json();
    assert_eq!(wan[0]["Name"], "solo.dc1");
}

/// Registers services under ids that need care in paths, and takes them off by each spelling.
fn ids_in_paths(ids: &[(&str, &str)]) {
    let scratch = Scratch::new();
    let server = server(&scratch);
    for (id, spelt) in ids {
        let body = json!({"ID": id, "Name": "a", "Check": {"CheckID": id, "TTL": "1h"}});
        assert_eq!(
            server
                .put("/v1/agent/service/register", body.to_string())
                .status,
            200
        );
        let pass = server.put(&format!("/v1/agent/check/pass/{spelt}?note=n"), "");
        assert_eq!(pass.status, 200, "{spelt}: {}", pass.text());
        let health = server.get(&format!("/v1/agent/health/service/id/{spelt}?format=text"));
        assert_eq!(
            (health.status, health.text().as_str()),
            (200, "passing"),
            "{spelt}"
        );
        assert_eq!(
            server.get(&format!("/v1/agent/service/{spelt}")).json()["ID"],
            **id
        );
        let gone = server.put(&format!("/v1/agent/service/deregister/{spelt}"), "");
        assert_eq!(gone.status, 200, "{spelt}: {}", gone.text());
        assert_eq!(server.get("/v1/agent/services").json(), json!({}));
    }
}

#[test]
fn ids_with_raw_slash_and_with_2f() {
    ids_in_paths(&[("scope/name", "scope/name"), ("scope/name", "scope%2Fname")]);
}

#[test]
fn colon_ids() {
    let vault = "vault:10.0.0.1:8200:vault-sealed-check";
    ids_in_paths(&[(vault, vault), ("host:web:80:udp", "host%3Aweb%3A80%3Audp")]);
}

#[test]
fn agent_health_429_and_503() {
    let scratch = Scratch::new();
    let server = server(&scratch);
    let body = json!({"Name": "a", "Check": {"CheckID": "c", "TTL": "1h"}});
    server.put("/v1/agent/service/register", body.to_string());
    let health = |kind: &str| {
        server
            .get(&format!("/v1/agent/health/service/{kind}"))
            .status
    };
    for (said, status) in [("pass", 200), ("warn", 429), ("fail", 503)] {
        server.put(&format!("/v1/agent/check/{said}/c"), "");
        assert_eq!(
            (health("id/a"), health("name/a")),
            (status, status),
            "{said}"
        );
    }
    assert_eq!((health("id/ghost"), health("name/ghost")), (404, 404));
}

#[test]
fn replace_existing_checks() {
    let scratch = Scratch::new();
    let server = server(&scratch);
    let register = |path: &str, checks: &[&str]| {
        let checks: Vec<Value> = checks
            .iter()
            .map(|id| json!({"CheckID": id, "TTL": "1h"}))
            .collect();
        let body = json!({"Name": "a", "Checks": checks});
        assert_eq!(server.put(path, body.to_string()).status, 200);
        let checks: BTreeMap<String, Value> =
            serde_json::from_value(server.get("/v1/agent/checks").json()).expect("a map");
        checks.into_keys().collect::<Vec<_>>()
    };
    const PATH: &str = "/v1/agent/service/register";
    assert_eq!(register(PATH, &["one", "two"]), ["one", "two"]);
    assert_eq!(register(PATH, &["three"]), ["one", "three", "two"]);
    assert_eq!(
        register(&format!("{PATH}?replace-existing-checks=false"), &["two"]),
        ["one", "three", "two"]
    );
    assert_eq!(
        register(&format!("{PATH}?replace-existing-checks"), &["two"]),
        ["two"]
    );
    assert_eq!(
        register(&format!("{PATH}?replace-existing-checks=true"), &["four"]),
        ["four"]
    );
}

#[test]
fn maintenance_ids_are_matched_literally() {
    let scratch = Scratch::new();
    let server = server(&scratch);
    server.put(
        "/v1/agent/service/register",
        r#"{"ID": "a/b", "Name": "a"}"#,
    );
    server.put("/v1/agent/maintenance?enable=true&reason=up+grade", "");
    server.put("/v1/agent/service/maintenance/a/b?enable=true", "");
    let checks = server.get("/v1/agent/checks").json();
    assert_eq!(checks["_node_maintenance"]["Notes"], "up grade");
    assert_eq!(checks["_service_maintenance:a/b"]["Status"], "critical");
    let in_catalog = server.get("/v1/health/node/solo").json();
    let ids: Vec<&str> = (in_catalog.as_array().into_iter().flatten())
        .filter_map(|check| check["CheckID"].as_str())
        .collect();
    assert!(
        ids.contains(&"_node_maintenance") && ids.contains(&"serfHealth"),
        "{ids:?}"
    );
}

#[test]
fn a_client_that_waits_with_a_hash_is_answered_when_the_service_changes() {
    let scratch = Scratch::new();
    let server = server(&scratch);
    server.put("/v1/agent/service/register", r#"{"Name": "a"}"#);
    let hash = server.get("/v1/agent/service/a").json()["ContentHash"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert_eq!(hash.len(), 16);
    let waiting = format!("/v1/agent/service/a?hash={hash}&wait=30s");
    let parked = std::thread::scope(|scope| {
        let parked = scope.spawn(|| server.get(&waiting));
        server.put("/v1/agent/service/register", r#"{"Name": "a", "Port": 7}"#);
        parked.join().expect("the waiting request must not panic")
    });
    assert_eq!(parked.json()["Port"], 7);
    assert_ne!(parked.header("X-Consul-Contenthash"), Some(hash.as_str()));
}
