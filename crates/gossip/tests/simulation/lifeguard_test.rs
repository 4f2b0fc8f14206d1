//! The small form of Lifeguard's experiments; the whole grid is `cargo run --release -p rollcall-gossip --example lifeguard`.

use std::time::Duration;

use rollcall_gossip::Lifeguard;

use super::lifeguard::{Cell, Outcome, one_long_pause, percentile, repeated_pauses};

fn false_positives(parts: Lifeguard) -> Outcome {
    let cell = Cell {
        concurrent: 16,
        pause: Duration::from_millis(16_384),
        between: Duration::from_millis(64),
    };
    repeated_pauses(parts, cell, 1)
}

#[test]
fn with_lifeguard_slow_members_slander_healthy_ones_fifty_times_less() {
    let without = false_positives(Lifeguard::OFF).false_positives_at_healthy;
    let with = false_positives(Lifeguard::ON).false_positives_at_healthy;
    println!("false positives at healthy members: {without} without, {with} with Lifeguard");
    assert!(
        without > 500,
        "the experiment must show something: {without}"
    );
    assert!(with * 50 <= without, "{with} with, {without} without");
}

#[test]
fn with_lifeguard_the_dead_are_noticed_hardly_later() {
    let first = |parts| {
        let mut outcome = one_long_pause(parts, 4, 1);
        assert_eq!(outcome.first_detection.len(), 4, "all were noticed");
        percentile(&mut outcome.first_detection, 0.5).unwrap()
    };
    let (without, with) = (first(Lifeguard::OFF), first(Lifeguard::ON));
    println!("first detection: {without:?} without, {with:?} with Lifeguard");
    assert!(with.as_secs_f64() <= without.as_secs_f64() * 1.2);
}
