//! What every request to the leader has in common: while surely nothing was done it is tried again, for a while.

use std::future::Future;
use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::Consensus;
use crate::cluster::messages::{self, Method};
use crate::door::{OperatorError, ProposeError, ReadError};
use crate::raft::ServerId;
use crate::rpc::CallError;
use crate::rt::{self, Instant};

/// How long a request that surely changed nothing waits for a leader (Consul's `rpc_hold_timeout`).
pub const HOLD: Duration = Duration::from_secs(7);
/// Pause before asking again whether there is a leader, where no event tells it.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(25);

/// One attempt at the leader: its result, or surely nothing was done and it may be tried again.
pub(super) type Attempt<T, E> = ControlFlow<Result<T, E>>;

/// Why no attempt came to a result.
pub(super) enum GaveUp {
    /// No leader within [`HOLD`].
    NoLeader,
    /// The storage of this server failed, and why.
    Stopping(String),
}

/// What came of asking another server.
pub(super) enum Asked<R> {
    Answered(R),
    /// Surely nothing was done.
    NotDone,
    /// It may have been done.
    Unknown(String),
}

impl Consensus {
    /// Attempts until there is a result, [`HOLD`] has passed, or this server cannot go on.
    pub(super) async fn hold<T, E, F, Fut>(&self, mut attempt: F) -> Result<T, E>
    where
        F: FnMut(ServerId) -> Fut,
        Fut: Future<Output = Attempt<T, E>>,
        E: From<GaveUp>,
    {
        let deadline = Instant::now() + HOLD;
        loop {
            if let Some(leader) = self.leader()
                && let ControlFlow::Break(result) = attempt(leader).await
            {
                return result;
            }
            if let Some(reason) = self.raft.fatal.reason() {
                return Err(GaveUp::Stopping(reason).into());
            }
            if Instant::now() >= deadline {
                return Err(GaveUp::NoLeader.into());
            }
            rt::sleep(RETRY_PAUSE).await;
        }
    }

    /// Asks another server, once.
    pub(super) async fn ask<R: DeserializeOwned>(
        &self,
        server: ServerId,
        method: Method,
        body: Bytes,
        timeout: Duration,
    ) -> Asked<R> {
        let called = self.rpc.call(server, method as u16, body, timeout).await;
        let body = match called {
            Ok(body) => body,
            Err(CallError::NotSent(_) | CallError::Refused(_)) => return Asked::NotDone,
            Err(error @ CallError::Unknown(_)) => return Asked::Unknown(error.to_string()),
        };
        match messages::decode(&body) {
            Ok(reply) => Asked::Answered(reply),
            Err(error) => Asked::Unknown(error),
        }
    }
}

impl From<GaveUp> for ProposeError {
    fn from(gave_up: GaveUp) -> Self {
        match gave_up {
            GaveUp::NoLeader => ProposeError::NoLeader,
            GaveUp::Stopping(reason) => ProposeError::Stopping(reason),
        }
    }
}

impl From<GaveUp> for ReadError {
    fn from(gave_up: GaveUp) -> Self {
        match gave_up {
            GaveUp::NoLeader => ReadError::NoLeader,
            GaveUp::Stopping(reason) => ReadError::Stopping(reason),
        }
    }
}

impl From<GaveUp> for OperatorError {
    fn from(gave_up: GaveUp) -> Self {
        match gave_up {
            GaveUp::NoLeader => OperatorError::NoLeader,
            GaveUp::Stopping(reason) => {
                OperatorError::Refused(format!("server is stopping: {reason}"))
            }
        }
    }
}
