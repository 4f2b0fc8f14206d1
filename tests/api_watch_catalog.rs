//! The answer changed ⇔ its index moved ⇔ a query parked on it woke: catalog, health, sessions and prepared queries over
//! HTTP, with random writes, on one server and on a follower of three whose other servers must say the same.
//!
//! Here is no model of the catalog (the state's own tests have one): a query's fresh answer is compared with the one it gave
//! before. Different bytes must come with a higher index and must have woken the query parked on it, with those bytes; the same
//! bytes with the same index, in silence. Answers are compared whole, with the rows' own indexes.
//!
//! A filter chooses among rows and waits on all of them, so filtered answers are no part of this. `n1` and `n2` stay; `n3` comes and goes. A node that comes without checks moves the index of its (empty) list of checks, as
//! in Consul, hence nobody asks for `n3`'s.

#![expect(
    clippy::print_stdout,
    reason = "the seed is in the log of a test that failed"
)]

use std::time::Duration;

use harness::level::rounds;
use harness::server::Scratch;
use harness::{Cluster, Connection, Request, Response, Server, Settings};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

/// Every kind of read, on what is there, what comes and goes, and what never is.
const QUERIES: [&str; 27] = [
    "/v1/catalog/nodes",
    "/v1/catalog/services",
    "/v1/catalog/service/web",
    "/v1/catalog/service/db",
    "/v1/catalog/service/never",
    "/v1/catalog/node/n1",
    "/v1/catalog/node/n3",
    "/v1/catalog/node/never",
    "/v1/catalog/node-services/n2",
    "/v1/catalog/node-services/n3",
    "/v1/health/node/n1",
    "/v1/health/node/n2",
    "/v1/health/node/never",
    "/v1/health/checks/web",
    "/v1/health/checks/never",
    "/v1/health/service/web",
    "/v1/health/service/db",
    "/v1/health/service/never",
    "/v1/health/state/any",
    "/v1/health/state/passing",
    "/v1/health/state/critical",
    "/v1/session/list",
    "/v1/session/node/n1",
    "/v1/session/node/never",
    "/v1/query",
    "/v1/coordinate/nodes",
    "/v1/catalog/connect/web",
];
/// A query that must wake does so within this.
const WAKE_BOUND: Duration = Duration::from_secs(20);

/// What a query answered.
#[derive(Debug, Clone, PartialEq)]
struct Answer {
    value: Value,
    index: u64,
}

impl Answer {
    fn of(path: &str, response: &Response) -> Self {
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        assert!(response.index() > 0, "{path}");
        Answer {
            value: response.json(),
            index: response.index(),
        }
    }
}

/// The index of what is not there may be a coarse one: it rises with other removals too, but wakes nobody.
fn is_absent(value: &Value) -> bool {
    matches!(value, Value::Null)
        || *value == json!([])
        || *value == json!({"Node": null, "Services": null})
}

/// One kind of query, and a connection on which it is parked.
struct Parked {
    path: &'static str,
    answer: Answer,
    connection: Connection,
}

impl Parked {
    fn park(&mut self) {
        let joint = if self.path.contains('?') { '&' } else { '?' };
        let (path, index) = (self.path, self.answer.index);
        let request = format!(
            "GET {path}{joint}index={index}&wait=10m HTTP/1.1\r\nHost: rollcall.test\r\n\r\n"
        );
        (self.connection.write(request.as_bytes())).expect("the server must take a request");
    }
}

struct Bench<'a> {
    server: &'a Server,
    parked: Vec<Parked>,
    sessions: Vec<String>,
    queries: Vec<String>,
    steps: Vec<String>,
}

impl<'a> Bench<'a> {
    fn new(server: &'a Server) -> Self {
        let park = |path: &&'static str| {
            let answer = Answer::of(path, &server.get(path));
            let connection = server.connect().expect("the server must take connections");
            (connection.set_timeout(WAKE_BOUND)).expect("a socket must take a timeout");
            let mut parked = Parked {
                path,
                answer,
                connection,
            };
            parked.park();
            parked
        };
        Self {
            server,
            parked: QUERIES.iter().map(park).collect(),
            sessions: Vec::new(),
            queries: Vec::new(),
            steps: Vec::new(),
        }
    }

    fn send(&mut self, method: &str, path: &str, body: &Value) -> Response {
        let request = Request::new(method, path).body(body.to_string());
        self.steps.push(format!("{method} {path} {body}"));
        self.server.send(&request)
    }

    /// One random write. It may be refused, or change nothing.
    fn write(&mut self, random: &mut StdRng) {
        let mut one = |of: &[&'static str]| *of.choose(random).expect("there must be a choice");
        let node = one(&["n1", "n2", "N2", "n3"]);
        let service = one(&["web", "db"]);
        let id = one(&["a", "b"]);
        let status = one(&["passing", "critical", "warning", "odd"]);
        let tag = one(&["t1", "t2"]);
        let address = one(&["10.0.0.1", "10.0.0.2"]);
        let output = one(&["", "x"]);
        match random.random_range(0..20) {
            0..6 => {
                let body = json!({"Node": node, "Address": address, "Service": {"ID": id, "Service": service, "Tags": [tag]}});
                self.send("PUT", "/v1/catalog/register", &body);
            }
            6..10 => {
                let of = if output.is_empty() { "" } else { id };
                let body = json!({"Node": node, "Address": address, "SkipNodeUpdate": true,
                    "Check": {"CheckID": format!("c{of}"), "Name": "c", "Status": status, "Output": output, "ServiceID": of}});
                self.send("PUT", "/v1/catalog/register", &body);
            }
            10..12 => {
                let body = json!({"Node": node, "ServiceID": id});
                self.send("PUT", "/v1/catalog/deregister", &body);
            }
            12 => {
                self.send(
                    "PUT",
                    "/v1/catalog/deregister",
                    &json!({"Node": node, "CheckID": "c"}),
                );
            }
            13 => {
                self.send("PUT", "/v1/catalog/deregister", &json!({"Node": "n3"}));
            }
            14 | 15 => {
                let body = json!({"Node": node, "Checks": [], "LockDelay": "0s"});
                let answer = self.send("PUT", "/v1/session/create", &body);
                if answer.status == 200 {
                    self.sessions
                        .extend(answer.json()["ID"].as_str().map(str::to_owned));
                }
            }
            16 => {
                if let Some(session) = self.sessions.pop() {
                    self.send(
                        "PUT",
                        &format!("/v1/session/destroy/{session}"),
                        &Value::Null,
                    );
                }
            }
            17 | 18 => {
                let session = self.sessions.last().cloned().unwrap_or_default();
                let body = json!({"Name": format!("q-{id}"), "Session": session, "Service": {"Service": service}});
                let answer = self.send("POST", "/v1/query", &body);
                if answer.status == 200 {
                    self.queries
                        .extend(answer.json()["ID"].as_str().map(str::to_owned));
                }
            }
            _ => {
                if let Some(query) = self.queries.pop() {
                    self.send("DELETE", &format!("/v1/query/{query}"), &Value::Null);
                }
            }
        }
    }

    /// Every query, read afresh, beside what it answered before and what is parked on it.
    fn look(&mut self) {
        let steps = &self.steps[self.steps.len().saturating_sub(3)..];
        for parked in &mut self.parked {
            let path = parked.path;
            let fresh = Answer::of(path, &self.server.get(path));
            if fresh.value == parked.answer.value {
                let moved = fresh.index != parked.answer.index;
                let may_move = is_absent(&fresh.value) && fresh.index > parked.answer.index;
                assert!(
                    !moved || may_move,
                    "{path}: the same answer at {} and at {}, after {steps:#?}",
                    parked.answer.index,
                    fresh.index
                );
                let silent = parked
                    .connection
                    .is_silent()
                    .expect("the connection must stay open");
                assert!(
                    silent,
                    "{path} woke though its answer is as before: {steps:#?}"
                );
                continue;
            }
            let (was, now) = (parked.answer.index, fresh.index);
            assert!(
                now > was,
                "{path}: another answer at {now}, {was} before, after {steps:#?}"
            );
            let woken = (parked.connection.read("GET"))
                .unwrap_or_else(|error| panic!("{path} did not wake ({error}) after {steps:#?}"));
            assert_eq!(
                Answer::of(path, &woken),
                fresh,
                "{path}: woken, after {steps:#?}"
            );
            parked.answer = fresh;
            parked.park();
        }
    }
}

fn answers_indexes_and_wakings_agree(server: &Server, others: &[&Server]) {
    let seed: u64 = match std::env::var("ROLLCALL_WATCH_SEED") {
        Ok(seed) => seed.parse().expect("ROLLCALL_WATCH_SEED must be a number"),
        Err(_) => rand::random(),
    };
    println!("ROLLCALL_WATCH_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for node in ["n1", "n2"] {
        let body = json!({"Node": node, "Address": "10.0.0.1"}).to_string();
        assert_eq!(server.put("/v1/catalog/register", body).status, 200);
    }
    let mut bench = Bench::new(server);
    for round in 0..rounds(100, 4_000) {
        bench.write(&mut random);
        bench.look();
        if round % 25 == 0 {
            for (other, path) in others
                .iter()
                .flat_map(|other| QUERIES.map(|path| (other, path)))
            {
                let theirs = Answer::of(path, &other.get(path));
                assert_eq!(
                    theirs,
                    Answer::of(path, &server.get(path)),
                    "{path} of another server"
                );
            }
        }
    }
    // A last write that wakes nobody: whoever is awake now woke wrongly.
    bench.server.put("/v1/kv/elsewhere", "x");
    bench.look();
}

/// A server writes its own check a little after it answers; that is no write of this test.
fn wait_until_well(server: &Server) {
    let path = format!("/v1/health/node/{}", server.settings.node_name);
    harness::wait_for("the server's own check", WAKE_BOUND, || {
        match server.get(&path).json()[0]["Status"].as_str() {
            Some("passing") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn catalog_answers_indexes_and_wakings_agree_on_a_single_server() {
    let scratch = Scratch::new();
    let mut server = Server::new(Settings::single(scratch.path()), scratch.path());
    server.start_and_wait();
    wait_until_well(&server);
    answers_indexes_and_wakings_agree(&server, &[]);
}

#[test]
fn catalog_answers_indexes_and_wakings_agree_on_a_follower() {
    let mut cluster = Cluster::start();
    let follower = cluster.follower();
    cluster.servers.iter().for_each(wait_until_well);
    let (server, others) = (&cluster.servers[follower], &cluster.servers);
    let others: Vec<&Server> = others
        .iter()
        .filter(|other| other.http() != server.http())
        .collect();
    answers_indexes_and_wakings_agree(server, &others);
}
