//! A node's own half: its services and checks, the runners of the checks, and what keeps the catalog like them.
//!
//! ```text
//! /v1/agent/*  ──▶ local (pure) ──▶ plan (pure) ──▶ sync ──▶ Registry: a server's door, or HTTP to servers
//! checks (runners) ──▶ local                     ◀── rows of this node, watched
//! local ──▶ store: files in the data directory
//! ```
//! Servers embed it, `rollcall agent` is it, and the registrar will be it with sources of its own. What the agent says of
//! its node is right by definition; the catalog follows within a second and is repaired after any loss. It touches only rows
//! that are its own (owner `agent:<node id>`) or nobody's in particular (`api`) under an id it also has.

pub mod agent;
pub mod api;
pub mod checks;
pub mod definition;
pub mod forward;
pub mod http_registry;
pub mod identity;
pub mod local;
pub mod metrics;
pub mod monitor;
pub mod plan;
pub mod registration;
pub mod registry;
pub mod rows;
pub mod servers;
pub mod store;
pub mod surroundings;
mod sync;
