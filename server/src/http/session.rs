//! `/v1/session`.

use hyper::Response;
use hyper::body::Incoming;
use rollcall_api::GoDuration;
use rollcall_api::query::ReadOptions;
use rollcall_api::session::{CreateRequest, Created, ServiceCheck};
use rollcall_edge::{Body, Error, answer, body, undecodable};
use rollcall_state::command::{Behavior, ServiceCheckRef, SessionCreate, SessionDestroy};
use rollcall_state::row::Session;
use rollcall_state::{Command, Reply, Topic};

use super::blocking::read;
use super::call::Call;
use super::error::refused;
use crate::door::Consistency;
use crate::rt;

/// Bytes of a request to create a session: names and ids of checks, nothing large.
const CREATE_BYTES_MAX: usize = 64 * 1024;
/// What a session depends on when it does not say.
const DEFAULT_CHECK: &str = "serfHealth";
const DEFAULT_LOCK_DELAY: GoDuration = GoDuration::from_secs(15);
/// Longer ones are cut to this, as in Consul.
const LOCK_DELAY_MAX: GoDuration = GoDuration::from_secs(60);
const TTL_MAX: GoDuration = GoDuration::from_secs(24 * 60 * 60);

/// `PUT /v1/session/create`.
pub(super) async fn create(call: &Call<'_>, body: &mut Incoming) -> Result<Response<Body>, Error> {
    let too_large =
        |size| format!("Request body({size} bytes) too large, max size: {CREATE_BYTES_MAX} bytes.");
    let body = body::read(body, CREATE_BYTES_MAX, &too_large).await?;
    let request = CreateRequest::decode(&body).map_err(undecodable("Request decode failed"))?;
    let command = session(call, request)?;
    let id = command.id.clone();
    match call.propose(Command::SessionCreate(command)).await? {
        Reply::Refused(why) => Err(refused("apply failed", &why)),
        Reply::None | Reply::Bool(_) | Reply::Txn(_) => Ok(call.json(&Created { id })),
    }
}

/// The session that is asked for, with defaults, within bounds.
fn session(call: &Call<'_>, request: CreateRequest) -> Result<SessionCreate, Error> {
    let config = &call.api.config;
    let node = request.node.unwrap_or_else(|| config.node_name.clone());
    if node.is_empty() {
        return Err(Error::internal("Must provide Node"));
    }
    let behavior = match request.behavior.as_str() {
        "" | "release" => Behavior::Release,
        "delete" => Behavior::Delete,
        other => {
            let words = format!("Invalid Behavior setting '{other}'");
            return Err(Error::internal(words));
        }
    };
    let lock_delay = request.lock_delay.unwrap_or(DEFAULT_LOCK_DELAY);
    let lock_delay = lock_delay.clamp(GoDuration(0), LOCK_DELAY_MAX);
    let ttl = ttl(&request.ttl, GoDuration::from_std(config.session_ttl_min))?;
    let service_check = |check: ServiceCheck| ServiceCheckRef {
        id: check.id,
        namespace: check.namespace,
    };
    Ok(SessionCreate {
        id: rt::new_uuid().to_string(),
        name: request.name,
        node,
        lock_delay_ns: lock_delay.0.unsigned_abs(),
        behavior,
        ttl_ms: u64::try_from(ttl.to_std().as_millis()).unwrap_or(u64::MAX),
        ttl: request.ttl,
        node_checks: (request.node_checks).unwrap_or_else(|| vec![DEFAULT_CHECK.to_owned()]),
        service_checks: (request.service_checks)
            .map(|checks| checks.into_iter().map(service_check).collect()),
    })
}

fn ttl(text: &str, min: GoDuration) -> Result<GoDuration, Error> {
    if text.is_empty() {
        return Ok(GoDuration(0));
    }
    let ttl: GoDuration = (text.parse())
        .map_err(|error| Error::internal(format!("Session TTL '{text}' invalid: {error}")))?;
    if ttl.0 != 0 && (ttl < min || ttl > TTL_MAX) {
        let words = format!(
            "Invalid Session TTL '{}', must be between [{min}={TTL_MAX}]",
            ttl.0
        );
        return Err(Error::internal(words));
    }
    Ok(ttl)
}

/// `PUT /v1/session/destroy/ID`.
pub(super) async fn destroy(call: &Call<'_>) -> Result<Response<Body>, Error> {
    let id = id(call)?.to_owned();
    match call
        .propose(Command::SessionDestroy(SessionDestroy { id }))
        .await?
    {
        Reply::Refused(why) => Err(refused("apply failed", &why)),
        Reply::None | Reply::Bool(_) | Reply::Txn(_) => Ok(answer::truth(true)),
    }
}

/// `PUT /v1/session/renew/ID`: a list of one.
pub(super) async fn renew(call: &Call<'_>) -> Result<Response<Body>, Error> {
    ReadOptions::parse(call.query)?;
    let id = id(call)?;
    let door = &call.api.door;
    if door.renew_session(id.to_owned()).await? {
        let mut session = door.local().state.session(id).value;
        if session.is_none() {
            // This server is a little behind the leader.
            let view = door.read(Consistency::Linearizable).await?;
            session = view.state.session(id).value;
        }
        if let Some(session) = session {
            return Ok(call.json(&[shown(&session)]));
        }
    }
    Err(Error::NotFound(format!("Session id '{id}' not found")))
}

/// `GET /v1/session/info/ID`: a list of one or none.
pub(super) async fn info(call: &Call<'_>) -> Result<Response<Body>, Error> {
    let options = ReadOptions::parse(call.query)?;
    let id = id(call)?;
    let topics = || vec![Topic::Session(id.into())];
    let (meta, session) = read(call, options, topics, |state| state.session(id)).await?;
    let shown: Vec<_> = session.iter().map(|session| shown(session)).collect();
    let mut response = call.json(&shown);
    meta.add_to(&mut response);
    Ok(response)
}

/// `GET /v1/session/node/NODE`.
pub(super) async fn of_node(call: &Call<'_>) -> Result<Response<Body>, Error> {
    let options = ReadOptions::parse(call.query)?;
    let node = call.rest;
    if node.is_empty() {
        return Err(Error::bad_request("Missing node name"));
    }
    let topics = || vec![Topic::sessions_of_node(node)];
    let found = read(call, options, topics, |state| state.sessions_of_node(node));
    let (meta, sessions) = found.await?;
    let shown: Vec<_> = sessions.iter().map(|session| shown(session)).collect();
    let mut response = call.json(&shown);
    meta.add_to(&mut response);
    Ok(response)
}

/// `GET /v1/session/list`.
pub(super) async fn list(call: &Call<'_>) -> Result<Response<Body>, Error> {
    let options = ReadOptions::parse(call.query)?;
    let topics = || vec![Topic::Sessions];
    let (meta, sessions) = read(call, options, topics, |state| state.sessions()).await?;
    let shown: Vec<_> = sessions.iter().map(|session| shown(session)).collect();
    let mut response = call.json(&shown);
    meta.add_to(&mut response);
    Ok(response)
}

fn id<'a>(call: &'a Call<'_>) -> Result<&'a str, Error> {
    match call.rest {
        "" => Err(Error::bad_request("Missing session")),
        id => Ok(id),
    }
}

fn shown(session: &Session) -> rollcall_api::Session {
    let service_check = |check: &ServiceCheckRef| ServiceCheck {
        id: check.id.clone(),
        namespace: check.namespace.clone(),
    };
    rollcall_api::Session {
        id: session.id.to_string(),
        name: session.name.clone(),
        node: session.node.clone(),
        lock_delay: i64::try_from(session.lock_delay_ns).unwrap_or(i64::MAX),
        behavior: match session.behavior {
            Behavior::Release => "release".to_owned(),
            Behavior::Delete => "delete".to_owned(),
        },
        ttl: session.ttl.clone(),
        node_checks: Some(session.node_checks.clone()),
        service_checks: (session.service_checks.as_ref())
            .map(|checks| checks.iter().map(service_check).collect()),
        create_index: session.create_index,
        modify_index: session.modify_index,
    }
}
