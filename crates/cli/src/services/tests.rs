//! What files of definitions are read as, and what is said of those that cannot be.

use serde_json::json;

use super::definition::parse;
use super::*;

fn fields(text: &str) -> Vec<Value> {
    let definitions = parse(text).unwrap_or_else(|error| panic!("{text}: {error:#}"));
    let fields = definitions.iter().map(|one| one.fields().clone().into());
    fields.collect()
}

#[test]
fn consuls_configuration_and_its_api_are_the_same_definition() {
    let expected = json!({
        "Name": "web", "ID": "web-1", "Tags": ["a"], "Port": 80, "Meta": {"version": "1.20"},
        "Weights": {"Passing": 5}, "EnableTagOverride": true,
        "TaggedAddresses": {"lan": {"Address": "10.0.0.1", "Port": 81}},
        "Checks": [{"HTTP": "http://x/", "Interval": "10s", "TLSSkipVerify": true,
                    "Header": {"x-y": ["z"]}, "DeregisterCriticalServiceAfter": "1m"}],
    });
    let yaml = "
service:
  name: web
  id: web-1
  tags: [a]
  port: 80
  meta: {version: '1.20'}
  weights: {passing: 5}
  enable_tag_override: true
  tagged_addresses: {lan: {address: 10.0.0.1, port: 81}}
  checks:
    - http: http://x/
      interval: 10s
      tls_skip_verify: true
      header: {x-y: [z]}
      deregister_critical_service_after: 1m
";
    assert_eq!(fields(yaml), fields(&expected.to_string()));
    assert_eq!(fields(yaml), [expected]);
}

#[test]
fn one_definition_or_many_may_stand_in_a_file() {
    let names = |text: &str| {
        let all = parse(text).unwrap_or_else(|error| panic!("{text}: {error:#}"));
        let names: Vec<String> = all.iter().map(|one| one.name().to_owned()).collect();
        names.join(" ")
    };
    assert_eq!(names("name: a"), "a");
    assert_eq!(names("[{name: a}, {name: b}]"), "a b");
    assert_eq!(names("services: [{name: a}, {name: b}]"), "a b");
    assert_eq!(names("services: [{name: b}]\nservice: {name: a}"), "a b");
    assert_eq!(names("name: a\n---\nname: b\n---\n"), "a b");
    assert_eq!(names(""), "");
    let ids: Vec<String> = (parse("[{name: a, id: x}, {name: b}]").expect("good").iter())
        .map(|one| one.id().to_owned())
        .collect();
    assert_eq!(ids, ["x", "b"]);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (text, expected) in [
        ("{", "neither YAML nor JSON"),
        ("web", "expected a definition, found \"web\""),
        ("port: 80", "a service needs a name"),
        (
            "services: [{name: a}, {}]",
            "services[1]: a service needs a name",
        ),
        (
            "{name: a, prot: 80}",
            "prot: unknown, expected one of ID, Name,",
        ),
        (
            "{name: a, port: '80'}",
            "port: expected a number, found \"80\"",
        ),
        ("{name: a, Port: 1, port: 2}", "port: stands there twice"),
        (
            "{name: a, meta: {version: 1.2}}",
            "meta.version: 1.2 is no text; put it in quotes",
        ),
        (
            "{name: a, tags: web}",
            "tags: expected a list, found \"web\"",
        ),
        (
            "{name: a, connect: {}}",
            "connect: only Consul's service mesh has it",
        ),
        (
            "{name: a, checks: [{ttl: 1s}, {http: 'http://x'}]}",
            "checks[1]: Interval must be > 0 for Script,",
        ),
        (
            "{name: a, check: {ttl: soon}}",
            "check: time: invalid duration \"soon\"",
        ),
        (
            "{name: a, check: {ttl: 1s, interal: 1s}}",
            "check.interal: unknown",
        ),
    ] {
        let error = format!("{:#}", parse(text).expect_err(text));
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}
