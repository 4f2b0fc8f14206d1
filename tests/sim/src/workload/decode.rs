//! The JSON of answers and transactions, strictly: what does not look as it should is said to be wrong.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::check::kv::{TxnStep, Version};
use crate::client::Answer;

/// A key as an answer shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) key: String,
    pub(super) version: Version,
    pub(super) create_index: u64,
    pub(super) modify_index: u64,
    pub(super) lock_index: u64,
    pub(super) session: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireRow {
    key: String,
    value: Option<String>,
    flags: u64,
    lock_index: u64,
    create_index: u64,
    modify_index: u64,
    session: Option<String>,
}

/// The rows of a read; none on 404. Each key must start with `prefix`, and its flags belong to its value.
pub(super) fn rows(answer: &Answer, prefix: &str) -> Result<Vec<Row>, String> {
    match answer.status {
        404 => return Ok(Vec::new()),
        200 => {}
        status => return Err(format!("status {status}: {}", answer.text())),
    }
    let wire: Vec<WireRow> = serde_json::from_slice(&answer.body)
        .map_err(|error| format!("{error} in {}", answer.text()))?;
    if wire.is_empty() {
        return Err("200 without rows".to_owned());
    }
    wire.into_iter()
        .map(|wire| {
            let version = version(wire.value.as_deref().unwrap_or_default())?;
            if wire.flags != super::flags(version) {
                return Err(format!("flags {} of version {version}", wire.flags));
            }
            if !wire.key.starts_with(prefix) {
                return Err(format!("key {:?}, asked for {prefix:?}", wire.key));
            }
            Ok(Row {
                key: wire.key,
                version,
                create_index: wire.create_index,
                modify_index: wire.modify_index,
                lock_index: wire.lock_index,
                session: wire.session.filter(|session| !session.is_empty()),
            })
        })
        .collect()
}

/// The keys that a read with `?keys` shows, in order; none on 404.
pub(super) fn names(answer: &Answer) -> Result<Vec<String>, String> {
    let names: Vec<String> = match answer.status {
        404 => Vec::new(),
        200 => serde_json::from_slice(&answer.body)
            .map_err(|error| format!("{error} in {}", answer.text()))?,
        status => return Err(format!("status {status}: {}", answer.text())),
    };
    match names.is_sorted_by(|a, b| a < b) {
        true => Ok(names),
        false => Err(format!("not in order, or twice: {names:?}")),
    }
}

/// The version in a value: `v<number>:` and padding of the right length.
fn version(base64: &str) -> Result<Version, String> {
    let bytes = BASE64.decode(base64).map_err(|error| error.to_string())?;
    let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
    let number = text
        .strip_prefix('v')
        .and_then(|rest| rest.split_once(':'))
        .filter(|(_, padding)| [0, 6000].contains(&padding.len()))
        .and_then(|(number, _)| number.parse().ok());
    number.ok_or_else(|| format!("no value of ours: {:?}", &text[..text.len().min(40)]))
}

/// One operation as `/v1/txn` takes it.
pub(super) fn txn_operation(verb: &str, key: &str, index: u64, flags: u64, value: &[u8]) -> Value {
    let mut operation = json!({ "Verb": verb, "Key": key });
    if matches!(verb, "set" | "cas") {
        operation["Value"] = json!(BASE64.encode(value));
        operation["Flags"] = json!(flags);
    }
    if matches!(verb, "cas" | "check-index") {
        operation["Index"] = json!(index);
    }
    json!({ "KV": operation })
}

/// What a transaction answered: `None` when it was refused, else what its `get`s showed.
pub(super) fn txn(answer: &Answer, steps: &[TxnStep]) -> Result<Option<Vec<Version>>, String> {
    let body: Value = serde_json::from_slice(&answer.body)
        .map_err(|error| format!("{error} in {} {}", answer.status, answer.text()))?;
    match answer.status {
        409 => return Ok(None),
        200 => {}
        status => return Err(format!("status {status}: {}", answer.text())),
    }
    let empty = Vec::new();
    let results = body["Results"].as_array().unwrap_or(&empty);
    let with_result = steps
        .iter()
        .filter(|step| !matches!(step, TxnStep::Delete(_) | TxnStep::CheckNotExists(_)))
        .count();
    if results.len() != with_result {
        return Err(format!("{with_result} results expected: {}", answer.text()));
    }
    let has_get = steps.iter().any(|step| matches!(step, TxnStep::Get(_)));
    let shown = results.iter().filter_map(|row| row["KV"]["Value"].as_str());
    let versions = shown.map(version).collect::<Result<Vec<_>, _>>()?;
    if !has_get && !versions.is_empty() {
        return Err(format!("values without a get: {}", answer.text()));
    }
    Ok(Some(versions))
}
