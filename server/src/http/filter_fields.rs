//! What `?filter=` may select from each kind of row, and how it is read: Consul's fields (those it derives from its Go
//! structs), without the indexes.
//!
//! A filter binds to owned rows: they are pointers to the state's, put together only when there is a filter. The mesh's fields are
//! there and empty, because people write `Kind == ""` and `Connect.Native != true` against any registry.

use std::sync::Arc;

use rollcall_filter::{Field, Kind, Record, RecordMap, Records};
use rollcall_state::SortedMap;
use rollcall_state::command::{TaggedAddress, Weights};
use rollcall_state::row::{Check, Node, Service};

/// A node, and where it is.
pub(super) struct NodeRow {
    pub(super) node: Arc<Node>,
    pub(super) datacenter: Arc<str>,
}

/// An instance with its node (`catalog/service`).
pub(super) struct InstanceRow {
    pub(super) node: NodeRow,
    pub(super) service: Arc<Service>,
}

/// An instance with its node and checks (`health/service`).
pub(super) struct HealthRow {
    pub(super) node: NodeRow,
    pub(super) service: Arc<Service>,
    pub(super) checks: Vec<Arc<Check>>,
}

/// What a service without a mesh has of one.
struct Mesh;

static MESH: Mesh = Mesh;

/// Fields that are empty in every row of ours: of partitions, peers and the mesh.
const fn empty<T>(name: &'static str) -> Field<T> {
    Field::new(name, Kind::Text(|_| ""))
}

const fn zero<T>(name: &'static str) -> Field<T> {
    Field::new(name, Kind::Int(|_| 0))
}

const fn no<T>(name: &'static str) -> Field<T> {
    Field::new(name, Kind::Bool(|_| false))
}

fn text<'a>(map: Option<&'a SortedMap>, key: &str) -> Option<&'a str> {
    map?.get(key).map(|value| &**value)
}

fn is_empty<V>(map: Option<&SortedMap<V>>) -> bool {
    map.is_none_or(SortedMap::is_empty)
}

fn any_text(texts: Option<&[Arc<str>]>, is_it: &mut dyn FnMut(&str) -> bool) -> bool {
    texts.unwrap_or_default().iter().any(|text| is_it(text))
}

/// Of `catalog/nodes`.
pub(super) static NODE: [Field<NodeRow>; 8] = [
    Field::new("ID", Kind::Text(|row| &row.node.spec.id)),
    Field::new("Node", Kind::Text(|row| &row.node.spec.node)),
    Field::new("Address", Kind::Text(|row| &row.node.spec.address)),
    Field::new("Datacenter", Kind::Text(|row| &row.datacenter)),
    empty("Partition"),
    empty("PeerName"),
    Field::new(
        "TaggedAddresses",
        Kind::TextMap {
            get: |row, key| text(row.node.spec.tagged_addresses.as_ref(), key),
            is_empty: |row| is_empty(row.node.spec.tagged_addresses.as_ref()),
        },
    ),
    Field::new(
        "Meta",
        Kind::TextMap {
            get: |row, key| text(row.node.spec.meta.as_ref(), key),
            is_empty: |row| is_empty(row.node.spec.meta.as_ref()),
        },
    ),
];

static ADDRESS: [Field<TaggedAddress>; 2] = [
    Field::new("Address", Kind::Text(|address| &address.address)),
    Field::new("Port", Kind::Int(|address| address.port.into())),
];

static WEIGHTS: [Field<Weights>; 2] = [
    Field::new("Passing", Kind::Int(|weights| weights.passing.into())),
    Field::new("Warning", Kind::Int(|weights| weights.warning.into())),
];

/// Of `catalog/node/N`, `catalog/node-services/N` and the services of agents.
pub(super) static SERVICE: [Field<Arc<Service>>; 14] = [
    Field::new("Kind", Kind::Text(|row| &row.spec.kind)),
    Field::new("ID", Kind::Text(|row| &row.spec.id)),
    Field::new("Service", Kind::Text(|row| &row.spec.service)),
    Field::new(
        "Tags",
        Kind::Texts(|row, is_it| any_text(row.spec.tags.as_deref(), is_it)),
    ),
    Field::new("Address", Kind::Text(|row| &row.spec.address)),
    Field::new(
        "TaggedAddresses",
        Kind::Inner(&RecordMap {
            get: |row: &Arc<Service>, key| row.spec.tagged_addresses.as_ref()?.get(key),
            is_empty: |row: &Arc<Service>| is_empty(row.spec.tagged_addresses.as_ref()),
            fields: &ADDRESS,
        }),
    ),
    Field::new(
        "Meta",
        Kind::TextMap {
            get: |row, key| text(row.spec.meta.as_ref(), key),
            is_empty: |row| is_empty(row.spec.meta.as_ref()),
        },
    ),
    Field::new("Port", Kind::Int(|row| row.spec.port.into())),
    Field::new("SocketPath", Kind::Text(|row| &row.spec.socket_path)),
    Field::new(
        "Weights",
        Kind::Inner(&Record {
            get: |row: &Arc<Service>| &row.spec.weights,
            fields: &WEIGHTS,
        }),
    ),
    Field::new(
        "EnableTagOverride",
        Kind::Bool(|row| row.spec.enable_tag_override),
    ),
    Field::new(
        "Proxy",
        Kind::Inner(&Record {
            get: |_: &Arc<Service>| &MESH,
            fields: &PROXY,
        }),
    ),
    Field::new(
        "Connect",
        Kind::Inner(&Record {
            get: |_: &Arc<Service>| &MESH,
            fields: &CONNECT,
        }),
    ),
    empty("PeerName"),
];

/// Of `catalog/service/S` and, per instance, `catalog/services`.
pub(super) static INSTANCE: [Field<InstanceRow>; 20] = [
    Field::new("ID", Kind::Text(|row| &row.node.node.spec.id)),
    Field::new("Node", Kind::Text(|row| &row.node.node.spec.node)),
    Field::new("Address", Kind::Text(|row| &row.node.node.spec.address)),
    Field::new("Datacenter", Kind::Text(|row| &row.node.datacenter)),
    Field::new(
        "TaggedAddresses",
        Kind::TextMap {
            get: |row, key| text(row.node.node.spec.tagged_addresses.as_ref(), key),
            is_empty: |row| is_empty(row.node.node.spec.tagged_addresses.as_ref()),
        },
    ),
    Field::new(
        "NodeMeta",
        Kind::TextMap {
            get: |row, key| text(row.node.node.spec.meta.as_ref(), key),
            is_empty: |row| is_empty(row.node.node.spec.meta.as_ref()),
        },
    ),
    Field::new("ServiceKind", Kind::Text(|row| &row.service.spec.kind)),
    Field::new("ServiceID", Kind::Text(|row| &row.service.spec.id)),
    Field::new("ServiceName", Kind::Text(|row| &row.service.spec.service)),
    Field::new(
        "ServiceTags",
        Kind::Texts(|row, is_it| any_text(row.service.spec.tags.as_deref(), is_it)),
    ),
    Field::new(
        "ServiceAddress",
        Kind::Text(|row| &row.service.spec.address),
    ),
    Field::new(
        "ServiceTaggedAddresses",
        Kind::Inner(&RecordMap {
            get: |row: &InstanceRow, key| row.service.spec.tagged_addresses.as_ref()?.get(key),
            is_empty: |row: &InstanceRow| is_empty(row.service.spec.tagged_addresses.as_ref()),
            fields: &ADDRESS,
        }),
    ),
    Field::new(
        "ServiceMeta",
        Kind::TextMap {
            get: |row, key| text(row.service.spec.meta.as_ref(), key),
            is_empty: |row| is_empty(row.service.spec.meta.as_ref()),
        },
    ),
    Field::new("ServicePort", Kind::Int(|row| row.service.spec.port.into())),
    Field::new(
        "ServiceSocketPath",
        Kind::Text(|row| &row.service.spec.socket_path),
    ),
    Field::new(
        "ServiceWeights",
        Kind::Inner(&Record {
            get: |row: &InstanceRow| &row.service.spec.weights,
            fields: &WEIGHTS,
        }),
    ),
    Field::new(
        "ServiceEnableTagOverride",
        Kind::Bool(|row| row.service.spec.enable_tag_override),
    ),
    Field::new(
        "ServiceProxy",
        Kind::Inner(&Record {
            get: |_: &InstanceRow| &MESH,
            fields: &PROXY,
        }),
    ),
    Field::new(
        "ServiceConnect",
        Kind::Inner(&Record {
            get: |_: &InstanceRow| &MESH,
            fields: &CONNECT,
        }),
    ),
    empty("PeerName"),
];

/// Of `health/node/N`, `health/checks/S`, `health/state/X`.
pub(super) static CHECK: [Field<Arc<Check>>; 14] = [
    Field::new("Node", Kind::Text(|row| &row.spec.node)),
    Field::new("CheckID", Kind::Text(|row| &row.spec.check_id)),
    Field::new("Name", Kind::Text(|row| &row.spec.name)),
    Field::new("Status", Kind::Text(|row| row.spec.status.as_str())),
    Field::new("Notes", Kind::Text(|row| &row.spec.notes)),
    Field::new("Output", Kind::Text(|row| &row.spec.output)),
    Field::new("ServiceID", Kind::Text(|row| &row.spec.service_id)),
    Field::new("ServiceName", Kind::Text(|row| &row.service_name)),
    Field::new(
        "ServiceTags",
        Kind::Texts(|row, is_it| any_text(row.service_tags.as_deref(), is_it)),
    ),
    Field::new("Type", Kind::Text(|row| &row.spec.check_type)),
    Field::new("Interval", Kind::Text(|row| &row.spec.interval)),
    Field::new("Timeout", Kind::Text(|row| &row.spec.timeout)),
    Field::new("ExposedPort", Kind::Int(|row| row.spec.exposed_port.into())),
    empty("PeerName"),
];

/// Of `health/service/S`.
pub(super) static HEALTH: [Field<HealthRow>; 3] = [
    Field::new(
        "Node",
        Kind::Inner(&Record {
            get: |row: &HealthRow| &row.node,
            fields: &NODE,
        }),
    ),
    Field::new(
        "Service",
        Kind::Inner(&Record {
            get: |row: &HealthRow| &row.service,
            fields: &SERVICE,
        }),
    ),
    Field::new(
        "Checks",
        Kind::Inner(&Records {
            any: |row: &HealthRow, is_it| row.checks.iter().any(is_it),
            fields: &CHECK,
        }),
    ),
];

static CONNECT: [Field<Mesh>; 1] = [no("Native")];

static PROXY: [Field<Mesh>; 12] = [
    empty("DestinationServiceName"),
    empty("DestinationServiceID"),
    empty("LocalServiceAddress"),
    zero("LocalServicePort"),
    empty("LocalServiceSocketPath"),
    empty("Mode"),
    record(
        "MeshGateway",
        &Record {
            get: itself,
            fields: &[empty("Mode")],
        },
    ),
    record(
        "TransparentProxy",
        &Record {
            get: itself,
            fields: &[zero("OutboundListenerPort"), no("DialedDirectly")],
        },
    ),
    record(
        "AccessLogs",
        &Record {
            get: itself,
            fields: &[
                no("Enabled"),
                no("DisableListenerLogs"),
                empty("Type"),
                empty("Path"),
                empty("JSONFormat"),
                empty("TextFormat"),
            ],
        },
    ),
    Field::new(
        "Expose",
        Kind::Inner(&Record {
            get: itself,
            fields: &[
                no("Checks"),
                nothing(
                    "Paths",
                    &Records {
                        any: none,
                        fields: &EXPOSED_PATH,
                    },
                ),
            ],
        }),
    ),
    nothing(
        "Upstreams",
        &Records {
            any: none,
            fields: &UPSTREAM,
        },
    ),
    nothing(
        "EnvoyExtensions",
        &Records {
            any: none,
            fields: &EXTENSION,
        },
    ),
];

static EXPOSED_PATH: [Field<Mesh>; 5] = [
    zero("ListenerPort"),
    empty("Path"),
    zero("LocalPathPort"),
    empty("Protocol"),
    no("ParsedFromCheck"),
];

static UPSTREAM: [Field<Mesh>; 11] = [
    empty("DestinationType"),
    empty("DestinationNamespace"),
    empty("DestinationPartition"),
    empty("DestinationPeer"),
    empty("DestinationName"),
    empty("Datacenter"),
    empty("LocalBindAddress"),
    zero("LocalBindPort"),
    empty("LocalBindSocketPath"),
    empty("LocalBindSocketMode"),
    record(
        "MeshGateway",
        &Record {
            get: itself,
            fields: &[empty("Mode")],
        },
    ),
];

static EXTENSION: [Field<Mesh>; 4] = [
    empty("Name"),
    no("Required"),
    empty("ConsulVersion"),
    empty("EnvoyVersion"),
];

const fn record(name: &'static str, inner: &'static Record<Mesh, Mesh>) -> Field<Mesh> {
    Field::new(name, Kind::Inner(inner))
}

const fn nothing(name: &'static str, inner: &'static Records<Mesh, Mesh>) -> Field<Mesh> {
    Field::new(name, Kind::Inner(inner))
}

fn itself(mesh: &Mesh) -> &Mesh {
    mesh
}

fn none(_: &Mesh, _: &mut dyn FnMut(&Mesh) -> bool) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use rollcall_filter::selectors;

    #[test]
    fn what_consul_documents_can_be_selected() {
        let health = selectors(&HEALTH);
        for documented in [
            "Checks: empty",
            "Checks.CheckID: equal, in, matches",
            "Checks.ServiceTags: empty, in",
            "Checks.Status: equal, in, matches",
            "Node.Datacenter: equal, in, matches",
            "Node.Meta.<any>: equal, in, matches",
            "Service.Connect.Native: equal",
            "Service.Kind: equal, in, matches",
            "Service.Proxy.Upstreams.LocalBindPort: equal",
            "Service.TaggedAddresses.<any>.Port: equal",
            "Service.Tags: empty, in",
            "Service.Weights.Passing: equal",
        ] {
            let found = health.iter().any(|selector| selector == documented);
            assert!(found, "{documented} is not in {health:#?}");
        }
        let instances = selectors(&INSTANCE);
        assert!(instances.contains(&"ServiceMeta.<any>: equal, in, matches".to_owned()));
        assert!(!instances.iter().any(|selector| selector.contains("Index")));
    }
}
