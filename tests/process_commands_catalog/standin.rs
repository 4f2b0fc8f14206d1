//! Somebody who listens where a Consul agent would: recorded answers for the catalog, and an agent's instances and checks.
//!
//! Only what the commands ask for, no more; whether our own servers and agents say the same is what the replay tests.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use harness::recording::{self, Body, Recording};
use serde_json::{Value, json};

/// Longest parked read: a test that waits for more than this has failed anyway.
const PARKED_MAX: Duration = Duration::from_secs(60);

/// The stand-in. Its threads end with the test's process.
pub(crate) struct Agent {
    address: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Moves with every change; the first answer has 1.
    index: u64,
    services: BTreeMap<String, Value>,
    checks: BTreeMap<String, Value>,
    writes: Vec<String>,
    parked: usize,
}

type Reply = (u16, String);

impl Agent {
    pub(crate) fn start() -> Agent {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let shared = Arc::new(Shared::default());
        shared.state().index = 1;
        let recordings = Arc::new(recording::load());
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, recordings) = (Arc::clone(&serving), Arc::clone(&recordings));
                // A command that is killed hangs up: no matter.
                std::thread::spawn(move || serve(stream, &shared, &recordings).ok());
            }
        });
        Agent { address, shared }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn register(&self, id: &str) {
        let mut state = self.shared.state();
        state.services.insert(id.to_owned(), json!({ "Name": id }));
    }

    pub(crate) fn services(&self) -> Vec<String> {
        self.shared.state().services.keys().cloned().collect()
    }

    pub(crate) fn service(&self, id: &str) -> Value {
        self.shared.state().services[id].clone()
    }

    pub(crate) fn checks(&self) -> Vec<String> {
        self.shared.state().checks.keys().cloned().collect()
    }

    /// Paths of the writes, in order.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.shared.state().writes.clone()
    }

    /// Whether somebody waits for a change.
    pub(crate) fn parked(&self) -> bool {
        self.shared.state().parked > 0
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    /// Waits until the index is above the query's.
    fn park(&self, query: &str) {
        let index = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("index="));
        let Some(index) = index.and_then(|index| index.parse::<u64>().ok()) else {
            return;
        };
        let mut state = self.state();
        state.parked += 1;
        let waited = self
            .changed
            .wait_timeout_while(state, PARKED_MAX, |state| state.index <= index);
        waited.expect("no panic").0.parked -= 1;
    }
}

fn serve(mut stream: TcpStream, shared: &Shared, recordings: &[Recording]) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim_end().is_empty() {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    let length = head.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.eq_ignore_ascii_case("content-length")).then(|| value.trim().parse().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let mut words = head.first().map_or("", String::as_str).split(' ');
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (status, text) = if method == "PUT" {
        write(shared, path, target, &body)
    } else {
        shared.park(query);
        read(shared, recordings, path, target)
    };
    let index = shared.state().index;
    let length = text.len();
    write!(
        stream,
        "HTTP/1.1 {status} -\r\nX-Consul-Index: {index}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
    )
}

fn read(shared: &Shared, recordings: &[Recording], path: &str, target: &str) -> Reply {
    let state = shared.state();
    let rows = |map: &BTreeMap<String, Value>| map.values().cloned().collect::<Vec<_>>();
    let value = match path {
        "/v1/agent/services" => json!(state.services),
        "/v1/agent/checks" => json!(state.checks),
        "/v1/health/node/dev-node" => json!(rows(&state.checks)),
        "/v1/catalog/node-services/dev-node" => {
            let ids = state.services.keys().map(|id| json!({ "ID": id }));
            json!({ "Node": { "Node": "dev-node" }, "Services": ids.collect::<Vec<_>>() })
        }
        "/v1/agent/monitor" => return (200, "one\ntwo\n".to_owned()),
        _ => {
            // The recordings were asked for with a bare colon.
            let target = target.replace("%3A", ":");
            let same = |one: &&Recording| one.method == "GET" && one.path == target;
            return match recordings.iter().find(same) {
                Some(one) => (one.status, text(&one.body)),
                None => (404, format!("Invalid URL path: {target} was not recorded")),
            };
        }
    };
    (200, value.to_string())
}

fn text(body: &Body) -> String {
    match body {
        Body::Json(value) => value.to_string(),
        Body::Text(text) => text.clone(),
    }
}

fn write(shared: &Shared, path: &str, target: &str, body: &[u8]) -> Reply {
    let mut state = shared.state();
    state.writes.push(target.to_owned());
    state.index += 1;
    shared.changed.notify_all();
    let path = path.strip_prefix("/v1/agent/").unwrap_or_default();
    if path == "service/register" {
        let service: Value = serde_json::from_slice(body).expect("JSON");
        let id = service.get("ID").unwrap_or(&service["Name"]);
        let id = id.as_str().expect("text").to_owned();
        state.services.insert(id, service);
    } else if let Some(id) = path.strip_prefix("service/deregister/") {
        if state.services.remove(id).is_none() {
            return unknown(id);
        }
        state.checks.remove(&format!("_service_maintenance:{id}"));
    } else if let Some(id) = path.strip_prefix("service/maintenance/") {
        if !state.services.contains_key(id) {
            return unknown(id);
        }
        maintain(
            &mut state,
            &format!("_service_maintenance:{id}"),
            id,
            target,
        );
    } else if path == "maintenance" {
        maintain(&mut state, "_node_maintenance", "", target);
    } else {
        return (
            404,
            "Invalid URL path: not a recognized HTTP API endpoint".to_owned(),
        );
    }
    (200, String::new())
}

fn unknown(id: &str) -> Reply {
    let text = format!(
        "Unknown service ID \"{id}\". Ensure that the service ID is passed, not the service name."
    );
    (404, text)
}

fn maintain(state: &mut State, check: &str, service: &str, target: &str) {
    if target.contains("enable=false") {
        state.checks.remove(check);
        return;
    }
    let reason = target
        .split_once("reason=")
        .map_or("", |(_, reason)| reason);
    let reason = reason.replace("%20", " ").replace("%26", "&");
    let value = json!({
        "Node": "dev-node", "CheckID": check, "Status": "critical", "Notes": reason, "ServiceID": service, "Type": "maintenance",
    });
    state.checks.insert(check.to_owned(), value);
}
