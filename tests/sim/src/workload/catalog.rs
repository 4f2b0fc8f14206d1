//! What a client of the catalog does: registers a node with a service and a check in one transaction, binds a session to
//! that check, takes a lock with it, and turns the check critical or takes the node away.
//!
//! Each round has a node of its own and one writer, so what must be true needs no search: what was acknowledged is there, whole,
//! and stays; the session lives until something that ends it was sent, and is gone, with its lock, once that was
//! acknowledged. A write of unknown outcome may be done at any later time, so it ends the round.

use bytes::Bytes;
use hyper::Method;
use rand::RngExt;
use serde_json::{Value, json};

use super::{Caller, Outcome, Shared};

/// A client of the catalog.
pub struct Registrar {
    caller: Caller,
    round: u64,
}

/// The round cannot go on: an answer is missing, or what was wrong has been said.
struct Over;

impl Registrar {
    /// A client; the seed decides all it does.
    pub fn new(shared: Shared, number: usize, seed: u64) -> Registrar {
        Registrar {
            caller: Caller::new(shared, number, seed),
            round: 0,
        }
    }

    /// One node after another until it is told to stop.
    pub async fn run(mut self) {
        while !self.caller.shared.stopped() {
            self.caller.think(300).await;
            self.round += 1;
            // Why it ended early is in the trace.
            let _ = self.live().await;
        }
    }

    async fn live(&mut self) -> Result<(), Over> {
        let node = format!("n{}-{}", self.caller.number, self.round);
        self.register(&node, "passing").await?;
        self.expect_status(&node, Some("passing")).await?;
        let session = self.create(&node).await?;
        let lock = format!("c/{node}");
        let acquire = format!("/v1/kv/{lock}?acquire={session}");
        let acquired = self.write(&acquire, Bytes::from_static(b"mine")).await?;
        self.demand(acquired.trim() == "true", || {
            format!("{acquire}: {acquired}")
        })?;
        for _ in 0..self.caller.random.random_range(0..4u32) {
            self.caller.think(200).await;
            self.expect_session(&session, &lock, true).await?;
        }
        let gone = match self.caller.random.random_range(0..3u32) {
            0 => {
                self.register(&node, "critical").await?;
                Some("critical")
            }
            1 => {
                self.transact(json!([{ "Check": { "Verb": "delete", "Check": { "Node": node, "CheckID": "c" } } }]))
                    .await?;
                None
            }
            _ => {
                self.transact(json!([{ "Node": { "Verb": "delete", "Node": { "Node": node } } }]))
                    .await?;
                None
            }
        };
        self.expect_session(&session, &lock, false).await?;
        self.expect_status(&node, gone).await
    }

    /// Node, service and check, all or none.
    async fn register(&mut self, node: &str, status: &str) -> Result<(), Over> {
        let body = json!([
            { "Node": { "Verb": "set", "Node": { "Node": node, "Address": "10.0.0.1" } } },
            { "Service": { "Verb": "set", "Node": node, "Service": { "ID": "s", "Service": "web", "Port": 80 } } },
            { "Check": { "Verb": "set", "Check": { "Node": node, "CheckID": "c", "Name": "c", "Status": status } } },
        ]);
        self.transact(body).await
    }

    /// A transaction that must be taken.
    async fn transact(&mut self, operations: Value) -> Result<(), Over> {
        let body = Bytes::from(operations.to_string());
        self.write("/v1/txn", body).await.map(drop)
    }

    async fn create(&mut self, node: &str) -> Result<String, Over> {
        let body = json!({ "Node": node, "NodeChecks": ["c"], "LockDelay": "0s" });
        let answer = self.write("/v1/session/create", body.to_string().into());
        let answer = answer.await?;
        let parsed: Value = serde_json::from_str(&answer).unwrap_or_default();
        let id = parsed["ID"].as_str().map(str::to_owned);
        self.demand(id.is_some(), || format!("session/create: {answer}"))?;
        id.ok_or(Over)
    }

    async fn write(&mut self, path: &str, body: Bytes) -> Result<String, Over> {
        let (_, outcome) = self.caller.call(Method::PUT, path, body).await;
        let Outcome::Answered(answer, ..) = outcome else {
            return Err(Over);
        };
        let text = answer.text();
        self.demand(answer.status == 200, || {
            format!("PUT {path}: {} {text}", answer.status)
        })?;
        Ok(text)
    }

    async fn read(&mut self, path: &str) -> Result<Value, Over> {
        let (_, outcome) = self.caller.call(Method::GET, path, Bytes::new()).await;
        let Outcome::Answered(answer, ..) = outcome else {
            return Err(Over);
        };
        Ok(serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    /// The check as a transaction reads it; `None`: it is not there.
    async fn expect_status(&mut self, node: &str, status: Option<&str>) -> Result<(), Over> {
        let body =
            json!([{ "Check": { "Verb": "get", "Check": { "Node": node, "CheckID": "c" } } }]);
        let body = Bytes::from(body.to_string());
        let (_, outcome) = self.caller.call(Method::PUT, "/v1/txn", body).await;
        let Outcome::Answered(answer, ..) = outcome else {
            return Err(Over);
        };
        let parsed: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let found = parsed["Results"][0]["Check"]["Status"].as_str();
        self.demand(
            found == status && (answer.status == 200) == status.is_some(),
            || {
                format!(
                    "check of {node}: {status:?} expected: {} {}",
                    answer.status,
                    answer.text()
                )
            },
        )
    }

    async fn expect_session(&mut self, id: &str, lock: &str, alive: bool) -> Result<(), Over> {
        let info = self.read(&format!("/v1/session/info/{id}")).await?;
        let found = info.as_array().is_some_and(|rows| !rows.is_empty());
        self.demand(found == alive, || {
            format!("session {id}: alive {alive} expected: {info}")
        })?;
        let row = self.read(&format!("/v1/kv/{lock}")).await?;
        let holder = row[0]["Session"].as_str();
        self.demand(holder == alive.then_some(id), || {
            format!("{lock}: held by {id}: {alive} expected: {row}")
        })
    }

    fn demand(&self, holds: bool, words: impl FnOnce() -> String) -> Result<(), Over> {
        if holds {
            return Ok(());
        }
        self.caller
            .shared
            .recorder
            .wrong(format!("catalog: {}", words()));
        Err(Over)
    }
}
