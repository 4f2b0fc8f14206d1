//! Checks: listing, registration, and what clients say of TTL checks.

use std::collections::BTreeMap;

use hyper::Response;
use hyper::body::Incoming;
use rollcall_api::agent_check::CheckBody;
use rollcall_api::decode::Fields;
use rollcall_edge::{Body, Call, Error};

use super::filter::{self, CheckRow};
use super::{AgentApi, done, read_json, shape, undecodable};
use crate::definition::Status;
use crate::registration;

/// `GET checks`.
pub(super) async fn list(api: &AgentApi, call: &Call<'_>) -> Result<Response<Body>, Error> {
    let filter = filter::checks(call)?;
    let node = &api.agent.config().node;
    Ok(api.agent.with_local(|local| {
        let shown: BTreeMap<&str, _> = (local.checks().iter())
            .filter(|(_, check)| CheckRow { node, check }.passes(filter.as_ref()))
            .map(|(id, check)| (id.as_str(), shape::check(node, id, check)))
            .collect();
        call.json(&shown)
    }))
}

/// `PUT check/register`.
pub(super) async fn register(
    api: &AgentApi,
    _: &Call<'_>,
    body: &mut Incoming,
) -> Result<Response<Body>, Error> {
    let value = read_json(body).await?;
    let body = CheckBody::from_value(&value).map_err(undecodable)?;
    let check = registration::check(body).map_err(Error::bad_request)?;
    api.allow_scripts(std::slice::from_ref(&check))?;
    api.agent.register_check(check).await?;
    Ok(done())
}

/// `PUT check/deregister/ID`.
pub(super) async fn deregister(api: &AgentApi, call: &Call<'_>) -> Result<Response<Body>, Error> {
    api.agent.deregister_check(call.rest).await?;
    Ok(done())
}

/// `PUT check/pass/ID?note=`.
pub(super) async fn pass(api: &AgentApi, call: &Call<'_>) -> Result<Response<Body>, Error> {
    say(api, call, Status::Passing).await
}

/// `PUT check/warn/ID?note=`.
pub(super) async fn warn(api: &AgentApi, call: &Call<'_>) -> Result<Response<Body>, Error> {
    say(api, call, Status::Warning).await
}

/// `PUT check/fail/ID?note=`.
pub(super) async fn fail(api: &AgentApi, call: &Call<'_>) -> Result<Response<Body>, Error> {
    say(api, call, Status::Critical).await
}

async fn say(api: &AgentApi, call: &Call<'_>, status: Status) -> Result<Response<Body>, Error> {
    let note = call.query.get("note").unwrap_or_default();
    api.agent.update_check(call.rest, status, &note).await?;
    Ok(done())
}

/// `PUT check/update/ID`: status and output in the body.
pub(super) async fn update(
    api: &AgentApi,
    call: &Call<'_>,
    body: &mut Incoming,
) -> Result<Response<Body>, Error> {
    let value = read_json(body).await?;
    let fields = Fields::of(&value, "checkUpdate").map_err(undecodable)?;
    let status = fields.string("Status").map_err(undecodable)?;
    let output = fields.string("Output").map_err(undecodable)?;
    let known = Status::from_text(&status)
        .ok_or_else(|| Error::bad_request(format!("Invalid check status: '{status}'")))?;
    api.agent.update_check(call.rest, known, &output).await?;
    Ok(done())
}
