//! The edge over real sockets and a real state; only Raft is missing.

mod blocking;
mod door;
mod limits;
mod replay;
mod snapshots;
mod wire;
mod wire_rules;
