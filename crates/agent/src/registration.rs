//! What clients and files say of services and checks, made into what the agent keeps.
//!
//! One place for both, so that a service of the configuration and one of the API are the same in every default.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rollcall_api::agent_check::CheckBody;
use rollcall_api::agent_service::ServiceBody;

use crate::definition::{Definition, Status};
use crate::rows::{ServiceSpec, TaggedAddress, Weights};

/// A service and its checks.
///
/// # Errors
/// Why it is none, in Consul's words.
pub fn service(body: ServiceBody) -> Result<(ServiceSpec, Vec<Definition>), String> {
    body.validate()?;
    let id = if body.id.is_empty() {
        body.name.clone()
    } else {
        body.id
    };
    let single = body.checks.len() == 1;
    let mut checks = Vec::with_capacity(body.checks.len());
    for (index, mut check) in body.checks.into_iter().enumerate() {
        let check_id = match check.id.as_str() {
            "" if single => format!("service:{id}"),
            "" => format!("service:{id}:{}", index + 1),
            given => given.to_owned(),
        };
        if check.name.is_empty() {
            check.name = format!("Service '{}' check", body.name);
        }
        let made = Definition::from_body(check, check_id, id.clone());
        let mut check = made.map_err(|error| error.to_string())?;
        check.with_service = true;
        checks.push(check);
    }
    let small = |number: i64| u32::try_from(number).unwrap_or(0);
    let port = |number: i64| u16::try_from(number).unwrap_or(0);
    let (passing, warning) = body.weights.unwrap_or((1, 1));
    let mut tagged_addresses: BTreeMap<String, TaggedAddress> = (body.tagged_addresses.into_iter())
        .map(|(kind, (address, it))| {
            (
                kind,
                TaggedAddress {
                    address,
                    port: port(it),
                },
            )
        })
        .collect();
    if let Ok(ip) = body.address.parse::<IpAddr>() {
        let family = if ip.is_ipv4() { "ipv4" } else { "ipv6" };
        for network in ["lan", "wan"] {
            let same = || TaggedAddress {
                address: body.address.clone(),
                port: port(body.port),
            };
            tagged_addresses
                .entry(format!("{network}_{family}"))
                .or_insert_with(same);
        }
    }
    let service = ServiceSpec {
        id,
        service: body.name,
        tags: body.tags,
        address: body.address,
        tagged_addresses,
        meta: body.meta,
        port: port(body.port),
        weights: Weights {
            passing: small(passing),
            warning: small(warning),
        },
        enable_tag_override: body.enable_tag_override,
    };
    Ok((service, checks))
}

/// A check by itself.
///
/// # Errors
/// Why it is none, in Consul's words.
pub fn check(body: CheckBody) -> Result<Definition, String> {
    if body.name.is_empty() {
        return Err("Missing check name".to_owned());
    }
    if !body.status.is_empty() && Status::from_text(&body.status).is_none() {
        return Err("Bad check status".to_owned());
    }
    body.validate()
        .map_err(|words| format!("Invalid check: {words}"))?;
    let id = if body.id.is_empty() {
        body.name.clone()
    } else {
        body.id.clone()
    };
    let service = body.service_id.clone();
    Definition::from_body(body, id, service).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(json: &str) -> (ServiceSpec, Vec<Definition>) {
        let value = rollcall_api::decode::parse(json.as_bytes()).unwrap();
        service(ServiceBody::from_value(&value).unwrap()).unwrap()
    }

    #[test]
    fn checks_of_a_service_get_the_ids_and_names_that_clients_expect() {
        let ids = |json: &str| -> Vec<(String, String)> {
            let checks = made(json).1.into_iter();
            checks.map(|check| (check.id, check.name)).collect()
        };
        let named = |id: &str| (id.to_owned(), "Service 'web' check".to_owned());
        let single = r#"{"ID": "w1", "Name": "web", "Check": {"TTL": "1s"}}"#;
        assert_eq!(ids(single), [named("service:w1")]);
        let several =
            r#"{"Name": "web", "Checks": [{"TTL": "1s"}, {"TTL": "1s", "CheckID": "own"}]}"#;
        assert_eq!(ids(several), [named("service:web:1"), named("own")]);
    }

    #[test]
    fn an_ip_address_is_given_under_its_family_too_unless_it_was_said_otherwise() {
        let (spec, _) = made(
            r#"{"Name": "web", "Address": "10.0.0.1", "Port": 7, "TaggedAddresses": {"wan_ipv4": {"Address": "1.2.3.4", "Port": 1}}}"#,
        );
        let shown: Vec<_> = (spec.tagged_addresses.iter())
            .map(|(kind, at)| (kind.as_str(), at.address.as_str(), at.port))
            .collect();
        assert_eq!(
            shown,
            [("lan_ipv4", "10.0.0.1", 7), ("wan_ipv4", "1.2.3.4", 1)]
        );
        assert!(
            made(r#"{"Name": "web", "Address": "web.example"}"#)
                .0
                .tagged_addresses
                .is_empty()
        );
        let kinds: Vec<String> = made(r#"{"Name": "web", "Address": "::1"}"#)
            .0
            .tagged_addresses
            .into_keys()
            .collect();
        assert_eq!(kinds, ["lan_ipv6", "wan_ipv6"]);
    }
}
