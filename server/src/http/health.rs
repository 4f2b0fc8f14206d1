//! `/v1/health`. A parked `health/service` wakes for its instances, their checks, their nodes and the nodes' checks.

use bytes::Bytes;
use hyper::Response;
use hyper::header::{HeaderName, HeaderValue};
use rollcall_api::catalog;
use rollcall_edge::{Body, Error, Meta};
use rollcall_state::InstanceHealth;
use rollcall_state::command::Status;
use rollcall_state::row::Check;
use rollcall_state::{Answer, State, Topic};
use serde::Serialize;
use std::sync::Arc;

use super::call::Call;
use super::catalog::{datacenter, placed};
use super::filter_fields::{CHECK, HEALTH, HealthRow};
use super::reading::{Reading, list};
use super::rows::Show;

const QUERY_BACKEND: HeaderName = HeaderName::from_static("x-consul-query-backend");

/// `GET /v1/health/node/NAME`: checks of a node and of its services.
pub(super) async fn node(call: &Call<'_>) -> Result<Response<Body>, Error> {
    let reading = Reading::parse(call)?;
    let name = reading.name("Missing node name")?;
    let topics = || vec![Topic::checks_of_node(name)];
    checks_of(call, &reading, topics, |state| state.health_node(name)).await
}

/// `GET /v1/health/checks/NAME`: checks of a service's instances.
pub(super) async fn checks(call: &Call<'_>) -> Result<Response<Body>, Error> {
    let reading = Reading::parse(call)?;
    let name = reading.name("Missing service name")?;
    if !reading.asks_for_node_meta() {
        let topics = || vec![Topic::service_checks(name)];
        return checks_of(call, &reading, topics, |state| state.health_checks(name)).await;
    }
    let topics = || vec![Topic::service_checks(name), Topic::service(name)];
    let query = |state: &State| {
        let nodes = state.service_instances(name).index;
        on_suitable_nodes(&reading, state, nodes, state.health_checks(name))
    };
    checks_of(call, &reading, topics, query).await
}

/// `GET /v1/health/state/STATE`: checks in a state, or with `any` all.
pub(super) async fn state(call: &Call<'_>) -> Result<Response<Body>, Error> {
    let reading = Reading::parse(call)?;
    let name = reading.name("Missing check state")?;
    if !reading.asks_for_node_meta() {
        let topics = || vec![Topic::health_state(name)];
        return checks_of(call, &reading, topics, |state| state.health_state(name)).await;
    }
    let topics = || vec![Topic::health_state(name), Topic::Nodes];
    let query = |state: &State| {
        let nodes = state.catalog_nodes().index;
        on_suitable_nodes(&reading, state, nodes, state.health_state(name))
    };
    checks_of(call, &reading, topics, query).await
}

/// The checks whose nodes have the meta that is asked for; `nodes` is when those last changed.
fn on_suitable_nodes(
    reading: &Reading<'_>,
    state: &State,
    nodes: u64,
    mut checks: Answer<Vec<Arc<Check>>>,
) -> Answer<Vec<Arc<Check>>> {
    let suits = |check: &Arc<Check>| {
        let node = state.node(&check.spec.node).value;
        node.is_some_and(|node| reading.suits_node(&node))
    };
    checks.value.retain(suits);
    checks.index = checks.index.max(nodes);
    checks
}

async fn checks_of(
    call: &Call<'_>,
    reading: &Reading<'_>,
    topics: impl FnOnce() -> Vec<Topic>,
    query: impl Fn(&State) -> Answer<Vec<Arc<Check>>>,
) -> Result<Response<Body>, Error> {
    let filter = reading.filter(&CHECK).map_err(Error::of_read)?;
    let encode = |mut rows: Vec<Arc<Check>>| {
        if let Some(filter) = filter {
            rows.retain(|row| filter.matches(row));
        }
        let show = Show {
            owners: reading.asks_for_owners(),
            ..Show::usual(&call.edge.config().datacenter)
        };
        list(rows.iter().map(|row| show.check(row)))
    };
    let read = reading.read_json(topics, query, encode);
    let (meta, json) = read.await.map_err(Error::of_read)?;
    Ok(reading.respond(meta, json))
}

/// `GET /v1/health/service/NAME`: its instances with their nodes and all checks that count for them.
pub(super) async fn service(call: &Call<'_>) -> Result<Response<Body>, Error> {
    let reading = Reading::parse(call)?;
    let name = reading.name("Missing service name")?;
    let only_passing = passing(call)?;
    let filter = reading.filter(&HEALTH)?;
    let topics = || vec![Topic::service_health(name)];
    let query = |state: &State| state.health_service(name);
    let encode = |mut rows: Vec<InstanceHealth>| {
        rows.retain(|row| reading.suits_node(&row.node) && reading.suits_tags(&row.service));
        if let Some(filter) = filter {
            let datacenter = datacenter(call);
            rows.retain(|row| {
                filter.matches(&HealthRow {
                    node: placed(&row.node, &datacenter),
                    service: Arc::clone(&row.service),
                    checks: row.checks.clone(),
                })
            });
        }
        if only_passing {
            rows.retain(|row| {
                (row.checks.iter()).all(|check| check.spec.status == Status::Passing)
            });
        }
        let show = Show::usual(&call.edge.config().datacenter);
        list(rows.iter().map(|row| shown(row, &show)))
    };
    let (meta, json) = reading.read_json(topics, query, encode).await?;
    Ok(respond(&reading, meta, json))
}

/// `GET /v1/health/connect/NAME` and `GET /v1/health/ingress/NAME`: there is no mesh.
pub(super) async fn mesh(call: &Call<'_>) -> Result<Response<Body>, Error> {
    let reading = Reading::parse(call)?;
    reading.name("Missing service name")?;
    passing(call)?;
    reading.filter(&HEALTH)?;
    let read = reading.read(Vec::new, |_| Answer {
        index: 1,
        value: (),
    });
    let (meta, ()) = read.await?;
    Ok(respond(&reading, meta, b"[]".to_vec()))
}

/// Consul answers `?cached` here out of its streams, which know no leader.
fn respond(reading: &Reading<'_>, meta: Meta, json: impl Into<Bytes>) -> Response<Body> {
    if !reading.cached() {
        return reading.respond(meta, json);
    }
    let meta = Meta {
        known_leader: false,
        ..meta
    };
    let mut response = reading.respond(meta, json);
    let streaming = HeaderValue::from_static("streaming");
    response.headers_mut().insert(QUERY_BACKEND, streaming);
    response
}

/// Bare, or a truth value as Go reads it.
fn passing(call: &Call<'_>) -> Result<bool, Error> {
    match call.query.get("passing").as_deref() {
        None => Ok(false),
        Some("" | "1" | "t" | "T" | "TRUE" | "true" | "True") => Ok(true),
        Some("0" | "f" | "F" | "FALSE" | "false" | "False") => Ok(false),
        Some(_) => Err(Error::bad_request("Invalid value for ?passing")),
    }
}

/// An instance as `health/service` and executed queries show it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Instance<'a> {
    node: catalog::Node<'a>,
    service: catalog::Service<'a>,
    checks: Vec<catalog::Check<'a>>,
}

pub(super) fn shown<'r>(row: &'r InstanceHealth, show: &Show<'r>) -> Instance<'r> {
    Instance {
        node: show.node(&row.node),
        service: show.service(&row.service),
        checks: row.checks.iter().map(|check| show.check(check)).collect(),
    }
}
