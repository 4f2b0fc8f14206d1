//! A service as clients describe it to an agent, and what makes it a service.
//!
//! The fields of the mesh are read only to refuse what would have to work and would not: a sidecar, a proxy.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use crate::agent_check::CheckBody;
use crate::decode::{DecodeError, Fields};

/// Name of the Go struct, for errors.
const STRUCT: &str = "ServiceDefinition";
/// Pairs of metadata. Consul's.
const META_PAIRS_MAX: usize = 64;
/// Bytes of a key of metadata. Consul's.
const META_KEY_BYTES_MAX: usize = 128;
/// Bytes of a value of metadata. Consul's.
const META_VALUE_BYTES_MAX: usize = 512;
/// Prefix of keys that Consul keeps for itself.
const META_RESERVED: &str = "consul-";
/// Largest DNS weight and port.
const U16_MAX: i64 = u16::MAX as i64;

/// A service's fields, as they were sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)] // Consul's fields
pub struct ServiceBody {
    pub kind: String,
    pub id: String,
    pub name: String,
    pub tags: Vec<String>,
    pub address: String,
    pub tagged_addresses: BTreeMap<String, (String, i64)>,
    pub meta: BTreeMap<String, String>,
    pub port: i64,
    pub socket_path: String,
    pub weights: Option<(i64, i64)>,
    pub enable_tag_override: bool,
    pub checks: Vec<CheckBody>,
    pub has_sidecar: bool,
}

impl ServiceBody {
    /// Reads a whole body.
    pub fn from_value(value: &Value) -> Result<Self, DecodeError> {
        let fields = Fields::of(value, STRUCT)?;
        let mut tagged_addresses = BTreeMap::new();
        for name in ["TaggedAddresses", "tagged_addresses"] {
            if !tagged_addresses.is_empty() {
                break;
            }
            for (kind, address) in fields
                .object_map(name, "ServiceAddress")?
                .into_iter()
                .flatten()
            {
                tagged_addresses.insert(kind, (address.string("Address")?, address.i64("Port")?));
            }
        }
        let weights = match fields.object("Weights", "Weights")? {
            Some(weights) => Some((weights.i64("Passing")?, weights.i64("Warning")?)),
            None => None,
        };
        let mut checks = Vec::new();
        if let Some(check) = fields.object("Check", "CheckType")? {
            let check = CheckBody::from_fields(&check)?;
            if !check.is_empty() {
                checks.push(check);
            }
        }
        for check in fields.objects("Checks", "CheckType")?.into_iter().flatten() {
            checks.push(CheckBody::from_fields(&check)?);
        }
        let has_sidecar = match fields.object("Connect", "ServiceConnect")? {
            Some(connect) => {
                connect.get("SidecarService").is_some() || connect.get("sidecar_service").is_some()
            }
            None => false,
        };
        Ok(ServiceBody {
            kind: fields.string("Kind")?,
            id: fields.string("ID")?,
            name: fields.string("Name")?,
            tags: fields.strings("Tags")?.unwrap_or_default(),
            address: fields.string("Address")?,
            tagged_addresses,
            meta: fields.string_map("Meta")?.unwrap_or_default(),
            port: fields.i64("Port")?,
            socket_path: fields.string("SocketPath")?,
            weights,
            enable_tag_override: fields.bool("EnableTagOverride")?
                || fields.bool("enable_tag_override")?,
            checks,
            has_sidecar,
        })
    }

    /// Whether the fields make a service, in Consul's order and words.
    pub fn validate(&self) -> Result<(), String> {
        if self.name.is_empty() {
            return Err("Missing service name".to_owned());
        }
        if is_any(&self.address) {
            return Err("Invalid service address".to_owned());
        }
        if let Some(weights) = self.weights {
            validate_weights(weights).map_err(|words| format!("Invalid Weights: {words}"))?;
        }
        validate_meta(&self.meta).map_err(|words| format!("Invalid Service Meta: {words}"))?;
        let port = |port: i64| (0..=U16_MAX).contains(&port);
        if !port(self.port) || !self.tagged_addresses.values().all(|(_, it)| port(*it)) {
            return Err("Validation failed: Port must be between 0 and 65535".to_owned());
        }
        if !self.kind.is_empty() || self.has_sidecar {
            return Err("Validation failed: there is no service mesh here: Kind must be empty, and there are no sidecars".to_owned());
        }
        if !self.socket_path.is_empty() {
            return Err("Validation failed: SocketPath is not supported by the agent".to_owned());
        }
        for check in &self.checks {
            check
                .validate()
                .map_err(|words| format!("Invalid check: {words}"))?;
            if !matches!(
                check.status.as_str(),
                "" | "passing" | "warning" | "critical"
            ) {
                return Err("Status for checks must 'passing', 'warning', 'critical'".to_owned());
            }
        }
        Ok(())
    }
}

/// Whether an address means "all of this machine", which nobody else can reach.
fn is_any(address: &str) -> bool {
    address
        .parse::<IpAddr>()
        .is_ok_and(|ip| ip.is_unspecified())
}

/// Whether DNS weights are within bounds.
pub fn validate_weights((passing, warning): (i64, i64)) -> Result<(), &'static str> {
    if passing < 1 {
        return Err("Passing must be greater than 0");
    }
    if warning < 0 {
        return Err("Warning must be greater or equal than 0");
    }
    if passing > U16_MAX || warning > U16_MAX {
        return Err("DNS Weight must be between 0 and 65535");
    }
    Ok(())
}

/// Whether metadata is within bounds.
pub fn validate_meta(meta: &BTreeMap<String, String>) -> Result<(), String> {
    if meta.len() > META_PAIRS_MAX {
        return Err(format!(
            "Node metadata cannot contain more than {META_PAIRS_MAX} key/value pairs"
        ));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    for (key, value) in meta {
        let wrong = if key.is_empty() {
            "Key cannot be blank".to_owned()
        } else if !key.chars().all(allowed) {
            "Key contains invalid characters".to_owned()
        } else if key.len() > META_KEY_BYTES_MAX {
            format!("Key is too long (limit: {META_KEY_BYTES_MAX} characters)")
        } else if key.starts_with(META_RESERVED) {
            format!("Key prefix '{META_RESERVED}' is reserved for internal use")
        } else if value.len() > META_VALUE_BYTES_MAX {
            format!("Value is too long (limit: {META_VALUE_BYTES_MAX} characters)")
        } else {
            continue;
        };
        return Err(format!(
            "Couldn't load metadata pair ('{key}', '{value}'): {wrong}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(json: &str) -> Option<String> {
        let value = crate::decode::parse(json.as_bytes()).unwrap();
        ServiceBody::from_value(&value).unwrap().validate().err()
    }

    #[test]
    fn what_makes_no_service_is_said_in_consuls_words() {
        for (json, expected) in [
            (r#"{"Port": 1}"#, Some("Missing service name")),
            (
                r#"{"name": "a", "Address": "0.0.0.0"}"#,
                Some("Invalid service address"),
            ),
            (
                r#"{"Name": "a", "Address": "::"}"#,
                Some("Invalid service address"),
            ),
            (
                r#"{"Name": "a", "Weights": {"Passing": 0, "Warning": 0}}"#,
                Some("Invalid Weights: Passing must be greater than 0"),
            ),
            (
                r#"{"Name": "a", "Weights": {"Passing": 1, "Warning": 65536}}"#,
                Some("Invalid Weights: DNS Weight must be between 0 and 65535"),
            ),
            (
                r#"{"Name": "a", "Meta": {"a b": "c"}}"#,
                Some(
                    "Invalid Service Meta: Couldn't load metadata pair ('a b', 'c'): Key contains invalid characters",
                ),
            ),
            (
                r#"{"Name": "a", "Check": {"HTTP": "http://x"}}"#,
                Some(
                    "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks",
                ),
            ),
            (
                r#"{"Name": "a", "Checks": [{"TTL": "1s", "Status": "odd"}]}"#,
                Some("Status for checks must 'passing', 'warning', 'critical'"),
            ),
            (
                r#"{"Name": "a", "Check": {}, "Checks": null, "Connect": {}, "Weights": null}"#,
                None,
            ),
            (
                r#"{"Name": "a", "Meta": {"a-b_C1": ""}, "enable_tag_override": true}"#,
                None,
            ),
        ] {
            assert_eq!(words(json).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn a_mesh_is_refused_where_it_would_have_to_work() {
        for json in [
            r#"{"Name": "a", "Kind": "connect-proxy"}"#,
            r#"{"Name": "a", "Connect": {"SidecarService": {}}}"#,
            r#"{"Name": "a", "Connect": {"sidecar_service": {}}}"#,
        ] {
            assert!(words(json).unwrap().contains("no service mesh"), "{json}");
        }
        assert_eq!(
            words(r#"{"Name": "a", "Connect": {"Native": false}}"#),
            None
        );
    }

    #[test]
    fn both_spellings_of_tagged_addresses_are_read() {
        for name in ["TaggedAddresses", "tagged_addresses"] {
            let json = format!(
                r#"{{"Name": "a", "{name}": {{"lan": {{"address": "10.0.0.1", "port": 7}}}}}}"#
            );
            let value = crate::decode::parse(json.as_bytes()).unwrap();
            let body = ServiceBody::from_value(&value).unwrap();
            assert_eq!(
                body.tagged_addresses["lan"],
                ("10.0.0.1".to_owned(), 7),
                "{name}"
            );
        }
    }
}
