//! Consul's JSON (`GET /v1/agent/metrics`): gauges as they are, counters and samples of the last interval.
//!
//! Field names and their order are those of go-metrics' `MetricsSummary`. A counter or sample that nothing happened to is left out, as
//! there.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::interval::{LineKey, Summary, read_all};
use crate::{Kind, Reading, Registry};

/// The answer.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Metrics {
    timestamp: String,
    gauges: Vec<Gauge>,
    points: Vec<()>,
    counters: Vec<Sampled>,
    samples: Vec<Sampled>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Gauge {
    name: String,
    value: f64,
    labels: BTreeMap<&'static str, String>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Sampled {
    name: String,
    count: u64,
    rate: f64,
    sum: f64,
    min: f64,
    max: f64,
    mean: f64,
    stddev: f64,
    labels: BTreeMap<&'static str, String>,
}

impl Registry {
    /// All metrics in Consul's shape. `timestamp` is the time of day as Go prints it.
    pub fn json(&self, timestamp: String) -> Metrics {
        let entries = self.entries.read();
        let interval = self.intervals.lock().last(&entries);
        let mut metrics = Metrics {
            timestamp,
            gauges: Vec::new(),
            points: Vec::new(),
            counters: Vec::new(),
            samples: Vec::new(),
        };
        for ((number, labels), reading) in read_all(&entries) {
            let Reading::Gauge(value) = reading else {
                continue;
            };
            metrics.gauges.push(Gauge {
                name: entries[number].descriptor.dotted_name(),
                value,
                labels: labels.into_iter().collect(),
            });
        }
        for (key, summary) in &interval.lines {
            let descriptor = &entries[key.0].descriptor;
            let sampled = sampled(
                descriptor.dotted_name(),
                key,
                summary,
                interval.length.as_secs_f64(),
            );
            match descriptor.kind {
                Kind::Counter => metrics.counters.push(sampled),
                Kind::Histogram => metrics.samples.push(sampled),
                Kind::Gauge => {}
            }
        }
        metrics.gauges.sort_by(|a, b| a.name.cmp(&b.name));
        metrics.counters.sort_by(|a, b| a.name.cmp(&b.name));
        metrics.samples.sort_by(|a, b| a.name.cmp(&b.name));
        metrics
    }
}

fn sampled(name: String, key: &LineKey, summary: &Summary, seconds: f64) -> Sampled {
    Sampled {
        name,
        count: summary.count,
        rate: if seconds > 0.0 {
            summary.sum / seconds
        } else {
            0.0
        },
        sum: summary.sum,
        min: summary.least,
        max: summary.most,
        mean: summary.sum / summary.count.max(1) as f64,
        stddev: summary.deviation,
        labels: key.1.iter().cloned().collect(),
    }
}
