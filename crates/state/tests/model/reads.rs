//! Every read of a pool of names: its answer against the model, and how answers, indexes and topics moved together.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use rollcall_state::command::{CheckSpec, NodeSpec, ServiceSpec};
use rollcall_state::row::{Check, KvEntry, Node, Query, Service};
use rollcall_state::{Answer, Changes, State, Topic};

use crate::commands::{CHECKS, KEYS, NAMES, NODES, PREFIXES, QUERIES, SERVICES, SESSIONS, STATES};
use crate::naive::{Key, Naive, OfService, Row};

/// An answer as text, its index, its topic, and whether it shows anything.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Read {
    pub(crate) answer: String,
    pub(crate) index: u64,
    pub(crate) topic: Topic,
    pub(crate) exists: bool,
    /// The topic is about this read and nothing else.
    pub(crate) exact: bool,
}

pub(crate) fn all(state: &State) -> BTreeMap<String, Read> {
    let mut reads = BTreeMap::new();
    let mut add = |name: String, read: Read| {
        reads.insert(name, read);
    };
    for key in KEYS.iter().chain(PREFIXES) {
        add(
            format!("kv {key}"),
            one(state.kv_get(key), Topic::KvKey((*key).into())),
        );
    }
    for prefix in PREFIXES.iter().chain(KEYS) {
        let topic = Topic::KvPrefix((*prefix).into());
        add(format!("list {prefix}"), many(state.kv_list(prefix), topic));
        let topic = Topic::KvKeys((*prefix).into());
        add(
            format!("keys {prefix}"),
            many(state.kv_keys(prefix, None), topic.clone()),
        );
        let cut = many(state.kv_keys(prefix, Some("/")), topic);
        add(
            format!("cut keys {prefix}"),
            Read {
                exact: false,
                ..cut
            },
        );
    }
    // Lists of tables exist even when they are empty.
    let list = Read {
        exists: true,
        ..many(state.sessions(), Topic::Sessions)
    };
    add("sessions".into(), list);
    for id in SESSIONS {
        add(
            format!("session {id}"),
            one(state.session(id), Topic::Session((*id).into())),
        );
    }
    add(
        "nodes".into(),
        Read {
            exists: true,
            ..many(state.catalog_nodes(), Topic::Nodes)
        },
    );
    add_services(state, &mut add);
    let list = Read {
        exists: true,
        ..many(state.queries(), Topic::Queries)
    };
    add("queries".into(), list);
    for id in QUERIES {
        add(
            format!("query {id}"),
            one(state.query(id), Topic::query(id)),
        );
    }
    for node in NODES {
        let topic = Topic::sessions_of_node(node);
        add(
            format!("sessions of {node}"),
            many(state.sessions_of_node(node), topic),
        );
        let topic = Topic::node(node);
        let row = Read {
            exact: false,
            ..one(state.node(node), topic.clone())
        };
        add(format!("node {node}"), row);
        let checks = many(state.health_node(node), Topic::checks_of_node(node));
        add(
            format!("checks of {node}"),
            Read {
                exact: false,
                ..checks
            },
        );
        for id in SERVICES {
            let row = one(state.service(node, id), topic.clone());
            add(
                format!("service {node} {id}"),
                Read {
                    exact: false,
                    ..row
                },
            );
        }
        for id in CHECKS {
            let row = one(state.check(node, id), Topic::checks_of_node(node));
            add(
                format!("check {node} {id}"),
                Read {
                    exact: false,
                    ..row
                },
            );
        }
    }
    reads
}

/// Reads by service's name and by state.
fn add_services(state: &State, add: &mut impl FnMut(String, Read)) {
    let names = state.catalog_services();
    let shown: Vec<_> = (names.value.iter())
        .map(|(name, of)| (name.clone(), of.tags().cloned().collect::<Vec<_>>()))
        .collect();
    let names = Answer {
        index: names.index,
        value: shown,
    };
    let lists = [
        ("services", many(names, Topic::Services)),
        (
            "instances",
            many(state.catalog_instances(), Topic::Instances),
        ),
    ];
    for (name, read) in lists {
        add(
            name.into(),
            Read {
                exists: true,
                ..read
            },
        );
    }
    for name in NAMES {
        let topic = Topic::service(name);
        add(
            format!("service {name}"),
            many(state.service_instances(name), topic),
        );
        let topic = Topic::service_health(name);
        add(
            format!("health of {name}"),
            many(state.health_service(name), topic),
        );
        let topic = Topic::service_checks(name);
        add(
            format!("checks of {name}"),
            many(state.health_checks(name), topic),
        );
    }
    for name in STATES {
        let read = many(state.health_state(name), Topic::health_state(name));
        let exists = *name != "odd" || read.exists;
        add(format!("state {name}"), Read { exists, ..read });
    }
    for name in NODES {
        let read = one(state.catalog_node(name), Topic::node(name));
        add(format!("services on {name}"), read);
    }
}

fn one<T: std::fmt::Debug>(answer: Answer<Option<T>>, topic: Topic) -> Read {
    Read {
        answer: format!("{:?}", answer.value),
        index: answer.index,
        topic,
        exists: answer.value.is_some(),
        exact: true,
    }
}

fn many<T: std::fmt::Debug>(answer: Answer<Vec<T>>, topic: Topic) -> Read {
    Read {
        answer: format!("{:?}", answer.value),
        index: answer.index,
        topic,
        exists: !answer.value.is_empty(),
        exact: true,
    }
}

/// Changed ⇔ moved ⇔ touched, for one command. `single`: it writes each thing at most once. `reap`: it only collects.
pub(crate) fn check_moves(
    before: &BTreeMap<String, Read>,
    after: &BTreeMap<String, Read>,
    changes: &Changes,
    single: bool,
    reap: bool,
) -> Result<(), TestCaseError> {
    for (name, new) in after {
        let old = &before[name];
        let changed = new.answer != old.answer;
        let moved = new.index != old.index;
        let touched = changes.touches(&new.topic);
        let what = format!("{name}: {old:?} -> {new:?}, {changes:?}");
        prop_assert!(new.index >= old.index.max(1), "an index fell: {}", what);
        prop_assert!(!changed || touched, "changed, but nobody wakes: {}", what);
        prop_assert!(!changed || moved, "changed at the same index: {}", what);
        if new.exists {
            prop_assert!(!reap || !moved, "collecting moved what exists: {}", what);
            prop_assert!(!moved || touched, "moved, but nobody wakes: {}", what);
            prop_assert!(
                !(moved && new.exact && single) || changed,
                "moved for nothing: {}",
                what
            );
        }
        if new.exact {
            prop_assert!(!touched || moved, "woken for nothing: {}", what);
            prop_assert!(
                !(touched && single) || changed,
                "touched for nothing: {}",
                what
            );
        }
    }
    Ok(())
}

// === the model's answers ===

pub(crate) fn entry(key: &str, row: &Key) -> Arc<KvEntry> {
    let session = (!row.session.is_empty()).then(|| Arc::from(&*row.session));
    let entry = KvEntry::new(key.into(), &row.value, row.flags)
        .with_lock(session, row.lock_index)
        .with_indexes(row.create, row.modify);
    Arc::new(entry)
}

pub(crate) fn node((spec, create_index, modify_index): &Row<NodeSpec>) -> Arc<Node> {
    Arc::new(Node {
        spec: spec.clone(),
        owner: "api".into(),
        create_index: *create_index,
        modify_index: *modify_index,
    })
}

pub(crate) fn service(
    node: &str,
    (spec, create_index, modify_index): &Row<ServiceSpec>,
) -> Arc<Service> {
    Arc::new(Service {
        node: node.into(),
        spec: spec.clone(),
        owner: "api".into(),
        create_index: *create_index,
        modify_index: *modify_index,
    })
}

pub(crate) fn check(
    ((spec, (service_name, service_tags)), create_index, modify_index): &Row<(
        CheckSpec,
        OfService,
    )>,
) -> Arc<Check> {
    Arc::new(Check {
        spec: spec.clone(),
        service_name: service_name.clone(),
        service_tags: service_tags.clone(),
        owner: "api".into(),
        create_index: *create_index,
        modify_index: *modify_index,
    })
}

/// Full answers and indexes against scans of the model.
pub(crate) fn check_answers(state: &State, model: &Naive) -> Result<(), TestCaseError> {
    check_keys(state, model)?;
    check_sessions(state, model)?;
    check_queries(state, model)?;
    check_catalog(state, model)
}

fn check_keys(state: &State, model: &Naive) -> Result<(), TestCaseError> {
    for key in KEYS.iter().chain(PREFIXES) {
        let value = model.keys.get(*key).map(|row| entry(key, row));
        let expected = Answer {
            index: model.get_index(key),
            value,
        };
        prop_assert_eq!(state.kv_get(key), expected, "{}", key);
    }
    for prefix in PREFIXES.iter().chain(KEYS) {
        let below = || model.keys.iter().filter(|(key, _)| key.starts_with(prefix));
        let value = below().map(|(key, row)| entry(key, row)).collect();
        let expected = Answer {
            index: model.below_index(prefix, |row| row.modify),
            value,
        };
        prop_assert_eq!(state.kv_list(prefix), expected, "{}", prefix);
        for separator in [None, Some(""), Some("/"), Some("b")] {
            let mut value: Vec<String> = Vec::new();
            for (key, _) in below() {
                let rest = &key[prefix.len()..];
                let cut = separator
                    .filter(|s| !s.is_empty())
                    .and_then(|s| rest.find(s));
                let len = cut.map_or(key.len(), |at| prefix.len() + at + 1);
                if value.last().is_none_or(|last| *last != key[..len]) {
                    value.push(key[..len].to_owned());
                }
            }
            let expected = Answer {
                index: model.below_index(prefix, |row| row.create),
                value,
            };
            prop_assert_eq!(state.kv_keys(prefix, separator), expected, "{}", prefix);
        }
    }
    Ok(())
}

fn check_sessions(state: &State, model: &Naive) -> Result<(), TestCaseError> {
    let rows = |sessions: Vec<Arc<rollcall_state::row::Session>>| -> Vec<(String, u64)> {
        sessions
            .iter()
            .map(|s| (s.id.to_string(), s.create_index))
            .collect()
    };
    let all = state.sessions();
    let expected: Vec<_> = model
        .sessions
        .iter()
        .map(|(id, (_, at))| (id.clone(), *at))
        .collect();
    prop_assert_eq!(
        (all.index, rows(all.value)),
        (model.sessions_index(), expected)
    );
    for id in SESSIONS {
        let answer = state.session(id);
        let expected = model.sessions.get(*id);
        prop_assert_eq!(answer.value.is_some(), expected.is_some());
        prop_assert_eq!(
            answer.index,
            expected.map_or(model.session_ended.max(1), |(_, at)| *at)
        );
        if let (Some(row), Some((create, _))) = (answer.value, expected) {
            prop_assert_eq!(&row.node, &create.node);
            prop_assert_eq!(row.behavior, create.behavior);
            prop_assert_eq!(row.lock_delay_ns, create.lock_delay_ns);
            prop_assert_eq!(&row.node_checks, &create.node_checks);
        }
    }
    for node in NODES {
        let answer = state.sessions_of_node(node);
        let of_node = model
            .sessions
            .iter()
            .filter(|(_, (s, _))| s.node.eq_ignore_ascii_case(node));
        let expected: Vec<_> = of_node.map(|(id, (_, at))| (id.clone(), *at)).collect();
        let index = model.sessions_of_node_index(node);
        prop_assert_eq!(
            (answer.index, rows(answer.value)),
            (index, expected),
            "{}",
            node
        );
    }
    Ok(())
}

fn check_queries(state: &State, model: &Naive) -> Result<(), TestCaseError> {
    let row = |q: &Query| (q.spec.clone(), q.create_index, q.modify_index);
    let list = state.queries();
    prop_assert_eq!(list.index, model.queries_changed.max(1));
    let found: Vec<_> = list.value.iter().map(|q| row(q)).collect();
    let expected: Vec<_> = model.queries.values().cloned().collect();
    prop_assert_eq!(found, expected);
    for id in QUERIES {
        let answer = state.query(id);
        let expected = model.queries.get(&id.to_lowercase()).cloned();
        let index = expected
            .as_ref()
            .map_or(model.queries_removed.max(1), |row| row.2);
        prop_assert_eq!(answer.index, index);
        prop_assert_eq!(answer.value.as_deref().map(row), expected);
    }
    Ok(())
}

fn check_catalog(state: &State, model: &Naive) -> Result<(), TestCaseError> {
    let same = |rows: Vec<(NodeSpec, u64, u64)>| rows;
    let nodes = state.catalog_nodes();
    let found = nodes
        .value
        .iter()
        .map(|n| (n.spec.clone(), n.create_index, n.modify_index));
    let expected: Vec<_> = model.nodes.values().cloned().collect();
    prop_assert_eq!(same(found.collect()), expected);
    prop_assert_eq!(nodes.index, model.nodes_changed.max(1));
    let absent = model.removed.max(1);
    for name in NODES {
        let low = name.to_lowercase();
        let answer = state.node(name);
        let found = answer
            .value
            .map(|n| (n.spec.clone(), n.create_index, n.modify_index));
        let expected = model.nodes.get(&low).cloned();
        prop_assert_eq!(answer.index, expected.as_ref().map_or(absent, |row| row.2));
        prop_assert_eq!(found, expected);
        for id in SERVICES {
            let answer = state.service(name, id);
            let found = answer
                .value
                .map(|s| (s.spec.clone(), s.create_index, s.modify_index));
            let expected = model
                .services
                .get(&(low.clone(), id.to_lowercase()))
                .cloned();
            prop_assert_eq!(answer.index, expected.as_ref().map_or(absent, |row| row.2));
            prop_assert_eq!(found, expected);
        }
        let row = |c: &Check| {
            (
                (
                    c.spec.clone(),
                    (c.service_name.clone(), c.service_tags.clone()),
                ),
                c.create_index,
                c.modify_index,
            )
        };
        for id in CHECKS {
            let answer = state.check(name, id);
            let expected = model.checks.get(&(low.clone(), id.to_lowercase())).cloned();
            prop_assert_eq!(answer.index, expected.as_ref().map_or(absent, |row| row.2));
            prop_assert_eq!(answer.value.as_deref().map(row), expected);
        }
        let answer = state.health_node(name);
        let of_node = model.checks.iter().filter(|((node, _), _)| *node == low);
        let expected: Vec<_> = of_node.map(|(_, row)| row.clone()).collect();
        prop_assert_eq!(answer.index, model.checks_of_node_index(name));
        prop_assert_eq!(
            answer.value.iter().map(|c| row(c)).collect::<Vec<_>>(),
            expected
        );
    }
    Ok(())
}
