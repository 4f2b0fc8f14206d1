//! Full answers and indexes against scans of the model.

mod catalog;

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use rollcall_state::row::{KvEntry, Query};
use rollcall_state::{Answer, State};

use crate::commands::{KEYS, NODES, PREFIXES, QUERIES, SESSIONS};
use crate::naive::{Key, Naive};

pub(crate) fn entry(key: &str, row: &Key) -> Arc<KvEntry> {
    let session = (!row.session.is_empty()).then(|| Arc::from(&*row.session));
    let entry = KvEntry::new(key.into(), &row.value, row.flags)
        .with_lock(session, row.lock_index)
        .with_indexes(row.create, row.modify);
    Arc::new(entry)
}

pub(crate) fn check(state: &State, model: &Naive) -> Result<(), TestCaseError> {
    check_keys(state, model)?;
    check_sessions(state, model)?;
    check_queries(state, model)?;
    catalog::check(state, model)
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
            prop_assert_eq!(&row.service_checks, &create.service_checks);
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
