//! The npm package `consul`, pinned in tests/clients/node/package.json, over the real binary.
//!
//! What it does stands in tests/clients/node; when things must happen is judged here and in `harness::lock`.

use std::time::Duration;

use harness::client::Client;
use harness::lock::a_killed_holder_loses_its_lock_in_time;
use harness::server::Scratch;
use harness::{Cluster, Server, Settings};

/// The whole exercise takes a few seconds.
const CHECK_BOUND: Duration = Duration::from_secs(60);

#[test]
fn the_client_finds_what_it_expects_on_a_single_server() {
    let scratch = Scratch::new();
    let mut server = Server::new(Settings::single(scratch.path()), scratch.path());
    server.start_and_wait();
    let running = Client::Node.start(&["check", &server.http().to_string(), "node"]);
    assert_eq!(
        running
            .wait_for_success(CHECK_BOUND)
            .last()
            .map(|said| said.line.as_str()),
        Some("ok")
    );
}

#[test]
fn the_client_finds_the_same_on_a_follower() {
    let mut cluster = Cluster::start();
    let follower = cluster.follower();
    let address = cluster.servers[follower].http().to_string();
    let running = Client::Node.start(&["check", &address, "node"]);
    assert_eq!(
        running
            .wait_for_success(CHECK_BOUND)
            .last()
            .map(|said| said.line.as_str()),
        Some("ok")
    );
}

#[test]
fn a_killed_holder_loses_its_lock_after_its_ttl_and_others_wait_for_the_lock_delay() {
    a_killed_holder_loses_its_lock_in_time(Client::Node, [Client::Go, Client::Python]);
}
