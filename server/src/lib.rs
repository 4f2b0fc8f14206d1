//! The server: Raft over redb, the leader's duties, and the HTTP edge.
//!
//! `door` is the one way to the state: `propose`, `read`, `watch`. Edges (`http`, later dns) know the door, never
//! Raft; `raft` is the only module that knows openraft; only `rollcall_rt` knows clock, sockets
//! and files, so that the simulation (feature `sim`) can put its own in their place.

pub mod agent_process;
pub mod archive;
pub mod audit;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod consensus;
pub mod dns;
pub mod door;
pub mod http;
pub mod identity;
pub mod leader;
mod listeners;
pub mod metrics;
pub mod node_agent;
pub mod node_rows;
pub mod prepared_query;
pub mod raft;
pub mod rounds;
pub mod rpc;
pub mod run;
pub mod sabotage;
pub mod session_keeper;
pub mod session_timers;
pub mod watch;

pub use rollcall_rt as rt;
pub use rollcall_rt::disk;
pub use run::{RunError, Running, StartOptions, run, start};
