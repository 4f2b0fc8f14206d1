//! The recordings of Consul 1.20.1, replayed over the real binary.
//!
//! Against a single server in the recorded order; against a follower of three; and, on one more server, with keys,
//! values, names and ids renamed and the independent groups interleaved at random. Every status, header name, shape and
//! error word must be the same. What is different on purpose stands in [`DELIBERATE`], with its reason.

use std::collections::{BTreeMap, VecDeque};

use harness::cluster::LEADER_BOUND;
use harness::recording::{self, Indexes, Recording, Renaming};
use harness::server::Scratch;
use harness::{Cluster, Connection, Request, Response, Server, Settings, wait_for};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// The groups this suite replays; the others belong to endpoints that are not built yet.
const GROUPS: [&str; 7] = [
    "kv", "session", "txn", "catalog", "health", "query", "operator",
];
/// Groups that go on with what the one before left behind.
const CHAIN: [&str; 3] = ["catalog", "health", "query"];

/// What stands in a 404 of a path we do not know.
const UNKNOWN_PATH: &str = "Invalid URL path";

/// Where we answer otherwise than Consul on purpose: the request, our status, what our answer contains, and why.
const DELIBERATE: [(&str, u16, &str, &str); 9] = [
    (
        "GET /",
        404,
        UNKNOWN_PATH,
        "there is no web page in this version, so nothing to send a browser to",
    ),
    (
        "GET /v1/internal/ui/services?dc=dc1",
        404,
        UNKNOWN_PATH,
        "made for Consul's own web page",
    ),
    (
        "GET /v1/internal/ui/nodes?dc=dc1",
        404,
        UNKNOWN_PATH,
        "made for Consul's own web page",
    ),
    (
        "GET /v1/coordinate/datacenters",
        200,
        r#"[{"Datacenter":"dc1","AreaID":"wan","Coordinates":[]}]"#,
        "this version keeps no coordinates, so there is none to show",
    ),
    (
        "PUT /v1/coordinate/update",
        404,
        UNKNOWN_PATH,
        "this version keeps no coordinates; to take one and forget it would be a lie",
    ),
    (
        "POST /v1/query with a template",
        500,
        "Invalid prepared query: templates are not supported by this server",
        "templates of queries are not in this version; one that is never used would mislead",
    ),
    (
        "GET /v1/query",
        200,
        r#""DNS":{"TTL":"10s"},"CreateIndex":"#,
        "the recorded list has the template that we refused",
    ),
    (
        "GET /v1/query/geo-web/execute",
        404,
        "Query not found",
        "it is answered by that template",
    ),
    (
        "GET /v1/query/geo-web/explain",
        404,
        UNKNOWN_PATH,
        "templates of queries are not in this version, so there is nothing to explain",
    ),
];

/// Endpoints in the recorded groups that are not built yet. Until then they answer 404 like any unknown path.
const NOT_BUILT: [&str; 1] = ["/v1/operator/autopilot/"];

fn deliberate(recording: &Recording) -> Option<(u16, &'static str)> {
    let template = if recording.request_body.contains("\"Template\"") {
        " with a template"
    } else {
        ""
    };
    let request = format!("{} {}{template}", recording.method, recording.path);
    if NOT_BUILT
        .iter()
        .any(|prefix| recording.path.starts_with(prefix))
    {
        return Some((404, UNKNOWN_PATH));
    }
    DELIBERATE
        .iter()
        .find(|(known, ..)| *known == request)
        .map(|(_, status, words, _)| (*status, *words))
}

fn recordings() -> Vec<Recording> {
    let mut all = recording::load();
    all.retain(|recording| GROUPS.contains(&recording.group.as_str()));
    assert_eq!(all.len(), 209, "the recordings of the groups {GROUPS:?}");
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
        self.remember_query(recording, &answer);
        let found = match deliberate(recording) {
            Some(expected) => deviation(expected, &answer),
            None => {
                self.hide_foreign_keys(recording, &mut answer);
                self.hide_foreign_rows(recording, &mut answer);
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

    /// `{query}` is the first query that was defined.
    fn remember_query(&mut self, recording: &Recording, answer: &Response) {
        let creates = recording.method == "POST" && recording.path == "/v1/query";
        if creates && answer.status == 200 && self.renaming.query.is_empty() {
            let id = answer.json()["ID"].as_str().unwrap_or_default().to_owned();
            self.renaming.query = id;
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

    /// Lists of the catalog show the other servers, and when groups are interleaved what the others registered.
    fn hide_foreign_rows(&self, recording: &Recording, answer: &mut Response) {
        if !CHAIN.contains(&recording.group.as_str()) || answer.status != 200 {
            return;
        }
        let Ok(mut json) = serde_json::from_slice::<serde_json::Value>(&answer.body) else {
            return;
        };
        let is_foreign = |name: &str| self.foreign.iter().any(|foreign| foreign == name);
        match &mut json {
            serde_json::Value::Array(rows) => rows.retain(|row| {
                let node = row["Node"].as_str().or(row["Node"]["Node"].as_str());
                !node.is_some_and(is_foreign)
            }),
            serde_json::Value::Object(names) => names.retain(|name, _| !is_foreign(name)),
            _ => return,
        }
        answer.body = json.to_string().into_bytes();
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

fn deviation((status, words): (u16, &str), answer: &Response) -> Vec<String> {
    if answer.status == status && answer.text().contains(words) {
        return Vec::new();
    }
    vec![format!(
        "listed as answering {status} {words:?}, but it answered {} {}",
        answer.status,
        answer.text()
    )]
}

/// A server's own check is written a little after it answers; the recordings begin with it.
fn wait_until_it_is_well(server: &Server) {
    let path = format!("/v1/health/node/{}", server.settings.node_name);
    wait_for("the server's own check", LEADER_BOUND, || {
        match server.get(&path).json()[0]["Status"].as_str() {
            Some("passing") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

fn single() -> (Server, Scratch) {
    let scratch = Scratch::new();
    let mut settings = Settings::single(scratch.path());
    // Lists are in order, and the recorded server's node stood before the others.
    settings.node_name = "dev-solo".to_owned();
    let mut server = Server::new(settings, scratch.path());
    server.start_and_wait();
    wait_until_it_is_well(&server);
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
    let mut cluster = Cluster::start_with(|settings| {
        settings.node_name = format!("dev-{}", settings.node_name);
    });
    let follower = cluster.follower();
    for server in &cluster.servers {
        wait_until_it_is_well(server);
    }
    let names = cluster
        .servers
        .iter()
        .map(|server| server.settings.node_name.clone());
    let server = &cluster.servers[follower];
    let mut replay = Replay::new(server, Renaming::none(&server.settings.node_name));
    replay.foreign = names
        .filter(|name| *name != server.settings.node_name)
        .collect();
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
        query: String::new(),
    };
    let mut replay = Replay::new(&server, renaming);
    replay.foreign = ["lock", "t/", "txnode", "s1"]
        .map(|name| match name.strip_suffix('/') {
            Some(name) => format!("{name}{suffix}/"),
            None => format!("{name}{suffix}"),
        })
        .to_vec();
    // The order within kv, session, txn and the chain is kept; each exchange of operator stands for itself.
    let mut queues: BTreeMap<String, VecDeque<Recording>> = BTreeMap::new();
    for recording in recordings() {
        let queue = match recording.group.as_str() {
            "operator" => recording.title(),
            group if CHAIN.contains(&group) => CHAIN[0].to_owned(),
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
