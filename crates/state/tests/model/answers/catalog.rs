//! The catalog's answers and indexes against scans of the model.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use rollcall_state::row::Check;
use rollcall_state::{Answer, State};

use crate::commands::{CHECKS, NAMES, NODE_IDS, NODES, SERVICES, STATES};
use crate::naive::Naive;
use crate::naive::catalog::{Names, Of, key};

pub(super) fn check(state: &State, model: &Naive) -> Result<(), TestCaseError> {
    check_tables(state, model)?;
    check_rows(state, model)?;
    check_nodes(state, model)?;
    for name in NAMES.iter().chain(&["ghost"]) {
        check_service(state, model, name)?;
    }
    check_states(state, model)
}

/// Lists of everything, and how much there is.
fn check_tables(state: &State, model: &Naive) -> Result<(), TestCaseError> {
    let expected = Answer {
        index: model.nodes_changed.max(1),
        value: model.nodes.values().cloned().map(Arc::new).collect(),
    };
    prop_assert_eq!(state.catalog_nodes(), expected);

    let names = state.catalog_services();
    let shown = names.value.iter().map(|(name, of)| {
        let tags: Vec<String> = of.tags().map(|tag| tag.to_string()).collect();
        let each_once: BTreeSet<String> = tags.iter().cloned().collect();
        assert!(each_once.iter().eq(&tags), "tags of {name}: {tags:?}");
        (name.to_string(), (of.instances(), each_once))
    });
    prop_assert_eq!(shown.collect::<Names>(), model.names_counted());
    prop_assert_eq!(names.index, model.names_changed.max(1));

    let instances = state.catalog_instances();
    let mut expected: Vec<_> = model.services.iter().collect();
    expected.sort_by_key(|(key, row)| (row.spec.service.to_lowercase(), *key));
    let expected = expected
        .into_iter()
        .map(|((node, _), row)| (model.nodes[node].clone(), row.clone()));
    let found = instances.value.iter();
    let found = found.map(|i| ((*i.node).clone(), (*i.service).clone()));
    prop_assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    prop_assert_eq!(instances.index, model.instances_changed.max(1));

    let counts = state.counts();
    let found = [
        counts.keys,
        counts.sessions,
        counts.nodes,
        counts.services,
        counts.instances,
        counts.checks,
        counts.queries,
    ];
    let expected = [
        model.keys.len(),
        model.sessions.len(),
        model.nodes.len(),
        model.names_counted().len(),
        model.services.len(),
        model.checks.len(),
        model.queries.len(),
    ];
    prop_assert_eq!(found, expected, "{:?}", counts);
    let changes = [
        model.nodes_changed,
        model.instances_changed,
        model.checks_changed,
    ];
    prop_assert_eq!(Some(&state.catalog_index()), changes.iter().max());
    Ok(())
}

fn check_rows(state: &State, model: &Naive) -> Result<(), TestCaseError> {
    let absent = model.removed.max(1);
    for name in NODES {
        let expected = model.nodes.get(&name.to_lowercase()).cloned().map(Arc::new);
        let expected = Answer {
            index: expected.as_ref().map_or(absent, |row| row.modify_index),
            value: expected,
        };
        prop_assert_eq!(state.node(name), expected);
        for id in SERVICES {
            let expected = model.services.get(&key(name, id)).cloned().map(Arc::new);
            let expected = Answer {
                index: expected.as_ref().map_or(absent, |row| row.modify_index),
                value: expected,
            };
            prop_assert_eq!(state.service(name, id), expected);
        }
        for id in CHECKS {
            let expected = model.checks.get(&key(name, id)).cloned().map(Arc::new);
            let expected = Answer {
                index: expected.as_ref().map_or(absent, |row| row.modify_index),
                value: expected,
            };
            prop_assert_eq!(state.check(name, id), expected);
        }
    }
    for id in NODE_IDS {
        let found = state.node_by_id(id);
        prop_assert_eq!(found.as_deref(), model.node_by_id(id), "{}", id);
    }
    Ok(())
}

/// What a node carries, by its name and by its id.
fn check_nodes(state: &State, model: &Naive) -> Result<(), TestCaseError> {
    for asked in NODES.iter().chain(NODE_IDS) {
        let answer = state.catalog_node(asked);
        let named = model.nodes.get(&asked.to_lowercase());
        let Some(node) = named.or_else(|| model.node_by_id(asked)) else {
            let index = model.gone_nodes.index(&asked.to_lowercase());
            prop_assert_eq!(answer, Answer { index, value: None }, "{}", asked);
            continue;
        };
        let name = node.spec.node.to_lowercase();
        let services = model.services.iter().filter(|((on, _), _)| *on == name);
        let services: Vec<_> = services.map(|(_, row)| row).collect();
        let index = node.modify_index.max(model.last(&Of::ServicesOn(name)));
        let found = answer.value.as_ref();
        prop_assert_eq!(found.map(|of| &*of.node), Some(node), "{}", asked);
        let found = found.iter().flat_map(|of| &of.services);
        prop_assert_eq!(found.map(|s| &**s).collect::<Vec<_>>(), services);
        prop_assert_eq!(answer.index, index, "{}", asked);
    }
    for name in NODES {
        let on = |(node, _): &&(String, String)| *node == name.to_lowercase();
        let rows = model.checks.iter().filter(|(key, _)| on(key));
        let index = model.checks_of_node_index(name);
        same(state.health_node(name), index, rows.map(|(_, row)| row))?;
    }
    Ok(())
}

fn check_service(state: &State, model: &Naive, name: &str) -> Result<(), TestCaseError> {
    let low = &*name.to_lowercase();
    let rows = model.instances_of(low);
    let of_node = |node: &str, id: &str| -> Vec<Check> {
        let node = node.to_lowercase();
        let rows = model.checks.iter().filter(|((on, _), _)| *on == node);
        rows.filter(|(_, row)| row.spec.service_id.eq_ignore_ascii_case(id))
            .map(|(_, row)| row.clone())
            .collect()
    };

    let answer = state.service_instances(name);
    let found: Vec<_> = (answer.value.iter().map(|i| (&*i.node, &*i.service))).collect();
    prop_assert_eq!(&found, &rows, "{}", name);
    prop_assert_eq!(answer.index, model.service_index(low, false), "{}", name);

    let answer = state.health_service(name);
    let found = answer.value.iter().map(|i| {
        let checks = i.checks.iter().map(|check| (**check).clone()).collect();
        (&*i.node, &*i.service, checks)
    });
    let expected = rows.iter().map(|(node, row)| {
        let mut checks = of_node(&node.spec.node, "");
        checks.extend(of_node(&node.spec.node, &row.spec.id));
        (*node, *row, checks)
    });
    let found: Vec<(_, _, Vec<Check>)> = found.collect();
    prop_assert_eq!(found, expected.collect::<Vec<_>>(), "{}", name);
    prop_assert_eq!(answer.index, model.service_index(low, true), "{}", name);
    prop_assert_eq!(answer.index, state.health_service_index(name), "{}", name);

    let rows = model.checks.values();
    let rows: Vec<_> = rows
        .filter(|row| {
            !row.spec.service_id.is_empty() && row.service_name.eq_ignore_ascii_case(name)
        })
        .collect();
    let index = model.service_checks_index(low, !rows.is_empty());
    same(state.health_checks(name), index, rows.into_iter())
}

fn check_states(state: &State, model: &Naive) -> Result<(), TestCaseError> {
    for name in STATES {
        let rows = model.checks_in(name).into_iter();
        same(state.health_state(name), model.state_index(name), rows)?;
    }
    Ok(())
}

fn same<'a>(
    answer: Answer<Vec<Arc<Check>>>,
    index: u64,
    rows: impl Iterator<Item = &'a Check>,
) -> Result<(), TestCaseError> {
    let found: Vec<_> = answer.value.iter().map(|check| &**check).collect();
    prop_assert_eq!(found, rows.collect::<Vec<_>>());
    prop_assert_eq!(answer.index, index, "{:?}", answer.value);
    Ok(())
}
