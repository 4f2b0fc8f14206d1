//! The npm package `consul`, pinned in tests/clients/node/package.json, over the real binary.
//!
//! What it does stands in tests/clients/node; when things must happen is judged here and in `harness::lock`.

use harness::client::{
    Client, assert_finds_the_agent, assert_finds_the_catalog, assert_finds_what_it_expects,
};
use harness::lock::a_killed_holder_loses_its_lock_in_time;
use harness::server::Scratch;
use harness::{Cluster, Server, Settings};

#[test]
fn the_client_finds_what_it_expects_on_a_single_server() {
    let scratch = Scratch::new();
    let mut server = Server::new(Settings::single(scratch.path()), scratch.path());
    server.start_and_wait();
    assert_finds_what_it_expects(Client::Node, &server);
}

#[test]
fn the_client_finds_the_catalog_on_a_single_server() {
    let scratch = Scratch::new();
    let mut server = Server::new(Settings::single(scratch.path()), scratch.path());
    server.start_and_wait();
    assert_finds_the_catalog(Client::Node, &server);
}

#[test]
fn the_client_finds_the_agent_on_a_follower() {
    let mut cluster = Cluster::start();
    let follower = cluster.follower();
    assert_finds_the_agent(Client::Node, &cluster.servers[follower]);
}

#[test]
fn the_client_finds_the_catalog_on_a_follower() {
    let mut cluster = Cluster::start();
    let follower = cluster.follower();
    assert_finds_the_catalog(Client::Node, &cluster.servers[follower]);
}

#[test]
fn the_client_finds_the_same_on_a_follower() {
    let mut cluster = Cluster::start();
    let follower = cluster.follower();
    assert_finds_what_it_expects(Client::Node, &cluster.servers[follower]);
}

#[test]
fn a_killed_holder_loses_its_lock_after_its_ttl_and_others_wait_for_the_lock_delay() {
    a_killed_holder_loses_its_lock_in_time(Client::Node, [Client::Go, Client::Python]);
}
