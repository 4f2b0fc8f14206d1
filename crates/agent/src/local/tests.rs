//! Rules of local state, one table or sentence each.

use rollcall_api::agent_check::CheckBody;

use super::*;
use crate::definition::CheckResult;

const NOW: Duration = Duration::from_secs(100);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn local() -> Local {
    Local::new(LocalSettings {
        node: "n1".into(),
        check_update_interval: secs(300),
    })
}

fn service(id: &str) -> ServiceSpec {
    ServiceSpec {
        id: id.into(),
        service: "web".into(),
        ..ServiceSpec::default()
    }
}

fn check(id: &str, service: &str, json: &str) -> Definition {
    let value = rollcall_api::decode::parse(json.as_bytes()).unwrap();
    let body = CheckBody::from_value(&value).unwrap();
    Definition::from_body(body, id.into(), service.into()).unwrap()
}

fn ttl(id: &str, service: &str) -> Definition {
    check(id, service, r#"{"TTL": "10s"}"#)
}

fn http(id: &str, service: &str) -> Definition {
    check(id, service, r#"{"HTTP": "http://x", "Interval": "10s"}"#)
}

fn result(id: &str, status: Status, output: &str) -> CheckResult {
    CheckResult {
        id: id.into(),
        status,
        output: output.into(),
    }
}

fn status(local: &Local, id: &str) -> Status {
    local.checks()[id].status
}

/// Lets the catalog have everything.
fn sync(local: &mut Local, now: Duration) {
    for key in local.unsynced().clone() {
        let change = match key {
            Key::Service(id) => match local.services().get(&id) {
                Some(service) => crate::rows::Change::SetService(service.spec.clone()),
                None => crate::rows::Change::DeleteService(id),
            },
            Key::Check(id) => match local.check_spec(&id) {
                Some(spec) => crate::rows::Change::SetCheck(spec),
                None => crate::rows::Change::DeleteCheck(id),
            },
        };
        local.note_written(&change, now);
    }
    assert!(local.unsynced().is_empty(), "{:?}", local.unsynced());
}

#[test]
fn a_service_that_is_registered_again_keeps_the_health_of_its_checks() {
    let mut local = local();
    local.register_service(service("a"), vec![ttl("c", "a")], Source::Api, false, NOW);
    local.update_ttl("c", Status::Passing, "fine", NOW).unwrap();
    local.register_service(service("a"), vec![ttl("c", "a")], Source::Api, false, NOW);
    assert_eq!(status(&local, "c"), Status::Passing);
    assert_eq!(local.checks()["c"].output, "fine");
}

#[test]
fn replace_existing_checks_removes_what_is_not_named_but_keeps_the_maintenance() {
    let mut local = local();
    let checks = vec![http("old", "a"), ttl("kept", "a")];
    local.register_service(service("a"), checks, Source::Api, false, NOW);
    local
        .register_check(ttl("node", ""), Source::Api, NOW)
        .unwrap();
    local.start_service_maintenance("a", "r", NOW).unwrap();
    let again = |local: &mut Local, replace| {
        local.register_service(
            service("a"),
            vec![ttl("kept", "a")],
            Source::Api,
            replace,
            NOW,
        )
    };
    assert_eq!(again(&mut local, false), Effects::default());
    let effects = again(&mut local, true);
    assert_eq!(effects.stopped, ["old"]);
    assert_eq!(effects.checks_gone, ["old"]);
    let left: Vec<_> = local.checks().keys().map(String::as_str).collect();
    assert_eq!(left, ["_service_maintenance:a", "kept", "node"]);
}

#[test]
fn a_deregistered_service_takes_its_checks_with_it() {
    let mut local = local();
    local.register_service(service("a"), vec![http("c", "a")], Source::Api, false, NOW);
    local.start_service_maintenance("a", "", NOW).unwrap();
    let effects = local.deregister_service("a", NOW).unwrap();
    assert_eq!(effects.stopped, ["c"]);
    assert!(local.checks().is_empty() && local.services().is_empty());
    assert_eq!(local.next_due(), None);
    let error = local.deregister_service("a", NOW).unwrap_err().to_string();
    assert_eq!(
        error,
        "Unknown service ID \"a\". Ensure that the service ID is passed, not the service name."
    );
}

#[test]
fn a_ttl_check_turns_critical_when_nobody_speaks_for_it() {
    let mut local = local();
    local
        .register_check(ttl("c", ""), Source::Api, NOW)
        .unwrap();
    local
        .update_ttl("c", Status::Passing, "fine", NOW + secs(5))
        .unwrap();
    assert_eq!(local.expire(NOW + secs(14)), Outcome::Quiet);
    assert_eq!(local.next_due(), Some(NOW + secs(15)));
    assert_eq!(local.expire(NOW + secs(15)), Outcome::Status);
    assert_eq!(status(&local, "c"), Status::Critical);
    let output = &local.checks()["c"].output;
    assert_eq!(
        output,
        "TTL expired (last output before timeout follows): fine"
    );
    local
        .update_ttl("c", Status::Warning, "", NOW + secs(16))
        .unwrap();
    assert_eq!(status(&local, "c"), Status::Warning);
}

#[test]
fn only_ttl_checks_can_be_told_how_they_are() {
    let mut local = local();
    local
        .register_check(http("h", ""), Source::Api, NOW)
        .unwrap();
    for (id, words) in [
        ("h", "CheckID \"h\" does not have associated TTL"),
        (
            "ghost",
            "Unknown check ID \"ghost\". Ensure that the check ID is passed, not the check name.",
        ),
    ] {
        let error = local.update_ttl(id, Status::Passing, "", NOW).unwrap_err();
        assert_eq!(error.to_string(), words);
    }
}

#[test]
fn an_output_that_changes_alone_is_marked_at_most_every_interval() {
    let mut local = local();
    local
        .register_check(http("h", ""), Source::Api, NOW)
        .unwrap();
    local.result(result("h", Status::Passing, "0"), NOW);
    sync(&mut local, NOW);
    for second in 1..300 {
        let outcome = local.result(
            result("h", Status::Passing, &second.to_string()),
            NOW + secs(second),
        );
        assert_eq!(outcome, Outcome::Quiet);
        local.release_outputs(NOW + secs(second));
        assert!(local.unsynced().is_empty(), "after {second} s");
    }
    let due = local.next_due().unwrap();
    assert!(due >= NOW + secs(300) && due <= NOW + secs(375), "{due:?}");
    local.release_outputs(due);
    assert_eq!(local.unsynced().len(), 1);
    // A status is never held back.
    sync(&mut local, due);
    assert_eq!(
        local.result(result("h", Status::Critical, "x"), due),
        Outcome::Status
    );
    assert_eq!(local.unsynced().len(), 1);
}

#[test]
fn a_service_that_stays_critical_is_deregistered_and_one_that_recovers_is_not() {
    let mut local = local();
    let json =
        r#"{"HTTP": "http://x", "Interval": "10s", "DeregisterCriticalServiceAfter": "90s"}"#;
    for id in ["a", "b"] {
        let checks = vec![check(&format!("of-{id}"), id, json)];
        local.register_service(service(id), checks, Source::Api, false, NOW);
    }
    local.result(result("of-b", Status::Passing, ""), NOW + secs(60));
    assert_eq!(local.reap(NOW + secs(89)), Effects::default());
    assert_eq!(local.next_due(), Some(NOW + secs(90)));
    assert_eq!(local.reap(NOW + secs(90)).services_gone, ["a"]);
    assert_eq!(local.next_due(), None);
    local.result(result("of-b", Status::Critical, ""), NOW + secs(200));
    assert_eq!(local.next_due(), Some(NOW + secs(290)));
}

#[test]
fn an_alias_follows_the_worst_check_of_its_service_and_of_the_node() {
    let mut local = local();
    let alias = check("alias", "", r#"{"AliasService": "a", "Name": "al"}"#);
    local.register_check(alias, Source::Api, NOW).unwrap();
    assert_eq!(status(&local, "alias"), Status::Critical);
    let named = check("c", "a", r#"{"TTL": "10s", "Name": "see"}"#);
    local.register_service(service("a"), vec![named], Source::Api, false, NOW);
    local.update_ttl("c", Status::Passing, "", NOW).unwrap();
    assert_eq!(status(&local, "alias"), Status::Passing);
    assert_eq!(local.checks()["alias"].output, "All checks passing.");
    local.update_ttl("c", Status::Warning, "hm", NOW).unwrap();
    assert_eq!(status(&local, "alias"), Status::Warning);
    assert_eq!(
        local.checks()["alias"].output,
        "Aliased check \"see\" failing: hm"
    );
    local.expire(NOW + secs(10));
    assert_eq!(status(&local, "alias"), Status::Critical);
}

#[test]
fn maintenance_has_the_ids_and_words_that_clients_match() {
    let mut local = local();
    local.register_service(service("scope/a"), Vec::new(), Source::Api, false, NOW);
    local.start_node_maintenance("upgrade", NOW);
    local.start_node_maintenance("another reason", NOW);
    local.start_service_maintenance("scope/a", "", NOW).unwrap();
    let node = &local.checks()["_node_maintenance"];
    assert_eq!(node.definition.name, "Node Maintenance Mode");
    assert_eq!(node.definition.notes, "upgrade");
    let of_service = &local.checks()["_service_maintenance:scope/a"];
    assert_eq!(of_service.definition.name, "Service Maintenance Mode");
    assert_eq!(of_service.status, Status::Critical);
    local.end_node_maintenance(NOW);
    local.end_service_maintenance("scope/a", NOW).unwrap();
    assert!(local.checks().is_empty());
    assert!(local.end_service_maintenance("ghost", NOW).is_err());
}

#[test]
fn health_in_one_word_is_the_worst_of_the_service_and_its_node() {
    use Status::{Critical, Passing, Warning};
    for (own, node, maintenance, word) in [
        (Passing, Passing, false, "passing"),
        (Warning, Passing, false, "warning"),
        (Passing, Warning, false, "warning"),
        (Warning, Critical, false, "critical"),
        (Passing, Passing, true, "maintenance"),
        (Critical, Critical, true, "maintenance"),
    ] {
        let mut local = local();
        local.register_service(service("a"), vec![http("c", "a")], Source::Api, false, NOW);
        local.register_service(
            service("b"),
            vec![http("other", "b")],
            Source::Api,
            false,
            NOW,
        );
        local
            .register_check(http("n", ""), Source::Api, NOW)
            .unwrap();
        local.result(result("c", own, ""), NOW);
        local.result(result("n", node, ""), NOW);
        if maintenance {
            local.start_service_maintenance("a", "", NOW).unwrap();
        }
        let health = local.health_of("a").unwrap();
        assert_eq!(health.aggregated.as_str(), word);
        assert_eq!(health.checks.len(), 2 + usize::from(maintenance));
    }
}

#[test]
fn a_check_of_a_service_that_is_not_here_is_refused() {
    let mut local = local();
    let error = local
        .register_check(ttl("c", "ghost"), Source::Api, NOW)
        .unwrap_err();
    assert_eq!(error.to_string(), "ServiceID \"ghost\" does not exist");
}

#[test]
fn intervals_are_shown_as_consul_shows_them() {
    let mut local = local();
    let mut with_service = http("with", "a");
    with_service.with_service = true;
    let mut ttl_with = ttl("ttl-with", "a");
    ttl_with.with_service = true;
    local.register_service(
        service("a"),
        vec![with_service, ttl_with],
        Source::Api,
        false,
        NOW,
    );
    local
        .register_check(ttl("alone", ""), Source::Api, NOW)
        .unwrap();
    local.start_node_maintenance("", NOW);
    let shown = |id: &str| {
        let check = &local.checks()[id];
        (check.interval_text(), check.timeout_text())
    };
    assert_eq!(shown("with"), ("10s".into(), String::new()));
    assert_eq!(shown("ttl-with"), (String::new(), String::new()));
    assert_eq!(shown("alone"), ("0s".into(), "0s".into()));
    assert_eq!(shown("_node_maintenance"), (String::new(), String::new()));
}
