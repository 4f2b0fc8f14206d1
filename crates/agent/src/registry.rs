//! The catalog as anti-entropy needs it: this node's rows, as they change, and batches of changes.

use std::future::Future;
use std::pin::Pin;

use crate::rows::{Change, Rows};

/// A boxed future, so that `dyn Registry` is possible.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How far rows have been seen: opaque numbers of whoever gave them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Of the node and its services.
    pub services: u64,
    /// Of its checks.
    pub checks: u64,
}

/// Why rows could not be read. Always safe to retry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ReadError(pub String);

/// Why a batch was not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Nothing of the batch was written, because of one change; without it the rest may be.
    #[error("{words}")]
    Refused {
        /// Its place in the batch.
        at: usize,
        /// Why.
        words: String,
    },
    /// Some of it may have been written. Safe to retry: each change says the whole row, and this agent is its only writer.
    #[error("{0}")]
    Failed(String),
}

/// Most changes of one batch: what a transaction may have.
pub const BATCH_MAX: usize = 128;

/// Reads and writes the catalog on behalf of one node's agent.
pub trait Registry: Send + Sync + 'static {
    /// The node's rows. With `seen`, once they have changed since, or after a while.
    fn rows(&self, seen: Option<Seen>) -> Boxed<'_, Result<(Rows, Seen), ReadError>>;
    /// Writes at most [`BATCH_MAX`] changes, in their order.
    fn write<'a>(&'a self, changes: &'a [Change]) -> Boxed<'a, Result<(), WriteError>>;
}
