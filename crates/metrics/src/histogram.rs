//! How long things take: counts in classes, and what Consul's JSON wants besides (smallest, largest, deviation).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper ends of the classes in microseconds; the last class has none. From a read in memory to a patient client.
const BOUNDS_US: [u64; 15] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 10_000_000,
];
const CLASSES: usize = BOUNDS_US.len() + 1;

/// Durations. Cheap to add to: some additions to atomics, no lock.
#[derive(Debug)]
pub struct Histogram {
    classes: [AtomicU64; CLASSES],
    sum_us: AtomicU64,
    /// Of microseconds; wraps around, which differences survive.
    squares_us: AtomicU64,
    least_us: AtomicU64,
    most_us: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            classes: std::array::from_fn(|_| AtomicU64::new(0)),
            sum_us: AtomicU64::new(0),
            squares_us: AtomicU64::new(0),
            least_us: AtomicU64::new(u64::MAX),
            most_us: AtomicU64::new(0),
        }
    }
}

/// What a histogram says at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistogramReading {
    /// Counts by class, not summed up.
    pub(crate) classes: [u64; CLASSES],
    pub(crate) sum_us: u64,
    pub(crate) squares_us: u64,
    /// In this interval; [`u64::MAX`]: nothing came.
    pub(crate) least_us: u64,
    /// In this interval.
    pub(crate) most_us: u64,
}

impl Histogram {
    /// Adds one that took so long.
    pub fn observe(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let class = BOUNDS_US.partition_point(|bound| *bound < us);
        self.classes[class].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
        let square = us.wrapping_mul(us);
        self.squares_us.fetch_add(square, Ordering::Relaxed);
        self.least_us.fetch_min(us, Ordering::Relaxed);
        self.most_us.fetch_max(us, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        let classes = self.classes.iter();
        classes.map(|class| class.load(Ordering::Relaxed)).sum()
    }

    /// The smallest and the largest are those of one interval.
    pub(crate) fn forget_extremes(&self) {
        self.least_us.store(u64::MAX, Ordering::Relaxed);
        self.most_us.store(0, Ordering::Relaxed);
    }

    pub(crate) fn reading(&self) -> HistogramReading {
        HistogramReading {
            classes: std::array::from_fn(|class| self.classes[class].load(Ordering::Relaxed)),
            sum_us: self.sum_us.load(Ordering::Relaxed),
            squares_us: self.squares_us.load(Ordering::Relaxed),
            least_us: self.least_us.load(Ordering::Relaxed),
            most_us: self.most_us.load(Ordering::Relaxed),
        }
    }
}

impl HistogramReading {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.classes.iter().sum()
    }

    /// Upper ends in seconds with the count of their class; the last is infinity.
    pub(crate) fn buckets(&self) -> [(f64, u64); CLASSES] {
        std::array::from_fn(|class| {
            let bound = BOUNDS_US.get(class).map(|us| *us as f64 / 1e6);
            (bound.unwrap_or(f64::INFINITY), self.classes[class])
        })
    }
}
