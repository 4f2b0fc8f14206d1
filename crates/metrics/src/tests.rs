//! Both encodings of a small registry, byte for byte where programs read them so.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{ByLabel, Counter, Descriptor, Exposition, Histogram, Kind, Registry, Unit};

const MS: Duration = Duration::from_millis(1);

fn runs() -> Arc<ByLabel<Counter, 2>> {
    Arc::new(ByLabel::new("kind", ["http", "tcp"]))
}

fn json_of(registry: &Registry) -> Value {
    serde_json::to_value(registry.json("2026-11-22 14:07:00 +0000 UTC".to_owned())).unwrap()
}

#[test]
fn the_text_is_open_metrics() {
    let registry = Registry::default();
    let counter = registry.counter(Descriptor::counter("audit", "lost_lines", "Lines lost"));
    counter.add(3);
    let runs = runs();
    registry.add(
        Descriptor::counter("check", "runs", "Runs"),
        Arc::clone(&runs) as _,
    );
    runs.of("tcp").unwrap().increment();
    assert!(runs.of("udp").is_none());
    let size = Descriptor::gauge("process", "resident", "Memory").in_unit(Unit::Bytes);
    registry.gauge(size, || 1.5);
    registry.gauges(Descriptor::gauge("state", "odd", "Odd"), |line| {
        line(&[("name", "a\"b\\c\nd")], 1.0);
    });
    assert_eq!(
        registry.text(Exposition::OpenMetrics),
        "# HELP rollcall_audit_lost_lines Lines lost\n\
         # TYPE rollcall_audit_lost_lines counter\n\
         rollcall_audit_lost_lines_total 3\n\
         # HELP rollcall_check_runs Runs\n\
         # TYPE rollcall_check_runs counter\n\
         rollcall_check_runs_total{kind=\"http\"} 0\n\
         rollcall_check_runs_total{kind=\"tcp\"} 1\n\
         # HELP rollcall_process_resident_bytes Memory\n\
         # TYPE rollcall_process_resident_bytes gauge\n\
         # UNIT rollcall_process_resident_bytes bytes\n\
         rollcall_process_resident_bytes 1.5\n\
         # HELP rollcall_state_odd Odd\n\
         # TYPE rollcall_state_odd gauge\n\
         rollcall_state_odd{name=\"a\\\"b\\\\c\\nd\"} 1.0\n\
         # EOF\n"
    );
    let older = registry.text(Exposition::Text);
    assert!(
        older.starts_with(
            "# HELP rollcall_audit_lost_lines_total Lines lost\n\
             # TYPE rollcall_audit_lost_lines_total counter\n\
             rollcall_audit_lost_lines_total 3\n"
        ),
        "{older}"
    );
    assert!(
        !older.contains("# UNIT") && !older.contains("# EOF"),
        "{older}"
    );
    assert!(
        older.contains("# TYPE rollcall_process_resident_bytes gauge\n"),
        "{older}"
    );
}

#[test]
fn a_histogram_counts_up_through_its_classes() {
    let registry = Registry::default();
    let descriptor = Descriptor::histogram("raft", "append_duration", "Appends");
    let histogram = registry.histogram(descriptor);
    for took in [Duration::ZERO, MS, 3 * MS, 20_000 * MS] {
        histogram.observe(took);
    }
    let text = registry.text(Exposition::OpenMetrics);
    for line in [
        "rollcall_raft_append_duration_seconds_sum 20.004",
        "rollcall_raft_append_duration_seconds_count 4",
        "rollcall_raft_append_duration_seconds_bucket{le=\"0.0001\"} 1",
        "rollcall_raft_append_duration_seconds_bucket{le=\"0.001\"} 2",
        "rollcall_raft_append_duration_seconds_bucket{le=\"0.005\"} 3",
        "rollcall_raft_append_duration_seconds_bucket{le=\"10.0\"} 3",
        "rollcall_raft_append_duration_seconds_bucket{le=\"+Inf\"} 4",
    ] {
        assert!(
            text.contains(&format!("\n{line}\n")),
            "{line} is not in\n{text}"
        );
    }
}

#[test]
fn the_json_has_consuls_shape() {
    let registry = Registry::default();
    registry.gauge(Descriptor::gauge("raft", "is_leader", "Leads"), || 1.0);
    let runs = runs();
    registry.add(
        Descriptor::counter("check", "runs", "Runs"),
        Arc::clone(&runs) as _,
    );
    let histogram = registry.histogram(Descriptor::histogram("raft", "commit_duration", "Commits"));
    registry.tick(5 * 1000 * MS);
    runs.of("http").unwrap().add(20);
    histogram.observe(2 * MS);
    histogram.observe(4 * MS);
    registry.tick(15 * 1000 * MS);
    // Of the interval under way: not shown yet.
    runs.of("http").unwrap().add(7);
    histogram.observe(1000 * MS);
    let stddev = 0.001 * 2f64.sqrt();
    let mut json = json_of(&registry);
    let shown = json["Samples"][0]["Stddev"].as_f64().unwrap();
    assert!((shown - stddev).abs() < 1e-9, "{shown}");
    let rate = json["Samples"][0]["Rate"].as_f64().unwrap();
    assert!((rate - 0.0006).abs() < 1e-9, "{rate}");
    json["Samples"][0]["Stddev"] = Value::Null;
    json["Samples"][0]["Rate"] = Value::Null;
    assert_eq!(
        json,
        json!({
            "Timestamp": "2026-11-22 14:07:00 +0000 UTC",
            "Gauges": [{"Name": "rollcall.raft.is_leader", "Value": 1.0, "Labels": {}}],
            "Points": [],
            "Counters": [{
                "Name": "rollcall.check.runs", "Count": 20, "Rate": 2.0, "Sum": 20.0, "Min": 1.0, "Max": 1.0, "Mean": 1.0,
                "Stddev": 0.0, "Labels": {"kind": "http"},
            }],
            "Samples": [{
                "Name": "rollcall.raft.commit_duration_seconds", "Count": 2, "Rate": null, "Sum": 0.006, "Min": 0.002,
                "Max": 0.004, "Mean": 0.003, "Stddev": null, "Labels": {},
            }],
        })
    );
    registry.tick(25 * 1000 * MS);
    let json = json_of(&registry);
    assert_eq!(json["Counters"][0]["Count"], 7);
    assert_eq!(
        json["Samples"][0]["Min"], 1.0,
        "the smallest of an earlier interval is forgotten"
    );
    registry.tick(35 * 1000 * MS);
    let json = json_of(&registry);
    assert_eq!(
        (&json["Counters"], &json["Samples"]),
        (&json!([]), &json!([]))
    );
}

#[test]
fn before_the_first_interval_has_ended_the_one_under_way_is_shown() {
    let registry = Registry::default();
    let counter = registry.counter(Descriptor::counter("audit", "lost_lines", "Lines lost"));
    counter.add(5);
    assert_eq!(json_of(&registry)["Counters"][0]["Sum"], 5.0);
}

#[test]
#[should_panic(expected = "rollcall_audit_lost_lines_total is registered twice")]
fn a_name_belongs_to_one_metric() {
    let registry = Registry::default();
    let descriptor = Descriptor::counter("audit", "lost_lines", "Lines lost");
    registry.counter(descriptor);
    registry.counter(descriptor);
}

#[test]
fn the_newer_text_is_for_who_asks_for_it() {
    let prometheus =
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
    assert_eq!(Exposition::accepted(prometheus), Exposition::OpenMetrics);
    for accept in ["", "*/*", "text/plain"] {
        assert_eq!(Exposition::accepted(accept), Exposition::Text);
    }
}

proptest! {
    /// Against sums over the values themselves.
    #[test]
    fn an_interval_sums_up_what_came_in_it(
        before in prop::collection::vec(0u64..20_000_000, 0..20), within in prop::collection::vec(0u64..20_000_000, 0..20),
    ) {
        let registry = Registry::default();
        let histogram: Arc<Histogram> = registry.histogram(Descriptor::histogram("a", "b", "C"));
        for us in &before {
            histogram.observe(Duration::from_micros(*us));
        }
        registry.tick(Duration::from_secs(10));
        for us in &within {
            histogram.observe(Duration::from_micros(*us));
        }
        registry.tick(Duration::from_secs(20));
        let json = json_of(&registry);
        let Some(sample) = json["Samples"].get(0) else {
            prop_assert!(within.is_empty());
            return Ok(());
        };
        let near = |name: &str, expected: f64| {
            let shown = sample[name].as_f64().unwrap();
            (shown - expected).abs() <= 1e-6 * expected.abs().max(1.0)
        };
        let seconds: Vec<f64> = within.iter().map(|us| *us as f64 / 1e6).collect();
        let sum: f64 = seconds.iter().sum();
        let mean = sum / seconds.len() as f64;
        let squares: f64 = seconds.iter().map(|value| (value - mean).powi(2)).sum();
        prop_assert_eq!(sample["Count"].as_u64().unwrap(), within.len() as u64);
        prop_assert!(near("Sum", sum) && near("Mean", mean));
        prop_assert!(near("Min", seconds.iter().copied().fold(f64::MAX, f64::min)));
        prop_assert!(near("Max", seconds.iter().copied().fold(0.0, f64::max)));
        let deviation = (squares / (seconds.len() as f64 - 1.0).max(1.0)).sqrt();
        prop_assert!(near("Stddev", deviation), "{} instead of {deviation}", sample["Stddev"]);
        prop_assert_eq!(registry.descriptors()[0].kind, Kind::Histogram);
    }
}
