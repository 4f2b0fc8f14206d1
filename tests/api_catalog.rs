//! What clients of the catalog stumble over, each trap a test of its name, over the real binary.
//!
//! The recordings (`api_replay`) say what answers look like; here is what they cannot show: exact bytes, what comes after a
//! restore, odd ids, and what is refused.

use harness::server::Scratch;
use harness::{Request, Server, Settings};
use serde_json::{Value, json};

fn single() -> (Server, Scratch) {
    let scratch = Scratch::new();
    let mut server = Server::new(Settings::single(scratch.path()), scratch.path());
    server.start_and_wait();
    (server, scratch)
}

fn register(server: &Server, body: &Value) {
    let answer = server.put("/v1/catalog/register", body.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn web(server: &Server, node: &str, id: &str, status: &str) {
    register(
        server,
        &json!({"Node": node, "Address": "10.0.0.1", "NodeMeta": {"rack": "r1"},
            "Service": {"ID": id, "Service": "web", "Tags": ["v1"], "Port": 80},
            "Check": {"CheckID": format!("service:{id}"), "Name": "alive", "Status": status, "ServiceID": id}}),
    );
}

fn names<'v>(rows: &'v Value, field: &str) -> Vec<&'v str> {
    let rows = rows.as_array().expect("an answer must be a list");
    rows.iter().filter_map(|row| row[field].as_str()).collect()
}

/// Every read of catalog, health and queries that blocks.
const READS: [&str; 14] = [
    "/v1/catalog/nodes",
    "/v1/catalog/services",
    "/v1/catalog/service/web",
    "/v1/catalog/service/never",
    "/v1/catalog/node/n1",
    "/v1/catalog/node/never",
    "/v1/catalog/node-services/n1",
    "/v1/health/node/n1",
    "/v1/health/node/never",
    "/v1/health/checks/web",
    "/v1/health/service/web",
    "/v1/health/service/never",
    "/v1/health/state/any",
    "/v1/health/state/warning",
];

#[test]
fn header_case_is_gos() {
    let (server, _scratch) = single();
    for path in READS {
        let answer = server.get(path);
        let sent: Vec<&str> = answer
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        for name in [
            "X-Consul-Index",
            "X-Consul-Knownleader",
            "X-Consul-Lastcontact",
            "Content-Type",
        ] {
            assert!(sent.contains(&name), "{path}: {name} is not in {sent:?}");
        }
    }
}

#[test]
fn the_index_is_never_0_and_moves_per_resource() {
    let (server, _scratch) = single();
    let indexes = || READS.map(|path| server.get(path).index());
    assert!(!indexes().contains(&0), "{:?}", indexes());
    web(&server, "n1", "web-1", "passing");
    let before = indexes();
    register(
        &server,
        &json!({"Node": "n2", "Address": "10.0.0.2", "Service": {"Service": "db"}}),
    );
    let moved: Vec<&str> = (READS.iter().zip(before.iter().zip(indexes())))
        .filter(|(_, (before, now))| **before != *now)
        .map(|(path, _)| *path)
        .collect();
    assert_eq!(moved, ["/v1/catalog/nodes", "/v1/catalog/services"]);
    // The same once more changes nothing.
    let before = indexes();
    register(
        &server,
        &json!({"Node": "n2", "Address": "10.0.0.2", "Service": {"Service": "db"}}),
    );
    assert_eq!(indexes(), before);
}

#[test]
fn the_index_after_a_restore_is_another_where_the_answer_is() {
    let (server, _scratch) = single();
    web(&server, "n1", "web-1", "passing");
    let saved = server.get("/v1/snapshot");
    assert_eq!(saved.status, 200);
    let old = server.get("/v1/health/service/web");
    web(&server, "n1", "web-1", "critical");
    let changed = server.get("/v1/health/service/web");
    assert!(changed.index() > old.index());
    let mut parked = server.connect().expect("the server must take connections");
    let head = format!(
        "GET /v1/health/service/web?index={}&wait=60s HTTP/1.1\r\nHost: t\r\n\r\n",
        changed.index()
    );
    parked
        .write(head.as_bytes())
        .expect("a request must be taken");
    assert!(parked.is_silent().expect("the connection must stay open"));
    let restored = server.put("/v1/snapshot", saved.body.clone());
    assert_eq!(restored.status, 200, "{}", restored.text());
    let parked = parked.read("GET").expect("a parked query must be answered");
    let status = |answer: &harness::Response| answer.json()[0]["Checks"][0]["Status"].clone();
    assert_eq!(status(&parked), "passing");
    assert!(parked.index() > 0);
    // What was encoded before the restore is not shown again.
    assert_eq!(status(&server.get("/v1/health/service/web")), "passing");
}

#[test]
fn bare_stale_counts_and_says_so() {
    let (server, _scratch) = single();
    web(&server, "n1", "web-1", "passing");
    for path in ["/v1/health/service/web?stale", "/v1/catalog/nodes?stale="] {
        let answer = server.get(path);
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.header("X-Consul-Effective-Consistency"),
            Some("stale"),
            "{path}"
        );
    }
    let answer = server.get("/v1/catalog/nodes?consistent");
    assert_eq!(
        answer.header("X-Consul-Effective-Consistency"),
        Some("consistent")
    );
    assert_eq!(server.get("/v1/catalog/nodes?stale&consistent").status, 400);
}

#[test]
fn service_tags_stand_in_every_check() {
    let (server, _scratch) = single();
    web(&server, "n1", "web-1", "passing");
    let checks = server.get("/v1/health/state/any").json();
    for check in checks.as_array().expect("a list") {
        let expected = match check["ServiceID"].as_str() {
            Some("web-1") => json!(["v1"]),
            _ => json!([]),
        };
        assert_eq!(check["ServiceTags"], expected, "{check}");
    }
    // They follow their service.
    register(
        &server,
        &json!({"Node": "n1", "SkipNodeUpdate": true, "Service": {"ID": "web-1", "Service": "web", "Tags": ["v2"]}}),
    );
    assert_eq!(
        server.get("/v1/health/checks/web").json()[0]["ServiceTags"],
        json!(["v2"])
    );
}

#[test]
fn names_and_ids_may_hold_raw_slashes_escaped_ones_and_colons() {
    let (server, _scratch) = single();
    register(
        &server,
        &json!({"Node": "dc/rack:1", "Address": "10.0.0.1", "Service": {"ID": "pg/db-0:5432", "Service": "pg/main"}}),
    );
    for path in [
        "/v1/catalog/service/pg/main",
        "/v1/catalog/service/pg%2Fmain",
    ] {
        assert_eq!(
            names(&server.get(path).json(), "ServiceID"),
            ["pg/db-0:5432"],
            "{path}"
        );
    }
    for path in [
        "/v1/catalog/node/dc/rack:1",
        "/v1/catalog/node/dc%2Frack%3A1",
    ] {
        assert_eq!(
            server.get(path).json()["Node"]["Node"],
            "dc/rack:1",
            "{path}"
        );
    }
}

#[test]
fn the_node_id_of_a_server_is_always_set() {
    let (server, _scratch) = single();
    let rows = server.get("/v1/health/service/consul").json();
    let id = rows[0]["Node"]["ID"].as_str().unwrap_or_default();
    assert_eq!(id.len(), 36, "{rows}");
    assert_eq!(server.get("/v1/catalog/service/consul").json()[0]["ID"], id);
    assert_eq!(server.get("/v1/catalog/nodes").json()[0]["ID"], id);
}

#[test]
fn a_filter_on_catalog_services_sees_instances() {
    let (server, _scratch) = single();
    web(&server, "n1", "web-1", "passing");
    web(&server, "n2", "web-2", "passing");
    register(
        &server,
        &json!({"Node": "n3", "Address": "10.0.0.3", "Service": {"Service": "db", "Tags": ["primary"]}}),
    );
    for (filter, expected) in [
        ("ServiceName%20matches%20%22%5Ew%22", json!({"web": ["v1"]})),
        (
            "%22primary%22%20in%20ServiceTags",
            json!({"db": ["primary"]}),
        ),
        ("NodeMeta.rack%20%3D%3D%20r1", json!({"web": ["v1"]})),
        ("ServiceName%20%3D%3D%20never", json!({})),
    ] {
        let answer = server.get(&format!("/v1/catalog/services?filter={filter}"));
        assert_eq!(answer.json(), expected, "{filter}");
    }
}

#[test]
fn every_way_to_choose_chooses() {
    let (server, _scratch) = single();
    web(&server, "n1", "web-1", "passing");
    web(&server, "n2", "web-2", "critical");
    register(
        &server,
        &json!({"Node": "n3", "Address": "10.0.0.3", "Service": {"ID": "web-3", "Service": "web", "Tags": ["v1", "B"]}}),
    );
    for (options, expected) in [
        ("", vec!["web-1", "web-2", "web-3"]),
        ("?passing", vec!["web-1", "web-3"]),
        ("?passing=false", vec!["web-1", "web-2", "web-3"]),
        ("?tag=v1&tag=b", vec!["web-3"]),
        ("?node-meta=rack:r1", vec!["web-1", "web-2"]),
        ("?node-meta=rack:r1&passing", vec!["web-1"]),
        ("?filter=Checks.Status%20%3D%3D%20critical", vec!["web-2"]),
        (
            "?filter=Service.Port%20%3D%3D%2080&passing=1",
            vec!["web-1"],
        ),
        (
            "?near=_agent&merge-central-config&stale",
            vec!["web-1", "web-2", "web-3"],
        ),
        ("?filter=Service.Connect.Native%20%3D%3D%20true", vec![]),
    ] {
        let rows = server
            .get(&format!("/v1/health/service/web{options}"))
            .json();
        let rows: Vec<&Value> = rows.as_array().expect("a list").iter().collect();
        let ids: Vec<&str> = rows
            .iter()
            .filter_map(|row| row["Service"]["ID"].as_str())
            .collect();
        assert_eq!(ids, expected, "{options}");
    }
    let filtered =
        server.get("/v1/health/checks/web?node-meta=rack:r1&filter=Status%20%3D%3D%20passing");
    assert_eq!(names(&filtered.json(), "CheckID"), ["service:web-1"]);
    let filtered = server.get("/v1/health/state/any?node-meta=rack:r1");
    assert_eq!(names(&filtered.json(), "Node"), ["n1", "n2"]);
}

#[test]
fn owners_are_said_and_shown_only_to_those_who_ask() {
    let (server, _scratch) = single();
    let owner = "agent:5f6e9a3c-0b1d-4e9a-9f63-6d8d2f3c7a10";
    let body = json!({"Node": "n1", "Address": "10.0.0.1", "Service": {"Service": "web"},
        "Check": {"Name": "alive", "Status": "passing", "ServiceID": "web"}});
    let request = Request::new("PUT", "/v1/catalog/register")
        .header("X-Rollcall-Owner", owner)
        .body(body.to_string());
    assert_eq!(server.send(&request).status, 200);
    let ask = |path: &str| {
        server
            .send(&Request::new("GET", path).header("X-Rollcall-Owner", "?"))
            .json()
    };
    let shown = ask("/v1/catalog/node-services/n1");
    assert_eq!(shown["Node"]["Owner"], owner);
    assert_eq!(shown["Services"][0]["Owner"], owner);
    assert_eq!(
        ask("/v1/catalog/node/n1")["Services"]["web"]["Owner"],
        owner
    );
    assert_eq!(ask("/v1/health/node/n1")[0]["Owner"], owner);
    for path in [
        "/v1/catalog/node-services/n1",
        "/v1/catalog/node/n1",
        "/v1/health/node/n1",
    ] {
        assert!(!server.get(path).text().contains("Owner"), "{path}");
    }
    let nobody = Request::new("PUT", "/v1/catalog/register").header("X-Rollcall-Owner", "agent:");
    let refused = server.send(&nobody.body(body.to_string()));
    assert_eq!(refused.status, 400, "{}", refused.text());
}

#[test]
fn what_is_not_served_answers_404() {
    let (server, _scratch) = single();
    for path in [
        "/v1/catalog",
        "/v1/catalog/bogus",
        "/v1/health",
        "/v1/health/bogus/web",
        "/v1/internal/ui/services",
        "/v1/connect/ca/roots",
        "/v1/config/service-defaults",
        "/v1/discovery-chain/web",
        "/v1/coordinate/update",
        "/v1/peerings",
        "/ui/",
        "/",
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        assert!(
            answer.text().starts_with("Invalid URL path"),
            "{path}: {}",
            answer.text()
        );
    }
}

#[test]
fn filters_that_are_too_long_too_deep_or_too_hungry_are_refused() {
    let (server, _scratch) = single();
    let nested = format!("{}Node==a{}", "(".repeat(100), ")".repeat(100));
    let many = vec!["Node==a"; 1_000].join("%20or%20");
    let hungry = "Node%20matches%20%60((a%7B100%7D)%7B100%7D)%7B100%7D%60".to_owned();
    for (filter, words) in [
        (nested, "nested deeper than 64 levels"),
        (many, "more than 256 comparisons"),
        ("a".repeat(20_000), "the limit is 16384"),
        (hungry, "it compiles to more than 1048576 bytes"),
        (
            "Node%20matches%20%60(%60".to_owned(),
            "Failed to compile regular expression",
        ),
        (
            "Node.x%20==%201".to_owned(),
            "Selector \"Node.x\" is not valid",
        ),
        (
            "Meta%20==%201".to_owned(),
            "Invalid match operator \"Equal\" for selector \"Meta\"",
        ),
    ] {
        let answer = server.get(&format!("/v1/catalog/nodes?filter={filter}"));
        assert_eq!(answer.status, 500, "{}", answer.text());
        assert!(answer.text().contains(words), "{}", answer.text());
    }
}
