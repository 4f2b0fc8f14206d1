//! Lives that keep their bounds, and lives that do not.

use super::*;

const S: u64 = 1_000_000_000;

fn life() -> Life {
    Life {
        id: "s".into(),
        ttl_ns: 10 * S,
        lock_delay_ns: 2 * S,
        created: (S, S + 5),
        renewed: vec![(4 * S, 4 * S + 5)],
        ..Life::default()
    }
}

#[test]
fn an_end_between_one_and_two_ttls_is_fine() {
    let mut life = life();
    life.alive = vec![(13 * S, 13 * S + 5)];
    life.ended = vec![(14 * S + 1, 14 * S + 2)];
    assert_eq!(life.check(0), Vec::<String>::new());
}

#[test]
fn an_end_before_the_ttl_since_the_last_renewal_is_refused() {
    let mut life = life();
    life.ended = vec![(13 * S, 13 * S + 5)];
    assert_eq!(life.check(0).len(), 1);
    life.destroyed = vec![12 * S];
    assert_eq!(life.check(0), Vec::<String>::new());
}

#[test]
fn a_session_that_outlives_two_ttls_is_refused_unless_leaders_changed() {
    let mut life = life();
    life.alive = vec![(25 * S, 25 * S + 5)];
    assert_eq!(life.check(0).len(), 1);
    assert_eq!(life.check(6 * S), Vec::<String>::new());
}

#[test]
fn a_renewal_after_the_end_is_refused() {
    let mut life = life();
    life.destroyed = vec![2 * S];
    life.ended = vec![(3 * S, 3 * S + 5)];
    assert_eq!(life.check(0).len(), 1);
}

#[test]
fn a_takeover_in_the_lock_delay_is_refused() {
    let lives = [
        life(),
        Life {
            id: "t".into(),
            ..life()
        },
    ];
    let taken = |session, answered: u64| Taken {
        key: 0,
        session,
        asked: answered - 1,
        answered,
        released: false,
    };
    let first = taken(0, 5 * S);
    assert_eq!(
        check_lock_delays(&lives, &[first, taken(1, 16 * S)]),
        Vec::<String>::new()
    );
    assert_eq!(
        check_lock_delays(&lives, &[first, taken(1, 15 * S)]).len(),
        1
    );
    let given_back = Taken {
        released: true,
        ..first
    };
    assert_eq!(
        check_lock_delays(&lives, &[given_back, taken(1, 15 * S)]),
        Vec::<String>::new()
    );
}
