//! Between servers: one port, framed connections over any byte stream, so that TLS can wrap it.
//!
//! A connection opens with a hello (magic, kind, who to whom, which cluster) and its answer; frames follow. Three kinds:
//! calls (many requests in flight), append (a stream of log entries and its acknowledgements), snapshot (one snapshot).
//! This module knows frames and addresses; it must not know Raft's messages nor the application's, which are bodies to it.

mod book;
mod client;
mod connection;
mod frame;
mod hello;
mod serve;

use std::sync::Arc;

use bytes::Bytes;

use crate::door::Boxed;
use crate::raft::ServerId;

pub use book::AddressBook;
pub use client::{CallError, Client, Lane, Stream};
pub use frame::{Frame, FrameError, FrameKind, FrameReader, FrameWriter};
pub use hello::{Identity, Kind};
pub use serve::{Server, serve};

/// Methods below this belong to Raft; the application's start here.
pub const APPLICATION_METHODS_FROM: u16 = 0x100;

/// Answers requests of one kind of connection: calls.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. The error's words travel to the caller as [`CallError::Refused`].
    fn call(&self, from: ServerId, method: u16, body: Bytes) -> Boxed<'_, Result<Bytes, String>>;
}

/// Serves a stream connection until it ends.
pub trait StreamHandler: Send + Sync + 'static {
    /// Returns when the stream is over; the connection is closed then.
    fn stream(&self, from: ServerId, reader: FrameReader, writer: FrameWriter) -> Boxed<'_, ()>;
}

/// What a server answers with.
#[derive(Clone)]
pub struct Handlers {
    /// Calls.
    pub call: Arc<dyn Handler>,
    /// Log entries.
    pub append: Arc<dyn StreamHandler>,
    /// Snapshots.
    pub snapshot: Arc<dyn StreamHandler>,
}

#[cfg(test)]
mod tests;
