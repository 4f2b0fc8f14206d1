//! Our answer beside the recorded one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use super::{Body, Recording, Renaming};
use crate::http::Response;

/// Headers whose values vary from run to run; the rest must be as recorded.
const VARYING_HEADERS: [&str; 3] = ["X-Consul-Index", "X-Consul-Lastcontact", "Content-Length"];
/// Fields that hold an index of the answer or a time, not of a row.
const VARYING_FIELDS: [&str; 7] = [
    "Index",
    "LastIndex",
    "LastContact",
    // How much there is depends on which groups were replayed before, and on how many servers there are.
    "Services",
    "ServiceInstances",
    "BillableServiceInstances",
    "Nodes",
];
/// Where Consul lists texts in no order.
const UNORDERED: &str = "/v1/catalog/services";
/// Where the recorded server was.
const RECORDED_ADDRESS: &str = "127.0.0.1";
/// Where the recorded server's server port was.
const RECORDED_SERVER: &str = "127.0.0.1:8300";

/// Indexes below were those of what the server wrote about itself before the first exchange: Consul in several steps, we in one.
const FIRST_INDEX: u64 = 15;

/// Which of our indexes stands for which recorded one, within one group.
#[derive(Debug, Default)]
pub struct Indexes(BTreeMap<u64, u64>);

impl Indexes {
    /// Equal recorded indexes must be equal in ours, and their order must be the same.
    fn check(&mut self, recorded: u64, ours: u64) -> Result<(), String> {
        if (1..FIRST_INDEX).contains(&recorded) && ours > 0 {
            return Ok(());
        }
        let below = self.0.range(..recorded).next_back().map(|(_, ours)| *ours);
        let above = self.0.range(recorded + 1..).next().map(|(_, ours)| *ours);
        let known = *self.0.entry(recorded).or_insert(ours);
        let fits = known == ours
            && below.is_none_or(|below| below < ours)
            && above.is_none_or(|above| ours < above);
        if fits {
            return Ok(());
        }
        Err(format!(
            "index {ours} stands for the recorded {recorded}, which was {known} before and should lie between \
             {below:?} and {above:?}"
        ))
    }
}

/// Every difference that counts, in words. Empty: the answer is as recorded.
pub fn differences(
    recording: &Recording,
    renaming: &Renaming,
    answer: &Response,
    indexes: &mut Indexes,
) -> Vec<String> {
    let mut found = Vec::new();
    if answer.status != recording.status {
        found.push(format!(
            "status {} instead of {}",
            answer.status, recording.status
        ));
    }
    compare_headers(recording, renaming, answer, &mut found);
    match renaming.answer(recording) {
        Body::Text(expected) => {
            let (expected, text) = (without_indexes(&expected), without_indexes(&answer.text()));
            if text != expected {
                found.push(format!("body {text:?} instead of {expected:?}"));
            }
        }
        Body::Json(expected) => match serde_json::from_slice(&answer.body) {
            Ok(json) if recording.path.starts_with(UNORDERED) => {
                let (expected, json) = (in_order(expected), in_order(json));
                if expected != json {
                    found.push(format!("body {json} instead of {expected}"));
                }
            }
            Ok(json) => Comparison {
                renaming,
                indexes,
                found: &mut found,
            }
            .value("", &expected, &json),
            Err(error) => found.push(format!("body is not JSON ({error}): {}", answer.text())),
        },
    }
    found
}

fn compare_headers(
    recording: &Recording,
    renaming: &Renaming,
    answer: &Response,
    found: &mut Vec<String>,
) {
    let expected: BTreeSet<&str> = recording
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    let sent: Vec<&str> = answer
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    // The recordings left out the date, which every answer has.
    let ours: BTreeSet<&str> = sent
        .iter()
        .copied()
        .filter(|name| *name != "Date")
        .collect();
    for name in expected.difference(&ours) {
        found.push(format!("header {name} is missing"));
    }
    // Go sends longer answers in chunks, whose length nobody says.
    let told = |name: &&&str| **name != "Content-Length";
    for name in ours.difference(&expected).filter(told) {
        found.push(format!("header {name} is too much"));
    }
    for (name, value) in &recording.headers {
        let Some(ours) = answer.header(name) else {
            continue;
        };
        if VARYING_HEADERS.contains(&name.as_str()) {
            let number = ours.parse::<u64>();
            if number.is_err() || (name == "X-Consul-Index" && number == Ok(0)) {
                found.push(format!("header {name} is {ours:?}"));
            }
        } else if *ours != renaming.header(name, value) {
            found.push(format!("header {name} is {ours:?} instead of {value:?}"));
        }
    }
}

/// With the texts of each list in order.
fn in_order(json: Value) -> Value {
    match json {
        Value::Object(fields) => (fields.into_iter())
            .map(|(name, value)| (name, in_order(value)))
            .collect(),
        Value::Array(mut values) => {
            values.sort_by_key(Value::to_string);
            Value::Array(values)
        }
        other => other,
    }
}

/// The one index that stands in an error's words.
fn without_indexes(text: &str) -> String {
    const BEFORE: &str = "current modify index ";
    match text.split_once(BEFORE) {
        Some((head, tail)) => {
            format!(
                "{head}{BEFORE}N{}",
                tail.trim_start_matches(|c: char| c.is_ascii_digit())
            )
        }
        None => text.to_owned(),
    }
}

fn is_id(text: &str) -> bool {
    uuid::Uuid::try_parse(text).is_ok() && text.len() == 36
}

struct Comparison<'a> {
    renaming: &'a Renaming,
    indexes: &'a mut Indexes,
    found: &'a mut Vec<String>,
}

impl Comparison<'_> {
    fn value(&mut self, at: &str, expected: &Value, ours: &Value) {
        match (expected, ours) {
            (Value::Object(expected), Value::Object(fields)) => {
                for (name, value) in expected {
                    match fields.get(name) {
                        Some(ours) => self.field(&format!("{at}.{name}"), name, value, ours),
                        None => self.found.push(format!("{at}.{name} is missing")),
                    }
                }
                for name in fields.keys().filter(|name| !expected.contains_key(*name)) {
                    self.found.push(format!("{at}.{name} is too much"));
                }
            }
            (Value::Array(expected), Value::Array(ours)) => self.array(at, expected, ours),
            (Value::String(expected), Value::String(ours)) if expected == RECORDED_SERVER => {
                if ours.parse::<SocketAddr>().is_err() {
                    self.found
                        .push(format!("{at} is {ours:?}, not an address with a port"));
                }
            }
            (Value::String(expected), Value::String(ours)) if expected == RECORDED_ADDRESS => {
                if ours.parse::<IpAddr>().is_err() {
                    self.found.push(format!("{at} is {ours:?}, not an address"));
                }
            }
            (Value::String(expected), Value::String(ours)) => {
                let (expected, ours) = (without_indexes(expected), without_indexes(ours));
                if expected != ours {
                    self.found
                        .push(format!("{at} is {ours:?} instead of {expected:?}"));
                }
            }
            _ if expected == ours => {}
            _ => self
                .found
                .push(format!("{at} is {ours} instead of {expected}")),
        }
    }

    fn field(&mut self, at: &str, name: &str, expected: &Value, ours: &Value) {
        match (name, expected, ours) {
            ("CreateIndex" | "ModifyIndex", Value::Number(recorded), Value::Number(index)) => {
                let (recorded, index) =
                    (recorded.as_u64().unwrap_or(0), index.as_u64().unwrap_or(0));
                if let Err(fault) = self.indexes.check(recorded, index) {
                    self.found.push(format!("{at}: {fault}"));
                }
            }
            (name, Value::Number(_), Value::Number(_)) if VARYING_FIELDS.contains(&name) => {}
            ("Session", Value::String(recorded), Value::String(ours)) if !recorded.is_empty() => {
                if *ours != self.renaming.session {
                    self.found.push(format!(
                        "{at} is {ours}, not the session {}",
                        self.renaming.session
                    ));
                }
            }
            ("ID", Value::String(recorded), Value::String(ours)) if is_id(recorded) => {
                if !is_id(ours) {
                    self.found.push(format!("{at} is {ours:?}, not an id"));
                }
            }
            _ => self.value(at, expected, ours),
        }
    }

    fn array(&mut self, at: &str, expected: &[Value], ours: &[Value]) {
        let one_server =
            |value: &Value| value == RECORDED_SERVER || value.get("ProtocolVersion").is_some();
        if let [only] = expected
            && one_server(only)
            && !ours.is_empty()
        {
            return self.servers(at, only, ours);
        }
        if expected.len() != ours.len() {
            self.found.push(format!(
                "{at} has {} elements instead of {}",
                ours.len(),
                expected.len()
            ));
            return;
        }
        let (mut expected, mut ours): (Vec<_>, Vec<_>) =
            (expected.iter().collect(), ours.iter().collect());
        if expected
            .iter()
            .all(|value| value.get("LockDelay").is_some())
        {
            // Sessions are listed by their id, which is drawn.
            expected.sort_by_key(|value| value["CreateIndex"].as_u64());
            ours.sort_by_key(|value| value["CreateIndex"].as_u64());
        }
        for (index, (expected, ours)) in expected.into_iter().zip(ours).enumerate() {
            self.value(&format!("{at}[{index}]"), expected, ours);
        }
    }

    /// One server was recorded; each of ours must look like it, but that only one leads and names differ.
    fn servers(&mut self, at: &str, recorded: &Value, ours: &[Value]) {
        for (index, ours) in ours.iter().enumerate() {
            let mut recorded = recorded.clone();
            for field in ["Leader", "Node"] {
                if recorded
                    .get(field)
                    .is_some_and(|value| same_kind(value, &ours[field]))
                {
                    recorded[field] = ours[field].clone();
                }
            }
            self.value(&format!("{at}[{index}]"), &recorded, ours);
        }
        let leaders = ours
            .iter()
            .filter(|ours| ours["Leader"] == Value::Bool(true))
            .count();
        if recorded.get("Leader").is_some() && leaders != 1 {
            self.found.push(format!("{at} has {leaders} leaders"));
        }
    }
}

fn same_kind(a: &Value, b: &Value) -> bool {
    (a.is_boolean() && b.is_boolean()) || (a.is_string() && b.is_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn recording(body: Body) -> Recording {
        Recording {
            line: 1,
            group: "kv".to_owned(),
            method: "GET".to_owned(),
            path: "/v1/kv/a".to_owned(),
            request_body: String::new(),
            status: 200,
            headers: vec![
                ("X-Consul-Index".to_owned(), "18".to_owned()),
                ("Vary".to_owned(), "Accept-Encoding".to_owned()),
            ],
            body,
        }
    }

    fn answer(headers: &[(&str, &str)], body: &str) -> Response {
        let headers = headers
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect();
        Response {
            status: 200,
            headers,
            body: body.as_bytes().to_vec(),
        }
    }

    const GOOD: [(&str, &str); 3] = [
        ("Date", "now"),
        ("X-Consul-Index", "7"),
        ("Vary", "Accept-Encoding"),
    ];

    fn differ(expected: Value, headers: &[(&str, &str)], body: &str) -> Vec<String> {
        let recording = recording(Body::Json(expected));
        differences(
            &recording,
            &Renaming::none("solo"),
            &answer(headers, body),
            &mut Indexes::default(),
        )
    }

    #[test]
    fn finds_nothing_where_only_indexes_differ() {
        let expected = json!([{"Key": "a", "Value": null, "CreateIndex": 33, "ModifyIndex": 35}]);
        let ours = r#"[{"Key": "a", "Value": null, "CreateIndex": 30, "ModifyIndex": 31}]"#;
        assert_eq!(differ(expected, &GOOD, ours), Vec::<String>::new());
    }

    #[test]
    fn finds_the_case_of_a_header_name_and_an_index_of_0() {
        let headers = [("X-Consul-index", "7"), ("Vary", "Accept-Encoding")];
        let found = differ(json!(true), &headers, "true");
        assert_eq!(
            found,
            [
                "header X-Consul-Index is missing",
                "header X-Consul-index is too much"
            ]
        );
        let headers = [("X-Consul-Index", "0"), ("Vary", "Accept-Encoding")];
        assert_eq!(
            differ(json!(true), &headers, "true"),
            ["header X-Consul-Index is \"0\""]
        );
    }

    #[test]
    fn tells_null_from_an_empty_list_and_a_missing_field_from_both() {
        let expected = || json!({"Tags": null, "Checks": []});
        assert_eq!(
            differ(expected(), &GOOD, r#"{"Tags": [], "Checks": []}"#),
            [".Tags is [] instead of null"]
        );
        assert_eq!(
            differ(expected(), &GOOD, r#"{"Tags": null}"#),
            [".Checks is missing"]
        );
    }

    #[test]
    fn finds_indexes_that_changed_their_order() {
        let expected = json!([{"ModifyIndex": 33}, {"ModifyIndex": 35}, {"ModifyIndex": 33}]);
        let same = r#"[{"ModifyIndex": 8}, {"ModifyIndex": 9}, {"ModifyIndex": 8}]"#;
        assert!(differ(expected.clone(), &GOOD, same).is_empty());
        let swapped = r#"[{"ModifyIndex": 9}, {"ModifyIndex": 8}, {"ModifyIndex": 9}]"#;
        assert!(!differ(expected.clone(), &GOOD, swapped).is_empty());
        let moved = r#"[{"ModifyIndex": 8}, {"ModifyIndex": 10}, {"ModifyIndex": 9}]"#;
        assert!(!differ(expected, &GOOD, moved).is_empty());
    }
}
