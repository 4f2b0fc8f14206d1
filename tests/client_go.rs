//! Consul's own Go client, pinned in tests/clients/go/go.mod, over the real binary.
//!
//! What it does stands in tests/clients/go; when things must happen is judged here and in `harness::lock`.

use std::time::Duration;

use harness::client::{
    Client, assert_finds_the_agent, assert_finds_the_catalog, assert_finds_what_it_expects,
};
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
    assert_finds_what_it_expects(Client::Go, &server);
}

#[test]
fn the_client_finds_the_catalog_on_a_single_server() {
    let scratch = Scratch::new();
    let mut server = Server::new(Settings::single(scratch.path()), scratch.path());
    server.start_and_wait();
    assert_finds_the_catalog(Client::Go, &server);
}

#[test]
fn the_client_finds_the_agent_on_a_follower() {
    let mut cluster = Cluster::start();
    let follower = cluster.follower();
    assert_finds_the_agent(Client::Go, &cluster.servers[follower]);
}

#[test]
fn the_client_finds_the_catalog_on_a_follower() {
    let mut cluster = Cluster::start();
    let follower = cluster.follower();
    assert_finds_the_catalog(Client::Go, &cluster.servers[follower]);
}

#[test]
fn the_client_finds_the_same_on_a_follower() {
    let mut cluster = Cluster::start();
    let follower = cluster.follower();
    assert_finds_what_it_expects(Client::Go, &cluster.servers[follower]);
}

#[test]
fn a_killed_holder_loses_its_lock_after_its_ttl_and_others_wait_for_the_lock_delay() {
    a_killed_holder_loses_its_lock_in_time(Client::Go, [Client::Python, Client::Node]);
}

#[test]
fn a_semaphore_of_two_never_has_three_holders() {
    let mut cluster = Cluster::start();
    let follower = cluster.follower();
    let programs: Vec<_> = (0..4)
        .map(|number| {
            let server = &cluster.servers[(follower + number) % 3];
            let (address, name) = (server.http().to_string(), format!("taker-{number}"));
            Client::Go.start(&["semaphore", &address, "semaphore/two", &name, "2", "4"])
        })
        .collect();
    let mut steps = Vec::new();
    for program in programs {
        for said in program.wait_for_success(CHECK_BOUND) {
            match said.line.split(' ').next() {
                Some("acquired") => steps.push((said.at, 1)),
                Some("released") => steps.push((said.at, -1)),
                _ => {}
            }
        }
    }
    // Who releases says so before it asks to, so a step down is never late.
    steps.sort();
    let mut holders = 0;
    let mut most = 0;
    for (_, step) in &steps {
        holders += step;
        most = most.max(holders);
    }
    assert_eq!(
        steps.len(),
        4 * 4 * 2,
        "every taker acquires and releases in every round"
    );
    assert_eq!(holders, 0);
    assert!(most <= 2, "{most} held a semaphore of two at once");
}
