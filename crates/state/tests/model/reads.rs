//! Every read of a pool of names, and how answers, indexes and topics moved together.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use rollcall_state::{Answer, Changes, State, Topic};

use crate::commands::{
    CHECKS, KEYS, NAMES, NODE_IDS, NODES, PREFIXES, QUERIES, SERVICES, SESSIONS, STATES,
};

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
        let exists = !["odd", "even"].contains(name) || read.exists;
        add(format!("state {name}"), Read { exists, ..read });
    }
    for name in NODES.iter().chain(NODE_IDS) {
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
