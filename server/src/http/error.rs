//! What went wrong at the door, in the edge's words: the one place where its errors become statuses.

use rollcall_edge::Error;
use rollcall_state::reply::Refusal;

use crate::door::{OperatorError, ProposeError, ReadError};

/// A command that was refused: 500, with Consul's opening words.
pub(super) fn refused(doing: &'static str, why: &Refusal) -> Error {
    Error::internal(format!("{doing}: {why}"))
}

/// A server that stops says 500 as well: Consul's Go client tries again on nothing else.
impl From<ProposeError> for Error {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::Busy(_) => Error::Unavailable(error.to_string()),
            ProposeError::NoLeader
            | ProposeError::Unknown(_)
            | ProposeError::Stopping(_)
            | ProposeError::Refused(_) => Error::internal(error.to_string()),
        }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Busy(limit) => Error::TooMany {
                what: "reads wait",
                limit,
            },
            ReadError::NoLeader | ReadError::Stopping(_) => Error::internal(error.to_string()),
        }
    }
}

impl From<OperatorError> for Error {
    fn from(error: OperatorError) -> Self {
        Error::internal(error.to_string())
    }
}
