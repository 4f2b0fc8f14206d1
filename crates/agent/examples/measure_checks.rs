//! What ten thousand HTTP checks cost one agent, and how punctual they are. An example, not a test: there is nothing to fail.
//!
//! `cargo run --release -p rollcall-agent --example measure_checks -- [--checks N] [--interval-seconds N] [--seconds N] [--silent-percent N]`
//!
//! It starts itself once more as the server that is checked, on addresses of loopback, so that the figures are the agent's alone. Each
//! answer differs from the last (a counter in the body), so each run has a result to tell. `--silent-percent` of the checks ask a
//! server that never answers.

#![allow(clippy::print_stdout)] // its only output are figures for people

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use rollcall_agent::checks::alias::Reading;
use rollcall_agent::checks::{Checks, Config, NodeReads, Observer, Ran};
use rollcall_agent::definition::{
    Definition, Every, Http, Kind, OUTPUT_BYTES_MAX, Status, Thresholds,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Addresses of loopback the server listens on.
const ADDRESSES: u8 = 16;
/// Upper ends of the classes in which lateness is counted, in milliseconds.
const CLASSES_MS: [u64; 7] = [1, 2, 5, 10, 100, 1000, u64::MAX];

struct Options {
    checks: usize,
    interval: Duration,
    seconds: u64,
    silent_percent: usize,
}

fn main() -> anyhow::Result<()> {
    let mut options = Options {
        checks: 10_000,
        interval: Duration::from_secs(10),
        seconds: 60,
        silent_percent: 0,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if name == "serve" {
            return runtime()?.block_on(serve());
        }
        let value = arguments.next().context("an option needs a number")?;
        let value: u64 = value.parse().with_context(|| format!("{name} {value}"))?;
        match name.as_str() {
            "--checks" => options.checks = usize::try_from(value)?,
            "--interval-seconds" => options.interval = Duration::from_secs(value),
            "--seconds" => options.seconds = value,
            "--silent-percent" => options.silent_percent = usize::try_from(value)?,
            other => anyhow::bail!("there is no option {other}"),
        }
    }
    runtime()?.block_on(measure(&options))
}

/// One thread, as little as an agent has.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the runtime")
}

#[derive(Default)]
struct Seen {
    runs: AtomicU64,
    passing: AtomicU64,
    latest_us: AtomicU64,
    by_class: [AtomicU64; CLASSES_MS.len()],
    took_us: AtomicU64,
}

impl Observer for Seen {
    fn ran(&self, run: Ran) {
        let late = run.late.as_micros() as u64;
        let class = CLASSES_MS.iter().position(|end| late / 1000 < *end);
        self.by_class[class.unwrap_or(CLASSES_MS.len() - 1)].fetch_add(1, Ordering::Relaxed);
        self.latest_us.fetch_max(late, Ordering::Relaxed);
        self.runs.fetch_add(1, Ordering::Relaxed);
        if run.status == Status::Passing {
            self.passing.fetch_add(1, Ordering::Relaxed);
            self.took_us
                .fetch_add(run.took.as_micros() as u64, Ordering::Relaxed);
        }
    }
}

/// No alias is measured.
struct Nobody;

impl NodeReads for Nobody {
    fn node_health<'a>(&'a self, _node: &'a str, _after: u64, _wait: Duration) -> Reading<'a> {
        Box::pin(std::future::pending())
    }
}

async fn measure(options: &Options) -> anyhow::Result<()> {
    let server = Server::start()?;
    let seen = Arc::new(Seen::default());
    let (sender, mut results) = mpsc::channel(1024);
    let told = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&told);
    tokio::spawn(async move {
        while results.recv().await.is_some() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let config = Config {
        observer: Arc::clone(&seen) as _,
        ..Config::default()
    };
    let resident_before = resident_mib();
    let checks = Checks::start(config, Arc::new(Nobody), sender);
    for number in 0..options.checks {
        let silent = number % 100 < options.silent_percent;
        checks.set(&definition(number, silent, &server, options.interval));
    }
    println!(
        "{} checks every {:?}, {} % of them of a server that never answers; {:.1} MiB before, {:.1} MiB registered",
        checks.len(),
        options.interval,
        options.silent_percent,
        resident_before,
        resident_mib()
    );
    // The first interval fills caches and allocator, and is told apart.
    tokio::time::sleep(options.interval).await;
    let first = (cpu_seconds(), seen.runs.load(Ordering::Relaxed));
    let told_first = told.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    let elapsed = options.seconds as f64;
    let runs = seen.runs.load(Ordering::Relaxed) - first.1;
    println!(
        "{:.0} runs/s, {:.0} results/s, {:.1} % of a core, {:.1} MiB, {:.1} MiB at most",
        runs as f64 / elapsed,
        (told.load(Ordering::Relaxed) - told_first) as f64 / elapsed,
        (cpu_seconds() - first.0) / elapsed * 100.0,
        resident_mib(),
        status_mib("VmHWM:")
    );
    let passing = seen.passing.load(Ordering::Relaxed).max(1);
    println!(
        "since the start: {} runs, {} passing, {} us a passing run, the latest {:.1} ms late",
        seen.runs.load(Ordering::Relaxed),
        passing,
        seen.took_us.load(Ordering::Relaxed) / passing,
        seen.latest_us.load(Ordering::Relaxed) as f64 / 1000.0
    );
    for (class, end) in seen.by_class.iter().zip(CLASSES_MS) {
        let end = if end == u64::MAX {
            "more".to_owned()
        } else {
            format!("< {end} ms")
        };
        println!("  late {end:>9}: {}", class.load(Ordering::Relaxed));
    }
    drop(checks);
    server.stop()
}

fn definition(number: usize, silent: bool, server: &Server, interval: Duration) -> Definition {
    let id = format!("service:web-{number}");
    let port = if silent {
        server.silent
    } else {
        server.answering
    };
    let address = SocketAddr::from((
        [127, 0, 0, 1 + (number % usize::from(ADDRESSES)) as u8],
        port,
    ));
    let every = Every {
        interval,
        timeout: None,
    };
    let http = Http {
        url: format!("http://{address}/health?instance={number}"),
        ..Http::default()
    };
    Definition {
        name: id.clone(),
        id,
        notes: String::new(),
        service_id: format!("web-{number}"),
        kind: Kind::Http { every, http },
        initial_status: Status::Critical,
        thresholds: Thresholds::default(),
        deregister_critical_service_after: None,
        output_bytes_max: OUTPUT_BYTES_MAX,
        with_service: true,
    }
}

/// This program once more, as the server.
struct Server {
    process: Child,
    answering: u16,
    silent: u16,
}

impl Server {
    fn start() -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the server")?;
        let stdout = process.stdout.take().context("its output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let mut ports = line.split_whitespace().map(str::parse);
        let mut port = || ports.next().context("a port")?.context("a port");
        Ok(Server {
            answering: port()?,
            silent: port()?,
            process,
        })
    }

    fn stop(mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

async fn serve() -> anyhow::Result<()> {
    let answering = listen(0, Some(Arc::new(AtomicU64::new(0)))).await?;
    let silent = listen(0, None).await?;
    println!("{answering} {silent}");
    std::io::stdout().flush()?;
    // The agent's end ends it too: its standard input closes.
    let end = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    end.await??;
    Ok(())
}

/// Listens on one port of all addresses. `None`: never answers.
async fn listen(port: u16, counter: Option<Arc<AtomicU64>>) -> anyhow::Result<u16> {
    let mut port = port;
    for last in 1..=ADDRESSES {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from(([127, 0, 0, last], port)))?;
        let listener = socket.listen(1024)?;
        port = listener.local_addr()?.port();
        tokio::spawn(accept(listener, counter.clone()));
    }
    Ok(port)
}

async fn accept(listener: TcpListener, counter: Option<Arc<AtomicU64>>) {
    let mut silent = Vec::new();
    while let Ok((stream, _)) = listener.accept().await {
        match &counter {
            Some(counter) => drop(tokio::spawn(answer(stream, Arc::clone(counter)))),
            None => {
                silent.push(stream);
                // Clients wait ten seconds: the oldest are gone.
                if silent.len() > 20_000 {
                    silent.drain(..10_000);
                }
            }
        }
    }
}

async fn answer(mut stream: TcpStream, counter: Arc<AtomicU64>) -> std::io::Result<()> {
    let mut request = [0; 2048];
    let mut length = 0;
    while !request[..length].ends_with(b"\r\n\r\n") {
        match stream.read(&mut request[length..]).await? {
            0 => return Ok(()),
            read => length += read,
        }
    }
    let body = format!(
        "all is well, request {}",
        counter.fetch_add(1, Ordering::Relaxed)
    );
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await
}

/// Of this process, in user and system mode.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux must have it");
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<f64> = after_name
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    // The state, a letter, is left out above: utime is the eleventh number, stime the twelfth, in hundredths of a second.
    (fields[10] + fields[11]) / 100.0
}

fn resident_mib() -> f64 {
    status_mib("VmRSS:")
}

fn status_mib(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux must have it");
    let line = status.lines().find(|line| line.starts_with(name));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kib.expect("it must be a number") / 1024.0
}
