//! `PUT /v1/txn`: several operations that happen all or not at all.
//!
//! A transaction that only reads never enters the log: it is a read, with a read's options and headers.

use hyper::body::Incoming;
use hyper::{Response, StatusCode};
use rollcall_api::query::ReadOptions;
use rollcall_edge::{Body, Error, Meta, body, undecodable};
use rollcall_state::command::{KvVerb, Txn, TxnOp};
use rollcall_state::quote::quote;
use rollcall_state::reply::TxnError;
use rollcall_state::txn::is_read_only;
use rollcall_state::{Command, Reply};

use super::call::Call;
use super::catalog_write::owner;
use super::error::refused;
use super::kv::too_large;
use super::txn_answer::{self, Outcome};
use super::txn_decode::{Op, decode};
use crate::door::Consistency;

/// Operations of a transaction, as in Consul.
const OPERATIONS_MAX: usize = 128;

/// `PUT /v1/txn`.
pub(super) async fn txn(call: &Call<'_>, body: &mut Incoming) -> Result<Response<Body>, Error> {
    let limits = &call.api.config;
    // As in Consul: one value of full size must fit.
    let limit = limits.txn_bytes.max(limits.value_bytes);
    let body = body::read(body, limit, &|size| {
        too_large(size, limit, "txn_max_req_len")
    })
    .await?;
    let operations = decode(&body).map_err(undecodable("Failed to parse body"))?;
    if operations.len() > OPERATIONS_MAX {
        let words = format!(
            "Transaction contains too many operations ({} > {OPERATIONS_MAX})",
            operations.len()
        );
        return Err(Error::TooLarge(words));
    }
    check_values(&operations, limits.value_bytes)?;
    let errors = precheck(&operations);
    let writes = operations.iter().any(|operation| match operation {
        Op::Known(op) => !is_read_only(std::slice::from_ref(op)),
        Op::Unknown { writes, .. } => *writes,
    });
    let known = |operation| match operation {
        Op::Known(op) => Some(op),
        Op::Unknown { .. } => None,
    };
    let ops: Vec<TxnOp> = operations.into_iter().filter_map(known).collect();
    if writes {
        write(call, ops, errors).await
    } else {
        read(call, ops, errors).await
    }
}

async fn write(
    call: &Call<'_>,
    ops: Vec<TxnOp>,
    errors: Vec<TxnError>,
) -> Result<Response<Body>, Error> {
    let outcome: Outcome = if errors.is_empty() {
        match call
            .propose(Command::Txn(Txn {
                ops,
                owner: owner(call)?,
            }))
            .await?
        {
            Reply::Txn(outcome) => outcome,
            Reply::Refused(why) => {
                return Err(refused("raft apply failed", &why));
            }
            Reply::None | Reply::Bool(_) => {
                return Err(Error::internal(
                    "a transaction was answered as another write",
                ));
            }
        }
    } else {
        Err(errors)
    };
    Ok(respond(call, &outcome, None))
}

async fn read(
    call: &Call<'_>,
    ops: Vec<TxnOp>,
    errors: Vec<TxnError>,
) -> Result<Response<Body>, Error> {
    let options = ReadOptions::parse(call.query)?;
    if !errors.is_empty() {
        // Refused before anything was read: Consul's answer says nothing of leader and index then.
        let meta = Meta {
            index: 0,
            known_leader: false,
            last_contact_ms: 0,
        };
        return Ok(respond(call, &Err(errors), Some(meta)));
    }
    let consistency = match options.stale {
        true => Consistency::Stale(None),
        false => Consistency::Linearizable,
    };
    let view = call.api.door.read(consistency).await?;
    let outcome = view.state.txn_read(&ops);
    let contact = view.last_contact.as_millis();
    let meta = Meta {
        // Transactions do not block; this is what Consul says.
        index: 1,
        known_leader: view.known_leader,
        last_contact_ms: u64::try_from(contact).unwrap_or(u64::MAX),
    };
    Ok(respond(call, &outcome, Some(meta)))
}

fn respond(call: &Call<'_>, outcome: &Outcome, read: Option<Meta>) -> Response<Body> {
    let status = match outcome {
        Ok(_) => StatusCode::OK,
        Err(_) => StatusCode::CONFLICT,
    };
    let datacenter = &call.edge.config().datacenter;
    let json = txn_answer::write(outcome, datacenter, read);
    let mut response = call.json_bytes(status, json);
    if let Some(meta) = read {
        meta.add_contact_to(&mut response);
    }
    response
}

fn check_values(operations: &[Op], limit: usize) -> Result<(), Error> {
    for operation in operations {
        if let Op::Known(TxnOp::Kv(op)) = operation
            && op.value.len() > limit
        {
            let (key, size) = (quote(&op.key), op.value.len());
            let words = format!("Value for key {key} is too large ({size} > {limit} bytes)");
            return Err(Error::TooLarge(words));
        }
    }
    Ok(())
}

/// What is wrong with operations whatever the state is.
fn precheck(operations: &[Op]) -> Vec<TxnError> {
    let wrong = |operation: &Op| match operation {
        Op::Unknown { what, .. } => Some(what.clone()),
        Op::Known(TxnOp::Kv(op)) if op.key.is_empty() && op.verb != KvVerb::DeleteTree => {
            Some("Must provide key".to_owned())
        }
        Op::Known(_) => None,
    };
    (operations.iter().enumerate())
        .filter_map(|(op_index, operation)| {
            wrong(operation).map(|what| TxnError { op_index, what })
        })
        .collect()
}
