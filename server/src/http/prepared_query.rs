//! `/v1/query`: prepared queries. Templates, explanations and failover are not in this version; a template is refused when it
//! is defined, so that nobody relies on one.

use hyper::body::Incoming;
use hyper::{Method, Response, StatusCode};
use rollcall_api::json;
use rollcall_api::prepared_query::{self as api, Definition};
use rollcall_edge::{Body, Error, answer, body, undecodable};
use rollcall_state::command::{
    QueryDelete, QueryFailover, QueryService, QuerySet, QuerySpec, Texts,
};
use rollcall_state::row::Query;
use rollcall_state::{Answer, Command, Reply, State, Topic};
use serde::Serialize;

use super::call::Call;
use super::error::refused;
use super::health::shown;
use super::reading::{Reading, list};
use super::rows::Show;
use crate::{prepared_query, rt};

/// Bytes of a definition: names and tags.
const DEFINITION_BYTES_MAX: usize = 64 * 1024;
const NOT_FOUND: &str = "Query not found";

/// `GET` and `POST /v1/query`.
pub(super) async fn all(call: &Call<'_>, body: &mut Incoming) -> Result<Response<Body>, Error> {
    match call.head.method {
        Method::POST => create(call, body).await,
        _ => listed(call).await,
    }
}

/// `/v1/query/ID` and `/v1/query/ID/execute`.
pub(super) async fn one(call: &Call<'_>, body: &mut Incoming) -> Result<Response<Body>, Error> {
    if call.rest.ends_with("/explain") {
        let words = "Invalid URL path: not a recognized HTTP API endpoint\n";
        return Ok(answer::plain(StatusCode::NOT_FOUND, words));
    }
    match (call.rest.strip_suffix("/execute"), &call.head.method) {
        (Some(name), &Method::GET) => execute(call, name).await,
        (Some(_), method) => Err(Error::MethodNotAllowed {
            method: method.to_string(),
            allow: "OPTIONS,GET",
        }),
        (None, &Method::PUT) => update(call, body).await,
        (None, &Method::DELETE) => delete(call).await,
        (None, _) => get(call).await,
    }
}

#[derive(Serialize)]
struct Created<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
}

async fn create(call: &Call<'_>, body: &mut Incoming) -> Result<Response<Body>, Error> {
    let definition = read(body).await?;
    if !definition.id.is_empty() {
        return Err(Error::internal(
            "ID must be empty when creating a new prepared query",
        ));
    }
    let query = spec(definition, &rt::new_uuid().to_string())?;
    let id = query.id.clone();
    let set = QuerySet {
        query,
        must_exist: false,
    };
    write(call, Command::QuerySet(set)).await?;
    Ok(call.json(&Created { id: &id }))
}

async fn update(call: &Call<'_>, body: &mut Incoming) -> Result<Response<Body>, Error> {
    let query = spec(read(body).await?, call.rest)?;
    let set = QuerySet {
        query,
        must_exist: true,
    };
    write(call, Command::QuerySet(set)).await?;
    Ok(answer::text(StatusCode::OK, ""))
}

async fn delete(call: &Call<'_>) -> Result<Response<Body>, Error> {
    let id = call.rest.into();
    write(call, Command::QueryDelete(QueryDelete { id })).await?;
    Ok(answer::text(StatusCode::OK, ""))
}

async fn read(body: &mut Incoming) -> Result<Definition, Error> {
    let too_large = |size| {
        format!("Request body({size} bytes) too large, max size: {DEFINITION_BYTES_MAX} bytes.")
    };
    let body = body::read(body, DEFINITION_BYTES_MAX, &too_large).await?;
    Definition::decode(&body).map_err(undecodable("Request decode failed"))
}

fn spec(definition: Definition, id: &str) -> Result<QuerySpec, Error> {
    (definition.validate())
        .map_err(|why| Error::internal(format!("Invalid prepared query: {why}")))?;
    let texts = |texts: Vec<String>| -> Texts { texts.into_iter().map(Into::into).collect() };
    Ok(QuerySpec {
        id: id.into(),
        name: definition.name.into(),
        session: definition.session.into(),
        token: definition.token.into(),
        service: QueryService {
            service: definition.service.into(),
            only_passing: definition.only_passing,
            ignore_check_ids: definition.ignore_check_ids.map(texts),
            near: definition.near.into(),
            tags: definition.tags.map(texts),
            node_meta: definition.node_meta,
            service_meta: definition.service_meta,
            connect: definition.connect,
            failover: QueryFailover {
                nearest_n: definition.nearest_n,
                datacenters: definition.datacenters.map(texts),
            },
        },
        dns_ttl: definition.dns_ttl.into(),
    })
}

async fn write(call: &Call<'_>, command: Command) -> Result<(), Error> {
    match call.propose(command).await? {
        // Consul looks for the query before it proposes anything.
        Reply::Refused(why) if why.to_string().starts_with("Cannot modify non-existent") => {
            Err(Error::internal(why.to_string()))
        }
        Reply::Refused(why) => Err(refused("raft apply failed", &why)),
        Reply::None | Reply::Bool(_) | Reply::Txn(_) => Ok(()),
    }
}

/// `GET /v1/query`.
async fn listed(call: &Call<'_>) -> Result<Response<Body>, Error> {
    let reading = Reading::parse(call)?;
    let read = reading.read(|| vec![Topic::Queries], |state| state.queries());
    let (meta, rows) = read.await.map_err(Error::of_read)?;
    let json = list(rows.iter().map(|row| defined(row)));
    Ok(reading.respond(meta, json))
}

/// `GET /v1/query/ID`: a list of one.
async fn get(call: &Call<'_>) -> Result<Response<Body>, Error> {
    let reading = Reading::parse(call)?;
    let id = call.rest;
    let read = reading.read(|| vec![Topic::query(id)], |state| state.query(id));
    let (meta, row) = read.await.map_err(Error::of_read)?;
    let row = row.ok_or_else(|| Error::of_read(Error::NotFound(NOT_FOUND.to_owned())))?;
    Ok(reading.respond(meta, list([defined(&row)].into_iter())))
}

fn defined(row: &Query) -> api::Query<'_> {
    let spec = &row.spec;
    let service = &spec.service;
    api::Query {
        id: &spec.id,
        name: &spec.name,
        session: &spec.session,
        token: &spec.token,
        template: api::Template::default(),
        service: api::Service {
            service: &service.service,
            sameness_group: "",
            failover: api::Failover {
                nearest_n: service.failover.nearest_n,
                datacenters: service.failover.datacenters.as_deref(),
                targets: (),
            },
            only_passing: service.only_passing,
            ignore_check_ids: service.ignore_check_ids.as_deref(),
            near: &service.near,
            tags: service.tags.as_deref(),
            node_meta: service.node_meta.as_ref(),
            service_meta: service.service_meta.as_ref(),
            connect: service.connect,
            peer: "",
        },
        dns: api::Dns { ttl: &spec.dns_ttl },
        create_index: row.create_index,
        modify_index: row.modify_index,
    }
}

// === execution ===

/// `GET /v1/query/ID-OR-NAME/execute`: the instances it finds, in random order. It never blocks.
async fn execute(call: &Call<'_>, name: &str) -> Result<Response<Body>, Error> {
    let reading = Reading::parse(call)?;
    let limit = limit(call).map_err(Error::of_read)?;
    let connect = connect(call).map_err(Error::of_read)?;
    let query = |state: &State| {
        let query = state.query_by_id_or_name(name);
        let found = query.map(|query| {
            let rows = prepared_query::execute(state, &query.spec);
            (query, rows)
        });
        Answer {
            // Consul's answer has no index of its own.
            index: 1,
            value: found,
        }
    };
    let (meta, found) = reading.read_now(query).await.map_err(Error::of_read)?;
    let (query, mut rows) =
        found.ok_or_else(|| Error::of_read(Error::NotFound(NOT_FOUND.to_owned())))?;
    let service = &query.spec.service;
    if connect {
        // There is no mesh, hence nothing that speaks its protocol.
        rows.clear();
    }
    shuffle(&mut rows);
    if let Some(limit) = limit {
        rows.truncate(limit);
    }
    let datacenter = &call.edge.config().datacenter;
    let show = Show {
        null_tags: true,
        ..Show::usual(datacenter)
    };
    let mut out = b"{\"Service\":".to_vec();
    json::write_str(&mut out, &service.service);
    out.extend_from_slice(b",\"Nodes\":");
    out.append(&mut list(rows.iter().map(|row| shown(row, &show))));
    out.extend_from_slice(b",\"DNS\":{\"TTL\":");
    json::write_str(&mut out, &query.spec.dns_ttl);
    out.extend_from_slice(b"},\"Datacenter\":");
    json::write_str(&mut out, datacenter);
    out.extend_from_slice(b",\"PeerName\":\"\",\"Failovers\":0");
    reading.write_meta(&mut out, meta);
    out.push(b'}');
    Ok(reading.respond(meta, out))
}

/// Fisher and Yates's, so that callers without a load balancer spread.
fn shuffle<T>(rows: &mut [T]) {
    for last in (1..rows.len()).rev() {
        let random = rt::random_u64() % (last as u64 + 1);
        rows.swap(last, usize::try_from(random).unwrap_or(last));
    }
}

fn limit(call: &Call<'_>) -> Result<Option<usize>, Error> {
    let Some(text) = call.query.get("limit").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let limit: i64 = text.parse().map_err(|_| {
        Error::internal(format!(
            "Bad limit: strconv.Atoi: parsing {text:?}: invalid syntax"
        ))
    })?;
    Ok(usize::try_from(limit).ok().filter(|limit| *limit > 0))
}

fn connect(call: &Call<'_>) -> Result<bool, Error> {
    match call.query.get("connect").as_deref() {
        None | Some("" | "0" | "f" | "F" | "FALSE" | "false" | "False") => Ok(false),
        Some("1" | "t" | "T" | "TRUE" | "true" | "True") => Ok(true),
        Some(other) => Err(Error::internal(format!(
            "Error parsing 'connect' value: strconv.ParseBool: parsing {other:?}: invalid syntax"
        ))),
    }
}
