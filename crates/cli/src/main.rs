//! The one binary: servers, and the user's commands. Everything is wired in `run`.

mod args;
mod bench;
mod connect;
mod dashes;
mod kv;
mod lock;
mod log;
mod operator;
mod output;
mod run;
mod serve;
mod session;
mod settings;
mod snapshot;
mod time;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    run::main(std::env::args_os().collect())
}
