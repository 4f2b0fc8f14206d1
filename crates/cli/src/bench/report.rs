//! What came of a run, as text for people and as JSON for scripts.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::driver::{Outcome, Second};
use super::workload::WorkloadArgs;

/// The percentiles shown: JSON name, text name, fraction.
const PERCENTILES: [(&str, &str, f64); 4] = [
    ("p50_us", "p50", 0.5),
    ("p90_us", "p90", 0.9),
    ("p99_us", "p99", 0.99),
    ("p999_us", "p99.9", 0.999),
];

/// Answers a second.
pub(super) fn rate(outcome: &Outcome) -> f64 {
    match outcome.elapsed.as_secs_f64() {
        0.0 => 0.0,
        seconds => outcome.latencies.count() as f64 / seconds,
    }
}

/// For scripts: rates in operations a second, latencies in microseconds.
pub(super) fn as_json(args: &WorkloadArgs, outcome: &Outcome) -> Value {
    let mut report = json!({
        "op": format!("{:?}", args.mix).to_lowercase(),
        "clients": args.clients,
        "keys": args.keys,
        "key_size": args.key_size,
        "value_size": args.value_size,
        "loaded_keys": args.keys_to_load(),
        "load_seconds": outcome.load_time.as_secs_f64(),
        "elapsed_seconds": outcome.elapsed.as_secs_f64(),
        "operations": outcome.latencies.count(),
        "missing": outcome.missing,
        "errors": outcome.errors.values().sum::<u64>(),
        "error_kinds": outcome.errors,
        "rate": rate(outcome),
        "max_us": microseconds(outcome.latencies.max()),
        "seconds": outcome.seconds.iter().map(second_as_json).collect::<Vec<_>>(),
    });
    for (name, _, fraction) in PERCENTILES {
        report[name] = json!(microseconds(outcome.latencies.percentile(fraction)));
    }
    report
}

fn second_as_json(second: &Second) -> Value {
    json!({
        "end": second.end,
        "operations": second.operations,
        "errors": second.errors,
        "p50_us": microseconds(second.p50),
        "p99_us": microseconds(second.p99),
        "max_us": microseconds(second.max),
    })
}

/// For people.
pub(super) fn as_text(args: &WorkloadArgs, outcome: &Outcome) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        writeln!(text, "{name:<12} {value}").expect("writing to a string must succeed");
    };
    if args.keys_to_load() > 0 {
        let seconds = outcome.load_time.as_secs_f64();
        line(
            "loaded",
            format!("{} keys in {seconds:.1} s", args.keys_to_load()),
        );
    }
    if args.seconds > 0 {
        let errors: u64 = outcome.errors.values().sum();
        line("rate", format!("{:.0} operations/s", rate(outcome)));
        line("operations", outcome.latencies.count().to_string());
        line("missing", outcome.missing.to_string());
        line("errors", errors.to_string());
        for (_, name, fraction) in PERCENTILES {
            line(name, shown(outcome.latencies.percentile(fraction)));
        }
        line("max", shown(outcome.latencies.max()));
    }
    for (kind, count) in &outcome.errors {
        line("  error", format!("{count} × {kind}"));
    }
    text
}

/// A latency in milliseconds, with the digits that mean something.
pub(super) fn shown(latency: Duration) -> String {
    format!("{:.3} ms", latency.as_secs_f64() * 1e3)
}

fn microseconds(latency: Duration) -> f64 {
    (latency.as_secs_f64() * 1e7).round() / 10.0
}
