//! Histories with a known verdict, and histories made from a real order, spoilt or not.

use proptest::prelude::*;

use super::*;
use crate::check::kv::{Keys, KvOp, TxnStep, Version};
use crate::check::lock::{Acquired, Lock, LockOp, Seen};

fn call<Op>(invoked: u64, returned: u64, op: Op) -> Call<Op> {
    Call {
        invoked,
        returned: Some(returned),
        op,
    }
}

fn unknown<Op>(invoked: u64, op: Op) -> Call<Op> {
    Call {
        invoked,
        returned: None,
        op,
    }
}

fn good<M: Model>(model: M, calls: &[Call<M::Op>]) {
    assert_eq!(check(&model, calls), Verdict::Linearizable);
}

fn bad<M: Model>(model: M, calls: &[Call<M::Op>]) {
    let verdict = check(&model, calls);
    assert!(
        matches!(verdict, Verdict::Violation(_)),
        "must be refused: {verdict:?}"
    );
}

#[test]
fn a_read_sees_the_last_write() {
    good(
        Keys(1),
        &[
            call(1, 2, KvOp::Put(0, 7)),
            call(3, 4, KvOp::Get(0, Some(7))),
        ],
    );
}

#[test]
fn a_read_that_misses_an_acknowledged_write_is_refused() {
    bad(
        Keys(1),
        &[call(1, 2, KvOp::Put(0, 7)), call(3, 4, KvOp::Get(0, None))],
    );
}

#[test]
fn overlapping_calls_may_take_effect_in_either_order() {
    for seen in [Some(1), Some(2)] {
        good(
            Keys(1),
            &[
                call(1, 10, KvOp::Put(0, 1)),
                call(2, 9, KvOp::Put(0, 2)),
                call(11, 12, KvOp::Get(0, seen)),
            ],
        );
    }
}

#[test]
fn two_reads_may_not_see_two_overlapping_writes_in_turns() {
    bad(
        Keys(1),
        &[
            call(1, 20, KvOp::Put(0, 1)),
            call(2, 21, KvOp::Put(0, 2)),
            call(3, 4, KvOp::Get(0, Some(1))),
            call(5, 6, KvOp::Get(0, Some(2))),
            call(7, 8, KvOp::Get(0, Some(1))),
        ],
    );
}

#[test]
fn a_write_of_unknown_outcome_may_happen_late_or_never() {
    for seen in [Some(5), Some(1)] {
        good(
            Keys(1),
            &[
                call(1, 2, KvOp::Put(0, 1)),
                unknown(3, KvOp::Put(0, 5)),
                call(4, 5, KvOp::Get(0, Some(1))),
                call(100, 101, KvOp::Get(0, seen)),
            ],
        );
    }
}

#[test]
fn a_write_of_unknown_outcome_happens_once_and_not_before_it_was_sent() {
    bad(
        Keys(1),
        &[
            unknown(3, KvOp::Put(0, 5)),
            call(4, 5, KvOp::Get(0, Some(5))),
            call(6, 7, KvOp::Put(0, 6)),
            call(8, 9, KvOp::Get(0, Some(5))),
        ],
    );
    bad(
        Keys(1),
        &[
            call(1, 2, KvOp::Get(0, Some(5))),
            unknown(3, KvOp::Put(0, 5)),
        ],
    );
}

#[test]
fn two_cas_on_one_version_cannot_both_win() {
    let cas = |version, done| KvOp::Cas {
        slot: 0,
        expected: Some(1),
        version,
        done: Some(done),
    };
    let put = call(1, 2, KvOp::Put(0, 1));
    good(
        Keys(1),
        &[
            put.clone(),
            call(3, 9, cas(2, true)),
            call(4, 8, cas(3, false)),
        ],
    );
    bad(
        Keys(1),
        &[put, call(3, 9, cas(2, true)), call(4, 8, cas(3, true))],
    );
}

#[test]
fn a_transaction_is_seen_whole() {
    let txn = KvOp::Txn(
        vec![TxnStep::Set(0, 1), TxnStep::Set(1, 2)],
        Some(Some(vec![])),
    );
    good(
        Keys(2),
        &[
            call(1, 5, txn.clone()),
            call(2, 3, KvOp::List(vec![None, None])),
            call(6, 7, KvOp::List(vec![Some(1), Some(2)])),
        ],
    );
    bad(
        Keys(2),
        &[call(1, 5, txn), call(2, 3, KvOp::List(vec![Some(1), None]))],
    );
}

#[test]
fn a_refused_transaction_changes_nothing() {
    let txn = |seen| {
        KvOp::Txn(
            vec![TxnStep::Set(0, 9), TxnStep::CheckNotExists(1)],
            Some(seen),
        )
    };
    let calls = |seen, after| {
        vec![
            call(1, 2, KvOp::Put(1, 4)),
            call(3, 4, txn(seen)),
            call(5, 6, KvOp::Get(0, after)),
        ]
    };
    good(Keys(2), &calls(None, None));
    bad(Keys(2), &calls(None, Some(9)));
    bad(Keys(2), &calls(Some(vec![]), Some(9)));
}

fn acquire(session: u32, version: Version, seen: Acquired) -> LockOp {
    LockOp::Acquire {
        session,
        version,
        seen: Some(seen),
    }
}

fn end(session: u32, delays: bool) -> LockOp {
    LockOp::End {
        session,
        deletes: false,
        delays,
    }
}

#[test]
fn two_holders_are_refused_and_a_takeover_after_the_end_is_not() {
    let first = call(1, 2, acquire(0, 1, Acquired::Yes));
    let second = call(3, 4, acquire(1, 2, Acquired::Yes));
    bad(Lock, &[first.clone(), second.clone()]);
    good(Lock, &[unknown(0, end(0, false)), first, second]);
}

#[test]
fn an_ended_session_cannot_come_back() {
    bad(
        Lock,
        &[
            call(1, 2, end(0, false)),
            call(3, 4, acquire(0, 1, Acquired::Yes)),
        ],
    );
    good(
        Lock,
        &[
            call(1, 2, end(0, false)),
            call(3, 4, acquire(0, 1, Acquired::InvalidSession)),
        ],
    );
}

#[test]
fn a_free_lock_is_refused_only_in_its_lock_delay() {
    let calls = |delays| {
        vec![
            call(1, 2, acquire(0, 1, Acquired::Yes)),
            call(3, 4, end(0, delays)),
            call(5, 6, acquire(1, 2, Acquired::No)),
            call(7, 8, acquire(1, 3, Acquired::Yes)),
        ]
    };
    good(Lock, &calls(true));
    bad(Lock, &calls(false));
}

#[test]
fn the_lock_index_counts_takeovers_not_repeats() {
    let seen = |lock_index| {
        LockOp::Get(Some(Seen {
            version: 2,
            holder: Some(0),
            lock_index,
        }))
    };
    let calls = |lock_index| {
        vec![
            call(1, 2, acquire(0, 1, Acquired::Yes)),
            call(3, 4, acquire(0, 2, Acquired::Yes)),
            call(5, 6, seen(lock_index)),
        ]
    };
    good(Lock, &calls(1));
    bad(Lock, &calls(2));
}

/// One call as proptest draws it: kind, key, how long before and after its effect it was under way, fate of its answer.
type Draw = (u8, usize, u64, u64, bool);

/// Calls that took effect in the order of the draws, with the answers they really got.
fn history(draws: &[Draw]) -> Vec<Call<KvOp>> {
    let keys = 2;
    let mut state: Vec<Option<Version>> = vec![None; keys];
    let mut calls = Vec::new();
    for (n, (kind, slot, before, after, lost)) in draws.iter().enumerate() {
        let version = n as Version + 1;
        let there = state[*slot];
        let op = match kind {
            0 => KvOp::Get(*slot, there),
            1 => KvOp::List(state.clone()),
            2 => KvOp::Put(*slot, version),
            3 => KvOp::Delete(*slot),
            4 => KvOp::Cas {
                slot: *slot,
                expected: there,
                version,
                done: Some(true),
            },
            5 => KvOp::Cas {
                slot: *slot,
                expected: Some(0),
                version,
                done: Some(false),
            },
            _ => KvOp::Txn(
                vec![TxnStep::Set(0, version), TxnStep::Set(1, version)],
                Some(Some(vec![])),
            ),
        };
        let effect = (n as u64 + 1) * 1000;
        state = Keys(keys).step(&state, &op).remove(0);
        let is_read = matches!(op, KvOp::Get(..) | KvOp::List(..));
        // The parity keeps starts and ends apart: one total order, no ties.
        calls.push(Call {
            invoked: effect.saturating_sub(*before) * 2 * 256 + n as u64,
            returned: (is_read || !lost).then_some((effect + after) * 2 * 256 + 256 + n as u64),
            op: if *lost { forget(op) } else { op },
        });
    }
    calls
}

/// The call without the answer nobody saw.
fn forget(op: KvOp) -> KvOp {
    match op {
        KvOp::Cas {
            slot,
            expected,
            version,
            ..
        } => KvOp::Cas {
            slot,
            expected,
            version,
            done: None,
        },
        KvOp::Txn(steps, _) => KvOp::Txn(steps, None),
        other => other,
    }
}

fn draws() -> impl Strategy<Value = Vec<Draw>> {
    prop::collection::vec(
        (
            0u8..7,
            0usize..2,
            1u64..4000,
            1u64..4000,
            prop::bool::weighted(0.15),
        ),
        1..60,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_came_from_a_real_order_is_accepted(draws in draws()) {
        let calls = history(&draws);
        prop_assert_eq!(check(&Keys(2), &calls), Verdict::Linearizable);
    }

    /// A last read, alone in time, of a value that was surely overwritten before it began.
    #[test]
    fn a_read_of_an_overwritten_value_is_refused(draws in draws(), slot in 0usize..2) {
        let mut calls = history(&draws);
        let end = 1_000_000_000;
        calls.push(call(end, end + 1, KvOp::Put(slot, 900)));
        calls.push(call(end + 2, end + 3, KvOp::Put(slot, 901)));
        calls.push(call(end + 4, end + 5, KvOp::Get(slot, Some(900))));
        prop_assert!(matches!(check(&Keys(2), &calls), Verdict::Violation(_)));
    }

    /// A read somewhere in the middle that saw what nobody wrote.
    #[test]
    fn an_invented_value_is_refused(draws in draws(), at in any::<prop::sample::Index>()) {
        let mut calls = history(&draws);
        let n = at.index(calls.len());
        calls[n].op = KvOp::Get(0, Some(999));
        if calls[n].returned.is_none() {
            calls[n].returned = Some(calls[n].invoked + 1);
        }
        prop_assert!(matches!(check(&Keys(2), &calls), Verdict::Violation(_)));
    }
}
