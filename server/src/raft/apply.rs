//! From a log entry to the state: decode, apply, answer.

use bytes::Bytes;
use rollcall_state::{Changes, Reply, State};

use super::types::{Applied, LogId};

/// Applies one proposal.
///
/// # Errors
/// In words, when this version does not know the command. The server stops: skipping it would part it from the others.
pub(super) fn proposal(
    _state: &mut State,
    at: &LogId,
    _data: &Bytes,
    _changes: &mut Changes,
) -> Result<Applied, String> {
    Ok(Applied {
        index: at.index,
        reply: Reply::None,
    })
}

/// Passes an entry that holds no command.
pub(super) fn nothing(_state: &mut State, at: &LogId) -> Applied {
    Applied {
        index: at.index,
        reply: Reply::None,
    }
}

/// Stand-in until the state's own chunks are there.
pub(super) fn chunks(_state: &State, _target_bytes: usize) -> impl Iterator<Item = Bytes> {
    std::iter::empty()
}

/// Stand-in until the state's own loader is there.
pub(super) struct Loader;

impl Loader {
    pub(super) fn new() -> Self {
        Self
    }

    pub(super) fn push(&mut self, _chunk: &[u8]) -> Result<&mut Self, String> {
        Ok(self)
    }

    pub(super) fn finish(self) -> Result<State, String> {
        Ok(State::default())
    }
}
