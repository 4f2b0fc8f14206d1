//! The agent's endpoints: what is sent, and which 404 means what.

use super::server::{Reply, Server};
use crate::*;

#[tokio::test]
async fn maintenance_is_switched_by_words_in_the_query() {
    let server = Server::start(|asked| {
        if asked.path.contains("ghost") {
            return Reply::status(404, "Unknown service ID \"ghost\". Ensure that the service ID is passed, not the service name.");
        }
        Reply::ok("")
    })
    .await;
    let client = server.client();
    let agent = client.agent();
    agent
        .maintain_node(Some("upgrade & more"))
        .await
        .expect("on");
    agent.maintain_node(None).await.expect("off");
    assert!(agent.maintain_service("a/b", Some("")).await.expect("on"));
    assert!(!agent.maintain_service("ghost", None).await.expect("off"));
    assert!(agent.deregister_service("a:1").await.expect("gone"));
    let asked: Vec<String> = (server.asked().into_iter())
        .map(|asked| format!("{} {}", asked.method, asked.path))
        .collect();
    assert_eq!(
        asked,
        [
            "PUT /v1/agent/maintenance?enable=true&reason=upgrade%20%26%20more",
            "PUT /v1/agent/maintenance?enable=false",
            "PUT /v1/agent/service/maintenance/a/b?enable=true",
            "PUT /v1/agent/service/maintenance/ghost?enable=false",
            "PUT /v1/agent/service/deregister/a%3A1",
        ]
    );
}

#[tokio::test]
async fn a_path_that_is_not_served_is_an_error_and_no_missing_instance() {
    let server = Server::start(|_| {
        Reply::status(404, "Invalid URL path: not a recognized HTTP API endpoint")
    })
    .await;
    let client = server.client();
    let error = client.agent().deregister_service("web").await;
    assert_eq!(error.expect_err("no such path").status(), Some(404));
}

#[tokio::test]
async fn a_definition_is_registered_as_it_stands() {
    let server = Server::start(|_| Reply::ok("")).await;
    let client = server.client();
    let definition = serde_json::json!({"Name": "web", "Check": {"TTL": "10s"}});
    let definition = definition.as_object().expect("an object").clone();
    let agent = client.agent();
    agent
        .register_service(&definition, false)
        .await
        .expect("registered");
    agent
        .register_service(&definition, true)
        .await
        .expect("registered");
    let asked = server.asked();
    assert_eq!(asked[0].path, "/v1/agent/service/register");
    assert_eq!(
        asked[1].path,
        "/v1/agent/service/register?replace-existing-checks=true"
    );
    let sent: serde_json::Value = serde_json::from_str(&asked[0].body).expect("JSON");
    assert_eq!(sent, serde_json::Value::Object(definition));
}

#[tokio::test]
async fn an_agent_tells_who_it_is_and_what_it_holds() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/v1/agent/self" => Reply::ok(
            r#"{"Config":{"Datacenter":"dc1","PrimaryDatacenter":"dc1","NodeName":"n","NodeID":"i","Server":true,"Version":"1.20.1"},"DebugConfig":{},"Stats":{"raft":{"term":"3"}},"Member":{"Name":"n"}}"#,
        ),
        "/v1/agent/services" => Reply::ok(r#"{"api":{"ID":"api","Service":"api","Tags":[],"Meta":{},"Port":9000,"Address":"","Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Datacenter":"dc1"}}"#),
        _ => Reply::ok(r#"{"_node_maintenance":{"Node":"n","CheckID":"_node_maintenance","Name":"Node Maintenance Mode","Status":"critical","Notes":"upgrade","ServiceTags":null}}"#),
    })
    .await;
    let client = server.client();
    let agent = client.agent();
    let info = agent.info().await.expect("answered");
    assert_eq!(
        (info.config.node_name.as_str(), info.config.server),
        ("n", true)
    );
    assert_eq!(info.stats["raft"]["term"], "3");
    assert_eq!(info.rest["Member"]["Name"], "n");
    let all = Selection::default();
    let services = agent.services(&all).await.expect("answered");
    assert_eq!(services["api"].port, 9000);
    let checks = agent.checks(&all).await.expect("answered");
    assert_eq!(checks[NODE_MAINTENANCE].notes, "upgrade");
}

#[tokio::test]
async fn a_log_is_read_to_its_end_and_a_wrong_level_is_an_error() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/v1/agent/monitor?loglevel=debug" => Reply::ok("one\ntwo\n"),
        "/v1/agent/monitor?loglevel=info" => Reply::CutInBody,
        _ => Reply::status(400, "Unknown log level: bogus"),
    })
    .await;
    let client = server.client();
    let agent = client.agent();
    let mut log = agent.monitor("debug").await.expect("begins");
    let mut text = Vec::new();
    while let Some(chunk) = log.chunk().await.expect("a chunk") {
        text.extend_from_slice(&chunk);
    }
    assert_eq!(text, b"one\ntwo\n");
    let mut log = agent.monitor("info").await.expect("begins");
    let outcome = loop {
        match log.chunk().await {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    outcome.expect_err("a log that breaks off is no end");
    let error = agent.monitor("bogus").await.expect_err("no such level");
    assert_eq!(
        error.to_string(),
        "Unexpected response code: 400 (Unknown log level: bogus)"
    );
}
