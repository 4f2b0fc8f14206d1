//! A log-linear histogram of latencies: 128 buckets to every power of two, so a percentile is right within 0.8 %.
//!
//! It must cost nothing next to a request (one index, one addition) and keep no samples. The crate hdrhistogram does the same and
//! more; the fifty lines here are what a load generator needs of it.

use std::time::Duration;

/// Linear buckets in one power of two.
const SUB_BUCKETS: u64 = 128;
/// Powers of two above the linear part: up to 2^42 ns, which is 73 minutes; longer ones count as that.
const POWERS: u64 = 36;

/// Counts of latencies.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: Duration,
}

impl Histogram {
    /// An empty one.
    pub(super) fn new() -> Self {
        let buckets = usize::try_from(SUB_BUCKETS * (POWERS + 1)).expect("bucket count must fit");
        Self {
            buckets: vec![0; buckets],
            count: 0,
            max: Duration::ZERO,
        }
    }

    /// Counts one latency.
    pub(super) fn record(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        let last = self.buckets.len() - 1;
        self.buckets[bucket_of(nanoseconds).min(last)] += 1;
        self.count += 1;
        self.max = self.max.max(latency);
    }

    /// How many were counted.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The longest, exactly.
    pub(super) fn max(&self) -> Duration {
        self.max
    }

    /// The latency that `fraction` (0 to 1) of all did not exceed; zero when nothing was counted.
    pub(super) fn percentile(&self, fraction: f64) -> Duration {
        if self.count == 0 {
            return Duration::ZERO;
        }
        // The smallest whole rank that covers the fraction; counts stay far below 2^52.
        let rank = ((self.count as f64) * fraction).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(upper_bound(bucket)).min(self.max);
            }
        }
        self.max
    }

    /// Forgets everything; keeps the memory.
    pub(super) fn clear(&mut self) {
        self.buckets.fill(0);
        self.count = 0;
        self.max = Duration::ZERO;
    }
}

/// Below 128 ns one bucket a nanosecond; above, the top eight bits choose the bucket.
fn bucket_of(nanoseconds: u64) -> usize {
    let power = u64::from(
        (nanoseconds / SUB_BUCKETS)
            .checked_ilog2()
            .map_or(0, |log| log + 1),
    );
    let bucket = match power {
        0 => nanoseconds,
        _ => power * SUB_BUCKETS + ((nanoseconds >> (power - 1)) - SUB_BUCKETS),
    };
    usize::try_from(bucket).unwrap_or(usize::MAX)
}

/// The largest latency, in nanoseconds, that falls into a bucket.
fn upper_bound(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let (power, offset) = (bucket / SUB_BUCKETS, bucket % SUB_BUCKETS);
    match power {
        0 => offset,
        _ => ((SUB_BUCKETS + offset + 1) << (power - 1)) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_holds_the_latencies_up_to_its_bound_and_no_other() {
        for bucket in 1..usize::try_from(SUB_BUCKETS * POWERS).unwrap() {
            assert_eq!(bucket_of(upper_bound(bucket)), bucket);
            assert_eq!(bucket_of(upper_bound(bucket - 1) + 1), bucket);
        }
    }

    #[test]
    fn percentiles_of_one_to_a_thousand_microseconds_are_right_within_one_percent() {
        let mut histogram = Histogram::new();
        for microseconds in 1..=1000 {
            histogram.record(Duration::from_micros(microseconds));
        }
        for (fraction, expected) in [(0.5, 500.0), (0.9, 900.0), (0.99, 990.0), (0.999, 999.0)] {
            let found = histogram.percentile(fraction).as_secs_f64() * 1e6;
            assert!(
                (found / expected - 1.0).abs() < 0.01,
                "p{fraction}: {found} µs"
            );
        }
        assert_eq!(histogram.percentile(1.0), Duration::from_micros(1000));
        assert_eq!(histogram.max(), Duration::from_micros(1000));
    }

    #[test]
    fn a_latency_of_hours_is_counted_in_the_last_bucket() {
        let mut histogram = Histogram::new();
        histogram.record(Duration::from_secs(100_000));
        assert_eq!(histogram.count(), 1);
        assert!(histogram.percentile(0.5) > Duration::from_secs(3600));
    }
}
