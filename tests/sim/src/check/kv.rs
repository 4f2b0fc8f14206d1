//! The model of a group of keys: put, cas, delete, reads of one key and of all, and transactions.
//!
//! Every write of the workload carries a value of its own, its *version*; so what a read saw names the write it came
//! from, and `cas` with an index becomes "if this version is there". Keys that no transaction or tree joins are
//! checked each for itself, since linearizability is local (Herlihy and Wing, 1990): one group is the keys under one
//! prefix. Locks are another model (`lock`).

use super::wgl::Model;

/// The write a value came from.
pub type Version = u64;

/// A key, by its position in the group.
pub type Slot = usize;

/// One operation of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TxnStep {
    /// `set`
    Set(Slot, Version),
    /// `cas` with the index of a version, or 0 for "must not exist".
    Cas(Slot, Option<Version>, Version),
    /// `get`: fails the transaction when the key is not there.
    Get(Slot),
    /// `delete`
    Delete(Slot),
    /// `check-index` with the index of a version.
    CheckIndex(Slot, Version),
    /// `check-not-exists`
    CheckNotExists(Slot),
}

/// A call with what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvOp {
    /// Always done.
    Put(Slot, Version),
    /// `expected` `None`: the key must not exist. `done` `None`: no answer was seen.
    Cas {
        /// The key.
        slot: Slot,
        /// What must be there.
        expected: Option<Version>,
        /// What is written.
        version: Version,
        /// The answer.
        done: Option<bool>,
    },
    /// Always done.
    Delete(Slot),
    /// `DELETE ?cas=`; true as well when the key is not there, as in Consul.
    DeleteCas {
        /// The key.
        slot: Slot,
        /// What must be there.
        expected: Version,
        /// The answer.
        done: Option<bool>,
    },
    /// `DELETE ?recurse` of the whole group.
    DeleteTree,
    /// A read of one key.
    Get(Slot, Option<Version>),
    /// A read of the whole group.
    List(Vec<Option<Version>>),
    /// `?keys` of the whole group: which are there.
    Names(Vec<bool>),
    /// A transaction. `seen` `None`: no answer; `Some(None)`: refused; else what its `get`s showed, in order.
    Txn(Vec<TxnStep>, Option<Option<Vec<Version>>>),
}

/// The model: how many keys the group has.
#[derive(Debug, Clone, Copy)]
pub struct Keys(pub usize);

impl Model for Keys {
    type State = Vec<Option<Version>>;
    type Op = KvOp;

    fn initial(&self) -> Self::State {
        vec![None; self.0]
    }

    fn step(&self, state: &Self::State, op: &KvOp) -> Vec<Self::State> {
        apply(state, op).into_iter().collect()
    }
}

/// The state after the call, if what was seen is possible. The state decides the outcome, hence at most one.
fn apply(state: &[Option<Version>], op: &KvOp) -> Option<Vec<Option<Version>>> {
    let mut next = state.to_vec();
    let (real, seen) = match op {
        KvOp::Put(slot, version) => {
            next[*slot] = Some(*version);
            (true, None)
        }
        KvOp::Cas {
            slot,
            expected,
            version,
            done,
        } => {
            let fits = state[*slot] == *expected;
            if fits {
                next[*slot] = Some(*version);
            }
            (fits, *done)
        }
        KvOp::Delete(slot) => {
            next[*slot] = None;
            (true, None)
        }
        KvOp::DeleteCas {
            slot,
            expected,
            done,
        } => {
            let fits = state[*slot].is_none_or(|there| there == *expected);
            if fits {
                next[*slot] = None;
            }
            (fits, *done)
        }
        KvOp::DeleteTree => {
            next.fill(None);
            (true, None)
        }
        KvOp::Get(slot, version) => (state[*slot] == *version, Some(true)),
        KvOp::List(versions) => (state == versions, Some(true)),
        KvOp::Names(there) => {
            let real = state.iter().map(Option::is_some);
            (real.eq(there.iter().copied()), Some(true))
        }
        KvOp::Txn(steps, seen) => return transact(state, steps, seen.as_ref()),
    };
    seen.is_none_or(|seen| seen == real).then_some(next)
}

fn transact(
    state: &[Option<Version>],
    steps: &[TxnStep],
    seen: Option<&Option<Vec<Version>>>,
) -> Option<Vec<Option<Version>>> {
    let mut next = state.to_vec();
    let mut shown = Vec::new();
    let mut committed = true;
    for step in steps {
        committed &= match step {
            TxnStep::Set(slot, version) => {
                next[*slot] = Some(*version);
                true
            }
            TxnStep::Cas(slot, expected, version) => {
                let fits = next[*slot] == *expected;
                next[*slot] = Some(*version);
                fits
            }
            TxnStep::Get(slot) => {
                shown.extend(next[*slot]);
                next[*slot].is_some()
            }
            TxnStep::Delete(slot) => {
                next[*slot] = None;
                true
            }
            TxnStep::CheckIndex(slot, version) => next[*slot] == Some(*version),
            TxnStep::CheckNotExists(slot) => next[*slot].is_none(),
        };
    }
    let real = committed.then_some(shown);
    if seen.is_some_and(|seen| *seen != real) {
        return None;
    }
    Some(if real.is_some() { next } else { state.to_vec() })
}
