//! The harness: starts the real binary, alone or as three servers, and asks it over real sockets.
//!
//! Suites stand beside this folder, named by what they drive: `api_*` (HTTP), `client_*` (other people's clients),
//! `process_*` (kill -9, system calls). Here is what they share: [`Server`] and [`Cluster`] start, kill, stop and
//! restart processes; [`http`] speaks HTTP byte by byte, since header names and broken requests are what is
//! tested; [`wait_for`] waits for a condition and says what it saw last.
//!
//! Blocking code and threads, not tokio: a suite drives a handful of sockets, and a stack trace that names the
//! line is worth more than speed. It must not link the server: what is tested is what users start.
//!
//! Every cluster has its own addresses in 127.0.0.0/8, so suites run side by side, and a server that is killed can
//! have its ports back at once.

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test says what it saw"
)]

pub mod client;
pub mod cluster;
pub mod consul;
pub mod http;
pub mod level;
pub mod lock;
pub mod program;
pub mod recording;
pub mod server;
pub mod strace;
pub mod wait;

pub use cluster::Cluster;
pub use http::{Connection, Request, Response};
pub use server::{Exit, Server, Settings};
pub use wait::wait_for;
