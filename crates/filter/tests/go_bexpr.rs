//! What go-bexpr itself answers (`data/go-bexpr.jsonl`, made by `data/go-bexpr.go`): which texts it takes, its words for the
//! others, and for which of two rows each expression holds.

#![allow(missing_docs)]

use std::collections::BTreeMap;

use rollcall_filter::{Field, Filter, Kind, Record, RecordMap, Records, selectors};

#[derive(Default)]
struct Row {
    name: String,
    port: i64,
    on: bool,
    tags: Vec<String>,
    meta: BTreeMap<String, String>,
    weights: Weights,
    checks: Vec<Check>,
    tagged: BTreeMap<String, Address>,
}

#[derive(Default)]
struct Weights {
    passing: i64,
}

struct Check {
    id: &'static str,
    status: &'static str,
    tags: Vec<String>,
}

struct Address {
    address: &'static str,
    port: i64,
}

static WEIGHTS: [Field<Weights>; 1] = [Field::new("Passing", Kind::Int(|weights| weights.passing))];

static CHECK: [Field<Check>; 3] = [
    Field::new("CheckID", Kind::Text(|check| check.id)),
    Field::new("Status", Kind::Text(|check| check.status)),
    Field::new(
        "Tags",
        Kind::Texts(|check, is_it| check.tags.iter().any(|tag| is_it(tag))),
    ),
];

static ADDRESS: [Field<Address>; 2] = [
    Field::new("Address", Kind::Text(|address| address.address)),
    Field::new("Port", Kind::Int(|address| address.port)),
];

static ROW: [Field<Row>; 8] = [
    Field::new("Name", Kind::Text(|row| &row.name)),
    Field::new("Port", Kind::Int(|row| row.port)),
    Field::new("On", Kind::Bool(|row| row.on)),
    Field::new(
        "Tags",
        Kind::Texts(|row, is_it| row.tags.iter().any(|tag| is_it(tag))),
    ),
    Field::new(
        "Meta",
        Kind::TextMap {
            get: |row, key| row.meta.get(key).map(String::as_str),
            is_empty: |row| row.meta.is_empty(),
        },
    ),
    Field::new(
        "Weights",
        Kind::Inner(&Record {
            get: |row: &Row| &row.weights,
            fields: &WEIGHTS,
        }),
    ),
    Field::new(
        "Checks",
        Kind::Inner(&Records {
            any: |row: &Row, is_it| row.checks.iter().any(is_it),
            fields: &CHECK,
        }),
    ),
    Field::new(
        "Tagged",
        Kind::Inner(&RecordMap {
            get: |row: &Row, key| row.tagged.get(key),
            is_empty: |row: &Row| row.tagged.is_empty(),
            fields: &ADDRESS,
        }),
    ),
];

fn rows() -> [Row; 2] {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let check = |id, status, tags: &[&str]| Check {
        id,
        status,
        tags: texts(tags),
    };
    let meta =
        [("rack", "r1"), ("a b", "x")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let full = Row {
        name: "web".to_owned(),
        port: 80,
        on: true,
        tags: texts(&["v1", "prod"]),
        meta: meta.into(),
        weights: Weights { passing: 10 },
        checks: vec![check("c1", "passing", &[]), check("c2", "critical", &["t"])],
        tagged: [(
            "wan".to_owned(),
            Address {
                address: "1.2.3.4",
                port: 443,
            },
        )]
        .into(),
    };
    let empty = Row {
        port: -1,
        ..Row::default()
    };
    [full, empty]
}

/// A comparison of everything that is said, so that a run shows all differences at once.
fn compare(cases: &str) -> Vec<String> {
    let rows = rows();
    let mut differences = Vec::new();
    for line in cases.lines() {
        let case: serde_json::Value = serde_json::from_str(line).expect("a case must be JSON");
        let text = case["text"].as_str().expect("a case must have a text");
        let theirs = match case["error"].as_str() {
            Some(error) => Err(first_error(error)),
            None => Ok(case["rows"]
                .as_array()
                .expect("a case must have answers")
                .iter()
                .map(|row| row == true)
                .collect()),
        };
        let ours: Result<Vec<bool>, String> = Filter::new(text, &ROW)
            .map(|filter| rows.iter().map(|row| filter.matches(row)).collect())
            .map_err(|error| first_error(&error.to_string()));
        if ours != theirs {
            differences.push(format!("{text:?}\n  theirs {theirs:?}\n  ours   {ours:?}"));
        }
    }
    differences
}

/// Without the prefix that Consul adds; the first of several errors (we stop there); of bad patterns not the reason, which
/// each library has words of its own for.
fn first_error(words: &str) -> String {
    let words = words
        .strip_prefix("Failed to create boolean expression evaluator: ")
        .unwrap_or(words);
    let words = words.lines().next().unwrap_or_default();
    match words.split_once(": error parsing regexp") {
        Some((pattern, _)) => pattern.to_owned(),
        None => words.to_owned(),
    }
}

#[test]
fn texts_are_understood_and_refused_as_go_bexpr_does() {
    let differences = compare(include_str!("data/go-bexpr.jsonl"));
    let shown = differences
        .iter()
        .take(20)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        differences.is_empty(),
        "{} differ:\n{shown}",
        differences.len()
    );
}

#[test]
fn what_can_be_selected_is_listed() {
    let listed = selectors(&ROW);
    assert_eq!(listed.len(), 14);
    for expected in [
        "Checks: empty",
        "Checks.Status: equal, in, matches",
        "Tagged.<any>.Port: equal",
        "Meta.<any>: equal, in, matches",
    ] {
        assert!(
            listed.iter().any(|line| line == expected),
            "{expected} must be listed"
        );
    }
}

#[test]
fn a_pattern_that_grows_is_refused() {
    let error =
        Filter::new("Name matches `((a{100}){100}){100}`", &ROW).expect_err("must be refused");
    let words = error.to_string();
    assert!(
        words.ends_with("it compiles to more than 1048576 bytes"),
        "{words}"
    );
}
