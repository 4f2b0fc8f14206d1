//! `/v1/agent/*`: what clients ask of, and tell, their own node's agent.
//!
//! Statuses, words and shapes are Consul's; what its clients match is in the recordings. The mesh's endpoints are not here, and
//! answer 404 like any unknown path.

mod check;
mod filter;
mod host;
mod itself;
mod service;
mod shape;

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Response, StatusCode};
use rollcall_edge::{Answering, Api, Body, Call, Error, Route, Table, answer, body, route};
use serde_json::Value;

use crate::agent::{Agent, AgentError};
use crate::local::LocalError;
use crate::monitor::Monitor;
use crate::surroundings::Surroundings;

/// Bytes of a registration's body: a service with many checks is a few kilobytes.
const BODY_BYTES_MAX: usize = 512 * 1024;

/// What the endpoints share.
pub struct AgentApi {
    agent: Arc<Agent>,
    surroundings: Arc<dyn Surroundings>,
    monitor: Monitor,
    /// Whether clients may register scripts.
    remote_scripts: bool,
}

/// The endpoints of one agent.
pub fn api(
    agent: Arc<Agent>,
    surroundings: Arc<dyn Surroundings>,
    monitor: Monitor,
    remote_scripts: bool,
) -> Arc<dyn Api> {
    let api = AgentApi {
        agent,
        surroundings,
        monitor,
        remote_scripts,
    };
    Arc::new(Table::new(api, &ROUTES))
}

/// Boxes an endpoint that takes no body.
macro_rules! get {
    ($endpoint:path) => {{
        fn handle<'a>(api: &'a AgentApi, call: &'a Call<'a>, _: &'a mut Incoming) -> Answering<'a> {
            Box::pin($endpoint(api, call))
        }
        handle
    }};
}

/// Boxes an endpoint that takes one.
macro_rules! put {
    ($endpoint:path) => {{
        fn handle<'a>(
            api: &'a AgentApi,
            call: &'a Call<'a>,
            body: &'a mut Incoming,
        ) -> Answering<'a> {
            Box::pin($endpoint(api, call, body))
        }
        handle
    }};
}

const GET: &str = "OPTIONS,GET";
const PUT: &str = "OPTIONS,PUT";

/// Everything that is served.
pub static ROUTES: [Route<AgentApi>; 26] = [
    route("/v1/agent/check/pass/", PUT, get!(check::pass)),
    route("/v1/agent/check/warn/", PUT, get!(check::warn)),
    route("/v1/agent/check/fail/", PUT, get!(check::fail)),
    route("/v1/agent/check/update/", PUT, put!(check::update)),
    route("/v1/agent/check/register", PUT, put!(check::register)),
    route("/v1/agent/check/deregister/", PUT, get!(check::deregister)),
    route("/v1/agent/checks", GET, get!(check::list)),
    route("/v1/agent/services", GET, get!(service::list)),
    route("/v1/agent/service/register", PUT, put!(service::register)),
    route(
        "/v1/agent/service/deregister/",
        PUT,
        get!(service::deregister),
    ),
    route(
        "/v1/agent/service/maintenance/",
        PUT,
        get!(service::maintenance),
    ),
    route("/v1/agent/service/", GET, get!(service::one)),
    route(
        "/v1/agent/health/service/id/",
        GET,
        get!(service::health_by_id),
    ),
    route(
        "/v1/agent/health/service/name/",
        GET,
        get!(service::health_by_name),
    ),
    route("/v1/agent/maintenance", PUT, get!(itself::maintenance)),
    route("/v1/agent/self", GET, get!(itself::itself)),
    route("/v1/agent/members", GET, get!(itself::members)),
    route("/v1/agent/host", GET, get!(host::host)),
    route("/v1/agent/version", GET, get!(itself::version)),
    route("/v1/agent/metrics", GET, get!(itself::metrics)),
    route("/v1/agent/monitor", GET, get!(itself::monitor)),
    route("/v1/agent/reload", PUT, get!(itself::reload)),
    route("/v1/agent/join/", PUT, get!(itself::join)),
    route("/v1/agent/leave", PUT, get!(itself::leave)),
    route("/v1/agent/force-leave/", PUT, get!(itself::force_leave)),
    route("/v1/agent/token/", PUT, get!(itself::token)),
];

impl From<AgentError> for Error {
    fn from(error: AgentError) -> Self {
        match &error {
            AgentError::Local(
                LocalError::UnknownService(_)
                | LocalError::UnknownCheck(_)
                | LocalError::NoSuchService(_),
            ) => Error::NotFound(error.to_string()),
            AgentError::Local(LocalError::NotTtl(_)) | AgentError::Store(_) => {
                Error::internal(error.to_string())
            }
        }
    }
}

/// 200 without words.
fn done() -> Response<Body> {
    answer::text(StatusCode::OK, "")
}

/// Reads a body's JSON.
async fn read_json(body: &mut Incoming) -> Result<Value, Error> {
    let too_large = |size| format!("Request body too large: {size} > {BODY_BYTES_MAX}");
    let bytes = body::read(body, BODY_BYTES_MAX, &too_large).await?;
    rollcall_api::decode::parse(&bytes).map_err(undecodable)
}

/// A body that was not understood.
fn undecodable(error: rollcall_api::decode::DecodeError) -> Error {
    Error::bad_request(format!("Request decode failed: {error}"))
}

/// `?enable=`, as Go's `ParseBool` reads it.
fn enable(call: &Call<'_>) -> Result<bool, Error> {
    let raw =
        (call.query.get("enable")).ok_or_else(|| Error::bad_request("Missing value for enable"))?;
    match raw.as_ref() {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        other => Err(Error::bad_request(format!(
            "Invalid value for enable: {other:?}"
        ))),
    }
}
