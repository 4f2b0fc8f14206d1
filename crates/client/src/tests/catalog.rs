//! Catalog and health: what is asked, and how Consul's recorded answers are read.

use super::server::{Reply, Server};
use crate::*;

const NODES: &str = r#"[{"ID":"a8e2668d-174f-0613-d25e-c48041684c77","Node":"dev-node","Address":"127.0.0.1","Datacenter":"dc1","TaggedAddresses":{"lan":"127.0.0.1"},"Meta":{"rack":"r1"},"CreateIndex":13,"ModifyIndex":14},{"ID":"","Node":"ext1","Address":"10.1.2.3","Datacenter":"dc1","TaggedAddresses":null,"Meta":null,"CreateIndex":54,"ModifyIndex":57}]"#;

const ENTRIES: &str = r#"[{"Node":{"ID":"","Node":"ext1","Address":"10.1.2.3","Datacenter":"dc1","TaggedAddresses":null,"Meta":null,"CreateIndex":54,"ModifyIndex":57},"Service":{"ID":"web-1","Service":"web","Tags":["v1","prod"],"Address":"10.1.2.30","Meta":{"ver":"1"},"Port":8080,"Weights":{"Passing":10,"Warning":1},"EnableTagOverride":false,"Proxy":{"Mode":"","MeshGateway":{},"Expose":{}},"Connect":{},"PeerName":"","CreateIndex":54,"ModifyIndex":54},"Checks":[{"Node":"ext1","CheckID":"service:web-1","Name":"web alive","Status":"passing","Notes":"n","Output":"o","ServiceID":"web-1","ServiceName":"web","ServiceTags":["v1","prod"],"Type":"","Interval":"","Timeout":"","ExposedPort":0,"Definition":{},"CreateIndex":54,"ModifyIndex":54}]}]"#;

const INSTANCES: &str = r#"[{"ID":"","Node":"ext2","Address":"10.1.2.4","Datacenter":"dc1","TaggedAddresses":null,"NodeMeta":{"rack":"r2"},"ServiceKind":"","ServiceID":"web-2","ServiceName":"web","ServiceTags":["v2"],"ServiceAddress":"","ServiceWeights":{"Passing":1,"Warning":1},"ServiceMeta":{},"ServicePort":8081,"ServiceSocketPath":"","ServiceEnableTagOverride":false,"ServiceProxy":{"Mode":"","MeshGateway":{},"Expose":{}},"ServiceConnect":{},"ServiceLocality":null,"CreateIndex":55,"ModifyIndex":55}]"#;

fn selection() -> Selection {
    Selection {
        filter: Some("Meta.rack == \"r1\"".into()),
        node_meta: vec![("rack".into(), "r1".into()), ("os".into(), "a:b".into())],
        tags: vec!["v1".into(), "a b".into()],
    }
}

#[tokio::test]
async fn every_part_of_a_selection_is_asked_for() {
    let server = Server::start(|_| Reply::ok("[]").index(1)).await;
    let client = server.client();
    let (all, some) = (Selection::default(), selection());
    let read = ReadOptions::stale();
    let catalog = client.catalog();
    catalog.nodes(&some, &read).await.expect("answered");
    let instances = catalog.service("a/b c", &some, &read).await;
    instances.expect("answered");
    let of = [
        ChecksOf::Node("n".into()),
        ChecksOf::Service("s".into()),
        ChecksOf::State("any".into()),
    ];
    for of in of {
        let checks = client.health().checks(&of, &all, &read).await;
        checks.expect("answered");
    }
    for passing in [true, false] {
        let entries = client.health().service("web", passing, &all, &read).await;
        entries.expect("answered");
    }
    let paths: Vec<String> = server.asked().into_iter().map(|asked| asked.path).collect();
    let some = "node-meta=rack%3Ar1&node-meta=os%3Aa%3Ab&tag=v1&tag=a%20b&filter=Meta.rack%20%3D%3D%20%22r1%22&stale";
    assert_eq!(
        paths,
        [
            format!("/v1/catalog/nodes?{some}"),
            format!("/v1/catalog/service/a/b%20c?{some}"),
            "/v1/health/node/n?stale".to_owned(),
            "/v1/health/checks/s?stale".to_owned(),
            "/v1/health/state/any?stale".to_owned(),
            "/v1/health/service/web?passing=1&stale".to_owned(),
            "/v1/health/service/web?stale".to_owned(),
        ]
    );
}

#[tokio::test]
async fn consuls_recorded_answers_are_read_with_their_nulls() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/v1/catalog/nodes" => Reply::ok(NODES).index(57),
        "/v1/catalog/services" => Reply::ok(r#"{"consul":[],"web":["v1","v2"]}"#).index(56),
        "/v1/catalog/datacenters" => Reply::ok(r#"["dc1"]"#),
        "/v1/catalog/service/web" => Reply::ok(INSTANCES).index(57),
        "/v1/catalog/node-services/ghost" => Reply::ok("null").index(57),
        "/v1/health/service/web" => Reply::ok(ENTRIES).index(57),
        _ => Reply::status(404, "Invalid URL path"),
    })
    .await;
    let client = server.client();
    let (all, read) = (Selection::default(), ReadOptions::default());
    let catalog = client.catalog();
    let nodes = catalog.nodes(&all, &read).await.expect("answered");
    assert_eq!((nodes.index, nodes.value.len()), (57, 2));
    assert_eq!(nodes.value[0].meta["rack"], "r1");
    assert!(nodes.value[1].meta.is_empty() && nodes.value[1].tagged_addresses.is_empty());
    let services = catalog.services(&all, &read).await.expect("answered");
    assert_eq!(services.value["web"], ["v1", "v2"]);
    assert_eq!(catalog.datacenters().await.expect("answered"), ["dc1"]);
    let instances = catalog.service("web", &all, &read).await.expect("answered");
    let instance = instances.value.into_iter().next().expect("one");
    assert_eq!(
        (instance.service_id.as_str(), instance.service_port),
        ("web-2", 8081)
    );
    let node = instance.into_node();
    assert_eq!((node.node.as_str(), &*node.meta["rack"]), ("ext2", "r2"));
    let ghost = catalog.node_services("ghost", &all, &read).await;
    assert_eq!(ghost.expect("answered").value, NodeServices::default());
    let health = client.health();
    let entries = health.service("web", false, &all, &read).await;
    let entry = entries.expect("answered").value.remove(0);
    assert_eq!(
        (entry.service.weights.passing, entry.service.port),
        (10, 8080)
    );
    assert_eq!(entry.checks[0].check_id, "service:web-1");
    let written: serde_json::Value = serde_json::to_value(&entry).expect("JSON");
    let came: serde_json::Value = serde_json::from_str(ENTRIES).expect("JSON");
    assert_eq!(written["Checks"], came[0]["Checks"]);
    assert_eq!(written["Service"]["Proxy"], came[0]["Service"]["Proxy"]);
    let of = ChecksOf::Node("n".into());
    let error = health.checks(&of, &all, &read).await;
    assert_eq!(error.expect_err("no such path").status(), Some(404));
}

#[tokio::test]
async fn a_watch_waits_on_the_index_and_starts_anew_when_it_went_back() {
    let server = Server::start_counting(|count, _| match count {
        0 => Reply::ok(r#"{"a":[]}"#).index(9),
        1 => Reply::ok(r#"{"a":[],"b":[]}"#).index(12),
        // The wait ran out.
        2 => Reply::ok(r#"{"a":[],"b":[]}"#).index(12),
        // Another cluster.
        3 => Reply::ok(r#"{"c":[]}"#).index(3),
        4 => Reply::ok(r#"{"c":[]}"#).index(3),
        _ => Reply::Silence,
    })
    .await;
    let client = server.client();
    let options = ReadOptions {
        wait: Some(std::time::Duration::from_secs(5)),
        ..ReadOptions::default()
    };
    let mut watch = client
        .catalog()
        .watch_services(&Selection::default(), options);
    let mut seen = Vec::new();
    for _ in 0..3 {
        let answer = watch.next().await.expect("answered");
        let names: Vec<String> = answer.value.into_keys().collect();
        seen.push((answer.index, names.join(",")));
    }
    assert_eq!(seen, [(9, "a".into()), (12, "a,b".into()), (3, "c".into())]);
    let asked: Vec<String> = (server.asked().into_iter())
        .map(|asked| asked.path.replace("/v1/catalog/services?", ""))
        .collect();
    assert_eq!(
        asked,
        [
            "wait=5000ms",
            "index=9&wait=5000ms",
            "index=12&wait=5000ms",
            "index=12&wait=5000ms",
            "wait=5000ms",
        ]
    );
}

#[tokio::test]
async fn a_watch_reads_without_an_index_behind_a_failure_since_another_cluster_may_answer() {
    let server = Server::start_counting(|count, _| match count {
        0 => Reply::ok(r#"{"a":[]}"#).index(90),
        1 => Reply::Cut,
        // The same: nothing to tell.
        2 => Reply::ok(r#"{"a":[]}"#).index(90),
        3 => Reply::Cut,
        // Another cluster.
        4 => Reply::ok(r#"{"b":[]}"#).index(7),
        5 => Reply::ok(r#"{"c":[]}"#).index(8),
        _ => Reply::Silence,
    })
    .await;
    let client = server.client();
    let catalog = client.catalog();
    let mut watch = catalog.watch_services(&Selection::default(), ReadOptions::default());
    let mut seen = Vec::new();
    while seen.len() < 5 {
        let answer = watch.next().await;
        seen.push(answer.map_or(0, |answer| answer.index));
    }
    assert_eq!(seen, [90, 0, 0, 7, 8]);
    let asked: Vec<String> = (server.asked().into_iter())
        .map(|asked| asked.path.replace("/v1/catalog/services", ""))
        .collect();
    assert_eq!(asked, ["", "?index=90", "", "?index=90", "", "?index=7"]);
}
