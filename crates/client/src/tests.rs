//! The client against a small server in the test, which records what it is asked and answers as it is told.

mod agent;
mod catalog;
mod lock;
mod server;

use std::time::Duration;

use bytes::Bytes;

use crate::*;
use server::{Asked, Reply, Server};

const PAIR: &str =
    r#"[{"LockIndex":0,"Key":"a b","Flags":42,"Value":"b25l","CreateIndex":3,"ModifyIndex":7}]"#;

#[tokio::test]
async fn a_key_is_read_with_its_index_and_a_missing_one_is_none() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/v1/kv/a%20b/%C3%A9%3F?stale" => Reply::ok(PAIR)
            .index(9)
            .header("X-Consul-KnownLeader", "true"),
        "/v1/kv/gone" => Reply::status(404, "").index(5),
        _ => Reply::status(404, "Invalid URL path"),
    })
    .await;
    let client = server.client();
    let answer = client
        .kv()
        .get("a b/é?", &ReadOptions::stale())
        .await
        .expect("found");
    assert_eq!((answer.index, answer.known_leader), (9, true));
    let pair = answer.value.expect("there");
    assert_eq!(
        (pair.key.as_str(), pair.flags, &pair.value[..]),
        ("a b", 42, &b"one"[..])
    );
    let answer = client
        .kv()
        .get("gone", &ReadOptions::default())
        .await
        .expect("a missing key is no error");
    assert_eq!((answer.value, answer.index), (None, 5));
    let error = client
        .status()
        .leader()
        .await
        .expect_err("there is no such path");
    assert_eq!(
        (error.status(), error.to_string().as_str()),
        (
            Some(404),
            "Unexpected response code: 404 (Invalid URL path)"
        )
    );
}

#[tokio::test]
async fn writes_carry_their_conditions_token_and_datacenter() {
    let server = Server::start(|asked| {
        Reply::ok(if asked.path.contains("cas=3") {
            "false"
        } else {
            "true"
        })
    })
    .await;
    let client = Client::new(Settings {
        address: server.address(),
        token: Some("secret".into()),
        datacenter: Some("dc1".into()),
    })
    .expect("good settings");
    let kv = client.kv();
    let put = |condition| PutOptions {
        flags: 1,
        condition,
    };
    assert!(
        kv.put("k", "v", &put(Condition::Acquire("s 1".into())))
            .await
            .expect("written")
    );
    assert!(
        !kv.put("k", "v", &put(Condition::Unchanged(3)))
            .await
            .expect("answered")
    );
    assert!(kv.delete("k", None).await.expect("deleted"));
    kv.delete_tree("").await.expect("deleted");
    let asked = server.asked();
    let lines: Vec<String> = asked
        .iter()
        .map(|asked| format!("{} {} {}", asked.method, asked.path, asked.body))
        .collect();
    assert_eq!(
        lines,
        [
            "PUT /v1/kv/k?flags=1&acquire=s%201&dc=dc1 v",
            "PUT /v1/kv/k?flags=1&cas=3&dc=dc1 v",
            "DELETE /v1/kv/k?dc=dc1 ",
            "DELETE /v1/kv/?recurse&dc=dc1 ",
        ]
    );
    assert!(
        asked
            .iter()
            .all(|asked| asked.token.as_deref() == Some("secret"))
    );
}

#[tokio::test]
async fn a_transaction_is_done_or_tells_what_failed() {
    let server = Server::start(|asked| {
        if asked.body.contains("\"bad\"") {
            let body = r#"{"Results":null,"Errors":[{"OpIndex":1,"What":"key \"bad\" doesn't exist"}],"Index":1}"#;
            return Reply::status(409, body);
        }
        Reply::ok(r#"{"Results":[{"KV":{"Key":"k","Value":null,"ModifyIndex":4}},{"Node":{}}],"Errors":null}"#)
    })
    .await;
    let client = server.client();
    let done = client
        .kv()
        .transaction(&[TxnOp::set("k", b"v", 0)])
        .await
        .expect("answered");
    assert!(
        matches!(&done, TxnOutcome::Done(pairs) if pairs.len() == 1 && pairs[0].modify_index == 4),
        "{done:?}"
    );
    let failed = client
        .kv()
        .transaction(&[TxnOp::get("k"), TxnOp::get("bad")])
        .await
        .expect("answered");
    let expected = TxnError {
        op_index: 1,
        what: "key \"bad\" doesn't exist".into(),
    };
    assert_eq!(failed, TxnOutcome::RolledBack(vec![expected]));
    assert_eq!(
        server.asked()[0].body,
        r#"[{"KV":{"Verb":"set","Key":"k","Value":"dg=="}}]"#
    );
}

#[tokio::test]
async fn a_write_whose_answer_is_cut_off_is_sent_once_and_its_outcome_is_unknown() {
    let server = Server::start(|_| Reply::Cut).await;
    let client = server.client();
    let error = client
        .kv()
        .put("k", "v", &PutOptions::default())
        .await
        .expect_err("no answer");
    assert!(matches!(error, Error::Broken { .. }), "{error:?}");
    assert!(!error.surely_not_sent());
    assert_eq!(
        server.asked().len(),
        1,
        "an ambiguous write must not be repeated"
    );
}

#[tokio::test]
async fn what_was_surely_not_sent_is_told_apart() {
    let gone = Server::start(|_| Reply::Cut).await.address();
    // The listener of that server is closed by now.
    let client = Client::new(Settings {
        address: gone,
        ..Settings::default()
    })
    .expect("good settings");
    let error = client
        .kv()
        .put("k", "v", &PutOptions::default())
        .await
        .expect_err("nobody listens");
    assert!(
        matches!(error, Error::Connect { .. }) && error.surely_not_sent(),
        "{error:?}"
    );
    let busy = Server::start(|_| Reply::status(503, "too many writes in flight (limit 1)")).await;
    let error = busy
        .client()
        .kv()
        .put("k", "v", &PutOptions::default())
        .await
        .expect_err("busy");
    assert!(error.surely_not_sent() && error.is_passing(), "{error:?}");
    let unknown = Server::start(|_| Reply::status(500, "outcome unknown")).await;
    let error = unknown
        .client()
        .kv()
        .put("k", "v", &PutOptions::default())
        .await
        .expect_err("unknown");
    assert!(!error.surely_not_sent(), "{error:?}");
}

#[tokio::test]
async fn answers_that_are_no_answers_are_errors() {
    for body in ["", "{", "[1]", "\"text\""] {
        let server = Server::start(move |_| Reply::ok(body)).await;
        let error = server
            .client()
            .kv()
            .get("k", &ReadOptions::default())
            .await
            .expect_err("no key");
        assert!(matches!(error, Error::Answer { .. }), "{body:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_long_poll_waits_on_the_last_index_and_starts_anew_when_it_goes_back() {
    let indexes = [5, 5, 8, 2, 2, 3];
    let server =
        Server::start_counting(move |count, _| Reply::ok(PAIR).index(indexes[count.min(5)])).await;
    let mut poll = server.client().kv().watch(
        "k",
        ReadOptions {
            wait: Some(Duration::from_secs(10)),
            ..ReadOptions::default()
        },
    );
    let mut got = Vec::new();
    for _ in 0..4 {
        got.push(poll.next().await.expect("answered").index);
    }
    assert_eq!(got, [5, 8, 2, 3]);
    let paths: Vec<String> = server.asked().into_iter().map(|asked| asked.path).collect();
    let waited = |index: u64| format!("/v1/kv/k?index={index}&wait=10000ms");
    let first = "/v1/kv/k?wait=10000ms".to_owned();
    assert_eq!(
        paths,
        [
            first.clone(),
            waited(5),
            waited(5),
            waited(8),
            first,
            waited(2)
        ]
    );
}

#[tokio::test]
async fn a_long_poll_gives_failures_out_and_goes_on_behind_them() {
    let server = Server::start_counting(|count, _| match count {
        0 => Reply::status(500, "No cluster leader"),
        _ => Reply::ok(PAIR).index(7),
    })
    .await;
    let mut poll = server
        .client()
        .kv()
        .watch_prefix("p", ReadOptions::default());
    assert!(poll.next().await.expect_err("no leader").is_passing());
    assert_eq!(poll.next().await.expect("answered").value.len(), 1);
}

#[tokio::test]
async fn sessions_are_created_renewed_and_seen_to_be_gone() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/v1/session/create" => Reply::ok(r#"{"ID":"s1"}"#),
        "/v1/session/renew/s1" => Reply::ok(r#"[{"ID":"s1","Name":"n","TTL":"15s"}]"#),
        "/v1/session/renew/s2" => Reply::status(404, "Session id 's2' not found"),
        "/v1/session/info/s2" | "/v1/session/list" => Reply::ok("[]"),
        _ => Reply::ok("true"),
    })
    .await;
    let client = server.client();
    let sessions = client.sessions();
    let new = NewSession {
        name: "n".into(),
        ttl: Some(Duration::from_secs(15)),
        node_checks: Some(vec![]),
        ..NewSession::default()
    };
    assert_eq!(sessions.create(&new).await.expect("created"), "s1");
    assert_eq!(
        server.asked()[0].body,
        r#"{"Name":"n","TTL":"15s","Behavior":"release","NodeChecks":[]}"#
    );
    assert_eq!(
        sessions
            .renew("s1")
            .await
            .expect("answered")
            .expect("there")
            .name,
        "n"
    );
    assert_eq!(
        sessions
            .renew("s2")
            .await
            .expect("a session that is gone is no error"),
        None
    );
    assert_eq!(
        sessions
            .info("s2", &ReadOptions::default())
            .await
            .expect("answered")
            .value,
        None
    );
    assert_eq!(
        sessions
            .list(None, &ReadOptions::default())
            .await
            .expect("answered")
            .value,
        []
    );
    sessions.destroy("s1").await.expect("destroyed");
}

#[tokio::test]
async fn a_snapshot_streams_both_ways_over_a_unix_socket() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("rollcall.sock");
    let server = Server::start_unix(&path, |asked: &Asked| match asked.method.as_str() {
        "GET" => Reply::ok("snapshot").index(12),
        _ if asked.body == "half" => Reply::status(500, "the snapshot ends too early"),
        _ => Reply::ok(""),
    })
    .await;
    let client = server.client();
    let mut stream = client
        .snapshots()
        .save(&ReadOptions::default())
        .await
        .expect("begun");
    assert_eq!((stream.index, stream.length), (12, Some(8)));
    let mut whole = Vec::new();
    while let Some(chunk) = stream.chunk().await.expect("more") {
        whole.extend_from_slice(&chunk);
    }
    assert_eq!(whole, b"snapshot");
    let parts = |words: &'static [&'static str]| {
        futures_util::stream::iter(
            words
                .iter()
                .map(|word| Ok(Bytes::from_static(word.as_bytes()))),
        )
    };
    client
        .snapshots()
        .restore(parts(&["snap", "shot"]))
        .await
        .expect("restored");
    let error = client
        .snapshots()
        .restore(parts(&["half"]))
        .await
        .expect_err("refused");
    assert!(error.to_string().contains("ends too early"), "{error}");
    let torn = futures_util::stream::iter([
        Ok(Bytes::from_static(b"a")),
        Err(std::io::Error::other("unreadable")),
    ]);
    let error = client
        .snapshots()
        .restore(torn)
        .await
        .expect_err("the file could not be read");
    assert!(matches!(error, Error::Broken { .. }), "{error:?}");
}

#[tokio::test]
async fn a_snapshot_that_stops_half_way_is_an_error_and_no_end() {
    let server = Server::start(|_| Reply::CutInBody).await;
    let mut stream = server
        .client()
        .snapshots()
        .save(&ReadOptions::default())
        .await
        .expect("begun");
    let outcome = loop {
        match stream.chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    assert!(
        matches!(outcome, Err(Error::Broken { reading: true, .. })),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn operator_calls_name_the_server() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/v1/operator/raft/configuration" => {
            Reply::ok(r#"{"Servers":[{"ID":"i","Node":"n","Address":"127.0.0.1:8300","Leader":true,"Voter":true}],"Index":3}"#)
        }
        "/v1/operator/raft/transfer-leader?id=i" => Reply::ok(r#"{"Success":true}"#),
        "/v1/status/leader" => Reply::ok("\"\""),
        _ => Reply::ok(""),
    })
    .await;
    let client = server.client();
    let configuration = client
        .operator()
        .raft_configuration(&ReadOptions::default())
        .await
        .expect("answered");
    assert_eq!(
        (configuration.servers[0].id.as_str(), configuration.index),
        ("i", 3)
    );
    client
        .operator()
        .transfer_leader(Some("i"))
        .await
        .expect("transferred");
    client
        .operator()
        .remove_peer_by_address("127.0.0.1:8300")
        .await
        .expect("removed");
    assert_eq!(client.status().leader().await.expect("answered"), None);
    assert_eq!(
        server.asked()[2].path,
        "/v1/operator/raft/peer?address=127.0.0.1%3A8300"
    );
}
