//! Wire vocabulary: Consul-shaped JSON, Go's durations, query strings.
//!
//! What both ends of the HTTP API must agree on, and nothing else: no sockets, no state. The words of errors are those
//! Consul's clients match, hence those of Go's standard library.

pub mod agent;
pub mod agent_check;
pub mod agent_service;
pub mod catalog;
pub mod decode;
pub mod duration;
pub mod go_json;
pub mod json;
pub mod kv;
pub mod operator;
pub mod prepared_query;
pub mod query;
pub mod session;
mod sorted_map;

pub use duration::GoDuration;
pub use kv::KvPair;
pub use session::Session;
pub use sorted_map::SortedMap;
