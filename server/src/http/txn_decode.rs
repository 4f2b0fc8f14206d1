//! Transactions as clients send them: names in any case, values in base64, errors in Go's words.

use rollcall_api::decode::{DecodeError, Fields, parse, wrong_value};
use rollcall_state::command::{
    CatalogVerb, KvVerb, NodeSpec, ServiceSpec, TxnCheckOp, TxnKvOp, TxnNodeOp, TxnOp,
    TxnServiceOp, TxnSessionOp,
};
use serde_json::Value;

use super::registration;

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
        Some(node) => (registration::node(node)?, node.u64("ModifyIndex")?),
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

fn service_op(op: &Fields<'_>) -> Result<Op, DecodeError> {
    let text = op.string("Verb")?;
    let node = op.string("Node")?;
    let service = op.object("Service", "AgentService")?;
    let (spec, index) = match &service {
        Some(service) => (registration::service(service)?, service.u64("ModifyIndex")?),
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

fn check_op(op: &Fields<'_>) -> Result<Op, DecodeError> {
    let text = op.string("Verb")?;
    let Some(check) = op.object("Check", "HealthCheck")? else {
        return Ok(Op::Unknown {
            what: "Must provide a check".to_owned(),
            writes: true,
        });
    };
    let spec = registration::check(&check)?;
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
