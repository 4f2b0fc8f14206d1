//! The command line. Each command's arguments stand with the command; here is what there is.

use clap::{Parser, Subcommand};

use crate::bench::BenchArgs;
use crate::serve::{DevArgs, ServerArgs};

/// A service registry for Kubernetes that speaks Consul's HTTP API.
#[derive(Debug, Parser)]
#[command(name = "rollcall", version, after_help = EXIT_CODES, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: TopCommand,
}

const EXIT_CODES: &str =
    "Exit codes: 0 it worked, 1 it did not (kv get: no such key), 2 the command line is wrong.
Flags may be written with one dash, as Consul's.";

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum TopCommand {
    /// Run a server
    Server(Box<ServerArgs>),
    /// Run one server for trying out; without --data-dir nothing is kept
    Dev(Box<DevArgs>),
    /// Measure servers
    Bench(Box<BenchArgs>),
    /// Show the version
    Version,
}
