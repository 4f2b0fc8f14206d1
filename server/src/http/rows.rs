//! The state's rows as answers show them. Consul shows a missing list as `[]` in most places and as `null` in some.

use std::sync::Arc;

use rollcall_api::GoDuration;
use rollcall_api::SortedMap;
use rollcall_api::catalog::{self, Empty, Proxy, TaggedAddresses};
use rollcall_state::command::{CheckDefinition, Texts, Weights};
use rollcall_state::row::{Check, Node, Service};

/// How rows are shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Show<'a> {
    /// Every node of ours is in it.
    pub(super) datacenter: &'a str,
    /// Missing tags as `null`.
    pub(super) null_tags: bool,
    /// With the owner of each row.
    pub(super) owners: bool,
}

impl<'a> Show<'a> {
    /// As most endpoints do.
    pub(super) fn usual(datacenter: &'a str) -> Self {
        Show {
            datacenter,
            null_tags: false,
            owners: false,
        }
    }

    fn tags<'r>(&self, tags: Option<&'r Texts>) -> Option<&'r [Arc<str>]> {
        match tags {
            Some(tags) => Some(tags),
            None if self.null_tags => None,
            None => Some(&[]),
        }
    }

    fn owner<'r>(&self, owner: &'r str) -> Option<&'r str> {
        self.owners.then_some(owner)
    }

    pub(super) fn node<'r>(&self, row: &'r Node) -> catalog::Node<'r>
    where
        'a: 'r,
    {
        catalog::Node {
            id: &row.spec.id,
            node: &row.spec.node,
            address: &row.spec.address,
            datacenter: self.datacenter,
            tagged_addresses: row.spec.tagged_addresses.as_ref(),
            meta: row.spec.meta.as_ref(),
            create_index: row.create_index,
            modify_index: row.modify_index,
            owner: self.owner(&row.owner),
        }
    }

    pub(super) fn service<'r>(&self, row: &'r Service) -> catalog::Service<'r> {
        let spec = &row.spec;
        catalog::Service {
            kind: &spec.kind,
            id: &spec.id,
            service: &spec.service,
            tags: self.tags(spec.tags.as_ref()),
            address: &spec.address,
            tagged_addresses: addresses(row),
            meta: spec.meta.as_ref(),
            port: spec.port,
            socket_path: &spec.socket_path,
            weights: weights(&spec.weights),
            enable_tag_override: spec.enable_tag_override,
            proxy: Proxy::default(),
            connect: Empty {},
            peer_name: "",
            create_index: row.create_index,
            modify_index: row.modify_index,
            owner: self.owner(&row.owner),
        }
    }

    /// A service with its node, in one.
    pub(super) fn instance<'r>(
        &self,
        node: &'r Node,
        service: &'r Service,
        no_meta: &'r SortedMap,
    ) -> catalog::ServiceNode<'r>
    where
        'a: 'r,
    {
        let spec = &service.spec;
        catalog::ServiceNode {
            id: &node.spec.id,
            node: &node.spec.node,
            address: &node.spec.address,
            datacenter: self.datacenter,
            tagged_addresses: node.spec.tagged_addresses.as_ref(),
            node_meta: node.spec.meta.as_ref(),
            service_kind: &spec.kind,
            service_id: &spec.id,
            service_name: &spec.service,
            service_tags: spec.tags.as_deref().unwrap_or_default(),
            service_address: &spec.address,
            service_tagged_addresses: addresses(service),
            service_weights: weights(&spec.weights),
            service_meta: spec.meta.as_ref().unwrap_or(no_meta),
            service_port: spec.port,
            service_socket_path: &spec.socket_path,
            service_enable_tag_override: spec.enable_tag_override,
            service_proxy: Proxy::default(),
            service_connect: Empty {},
            service_locality: (),
            create_index: service.create_index,
            modify_index: service.modify_index,
        }
    }

    pub(super) fn check<'r>(&self, row: &'r Check) -> catalog::Check<'r> {
        let spec = &row.spec;
        catalog::Check {
            node: &spec.node,
            check_id: &spec.check_id,
            name: &spec.name,
            status: spec.status.as_str(),
            notes: &spec.notes,
            output: &spec.output,
            service_id: &spec.service_id,
            service_name: &row.service_name,
            service_tags: self.tags(row.service_tags.as_ref()),
            r#type: &spec.check_type,
            interval: &spec.interval,
            timeout: &spec.timeout,
            exposed_port: spec.exposed_port,
            definition: spec
                .definition
                .as_deref()
                .map(definition)
                .unwrap_or_default(),
            create_index: row.create_index,
            modify_index: row.modify_index,
            owner: self.owner(&row.owner),
        }
    }
}

fn addresses(row: &Service) -> TaggedAddresses<'_> {
    let Some(addresses) = &row.spec.tagged_addresses else {
        return TaggedAddresses::default();
    };
    let mut all = Vec::with_capacity(addresses.len());
    for (name, tagged) in addresses {
        let address = catalog::TaggedAddress {
            address: &tagged.address,
            port: tagged.port,
        };
        all.push((&**name, address));
    }
    TaggedAddresses(all)
}

fn weights(weights: &Weights) -> catalog::Weights {
    catalog::Weights {
        passing: weights.passing,
        warning: weights.warning,
    }
}

fn duration(nanoseconds: u64) -> String {
    match i64::try_from(nanoseconds) {
        Ok(0) | Err(_) => String::new(),
        Ok(nanoseconds) => GoDuration(nanoseconds).to_string(),
    }
}

fn definition(row: &CheckDefinition) -> catalog::CheckDefinition<'_> {
    catalog::CheckDefinition {
        interval: duration(row.interval_ns),
        output_max_size: row.output_max_size,
        timeout: duration(row.timeout_ns),
        deregister_critical_service_after: duration(row.deregister_critical_service_after_ns),
        http: &row.http,
        tls_server_name: &row.tls_server_name,
        tls_skip_verify: row.tls_skip_verify,
        header: (!row.header.is_empty()).then_some(&row.header),
        method: &row.method,
        body: &row.body,
        disable_redirects: row.disable_redirects,
        tcp: &row.tcp,
        tcp_use_tls: row.tcp_use_tls,
        udp: &row.udp,
        h2ping: &row.h2ping,
        os_service: &row.os_service,
        h2ping_use_tls: row.h2ping_use_tls,
        script_args: &row.script_args,
        docker_container_id: &row.docker_container_id,
        shell: &row.shell,
        grpc: &row.grpc,
        grpc_use_tls: row.grpc_use_tls,
        alias_node: &row.alias_node,
        alias_service: &row.alias_service,
        ttl: row.ttl_ns,
    }
}
