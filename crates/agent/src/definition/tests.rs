//! Definitions out of bodies and files.

use super::*;

fn definition(json: &str) -> Result<Definition, DefinitionError> {
    let value = rollcall_api::decode::parse(json.as_bytes()).unwrap();
    let body = CheckBody::from_value(&value).unwrap();
    body.validate().map_err(DefinitionError::Invalid)?;
    Definition::from_body(body, "c".into(), String::new())
}

#[test]
fn each_kind_is_told_by_its_fields() {
    for (json, kind) in [
        (r#"{"TTL": "10s"}"#, "ttl"),
        (r#"{"AliasService": "web"}"#, "alias"),
        (r#"{"http": "http://x", "interval": "10s"}"#, "http"),
        (r#"{"tcp": "x:1", "Interval": 1000000000}"#, "tcp"),
        (
            r#"{"grpc": "x:1/s", "Interval": "1s", "grpc_use_tls": true}"#,
            "grpc",
        ),
        (r#"{"args": ["true"], "Interval": "1s"}"#, "script"),
        (r#"{"ScriptArgs": ["true"], "Interval": "1s"}"#, "script"),
    ] {
        assert_eq!(definition(json).unwrap().type_name(), kind, "{json}");
    }
}

#[test]
fn bounds_are_applied() {
    let found = definition(
        r#"{"HTTP": "http://x", "Interval": "10ms", "deregister_critical_service_after": "1s",
            "OutputMaxSize": 100000, "SuccessBeforePassing": 3, "Status": "passing"}"#,
    )
    .unwrap();
    assert_eq!(found.every().unwrap().interval, INTERVAL_MIN);
    assert_eq!(
        found.deregister_critical_service_after,
        Some(DEREGISTER_AFTER_MIN)
    );
    assert_eq!(found.output_bytes_max, OUTPUT_BYTES_MAX);
    assert_eq!(found.thresholds.success_before_passing, 3);
    assert_eq!(found.initial_status, Status::Passing);
}

#[test]
fn a_definition_is_read_back_from_its_file() {
    for json in [
        r#"{"TTL": "10s", "Notes": "n"}"#,
        r#"{"HTTP": "https://x", "Interval": "10s", "Timeout": "500ms", "Header": {"A": ["b", "c"]},
            "TLSServerName": "y", "TLSSkipVerify": true, "DeregisterCriticalServiceAfter": "90m"}"#,
        r#"{"AliasNode": "n", "AliasService": "s"}"#,
    ] {
        let before = definition(json).unwrap();
        let written = serde_json::to_string(&before).unwrap();
        assert_eq!(
            serde_json::from_str::<Definition>(&written).unwrap(),
            before
        );
    }
}

#[test]
fn kinds_that_are_not_run_are_refused_by_name() {
    for (json, words) in [
        (
            r#"{"UDP": "x:1", "Interval": "1s"}"#,
            "Invalid check: UDP checks are not supported",
        ),
        (
            r#"{"DockerContainerID": "x", "Args": ["a"], "Interval": "1s"}"#,
            "Invalid check: Docker checks are not supported",
        ),
    ] {
        assert_eq!(definition(json).unwrap_err().to_string(), words);
    }
}
