//! From a log entry to the state: decode, apply, answer.

use bytes::Bytes;
use rollcall_state::{Changes, Context, Proposal, Reply, State};

use super::types::{Applied, LogId};

/// Applies one proposal. `clock` replaces the leader's stamp by this server's own, as one promise broken on purpose.
///
/// # Errors
/// In words, when this version does not know the command. The server stops: skipping it would part it from the others.
pub(super) fn proposal(
    state: &mut State,
    at: &LogId,
    data: &Bytes,
    changes: &mut Changes,
    clock: Option<u64>,
) -> Result<Applied, String> {
    let proposal = Proposal::decode(data).map_err(|error| error.to_string())?;
    let context = Context {
        log_index: at.index,
        term: at.leader_id.term,
        leader: at.leader_id.node_id.0.as_u128(),
        at: clock.map_or(proposal.at, rollcall_state::Stamp),
    };
    let reply = state.apply_into(context, &proposal.command, changes);
    Ok(Applied {
        index: state.index(),
        reply,
    })
}

/// Passes an entry that holds no command.
pub(super) fn nothing(state: &mut State, at: &LogId) -> Applied {
    state.advance(at.index);
    Applied {
        index: state.index(),
        reply: Reply::None,
    }
}
