//! The servers of a cluster to one another: who they are, how a cluster is formed and joined.
pub mod bootstrap;
pub mod messages;
