//! Transactions as clients send them: names in any case, values in base64, errors in Go's words.

use rollcall_api::decode::{DecodeError, Fields, parse, wrong_value};
use rollcall_state::command::{
    CatalogVerb, CheckSpec, KvVerb, NodeSpec, ServiceSpec, Status, TaggedAddress, TxnCheckOp,
    TxnKvOp, TxnNodeOp, TxnOp, TxnServiceOp, TxnSessionOp, Weights,
};
use serde_json::Value;

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Op {
    /// One that the state understands.
    Known(TxnOp),
    /// One with a verb or a value nobody knows.
    Unknown {
        /// In Consul's words.
        what: String,
        /// Whether its kind counts as a write.
        writes: bool,
    },
}

/// Decodes a body. Elements that hold no operation are passed over, as in Consul.
pub(super) fn decode(body: &[u8]) -> Result<Vec<Op>, DecodeError> {
    let value = parse(body)?;
    let elements = match &value {
        Value::Array(elements) => elements.as_slice(),
        Value::Null => &[],
        other => return Err(wrong_value(other, "api.TxnOps")),
    };
    let mut operations = Vec::with_capacity(elements.len());
    for element in elements {
        let fields = Fields::of(element, "api.TxnOp")?;
        operations.extend(operation(&fields)?);
    }
    Ok(operations)
}

fn operation(fields: &Fields<'_>) -> Result<Option<Op>, DecodeError> {
    if let Some(kv) = fields.object("KV", "KVTxnOp")? {
        return kv_op(&kv).map(Some);
    }
    if let Some(node) = fields.object("Node", "NodeTxnOp")? {
        return node_op(&node).map(Some);
    }
    if let Some(service) = fields.object("Service", "ServiceTxnOp")? {
        return service_op(&service).map(Some);
    }
    if let Some(check) = fields.object("Check", "CheckTxnOp")? {
        return check_op(&check).map(Some);
    }
    if let Some(session) = fields.object("Session", "SessionTxnOp")? {
        return session_op(&session).map(Some);
    }
    Ok(None)
}

fn kv_op(kv: &Fields<'_>) -> Result<Op, DecodeError> {
    let text = kv.string("Verb")?;
    let op = TxnKvOp {
        verb: kv_verb(&text).unwrap_or(KvVerb::Get),
        key: kv.string("Key")?,
        value: kv.bytes("Value")?,
        flags: kv.u64("Flags")?,
        index: kv.u64("Index")?,
        session: kv.string("Session")?,
    };
    Ok(match kv_verb(&text) {
        Some(_) => Op::Known(TxnOp::Kv(op)),
        None => unknown("KV", &text, false),
    })
}

fn kv_verb(text: &str) -> Option<KvVerb> {
    Some(match text {
        "set" => KvVerb::Set,
        "cas" => KvVerb::Cas,
        "lock" => KvVerb::Lock,
        "unlock" => KvVerb::Unlock,
        "get" => KvVerb::Get,
        "get-or-empty" => KvVerb::GetOrEmpty,
        "get-tree" => KvVerb::GetTree,
        "check-index" => KvVerb::CheckIndex,
        "check-session" => KvVerb::CheckSession,
        "check-not-exists" => KvVerb::CheckNotExists,
        "delete" => KvVerb::Delete,
        "delete-cas" => KvVerb::DeleteCas,
        "delete-tree" => KvVerb::DeleteTree,
        _ => return None,
    })
}

fn catalog_verb(text: &str) -> Option<CatalogVerb> {
    Some(match text {
        "get" => CatalogVerb::Get,
        "set" => CatalogVerb::Set,
        "cas" => CatalogVerb::Cas,
        "delete" => CatalogVerb::Delete,
        "delete-cas" => CatalogVerb::DeleteCas,
        _ => return None,
    })
}

fn unknown(kind: &str, verb: &str, writes: bool) -> Op {
    Op::Unknown {
        what: format!("unknown {kind} operation: {verb}"),
        writes,
    }
}

fn node_op(op: &Fields<'_>) -> Result<Op, DecodeError> {
    let text = op.string("Verb")?;
    let node = op.object("Node", "Node")?;
    let (spec, index) = match &node {
        Some(node) => (node_spec(node)?, node.u64("ModifyIndex")?),
        None => (NodeSpec::default(), 0),
    };
    let Some(verb) = catalog_verb(&text) else {
        return Ok(unknown("Node", &text, true));
    };
    Ok(Op::Known(TxnOp::Node(TxnNodeOp {
        verb,
        node: spec,
        index,
    })))
}

fn node_spec(node: &Fields<'_>) -> Result<NodeSpec, DecodeError> {
    Ok(NodeSpec {
        id: node.string("ID")?.into(),
        node: node.string("Node")?.into(),
        address: node.string("Address")?.into(),
        tagged_addresses: node.string_map("TaggedAddresses")?.map(Into::into),
        meta: node.string_map("Meta")?.map(Into::into),
    })
}

fn service_op(op: &Fields<'_>) -> Result<Op, DecodeError> {
    let text = op.string("Verb")?;
    let node = op.string("Node")?;
    let service = op.object("Service", "AgentService")?;
    let (spec, index) = match &service {
        Some(service) => (service_spec(service)?, service.u64("ModifyIndex")?),
        None => (ServiceSpec::default(), 0),
    };
    let Some(verb) = catalog_verb(&text) else {
        return Ok(unknown("Service", &text, true));
    };
    Ok(Op::Known(TxnOp::Service(TxnServiceOp {
        verb,
        node: node.into(),
        service: spec,
        index,
    })))
}

fn service_spec(service: &Fields<'_>) -> Result<ServiceSpec, DecodeError> {
    let addresses = match service.object_map("TaggedAddresses", "ServiceAddress")? {
        None => None,
        Some(entries) => {
            let mut addresses = Vec::new();
            for (name, fields) in entries {
                let address = TaggedAddress {
                    address: fields.string("Address")?.into(),
                    port: port(&fields)?,
                };
                addresses.push((name, address));
            }
            Some(addresses.into_iter().collect())
        }
    };
    let weights = match service.object("Weights", "AgentWeights")? {
        None => Weights::default(),
        Some(weights) => Weights {
            passing: weight(&weights, "Passing")?,
            warning: weight(&weights, "Warning")?,
        },
    };
    Ok(ServiceSpec {
        id: service.string("ID")?.into(),
        service: service.string("Service")?.into(),
        tags: (service.strings("Tags")?).map(|tags| tags.into_iter().map(Into::into).collect()),
        address: service.string("Address")?.into(),
        tagged_addresses: addresses,
        meta: service.string_map("Meta")?.map(Into::into),
        port: port(service)?,
        weights,
        enable_tag_override: service.bool("EnableTagOverride")?,
        kind: service.string("Kind")?.into(),
        socket_path: service.string("SocketPath")?.into(),
    })
}

fn port(fields: &Fields<'_>) -> Result<u16, DecodeError> {
    let port = fields.i64("Port")?;
    u16::try_from(port).map_err(|_| fields.wrong("Port", &port.into(), "uint16"))
}

fn weight(fields: &Fields<'_>, name: &str) -> Result<u32, DecodeError> {
    let weight = fields.i64(name)?;
    u32::try_from(weight).map_err(|_| fields.wrong(name, &weight.into(), "uint32"))
}

fn check_op(op: &Fields<'_>) -> Result<Op, DecodeError> {
    let text = op.string("Verb")?;
    let Some(check) = op.object("Check", "HealthCheck")? else {
        return Ok(Op::Unknown {
            what: "Must provide a check".to_owned(),
            writes: true,
        });
    };
    let status = check.string("Status")?;
    let spec = CheckSpec {
        node: check.string("Node")?.into(),
        check_id: check.string("CheckID")?.into(),
        name: check.string("Name")?.into(),
        status: Status::parse(&status),
        notes: check.string("Notes")?.into(),
        output: check.string("Output")?.into(),
        service_id: check.string("ServiceID")?.into(),
        check_type: check.string("Type")?.into(),
        ..CheckSpec::default()
    };
    let index = check.u64("ModifyIndex")?;
    let Some(verb) = catalog_verb(&text) else {
        return Ok(unknown("Check", &text, true));
    };
    Ok(Op::Known(TxnOp::Check(TxnCheckOp {
        verb,
        check: spec,
        index,
    })))
}

fn session_op(op: &Fields<'_>) -> Result<Op, DecodeError> {
    let text = op.string("Verb")?;
    let id = match op.object("Session", "Session")? {
        Some(session) => session.string("ID")?,
        None => String::new(),
    };
    Ok(match text.as_str() {
        "delete" => Op::Known(TxnOp::Session(TxnSessionOp { id })),
        other => unknown("Session", other, true),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn any_spelling_of_names_is_understood() {
        let ops =
            decode(br#"[{"kv": {"verb": "set", "key": "a", "value": "MQ==", "flags": 7}}, {}]"#);
        let expected = TxnKvOp {
            verb: KvVerb::Set,
            key: "a".to_owned(),
            value: Bytes::from_static(b"1"),
            flags: 7,
            index: 0,
            session: String::new(),
        };
        assert_eq!(ops, Ok(vec![Op::Known(TxnOp::Kv(expected))]));
    }

    #[test]
    fn what_nobody_knows_is_named() {
        let ops = decode(br#"[{"KV": {"Verb": "frobnicate"}}, {"Node": {"Verb": "x"}}]"#);
        let unknown = |what: &str, writes| Op::Unknown {
            what: what.to_owned(),
            writes,
        };
        assert_eq!(
            ops,
            Ok(vec![
                unknown("unknown KV operation: frobnicate", false),
                unknown("unknown Node operation: x", true),
            ])
        );
        assert_eq!(
            decode(b"{}").expect_err("must fail").to_string(),
            "json: cannot unmarshal object into Go value of type api.TxnOps"
        );
    }
}
