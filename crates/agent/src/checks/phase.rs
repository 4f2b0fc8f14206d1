//! When a check runs: on a grid of its interval, moved by a hash of its id.
//!
//! Pure: time is an argument. A grid instead of "so long after the last run": checks that were spread evenly stay so for ever, a check
//! that is registered again every few seconds still runs, and a slow run moves no later one. A hash instead of chance: the same check
//! comes at the same place after a restart, and a test can say where.

use std::time::Duration;

/// Time since the runners were started.
pub(super) type Time = Duration;

/// Where in its interval a check runs: between 0 and the interval.
pub(super) fn phase(id: &str, interval: Duration) -> Duration {
    // The hash's 64 bits as a fraction of the interval.
    let nanoseconds = interval.as_nanos().min(u128::from(u64::MAX)) * u128::from(hash(id));
    Duration::from_nanos((nanoseconds >> 64) as u64)
}

/// The first point of the grid after `after`.
pub(super) fn next_run(phase: Duration, interval: Duration, after: Time) -> Time {
    if after < phase {
        return phase;
    }
    let interval_nanoseconds = interval.as_nanos().max(1);
    let passed = (after - phase).as_nanos() / interval_nanoseconds + 1;
    let nanoseconds = phase.as_nanos() + passed * interval_nanoseconds;
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

/// FNV-1a with a finisher (that of `MurmurHash3`): ids differ in their last digits only, and the first bits must show it.
/// Stable between builds, which the standard library's hash does not promise.
fn hash(id: &str) -> u64 {
    let mut hash = id.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn ten_thousand_checks_with_like_names_are_spread_evenly() {
        let interval = 10 * SECOND;
        let mut per_slot = [0u32; 100];
        for number in 0..10_000 {
            let phase = phase(&format!("service:web-{number}"), interval);
            per_slot[(phase.as_millis() / 100) as usize] += 1;
        }
        // 100 on average, with a deviation of 10.
        let (least, most) = (per_slot.iter().min(), per_slot.iter().max());
        assert!(
            least > Some(&60) && most < Some(&150),
            "{least:?} to {most:?} runs in a tenth of a second"
        );
    }

    #[test]
    fn the_grid_does_not_drift() {
        let (phase, interval) = (3 * SECOND, 10 * SECOND);
        for (after, expected) in [(0, 3), (2, 3), (3, 13), (12, 13), (13, 23), (99, 103)] {
            assert_eq!(next_run(phase, interval, after * SECOND), expected * SECOND);
        }
    }

    proptest! {
        #[test]
        fn the_next_run_is_on_the_grid_and_less_than_an_interval_away(
            id in "[a-z0-9:]{0,20}", interval in 1u64..10_000_000_000_000, after in 0u64..10_000_000_000_000_000,
        ) {
            let (interval, after) = (Duration::from_nanos(interval), Duration::from_nanos(after));
            let phase = phase(&id, interval);
            prop_assert!(phase < interval);
            let next = next_run(phase, interval, after);
            prop_assert!(next > after || (after < phase && next == phase));
            prop_assert!(next <= after + interval);
            prop_assert_eq!((next - phase).as_nanos() % interval.as_nanos(), 0);
        }
    }
}
