//! From arguments to exit code: parses, calls the command, says what went wrong, once.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::args::{Cli, TopCommand};
use crate::{
    bench, catalog, completion, dashes, drain, hint, info, kv, lock, maint, monitor, operator,
    serve, services, session, snapshot, watch,
};

/// A command did not do what it was asked to.
const FAILURE: u8 = 1;

/// Runs the program. Exit code 0: it worked; 1: it did not; 2: the command line is wrong (clap's).
pub(crate) fn main(arguments: Vec<OsString>) -> ExitCode {
    let cli = Cli::parse_from(dashes::normalise(&Cli::command(), arguments));
    let outcome = match cli.command {
        TopCommand::Server(args) => serve::server(*args),
        TopCommand::Agent(args) => serve::agent(*args),
        TopCommand::Dev(args) => serve::dev(*args),
        TopCommand::Catalog(args) => catalog::run(*args),
        TopCommand::Services(args) => services::run(*args),
        TopCommand::Watch(args) => return watch::run(*args).unwrap_or_else(|error| report(&error)),
        TopCommand::Maint(args) => maint::run(*args),
        TopCommand::Drain(args) => return drain::run(*args).unwrap_or_else(|error| report(&error)),
        TopCommand::Info(args) => info::run(*args),
        TopCommand::Monitor(args) => monitor::run(*args),
        TopCommand::Kv(args) => kv::run(*args),
        TopCommand::Lock(args) => return lock::run(*args).unwrap_or_else(|error| report(&error)),
        TopCommand::Session(args) => session::run(*args),
        TopCommand::Snapshot(args) => snapshot::run(*args),
        TopCommand::Operator(args) => operator::run(*args),
        TopCommand::Bench(args) => bench::run(*args),
        TopCommand::Completion(args) => completion::run(&args, &mut Cli::command()),
        TopCommand::Version => version(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

/// A line with the whole chain of causes, and one with what to do where we know it. A reader that went away (`| head`) needs none.
fn report(error: &anyhow::Error) -> ExitCode {
    let went_away = |cause: &(dyn std::error::Error + 'static)| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    };
    if !error.chain().any(went_away) {
        let text = format!("{error:#}");
        // Some of Consul's sentences begin with the word already.
        let prefix = if text.starts_with("Error") {
            ""
        } else {
            "Error! "
        };
        // Where standard error is closed there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "{prefix}{text}");
        if let Some(hint) = hint::of(error) {
            let _ = writeln!(std::io::stderr(), "{hint}");
        }
    }
    ExitCode::from(FAILURE)
}

fn version() -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "Rollcall v{}", env!("CARGO_PKG_VERSION"))?;
    Ok(())
}
