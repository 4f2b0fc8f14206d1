//! What a client of locks does: makes a session, takes a lock with it, renews or falls silent, gives it back or leaves
//! it to its TTL; and looks at other clients' sessions, so that an end is seen from elsewhere.

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use rand::RngExt;
use serde_json::{Value, json};

use super::{Caller, Outcome, Shared, decode};
use crate::check::lock::Acquired;
use crate::check::ttl::{Life, Taken};
use crate::history::{LOCKS, LockCall};

/// The shortest TTL the simulated servers take, and what most sessions have: a partition outlasts it several times.
const TTL_MS: u64 = 1000;

const MILLISECOND_NS: u64 = 1_000_000;

/// A client of locks.
pub struct Locker {
    caller: Caller,
}

/// A session of this client.
struct Own {
    number: usize,
    id: String,
    ttl_ms: u64,
}

impl Locker {
    /// A client; the seed decides all it does.
    pub fn new(shared: Shared, number: usize, seed: u64) -> Locker {
        Locker {
            caller: Caller::new(shared, number, seed),
        }
    }

    /// One session after another, each only renewed, at one server whatever it answers: on the side of a leader that is
    /// cut off this client sees whether renewals are acknowledged that nobody else knows of.
    pub async fn run_faithfully(mut self) {
        self.caller.faithful = true;
        while !self.caller.shared.stopped() {
            self.caller.think(200).await;
            self.caller.move_on();
            let Some(own) = self.create().await else {
                continue;
            };
            for _ in 0..80 {
                self.caller.think(own.ttl_ms / 4).await;
                if self.caller.shared.stopped() || !self.renew(&own).await {
                    break;
                }
            }
        }
    }

    /// One session after another until it is told to stop.
    pub async fn run(mut self) {
        while !self.caller.shared.stopped() {
            self.caller.think(120).await;
            if self.caller.random.random_bool(0.3) {
                self.caller.move_on();
            }
            if let Some(own) = self.create().await {
                self.live(&own).await;
            }
        }
    }

    async fn create(&mut self) -> Option<Own> {
        let random = &mut self.caller.random;
        let ttl_ms = TTL_MS * random.random_range(1..=2u64);
        let delay_ms: u64 = [0, 0, 300, 900][random.random_range(0..4usize)];
        let deletes = random.random_bool(0.25);
        let body = json!({
            "TTL": format!("{ttl_ms}ms"),
            "LockDelay": format!("{delay_ms}ms"),
            "Behavior": if deletes { "delete" } else { "release" },
            // Without checks only its TTL or a destroy can end it, so that the bounds in time are sharp.
            "NodeChecks": [],
        });
        let body = Bytes::from(body.to_string());
        let (ticket, outcome) = self
            .caller
            .call(Method::PUT, "/v1/session/create", body)
            .await;
        let Outcome::Answered(answer, _, now) = outcome else {
            return None;
        };
        let parsed: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let Some(id) = parsed["ID"].as_str().map(str::to_owned) else {
            // Before the servers' own registration there is no node to bind it to.
            if !answer.text().contains("Missing node registration") {
                let words = format!("session/create: {} {}", answer.status, answer.text());
                self.caller.shared.recorder.wrong(words);
            }
            return None;
        };
        let life = Life {
            id: id.clone(),
            ttl_ns: ttl_ms * MILLISECOND_NS,
            lock_delay_ns: delay_ms * MILLISECOND_NS,
            created: (ticket.at_ns, now),
            ..Life::default()
        };
        let number = self.caller.shared.recorder.session(life, deletes);
        Some(Own { number, id, ttl_ms })
    }

    /// The life of one session: until it is destroyed, or this client falls silent, or finds it ended.
    async fn live(&mut self, own: &Own) {
        let key = self.caller.random.random_range(0..LOCKS.len());
        let steps = self.caller.random.random_range(4..30u32);
        for _ in 0..steps {
            if self.caller.shared.stopped() {
                break;
            }
            self.caller.think(own.ttl_ms / 4).await;
            let goes_on = match self.caller.random.random_range(0..100u32) {
                0..38 => self.renew(own).await,
                38..68 => self.acquire(own, key).await,
                68..78 => self.release(own, key).await,
                78..90 => self.look_at_lock(key).await,
                _ => self.look_at_any_session().await,
            };
            if !goes_on {
                return;
            }
        }
        match self.caller.random.random_range(0..3u32) {
            0 => self.destroy(own).await,
            // Silent: others see its end, no earlier than its TTL.
            _ => self.watch_end(own, key).await,
        }
    }

    async fn renew(&mut self, own: &Own) -> bool {
        let path = format!("/v1/session/renew/{}", own.id);
        let (ticket, outcome) = self.caller.call(Method::PUT, &path, Bytes::new()).await;
        let Outcome::Answered(answer, _, now) = outcome else {
            return true;
        };
        let recorder = &self.caller.shared.recorder;
        match answer.status {
            200 => {
                recorder.life(own.number, |life| life.renewed.push((ticket.at_ns, now)));
                true
            }
            404 => {
                recorder.life(own.number, |life| life.ended.push((ticket.at_ns, now)));
                false
            }
            status => {
                recorder.wrong(format!("session/renew: {status} {}", answer.text()));
                false
            }
        }
    }

    async fn acquire(&mut self, own: &Own, key: usize) -> bool {
        let version = self.caller.shared.recorder.new_version();
        let path = format!(
            "/v1/kv/{}?acquire={}&flags={}",
            LOCKS[key],
            own.id,
            super::flags(version)
        );
        let body = Bytes::from(format!("v{version}:"));
        let (ticket, outcome) = self.caller.call(Method::PUT, &path, body).await;
        let recorder = self.caller.shared.recorder.clone();
        let (answer, returned, now) = match outcome {
            Outcome::NotDone => return true,
            Outcome::Unknown => {
                let op = LockCall::Acquire(own.number, version, None);
                recorder.lock(key, ticket, None, op);
                return true;
            }
            Outcome::Answered(answer, returned, now) => (answer, returned, now),
        };
        let seen = match (answer.status, answer.text().as_str()) {
            (200, "true") => Acquired::Yes,
            (200, "false") => Acquired::No,
            (500, text) if text.contains("invalid session") => Acquired::InvalidSession,
            (status, text) => {
                recorder.wrong(format!("acquire: {status} {text}"));
                return false;
            }
        };
        let op = LockCall::Acquire(own.number, version, Some(seen));
        recorder.lock(key, ticket, Some(returned), op);
        match seen {
            Acquired::Yes => {
                recorder.taken(Taken {
                    key,
                    session: own.number,
                    asked: ticket.at_ns,
                    answered: now,
                    released: false,
                });
                true
            }
            Acquired::No => true,
            Acquired::InvalidSession => {
                recorder.life(own.number, |life| life.ended.push((ticket.at_ns, now)));
                false
            }
        }
    }

    async fn release(&mut self, own: &Own, key: usize) -> bool {
        let recorder = self.caller.shared.recorder.clone();
        let version = recorder.new_version();
        let path = format!(
            "/v1/kv/{}?release={}&flags={}",
            LOCKS[key],
            own.id,
            super::flags(version)
        );
        let body = Bytes::from(format!("v{version}:"));
        recorder.releases(key, own.number);
        let (ticket, outcome) = self.caller.call(Method::PUT, &path, body).await;
        // An acquire under way when this was sent cannot be: one client, one call at a time.
        match outcome {
            Outcome::NotDone => {}
            Outcome::Unknown => {
                // It may still be under way, and give back what this session takes later.
                recorder.may_release_later(key, own.number);
                let op = LockCall::Release(own.number, version, None);
                recorder.lock(key, ticket, None, op);
            }
            Outcome::Answered(answer, returned, _) => match answer.text().as_str() {
                text @ ("true" | "false") => {
                    let op = LockCall::Release(own.number, version, Some(text == "true"));
                    recorder.lock(key, ticket, Some(returned), op);
                }
                text => recorder.wrong(format!("release: {} {text}", answer.status)),
            },
        }
        true
    }

    async fn look_at_lock(&mut self, key: usize) -> bool {
        let path = format!("/v1/kv/{}", LOCKS[key]);
        let (ticket, outcome) = self.caller.call(Method::GET, &path, Bytes::new()).await;
        let Outcome::Answered(answer, returned, now) = outcome else {
            return true;
        };
        let recorder = self.caller.shared.recorder.clone();
        let row = match decode::rows(&answer, LOCKS[key]) {
            Ok(rows) => rows.into_iter().next(),
            Err(words) => {
                recorder.wrong(format!("GET {}: {words}", LOCKS[key]));
                return true;
            }
        };
        let mut seen = None;
        if let Some(row) = row {
            let mut holder = None;
            if let Some(id) = &row.session {
                holder = recorder.session_number(id);
                let Some(number) = holder else {
                    // Its creation was not answered, so nobody can use it: it must not hold a lock.
                    recorder.wrong(format!("{} held by an unknown session {id}", LOCKS[key]));
                    return true;
                };
                recorder.life(number, |life| life.alive.push((ticket.at_ns, now)));
            }
            seen = Some((row.version, holder, row.lock_index));
        }
        recorder.lock(key, ticket, Some(returned), LockCall::Get(seen));
        true
    }

    /// Asks for one of the youngest sessions of the run, whoever's it is.
    async fn look_at_any_session(&mut self) -> bool {
        let recorder = self.caller.shared.recorder.clone();
        let sessions = recorder.sessions();
        let oldest = sessions.saturating_sub(6);
        if sessions > 0 {
            let number = self.caller.random.random_range(oldest..sessions);
            self.look_at_session(number).await;
        }
        true
    }

    /// `None`: no answer. Else whether it is alive.
    async fn look_at_session(&mut self, number: usize) -> Option<bool> {
        let recorder = self.caller.shared.recorder.clone();
        let path = format!("/v1/session/info/{}", recorder.session_id(number));
        let (ticket, outcome) = self.caller.call(Method::GET, &path, Bytes::new()).await;
        let Outcome::Answered(answer, _, now) = outcome else {
            return None;
        };
        let parsed: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let Some(rows) = parsed.as_array().filter(|_| answer.status == 200) else {
            recorder.wrong(format!("session/info: {} {}", answer.status, answer.text()));
            return None;
        };
        let alive = !rows.is_empty();
        recorder.life(number, |life| {
            let seen = if alive {
                &mut life.alive
            } else {
                &mut life.ended
            };
            seen.push((ticket.at_ns, now));
        });
        Some(alive)
    }

    async fn destroy(&mut self, own: &Own) {
        let path = format!("/v1/session/destroy/{}", own.id);
        let recorder = self.caller.shared.recorder.clone();
        recorder.will_destroy(own.number);
        let (ticket, outcome) = self.caller.call(Method::PUT, &path, Bytes::new()).await;
        if let Outcome::Answered(answer, _, now) = outcome {
            if answer.text() != "true" {
                recorder.wrong(format!("destroy: {} {}", answer.status, answer.text()));
            }
            recorder.life(own.number, |life| life.ended.push((ticket.at_ns, now)));
        }
    }

    /// Looks on, through any server, until the session has ended, at most for three TTLs.
    async fn watch_end(&mut self, own: &Own, key: usize) {
        let from = rollcall_server::rt::Instant::now();
        let at_most = Duration::from_millis(3 * own.ttl_ms);
        while !self.caller.shared.stopped() && from.elapsed() < at_most {
            self.caller.think(own.ttl_ms / 5).await;
            if self.caller.random.random_bool(0.3) {
                self.look_at_lock(key).await;
            }
            self.caller.move_on();
            if self.look_at_session(own.number).await == Some(false) {
                return;
            }
        }
    }
}
