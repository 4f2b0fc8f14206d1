//! Local state in Consul's shapes.

use rollcall_api::agent::{
    AgentAddress, AgentCheck, AgentService, AgentWeights, HealthCheck, HealthDefinition,
};
use rollcall_api::catalog::Empty;

use crate::local::{LocalCheck, LocalService};

pub(super) fn service<'a>(
    service: &'a LocalService,
    datacenter: &'a str,
    content_hash: &'a str,
) -> AgentService<'a> {
    let spec = &service.spec;
    let address = |(kind, at): (&'a String, &'a crate::rows::TaggedAddress)| {
        let address = AgentAddress {
            address: &at.address,
            port: at.port,
        };
        (kind.as_str(), address)
    };
    AgentService {
        id: &spec.id,
        service: &spec.service,
        tags: &spec.tags,
        meta: &spec.meta,
        port: spec.port,
        address: &spec.address,
        tagged_addresses: spec.tagged_addresses.iter().map(address).collect(),
        weights: AgentWeights {
            passing: spec.weights.passing,
            warning: spec.weights.warning,
        },
        enable_tag_override: spec.enable_tag_override,
        content_hash,
        datacenter,
    }
}

pub(super) fn check<'a>(node: &'a str, id: &'a str, check: &'a LocalCheck) -> AgentCheck<'a> {
    AgentCheck {
        node,
        check_id: id,
        name: &check.definition.name,
        status: check.status.as_str(),
        notes: &check.definition.notes,
        output: &check.output,
        service_id: &check.definition.service_id,
        service_name: &check.service_name,
        service_tags: &check.service_tags,
        r#type: check.definition.type_name(),
        interval: check.interval_text(),
        timeout: check.timeout_text(),
        exposed_port: 0,
        definition: Empty {},
        create_index: 0,
        modify_index: 0,
    }
}

pub(super) fn health_check<'a>(
    node: &'a str,
    id: &'a str,
    check: &'a LocalCheck,
) -> HealthCheck<'a> {
    HealthCheck {
        node,
        check_id: id,
        name: &check.definition.name,
        status: check.status.as_str(),
        notes: &check.definition.notes,
        output: &check.output,
        service_id: &check.definition.service_id,
        service_name: &check.service_name,
        service_tags: (!check.service_tags.is_empty()).then_some(&check.service_tags),
        r#type: "",
        exposed_port: 0,
        definition: HealthDefinition::default(),
        create_index: 0,
        modify_index: 0,
    }
}
