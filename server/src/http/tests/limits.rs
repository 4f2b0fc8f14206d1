//! Bounds: past them a clear answer, and nothing written.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use super::wire::Server;
use crate::http::{HttpConfig, Limits};

#[tokio::test]
async fn a_head_over_the_limit_is_431() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    connection
        .send(b"GET /v1/kv/a HTTP/1.1\r\nHost: t\r\nX-Large: ")
        .await;
    // The server may close before all is sent.
    let _ = connection.socket.write_all(&vec![b'x'; 80 * 1024]).await;
    let answer = connection.rest().await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer:?}");
}

#[tokio::test]
async fn too_many_headers_are_431() {
    let server = Server::start().await;
    let mut connection = server.connect().await;
    let headers = "X-A: b\r\n".repeat(150);
    connection
        .send(format!("GET / HTTP/1.1\r\nHost: t\r\n{headers}\r\n").as_bytes())
        .await;
    assert_eq!(connection.response(false).await.status, 431);
}

#[tokio::test]
async fn a_value_over_the_limit_is_413_whether_announced_or_not() {
    let config = HttpConfig {
        value_bytes: 8,
        ..HttpConfig::default()
    };
    let server = Server::with(config).await;
    let announced = server.ask("PUT", "/v1/kv/a", b"nine here").await;
    assert_eq!(announced.status, 413);
    assert!(
        announced
            .text()
            .starts_with("Request body(9 bytes) too large, max size: 8 bytes.")
    );
    let mut connection = server.connect().await;
    connection
        .send(b"PUT /v1/kv/a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nnine here\r\n0\r\n\r\n")
        .await;
    assert_eq!(connection.response(false).await.status, 413);
    assert_eq!(server.door.state().kv_get("a").value, None);
}

#[tokio::test]
async fn connections_of_one_client_are_bounded() {
    let limits = Limits {
        connections_per_client: 2,
        ..Limits::default()
    };
    let server = Server::limited(limits).await;
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    assert_eq!(first.ask("GET", "/livez", b"").await.status, 200);
    assert_eq!(second.ask("GET", "/livez", b"").await.status, 200);
    let refused = server.connect().await.response(false).await;
    assert_eq!(
        (refused.status, refused.header("Retry-After")),
        (429, Some("1"))
    );
    drop(first);
    server
        .until(|| server.edge.connections(), |open| *open == 1)
        .await;
    assert_eq!(server.ask("GET", "/livez", b"").await.status, 200);
}

#[tokio::test]
async fn half_a_head_and_an_idle_connection_are_closed_in_time() {
    let limits = Limits {
        idle: Duration::from_millis(50),
        head: Duration::from_millis(50),
        ..Limits::default()
    };
    let server = Server::limited(limits).await;
    let mut silent = server.connect().await;
    assert!(silent.rest().await.is_empty());
    let mut half = server.connect().await;
    half.send(b"GET /v1/kv/a HT").await;
    assert!(half.rest().await.is_empty());
    let mut idle = server.connect().await;
    assert_eq!(idle.ask("GET", "/livez", b"").await.status, 200);
    assert!(idle.rest().await.is_empty());
}

#[tokio::test]
async fn a_parked_query_is_not_an_idle_connection() {
    let limits = Limits {
        idle: Duration::from_millis(50),
        head: Duration::from_millis(50),
        ..Limits::default()
    };
    let server = Server::limited(limits).await;
    let index = server.door.apply(&super::blocking::set("a", "1")).index;
    let path = format!("/v1/kv/a?index={index}&wait=300ms");
    assert_eq!(server.ask("GET", &path, b"").await.index(), index);
}
