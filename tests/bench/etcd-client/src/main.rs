//! Measures etcd servers with the load, the driver and the ruler of `rollcall bench kv`; only the protocol differs.
//!
//! The shared modules are included by path: they belong to the command, and a crate of their own would exist for this program only.

#[path = "../../../../crates/cli/src/bench/driver.rs"]
mod driver;
mod etcd;
#[path = "../../../../crates/cli/src/bench/histogram.rs"]
mod histogram;
mod protobuf;
#[path = "../../../../crates/cli/src/bench/report.rs"]
mod report;
#[path = "../../../../crates/cli/src/bench/workload.rs"]
mod workload;

use std::io::{IsTerminal as _, Write as _};

use anyhow::Context as _;
use clap::Parser;

use driver::Progress;
use etcd::EtcdStore;
use workload::WorkloadArgs;

/// Measure etcd servers
#[derive(Debug, Parser)]
struct Args {
    /// HOST:PORT of the servers; connections are spread over them
    #[arg(long, value_delimiter = ',', required = true)]
    target: Vec<String>,
    /// Clients that share one HTTP/2 connection
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=100))]
    clients_per_connection: u64,
    /// Print JSON, with every second of the run
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    workload: WorkloadArgs,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let store = EtcdStore::new(args.target.clone(), args.clients_per_connection);
    let outcome = driver::run(store, &args.workload, show).await?;
    let text = match args.json {
        true => format!("{:#}\n", report::as_json(&args.workload, &outcome)),
        false => report::as_text(&args.workload, &outcome),
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("writing the report")?;
    anyhow::ensure!(
        outcome.latencies.count() > 0 || outcome.errors.is_empty(),
        "no request succeeded"
    );
    Ok(())
}

/// A line a second on standard error when that is a terminal.
fn show(progress: Progress<'_>) {
    let mut terminal = std::io::stderr();
    if !terminal.is_terminal() {
        return;
    }
    let line = match progress {
        Progress::Loading(done, total) => format!("{done}/{total} keys loaded"),
        Progress::Measured(second) => {
            format!("{}/s, p99 {}", second.operations, report::shown(second.p99))
        }
    };
    // A terminal that went away is no reason to stop measuring.
    let _ = writeln!(terminal, "{line}");
}
