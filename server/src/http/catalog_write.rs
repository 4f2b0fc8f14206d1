//! `PUT /v1/catalog/register` and `deregister`: a row's explicit writers. Order of checks and words as Consul's.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::Response;
use hyper::body::Incoming;
use rollcall_api::decode::DecodeError;
use rollcall_edge::{Body, Error, answer, body, undecodable};
use rollcall_state::command::{CheckSpec, Deregister, Register, ServiceSpec};
use rollcall_state::{Command, Reply, State};

use super::call::Call;
use super::reading::OWNER;
use super::registration::{Deregistration, Registration};
use crate::door::Consistency;

/// Bytes of a registration: a service with its tags, meta and checks. Outputs of checks are 4 KiB each.
const BODY_BYTES_MAX: usize = 512 * 1024;
/// Bytes of an owner: a kind and a UUID.
const OWNER_BYTES_MAX: usize = 256;
/// What a writer says who could as well say nothing.
const API: &str = "api";
/// Kinds of owners that speak HTTP.
const OWNERS: [&str; 3] = ["agent:", "operator:", "sidecar:"];

/// `PUT /v1/catalog/register`.
pub(super) async fn register(
    call: &Call<'_>,
    body: &mut Incoming,
) -> Result<Response<Body>, Error> {
    let owner = owner(call)?;
    let Registration {
        datacenter,
        node,
        skip_node_update,
        mut service,
        mut checks,
        names_peer,
    } = read(body, Registration::decode).await?;
    if names_peer {
        return Err(Error::internal(
            "cannot register requests with PeerName in them",
        ));
    }
    check_datacenter(call, &datacenter)?;
    if node.node.is_empty() {
        return Err(Error::internal("Must provide node"));
    }
    if !node.id.is_empty() {
        check_id(&node.id)?;
    }
    if node.address.is_empty() && !skip_node_update {
        let words = "Must provide address if SkipNodeUpdate is not set";
        return Err(Error::internal(words));
    }
    if let Some(service) = &mut service {
        complete_service(service)?;
    }
    for check in &mut checks {
        complete_check(check, &node.node)?;
    }
    services_are_known(call, &node.node, service.as_ref(), &checks).await?;
    let command = Command::Register(Register {
        node,
        service,
        checks,
        skip_node_update,
        owner,
    });
    write(call, command).await
}

/// `PUT /v1/catalog/deregister`.
pub(super) async fn deregister(
    call: &Call<'_>,
    body: &mut Incoming,
) -> Result<Response<Body>, Error> {
    let owner = owner(call)?;
    let Deregistration {
        datacenter,
        node,
        service_id,
        check_id,
    } = read(body, Deregistration::decode).await?;
    check_datacenter(call, &datacenter)?;
    if node.is_empty() {
        return Err(Error::internal("Must provide node"));
    }
    let command = Command::Deregister(Deregister {
        node: node.into(),
        service_id: service_id.into(),
        check_id: check_id.into(),
        owner,
    });
    write(call, command).await
}

async fn read<T>(
    body: &mut Incoming,
    decode: fn(&[u8]) -> Result<T, DecodeError>,
) -> Result<T, Error> {
    let too_large =
        |size| format!("Request body({size} bytes) too large, max size: {BODY_BYTES_MAX} bytes.");
    let body = body::read(body, BODY_BYTES_MAX, &too_large).await?;
    decode(&body).map_err(undecodable("Request decode failed"))
}

async fn write(call: &Call<'_>, command: Command) -> Result<Response<Body>, Error> {
    match call.propose(command).await? {
        Reply::Refused(why) => Err(Error::internal(why.to_string())),
        // An owner's word on a row that is not its own.
        Reply::Bool(done) => Ok(answer::truth(done)),
        Reply::None | Reply::Txn(_) => Ok(answer::truth(true)),
    }
}

/// Whose the rows are that a request writes; empty: nobody's in particular.
pub(super) fn owner(call: &Call<'_>) -> Result<Arc<str>, Error> {
    let Some(owner) = call.head.headers.get(OWNER) else {
        return Ok(Arc::default());
    };
    let owner = owner.to_str().unwrap_or_default();
    let id = |kind: &str| owner.strip_prefix(kind).is_some_and(|id| !id.is_empty());
    if owner == API || (owner.len() <= OWNER_BYTES_MAX && OWNERS.into_iter().any(id)) {
        return Ok(owner.into());
    }
    Err(Error::bad_request(
        "Invalid header: \"x-rollcall-owner\" must be api, agent:<id>, operator:<id> or sidecar:<id>",
    ))
}

fn check_datacenter(call: &Call<'_>, named: &str) -> Result<(), Error> {
    if named.is_empty() || named == call.edge.config().datacenter {
        return Ok(());
    }
    Err(Error::internal("No path to datacenter"))
}

/// Go's words for what is no UUID.
fn check_id(id: &str) -> Result<(), Error> {
    let why = if id.len() != 36 {
        "uuid string is wrong length"
    } else if ![8, 13, 18, 23]
        .into_iter()
        .all(|at| id.as_bytes()[at] == b'-')
    {
        "uuid is improperly formatted"
    } else {
        let hex = |byte: &u8| byte.is_ascii_hexdigit();
        let digits: Vec<u8> = id.bytes().filter(|byte| *byte != b'-').collect();
        match digits.iter().find(|byte| !hex(byte)) {
            None if digits.len() == 32 => return Ok(()),
            None => "decoded hex is the wrong length",
            Some(byte) => {
                let character = char::from(*byte);
                let words =
                    format!("Bad node ID: encoding/hex: invalid byte: U+{byte:04X} '{character}'");
                return Err(Error::internal(words));
            }
        }
    };
    Err(Error::internal(format!("Bad node ID: {why}")))
}

fn complete_service(service: &mut ServiceSpec) -> Result<(), Error> {
    if service.id.is_empty() {
        service.id = Arc::clone(&service.service);
    }
    if service.service.is_empty() {
        let words = "Must provide service name (Service.Service) when service ID is provided";
        return Err(Error::internal(words));
    }
    let address = service
        .address
        .trim_start_matches('[')
        .trim_end_matches(']');
    if address
        .parse()
        .is_ok_and(|address: IpAddr| address.is_unspecified())
    {
        return Err(Error::internal("Invalid service address"));
    }
    Ok(())
}

fn complete_check(check: &mut CheckSpec, node: &Arc<str>) -> Result<(), Error> {
    if check.node.is_empty() {
        check.node = Arc::clone(node);
    }
    if check.check_id.is_empty() {
        check.check_id = Arc::clone(&check.name);
    }
    if check.check_id.is_empty() {
        return Err(Error::internal("Must provide check ID or name"));
    }
    if !check.node.eq_ignore_ascii_case(node) {
        let words = format!(
            "Node '{}' for check '{}' doesn't match register request node '{node}'",
            check.node, check.check_id
        );
        return Err(Error::internal(words));
    }
    Ok(())
}

/// Each service that a check belongs to must be there or come along. What this server happens to have says yes; before it
/// says no it asks the others.
async fn services_are_known(
    call: &Call<'_>,
    node: &str,
    service: Option<&ServiceSpec>,
    checks: &[CheckSpec],
) -> Result<(), Error> {
    let unknown = |state: &State| {
        let is_unknown = |check: &&CheckSpec| {
            let id = &check.service_id;
            !id.is_empty()
                && service.is_none_or(|service| service.id != *id)
                && state.service(node, id).value.is_none()
        };
        checks.iter().find(is_unknown)
    };
    let door = &call.api.door;
    if unknown(&door.local().state).is_none() {
        return Ok(());
    }
    let view = door.read(Consistency::Linearizable).await?;
    match unknown(&view.state) {
        None => Ok(()),
        Some(check) => Err(Error::internal(format!(
            "Unknown service ID '{}' for check ID '{}'",
            check.service_id, check.check_id
        ))),
    }
}
