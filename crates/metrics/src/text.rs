//! Prometheus' two texts: OpenMetrics 1.0, and the older 0.0.4 for who does not ask for the newer.

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry;

use crate::registry::Entry;
use crate::{Kind, Reading, Registry, Unit};

/// `Content-Type` of the newer text.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// `Content-Type` of the older text.
pub const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Which text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// 0.0.4.
    Text,
}

impl Exposition {
    /// What an `Accept` header asks for: the newer where it is named at all.
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Exposition::OpenMetrics
        } else {
            Exposition::Text
        }
    }

    /// Its `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Exposition::OpenMetrics => OPEN_METRICS,
            Exposition::Text => PROMETHEUS_TEXT,
        }
    }
}

impl Registry {
    /// All metrics as text.
    pub fn text(&self, exposition: Exposition) -> String {
        let mut registry = registry::Registry::default();
        registry.register_collector(Box::new(All(Arc::clone(&self.entries))));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)
            .expect("writing into a string must not fail");
        match exposition {
            Exposition::OpenMetrics => text,
            Exposition::Text => without_open_metrics(&text),
        }
    }
}

/// The older text has no units and no end mark, and its counters are called in the head what they are called in their lines.
fn without_open_metrics(text: &str) -> String {
    let mut older = String::with_capacity(text.len());
    let mut help = "";
    for line in text.lines() {
        if line.starts_with("# HELP ") {
            // Its name depends on the type, which comes next.
            help = line;
            continue;
        }
        if line.starts_with("# UNIT ") || line == "# EOF" {
            continue;
        }
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').unwrap_or((typed, ""));
            let total = if kind == "counter" { "_total" } else { "" };
            let words = help.strip_prefix("# HELP ").unwrap_or_default();
            let words = words.strip_prefix(name).unwrap_or_default();
            older.push_str(&format!(
                "# HELP {name}{total}{words}\n# TYPE {name}{total} {kind}\n"
            ));
            continue;
        }
        older.push_str(line);
        older.push('\n');
    }
    older
}

struct All(Arc<RwLock<Vec<Entry>>>);

impl fmt::Debug for All {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("All")
    }
}

impl Collector for All {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for entry in self.0.read().iter() {
            encode_entry(entry, &mut encoder)?;
        }
        Ok(())
    }
}

fn encode_entry(entry: &Entry, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let descriptor = &entry.descriptor;
    let kind = match descriptor.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
    };
    let unit = descriptor.unit.map(|unit| match unit {
        Unit::Seconds => registry::Unit::Seconds,
        Unit::Bytes => registry::Unit::Bytes,
    });
    let name = format!("rollcall_{}_{}", descriptor.subsystem, descriptor.name);
    let mut metric = encoder.encode_descriptor(&name, descriptor.help, unit.as_ref(), kind)?;
    let mut result = Ok(());
    entry.source.read(&mut |labels, reading| {
        if result.is_ok() {
            result = if labels.is_empty() {
                encode_reading(&mut metric, &reading)
            } else {
                metric
                    .encode_family(&labels)
                    .and_then(|mut line| encode_reading(&mut line, &reading))
            };
        }
    });
    result
}

fn encode_reading(line: &mut MetricEncoder<'_>, reading: &Reading) -> fmt::Result {
    match reading {
        Reading::Counter(value) => line.encode_counter::<NoLabelSet, u64, f64>(value, None),
        Reading::Gauge(value) => line.encode_gauge(value),
        Reading::Histogram(reading) => line.encode_histogram::<NoLabelSet>(
            reading.sum_us as f64 / 1e6,
            reading.count(),
            &reading.buckets(),
            None,
        ),
    }
}
