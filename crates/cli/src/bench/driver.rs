//! The closed loop: N clients, each with one request in flight, on one thread.
//!
//! One thread because the load often shares its cores with the servers it measures: what it burns they lack. It knows nothing of
//! a protocol; [`Store`] does, so that Rollcall, Consul and etcd are measured by the same code. A closed loop says how fast the servers
//! answer this many clients; it does not say how long a queue grows when requests arrive faster than that.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, LocalSet};

use super::histogram::Histogram;
use super::workload::{Generator, Operation, WorkloadArgs};

/// How long one request may take before it counts as an error.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Pause after an error, so that a dead server is not dialled in a busy loop.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);
/// Clients that load keys at once: enough to fill group commits, few enough to stay under body limits.
const LOADERS: u64 = 16;
/// Times a loading transaction is tried (a put of the same value is safe to repeat).
const LOAD_TRIES: u32 = 20;
/// Different error texts that are kept; further ones are counted as "other".
const ERROR_KINDS_MAX: usize = 16;

/// Why a request failed, in words that are equal for equal causes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Failure(pub String);

/// One connection's protocol.
pub(super) trait Connection {
    /// Writes one key.
    fn put(&mut self, key: &str, value: &[u8]) -> impl Future<Output = Result<(), Failure>>;
    /// Reads one key; `false` when it is not there.
    fn get(&mut self, key: &str, stale: bool) -> impl Future<Output = Result<bool, Failure>>;
    /// Writes several keys in one transaction.
    fn put_many(
        &mut self,
        entries: &[(String, Vec<u8>)],
    ) -> impl Future<Output = Result<(), Failure>>;
}

/// What is measured.
pub(super) trait Store: Clone + 'static {
    /// Its connection.
    type Connection: Connection;
    /// A connection for the client of this number; numbers are spread over the servers.
    fn connect(&self, client: u64) -> impl Future<Output = Result<Self::Connection, Failure>>;
}

/// One second of the run.
#[derive(Debug, Clone)]
pub(super) struct Second {
    /// Seconds since the measurement began, at this one's end.
    pub(super) end: f64,
    /// Answers.
    pub(super) operations: u64,
    /// Failures.
    pub(super) errors: u64,
    /// Median latency.
    pub p50: Duration,
    /// 99th percentile.
    pub p99: Duration,
    /// The longest.
    pub(super) max: Duration,
}

/// What happens, for whoever shows progress.
#[derive(Debug)]
pub(super) enum Progress<'a> {
    /// Keys written so far, of how many.
    Loading(u64, u64),
    /// A second has been measured.
    Measured(&'a Second),
}

/// What came of a run.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Time from the first measured request to the last answer.
    pub(super) elapsed: Duration,
    /// Latencies of all answers.
    pub(super) latencies: Histogram,
    /// Answers that said the key is not there.
    pub(super) missing: u64,
    /// Failures by cause.
    pub(super) errors: BTreeMap<String, u64>,
    /// Every second.
    pub(super) seconds: Vec<Second>,
    /// Time that loading took.
    pub(super) load_time: Duration,
}

/// Loads, warms up, measures.
pub(super) async fn run<S: Store>(
    store: S,
    args: &WorkloadArgs,
    mut progress: impl FnMut(Progress<'_>),
) -> Result<Outcome, Failure> {
    let local = LocalSet::new();
    local
        .run_until(async {
            let begun = Instant::now();
            load(&store, args, &mut progress).await?;
            let load_time = begun.elapsed();
            let mut outcome = measure(&store, args, &mut progress).await;
            outcome.load_time = load_time;
            Ok(outcome)
        })
        .await
}

// === loading ===

async fn load<S: Store>(
    store: &S,
    args: &WorkloadArgs,
    progress: &mut impl FnMut(Progress<'_>),
) -> Result<(), Failure> {
    let total = args.keys_to_load();
    let next = Rc::new(Cell::new(0));
    let mut loaders = JoinSet::new();
    for client in 0..LOADERS.min(total.div_ceil(args.load_batch())) {
        loaders.spawn_local(load_share(
            store.clone(),
            args.clone(),
            client,
            Rc::clone(&next),
        ));
    }
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    while !loaders.is_empty() {
        tokio::select! {
            Some(done) = loaders.join_next() => done.expect("a loader must not panic")?,
            _ = tick.tick() => progress(Progress::Loading(next.get(), total)),
        }
    }
    if total > 0 {
        progress(Progress::Loading(total, total));
    }
    Ok(())
}

/// Takes batch after batch until all keys are taken.
async fn load_share<S: Store>(
    store: S,
    args: WorkloadArgs,
    client: u64,
    next: Rc<Cell<u64>>,
) -> Result<(), Failure> {
    let mut generator = Generator::new(&args, client + 1);
    let mut connection = None;
    while next.get() < args.keys_to_load() {
        let first = next.get();
        let end = args.keys_to_load().min(first + args.load_batch());
        next.set(end);
        let entries: Vec<_> = (first..end)
            .map(|number| (args.key(number), generator.value().to_vec()))
            .collect();
        load_batch(&store, &mut connection, client, &entries).await?;
    }
    Ok(())
}

async fn load_batch<S: Store>(
    store: &S,
    connection: &mut Option<S::Connection>,
    client: u64,
    entries: &[(String, Vec<u8>)],
) -> Result<(), Failure> {
    let mut tries = 0;
    loop {
        let result = within(async {
            connected(store, connection, client)
                .await?
                .put_many(entries)
                .await
        })
        .await;
        let Err(failure) = result else { return Ok(()) };
        tries += 1;
        if tries == LOAD_TRIES {
            return Err(Failure(format!("loading keys, {tries} tries: {failure}")));
        }
        *connection = None;
        tokio::time::sleep(PAUSE_AFTER_ERROR * tries).await;
    }
}

// === measuring ===

/// What the clients of one run write down together; they share a thread, so no lock is needed.
struct Record {
    all: Histogram,
    second: Histogram,
    second_errors: u64,
    missing: u64,
    errors: BTreeMap<String, u64>,
    last_answer: Instant,
}

impl Record {
    fn new(begin: Instant) -> Self {
        Self {
            all: Histogram::new(),
            second: Histogram::new(),
            second_errors: 0,
            missing: 0,
            errors: BTreeMap::new(),
            last_answer: begin,
        }
    }

    fn answer(&mut self, begun: Instant, ended: Instant, found: bool) {
        let latency = ended.saturating_duration_since(begun);
        self.all.record(latency);
        self.second.record(latency);
        self.missing += u64::from(!found);
        self.last_answer = self.last_answer.max(ended);
    }

    fn failure(&mut self, failure: Failure) {
        self.second_errors += 1;
        let known = self.errors.contains_key(&failure.0);
        let kind = match known || self.errors.len() < ERROR_KINDS_MAX {
            true => failure.0,
            false => "other".to_owned(),
        };
        *self.errors.entry(kind).or_default() += 1;
    }

    fn close_second(&mut self, end: f64) -> Second {
        let second = Second {
            end,
            operations: self.second.count(),
            errors: std::mem::take(&mut self.second_errors),
            p50: self.second.percentile(0.5),
            p99: self.second.percentile(0.99),
            max: self.second.max(),
        };
        self.second.clear();
        second
    }
}

async fn measure<S: Store>(
    store: &S,
    args: &WorkloadArgs,
    progress: &mut impl FnMut(Progress<'_>),
) -> Outcome {
    let begin = Instant::now() + Duration::from_secs(args.warmup);
    let end = begin + args.measured();
    let record = Rc::new(RefCell::new(Record::new(begin)));
    let mut clients = JoinSet::new();
    if args.seconds > 0 {
        for client in 0..u64::from(args.clients) {
            let record = Rc::clone(&record);
            clients.spawn_local(run_client(
                store.clone(),
                args.clone(),
                client,
                begin,
                end,
                record,
            ));
        }
    }
    let mut seconds = Vec::new();
    let mut tick = tokio::time::interval_at(
        (begin + Duration::from_secs(1)).into(),
        Duration::from_secs(1),
    );
    while !clients.is_empty() {
        tokio::select! {
            Some(done) = clients.join_next() => done.expect("a client must not panic"),
            _ = tick.tick() => {
                let second = record.borrow_mut().close_second(begin.elapsed().as_secs_f64());
                progress(Progress::Measured(&second));
                seconds.push(second);
            }
        }
    }
    let record = record.replace(Record::new(begin));
    Outcome {
        elapsed: record.last_answer.saturating_duration_since(begin),
        latencies: record.all,
        missing: record.missing,
        errors: record.errors,
        seconds,
        load_time: Duration::ZERO,
    }
}

/// One client: the next request leaves when the last one is answered. A request counts if it was sent after the warm-up.
async fn run_client<S: Store>(
    store: S,
    args: WorkloadArgs,
    client: u64,
    begin: Instant,
    end: Instant,
    record: Rc<RefCell<Record>>,
) {
    let mut generator = Generator::new(&args, 1000 + client);
    let mut connection = None;
    loop {
        let begun = Instant::now();
        if begun >= end {
            return;
        }
        let result = within(request(
            &store,
            &mut connection,
            client,
            &args,
            &mut generator,
        ))
        .await;
        let ended = Instant::now();
        if begun >= begin {
            match &result {
                Ok(found) => record.borrow_mut().answer(begun, ended, *found),
                Err(failure) => record.borrow_mut().failure(failure.clone()),
            }
        }
        if result.is_err() {
            connection = None;
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
        }
    }
}

async fn request<S: Store>(
    store: &S,
    connection: &mut Option<S::Connection>,
    client: u64,
    args: &WorkloadArgs,
    generator: &mut Generator,
) -> Result<bool, Failure> {
    let connection = connected(store, connection, client).await?;
    let operation = generator.operation(args.mix);
    let key = args.key(generator.key_number(args.keys));
    match operation {
        Operation::Put => connection.put(&key, generator.value()).await.map(|()| true),
        Operation::Get => connection.get(&key, false).await,
        Operation::StaleGet => connection.get(&key, true).await,
    }
}

async fn connected<'a, S: Store>(
    store: &S,
    connection: &'a mut Option<S::Connection>,
    client: u64,
) -> Result<&'a mut S::Connection, Failure> {
    if connection.is_none() {
        *connection = Some(store.connect(client).await?);
    }
    Ok(connection.as_mut().expect("it must be connected by now"))
}

async fn within<T>(request: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
        Ok(result) => result,
        Err(_) => Err(Failure(format!(
            "no answer within {} s",
            REQUEST_TIMEOUT.as_secs()
        ))),
    }
}
