//! Pools of a few to thousands of members in simulated time: they come together, notice deaths, survive partitions, and do
//! what Serf does. Same seed, same run.
#![allow(clippy::unwrap_used, reason = "tests")]

mod failures;
mod joining;
#[allow(dead_code, reason = "the example beside it uses the rest")]
mod lifeguard;
mod lifeguard_test;
mod names;
mod serf_layer;
mod world;
