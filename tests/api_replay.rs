//! The recordings of Consul 1.20.1, replayed over the real binary.
//!
//! Against a single server in the recorded order; against a follower of three; and, on one more server, with keys,
//! values, names and ids renamed and the independent groups interleaved at random. Every status, header name, shape and
//! error word must be the same. What is different on purpose stands in [`DELIBERATE`], with its reason.

use std::collections::{BTreeMap, VecDeque};

use harness::recording::{self, Indexes, Recording, Renaming};
use harness::server::Scratch;
use harness::{Cluster, Connection, Request, Response, Server, Settings};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// The groups this suite replays; the others belong to endpoints that are not built yet.
const GROUPS: [&str; 4] = ["kv", "session", "txn", "operator"];

/// Where we answer otherwise than Consul on purpose: the request, our status, and why.
const DELIBERATE: [(&str, u16, &str); 3] = [
    (
        "GET /",
        404,
        "there is no web page in this version, so nothing to send a browser to",
    ),
    (
        "GET /v1/internal/ui/services?dc=dc1",
        404,
        "made for Consul's own web page",
    ),
    (
        "GET /v1/internal/ui/nodes?dc=dc1",
        404,
        "made for Consul's own web page",
    ),
];

/// Endpoints in the recorded groups that are not built yet. Until then they answer 404 like any unknown path.
const NOT_BUILT: [&str; 4] = [
    "/v1/operator/autopilot/",
    "/v1/operator/usage",
    "/v1/operator/keyring",
    "/v1/coordinate/",
];

/// What stands in a 404 of a path we do not know.
const UNKNOWN_PATH: &str = "Invalid URL path";

fn deliberate(recording: &Recording) -> Option<u16> {
    let request = format!("{} {}", recording.method, recording.path);
    if NOT_BUILT
        .iter()
        .any(|prefix| recording.path.starts_with(prefix))
    {
        return Some(404);
    }
    DELIBERATE
        .iter()
        .find(|(known, _, _)| *known == request)
        .map(|(_, status, _)| *status)
}

fn recordings() -> Vec<Recording> {
    let mut all = recording::load();
    all.retain(|recording| GROUPS.contains(&recording.group.as_str()));
    assert_eq!(all.len(), 121, "the recordings of the groups {GROUPS:?}");
    all
}

/// One replay against one server.
struct Replay {
    connection: Connection,
    renaming: Renaming,
    indexes: BTreeMap<String, Indexes>,
    /// Keys of other groups that a listing of everything may show.
    foreign: Vec<String>,
    faults: Vec<String>,
}

impl Replay {
    fn new(server: &Server, renaming: Renaming) -> Self {
        let connection = server
            .connect()
            .expect("a server that answers must take connections");
        Self {
            connection,
            renaming,
            indexes: BTreeMap::new(),
            foreign: Vec::new(),
            faults: Vec::new(),
        }
    }

    fn step(&mut self, recording: &Recording) {
        let mut request = Request::new(&recording.method, &self.renaming.path(recording));
        if !recording.request_body.is_empty() {
            request = request.body(self.renaming.request_body(recording));
        }
        let mut answer = self.connection.send(&request).unwrap_or_else(|error| {
            panic!(
                "{}: no answer: {error}; differences so far: {:#?}",
                recording.title(),
                self.faults
            )
        });
        self.remember_session(recording, &answer);
        let found = match deliberate(recording) {
            Some(status) => deviation(status, &answer),
            None => {
                self.hide_foreign_keys(recording, &mut answer);
                let indexes = self.indexes.entry(recording.group.clone()).or_default();
                recording::differences(recording, &self.renaming, &answer, indexes)
            }
        };
        self.faults.extend(
            found
                .into_iter()
                .map(|fault| format!("{}: {fault}", recording.title())),
        );
    }

    /// `{session}` is the first session that was created.
    fn remember_session(&mut self, recording: &Recording, answer: &Response) {
        if recording.path == "/v1/session/create"
            && answer.status == 200
            && self.renaming.session.is_empty()
        {
            let id = answer.json()["ID"].as_str().unwrap_or_default().to_owned();
            self.renaming.session = id;
        }
    }

    /// When groups are interleaved, a listing of all keys shows those of the others as well.
    fn hide_foreign_keys(&self, recording: &Recording, answer: &mut Response) {
        if recording.path.starts_with("/v1/kv/?keys") && answer.status == 200 {
            let mut keys = answer.json();
            if let Some(keys) = keys.as_array_mut() {
                keys.retain(|key| !self.foreign.iter().any(|foreign| key == foreign));
            }
            answer.body = keys.to_string().into_bytes();
        }
    }

    fn finish(self) {
        assert!(
            self.faults.is_empty(),
            "{} differences: {:#?}",
            self.faults.len(),
            self.faults
        );
    }
}

fn deviation(status: u16, answer: &Response) -> Vec<String> {
    if answer.status == status && answer.text().contains(UNKNOWN_PATH) {
        return Vec::new();
    }
    vec![format!(
        "listed as answering {status} {UNKNOWN_PATH:?}, but it answered {} {}",
        answer.status,
        answer.text()
    )]
}

fn single() -> (Server, Scratch) {
    let scratch = Scratch::new();
    let mut server = Server::new(Settings::single(scratch.path()), scratch.path());
    server.start_and_wait();
    (server, scratch)
}

#[test]
fn a_single_server_answers_as_recorded() {
    let (server, _scratch) = single();
    let mut replay = Replay::new(&server, Renaming::none(&server.settings.node_name));
    for recording in recordings() {
        replay.step(&recording);
    }
    replay.finish();
}

#[test]
fn a_follower_of_three_answers_as_recorded() {
    let mut cluster = Cluster::start();
    let follower = cluster.follower();
    let server = &cluster.servers[follower];
    let mut replay = Replay::new(server, Renaming::none(&server.settings.node_name));
    for recording in recordings() {
        replay.step(&recording);
    }
    replay.finish();
}

#[test]
fn renamed_and_interleaved_groups_are_answered_as_recorded() {
    let (server, _scratch) = single();
    let seed: u64 = match std::env::var("ROLLCALL_REPLAY_SEED") {
        Ok(seed) => seed.parse().expect("ROLLCALL_REPLAY_SEED must be a number"),
        Err(_) => rand::random(),
    };
    println!("ROLLCALL_REPLAY_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let suffix = format!("-{:04x}", random.random::<u16>());
    let renaming = Renaming {
        suffix: suffix.clone(),
        unknown_id: uuid::Builder::from_random_bytes(random.random())
            .into_uuid()
            .to_string(),
        node: server.settings.node_name.clone(),
        session: String::new(),
    };
    let mut replay = Replay::new(&server, renaming);
    replay.foreign = vec![format!("lock{suffix}"), format!("t{suffix}/")];
    // The order within kv, session and txn is kept; each exchange of operator stands for itself.
    let mut queues: BTreeMap<String, VecDeque<Recording>> = BTreeMap::new();
    for recording in recordings() {
        let queue = match recording.group.as_str() {
            "operator" => recording.title(),
            group => group.to_owned(),
        };
        queues.entry(queue).or_default().push_back(recording);
    }
    while !queues.is_empty() {
        let names: Vec<String> = queues.keys().cloned().collect();
        let name = names
            .choose(&mut random)
            .expect("there must be a queue left");
        let queue = queues.get_mut(name).expect("a chosen queue must be there");
        if let Some(recording) = queue.pop_front() {
            replay.step(&recording);
        }
        queues.retain(|_, queue| !queue.is_empty());
    }
    replay.finish();
}
