//! `/v1/txn`, for the verbs of the key/value store.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use crate::KvPair;
use crate::error::Error;
use crate::http::{Call, Client, parsed, refused};

/// One operation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TxnOp {
    /// What to do.
    pub verb: TxnVerb,
    /// With which key, or prefix.
    pub key: String,
    /// The new value, as base64; see [`TxnOp::set`].
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// Opaque to the server.
    #[serde(skip_serializing_if = "is_zero")]
    pub flags: u64,
    /// ModifyIndex of `cas`, `delete-cas` and `check-index`.
    #[serde(skip_serializing_if = "is_zero")]
    pub index: u64,
    /// Session of `lock`, `unlock` and `check-session`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub session: String,
}

/// What an operation does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the words are Consul's own")]
pub enum TxnVerb {
    #[default]
    Get,
    GetTree,
    Set,
    Cas,
    Lock,
    Unlock,
    Delete,
    DeleteTree,
    DeleteCas,
    CheckIndex,
    CheckSession,
    CheckNotExists,
}

impl TxnOp {
    /// Writes a key.
    pub fn set(key: impl Into<String>, value: &[u8], flags: u64) -> TxnOp {
        TxnOp {
            verb: TxnVerb::Set,
            key: key.into(),
            value: STANDARD.encode(value),
            flags,
            ..TxnOp::default()
        }
    }

    /// Reads a key, which must be there.
    pub fn get(key: impl Into<String>) -> TxnOp {
        TxnOp {
            verb: TxnVerb::Get,
            key: key.into(),
            ..TxnOp::default()
        }
    }
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TxnOutcome {
    /// All done; the keys that the operations gave back.
    Done(Vec<KvPair>),
    /// Nothing done, for these reasons.
    RolledBack(Vec<TxnError>),
}

/// Why an operation failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TxnError {
    /// Its place in the transaction, from 0.
    pub op_index: usize,
    /// Consul's words.
    pub what: String,
}

#[derive(Serialize)]
struct Operation<'a> {
    #[serde(rename = "KV")]
    kv: &'a TxnOp,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Response {
    results: Option<Vec<OperationResult>>,
    errors: Option<Vec<TxnError>>,
}

#[derive(Deserialize)]
struct OperationResult {
    #[serde(rename = "KV")]
    kv: Option<KvPair>,
}

pub(crate) async fn send(client: &Client, operations: &[TxnOp]) -> Result<TxnOutcome, Error> {
    let operations: Vec<Operation<'_>> = operations.iter().map(|kv| Operation { kv }).collect();
    let body =
        serde_json::to_vec(&operations).map_err(|error| Error::Request(error.to_string()))?;
    let call = Call::new(Method::PUT, "txn").body(body);
    let (status, _, body) = client.exchange(&call).await?;
    match status {
        StatusCode::OK => {
            let response: Response = parsed(&call, &body)?;
            Ok(TxnOutcome::Done(
                response
                    .results
                    .into_iter()
                    .flatten()
                    .filter_map(|result| result.kv)
                    .collect(),
            ))
        }
        StatusCode::CONFLICT => {
            let response: Response = parsed(&call, &body)?;
            Ok(TxnOutcome::RolledBack(response.errors.unwrap_or_default()))
        }
        _ => Err(refused(status, &body)),
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
