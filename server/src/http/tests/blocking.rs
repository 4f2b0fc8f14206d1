//! Blocking queries: they wake for their topic only, end in time, and leave nothing behind.

use std::time::Duration;

use rollcall_state::Command;
use rollcall_state::command::{KvMode, KvSet};
use tokio::time::Instant;

use super::wire::Server;
use crate::http::Limits;

pub(super) fn set(key: &str, value: &str) -> Command {
    Command::KvSet(KvSet {
        key: key.to_owned(),
        value: value.to_owned().into(),
        flags: 0,
        mode: KvMode::Set,
    })
}

async fn parked(server: &Server, count: usize) {
    server
        .until(|| server.edge.parked(), |parked| *parked == count)
        .await;
}

#[tokio::test]
async fn a_parked_query_wakes_for_its_key_and_no_other() {
    let server = Server::start().await;
    let first = server.door.apply(&set("a", "1")).index;
    let mut connection = server.connect().await;
    connection
        .request("GET", &format!("/v1/kv/a?index={first}&wait=10m"), b"")
        .await;
    parked(&server, 1).await;
    server.door.apply(&set("b", "1"));
    assert_eq!(server.edge.parked(), 1);
    let changed = server.door.apply(&set("a", "2")).index;
    let response = connection.response(false).await;
    assert_eq!(response.index(), changed);
    assert_eq!(response.json()[0]["Value"], "Mg==");
    parked(&server, 0).await;
    assert_eq!(server.door.watchers.count(), 0);
}

#[tokio::test]
async fn a_query_for_what_is_absent_waits_for_its_creation() {
    let server = Server::start().await;
    let missing = server.ask("GET", "/v1/kv/a", b"").await;
    let mut connection = server.connect().await;
    connection
        .request(
            "GET",
            &format!("/v1/kv/a?index={}&wait=10m", missing.index()),
            b"",
        )
        .await;
    parked(&server, 1).await;
    server.door.apply(&set("a", "1"));
    assert_eq!(connection.response(false).await.status, 200);
}

#[tokio::test]
async fn the_wait_ends_after_its_time_and_some_jitter() {
    let server = Server::start().await;
    let index = server.door.apply(&set("a", "1")).index;
    let began = Instant::now();
    let response = server
        .ask("GET", &format!("/v1/kv/a?index={index}&wait=160ms"), b"")
        .await;
    let took = began.elapsed();
    assert_eq!((response.status, response.index()), (200, index));
    assert!(took >= Duration::from_millis(160), "{took:?}");
}

#[tokio::test]
async fn an_old_index_is_answered_at_once() {
    let server = Server::start().await;
    let old = server.door.apply(&set("a", "1")).index;
    let new = server.door.apply(&set("a", "2")).index;
    let response = server
        .ask("GET", &format!("/v1/kv/a?index={old}&wait=10m"), b"")
        .await;
    assert_eq!(response.index(), new);
}

#[tokio::test]
async fn a_client_that_hangs_up_frees_its_parked_query() {
    let server = Server::start().await;
    let index = server.door.apply(&set("a", "1")).index;
    let path = format!("/v1/kv/a?index={index}&wait=10m");
    let mut closed = server.connect().await;
    closed.request("GET", &path, b"").await;
    let mut reset = server.connect().await;
    reset.request("GET", &path, b"").await;
    parked(&server, 2).await;
    drop(closed);
    reset.socket.set_zero_linger().expect("must be settable");
    drop(reset);
    parked(&server, 0).await;
    server
        .until(|| server.edge.connections(), |open| *open == 0)
        .await;
    assert_eq!(server.door.watchers.count(), 0);
}

#[tokio::test]
async fn a_client_that_hangs_up_with_a_pipelined_request_is_still_served() {
    let server = Server::start().await;
    let index = server.door.apply(&set("a", "1")).index;
    let mut connection = server.connect().await;
    connection
        .request("GET", &format!("/v1/kv/a?index={index}&wait=10m"), b"")
        .await;
    parked(&server, 1).await;
    connection.request("GET", "/v1/kv/a?raw", b"").await;
    server.door.apply(&set("a", "2"));
    assert_eq!(connection.response(false).await.json()[0]["Value"], "Mg==");
    assert_eq!(connection.response(false).await.text(), "2");
}

#[tokio::test]
async fn more_parked_queries_than_allowed_are_turned_away() {
    let limits = Limits {
        parked_queries: 1,
        ..Limits::default()
    };
    let server = Server::limited(limits).await;
    let index = server.door.apply(&set("a", "1")).index;
    let path = format!("/v1/kv/a?index={index}&wait=10m");
    let mut first = server.connect().await;
    first.request("GET", &path, b"").await;
    parked(&server, 1).await;
    let second = server.ask("GET", &path, b"").await;
    assert_eq!(
        (second.status, second.text().as_str()),
        (429, "too many parked queries (limit 1)")
    );
    assert_eq!(second.header("Retry-After"), Some("1"));
    assert_eq!(server.ask("GET", "/v1/kv/a?raw", b"").await.status, 200);
    server.door.apply(&set("a", "2"));
    assert_eq!(first.response(false).await.status, 200);
    parked(&server, 0).await;
}

#[tokio::test]
async fn a_stale_query_for_a_future_index_waits_for_it() {
    let server = Server::start().await;
    let index = server.door.apply(&set("a", "1")).index;
    let mut connection = server.connect().await;
    connection
        .request(
            "GET",
            &format!("/v1/kv/a?stale&index={}&wait=10m", index + 1),
            b"",
        )
        .await;
    parked(&server, 1).await;
    server.door.apply(&set("b", "1"));
    server.door.apply(&set("a", "2"));
    assert_eq!(connection.response(false).await.index(), index + 2);
}

#[tokio::test]
async fn a_server_that_stops_answers_its_parked_queries() {
    let server = Server::start().await;
    let index = server.door.apply(&set("a", "1")).index;
    let mut connection = server.connect().await;
    connection
        .request("GET", &format!("/v1/kv/a?index={index}&wait=10m"), b"")
        .await;
    parked(&server, 1).await;
    server.shutdown.cancel();
    assert_eq!(connection.response(false).await.index(), index);
}

#[tokio::test]
async fn sessions_and_lists_of_keys_are_waited_for_by_their_own_topics() {
    let server = Server::start().await;
    server.door.apply(&set("dir/a", "1"));
    let sessions = server.ask("GET", "/v1/session/list", b"").await.index();
    let keys = server.ask("GET", "/v1/kv/dir/?keys", b"").await.index();
    let mut on_sessions = server.connect().await;
    on_sessions
        .request(
            "GET",
            &format!("/v1/session/list?index={sessions}&wait=10m"),
            b"",
        )
        .await;
    let mut on_keys = server.connect().await;
    on_keys
        .request(
            "GET",
            &format!("/v1/kv/dir/?keys&index={keys}&wait=10m"),
            b"",
        )
        .await;
    parked(&server, 2).await;
    server.ask("PUT", "/v1/session/create", b"").await;
    assert_eq!(
        on_sessions
            .response(false)
            .await
            .json()
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    // A new value is no new key.
    server.door.apply(&set("dir/a", "2"));
    assert_eq!(server.edge.parked(), 1);
    server.door.apply(&set("dir/b", "1"));
    assert_eq!(
        on_keys.response(false).await.json(),
        serde_json::json!(["dir/a", "dir/b"])
    );
}
