//! Sessions as `/v1/session` shows and reads them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::decode::{DecodeError, Fields, parse};
use crate::duration::GoDuration;

/// A session as clients read it and servers write it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Session {
    /// A UUID.
    #[serde(rename = "ID")]
    pub id: String,
    /// For people.
    pub name: String,
    /// The node it is bound to.
    pub node: String,
    /// Nanoseconds.
    pub lock_delay: i64,
    /// `release` or `delete`.
    pub behavior: String,
    /// As its creator spelt it; empty: none.
    #[serde(rename = "TTL")]
    pub ttl: String,
    /// Checks of the node it depends on.
    pub node_checks: Option<Vec<String>>,
    /// Checks of services it depends on.
    pub service_checks: Option<Vec<ServiceCheck>>,
    /// Index of its creation.
    pub create_index: u64,
    /// The same.
    pub modify_index: u64,
}

/// A check of a service that a session depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceCheck {
    /// The check.
    #[serde(rename = "ID")]
    pub id: String,
    /// Empty or `default`.
    pub namespace: String,
}

/// The answer of `session/create`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// The new session.
    #[serde(rename = "ID")]
    pub id: String,
}

/// What `session/create` asks for. `None`: not given, so the server's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateRequest {
    /// For people.
    pub name: String,
    /// The node to bind it to.
    pub node: Option<String>,
    /// How long its locks stay closed after it is gone.
    pub lock_delay: Option<GoDuration>,
    /// `release`, `delete`, or what the client thought of.
    pub behavior: String,
    /// As it stands there.
    pub ttl: String,
    /// Checks of the node. An empty list is respected: none.
    pub node_checks: Option<Vec<String>>,
    /// Checks of services.
    pub service_checks: Option<Vec<ServiceCheck>>,
}

/// Numbers below this are seconds, in Consul's own reading: people write 5 and mean seconds.
const LOCK_DELAY_NANOSECONDS_MIN: i64 = 1_000;

impl CreateRequest {
    /// Reads a body; an empty one asks for all defaults.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        if body.is_empty() {
            return Ok(CreateRequest::default());
        }
        let value = parse(body)?;
        let fields = Fields::of(&value, "structs.Session")?;
        Ok(CreateRequest {
            name: fields.string("Name")?,
            node: fields.optional_string("Node")?,
            lock_delay: lock_delay(&fields)?,
            behavior: fields.string("Behavior")?,
            ttl: fields.string("TTL")?,
            node_checks: node_checks(&fields)?,
            service_checks: service_checks(&fields)?,
        })
    }
}

fn lock_delay(fields: &Fields<'_>) -> Result<Option<GoDuration>, DecodeError> {
    let delay = match fields.get("LockDelay") {
        None => return Ok(None),
        Some(Value::String(text)) => text.parse()?,
        #[allow(clippy::cast_possible_truncation)] // as Go converts it
        Some(Value::Number(number)) => GoDuration(number.as_f64().unwrap_or(0.0) as i64),
        Some(other) => return Err(fields.wrong("LockDelay", other, "time.Duration")),
    };
    if delay.0 < LOCK_DELAY_NANOSECONDS_MIN {
        return Ok(Some(GoDuration::from_secs(delay.0.max(0))));
    }
    Ok(Some(delay))
}

/// `Checks` is the older name of `NodeChecks`; given together they are joined.
fn node_checks(fields: &Fields<'_>) -> Result<Option<Vec<String>>, DecodeError> {
    let node_checks = fields.strings("NodeChecks")?;
    let checks = fields.strings("Checks")?;
    Ok(match (node_checks, checks) {
        (None, checks) => checks,
        (node_checks, None) => node_checks,
        (Some(mut all), Some(checks)) => {
            all.extend(checks);
            Some(all)
        }
    })
}

fn service_checks(fields: &Fields<'_>) -> Result<Option<Vec<ServiceCheck>>, DecodeError> {
    let Some(checks) = fields.objects("ServiceChecks", "structs.ServiceCheck")? else {
        return Ok(None);
    };
    let read = |check: &Fields<'_>| {
        Ok(ServiceCheck {
            id: check.string("ID")?,
            namespace: check.string("Namespace")?,
        })
    };
    checks.iter().map(read).collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_py_consul_sends_is_understood() {
        let body = br#"{"name": "n", "node": "a", "lockdelay": "0.001s", "behavior": "delete", "ttl": "15s", "checks": []}"#;
        let request = CreateRequest::decode(body).expect("must be understood");
        assert_eq!(request.lock_delay, Some(GoDuration(1_000_000)));
        assert_eq!(request.node_checks, Some(Vec::new()));
        assert_eq!((request.name.as_str(), request.ttl.as_str()), ("n", "15s"));
        assert_eq!(request.node.as_deref(), Some("a"));
    }

    #[test]
    fn small_numbers_of_a_lock_delay_are_seconds() {
        let delay = |text: &str| {
            let body = format!("{{\"LockDelay\": {text}}}");
            CreateRequest::decode(body.as_bytes()).map(|request| request.lock_delay)
        };
        assert_eq!(delay("5"), Ok(Some(GoDuration::from_secs(5))));
        assert_eq!(delay("15000000000"), Ok(Some(GoDuration::from_secs(15))));
        assert_eq!(delay("\"1ms\""), Ok(Some(GoDuration(1_000_000))));
        assert_eq!(delay("0"), Ok(Some(GoDuration(0))));
        assert_eq!(delay("null"), Ok(None));
        assert_eq!(
            delay("\"5\"").expect_err("must fail").to_string(),
            "time: missing unit in duration \"5\""
        );
    }

    #[test]
    fn a_session_has_the_recorded_shape() {
        let session = Session {
            id: "8fc2".to_owned(),
            node: "dev-node".to_owned(),
            lock_delay: 15_000_000_000,
            behavior: "release".to_owned(),
            node_checks: Some(vec!["serfHealth".to_owned()]),
            create_index: 38,
            modify_index: 38,
            ..Session::default()
        };
        assert_eq!(
            String::from_utf8_lossy(&crate::json::to_vec(&session)),
            r#"{"ID":"8fc2","Name":"","Node":"dev-node","LockDelay":15000000000,"Behavior":"release","TTL":"","NodeChecks":["serfHealth"],"ServiceChecks":null,"CreateIndex":38,"ModifyIndex":38}"#
        );
    }
}
