//! What raw bytes must look like, and odd but lawful requests.

use tokio::io::AsyncWriteExt as _;

use super::wire::Server;
use crate::door::ProposeError;

#[tokio::test]
async fn header_names_are_spelt_as_go_spells_them() {
    let server = Server::start().await;
    server.ask("PUT", "/v1/kv/a", b"1").await;
    let mut connection = server.connect().await;
    connection
        .send(b"GET /v1/kv/a HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        .await;
    let text = String::from_utf8_lossy(&connection.rest().await).into_owned();
    for name in [
        "\r\nX-Consul-Index: ",
        "\r\nX-Consul-Knownleader: true\r\n",
        "\r\nX-Consul-Lastcontact: 0\r\n",
        "\r\nX-Consul-Query-Backend: blocking-query\r\n",
        "\r\nX-Consul-Default-Acl-Policy: allow\r\n",
        "\r\nContent-Type: application/json\r\n",
        "\r\nContent-Length: ",
        "\r\nVary: Accept-Encoding\r\n",
    ] {
        assert!(text.contains(name), "{name:?} is not in {text}");
    }
}

#[tokio::test]
async fn http_1_0_gets_a_length_and_no_chunks_also_for_long_lists() {
    let server = Server::start().await;
    for i in 0..1_200 {
        server
            .door
            .apply(&super::blocking::set(&format!("many/{i:04}"), "v"));
    }
    let mut connection = server.connect().await;
    connection
        .send(b"GET /v1/kv/many/?recurse&index=1&wait=1s HTTP/1.0\r\n\r\n")
        .await;
    let response = connection.response(false).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.version, "HTTP/1.0");
    assert_eq!(response.header("Transfer-Encoding"), None);
    assert_eq!(response.json().as_array().map(Vec::len), Some(1_200));
    assert!(
        connection.rest().await.is_empty(),
        "the connection must be closed"
    );
}

#[tokio::test]
async fn long_lists_are_whole_when_they_are_streamed() {
    let server = Server::start().await;
    for i in 0..3_000 {
        server.door.apply(&super::blocking::set(
            &format!("many/{i:04}"),
            &"v".repeat(200),
        ));
    }
    let response = server.ask("GET", "/v1/kv/many/?recurse", b"").await;
    assert_eq!(response.header("Transfer-Encoding"), Some("chunked"));
    assert_eq!(response.json().as_array().map(Vec::len), Some(3_000));
}

#[tokio::test]
async fn half_a_body_writes_nothing() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    connection
        .send(b"PUT /v1/kv/half HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nfive!")
        .await;
    connection
        .socket
        .shutdown()
        .await
        .expect("must close its half");
    let response = connection.response(false).await;
    assert_eq!(response.status, 400, "{}", response.text());
    assert_eq!(response.text(), "request body ended after 5 bytes");
    assert_eq!(server.door.state().kv_get("half").value, None);
}

#[tokio::test]
async fn a_client_that_closed_its_sending_half_is_answered() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    connection.request("PUT", "/v1/kv/a", b"1").await;
    connection
        .socket
        .shutdown()
        .await
        .expect("must close its half");
    assert_eq!(connection.response(false).await.text(), "true");
}

#[tokio::test]
async fn a_body_in_chunks_is_a_value() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    connection
        .send(b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
        .await;
    assert_eq!(connection.response(false).await.text(), "true");
    assert_eq!(
        connection.ask("GET", "/v1/kv/a?raw", b"").await.text(),
        "onetwo"
    );
}

#[tokio::test]
async fn keys_and_ids_may_hold_slashes_colons_and_escapes() {
    let server = Server::start().await;
    for (path, key) in [
        ("a/b:c", "a/b:c"),
        ("a%2Fb%3Ad", "a/b:d"),
        ("sp%20ace%2Fslash", "sp ace/slash"),
        ("plus+plus", "plus+plus"),
        ("%C3%A9", "\u{e9}"),
        ("per%2525cent", "per%25cent"),
    ] {
        let written = server.ask("PUT", &format!("/v1/kv/{path}"), b"v").await;
        assert_eq!(written.text(), "true", "{path}");
        let read = server.ask("GET", &format!("/v1/kv/{path}"), b"").await;
        assert_eq!(read.json()[0]["Key"], key, "{path}");
    }
    let raw = server.ask("PUT", "/v1/session/renew/a/b:c", b"").await;
    assert_eq!(
        (raw.status, raw.text()),
        (404, "Session id 'a/b:c' not found".to_owned())
    );
    let escaped = server.ask("PUT", "/v1/session/renew/a%2Fb%3Ac", b"").await;
    assert_eq!(escaped.text(), raw.text());
}

#[tokio::test]
async fn bad_paths_are_refused() {
    let server = Server::start().await;
    for path in ["/v1/kv/%zz", "/v1/kv/%00", "/v1/kv/%ff"] {
        assert_eq!(server.ask("PUT", path, b"v").await.status, 400, "{path}");
    }
    let redirect = server.ask("GET", "/v1/kv//a?raw", b"").await;
    assert_eq!(
        (redirect.status, redirect.header("Location")),
        (307, Some("/v1/kv/a?raw"))
    );
    assert_eq!(server.ask("GET", "/", b"").await.status, 404);
}

#[tokio::test]
async fn other_namespaces_and_datacenters_are_refused() {
    let server = Server::start().await;
    let status = async |path| server.ask("GET", path, b"").await.status;
    assert_eq!(
        status("/v1/kv/a?ns=default&partition=&dc=dc1&token=t").await,
        404
    );
    assert_eq!(status("/v1/kv/a?ns=team").await, 400);
    assert_eq!(status("/v1/kv/a?partition=p").await, 400);
    assert_eq!(status("/v1/kv/a?dc=dc2").await, 500);
}

#[tokio::test]
async fn pretty_answers_are_indented() {
    let server = Server::start().await;
    let session = server.ask("PUT", "/v1/session/create?pretty", b"").await;
    assert!(
        session.text().starts_with("{\n    \"ID\": \""),
        "{}",
        session.text()
    );
    assert!(session.text().ends_with("\"\n}\n"), "{}", session.text());
}

#[tokio::test]
async fn failures_of_the_door_have_consuls_statuses() {
    let server = Server::start().await;
    let cases = [
        (ProposeError::NoLeader, 500, "No cluster leader"),
        (
            ProposeError::Busy(7),
            503,
            "too many writes in flight (limit 7)",
        ),
        (
            ProposeError::Unknown("cut".to_owned()),
            500,
            "outcome unknown: cut",
        ),
        (
            ProposeError::Stopping("disk".to_owned()),
            500,
            "server is stopping: disk",
        ),
    ];
    for (error, status, words) in cases {
        *server.door.failing.lock() = Some(error);
        let response = server.ask("PUT", "/v1/kv/a", b"1").await;
        assert_eq!((response.status, response.text().as_str()), (status, words));
        assert_eq!(response.header("Retry-After").is_some(), status == 503);
    }
}

#[tokio::test]
async fn live_does_not_mean_ready_and_ready_does_not_mean_a_leader() {
    let server = Server::start().await;
    assert_eq!(server.ask("GET", "/livez", b"").await.status, 200);
    assert_eq!(server.ask("GET", "/readyz", b"").await.status, 503);
    server
        .door
        .caught_up
        .store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(server.ask("GET", "/readyz", b"").await.status, 200);
    assert_eq!(server.ask("HEAD", "/readyz", b"").await.status, 200);
}

#[tokio::test]
async fn session_options_are_read_and_bounded() {
    let server = Server::start().await;
    let create = async |body: &str| {
        server
            .ask("PUT", "/v1/session/create", body.as_bytes())
            .await
    };
    let body =
        r#"{"name": "n", "lockdelay": "0.001s", "behavior": "delete", "ttl": "15s", "checks": []}"#;
    let id = create(body).await.json()["ID"]
        .as_str()
        .expect("must have an id")
        .to_owned();
    let info = server
        .ask("GET", &format!("/v1/session/info/{id}"), b"")
        .await
        .json();
    assert_eq!(info[0]["LockDelay"], 1_000_000);
    assert_eq!(info[0]["NodeChecks"], serde_json::json!([]));
    assert_eq!(info[0]["TTL"], "15s");
    for (body, words) in [
        (
            r#"{"TTL": "25h"}"#,
            "Invalid Session TTL '90000000000000', must be between [10s=24h0m0s]",
        ),
        (r#"{"Node": ""}"#, "Must provide Node"),
    ] {
        let refused = create(body).await;
        assert_eq!((refused.status, refused.text().as_str()), (500, words));
    }
    let unreadable = create(r#"{"LockDelay": "soon"}"#).await;
    assert_eq!(unreadable.status, 400);
    assert_eq!(
        unreadable.text(),
        "Request decode failed: time: invalid duration \"soon\""
    );
}

#[tokio::test]
async fn http_2_with_prior_knowledge_is_spoken() {
    use http_body_util::{BodyExt as _, Empty};
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;

    let server = Server::start().await;
    server.ask("PUT", "/v1/kv/a", b"1").await;
    let client: Client<_, Empty<bytes::Bytes>> = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let address = format!("http://{}/v1/kv/a?raw", server.address);
    let response = client
        .get(address.parse().expect("must be a URI"))
        .await
        .expect("must answer");
    assert_eq!(response.version(), hyper::Version::HTTP_2);
    assert!(response.headers().contains_key("x-consul-index"));
    let body = response
        .into_body()
        .collect()
        .await
        .expect("must have a body");
    assert_eq!(body.to_bytes(), "1");
}

#[cfg(not(feature = "sim"))]
#[tokio::test]
async fn a_unix_socket_is_served() {
    use std::sync::Arc;

    use tokio::io::AsyncReadExt as _;

    use crate::http::{Listener, serve};

    let server = Server::start().await;
    let directory = tempfile::tempdir().expect("must have a temporary directory");
    let path = directory.path().join("api.sock");
    let listener = tokio::net::UnixListener::bind(&path).expect("must bind");
    crate::rt::spawn(serve(Listener::Unix(listener), Arc::clone(&server.edge)));
    let mut socket = tokio::net::UnixStream::connect(&path)
        .await
        .expect("must connect");
    let request = b"GET /v1/status/leader HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
    socket.write_all(request).await.expect("must be sent");
    let mut answer = String::new();
    socket
        .read_to_string(&mut answer)
        .await
        .expect("must be answered");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n\"127.0.0.1:8300\""), "{answer}");
}

#[tokio::test]
async fn every_kind_of_write_leaves_a_line_in_the_audit_log() {
    use crate::audit::Audit;
    use crate::http::HttpConfig;

    let directory = tempfile::tempdir().expect("must have a temporary directory");
    let path = directory.path().join("audit.log");
    let server = Server::with(HttpConfig {
        audit: Some(Audit::open(&path).expect("must open")),
        ..HttpConfig::default()
    })
    .await;
    server.ask("PUT", "/v1/kv/a", b"1").await;
    server.ask("GET", "/v1/kv/a", b"").await;
    server
        .ask(
            "PUT",
            "/v1/txn",
            br#"[{"KV": {"Verb": "get", "Key": "a"}}]"#,
        )
        .await;
    server
        .ask(
            "PUT",
            "/v1/txn",
            br#"[{"KV": {"Verb": "set", "Key": "b"}}]"#,
        )
        .await;
    let id = server.ask("PUT", "/v1/session/create", b"").await.json()["ID"].clone();
    let id = id.as_str().expect("must have an id");
    server
        .ask("PUT", &format!("/v1/session/destroy/{id}"), b"")
        .await;
    server.ask("DELETE", "/v1/kv/a", b"").await;
    let lines = || std::fs::read_to_string(&path).unwrap_or_default();
    server.until(lines, |text| text.lines().count() == 5).await;
    let paths: Vec<String> = (lines().lines())
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("must be JSON"))
        .map(|line| format!("{} {}", line["method"], line["path"]).replace('"', ""))
        .collect();
    assert_eq!(
        paths,
        [
            "PUT /v1/kv/a".to_owned(),
            "PUT /v1/txn".to_owned(),
            "PUT /v1/session/create".to_owned(),
            format!("PUT /v1/session/destroy/{id}"),
            "DELETE /v1/kv/a".to_owned(),
        ]
    );
}
