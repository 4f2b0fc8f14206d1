//! Locks, in virtual time where they wait.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::server::{Asked, Reply, Server};
use crate::{Lock, LockError, LockSettings};

const FLAGS: u64 = 0x2ddc_cbc0_58a5_0c18;

fn settings() -> LockSettings {
    LockSettings {
        key: "p/.lock".into(),
        value: "me".into(),
        session_name: "test".into(),
        ttl: Duration::from_secs(10),
        lock_delay: None,
        wait: None,
        monitor_retries: 0,
    }
}

/// A key with a lock on it, and sessions that always live.
struct Registry {
    holder: Mutex<String>,
    index: AtomicU64,
    /// Attempts that the lock-delay refuses.
    delayed: AtomicU64,
    flags: u64,
}

impl Registry {
    fn held_by(holder: &str) -> Arc<Registry> {
        Arc::new(Registry {
            holder: Mutex::new(holder.into()),
            index: AtomicU64::new(1),
            delayed: AtomicU64::new(0),
            flags: FLAGS,
        })
    }

    fn set(&self, holder: &str) {
        *self.holder.lock().expect("no panic") = holder.into();
        self.index.fetch_add(1, Ordering::SeqCst);
    }

    fn reply(&self, asked: &Asked) -> Reply {
        let path = asked.path.as_str();
        let holder = self.holder.lock().expect("no panic").clone();
        if path.starts_with("/v1/session/create") {
            return Reply::ok(r#"{"ID":"mine"}"#);
        }
        if path.starts_with("/v1/session/") {
            return Reply::ok(if path.contains("renew") {
                r#"[{"ID":"mine"}]"#
            } else {
                "true"
            });
        }
        match (
            asked.method.as_str(),
            path.contains("acquire=mine"),
            path.contains("release=mine"),
        ) {
            ("PUT", true, _) if !holder.is_empty() && holder != "mine" => Reply::ok("false"),
            ("PUT", true, _) if self.delayed.load(Ordering::SeqCst) > 0 => {
                self.delayed.fetch_sub(1, Ordering::SeqCst);
                Reply::ok("false")
            }
            ("PUT", true, _) => {
                self.set("mine");
                Reply::ok("true")
            }
            ("PUT", _, true) => {
                self.set("");
                Reply::ok("true")
            }
            ("GET", _, _) => {
                let index = self.index.load(Ordering::SeqCst);
                let flags = self.flags;
                let session = if holder.is_empty() {
                    String::new()
                } else {
                    format!(r#","Session":"{holder}""#)
                };
                Reply::ok(&format!(
                    r#"[{{"Key":"p/.lock","Value":null,"Flags":{flags},"CreateIndex":1,"ModifyIndex":{index}{session}}}]"#
                ))
                .index(index)
            }
            _ => Reply::ok("true"),
        }
    }
}

async fn started(registry: &Arc<Registry>) -> Server {
    let registry = Arc::clone(registry);
    Server::start(move |asked| registry.reply(asked)).await
}

#[tokio::test]
async fn a_free_lock_is_taken_given_back_and_cleaned_up() {
    let registry = Registry::held_by("");
    registry.delayed.store(1, Ordering::SeqCst);
    let server = started(&registry).await;
    let lock = Lock::new(server.client(), settings());
    let held = lock
        .acquire(std::future::pending())
        .await
        .expect("no error")
        .expect("ours");
    assert_eq!(held.session(), "mine");
    assert_eq!(*registry.holder.lock().expect("no panic"), "mine");
    held.release().await.expect("released");
    let asked = server.asked();
    let last: Vec<String> = asked
        .iter()
        .rev()
        .take(3)
        .map(|asked| format!("{} {}", asked.method, asked.path))
        .collect();
    assert_eq!(last[0], "PUT /v1/session/destroy/mine");
    assert!(
        last[1].starts_with("DELETE /v1/kv/p/.lock?cas="),
        "{last:?}"
    );
}

#[tokio::test]
async fn a_lock_that_somebody_takes_away_is_seen_to_be_lost() {
    let registry = Registry::held_by("");
    let server = started(&registry).await;
    let mut held = Lock::new(server.client(), settings())
        .acquire(std::future::pending())
        .await
        .expect("no error")
        .expect("ours");
    registry.set("other");
    let reason = tokio::time::timeout(Duration::from_secs(20), held.lost())
        .await
        .expect("noticed");
    assert_eq!(reason, "the key is no longer held by the session");
}

#[tokio::test]
async fn waiting_ends_when_told_and_leaves_no_session() {
    let server = started(&Registry::held_by("other")).await;
    let limited = LockSettings {
        wait: Some(Duration::from_millis(50)),
        ..settings()
    };
    let outcome = Lock::new(server.client(), limited)
        .acquire(std::future::pending())
        .await
        .expect("no error");
    assert!(outcome.is_none());
    assert_eq!(
        server
            .asked()
            .last()
            .map(|asked| asked.path.clone())
            .as_deref(),
        Some("/v1/session/destroy/mine")
    );
    let outcome = Lock::new(server.client(), settings())
        .acquire(async {})
        .await
        .expect("no error");
    assert!(outcome.is_none());
}

#[tokio::test]
async fn a_key_of_another_use_is_left_alone() {
    let registry = Arc::new(Registry {
        holder: Mutex::default(),
        index: AtomicU64::new(1),
        delayed: AtomicU64::new(0),
        flags: 0,
    });
    let server = started(&registry).await;
    let error = Lock::new(server.client(), settings())
        .acquire(std::future::pending())
        .await
        .expect_err("not a lock");
    assert!(matches!(error, LockError::Conflict(_)), "{error:?}");
    assert!(
        server
            .asked()
            .iter()
            .all(|asked| !asked.path.contains("acquire"))
    );
}

#[tokio::test]
async fn a_lock_counts_as_lost_when_no_renewal_was_acknowledged_for_a_ttl() {
    let registry = Registry::held_by("");
    let shared = Arc::clone(&registry);
    let server = Server::start(move |asked| {
        if asked.path.contains("/renew/") {
            Reply::Silence
        } else {
            shared.reply(asked)
        }
    })
    .await;
    let short = LockSettings {
        ttl: Duration::from_millis(300),
        ..settings()
    };
    let started = tokio::time::Instant::now();
    let mut held = Lock::new(server.client(), short)
        .acquire(std::future::pending())
        .await
        .expect("no error")
        .expect("ours");
    let reason = tokio::time::timeout(Duration::from_secs(20), held.lost())
        .await
        .expect("noticed");
    assert_eq!(reason, "no renewal was acknowledged for 300ms");
    assert!(started.elapsed() >= Duration::from_millis(300));
}
