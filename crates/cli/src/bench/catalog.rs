//! `rollcall bench catalog`: registers services, asks who is well, and parks queries to see who wakes.
//!
//! Three phases, each with its own figures: registrations (a service with its check a request), `health/service?passing` of
//! random services in a closed loop, and parked queries (see `parked`). The same for Rollcall's servers and Consul's.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use tokio::task::{JoinSet, LocalSet};

use super::Format;
use super::consul::{ConsulConnection, ConsulStore};
use super::driver::{Failure, Store as _};
use super::histogram::Histogram;
use super::parked;
use super::report::shown;

/// How long one request may take before it counts as an error.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

#[derive(Debug, Clone, Args)]
pub(super) struct CatalogArgs {
    /// Servers to measure; clients are spread over them
    #[arg(long, value_delimiter = ',', default_value = "http://127.0.0.1:8500")]
    target: Vec<String>,
    /// Token sent with every request
    #[arg(
        long,
        env = "ROLLCALL_HTTP_TOKEN",
        hide_env_values = true,
        default_value = ""
    )]
    token: String,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Services
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) services: u32,
    /// Instances of each service
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) instances: u32,
    /// Nodes that the instances are spread over
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    nodes: u32,
    /// Clients that register and ask at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    clients: u32,
    /// Seconds of asking; 0: none
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=3600))]
    seconds: u64,
    /// What is there already: register nothing
    #[arg(long)]
    registered: bool,
    /// Queries that are parked; 0: none. Each takes a connection: see `ulimit -n`
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100_000))]
    pub(super) parked: u32,
    /// Services that the parked queries are spread over
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) watched: u32,
    /// Changes that are made while they are parked
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) changes: u32,
    /// Servers that take the changes (default: the targets)
    #[arg(long, value_delimiter = ',')]
    pub(super) write_target: Vec<String>,
    /// Say "parked" when all are parked, and wait for a line on standard input before the changes
    #[arg(long)]
    pub(super) pause: bool,
}

impl CatalogArgs {
    pub(super) fn service(&self, number: u32) -> String {
        format!("bench-{number}")
    }

    /// A registration of one instance with its check; `version` stands in its meta.
    pub(super) fn registration(&self, service: u32, instance: u32, version: &str) -> String {
        let node = service.wrapping_mul(self.instances).wrapping_add(instance) % self.nodes;
        let name = self.service(service);
        let id = format!("{name}-{instance}");
        json!({
            "Node": format!("bench-node-{node}"),
            "Address": format!("10.{}.{}.{}", node >> 16, (node >> 8) & 255, node & 255),
            "Service": {"ID": id, "Service": name, "Port": 8000 + instance % 1000, "Tags": ["bench", "v1"],
                "Meta": {"version": version}},
            "Check": {"CheckID": format!("service:{id}"), "Name": "alive", "Status": "passing", "ServiceID": id,
                "Output": "HTTP GET http://127.0.0.1/health: 200 OK"},
        })
        .to_string()
    }
}

/// Latencies and failures of one phase.
#[derive(Debug)]
struct Phase {
    latencies: Histogram,
    elapsed: Duration,
    errors: u64,
    error: Option<String>,
    bytes: u64,
}

impl Phase {
    fn rate(&self) -> f64 {
        self.latencies.count() as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }

    fn as_json(&self) -> Value {
        let microseconds = |latency: Duration| (latency.as_secs_f64() * 1e7).round() / 10.0;
        json!({
            "rate": self.rate(),
            "answers": self.latencies.count(),
            "elapsed_seconds": self.elapsed.as_secs_f64(),
            "p50_us": microseconds(self.latencies.percentile(0.5)),
            "p99_us": microseconds(self.latencies.percentile(0.99)),
            "max_us": microseconds(self.latencies.max()),
            "bytes": self.bytes,
            "errors": self.errors,
            "error": self.error,
        })
    }

    fn as_text(&self, name: &str) -> String {
        let error = self.error.as_deref().map(|error| format!("  ({error})"));
        format!(
            "{name:<14} {:.0}/s  p50 {}  p99 {}  max {}  answers {}  errors {}{}\n",
            self.rate(),
            shown(self.latencies.percentile(0.5)),
            shown(self.latencies.percentile(0.99)),
            shown(self.latencies.max()),
            self.latencies.count(),
            self.errors,
            error.unwrap_or_default(),
        )
    }
}

/// Runs the phases, and tells what came of them. `progress` is told what goes on.
pub(super) async fn run(args: &CatalogArgs, progress: impl Fn(&str)) -> anyhow::Result<String> {
    let store = ConsulStore::resolve(&args.target, &args.token).await?;
    let local = LocalSet::new();
    let (mut text, mut json) = (String::new(), json!({}));
    local
        .run_until(async {
            if !args.registered {
                let count = args.services.saturating_mul(args.instances);
                progress(&format!("registering {count} instances"));
                let phase = register(&store, args).await;
                text.push_str(&phase.as_text("registrations"));
                json["registrations"] = phase.as_json();
                anyhow::ensure!(
                    phase.latencies.count() > 0,
                    "nothing was registered: {:?}",
                    phase.error
                );
            }
            if args.seconds > 0 {
                progress("asking health/service?passing");
                let phase = ask(&store, args).await;
                text.push_str(&phase.as_text("health queries"));
                json["health_queries"] = phase.as_json();
                anyhow::ensure!(
                    phase.latencies.count() > 0,
                    "no query was answered: {:?}",
                    phase.error
                );
            }
            if args.parked > 0 {
                progress(&format!("parking {} queries", args.parked));
                let writers = match args.write_target.is_empty() {
                    true => store.clone(),
                    false => ConsulStore::resolve(&args.write_target, &args.token).await?,
                };
                let woken = parked::run(&store, &writers, args).await?;
                text.push_str(&woken.as_text());
                json["parked_queries"] = woken.as_json();
            }
            anyhow::Ok(())
        })
        .await?;
    Ok(match args.format {
        Format::Text => text,
        Format::Json => format!("{json:#}\n"),
    })
}

async fn register(store: &ConsulStore, args: &CatalogArgs) -> Phase {
    let total = args.services.saturating_mul(args.instances);
    let next = Rc::new(Cell::new(0));
    let args = args.clone();
    closed_loop(store, args.clients, move || {
        let number = next.get();
        (number < total).then(|| {
            next.set(number + 1);
            let (service, instance) = (number / args.instances, number % args.instances);
            let body = args.registration(service, instance, "1.2.3");
            ("PUT", "/v1/catalog/register".to_owned(), body)
        })
    })
    .await
}

async fn ask(store: &ConsulStore, args: &CatalogArgs) -> Phase {
    let end = Instant::now() + Duration::from_secs(args.seconds);
    // A multiplicative generator is random enough to spread the services.
    let random = Rc::new(Cell::new(0x2545_F491_4F6C_DD1D_u64));
    let args = args.clone();
    closed_loop(store, args.clients, move || {
        let number = random
            .get()
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        random.set(number);
        let service = u32::try_from((number >> 33) % u64::from(args.services)).unwrap_or(0);
        let path = format!("/v1/health/service/{}?passing", args.service(service));
        (Instant::now() < end).then(|| ("GET", path, String::new()))
    })
    .await
}

/// Clients, each with one request in flight, until `next` has none.
async fn closed_loop(
    store: &ConsulStore,
    clients: u32,
    next: impl Fn() -> Option<(&'static str, String, String)> + Clone + 'static,
) -> Phase {
    let begin = Instant::now();
    let phase = Rc::new(RefCell::new(Phase {
        latencies: Histogram::new(),
        elapsed: Duration::ZERO,
        errors: 0,
        error: None,
        bytes: 0,
    }));
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let (store, next, phase) = (store.clone(), next.clone(), Rc::clone(&phase));
        tasks.spawn_local(async move {
            let mut connection: Option<ConsulConnection> = None;
            while let Some((method, path, body)) = next() {
                let begun = Instant::now();
                let answer = request(&store, client, &mut connection, method, &path, &body).await;
                let mut phase = phase.borrow_mut();
                match answer {
                    Ok(bytes) => {
                        phase.latencies.record(begun.elapsed());
                        phase.bytes += bytes as u64;
                    }
                    Err(failure) => {
                        phase.errors += 1;
                        phase.error.get_or_insert(failure.0);
                        connection = None;
                    }
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a client must not panic");
    }
    let mut phase = Rc::into_inner(phase)
        .expect("all clients must have ended")
        .into_inner();
    phase.elapsed = begin.elapsed();
    phase
}

/// One request that must be answered 200; the length of its answer.
async fn request(
    store: &ConsulStore,
    client: u32,
    connection: &mut Option<ConsulConnection>,
    method: &str,
    path: &str,
    body: &str,
) -> Result<usize, Failure> {
    let exchange = async {
        let connection = match connection {
            Some(connection) => connection,
            None => connection.insert(store.connect(client.into()).await?),
        };
        match connection
            .exchange(method, path, "", "", body.as_bytes())
            .await?
        {
            (200, body) => Ok(body.len()),
            (status, body) => Err(super::consul::refused(status, &body)),
        }
    };
    match tokio::time::timeout(REQUEST_TIMEOUT, exchange).await {
        Ok(result) => result,
        Err(_) => Err(Failure("no answer in time".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: CatalogArgs,
    }

    #[test]
    fn instances_are_spread_over_the_nodes() {
        let line = Line::parse_from([
            "bench",
            "--services",
            "3",
            "--instances",
            "4",
            "--nodes",
            "5",
        ]);
        let mut nodes = std::collections::BTreeSet::new();
        for service in 0..3 {
            for instance in 0..4 {
                let body = line.args.registration(service, instance, "1.2.3");
                let body: Value = serde_json::from_str(&body).expect("must be JSON");
                nodes.insert(body["Node"].as_str().expect("must name a node").to_owned());
            }
        }
        assert_eq!(nodes.len(), 5);
    }
}
