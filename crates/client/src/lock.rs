//! A lock on a key, as Consul's own client takes it: whoever holds it by either excludes the other.
//!
//! The lock is a session's. Two tasks watch over it: one renews the session and gives up when no renewal was acknowledged for a whole
//! TTL (counted from *before* the last good one was sent, so that we never believe longer than the servers do), one reads the key
//! at every change. Whoever holds a lock must stop its work when [`Held::lost`] resolves.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::error::Error;
use crate::http::{Client, ReadOptions};
use crate::kv::{Condition, PutOptions};
use crate::{KvPair, NewSession};

/// Marks a key as a lock; Consul's client has the same number. A key with another one is something else, and not ours to take.
const LOCK_FLAGS: u64 = 0x2ddc_cbc0_58a5_0c18;

/// How long one read for a free key waits.
const FREE_WAIT: Duration = Duration::from_secs(15);

/// Pause before another attempt while the lock-delay of the last holder runs.
const DELAY_PAUSE: Duration = Duration::from_secs(1);

/// Pause after a failure that passes.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What lock to take, and how.
#[derive(Debug, Clone)]
pub struct LockSettings {
    /// The key.
    pub key: String,
    /// What to write into it.
    pub value: Bytes,
    /// Name of the session, for people.
    pub session_name: String,
    /// TTL of the session, at least 10 s.
    pub ttl: Duration,
    /// How long the lock stays closed after its holder died; the server's default otherwise.
    pub lock_delay: Option<Duration>,
    /// Give up when it is not ours after this long.
    pub wait: Option<Duration>,
    /// How many failed reads of the key in a row are borne before the lock counts as lost.
    pub monitor_retries: u32,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A request failed, and will again.
    #[error(transparent)]
    Request(#[from] Error),
    /// The key has another use.
    #[error("key {0} is in use for something else than a lock")]
    Conflict(String),
    /// The session ended while waiting.
    #[error("the session ended: {0}")]
    Lost(String),
}

/// A lock that may be taken.
#[derive(Debug, Clone)]
pub struct Lock {
    client: Client,
    settings: LockSettings,
}

/// A lock that is ours until [`Held::lost`] says otherwise.
#[derive(Debug)]
pub struct Held {
    client: Client,
    key: String,
    session: String,
    lost: watch::Receiver<Option<String>>,
    /// Ends with us.
    tasks: JoinSet<()>,
}

impl Lock {
    /// A lock; does nothing yet.
    pub fn new(client: Client, settings: LockSettings) -> Lock {
        Lock { client, settings }
    }

    /// Waits for the lock. `None`: the time ran out, or `stop` resolved; nothing is left behind.
    pub async fn acquire(&self, stop: impl Future<Output = ()>) -> Result<Option<Held>, LockError> {
        let LockSettings {
            session_name,
            ttl,
            lock_delay,
            wait,
            ..
        } = &self.settings;
        let new = NewSession {
            name: session_name.clone(),
            ttl: Some(*ttl),
            lock_delay: *lock_delay,
            ..NewSession::default()
        };
        let started = Instant::now();
        let session = self.client.sessions().create(&new).await?;
        let (tell, mut lost) = watch::channel(None);
        let mut tasks = JoinSet::new();
        tasks.spawn(renew(
            self.client.clone(),
            session.clone(),
            *ttl,
            started,
            tell.clone(),
        ));
        let give_up = async {
            match wait {
                Some(wait) => sleep(*wait).await,
                None => std::future::pending().await,
            }
        };
        let outcome = tokio::select! {
            taken = self.take(&session) => taken.map(|()| true),
            reason = lost_of(&mut lost) => Err(LockError::Lost(reason)),
            () = give_up => Ok(false),
            () = stop => Ok(false),
        };
        if let Ok(true) = outcome {
            let monitor = monitor(
                self.client.clone(),
                self.settings.clone(),
                session.clone(),
                tell,
            );
            tasks.spawn(monitor);
            let (client, key) = (self.client.clone(), self.settings.key.clone());
            return Ok(Some(Held {
                client,
                key,
                session,
                lost,
                tasks,
            }));
        }
        drop(tasks);
        // Should this fail, the session ends by its TTL.
        let _ = self.client.sessions().destroy(&session).await;
        outcome.map(|_| None)
    }

    /// Returns when the key is this session's.
    async fn take(&self, session: &str) -> Result<(), LockError> {
        let LockSettings { key, value, .. } = &self.settings;
        let put = PutOptions {
            flags: LOCK_FLAGS,
            condition: Condition::Acquire(session.to_owned()),
        };
        let mut options = ReadOptions {
            wait: Some(FREE_WAIT),
            ..ReadOptions::consistent()
        };
        loop {
            match self.client.kv().get(key, &options).await {
                Err(error) if error.is_passing() => {
                    options.index = None;
                    sleep(RETRY_PAUSE).await;
                    continue;
                }
                Err(error) => return Err(error.into()),
                Ok(answer) => match answer.value {
                    Some(pair) if pair.flags != LOCK_FLAGS => {
                        return Err(LockError::Conflict(key.clone()));
                    }
                    Some(pair) if pair.session == session => return Ok(()),
                    Some(pair) if !pair.session.is_empty() => {
                        options.index = Some(answer.index);
                        continue;
                    }
                    Some(_) | None => options.index = None,
                },
            }
            // Once more for the same session changes nothing, so an unknown outcome may be tried again.
            match self.client.kv().put(key, value.clone(), &put).await {
                Ok(true) => return Ok(()),
                Ok(false) => sleep(DELAY_PAUSE).await,
                Err(error) if error.is_passing() => sleep(RETRY_PAUSE).await,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Held {
    /// The session that holds it.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// Resolves, with the reason, when the lock is no longer surely ours. Cancel-safe.
    pub async fn lost(&mut self) -> String {
        lost_of(&mut self.lost).await
    }

    /// Gives the lock back, removes its key if nobody took it meanwhile, and ends the session.
    pub async fn release(mut self) -> Result<(), Error> {
        self.tasks.shutdown().await;
        let kv = self.client.kv();
        let put = PutOptions {
            flags: LOCK_FLAGS,
            condition: Condition::Release(self.session.clone()),
        };
        let released = kv.put(&self.key, Bytes::new(), &put).await;
        let removed = async {
            let free = |pair: &KvPair| pair.session.is_empty() && pair.flags == LOCK_FLAGS;
            let pair = kv
                .get(&self.key, &ReadOptions::consistent())
                .await?
                .value
                .filter(free);
            match pair {
                Some(pair) => kv
                    .delete(&self.key, Some(pair.modify_index))
                    .await
                    .map(drop),
                None => Ok(()),
            }
        };
        let removed = if released.is_ok() {
            removed.await
        } else {
            Ok(())
        };
        // Ends the lock too, should the release have failed.
        self.client.sessions().destroy(&self.session).await?;
        released?;
        removed
    }
}

async fn lost_of(lost: &mut watch::Receiver<Option<String>>) -> String {
    match lost.wait_for(Option::is_some).await {
        Ok(reason) => reason.clone().unwrap_or_default(),
        Err(_) => "nobody watches over it any more".into(),
    }
}

/// Renews a session until it is gone or may be. `started`: before it was asked for.
async fn renew(
    client: Client,
    session: String,
    ttl: Duration,
    started: Instant,
    tell: watch::Sender<Option<String>>,
) {
    let mut alive_until = started + ttl;
    let mut next = started + ttl / 2;
    loop {
        tokio::time::sleep_until(next.min(alive_until)).await;
        let sent = Instant::now();
        let left = alive_until.saturating_duration_since(sent);
        match timeout(left, client.sessions().renew(&session)).await {
            Ok(Ok(Some(_))) => {
                alive_until = sent + ttl;
                next = sent + ttl / 2;
            }
            Ok(Ok(None)) => return tell_lost(&tell, "the session is gone".into()),
            Ok(Err(error)) if error.is_passing() => next = sent + RETRY_PAUSE,
            Ok(Err(error)) => return tell_lost(&tell, error.to_string()),
            Err(_) => return tell_lost(&tell, format!("no renewal was acknowledged for {ttl:?}")),
        }
    }
}

/// Reads the key at every change until it is not this session's.
async fn monitor(
    client: Client,
    settings: LockSettings,
    session: String,
    tell: watch::Sender<Option<String>>,
) {
    let mut failures = 0;
    let mut options = ReadOptions {
        wait: Some(FREE_WAIT),
        ..ReadOptions::consistent()
    };
    loop {
        match client.kv().get(&settings.key, &options).await {
            Ok(answer) => {
                failures = 0;
                if answer.value.is_none_or(|pair| pair.session != session) {
                    return tell_lost(&tell, "the key is no longer held by the session".into());
                }
                // After an index that went back, read at once.
                options.index = Some(answer.index)
                    .filter(|index| options.index.is_none_or(|last| *index >= last));
            }
            Err(error) if error.is_passing() && failures < settings.monitor_retries => {
                failures += 1;
                options.index = None;
                sleep(RETRY_PAUSE).await;
            }
            Err(error) => return tell_lost(&tell, error.to_string()),
        }
    }
}

fn tell_lost(tell: &watch::Sender<Option<String>>, reason: String) {
    tell.send_if_modified(|lost| {
        let first = lost.is_none();
        lost.get_or_insert(reason);
        first
    });
}
