//! What a prepared query finds: the instances of its service that fit its definition. HTTP and DNS execute it alike.

use rollcall_state::command::{QueryService, QuerySpec, Status};
use rollcall_state::row::Check;
use rollcall_state::{InstanceHealth, SortedMap, State};

/// Executes a query on a state. In the catalog's order; who shows the answer shuffles it. All checks are there, also those that do not count.
pub fn execute(state: &State, query: &QuerySpec) -> Vec<InstanceHealth> {
    let wanted = &query.service;
    if wanted.connect {
        // There is no mesh, hence nothing that speaks its protocol.
        return Vec::new();
    }
    let mut found = state.health_service(&wanted.service).value;
    found.retain(|instance| is_healthy(instance, wanted) && fits(instance, wanted));
    found
}

/// Whether a check counts for a query.
pub fn counts(wanted: &QueryService, check: &Check) -> bool {
    let ignored = wanted.ignore_check_ids.as_deref().unwrap_or_default();
    !ignored.contains(&check.spec.check_id)
}

fn is_healthy(instance: &InstanceHealth, wanted: &QueryService) -> bool {
    let mut counted = (instance.checks.iter()).filter(|check| counts(wanted, check));
    counted.all(|check| match &check.spec.status {
        Status::Passing => true,
        Status::Critical => false,
        Status::Warning | Status::Other(_) => !wanted.only_passing,
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
    let own = |key: &str| own.and_then(|own| own.get(key));
    (wanted.iter()).all(|(key, value)| own(key).is_some_and(|own| **own == **value))
}
