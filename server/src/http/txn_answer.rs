//! Answers of transactions: results or errors, as Consul writes them.

use rollcall_api::catalog::{self, Empty, Proxy};
use rollcall_api::json;
use rollcall_api::kv::KvRef;
use rollcall_edge::Meta;
use rollcall_state::reply::{TxnError, TxnResult};
use rollcall_state::row::{Check, Node, Service};

use super::kv::as_ref;

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
    match result {
        TxnResult::Kv { entry, with_value } => {
            let entry = as_ref(entry);
            let value = if *with_value { entry.value } else { &[] };
            KvRef { value, ..entry }.write(out);
        }
        TxnResult::Node(node) => json::write(out, &shown_node(node, datacenter)),
        TxnResult::Service(service) => json::write(out, &shown_service(service)),
        TxnResult::Check(check) => json::write(out, &shown_check(check)),
    }
    out.push(b'}');
}

fn shown_node<'a>(node: &'a Node, datacenter: &'a str) -> catalog::Node<'a> {
    catalog::Node {
        id: &node.spec.id,
        node: &node.spec.node,
        address: &node.spec.address,
        datacenter,
        tagged_addresses: node.spec.tagged_addresses.as_ref(),
        meta: node.spec.meta.as_ref(),
        create_index: node.create_index,
        modify_index: node.modify_index,
    }
}

fn shown_service(service: &Service) -> catalog::Service<'_> {
    let spec = &service.spec;
    catalog::Service {
        id: &spec.id,
        service: &spec.service,
        tags: spec.tags.as_deref(),
        address: &spec.address,
        tagged_addresses: spec.tagged_addresses.as_ref().map(|addresses| {
            (addresses.iter())
                .map(|(name, tagged)| {
                    let address = catalog::TaggedAddress {
                        address: &tagged.address,
                        port: tagged.port,
                    };
                    (&**name, address)
                })
                .collect()
        }),
        meta: spec.meta.as_ref(),
        port: spec.port,
        weights: catalog::Weights {
            passing: spec.weights.passing,
            warning: spec.weights.warning,
        },
        enable_tag_override: spec.enable_tag_override,
        proxy: Proxy::default(),
        connect: Empty {},
        peer_name: "",
        create_index: service.create_index,
        modify_index: service.modify_index,
    }
}

fn shown_check(check: &Check) -> catalog::Check<'_> {
    let spec = &check.spec;
    catalog::Check {
        node: &spec.node,
        check_id: &spec.check_id,
        name: &spec.name,
        status: spec.status.as_str(),
        notes: &spec.notes,
        output: &spec.output,
        service_id: &spec.service_id,
        service_name: &check.service_name,
        service_tags: check.service_tags.as_deref(),
        r#type: &spec.check_type,
        interval: &spec.interval,
        timeout: &spec.timeout,
        exposed_port: spec.exposed_port,
        definition: Empty {},
        create_index: check.create_index,
        modify_index: check.modify_index,
    }
}
