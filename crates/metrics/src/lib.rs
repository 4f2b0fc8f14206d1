//! Metrics of servers and agents: typed values, one list of them a process, two encodings.
//!
//! ```text
//! Counter, Histogram, closures ──▶ Registry ──▶ Prometheus / OpenMetrics text
//!    (held by who counts)             │  ▲        Consul's JSON
//!                                     ▼  │ every INTERVAL
//!                                   Interval
//! ```
//! No global recorder: who counts holds its own counter, which is an atomic and nothing else, and a process may hold several servers
//! (tests do). What is known anyway (sizes, indexes) is not counted but read when somebody asks. Labels come from lists that are fixed in
//! the program, so the number of lines is bounded however many keys, clients or services there are. prometheus-client writes the
//! text; its own value types cannot be read back, which JSON needs.

mod histogram;
mod interval;
mod json;
pub mod process;
mod registry;
mod text;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use histogram::{Histogram, HistogramReading};
pub use json::Metrics;
pub use registry::{Descriptor, Kind, Registry, Unit};
pub use text::{Exposition, OPEN_METRICS, PROMETHEUS_TEXT};

/// How long Consul's JSON sums up what happened; [`Registry::tick`] wants to be called this often.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// Something that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// All so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A value of one line, when it is read.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// Only grows.
    Counter(u64),
    /// Comes and goes.
    Gauge(f64),
    /// How long things took.
    Histogram(HistogramReading),
}

/// Labels of one line.
pub type Labels<'a> = &'a [(&'static str, &'a str)];

/// Something that is exported. Its lines have the same names of labels, and one line each set of their values.
pub trait Source: Send + Sync + 'static {
    /// Hands every line to `line`.
    fn read(&self, line: &mut dyn FnMut(Labels<'_>, Reading));

    /// A new interval begins: forget what is kept of the last alone.
    fn begin_interval(&self) {}
}

impl Source for Counter {
    fn read(&self, line: &mut dyn FnMut(Labels<'_>, Reading)) {
        line(&[], Reading::Counter(self.get()));
    }
}

impl Source for Histogram {
    fn read(&self, line: &mut dyn FnMut(Labels<'_>, Reading)) {
        line(&[], Reading::Histogram(self.reading()));
    }

    fn begin_interval(&self) {
        self.forget_extremes();
    }
}

/// Metrics of one kind, one for each value of a label.
#[derive(Debug)]
pub struct ByLabel<M, const N: usize> {
    label: &'static str,
    values: [&'static str; N],
    metrics: [M; N],
}

impl<M: Default, const N: usize> ByLabel<M, N> {
    /// Of these values of a label.
    pub fn new(label: &'static str, values: [&'static str; N]) -> Self {
        ByLabel {
            label,
            values,
            metrics: std::array::from_fn(|_| M::default()),
        }
    }

    /// The metric of a value. `None`: there is no such value.
    pub fn of(&self, value: &str) -> Option<&M> {
        let at = self.values.iter().position(|known| *known == value)?;
        Some(&self.metrics[at])
    }
}

impl<M: Source, const N: usize> Source for ByLabel<M, N> {
    fn read(&self, line: &mut dyn FnMut(Labels<'_>, Reading)) {
        for (value, metric) in self.values.iter().zip(&self.metrics) {
            metric.read(&mut |labels, reading| {
                let mut all = vec![(self.label, *value)];
                all.extend_from_slice(labels);
                line(&all, reading);
            });
        }
    }

    fn begin_interval(&self) {
        for metric in &self.metrics {
            metric.begin_interval();
        }
    }
}

/// A source that reads when it is asked.
pub(crate) struct Computed<F>(pub(crate) F);

impl<F: Fn(&mut dyn FnMut(Labels<'_>, f64)) + Send + Sync + 'static> Source for Computed<F> {
    fn read(&self, line: &mut dyn FnMut(Labels<'_>, Reading)) {
        (self.0)(&mut |labels, value| line(labels, Reading::Gauge(value)));
    }
}

/// The same for what only grows and is counted elsewhere.
pub(crate) struct Counted<F>(pub(crate) F);

impl<F: Fn(&mut dyn FnMut(Labels<'_>, u64)) + Send + Sync + 'static> Source for Counted<F> {
    fn read(&self, line: &mut dyn FnMut(Labels<'_>, Reading)) {
        (self.0)(&mut |labels, value| line(labels, Reading::Counter(value)));
    }
}
