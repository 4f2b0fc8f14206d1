//! Answers of transactions: results or errors, as Consul writes them.

use rollcall_api::json;
use rollcall_api::kv::KvRef;
use rollcall_edge::Meta;
use rollcall_state::reply::{TxnError, TxnResult};

use super::kv::as_ref;
use super::rows::Show;

/// What a transaction came to.
pub(super) type Outcome = Result<Vec<TxnResult>, Vec<TxnError>>;

/// The answer as JSON. Reads have their freshness at the end.
pub(super) fn write(outcome: &Outcome, datacenter: &str, read: Option<Meta>) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    match outcome {
        Ok(results) => {
            out.extend_from_slice(b"{\"Results\":[");
            for (i, result) in results.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_result(&mut out, result, datacenter);
            }
            out.extend_from_slice(b"],\"Errors\":null");
        }
        Err(errors) => {
            out.extend_from_slice(b"{\"Results\":null,\"Errors\":[");
            for (i, error) in errors.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(b"{\"OpIndex\":");
                json::write_u64(&mut out, error.op_index as u64);
                out.extend_from_slice(b",\"What\":");
                json::write_str(&mut out, &error.what);
                out.push(b'}');
            }
            out.push(b']');
        }
    }
    if let Some(meta) = read {
        write_meta(&mut out, meta);
    }
    out.push(b'}');
    out
}

fn write_meta(out: &mut Vec<u8>, meta: Meta) {
    out.extend_from_slice(b",\"Index\":");
    json::write_u64(out, meta.index);
    // Go writes its durations in nanoseconds.
    out.extend_from_slice(b",\"LastContact\":");
    json::write_u64(out, meta.last_contact_ms.saturating_mul(1_000_000));
    let known: &[u8] = if meta.known_leader { b"true" } else { b"false" };
    out.extend_from_slice(b",\"KnownLeader\":");
    out.extend_from_slice(known);
    out.extend_from_slice(
        b",\"ConsistencyLevel\":\"\",\"NotModified\":false,\"Backend\":0,\"ResultsFilteredByACLs\":false",
    );
}

fn write_result(out: &mut Vec<u8>, result: &TxnResult, datacenter: &str) {
    let name: &[u8] = match result {
        TxnResult::Kv { .. } => b"{\"KV\":",
        TxnResult::Node(_) => b"{\"Node\":",
        TxnResult::Service(_) => b"{\"Service\":",
        TxnResult::Check(_) => b"{\"Check\":",
    };
    out.extend_from_slice(name);
    let show = Show {
        null_tags: true,
        ..Show::usual(datacenter)
    };
    match result {
        TxnResult::Kv { entry, with_value } => {
            let entry = as_ref(entry);
            let value = if *with_value { entry.value } else { &[] };
            KvRef { value, ..entry }.write(out);
        }
        TxnResult::Node(node) => json::write(out, &show.node(node)),
        TxnResult::Service(service) => json::write(out, &show.service(service)),
        TxnResult::Check(check) => json::write(out, &show.check(check)),
    }
    out.push(b'}');
}
