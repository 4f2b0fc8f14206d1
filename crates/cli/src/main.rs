//! The one binary: servers, and the user's commands. Everything is wired in `run`.

mod args;
mod bench;
mod dashes;
mod log;
mod run;
mod serve;
mod settings;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    run::main(std::env::args_os().collect())
}
