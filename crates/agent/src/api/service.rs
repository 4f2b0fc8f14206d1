//! Services: listing, registration, maintenance, health.

use std::collections::BTreeMap;

use hyper::body::Incoming;
use hyper::header::{ACCEPT, HeaderValue};
use hyper::{Response, StatusCode};
use rollcall_api::agent::ServiceHealth;
use rollcall_api::agent_service::ServiceBody;
use rollcall_api::json;
use rollcall_api::query::ReadOptions;
use rollcall_edge::{Body, Call, Error, Parking, answer};
use sha2::{Digest as _, Sha256};

use super::filter::{self, ServiceRow};
use super::{AgentApi, done, enable, read_json, shape, undecodable};
use crate::definition::{Definition, Kind};
use crate::local::{self, Aggregated, LocalService};
use crate::registration;

/// `GET services`.
pub(super) async fn list(api: &AgentApi, call: &Call<'_>) -> Result<Response<Body>, Error> {
    let filter = filter::services(call)?;
    let datacenter = &api.agent.config().datacenter;
    Ok(api.agent.with_local(|local| {
        let shown: BTreeMap<&str, _> = (local.services().iter())
            .filter(|(_, service)| {
                let row = ServiceRow {
                    service,
                    datacenter,
                };
                row.passes(filter.as_ref())
            })
            .map(|(id, service)| (id.as_str(), shape::service(service, datacenter, "")))
            .collect();
        call.json(&shown)
    }))
}

/// `GET service/ID`: with `?hash=` once it is another.
pub(super) async fn one(api: &AgentApi, call: &Call<'_>) -> Result<Response<Body>, Error> {
    let known = call.query.get("hash").unwrap_or_default();
    let mut changed = api.agent.subscribe();
    let options = ReadOptions::parse(call.query)?;
    let mut parking = Parking::new(call, options.wait);
    let mut waited = false;
    loop {
        // Marked as seen before it is read: what changes from here on wakes.
        changed.borrow_and_update();
        let (hash, answer) = found(api, call)?;
        if known.is_empty() || known != hash || waited {
            return Ok(answer);
        }
        waited = parking.wait(changed.changed()).await?.is_none();
    }
}

fn found(api: &AgentApi, call: &Call<'_>) -> Result<(String, Response<Body>), Error> {
    let datacenter = &api.agent.config().datacenter;
    api.agent.with_local(|local| {
        let service = (local.services().get(call.rest))
            .ok_or_else(|| Error::NotFound(format!("unknown service ID: {}", call.rest)))?;
        let hash = content_hash(service);
        let mut answer = call.json(&shape::service(service, datacenter, &hash));
        // As recorded: who does not wait reads it in the body.
        if call.query.has("hash") {
            let value = HeaderValue::try_from(hash.as_str());
            let value = value.expect("hexadecimal digits must be header text");
            answer.headers_mut().insert("x-consul-contenthash", value);
        }
        Ok((hash, answer))
    })
}

/// Sixteen digits that change with the service.
fn content_hash(service: &LocalService) -> String {
    let digest = Sha256::digest(json::to_vec(&shape::service(service, "", "")));
    let digits: Vec<String> = digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    digits.concat()
}

/// `PUT service/register`.
pub(super) async fn register(
    api: &AgentApi,
    call: &Call<'_>,
    body: &mut Incoming,
) -> Result<Response<Body>, Error> {
    let value = read_json(body).await?;
    let body = ServiceBody::from_value(&value).map_err(undecodable)?;
    let (service, checks) = registration::service(body).map_err(Error::bad_request)?;
    api.allow_scripts(&checks)?;
    let replace = call.query.get("replace-existing-checks");
    let replace = replace.is_some_and(|value| matches!(value.as_ref(), "" | "true"));
    api.agent.register_service(service, checks, replace).await?;
    Ok(done())
}

impl AgentApi {
    /// Scripts are for local files unless the configuration says otherwise.
    pub(super) fn allow_scripts(&self, checks: &[Definition]) -> Result<(), Error> {
        let script = |check: &Definition| matches!(check.kind, Kind::Script { .. });
        if !self.remote_scripts && checks.iter().any(script) {
            return Err(Error::internal(
                "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true",
            ));
        }
        Ok(())
    }
}

/// `PUT service/deregister/ID`.
pub(super) async fn deregister(api: &AgentApi, call: &Call<'_>) -> Result<Response<Body>, Error> {
    api.agent.deregister_service(call.rest).await?;
    Ok(done())
}

/// `PUT service/maintenance/ID?enable=&reason=`.
pub(super) async fn maintenance(api: &AgentApi, call: &Call<'_>) -> Result<Response<Body>, Error> {
    if call.rest.is_empty() {
        return Err(Error::bad_request("Missing service ID"));
    }
    let reason = call.query.get("reason").unwrap_or_default();
    let reason = enable(call)?.then_some(reason.as_ref());
    api.agent.service_maintenance(call.rest, reason).await?;
    Ok(done())
}

/// `GET health/service/id/ID`: 200, 429, 503 or 404.
pub(super) async fn health_by_id(api: &AgentApi, call: &Call<'_>) -> Result<Response<Body>, Error> {
    if call.rest.is_empty() {
        return missing_id(api, call).await;
    }
    let config = api.agent.config();
    Ok(api
        .agent
        .with_local(|local| match local.health_of(call.rest) {
            Some(health) => {
                let status = status_of(health.aggregated);
                if wants_text(call) {
                    return plain(status, health.aggregated.as_str());
                }
                let shown = shown(&health, &config.node, &config.datacenter);
                call.json_bytes(status, json::to_vec(&shown))
            }
            None if wants_text(call) => {
                let words = format!("ServiceId {} not found", call.rest);
                plain(StatusCode::NOT_FOUND, &words)
            }
            None => {
                let nothing = ServiceHealth {
                    aggregated_status: Aggregated::Critical.as_str(),
                    service: None,
                    checks: None,
                };
                call.json_bytes(StatusCode::NOT_FOUND, json::to_vec(&nothing))
            }
        }))
}

/// `GET health/service/name/NAME`: the worst of all its instances here.
pub(super) async fn health_by_name(
    api: &AgentApi,
    call: &Call<'_>,
) -> Result<Response<Body>, Error> {
    if call.rest.is_empty() {
        return missing_name(api, call).await;
    }
    let config = api.agent.config();
    Ok(api.agent.with_local(|local| {
        let all = local.health_of_name(call.rest);
        let worst = all.iter().map(|health| health.aggregated).max();
        let status = worst.map_or(StatusCode::NOT_FOUND, status_of);
        if wants_text(call) {
            let words = match worst {
                Some(worst) => worst.as_str().to_owned(),
                None => format!("ServiceName {} Not Found", call.rest),
            };
            return plain(status, &words);
        }
        let shown: Vec<_> = (all.iter())
            .map(|health| shown(health, &config.node, &config.datacenter))
            .collect();
        call.json_bytes(status, json::to_vec(&shown))
    }))
}

/// The path without an id.
pub(super) async fn missing_id(_: &AgentApi, _: &Call<'_>) -> Result<Response<Body>, Error> {
    Err(Error::bad_request("Missing serviceID"))
}

/// The path without a name.
pub(super) async fn missing_name(_: &AgentApi, _: &Call<'_>) -> Result<Response<Body>, Error> {
    Err(Error::bad_request("Missing service Name"))
}

fn shown<'a>(
    health: &local::ServiceHealth<'a>,
    node: &'a str,
    datacenter: &'a str,
) -> ServiceHealth<'a> {
    let checks = health
        .checks
        .iter()
        .map(|(id, check)| shape::health_check(node, id, check));
    ServiceHealth {
        aggregated_status: health.aggregated.as_str(),
        service: Some(shape::service(health.service, datacenter, "")),
        checks: Some(checks.collect()),
    }
}

fn status_of(aggregated: Aggregated) -> StatusCode {
    match aggregated {
        Aggregated::Passing => StatusCode::OK,
        Aggregated::Warning => StatusCode::TOO_MANY_REQUESTS,
        Aggregated::Critical | Aggregated::Maintenance => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn wants_text(call: &Call<'_>) -> bool {
    let accepts = call.head.headers.get(ACCEPT);
    accepts.is_some_and(|kinds| kinds.as_bytes().starts_with(b"text/plain"))
        || call
            .query
            .get("format")
            .is_some_and(|format| format == "text")
}

fn plain(status: StatusCode, words: &str) -> Response<Body> {
    let kind = HeaderValue::from_static("text/plain");
    answer::content(status, kind, Body::Whole(words.to_owned().into()))
}
