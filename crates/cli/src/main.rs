//! The one binary: servers, and the user's commands. Everything is wired in `run`.

mod args;
mod bench;
mod catalog;
mod child;
mod completion;
mod connect;
mod dashes;
mod drain;
mod hint;
mod info;
mod kv;
mod lock;
mod log;
mod maint;
mod monitor;
mod operator;
mod output;
mod pair;
mod run;
mod serve;
mod services;
mod session;
mod settings;
mod snapshot;
mod time;
mod watch;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    run::main(std::env::args_os().collect())
}
