//! What a prepared query finds: the instances of its service that fit its definition. HTTP and DNS execute it alike.

use rollcall_state::command::{QueryService, QuerySpec, Status};
use rollcall_state::{InstanceHealth, SortedMap, State};

/// Executes a query on a state. In the catalog's order; who shows the answer shuffles it.
pub fn execute(state: &State, query: &QuerySpec) -> Vec<InstanceHealth> {
    let wanted = &query.service;
    let mut found = state.health_service(&wanted.service).value;
    found.retain_mut(|instance| {
        if let Some(ignored) = &wanted.ignore_check_ids {
            instance
                .checks
                .retain(|check| !ignored.contains(&check.spec.check_id));
        }
        is_healthy(instance, wanted.only_passing) && fits(instance, wanted)
    });
    found
}

fn is_healthy(instance: &InstanceHealth, only_passing: bool) -> bool {
    (instance.checks.iter()).all(|check| match &check.spec.status {
        Status::Passing => true,
        Status::Critical => false,
        Status::Warning | Status::Other(_) => !only_passing,
    })
}

fn fits(instance: &InstanceHealth, wanted: &QueryService) -> bool {
    let tags = wanted.tags.iter().flat_map(|tags| tags.iter());
    let has = |tag: &str| {
        let own = instance
            .service
            .spec
            .tags
            .iter()
            .flat_map(|tags| tags.iter());
        own.into_iter().any(|own| own.eq_ignore_ascii_case(tag))
    };
    let mut tags_fit = tags.map(|tag| match tag.strip_prefix('!') {
        Some(unwanted) => !has(unwanted),
        None => has(tag),
    });
    tags_fit.all(|fits| fits)
        && has_pairs(instance.node.spec.meta.as_ref(), wanted.node_meta.as_ref())
        && has_pairs(
            instance.service.spec.meta.as_ref(),
            wanted.service_meta.as_ref(),
        )
}

fn has_pairs(own: Option<&SortedMap>, wanted: Option<&SortedMap>) -> bool {
    let Some(wanted) = wanted else {
        return true;
    };
    wanted.iter().all(|(key, value)| {
        own.and_then(|own| own.iter().find(|(k, _)| k == key))
            .is_some_and(|(_, own)| own == value)
    })
}
