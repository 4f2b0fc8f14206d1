//! What can go wrong with a request, and whether it may have taken effect.

use std::time::Duration;

use hyper::StatusCode;

use crate::address::Address;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection: surely not sent, safe to try again.
    #[error("cannot connect to {address}")]
    Connect {
        /// The server.
        address: Address,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection broke, or the answer stopped half-way: a write may have taken effect.
    #[error("the connection to {address} broke{}", if *reading { " while the answer was read" } else { "" })]
    Broken {
        /// The server.
        address: Address,
        /// Whether the answer had begun.
        reading: bool,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time: a write may have taken effect.
    #[error("no answer from {address} within {after:?}")]
    Timeout {
        /// The server.
        address: Address,
        /// The time.
        after: Duration,
    },
    /// The server said no. 5xx of a write: it may have taken effect unless the text says otherwise.
    #[error("Unexpected response code: {} ({text})", status.as_u16())]
    Status {
        /// The status.
        status: StatusCode,
        /// Its words.
        text: String,
    },
    /// The server answered with something else than expected.
    #[error("the answer to {path} is not understood: {detail}")]
    Answer {
        /// The path asked for.
        path: String,
        /// What is wrong.
        detail: String,
    },
    /// The answer is larger than this client takes into memory.
    #[error("the answer to {path} is larger than {max} bytes")]
    TooLarge {
        /// The path asked for.
        path: String,
        /// The bound.
        max: u64,
    },
    /// What was to be sent cannot be a request; nothing was sent.
    #[error("not a request: {0}")]
    Request(String),
}

impl Error {
    /// Whether the request surely had no effect, so that a write may be sent again.
    pub fn surely_not_sent(&self) -> bool {
        match self {
            Error::Connect { .. } | Error::Request(_) => true,
            // 429 and 503 are given before anything is done.
            Error::Status { status, .. } => matches!(status.as_u16(), 429 | 503),
            Error::Broken { .. }
            | Error::Timeout { .. }
            | Error::Answer { .. }
            | Error::TooLarge { .. } => false,
        }
    }

    /// Whether the same read may succeed later without anybody doing anything.
    pub fn is_passing(&self) -> bool {
        match self {
            Error::Connect { .. } | Error::Broken { .. } | Error::Timeout { .. } => true,
            Error::Status { status, .. } => status.is_server_error() || status.as_u16() == 429,
            Error::Answer { .. } | Error::TooLarge { .. } | Error::Request(_) => false,
        }
    }

    /// The status, when the server said no.
    pub fn status(&self) -> Option<u16> {
        match self {
            Error::Status { status, .. } => Some(status.as_u16()),
            _ => None,
        }
    }
}
