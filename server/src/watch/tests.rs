//! Watchers against `Changes::touches`, the plain definition of what a topic is about.

use std::sync::Arc;

use futures_util::FutureExt as _;
use proptest::prelude::*;
use rollcall_state::change::KvChange;
use rollcall_state::{Changes, Topic};

use super::{Registration, Watchers};
use crate::door::Watch as _;

fn woken(registration: &mut Registration) -> bool {
    registration.changed().now_or_never().is_some()
}

fn key(name: &str, change: KvChange) -> Changes {
    Changes {
        keys: vec![(name.into(), change)],
        ..Changes::default()
    }
}

#[test]
fn a_change_between_registering_and_waiting_wakes() {
    let watchers = Arc::new(Watchers::default());
    let mut watch = watchers.register(vec![Topic::KvKey("a".into())]);
    watchers.wake(&key("a", KvChange::Updated));
    assert!(woken(&mut watch));
    assert!(!woken(&mut watch), "one change wakes once");
    watchers.wake(&key("a", KvChange::Deleted));
    assert!(woken(&mut watch));
}

#[test]
fn a_list_of_keys_sleeps_through_new_values() {
    let watchers = Arc::new(Watchers::default());
    let mut watch = watchers.register(vec![Topic::KvKeys("dir/".into())]);
    watchers.wake(&key("dir/x", KvChange::Updated));
    assert!(!woken(&mut watch));
    watchers.wake(&key("dir/x", KvChange::Created));
    assert!(woken(&mut watch));
}

#[test]
fn a_dropped_registration_leaves_nothing_behind() {
    let watchers = Arc::new(Watchers::default());
    let topics = vec![
        Topic::KvKey("a".into()),
        Topic::KvPrefix("a".into()),
        Topic::KvKeys("a".into()),
        Topic::Sessions,
        Topic::SessionsOfNode("n".into()),
        Topic::Session("s".into()),
        Topic::Nodes,
        Topic::Node("n".into()),
        Topic::ChecksOfNode("n".into()),
        Topic::Service("s".into()),
    ];
    let first = watchers.register(topics.clone());
    let second = watchers.register(topics);
    assert_eq!(watchers.count(), 2);
    drop(first);
    assert_eq!(watchers.count(), 1);
    drop(second);
    assert_eq!(watchers.count(), 0);
    let tables = watchers.tables.lock();
    assert!(tables.exact.is_empty());
    assert!(tables.prefix.by_prefix.is_empty() && tables.prefix.lengths.is_empty());
    assert!(tables.keys.by_prefix.is_empty() && tables.keys.lengths.is_empty());
}

/// Few and short names, some of several bytes a character, so that they meet.
fn name() -> impl Strategy<Value = Arc<str>> {
    "[ab/é]{0,3}".prop_map(|text| text.as_str().into())
}

/// Topics of tables that say themselves what they touched.
fn catalog_topic() -> impl Strategy<Value = Topic> {
    prop_oneof![
        Just(Topic::Nodes),
        Just(Topic::Services),
        Just(Topic::Instances),
        name().prop_map(Topic::Node),
        name().prop_map(Topic::ChecksOfNode),
        name().prop_map(Topic::Service),
        name().prop_map(Topic::ServiceHealth),
        name().prop_map(Topic::ServiceChecks),
        name().prop_map(Topic::HealthState),
    ]
}

fn topic() -> impl Strategy<Value = Topic> {
    prop_oneof![
        name().prop_map(Topic::KvKey),
        name().prop_map(Topic::KvPrefix),
        name().prop_map(Topic::KvKeys),
        Just(Topic::Sessions),
        name().prop_map(Topic::SessionsOfNode),
        name().prop_map(Topic::Session),
        catalog_topic(),
    ]
}

fn changes() -> impl Strategy<Value = Changes> {
    let change = prop_oneof![
        Just(KvChange::Created),
        Just(KvChange::Updated),
        Just(KvChange::Deleted)
    ];
    (
        prop::bool::weighted(0.05),
        prop::collection::vec((name(), change), 0..4),
        prop::collection::vec((name(), name()), 0..3),
        prop::collection::vec(catalog_topic(), 0..6),
    )
        .prop_map(|(everything, keys, sessions, topics)| Changes {
            everything,
            keys,
            sessions,
            topics,
        })
}

proptest! {
    #[test]
    fn exactly_the_watchers_of_what_changed_wake(
        registered in prop::collection::vec(prop::collection::vec(topic(), 0..4), 0..12),
        dropped in prop::collection::vec(any::<bool>(), 12),
        batches in prop::collection::vec(changes(), 0..6),
    ) {
        let watchers = Arc::new(Watchers::default());
        let mut live: Vec<Registration> = Vec::new();
        let all: Vec<Registration> =
            registered.into_iter().map(|topics| watchers.register(topics)).collect();
        for (registration, dropped) in all.into_iter().zip(dropped) {
            if !dropped {
                live.push(registration);
            }
        }
        prop_assert_eq!(watchers.count(), live.len());
        for batch in batches {
            watchers.wake(&batch);
            for registration in &mut live {
                let expected = registration.topics.iter().any(|topic| batch.touches(topic));
                prop_assert_eq!(woken(registration), expected, "{:?} {:?}", registration.topics, batch);
            }
        }
    }
}
