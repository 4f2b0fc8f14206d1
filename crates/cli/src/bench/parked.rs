//! Parked queries: who wakes when a service changes, and when the last of them has its answer.
//!
//! ```text
//! park      every query asks once, then again with the index it got, and waits; one connection each
//! a change  one instance's meta changes; all that wait for its service must be answered, with the change, and nobody else
//! after     each parks again with its new index, before the next change
//! ```
//! Times count from sending the change until the answer is read here, on one thread that reads them all, so that neither a
//! server that answers the writer late nor this client's own work is hidden. A query whose connection breaks asks the next server
//! again with the index it had, as clients do: so a leader may be killed while they are parked.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, Write as _};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::catalog::CatalogArgs;
use super::consul::{ConsulConnection, ConsulStore, find, refused};
use super::driver::{Failure, Store as _};
use super::report::shown;

/// Connections of one local address: below what servers allow one client (200, as Consul's default).
const CONNECTIONS_PER_ADDRESS: u32 = 150;
/// Queries that ask for their first index at once: a server's queue for new connections is short.
const PARKING_AT_ONCE: usize = 200;
/// All queries are parked by then, or something is wrong.
const PARK_BOUND: Duration = Duration::from_secs(120);
/// What is not woken by then is lost.
const WAKE_BOUND: Duration = Duration::from_secs(30);
/// After the last query was sent, and after each change: a parked query cannot be seen from outside, nor one that wakes wrongly.
const SETTLE: Duration = Duration::from_millis(500);
/// Between two looks at what all wait for.
const LOOK: Duration = Duration::from_millis(2);
/// Between two tries while no server answers.
const PAUSE: Duration = Duration::from_millis(100);
/// Tries of a change: a new leader is there long before.
const CHANGE_TRIES: u64 = 200;

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Woken {
    parked: u32,
    /// From sending a change to the last answer about it; one a change.
    last: Vec<Duration>,
    /// Answers to queries whose service had not changed, or without the change.
    early: u64,
    /// Queries that did not wake.
    lost: u64,
    /// Connections that broke and answers other than 200; each query asked again.
    failures: BTreeMap<String, u64>,
}

impl Woken {
    /// The median and the worst.
    fn times(&self) -> (Duration, Duration) {
        let mut sorted = self.last.clone();
        sorted.sort_unstable();
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        (at(sorted.len() / 2), at(sorted.len().saturating_sub(1)))
    }

    pub(super) fn as_text(&self) -> String {
        let (median, worst) = self.times();
        let mut text = format!(
            "{:<14} {}  changes {}  last woken: median {}  worst {}  early {}  lost {}\n",
            "parked",
            self.parked,
            self.last.len(),
            shown(median),
            shown(worst),
            self.early,
            self.lost,
        );
        for (failure, count) in &self.failures {
            writeln!(text, "  asked again  {count} × {failure}")
                .expect("writing to a String must succeed");
        }
        text
    }

    pub(super) fn as_json(&self) -> Value {
        let milliseconds = |last: Duration| last.as_secs_f64() * 1e3;
        let (median, worst) = self.times();
        json!({
            "parked": self.parked,
            "last_woken_ms": self.last.iter().copied().map(milliseconds).collect::<Vec<_>>(),
            "last_woken_median_ms": milliseconds(median),
            "last_woken_worst_ms": milliseconds(worst),
            "early": self.early,
            "lost": self.lost,
            "errors": self.failures,
        })
    }
}

/// What the queries write down together; they share a thread.
#[derive(Debug, Default)]
struct Record {
    /// Queries that wait, by service.
    waiting: Vec<u32>,
    /// The service that is being changed, since when, and the version to be found in the answers.
    change: Option<(u32, Instant, String)>,
    /// How long after the change each answer about it came.
    answers: Vec<Duration>,
    early: u64,
    failures: BTreeMap<String, u64>,
}

type Shared = Rc<RefCell<Record>>;

/// Parks queries at `store`, makes changes at `writers`, and tells who woke.
pub(super) async fn run(
    store: &ConsulStore,
    writers: &ConsulStore,
    args: &CatalogArgs,
) -> anyhow::Result<Woken> {
    let watched = args.watched.min(args.services).min(args.parked);
    let record: Shared = Rc::default();
    record.borrow_mut().waiting = vec![0; watched as usize];
    let gate = Rc::new(Semaphore::new(PARKING_AT_ONCE));
    let mut tasks = JoinSet::new();
    for number in 0..args.parked {
        let query = Query {
            store: store.clone(),
            number,
            tries: 0,
            service: number % watched,
            path: format!("/v1/health/service/{}", args.service(number % watched)),
            record: Rc::clone(&record),
        };
        tasks.spawn_local(query.live(Rc::clone(&gate)));
    }
    let all = |record: &Record| record.waiting.iter().sum::<u32>() == args.parked;
    wait_until(&record, PARK_BOUND, all).await;
    anyhow::ensure!(
        all(&record.borrow()),
        "not all of {} queries could be parked: {:?}",
        args.parked,
        record.borrow().failures
    );
    tokio::time::sleep(SETTLE).await;
    if args.pause {
        pause().await?;
    }
    let mut woken = Woken {
        parked: args.parked,
        ..Woken::default()
    };
    for number in 0..args.changes {
        let (answered, expected) = change(writers, args, number, watched, &record).await?;
        woken.lost += u64::from(expected.saturating_sub(answered));
        woken.last.extend(record.borrow().answers.iter().max());
    }
    tasks.abort_all();
    let record = record.borrow();
    woken.early = record.early;
    woken.failures = record.failures.clone();
    Ok(woken)
}

/// Says that all are parked, and waits for a line.
async fn pause() -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "parked")
        .and_then(|()| out.flush())
        .context("saying that all are parked")?;
    let read =
        tokio::task::spawn_blocking(|| std::io::stdin().lock().read_line(&mut String::new()));
    read.await
        .expect("reading a line must not panic")
        .context("waiting for a line on standard input")?;
    Ok(())
}

/// Changes one service and waits until its queries have answered and wait again; returns how many did, and had to.
async fn change(
    writers: &ConsulStore,
    args: &CatalogArgs,
    number: u32,
    watched: u32,
    record: &Shared,
) -> anyhow::Result<(u32, u32)> {
    let service = number % watched;
    let expected = (args.parked - service).div_ceil(watched);
    let version = format!("{}-{number}", std::process::id());
    let body = args.registration(service, 0, &version);
    record.borrow_mut().answers.clear();
    let (mut tries, mut connection) = (0, None);
    loop {
        record.borrow_mut().change = Some((service, Instant::now(), version.clone()));
        match write(writers, &mut connection, tries, body.as_bytes()).await {
            Ok(()) => break,
            // The same change again does no harm: it names its row.
            Err(_) if tries < CHANGE_TRIES => {
                (tries, connection) = (tries + 1, None);
                tokio::time::sleep(PAUSE).await;
            }
            Err(failure) => return Err(failure.into()),
        }
    }
    let done = |record: &Record| {
        record.answers.len() >= expected as usize && record.waiting[service as usize] == expected
    };
    wait_until(record, WAKE_BOUND, done).await;
    // Whoever wakes wrongly does it now.
    tokio::time::sleep(SETTLE / 4).await;
    record.borrow_mut().change = None;
    let answered = u32::try_from(record.borrow().answers.len());
    Ok((answered.unwrap_or(u32::MAX), expected))
}

async fn write(
    writers: &ConsulStore,
    connection: &mut Option<ConsulConnection>,
    server: u64,
    body: &[u8],
) -> Result<(), Failure> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(writers.connect(server).await?),
    };
    let path = "/v1/catalog/register";
    match connection.exchange("PUT", path, "", "", body).await? {
        (200, _) => Ok(()),
        (status, answer) => Err(refused(status, &answer)),
    }
}

/// Waits until the record is as wanted; returns after `bound` at the latest.
async fn wait_until(record: &Shared, bound: Duration, holds: impl Fn(&Record) -> bool) {
    let begun = Instant::now();
    while !holds(&record.borrow()) && begun.elapsed() < bound {
        tokio::time::sleep(LOOK).await;
    }
}

/// One client that watches one service, until it is aborted.
struct Query {
    store: ConsulStore,
    number: u32,
    tries: u32,
    service: u32,
    path: String,
    record: Shared,
}

impl Query {
    async fn live(mut self, gate: Rc<Semaphore>) {
        let mut index = 0;
        loop {
            let Err(failure) = self.watch(&gate, &mut index).await;
            *(self.record.borrow_mut().failures)
                .entry(failure.0)
                .or_default() += 1;
            self.tries += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Asks again and again with the last index, until something breaks.
    async fn watch(
        &self,
        gate: &Semaphore,
        index: &mut u64,
    ) -> Result<std::convert::Infallible, Failure> {
        let permit = gate.acquire().await.expect("the gate must stay open");
        let server = u64::from(self.number) + u64::from(self.tries);
        let from = self.number / CONNECTIONS_PER_ADDRESS;
        let mut connection = self.store.connect_from(server, from).await?;
        if *index == 0 {
            *index = self.ask(&mut connection, 0).await?;
        }
        drop(permit);
        loop {
            self.record.borrow_mut().waiting[self.service as usize] += 1;
            let answer = self.ask(&mut connection, *index).await;
            self.record.borrow_mut().waiting[self.service as usize] -= 1;
            *index = answer?;
        }
    }

    /// One query; with an index it parks. Returns the answer's index.
    async fn ask(&self, connection: &mut ConsulConnection, index: u64) -> Result<u64, Failure> {
        let query = match index {
            0 => "?passing".to_owned(),
            index => format!("?passing&index={index}&wait=10m"),
        };
        let (status, body) = connection
            .exchange("GET", &self.path, "", &query, &[])
            .await?;
        match status {
            200 if connection.index() == 0 => Err(Failure("an answer without an index".to_owned())),
            200 => {
                if index != 0 {
                    self.answered(connection.index() > index, &body);
                }
                Ok(connection.index())
            }
            status => Err(refused(status, &body)),
        }
    }

    fn answered(&self, moved: bool, body: &[u8]) {
        let mut record = self.record.borrow_mut();
        let after = record
            .change
            .as_ref()
            .and_then(|(service, since, version)| {
                let about_it = moved && *service == self.service;
                (about_it && find(body, version.as_bytes()).is_some()).then(|| since.elapsed())
            });
        match after {
            Some(after) => record.answers.push(after),
            None => record.early += 1,
        }
    }
}
