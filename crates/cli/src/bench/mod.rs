//! `rollcall bench`: measures servers that speak Consul's API, Rollcall's or Consul's own, with the same load.
//!
//! It must be cheap, since it often shares its cores with what it measures: one thread, a hand-written HTTP/1.1 client. driver,
//! histogram, report and workload know no protocol; the etcd client in tests/bench includes them, so that the comparison uses one ruler.

mod catalog;
mod consul;
mod driver;
mod histogram;
mod parked;
mod report;
mod workload;

use std::io::{IsTerminal as _, Write as _};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use consul::ConsulStore;
use driver::{Outcome, Progress};
use workload::WorkloadArgs;

/// Measure servers
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Measure the key/value store of Rollcall or Consul servers
    Kv(KvArgs),
    /// Measure the catalog: registrations, health queries, parked queries
    Catalog(catalog::CatalogArgs),
}

#[derive(Debug, Args)]
struct KvArgs {
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
    #[command(flatten)]
    workload: WorkloadArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For scripts; with every second of the run
    Json,
}

/// Runs the command on a runtime of its own: one thread, whatever runtime the caller has.
pub(crate) fn run(args: BenchArgs) -> anyhow::Result<()> {
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting the runtime")?;
        match args.command {
            BenchCommand::Kv(args) => runtime.block_on(run_kv(args)),
            BenchCommand::Catalog(args) => runtime.block_on(run_catalog(&args)),
        }
    });
    thread.join().expect("the load thread must not panic")
}

async fn run_kv(args: KvArgs) -> anyhow::Result<()> {
    let store = ConsulStore::resolve(&args.target, &args.token).await?;
    let bar = progress_bar(&args.workload);
    let outcome = driver::run(store, &args.workload, |progress| {
        show(&bar, &args.workload, progress)
    })
    .await?;
    bar.finish_and_clear();
    print(&args, &outcome)?;
    let errors: u64 = outcome.errors.values().sum();
    anyhow::ensure!(
        outcome.latencies.count() > 0 || errors == 0,
        "no request succeeded, {errors} failed"
    );
    Ok(())
}

async fn run_catalog(args: &catalog::CatalogArgs) -> anyhow::Result<()> {
    let bar = match std::io::stderr().is_terminal() {
        true => ProgressBar::new_spinner(),
        false => ProgressBar::hidden(),
    };
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    let report = catalog::run(args, |what| bar.set_message(what.to_owned())).await?;
    bar.finish_and_clear();
    std::io::stdout()
        .write_all(report.as_bytes())
        .context("writing the report")
}

fn print(args: &KvArgs, outcome: &Outcome) -> anyhow::Result<()> {
    let text = match args.format {
        Format::Text => report::as_text(&args.workload, outcome),
        Format::Json => format!("{:#}\n", report::as_json(&args.workload, outcome)),
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("writing the report")
}

/// A bar on standard error when that is a terminal, else nothing.
fn progress_bar(args: &WorkloadArgs) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{elapsed:>4} {wide_bar} {pos}/{len} {msg}");
    let bar = ProgressBar::new(args.keys_to_load());
    bar.set_style(style.expect("the template must be valid"));
    bar
}

fn show(bar: &ProgressBar, args: &WorkloadArgs, progress: Progress<'_>) {
    match progress {
        Progress::Loading(done, total) => {
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message("keys loaded");
        }
        Progress::Measured(second) => {
            bar.set_length(args.seconds);
            bar.set_position(second.end.round() as u64);
            bar.set_message(format!(
                "s  {}/s  p50 {}  p99 {}  errors {}",
                second.operations,
                report::shown(second.p50),
                report::shown(second.p99),
                second.errors
            ));
        }
    }
}
