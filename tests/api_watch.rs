//! The answer changed ⇔ its index moved ⇔ a query parked on it woke: over HTTP, with random writes, on one server and
//! on a follower of three.
//!
//! A model of a few lines (an ordered map) says what every answer must be. One query of each kind stays parked all the
//! time. After each write those whose answer the model changed must wake, with the new answer and a higher index; the
//! others must stay silent, and read afresh they must have the old index. A query that wakes late and wrongly is found
//! before the next write, or at the end.

#![expect(
    clippy::print_stdout,
    reason = "the seed is in the log of a test that failed"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use harness::level::rounds;
use harness::server::Scratch;
use harness::{Cluster, Connection, Request, Server, Settings};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

const KEYS: [&str; 7] = ["m/a", "m/b", "m/d/x", "m/d/y", "m/d/s/z", "m/dx", "n/c"];
const VALUES: [&str; 3] = ["", "one", "two"];
/// What is read: every kind of KV answer, on what is there, what comes and goes, and what never is.
const QUERIES: [&str; 9] = [
    "m/a",
    "m/d/x",
    "m/never",
    "m/d/?recurse",
    "m/d?recurse",
    "m/d/?keys",
    "?keys",
    "n/?recurse",
    "never/?keys",
];
/// A query that must wake does so within this.
const WAKE_BOUND: Duration = Duration::from_secs(20);

type Model = BTreeMap<String, (String, u64)>;

/// The answer's body without indexes; `None` is a 404.
fn expected(model: &Model, query: &str) -> Option<Value> {
    let (prefix, kind) = query.split_once('?').unwrap_or((query, ""));
    let row = |key: &String, (value, flags): &(String, u64)| {
        let value = if value.is_empty() {
            Value::Null
        } else {
            json!(BASE64.encode(value))
        };
        json!({"Key": key, "Value": value, "Flags": flags, "LockIndex": 0})
    };
    let below: Vec<_> = model
        .iter()
        .filter(|(key, _)| key.starts_with(prefix))
        .collect();
    let rows: Vec<Value> = match kind {
        "" => model
            .get(prefix)
            .map(|entry| row(&prefix.to_owned(), entry))
            .into_iter()
            .collect(),
        "recurse" => below
            .into_iter()
            .map(|(key, entry)| row(key, entry))
            .collect(),
        _ => below.into_iter().map(|(key, _)| json!(key)).collect(),
    };
    // Consul knows no "not found" for the names of all keys.
    if rows.is_empty() && query != "?keys" {
        None
    } else {
        Some(Value::Array(rows))
    }
}

/// One kind of query: what it answered last, and a connection on which it is parked.
struct Parked {
    query: &'static str,
    answer: Option<Value>,
    index: u64,
    connection: Connection,
}

impl Parked {
    fn path(&self) -> String {
        let joint = if self.query.contains('?') { '&' } else { '?' };
        format!("/v1/kv/{}{joint}index={}&wait=10m", self.query, self.index)
    }

    fn park(&mut self) {
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: rollcall.test\r\n\r\n",
            self.path()
        );
        self.connection
            .write(request.as_bytes())
            .expect("the server must take a request");
    }

    fn take(response: &harness::Response) -> (Option<Value>, u64) {
        let answer = match response.status {
            404 => None,
            200 => {
                let mut rows = response.json();
                for row in rows.as_array_mut().into_iter().flatten() {
                    if let Some(fields) = row.as_object_mut() {
                        fields.remove("CreateIndex");
                        fields.remove("ModifyIndex");
                    }
                }
                Some(rows)
            }
            status => panic!("status {status}: {}", response.text()),
        };
        (answer, response.index())
    }
}

struct Bench<'a> {
    server: &'a Server,
    model: Model,
    parked: Vec<Parked>,
    steps: Vec<String>,
}

impl<'a> Bench<'a> {
    fn new(server: &'a Server) -> Self {
        let parked = QUERIES.map(|query| {
            let (answer, index) = Parked::take(&server.get(&format!("/v1/kv/{query}")));
            let nothing = expected(&Model::new(), query);
            assert_eq!(answer, nothing, "{query}: nothing was written yet");
            let connection = server
                .connect()
                .expect("a server that answers must take connections");
            connection
                .set_timeout(WAKE_BOUND)
                .expect("a socket must take a timeout");
            let mut parked = Parked {
                query,
                answer,
                index,
                connection,
            };
            parked.park();
            parked
        });
        Self {
            server,
            model: Model::new(),
            parked: parked.into(),
            steps: Vec::new(),
        }
    }

    fn write(&mut self, random: &mut StdRng) {
        let key = *KEYS.choose(random).expect("there are keys");
        let value = *VALUES.choose(random).expect("there are values");
        let flags = random.random_range(0..2_u64);
        let put = Request::new("PUT", &format!("/v1/kv/{key}?flags={flags}")).body(value);
        let request = match random.random_range(0..10) {
            0..5 => {
                self.model.insert(key.to_owned(), (value.to_owned(), flags));
                put
            }
            5 => {
                // Refused: somebody else was faster.
                let path = format!("/v1/kv/{key}?cas=1");
                Request::new("PUT", &path).body("never")
            }
            6..9 => {
                self.model.remove(key);
                Request::new("DELETE", &format!("/v1/kv/{key}"))
            }
            _ => {
                self.model.retain(|key, _| !key.starts_with("m/d/"));
                Request::new("DELETE", "/v1/kv/m/d/?recurse")
            }
        };
        self.steps.push(format!("{request:?}"));
        let answer = self.server.send(&request);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Every query against the model, and the parked ones against what they answered before.
    fn look(&mut self) {
        let last = self.steps.len().saturating_sub(3);
        let steps = &self.steps[last..];
        for parked in &mut self.parked {
            let now = expected(&self.model, parked.query);
            if now == parked.answer {
                let silent = parked
                    .connection
                    .is_silent()
                    .expect("the connection must stay open");
                assert!(
                    silent,
                    "{} woke though its answer is as before: {steps:#?}",
                    parked.query
                );
                let fresh = self.server.get(&format!("/v1/kv/{}", parked.query));
                let fresh = Parked::take(&fresh);
                let same = (parked.answer.clone(), parked.index);
                assert_eq!(
                    fresh, same,
                    "{}: read afresh, after {steps:#?}",
                    parked.query
                );
                continue;
            }
            let woken = parked.connection.read("GET").unwrap_or_else(|error| {
                panic!("{} did not wake ({error}) after {steps:#?}", parked.query)
            });
            let (answer, index) = Parked::take(&woken);
            assert_eq!(answer, now, "{}: woken, after {steps:#?}", parked.query);
            assert!(
                index > parked.index,
                "{}: woken, but its index is still {index}",
                parked.query
            );
            (parked.answer, parked.index) = (answer, index);
            parked.park();
        }
    }
}

fn answers_indexes_and_wakings_agree(server: &Server) {
    let seed: u64 = match std::env::var("ROLLCALL_WATCH_SEED") {
        Ok(seed) => seed.parse().expect("ROLLCALL_WATCH_SEED must be a number"),
        Err(_) => rand::random(),
    };
    println!("ROLLCALL_WATCH_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut bench = Bench::new(server);
    for _ in 0..rounds(300, 5_000) {
        bench.write(&mut random);
        bench.look();
    }
    // A last write that wakes nobody: whoever is awake now woke wrongly.
    bench.server.put("/v1/kv/elsewhere", "x");
    bench
        .model
        .insert("elsewhere".to_owned(), ("x".to_owned(), 0));
    bench.look();
}

#[test]
fn answers_indexes_and_wakings_agree_on_a_single_server() {
    let scratch = Scratch::new();
    let mut server = Server::new(Settings::single(scratch.path()), scratch.path());
    server.start_and_wait();
    answers_indexes_and_wakings_agree(&server);
}

#[test]
fn answers_indexes_and_wakings_agree_on_a_follower() {
    let mut cluster = Cluster::start();
    let follower = cluster.follower();
    answers_indexes_and_wakings_agree(&cluster.servers[follower]);
}
