//! A table of single cases, and the property: after a plan is carried out there is nothing left to do, and what belongs to
//! others is as it was.

use crate::definition::Status;
use crate::rows::{CheckSpec, ServiceSpec};
use proptest::prelude::*;

use super::*;
use crate::definition::{CheckResult, Definition, Every, Kind, Thresholds};
use crate::local::{LocalSettings, Source};
use crate::rows::Row;

const US: &str = "agent:1";
const NOW: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_secs(300);

fn writer() -> Writer {
    Writer {
        owner: US.into(),
        node: None,
    }
}

fn local() -> Local {
    Local::new(LocalSettings {
        node: "n".into(),
        check_update_interval: INTERVAL,
    })
}

fn service(id: &str, port: u16) -> ServiceSpec {
    ServiceSpec {
        id: id.into(),
        service: id.into(),
        port,
        ..ServiceSpec::default()
    }
}

fn tcp(id: &str, service: &str) -> Definition {
    Definition {
        id: id.into(),
        name: id.into(),
        notes: String::new(),
        service_id: service.into(),
        kind: Kind::Tcp {
            every: Every {
                interval: Duration::from_secs(10),
                timeout: None,
            },
            address: "x:1".into(),
            tls: None,
        },
        initial_status: Status::Critical,
        thresholds: Thresholds::default(),
        deregister_critical_service_after: None,
        output_bytes_max: 4096,
        with_service: false,
    }
}

fn row<T>(spec: T, owner: &str) -> Row<T> {
    Row {
        spec,
        owner: owner.into(),
    }
}

fn full(local: &Local, rows: &Rows) -> Plan {
    plan(local, rows, &writer(), Scope::Full, NOW)
}

#[test]
fn a_services_row_by_who_wrote_it() {
    let set = || vec![Change::SetService(service("a", 1))];
    for (there, changes, taken_over, in_the_way) in [
        (None, set(), false, false),
        (Some((1, US)), vec![], false, false),
        (Some((2, US)), set(), false, false),
        (Some((1, "api")), set(), true, false),
        (Some((2, "api")), set(), true, false),
        (Some((2, "agent:2")), vec![], false, true),
        (Some((2, "operator:c")), vec![], false, true),
        (Some((2, "gossip")), vec![], false, true),
    ] {
        let mut local = local();
        local.register_service(service("a", 1), vec![], Source::Api, false, NOW);
        let mut rows = Rows::default();
        if let Some((port, owner)) = there {
            rows.services
                .insert("a".into(), row(service("a", port), owner));
        }
        let plan = full(&local, &rows);
        assert_eq!(plan.changes, changes, "{there:?}");
        assert_eq!(plan.taken_over.len(), usize::from(taken_over), "{there:?}");
        assert_eq!(plan.in_the_way.len(), usize::from(in_the_way), "{there:?}");
    }
}

#[test]
fn rows_this_node_does_not_have_go_only_when_they_are_ours() {
    let mut rows = Rows::default();
    for owner in [US, "api", "agent:2", "operator:c", "gossip", "sidecar:p"] {
        rows.services
            .insert(owner.into(), row(service(owner, 1), owner));
        let spec = CheckSpec {
            check_id: owner.into(),
            ..CheckSpec::default()
        };
        rows.checks.insert(owner.into(), row(spec, owner));
    }
    let changes = full(&local(), &rows).changes;
    let expected = [
        Change::DeleteCheck(US.into()),
        Change::DeleteService(US.into()),
    ];
    assert_eq!(changes, expected);
}

#[test]
fn the_nodes_row_is_kept_where_it_is_ours_to_keep() {
    let node = NodeSpec {
        node: "n".into(),
        address: "127.0.0.1".into(),
        ..NodeSpec::default()
    };
    let writer = Writer {
        node: Some(node.clone()),
        ..writer()
    };
    let mut rows = Rows::default();
    let changes = |rows: &Rows| plan(&local(), rows, &writer, Scope::Marked, NOW).changes;
    assert_eq!(changes(&rows), [Change::SetNode(node.clone())]);
    rows.node = Some(row(node.clone(), "api"));
    assert_eq!(changes(&rows), [Change::SetNode(node.clone())]);
    rows.node = Some(row(node, US));
    assert_eq!(changes(&rows), []);
}

#[test]
fn with_enable_tag_override_the_catalogs_tags_win() {
    for (overriding, owner, kept) in [
        (true, "api", "theirs"),
        (true, US, "theirs"),
        (false, "api", "ours"),
        (true, "agent:2", "ours"),
    ] {
        let mut local = local();
        let spec = ServiceSpec {
            tags: vec!["ours".into()],
            enable_tag_override: overriding,
            ..service("a", 1)
        };
        local.register_service(spec.clone(), vec![], Source::Api, false, NOW);
        local.note_written(&Change::SetService(spec.clone()), NOW);
        let mut rows = Rows::default();
        let there = ServiceSpec {
            tags: vec!["theirs".into()],
            port: 9,
            ..spec
        };
        rows.services.insert("a".into(), row(there, owner));
        local.adopt(&rows, US, NOW);
        let spec = &local.services()["a"].spec;
        assert_eq!(spec.tags, vec![kept.to_owned()], "{overriding} {owner}");
        assert_eq!(spec.port, 1);
    }
}

#[test]
fn a_tag_a_client_just_registered_is_written_even_with_override() {
    let mut local = local();
    let spec = |tag: &str| ServiceSpec {
        tags: vec![tag.into()],
        enable_tag_override: true,
        ..service("a", 1)
    };
    local.register_service(spec("new"), vec![], Source::Api, false, NOW);
    let mut rows = Rows::default();
    rows.services.insert("a".into(), row(spec("old"), US));
    local.adopt(&rows, US, NOW);
    assert_eq!(
        full(&local, &rows).changes,
        [Change::SetService(spec("new"))]
    );
}

#[test]
fn a_restarted_agent_takes_a_checks_health_from_the_catalog_until_it_has_run() {
    let mut local = local();
    local
        .register_check(tcp("c", ""), Source::Api, NOW)
        .unwrap();
    local.mark_restored();
    let mut rows = Rows::default();
    let mut there = local.check_spec("c").unwrap();
    there.status = Status::Passing;
    there.output = "fine".into();
    rows.checks.insert("c".into(), row(there, US));
    local.adopt(&rows, US, NOW);
    assert_eq!(local.checks()["c"].status, Status::Passing);
    assert_eq!(full(&local, &rows).changes, []);
    // What it finds itself counts.
    let result = |status| CheckResult {
        id: "c".into(),
        status,
        output: "x".into(),
    };
    local.result(result(Status::Critical), NOW);
    local.adopt(&rows, US, NOW);
    assert_eq!(local.checks()["c"].status, Status::Critical);
    assert_eq!(full(&local, &rows).changes.len(), 1);
}

#[test]
fn an_output_of_ours_waits_and_one_of_somebody_else_is_put_right_at_once() {
    let mut local = local();
    local
        .register_check(tcp("c", ""), Source::Api, NOW)
        .unwrap();
    let mut rows = Rows::default();
    let written = local.check_spec("c").unwrap();
    local.note_written(&Change::SetCheck(written.clone()), NOW);
    rows.checks.insert("c".into(), row(written.clone(), US));
    local.result(
        CheckResult {
            id: "c".into(),
            status: Status::Critical,
            output: "new".into(),
        },
        NOW,
    );
    assert_eq!(full(&local, &rows).changes, []);
    let later = plan(&local, &rows, &writer(), Scope::Full, NOW + INTERVAL * 2);
    assert_eq!(later.changes.len(), 1);
    let theirs = CheckSpec {
        output: "theirs".into(),
        ..written
    };
    rows.checks.insert("c".into(), row(theirs, US));
    assert_eq!(full(&local, &rows).changes.len(), 1);
}

#[test]
fn a_check_stays_away_from_a_service_that_another_writer_holds() {
    let mut local = local();
    local.register_service(
        service("a", 1),
        vec![tcp("c", "a")],
        Source::Api,
        false,
        NOW,
    );
    let mut rows = Rows::default();
    rows.services
        .insert("a".into(), row(service("a", 2), "operator:x"));
    let plan = full(&local, &rows);
    assert_eq!(plan.changes, []);
    assert_eq!(plan.in_the_way.len(), 2);
}

/// What happens on a node or in the catalog.
#[derive(Debug, Clone)]
enum Step {
    Register(u8, u16, Vec<u8>, bool),
    Deregister(u8),
    Check(u8),
    DropCheck(u8),
    Result(u8, u8),
    Maintain(u8, bool),
    ForeignService(u8, u16, u8),
    ForeignCheck(u8, u8, u8),
    ForeignDelete(u8),
    Wipe,
    Sync(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0..4u8;
    prop_oneof![
        (
            id.clone(),
            0..3u16,
            prop::collection::vec(0..4u8, 0..3),
            any::<bool>()
        )
            .prop_map(|(id, port, checks, replace)| Step::Register(id, port, checks, replace)),
        id.clone().prop_map(Step::Deregister),
        id.clone().prop_map(Step::Check),
        id.clone().prop_map(Step::DropCheck),
        (id.clone(), 0..3u8).prop_map(|(id, status)| Step::Result(id, status)),
        (id.clone(), any::<bool>()).prop_map(|(id, on)| Step::Maintain(id, on)),
        (id.clone(), 0..3u16, 0..4u8).prop_map(|(id, port, by)| Step::ForeignService(id, port, by)),
        (id.clone(), id.clone(), 0..4u8).prop_map(|(id, of, by)| Step::ForeignCheck(id, of, by)),
        id.prop_map(Step::ForeignDelete),
        Just(Step::Wipe),
        any::<bool>().prop_map(Step::Sync),
    ]
}

fn owner(by: u8) -> &'static str {
    [US, "api", "agent:2", "operator:c"][usize::from(by)]
}

/// The catalog as naive as can be: whole rows, and the rule that a check hangs on its service.
#[derive(Debug, Clone, Default)]
struct Catalog(Rows);

impl Catalog {
    /// Carries out one change as the servers do: rows of others are refused.
    fn write(&mut self, change: &Change) {
        let theirs =
            |owner: Option<&String>| owner.is_some_and(|owner| owner != US && owner != "api");
        let service = |id: &String| self.0.services.get(id).map(|row| &row.owner);
        let check = |id: &String| self.0.checks.get(id).map(|row| &row.owner);
        match change {
            Change::SetNode(_) => {}
            Change::SetService(spec) => assert!(!theirs(service(&spec.id)), "{change:?}"),
            Change::SetCheck(spec) => {
                assert!(!theirs(check(&spec.check_id)), "{change:?}");
                let of = &spec.service_id;
                assert!(
                    of.is_empty() || self.0.services.contains_key(of),
                    "{change:?}"
                );
            }
            Change::DeleteService(id) => assert_eq!(service(id).map(String::as_str), Some(US)),
            Change::DeleteCheck(id) => assert_eq!(check(id).map(String::as_str), Some(US)),
        }
        self.0.apply(change, US);
    }

    fn foreign(&self) -> Vec<String> {
        let ours = |owner: &str| owner == US || owner == "api";
        let services = self.0.services.values().filter(|row| !ours(&row.owner));
        let checks = self.0.checks.values().filter(|row| !ours(&row.owner));
        (services.map(|row| format!("{row:?}")))
            .chain(checks.map(|row| format!("{row:?}")))
            .collect()
    }
}

fn act(local: &mut Local, catalog: &mut Catalog, step: &Step, now: Duration) {
    let name = |id: u8| format!("s{id}");
    match step {
        Step::Register(id, port, checks, replace) => {
            let checks = checks
                .iter()
                .map(|check| tcp(&format!("c{id}-{check}"), &name(*id)));
            let checks = checks.collect();
            local.register_service(
                service(&name(*id), *port),
                checks,
                Source::Api,
                *replace,
                now,
            );
        }
        Step::Deregister(id) => drop(local.deregister_service(&name(*id), now)),
        Step::Check(id) => drop(local.register_check(tcp(&format!("n{id}"), ""), Source::Api, now)),
        Step::DropCheck(id) => drop(local.deregister_check(&format!("n{id}"), now)),
        Step::Result(id, status) => {
            let status = [Status::Passing, Status::Warning, Status::Critical][usize::from(*status)];
            let id = format!("n{id}");
            let output = format!("{now:?}");
            local.result(CheckResult { id, status, output }, now);
        }
        Step::Maintain(id, true) => drop(local.start_service_maintenance(&name(*id), "", now)),
        Step::Maintain(id, false) => drop(local.end_service_maintenance(&name(*id), now)),
        Step::ForeignService(id, port, by) => {
            let spec = service(&name(*id), 10 + port);
            catalog.0.services.insert(name(*id), row(spec, owner(*by)));
        }
        Step::ForeignCheck(id, of, by) => {
            let spec = CheckSpec {
                check_id: format!("n{id}"),
                service_id: if catalog.0.services.contains_key(&name(*of)) {
                    name(*of)
                } else {
                    String::new()
                },
                ..CheckSpec::default()
            };
            catalog
                .0
                .checks
                .insert(spec.check_id.clone(), row(spec, owner(*by)));
        }
        Step::ForeignDelete(id) => catalog.0.apply(&Change::DeleteService(name(*id)), ""),
        Step::Wipe => catalog.0 = Rows::default(),
        Step::Sync(_) => {}
    }
}

/// One round of anti-entropy.
fn sync(local: &mut Local, catalog: &mut Catalog, scope: Scope, now: Duration) {
    local.adopt(&catalog.0, US, now);
    local.release_outputs(now);
    let before = catalog.foreign();
    let plan = plan(local, &catalog.0, &writer(), scope, now);
    // A service of ours that goes takes checks of others that hang on it with it: that is what deregistering means.
    let drops_service = plan
        .changes
        .iter()
        .any(|change| matches!(change, Change::DeleteService(_)));
    for change in &plan.changes {
        catalog.write(change);
        local.note_written(change, now);
    }
    local.note_in_sync(&plan.in_sync);
    if !drops_service {
        assert_eq!(catalog.foreign(), before);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn after_a_plan_is_carried_out_there_is_nothing_left_to_do(steps in prop::collection::vec(step(), 1..40)) {
        let (mut local, mut catalog) = (local(), Catalog::default());
        for (second, step) in steps.iter().enumerate() {
            let now = NOW + Duration::from_secs(second as u64);
            act(&mut local, &mut catalog, step, now);
            if let Step::Sync(is_full) = step {
                let scope = if *is_full { Scope::Full } else { Scope::Marked };
                // Marks say what changed here; what changed in the catalog is for the full comparison.
                // A row that went with a service may have made room for one of ours: the second round finds it.
                if scope == Scope::Full {
                    sync(&mut local, &mut catalog, scope, now);
                    sync(&mut local, &mut catalog, scope, now);
                }
                let again = plan(&local, &catalog.0, &writer(), Scope::Marked, now);
                if scope == Scope::Full {
                    prop_assert_eq!(again.changes, vec![]);
                }
            }
        }
        let now = NOW + Duration::from_secs(100);
        sync(&mut local, &mut catalog, Scope::Full, now);
        sync(&mut local, &mut catalog, Scope::Full, now);
        let again = plan(&local, &catalog.0, &writer(), Scope::Full, now);
        prop_assert_eq!(&again.changes, &vec![]);
        // Everything this node has is there, unless another writer stands in the way.
        for (id, service) in local.services() {
            let there = &catalog.0.services[id];
            prop_assert!(there.spec == service.spec || (there.owner != US && there.owner != "api"));
        }
        for (id, row) in &catalog.0.services {
            prop_assert!(row.owner != US || local.services().contains_key(id));
        }
    }
}
