//! The model of one lock key: acquire, release, reads, and the ends of the sessions that use it.
//!
//! A session ends by `destroy` (a call like any other) or by its TTL, at a time nobody outside is told: that is a call
//! of unknown outcome, which may happen at any time after the session was created, or never. So "two holders" shows
//! as a history without a linearization. When in time things may happen is checked by `ttl`.

use super::kv::Version;
use super::wgl::Model;

/// A session of this history, by number (below [`SESSIONS_MAX`]).
pub type SessionNumber = u32;

/// Ended sessions are bits of one word.
pub const SESSIONS_MAX: u32 = 64;

/// What an `acquire` answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acquired {
    /// `true`
    Yes,
    /// `false`: held by another session, or in its lock-delay.
    No,
    /// Refused: there is no such session (any more).
    InvalidSession,
}

/// A call with what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockOp {
    /// `PUT ?acquire=`
    Acquire {
        /// By whom.
        session: SessionNumber,
        /// The value written.
        version: Version,
        /// The answer, if one was seen.
        seen: Option<Acquired>,
    },
    /// `PUT ?release=`
    Release {
        /// By whom.
        session: SessionNumber,
        /// The value written.
        version: Version,
        /// The answer, if one was seen.
        seen: Option<bool>,
    },
    /// A linearizable read.
    Get(Option<Seen>),
    /// The session ended.
    End {
        /// Which.
        session: SessionNumber,
        /// With behaviour `delete` the key goes with it.
        deletes: bool,
        /// Whether it leaves a lock-delay.
        delays: bool,
    },
}

/// What a read showed of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The value.
    pub version: Version,
    /// `Session`
    pub holder: Option<SessionNumber>,
    /// `LockIndex`
    pub lock_index: u64,
}

/// The key, and what is known of the sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct LockState {
    key: Option<(Version, Option<SessionNumber>, u64)>,
    ended: u64,
    /// A session that held the key ended and left a lock-delay; whether it is over the model cannot tell.
    delayed: bool,
}

/// The model.
#[derive(Debug, Clone, Copy)]
pub struct Lock;

impl Model for Lock {
    type State = LockState;
    type Op = LockOp;

    fn initial(&self) -> LockState {
        LockState::default()
    }

    fn step(&self, state: &LockState, op: &LockOp) -> Vec<LockState> {
        match op {
            LockOp::Acquire {
                session,
                version,
                seen,
            } => acquire(state, *session, *version)
                .into_iter()
                .filter(|(answer, _)| seen.is_none_or(|seen| seen == *answer))
                .map(|(_, next)| next)
                .collect(),
            LockOp::Release {
                session,
                version,
                seen,
            } => {
                let (answer, next) = release(state, *session, *version);
                let fits = seen.is_none_or(|seen| seen == answer);
                fits.then_some(next).into_iter().collect()
            }
            LockOp::Get(seen) => {
                let real = state.key.map(|(version, holder, lock_index)| Seen {
                    version,
                    holder,
                    lock_index,
                });
                (real == *seen).then(|| state.clone()).into_iter().collect()
            }
            LockOp::End {
                session,
                deletes,
                delays,
            } => vec![end(state, *session, *deletes, *delays)],
        }
    }
}

/// Every answer that is possible, with the state after it.
fn acquire(
    state: &LockState,
    session: SessionNumber,
    version: Version,
) -> Vec<(Acquired, LockState)> {
    let refused = (Acquired::No, state.clone());
    if state.ended & (1 << session) != 0 {
        // The lock-delay is looked at before the session, as in Consul.
        let mut possible = vec![(Acquired::InvalidSession, state.clone())];
        possible.extend(state.delayed.then_some(refused));
        return possible;
    }
    let (holder, lock_index) = match state.key {
        Some((_, holder, lock_index)) => (holder, lock_index),
        None => (None, 0),
    };
    let mut taken = state.clone();
    match holder {
        Some(other) if other != session => return vec![refused],
        // Again by its holder: the value is written, and it does not count as one more.
        Some(_) => taken.key = Some((version, Some(session), lock_index)),
        None => {
            taken.key = Some((version, Some(session), lock_index + 1));
            taken.delayed = false;
            if state.delayed {
                return vec![(Acquired::Yes, taken), refused];
            }
        }
    }
    vec![(Acquired::Yes, taken)]
}

fn release(state: &LockState, session: SessionNumber, version: Version) -> (bool, LockState) {
    let mut next = state.clone();
    match state.key {
        Some((_, Some(holder), lock_index)) if holder == session => {
            next.key = Some((version, None, lock_index));
            (true, next)
        }
        _ => (false, next),
    }
}

fn end(state: &LockState, session: SessionNumber, deletes: bool, delays: bool) -> LockState {
    let mut next = state.clone();
    next.ended |= 1 << session;
    if let Some((version, Some(holder), lock_index)) = state.key
        && holder == session
    {
        next.key = (!deletes).then_some((version, None, lock_index));
        next.delayed |= delays;
    }
    next
}
