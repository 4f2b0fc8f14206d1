//! Parked queries: who wakes when a service changes, and when the last of them has its answer.
//!
//! Each query has a connection and stays parked on one service; a change flips one instance's check. Right is: those parked on
//! that service wake, each once, with a higher index; nobody else does. Times count from sending the change, so that a server that
//! answers the writer late cannot hide it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::catalog::CatalogArgs;
use super::consul::ConsulStore;
use super::driver::{Failure, Store as _};
use super::report::shown;

/// Connections of one local address: below what servers allow one client (200, as Consul's default).
const CONNECTIONS_PER_ADDRESS: u32 = 150;
/// What is not woken by then is lost.
const WAKE_BOUND: Duration = Duration::from_secs(30);
/// After the last query was sent: a parked query cannot be seen from outside.
const SETTLE: Duration = Duration::from_secs(1);

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Woken {
    parked: u32,
    /// From sending a change to the last answer about it; one a change.
    last: Vec<Duration>,
    /// Answers to queries whose service had not changed.
    early: u64,
    /// Queries that did not wake.
    lost: u64,
    failures: BTreeMap<String, u64>,
}

impl Woken {
    fn sorted(&self) -> Vec<Duration> {
        let mut last = self.last.clone();
        last.sort_unstable();
        last
    }

    pub(super) fn as_text(&self) -> String {
        let last = self.sorted();
        let at = |fraction: f64| {
            last.get(((last.len() - 1) as f64 * fraction) as usize)
                .copied()
        };
        let mut text = format!(
            "{:<14} {}  changes {}  last woken: median {}  worst {}  early {}  lost {}\n",
            "parked",
            self.parked,
            last.len(),
            shown(at(0.5).unwrap_or_default()),
            shown(at(1.0).unwrap_or_default()),
            self.early,
            self.lost,
        );
        for (failure, count) in &self.failures {
            writeln!(text, "  error        {count} × {failure}")
                .expect("writing to a String must succeed");
        }
        text
    }

    pub(super) fn as_json(&self) -> Value {
        let milliseconds = |last: &Duration| last.as_secs_f64() * 1e3;
        json!({
            "parked": self.parked,
            "last_woken_ms": self.last.iter().map(milliseconds).collect::<Vec<_>>(),
            "early": self.early,
            "lost": self.lost,
            "errors": self.failures,
        })
    }
}

/// What the parked queries write down together; they share a thread.
#[derive(Debug, Default)]
struct Record {
    parked: u32,
    /// By service: answers to the change that is under way, and the last one's time.
    woken: BTreeMap<u32, (u32, Option<Instant>)>,
    failures: BTreeMap<String, u64>,
}

pub(super) async fn run(store: &ConsulStore, args: &CatalogArgs) -> anyhow::Result<Woken> {
    let record = Rc::new(RefCell::new(Record::default()));
    let watched = args.watched.min(args.services).min(args.parked);
    let mut tasks = JoinSet::new();
    for number in 0..args.parked {
        let (store, args, record) = (store.clone(), args.clone(), Rc::clone(&record));
        tasks.spawn_local(async move {
            if let Err(Failure(words)) = park(&store, &args, number, watched, &record).await {
                *record.borrow_mut().failures.entry(words).or_default() += 1;
            }
        });
    }
    let begun = Instant::now();
    while record.borrow().parked < args.parked {
        anyhow::ensure!(
            begun.elapsed() < WAKE_BOUND * 4 && record.borrow().failures.is_empty(),
            "only {} of {} queries were parked: {:?}",
            record.borrow().parked,
            args.parked,
            record.borrow().failures
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(SETTLE).await;
    let woken = change(store, args, watched, &record).await?;
    tasks.abort_all();
    Ok(woken)
}

/// Changes one service after the other, and waits for those who are parked on it.
async fn change(
    store: &ConsulStore,
    args: &CatalogArgs,
    watched: u32,
    record: &RefCell<Record>,
) -> anyhow::Result<Woken> {
    let mut woken = Woken {
        parked: args.parked,
        ..Woken::default()
    };
    let mut writer = store.connect(0).await?;
    for number in 0..args.changes {
        let service = number % watched;
        let expected = (args.parked - service).div_ceil(watched);
        record.borrow_mut().woken.clear();
        // Every service that is flipped the second time flips back.
        let status = if (number / watched).is_multiple_of(2) {
            "warning"
        } else {
            "passing"
        };
        let body = args.registration(service, 0, status);
        let begun = Instant::now();
        let (answer, body) =
            (writer.exchange("PUT", "/v1/catalog/register", "", "", body.as_bytes())).await?;
        anyhow::ensure!(answer == 200, "{}", super::consul::refused(answer, &body));
        let seen = || {
            record
                .borrow()
                .woken
                .get(&service)
                .copied()
                .unwrap_or_default()
        };
        while seen().0 < expected && begun.elapsed() < WAKE_BOUND {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (count, last) = seen();
        woken.lost += u64::from(expected.saturating_sub(count));
        woken.last.extend(last.map(|last| last - begun));
        // All are parked again before the next change; meanwhile nobody else may wake.
        tokio::time::sleep(SETTLE / 4).await;
        let all = record
            .borrow()
            .woken
            .values()
            .map(|(count, _)| u64::from(*count))
            .sum::<u64>();
        woken.early += all.saturating_sub(u64::from(expected));
    }
    woken.failures = record.borrow().failures.clone();
    Ok(woken)
}

/// One query: asks, parks, notes when it wakes, parks again. Ends only by a failure.
async fn park(
    store: &ConsulStore,
    args: &CatalogArgs,
    number: u32,
    watched: u32,
    record: &RefCell<Record>,
) -> Result<(), Failure> {
    let service = number % watched;
    let path = format!("/v1/health/service/{}", args.service(service));
    let from = number / CONNECTIONS_PER_ADDRESS;
    let mut connection = store.connect_from(number.into(), from).await?;
    let (mut status, mut body) = connection.exchange("GET", &path, "", "", &[]).await?;
    record.borrow_mut().parked += 1;
    loop {
        if status != 200 {
            return Err(super::consul::refused(status, &body));
        }
        let index = connection.index();
        if index == 0 {
            return Err(Failure("an answer without an index".to_owned()));
        }
        let query = format!("?index={index}&wait=10m");
        (status, body) = connection.exchange("GET", &path, "", &query, &[]).await?;
        let mut record = record.borrow_mut();
        let woken = record.woken.entry(service).or_default();
        *woken = (woken.0 + 1, Some(Instant::now()));
    }
}
