//! Nodes, services and checks as clients describe them, in registrations and transactions alike.

use std::sync::Arc;

use rollcall_api::decode::{DecodeError, Fields, parse};
use rollcall_api::{GoDuration, SortedMap};
use rollcall_state::command::{
    CheckDefinition, CheckSpec, NodeSpec, ServiceSpec, Status, TaggedAddress, Texts, Weights,
};
use serde_json::Value;

/// A body of `/v1/catalog/register`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Registration {
    pub(super) datacenter: String,
    pub(super) node: NodeSpec,
    pub(super) skip_node_update: bool,
    pub(super) service: Option<ServiceSpec>,
    /// `Checks`, then `Check`.
    pub(super) checks: Vec<CheckSpec>,
    /// Whether any part names a peer.
    pub(super) names_peer: bool,
}

impl Registration {
    /// Reads a body.
    pub(super) fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let value = parse(body)?;
        let fields = Fields::of(&value, "structs.RegisterRequest")?;
        let service_fields = fields.object("Service", "structs.NodeService")?;
        let mut check_fields = fields
            .objects("Checks", "structs.HealthCheck")?
            .unwrap_or_default();
        check_fields.extend(fields.object("Check", "structs.HealthCheck")?);
        let mut names_peer = !fields.string("PeerName")?.is_empty();
        for part in service_fields.iter().chain(&check_fields) {
            names_peer |= !part.string("PeerName")?.is_empty();
        }
        Ok(Registration {
            datacenter: fields.string("Datacenter")?,
            node: NodeSpec {
                id: fields.string("ID")?.into(),
                node: fields.string("Node")?.into(),
                address: fields.string("Address")?.into(),
                tagged_addresses: fields.string_map("TaggedAddresses")?.map(Into::into),
                meta: fields.string_map("NodeMeta")?.map(Into::into),
            },
            skip_node_update: fields.bool("SkipNodeUpdate")?,
            service: service_fields.as_ref().map(service).transpose()?,
            checks: check_fields.iter().map(check).collect::<Result<_, _>>()?,
            names_peer,
        })
    }
}

/// A body of `/v1/catalog/deregister`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Deregistration {
    pub(super) datacenter: String,
    pub(super) node: String,
    pub(super) service_id: String,
    pub(super) check_id: String,
}

impl Deregistration {
    /// Reads a body.
    pub(super) fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let value = parse(body)?;
        let fields = Fields::of(&value, "structs.DeregisterRequest")?;
        Ok(Deregistration {
            datacenter: fields.string("Datacenter")?,
            node: fields.string("Node")?,
            service_id: fields.string("ServiceID")?,
            check_id: fields.string("CheckID")?,
        })
    }
}

/// A check.
pub(super) fn check(check: &Fields<'_>) -> Result<CheckSpec, DecodeError> {
    let definition = match check.object("Definition", "structs.HealthCheckDefinition")? {
        Some(fields) => definition(&fields)?,
        None => CheckDefinition::default(),
    };
    let check_type = check.string("Type")?;
    let check_type = match check_type.as_str() {
        "" => type_of(&definition),
        given => given,
    };
    Ok(CheckSpec {
        node: check.string("Node")?.into(),
        check_id: check.string("CheckID")?.into(),
        name: check.string("Name")?.into(),
        status: Status::parse(&check.string("Status")?),
        notes: check.string("Notes")?.into(),
        output: check.string("Output")?.into(),
        service_id: check.string("ServiceID")?.into(),
        check_type: check_type.into(),
        interval: check.string("Interval")?.into(),
        timeout: check.string("Timeout")?.into(),
        exposed_port: port_of(check, "ExposedPort")?,
        definition: (definition != CheckDefinition::default()).then(|| Box::new(definition)),
    })
}

/// What Consul calls a check that is run like this.
fn type_of(definition: &CheckDefinition) -> &'static str {
    if !definition.script_args.is_empty() {
        "script"
    } else if !definition.http.is_empty() {
        "http"
    } else if definition.ttl_ns != 0 {
        "ttl"
    } else if !definition.tcp.is_empty() {
        "tcp"
    } else if !definition.udp.is_empty() {
        "udp"
    } else if !definition.alias_node.is_empty() || !definition.alias_service.is_empty() {
        "alias"
    } else if !definition.docker_container_id.is_empty() {
        "docker"
    } else if !definition.grpc.is_empty() {
        "grpc"
    } else if !definition.h2ping.is_empty() {
        "h2ping"
    } else if !definition.os_service.is_empty() {
        "os_service"
    } else {
        ""
    }
}

fn definition(fields: &Fields<'_>) -> Result<CheckDefinition, DecodeError> {
    Ok(CheckDefinition {
        http: fields.string("HTTP")?.into(),
        tls_server_name: fields.string("TLSServerName")?.into(),
        tls_skip_verify: fields.bool("TLSSkipVerify")?,
        header: header(fields)?,
        method: fields.string("Method")?.into(),
        body: fields.string("Body")?.into(),
        disable_redirects: fields.bool("DisableRedirects")?,
        tcp: fields.string("TCP")?.into(),
        tcp_use_tls: fields.bool("TCPUseTLS")?,
        udp: fields.string("UDP")?.into(),
        h2ping: fields.string("H2PING")?.into(),
        h2ping_use_tls: fields.bool("H2PingUseTLS")?,
        os_service: fields.string("OSService")?.into(),
        interval_ns: duration(fields, "Interval")?,
        output_max_size: fields.u64("OutputMaxSize")?,
        timeout_ns: duration(fields, "Timeout")?,
        deregister_critical_service_after_ns: duration(fields, "DeregisterCriticalServiceAfter")?,
        script_args: texts(fields.strings("ScriptArgs")?.unwrap_or_default()),
        docker_container_id: fields.string("DockerContainerID")?.into(),
        shell: fields.string("Shell")?.into(),
        grpc: fields.string("GRPC")?.into(),
        grpc_use_tls: fields.bool("GRPCUseTLS")?,
        alias_node: fields.string("AliasNode")?.into(),
        alias_service: fields.string("AliasService")?.into(),
        ttl_ns: duration(fields, "TTL")?,
    })
}

fn texts(texts: Vec<String>) -> Texts {
    texts.into_iter().map(Arc::from).collect()
}

fn header(fields: &Fields<'_>) -> Result<SortedMap<Texts>, DecodeError> {
    const WANTED: &str = "map[string][]string";
    let entries = match fields.get("Header") {
        None => return Ok(SortedMap::default()),
        Some(Value::Object(entries)) => entries,
        Some(other) => return Err(fields.wrong("Header", other, WANTED)),
    };
    let mut header: Vec<(String, Texts)> = Vec::with_capacity(entries.len());
    for (name, values) in entries {
        let Value::Array(values) = values else {
            return Err(fields.wrong("Header", values, WANTED));
        };
        let value = |value: &Value| match value {
            Value::String(text) => Ok(Arc::from(text.as_str())),
            other => Err(fields.wrong("Header", other, WANTED)),
        };
        header.push((
            name.clone(),
            values.iter().map(value).collect::<Result<_, _>>()?,
        ));
    }
    Ok(header.into_iter().collect())
}

/// Text in Go's spelling, or nanoseconds; anything else counts as not there, as in Consul.
fn duration(fields: &Fields<'_>, name: &str) -> Result<u64, DecodeError> {
    #[allow(clippy::cast_possible_truncation)] // as Go converts it
    let duration = match fields.get(name) {
        Some(Value::String(text)) => text.parse()?,
        Some(Value::Number(number)) => GoDuration(number.as_f64().unwrap_or(0.0) as i64),
        _ => GoDuration(0),
    };
    Ok(u64::try_from(duration.0).unwrap_or(0))
}

/// A node, as transactions have it.
pub(super) fn node(node: &Fields<'_>) -> Result<NodeSpec, DecodeError> {
    Ok(NodeSpec {
        id: node.string("ID")?.into(),
        node: node.string("Node")?.into(),
        address: node.string("Address")?.into(),
        tagged_addresses: node.string_map("TaggedAddresses")?.map(Into::into),
        meta: node.string_map("Meta")?.map(Into::into),
    })
}

/// A service instance.
pub(super) fn service(service: &Fields<'_>) -> Result<ServiceSpec, DecodeError> {
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
    port_of(fields, "Port")
}

fn port_of(fields: &Fields<'_>, name: &str) -> Result<u16, DecodeError> {
    let port = fields.i64(name)?;
    u16::try_from(port).map_err(|_| fields.wrong(name, &port.into(), "uint16"))
}

fn weight(fields: &Fields<'_>, name: &str) -> Result<u32, DecodeError> {
    let weight = fields.i64(name)?;
    u32::try_from(weight).map_err(|_| fields.wrong(name, &weight.into(), "uint32"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_understood_in_any_case_and_both_lists_of_checks_count() {
        let body = br#"{"node": "n", "address": "a", "nodemeta": {"k": "v"},
            "service": {"service": "web", "enabletagoverride": true},
            "Check": {"Name": "one"}, "Checks": [{"Name": "two", "Definition": {"TCP": "a:1", "Interval": "10s"}}]}"#;
        let registration = Registration::decode(body).expect("must be understood");
        assert_eq!(&*registration.node.node, "n");
        assert_eq!(
            registration.node.meta,
            Some([("k", "v")].into_iter().collect())
        );
        assert!(
            registration
                .service
                .is_some_and(|service| service.enable_tag_override)
        );
        let names: Vec<&str> = registration
            .checks
            .iter()
            .map(|check| &*check.name)
            .collect();
        assert_eq!(names, ["two", "one"]);
        assert_eq!(&*registration.checks[0].check_type, "tcp");
        let definition = registration.checks[0]
            .definition
            .as_ref()
            .expect("must be kept");
        assert_eq!(definition.interval_ns, 10_000_000_000);
        assert_eq!(registration.checks[1].definition, None);
    }

    #[test]
    fn a_peer_is_noticed_wherever_it_is_named() {
        for body in [
            r#"{"PeerName": "p"}"#,
            r#"{"Service": {"PeerName": "p"}}"#,
            r#"{"Checks": [{}, {"PeerName": "p"}]}"#,
        ] {
            let registration = Registration::decode(body.as_bytes()).expect("must be understood");
            assert!(registration.names_peer, "{body}");
        }
    }
}
