//! What an agent counts: runs of checks, and its writes to the catalog.

use std::sync::Arc;

use rollcall_metrics::{
    ByLabel, Counter, Descriptor, Histogram, Labels, Reading, Registry, Source,
};

use crate::checks::{Observer, Ran};
use crate::definition::Status;

/// Runs.
pub const RUNS: Descriptor = Descriptor::counter(
    "check",
    "runs",
    "Runs of checks, by kind and result, thresholds not applied",
);
/// Time of runs.
pub const RUN_DURATION: Descriptor = Descriptor::histogram(
    "check",
    "run_duration",
    "How long runs of checks took, by kind",
);
/// Punctuality.
pub const LATENESS: Descriptor = Descriptor::histogram(
    "check",
    "lateness",
    "How long after their time runs of checks began, by kind",
);
/// Anti-entropy that ended well.
pub const SYNCS: Descriptor = Descriptor::counter(
    "agent",
    "syncs",
    "Times the catalog was compared with this node and made like it",
);
/// Anti-entropy that failed.
pub const SYNC_FAILURES: Descriptor = Descriptor::counter(
    "agent",
    "sync_failures",
    "Times the catalog could not be read or written; it is tried again",
);

const KINDS: [&str; 4] = ["http", "tcp", "grpc", "script"];
const RESULTS: [&str; 3] = ["passing", "warning", "critical"];

/// Runs of one kind by result.
#[derive(Debug)]
struct Results(ByLabel<Counter, 3>);

impl Default for Results {
    fn default() -> Self {
        Results(ByLabel::new("result", RESULTS))
    }
}

impl Source for Results {
    fn read(&self, line: &mut dyn FnMut(Labels<'_>, Reading)) {
        self.0.read(line);
    }
}

/// Hears of every run.
#[derive(Debug)]
pub struct CheckMetrics {
    runs: Arc<ByLabel<Results, 4>>,
    duration: Arc<ByLabel<Histogram, 4>>,
    lateness: Arc<ByLabel<Histogram, 4>>,
}

impl Default for CheckMetrics {
    fn default() -> Self {
        CheckMetrics {
            runs: Arc::new(ByLabel::new("kind", KINDS)),
            duration: Arc::new(ByLabel::new("kind", KINDS)),
            lateness: Arc::new(ByLabel::new("kind", KINDS)),
        }
    }
}

impl CheckMetrics {
    /// Exports what it hears.
    pub fn export(&self, registry: &Registry) {
        registry.add(RUNS, Arc::clone(&self.runs) as _);
        registry.add(RUN_DURATION, Arc::clone(&self.duration) as _);
        registry.add(LATENESS, Arc::clone(&self.lateness) as _);
    }
}

impl Observer for CheckMetrics {
    fn ran(&self, run: Ran) {
        let result = match run.status {
            Status::Passing => "passing",
            Status::Warning => "warning",
            Status::Critical => "critical",
        };
        if let Some(counter) = self
            .runs
            .of(run.kind)
            .and_then(|results| results.0.of(result))
        {
            counter.increment();
        }
        if let Some(histogram) = self.duration.of(run.kind) {
            histogram.observe(run.took);
        }
        if let Some(histogram) = self.lateness.of(run.kind) {
            histogram.observe(run.late);
        }
    }
}

/// How anti-entropy fares.
#[derive(Debug, Default)]
pub struct SyncMetrics {
    /// Comparisons that ended well.
    pub(crate) syncs: Arc<Counter>,
    /// Reads or writes that failed.
    pub(crate) failures: Arc<Counter>,
}

impl SyncMetrics {
    /// Exports it.
    pub fn export(&self, registry: &Registry) {
        registry.add(SYNCS, Arc::clone(&self.syncs) as _);
        registry.add(SYNC_FAILURES, Arc::clone(&self.failures) as _);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rollcall_metrics::Exposition;

    use super::*;

    #[test]
    fn runs_are_counted_by_kind_and_result() {
        let metrics = CheckMetrics::default();
        let registry = Registry::default();
        metrics.export(&registry);
        for (kind, status) in [
            ("http", Status::Passing),
            ("http", Status::Passing),
            ("script", Status::Critical),
        ] {
            metrics.ran(Ran {
                kind,
                status,
                late: Duration::from_millis(1),
                took: Duration::from_millis(20),
            });
        }
        let text = registry.text(Exposition::Text);
        for line in [
            "rollcall_check_runs_total{kind=\"http\",result=\"passing\"} 2",
            "rollcall_check_runs_total{kind=\"script\",result=\"critical\"} 1",
            "rollcall_check_runs_total{kind=\"tcp\",result=\"passing\"} 0",
            "rollcall_check_run_duration_seconds_sum{kind=\"http\"} 0.04",
            "rollcall_check_lateness_seconds_count{kind=\"script\"} 1",
        ] {
            assert!(
                text.contains(&format!("{line}\n")),
                "{line} is not in\n{text}"
            );
        }
    }
}
