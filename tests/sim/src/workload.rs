//! What a client of keys does: reads of every kind, conditional and unconditional writes, transactions, blocking
//! queries, and requests whose answer nobody waits for. Each call is recorded with what came of it.
//!
//! Few keys and many clients, so that calls collide; writes carry values of their own, so that reads can be told apart.

pub mod catalog;
mod decode;
pub mod locks;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rollcall_server::rt;

use self::decode::Row;
use crate::check::kv::{KvOp, TxnStep, Version};
use crate::check::stale::Found;
use crate::client::{Answer, Client, Failure};
use crate::history::{GROUPS, Recorder, Ticket};

/// How long a client waits for an answer. Longer than an election, shorter than the faults.
pub const PATIENCE: Duration = Duration::from_millis(1500);

/// What clients share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The record.
    pub recorder: Recorder,
    /// HTTP addresses of the servers.
    pub servers: Arc<Vec<SocketAddr>>,
    /// Set when clients should come to an end.
    pub stop: Arc<AtomicBool>,
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// What became of a call.
pub enum Outcome {
    /// Answered at this position and time.
    Answered(Answer, u64, u64),
    /// It may have been done.
    Unknown,
    /// Surely not done.
    NotDone,
}

/// A client with its randomness and the server it prefers.
pub struct Caller {
    shared: Shared,
    /// Its number, for the trace.
    pub number: usize,
    random: SmallRng,
    server: usize,
    client: Client,
    /// Stays with its server whatever it answers.
    faithful: bool,
}

impl Caller {
    /// A client; the seed decides all it does.
    pub fn new(shared: Shared, number: usize, seed: u64) -> Caller {
        let mut random = SmallRng::seed_from_u64(seed);
        let server = random.random_range(0..shared.servers.len());
        let client = Client::new(shared.servers[server]);
        Caller {
            shared,
            number,
            random,
            server,
            client,
            faithful: false,
        }
    }

    /// Goes to another server.
    fn move_on(&mut self) {
        self.server = self.random.random_range(0..self.shared.servers.len());
        self.client = Client::new(self.shared.servers[self.server]);
    }

    /// One recorded request.
    async fn call(&mut self, method: Method, path: &str, body: Bytes) -> (Ticket, Outcome) {
        self.call_for(method, path, body, PATIENCE).await
    }

    async fn call_for(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
        patience: Duration,
    ) -> (Ticket, Outcome) {
        let shown = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        let what = format!("{method} {path} {shown}");
        let ticket = self.shared.recorder.begin(self.number, self.server, &what);
        let answer = self.client.call(method, path, body, patience).await;
        let outcome = self.judge(ticket, answer);
        let failed = !matches!(outcome, Outcome::Answered(..));
        if failed && !self.faithful && self.random.random_bool(0.6) {
            self.move_on();
        }
        (ticket, outcome)
    }

    fn judge(&self, ticket: Ticket, answer: Result<Answer, Failure>) -> Outcome {
        let recorder = &self.shared.recorder;
        let (maybe_done, words) = match answer {
            Ok(answer) if answer.status < 500 && answer.status != 429 => {
                let words = format!("{} {} {}", answer.status, answer.index, answer.text());
                let (position, now) = recorder.end(self.number, ticket, &words);
                return Outcome::Answered(answer, position, now);
            }
            Ok(answer) if answer.text().contains("invalid session") => {
                let (position, now) = recorder.end(self.number, ticket, &answer.text());
                return Outcome::Answered(answer, position, now);
            }
            Ok(answer) => {
                let text = answer.text();
                // Only what these words promise: everything else may have been done.
                let refused = answer.status == 429
                    || text.starts_with("No cluster leader")
                    || text.starts_with("too many")
                    || text.starts_with("server is stopping");
                (!refused, format!("{} {text}", answer.status))
            }
            Err(Failure::NotSent) => (false, "not sent".to_owned()),
            Err(Failure::Unknown(why)) => (true, why.to_owned()),
        };
        recorder.lost(self.number, ticket, maybe_done, &words);
        if maybe_done {
            Outcome::Unknown
        } else {
            Outcome::NotDone
        }
    }

    async fn think(&mut self, up_to: u64) {
        let pause = self.random.random_range(1..=up_to);
        rt::sleep(Duration::from_millis(pause)).await;
    }
}

/// What a client of keys remembers of each key it read: version and ModifyIndex.
type Memory = Vec<Vec<Option<(Version, u64)>>>;

/// A client of keys.
pub struct KeyClient {
    caller: Caller,
    memory: Memory,
    /// Longest pause between calls, milliseconds.
    pause_ms: u64,
}

impl KeyClient {
    /// A client; the seed decides all it does.
    pub fn new(shared: Shared, number: usize, seed: u64) -> KeyClient {
        let mut caller = Caller::new(shared, number, seed);
        let pause_ms = caller.random.random_range(15..=80);
        KeyClient {
            caller,
            memory: GROUPS.iter().map(|keys| vec![None; keys.len()]).collect(),
            pause_ms,
        }
    }

    /// Calls until it is told to stop.
    pub async fn run(mut self) {
        while !self.caller.shared.stopped() {
            self.caller.think(self.pause_ms).await;
            if self.caller.random.random_bool(0.08) {
                self.caller.move_on();
            }
            let group = self.caller.random.random_range(0..GROUPS.len());
            let slot = self.caller.random.random_range(0..GROUPS[group].len());
            match self.caller.random.random_range(0..100u32) {
                0..20 => self.get(group, slot, "").await,
                20..27 => self.get(group, slot, "consistent").await,
                27..39 => self.get(group, slot, "stale").await,
                39..47 => self.wait_for_change(group, slot).await,
                47..65 => self.put(group, slot).await,
                65..77 => self.cas(group, slot).await,
                77..80 => self.delete(group, slot).await,
                80..82 => self.delete_cas(group, slot).await,
                82..83 => self.delete_tree().await,
                83..86 => self.list().await,
                86..88 => self.names().await,
                88..97 => self.transact().await,
                _ => self.put_and_hang_up(group, slot).await,
            }
        }
    }

    async fn get(&mut self, group: usize, slot: usize, consistency: &str) {
        let key = GROUPS[group][slot];
        let path = format!("/v1/kv/{key}?{consistency}");
        let (ticket, outcome) = self.caller.call(Method::GET, &path, Bytes::new()).await;
        self.saw(group, slot, ticket, outcome, consistency != "stale");
    }

    /// A blocking query. Its wait is short, so that it ends within the patience even when nothing changes.
    async fn wait_for_change(&mut self, group: usize, slot: usize) {
        let key = GROUPS[group][slot];
        let index = self.memory[group][slot].map_or(1, |(_, index)| index);
        let stale = self.caller.random.random_bool(0.4);
        let wait = self.caller.random.random_range(100..900u32);
        let mode = if stale { "&stale" } else { "" };
        let path = format!("/v1/kv/{key}?index={index}&wait={wait}ms{mode}");
        let patience = PATIENCE + Duration::from_secs(1);
        let (ticket, outcome) = self
            .caller
            .call_for(Method::GET, &path, Bytes::new(), patience)
            .await;
        self.saw(group, slot, ticket, outcome, !stale);
    }

    fn saw(
        &mut self,
        group: usize,
        slot: usize,
        ticket: Ticket,
        outcome: Outcome,
        linearizable: bool,
    ) {
        let Outcome::Answered(answer, returned, _) = outcome else {
            return;
        };
        let key = GROUPS[group][slot];
        let recorder = self.caller.shared.recorder.clone();
        let row = match decode::rows(&answer, key) {
            Ok(rows) => rows.into_iter().next(),
            Err(words) => return recorder.wrong(format!("GET {key}: {words}")),
        };
        let found = row.as_ref().map(Row::found);
        recorder.observed(key, ticket, returned, linearizable, answer.index, found);
        if linearizable {
            let op = KvOp::Get(slot, found.map(|found| found.version));
            recorder.kv(group, ticket, Some(returned), op);
        }
        self.memory[group][slot] = found.map(|found| (found.version, found.modify_index));
    }

    async fn list(&mut self) {
        let group = GROUPS.len() - 1;
        let path = "/v1/kv/t/?recurse";
        let (ticket, outcome) = self.caller.call(Method::GET, path, Bytes::new()).await;
        let Outcome::Answered(answer, returned, _) = outcome else {
            return;
        };
        let recorder = self.caller.shared.recorder.clone();
        let rows = match decode::rows(&answer, "t/") {
            Ok(rows) => rows,
            Err(words) => return recorder.wrong(format!("GET t/: {words}")),
        };
        let mut versions = vec![None; GROUPS[group].len()];
        for row in rows {
            let Some(slot) = GROUPS[group].iter().position(|key| *key == row.key) else {
                return recorder.wrong(format!("GET t/: a key of its own: {row:?}"));
            };
            versions[slot] = Some(row.version);
        }
        recorder.kv(group, ticket, Some(returned), KvOp::List(versions));
    }

    async fn names(&mut self) {
        let group = GROUPS.len() - 1;
        let path = "/v1/kv/t/?keys";
        let (ticket, outcome) = self.caller.call(Method::GET, path, Bytes::new()).await;
        let Outcome::Answered(answer, returned, _) = outcome else {
            return;
        };
        let recorder = self.caller.shared.recorder.clone();
        let names = match decode::names(&answer) {
            Ok(names) => names,
            Err(words) => return recorder.wrong(format!("GET t/?keys: {words}")),
        };
        if let Some(other) = names
            .iter()
            .find(|name| !GROUPS[group].contains(&name.as_str()))
        {
            return recorder.wrong(format!("GET t/?keys: a key of its own: {other}"));
        }
        let is_there = |key: &&str| names.iter().any(|name| name == key);
        let there = GROUPS[group].iter().map(is_there).collect();
        recorder.kv(group, ticket, Some(returned), KvOp::Names(there));
    }

    async fn put(&mut self, group: usize, slot: usize) {
        let (version, body) = self.value();
        let path = format!("/v1/kv/{}?flags={}", GROUPS[group][slot], flags(version));
        let (ticket, outcome) = self.caller.call(Method::PUT, &path, body).await;
        let done = self.wrote(ticket, &outcome, KvOp::Put(slot, version), group);
        self.note_write(group, slot, version, ticket, &outcome, done);
    }

    async fn cas(&mut self, group: usize, slot: usize) {
        let (version, body) = self.value();
        let known = self.memory[group][slot];
        let index = known.map_or(0, |(_, index)| index);
        let key = GROUPS[group][slot];
        let path = format!("/v1/kv/{key}?cas={index}&flags={}", flags(version));
        let (ticket, outcome) = self.caller.call(Method::PUT, &path, body).await;
        let op = |done| KvOp::Cas {
            slot,
            expected: known.map(|(version, _)| version),
            version,
            done,
        };
        let done = self.wrote(ticket, &outcome, op(answered_true(&outcome)), group);
        self.note_write(group, slot, version, ticket, &outcome, done);
    }

    async fn delete(&mut self, group: usize, slot: usize) {
        let path = format!("/v1/kv/{}", GROUPS[group][slot]);
        let (ticket, outcome) = self.caller.call(Method::DELETE, &path, Bytes::new()).await;
        self.wrote(ticket, &outcome, KvOp::Delete(slot), group);
    }

    async fn delete_cas(&mut self, group: usize, slot: usize) {
        let Some((expected, index)) = self.memory[group][slot] else {
            return;
        };
        let path = format!("/v1/kv/{}?cas={index}", GROUPS[group][slot]);
        let (ticket, outcome) = self.caller.call(Method::DELETE, &path, Bytes::new()).await;
        let op = KvOp::DeleteCas {
            slot,
            expected,
            done: answered_true(&outcome),
        };
        self.wrote(ticket, &outcome, op, group);
    }

    async fn delete_tree(&mut self) {
        let path = "/v1/kv/t/?recurse";
        let (ticket, outcome) = self.caller.call(Method::DELETE, path, Bytes::new()).await;
        self.wrote(ticket, &outcome, KvOp::DeleteTree, GROUPS.len() - 1);
    }

    /// Sends a put and closes the connection a moment later, whatever the server is doing with it.
    async fn put_and_hang_up(&mut self, group: usize, slot: usize) {
        let (version, body) = self.value();
        let path = format!("/v1/kv/{}?flags={}", GROUPS[group][slot], flags(version));
        let patience = Duration::from_millis(self.caller.random.random_range(1..12));
        let (ticket, outcome) = self
            .caller
            .call_for(Method::PUT, &path, body, patience)
            .await;
        let done = self.wrote(ticket, &outcome, KvOp::Put(slot, version), group);
        self.note_write(group, slot, version, ticket, &outcome, done);
    }

    async fn transact(&mut self) {
        let group = GROUPS.len() - 1;
        let (steps, operations) = self.steps(group);
        let body = Bytes::from(serde_json::Value::Array(operations).to_string());
        let (ticket, outcome) = self.caller.call(Method::PUT, "/v1/txn", body).await;
        let seen = match &outcome {
            Outcome::Answered(answer, ..) => match decode::txn(answer, &steps) {
                Ok(seen) => Some(seen),
                Err(words) => return self.caller.shared.recorder.wrong(format!("txn: {words}")),
            },
            Outcome::Unknown | Outcome::NotDone => None,
        };
        let committed = matches!(&seen, Some(Some(_)));
        for step in &steps {
            if let TxnStep::Set(slot, version) | TxnStep::Cas(slot, _, version) = step {
                self.note_write(group, *slot, *version, ticket, &outcome, committed);
            }
        }
        self.wrote(ticket, &outcome, KvOp::Txn(steps, seen), group);
    }

    /// One to three operations on different keys (one write a key and transaction, so that an index names one value).
    fn steps(&mut self, group: usize) -> (Vec<TxnStep>, Vec<serde_json::Value>) {
        let mut steps = Vec::new();
        let mut operations = Vec::new();
        for (slot, key) in GROUPS[group].iter().enumerate() {
            if steps.len() > 1 && self.caller.random.random_bool(0.4) {
                continue;
            }
            let known = self.memory[group][slot];
            let index = known.map_or(0, |(_, index)| index);
            let (version, value) = self.value();
            let (verb, step) = match (self.caller.random.random_range(0..10u32), known) {
                (0..4, _) => ("set", TxnStep::Set(slot, version)),
                (4..6, known) => ("cas", TxnStep::Cas(slot, known.map(|k| k.0), version)),
                (6, _) => ("get", TxnStep::Get(slot)),
                (7, _) => ("delete", TxnStep::Delete(slot)),
                (_, Some((there, _))) => ("check-index", TxnStep::CheckIndex(slot, there)),
                (_, None) => ("check-not-exists", TxnStep::CheckNotExists(slot)),
            };
            steps.push(step);
            operations.push(decode::txn_operation(
                verb,
                key,
                index,
                flags(version),
                &value,
            ));
        }
        (steps, operations)
    }

    /// Records a write; whether it was surely done (or answered).
    fn wrote(&mut self, ticket: Ticket, outcome: &Outcome, op: KvOp, group: usize) -> bool {
        let recorder = &self.caller.shared.recorder;
        let (returned, done) = match outcome {
            Outcome::NotDone => return false,
            Outcome::Unknown => (None, false),
            Outcome::Answered(answer, returned, _) => {
                let is_txn = matches!(op, KvOp::Txn(..));
                let text = answer.text();
                if !is_txn && (answer.status != 200 || (text != "true" && text != "false")) {
                    let words = format!("{op:?} answered {} {text}", answer.status);
                    recorder.wrong(words);
                }
                let always = matches!(op, KvOp::Put(..) | KvOp::Delete(_) | KvOp::DeleteTree);
                if always && text != "true" {
                    recorder.wrong(format!("{op:?} answered {text}"));
                }
                (Some(*returned), text == "true")
            }
        };
        recorder.kv(group, ticket, returned, op);
        done
    }

    fn note_write(
        &mut self,
        group: usize,
        slot: usize,
        version: Version,
        ticket: Ticket,
        outcome: &Outcome,
        done: bool,
    ) {
        let acknowledged = match outcome {
            Outcome::NotDone => return,
            Outcome::Answered(_, returned, _) if done => Some(*returned),
            Outcome::Answered(..) => return,
            Outcome::Unknown => None,
        };
        let key = GROUPS[group][slot];
        let recorder = &self.caller.shared.recorder;
        recorder.written(key, version, ticket, acknowledged);
    }

    /// A value of its own; one in twelve is long, so that logs, frames and snapshots have several pieces.
    fn value(&mut self) -> (Version, Bytes) {
        let version = self.caller.shared.recorder.new_version();
        let long = self.caller.random.random_bool(0.08);
        let padding = if long {
            ".".repeat(6000)
        } else {
            String::new()
        };
        (version, Bytes::from(format!("v{version}:{padding}")))
    }
}

fn answered_true(outcome: &Outcome) -> Option<bool> {
    match outcome {
        Outcome::Answered(answer, ..) => Some(answer.text() == "true"),
        Outcome::Unknown | Outcome::NotDone => None,
    }
}

/// Flags that belong to a version, so that a row mixed of two writes shows.
pub fn flags(version: Version) -> u64 {
    version.wrapping_mul(0x9e37_79b9) % (1 << 40)
}

/// Kept here so that rows and observations have one meaning of "found".
impl Row {
    fn found(&self) -> Found {
        Found {
            version: self.version,
            create_index: self.create_index,
            modify_index: self.modify_index,
        }
    }
}
