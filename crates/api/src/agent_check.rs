//! A check as clients describe it to an agent: every field of Consul's, its spellings and its rules.
//!
//! Consul takes several spellings of some fields (`args` and `ScriptArgs`, snake case), and durations as text or as
//! nanoseconds; py-consul, Patroni and Vault between them send all of these.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::decode::{DecodeError, Fields};
use crate::duration::GoDuration;

/// Name of the Go struct, for errors.
const STRUCT: &str = "CheckDefinition";

/// A check's fields, as they were sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)] // Consul's fields
pub struct CheckBody {
    pub id: String,
    pub name: String,
    pub notes: String,
    pub service_id: String,
    pub status: String,
    pub args: Vec<String>,
    pub http: String,
    pub header: BTreeMap<String, Vec<String>>,
    pub method: String,
    pub body: String,
    pub disable_redirects: bool,
    pub tcp: String,
    pub tcp_use_tls: bool,
    pub udp: String,
    pub grpc: String,
    pub grpc_use_tls: bool,
    pub h2ping: String,
    pub os_service: String,
    pub docker_container_id: String,
    pub tls_server_name: String,
    pub tls_skip_verify: bool,
    pub alias_node: String,
    pub alias_service: String,
    pub interval: GoDuration,
    pub timeout: GoDuration,
    pub ttl: GoDuration,
    pub success_before_passing: i64,
    pub failures_before_warning: i64,
    pub failures_before_critical: i64,
    pub deregister_critical_service_after: GoDuration,
    pub output_max_size: i64,
}

impl CheckBody {
    /// Reads a whole body.
    pub fn from_value(value: &Value) -> Result<Self, DecodeError> {
        Self::from_fields(&Fields::of(value, STRUCT)?)
    }

    /// Reads a check within another body.
    pub fn from_fields(fields: &Fields<'_>) -> Result<Self, DecodeError> {
        let text = |names: [&str; 2]| -> Result<String, DecodeError> {
            match fields.optional_string(names[0])? {
                Some(text) if !text.is_empty() => Ok(text),
                _ => fields.string(names[1]),
            }
        };
        let flag = |names: [&str; 2]| -> Result<bool, DecodeError> {
            Ok(fields.bool(names[0])? || fields.bool(names[1])?)
        };
        let mut args = Vec::new();
        for name in ["ScriptArgs", "Args", "script_args"] {
            if args.is_empty() {
                args = fields.strings(name)?.unwrap_or_default();
            }
        }
        Ok(CheckBody {
            // `CheckID` in a service's checks, `ID` in a check by itself; both are taken in both places.
            id: text(["CheckID", "ID"])?,
            name: fields.string("Name")?,
            notes: fields.string("Notes")?,
            service_id: text(["ServiceID", "service_id"])?,
            status: fields.string("Status")?,
            args,
            http: fields.string("HTTP")?,
            header: header(fields)?,
            method: fields.string("Method")?,
            body: fields.string("Body")?,
            disable_redirects: flag(["DisableRedirects", "disable_redirects"])?,
            tcp: fields.string("TCP")?,
            tcp_use_tls: flag(["TCPUseTLS", "tcp_use_tls"])?,
            udp: fields.string("UDP")?,
            grpc: fields.string("GRPC")?,
            grpc_use_tls: flag(["GRPCUseTLS", "grpc_use_tls"])?,
            h2ping: fields.string("H2PING")?,
            os_service: text(["OSService", "os_service"])?,
            docker_container_id: text(["DockerContainerID", "docker_container_id"])?,
            tls_server_name: text(["TLSServerName", "tls_server_name"])?,
            tls_skip_verify: flag(["TLSSkipVerify", "tls_skip_verify"])?,
            alias_node: text(["AliasNode", "alias_node"])?,
            alias_service: text(["AliasService", "alias_service"])?,
            interval: duration(fields, &["Interval"])?,
            timeout: duration(fields, &["Timeout"])?,
            ttl: duration(fields, &["TTL"])?,
            success_before_passing: number(
                fields,
                ["SuccessBeforePassing", "success_before_passing"],
            )?,
            failures_before_warning: number(
                fields,
                ["FailuresBeforeWarning", "failures_before_warning"],
            )?,
            failures_before_critical: number(
                fields,
                ["FailuresBeforeCritical", "failures_before_critical"],
            )?,
            deregister_critical_service_after: duration(
                fields,
                &[
                    "DeregisterCriticalServiceAfter",
                    "deregister_critical_service_after",
                ],
            )?,
            output_max_size: number(fields, ["OutputMaxSize", "output_max_size"])?,
        })
    }

    /// Whether nothing was given: Consul's clients send an empty `Check` beside `Checks`.
    pub fn is_empty(&self) -> bool {
        *self == CheckBody::default()
    }

    /// Whether the fields make a check. The words are Consul's.
    pub fn validate(&self) -> Result<(), String> {
        let run = !self.args.is_empty()
            || [
                &self.http,
                &self.tcp,
                &self.udp,
                &self.grpc,
                &self.h2ping,
                &self.os_service,
            ]
            .iter()
            .any(|target| !target.is_empty());
        let alias = !self.alias_node.is_empty() || !self.alias_service.is_empty();
        let wrong = if self.interval.0 > 0 && self.ttl.0 > 0 {
            "Interval and TTL cannot both be specified"
        } else if run && self.interval.0 <= 0 {
            "Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"
        } else if run && alias {
            "Interval cannot be set for Alias checks"
        } else if alias && self.ttl.0 > 0 {
            "TTL must be not be set for Alias checks"
        } else if !run && !alias && self.ttl.0 <= 0 {
            "TTL must be > 0 for TTL checks"
        } else if self.output_max_size < 0 {
            "MaxOutputMaxSize must be positive"
        } else if self.failures_before_warning > self.failures_before_critical {
            "FailuresBeforeWarning can't be higher than FailuresBeforeCritical"
        } else {
            return Ok(());
        };
        Err(wrong.to_owned())
    }
}

fn header(fields: &Fields<'_>) -> Result<BTreeMap<String, Vec<String>>, DecodeError> {
    const WANTED: &str = "map[string][]string";
    let Some(value) = fields.get("Header") else {
        return Ok(BTreeMap::new());
    };
    let Value::Object(entries) = value else {
        return Err(fields.wrong("Header", value, WANTED));
    };
    let mut header = BTreeMap::new();
    for (name, values) in entries {
        let texts = match values {
            Value::Null => Vec::new(),
            Value::Array(items) => (items.iter())
                .map(|item| match item {
                    Value::String(text) => Ok(text.clone()),
                    other => Err(fields.wrong("Header", other, "string")),
                })
                .collect::<Result<_, _>>()?,
            other => return Err(fields.wrong("Header", other, "[]string")),
        };
        header.insert(name.clone(), texts);
    }
    Ok(header)
}

/// Text in Go's spelling, or nanoseconds. Other values count as not there, as in Consul.
fn duration(fields: &Fields<'_>, names: &[&str]) -> Result<GoDuration, DecodeError> {
    for name in names {
        match fields.get(name) {
            Some(Value::String(text)) => return Ok(text.parse()?),
            Some(Value::Number(number)) => {
                let nanoseconds = number
                    .as_i64()
                    .or_else(|| number.as_f64().map(|f| f as i64));
                return Ok(GoDuration(nanoseconds.unwrap_or(0)));
            }
            _ => {}
        }
    }
    Ok(GoDuration(0))
}

fn number(fields: &Fields<'_>, names: [&str; 2]) -> Result<i64, DecodeError> {
    match fields.i64(names[0])? {
        0 => fields.i64(names[1]),
        number => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(json: &str) -> Option<String> {
        let value = crate::decode::parse(json.as_bytes()).unwrap();
        CheckBody::from_value(&value).unwrap().validate().err()
    }

    #[test]
    fn what_makes_no_check_is_said_in_consuls_words() {
        for (json, expected) in [
            (r#"{"Name": "x"}"#, Some("TTL must be > 0 for TTL checks")),
            (
                r#"{"HTTP": "http://x"}"#,
                Some("Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"),
            ),
            (
                r#"{"TTL": "10s", "Interval": "10s", "HTTP": "http://x"}"#,
                Some("Interval and TTL cannot both be specified"),
            ),
            (
                r#"{"AliasService": "a", "TTL": "1s"}"#,
                Some("TTL must be not be set for Alias checks"),
            ),
            (
                r#"{"TTL": "1s", "OutputMaxSize": -1}"#,
                Some("MaxOutputMaxSize must be positive"),
            ),
            (
                r#"{"TTL": "1s", "FailuresBeforeWarning": 3, "FailuresBeforeCritical": 2}"#,
                Some("FailuresBeforeWarning can't be higher than FailuresBeforeCritical"),
            ),
            (r#"{"ttl": "1s"}"#, None),
            (r#"{"alias_service": "a"}"#, None),
            (r#"{"TTL": 1000000000}"#, None),
        ] {
            assert_eq!(words(json).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn a_text_that_is_no_duration_is_an_error_in_gos_words() {
        let value = crate::decode::parse(br#"{"TTL": "soon"}"#).unwrap();
        let error = CheckBody::from_value(&value).unwrap_err();
        assert_eq!(error.to_string(), "time: invalid duration \"soon\"");
    }
}
