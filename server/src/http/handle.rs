//! One request: its path, method and common options, then its endpoint.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hyper::body::{Body as _, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Version};
use rollcall_api::json;
use rollcall_api::query::{Query, encode_path};
use rollcall_state::{Command, Index, Reply};
use serde::Serialize;

use super::answer::{self, Body};
use super::error::Error;
use super::link::LinkState;
use super::route::{self, Endpoint, Found, Route};
use super::{Edge, body, kv, operator, session, snapshot, txn};
use crate::audit::Entry;

/// Who asks.
#[derive(Debug, Clone)]
pub(super) struct Client(Option<SocketAddr>);

impl Client {
    pub(super) fn at(address: SocketAddr) -> Self {
        Client(Some(address))
    }

    /// Through a unix socket.
    #[cfg(not(feature = "sim"))]
    pub(super) fn local() -> Self {
        Client(None)
    }

    pub(super) fn ip(&self) -> Option<IpAddr> {
        // A listener for both families sees IPv4 clients as IPv6.
        self.0.map(|address| address.ip().to_canonical())
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("unix"),
        }
    }
}

/// A request without its body.
pub(super) struct Call<'a> {
    pub(super) edge: &'a Edge,
    pub(super) link: &'a LinkState,
    pub(super) client: &'a Client,
    pub(super) head: &'a Parts,
    /// What stands behind the route's pattern, decoded.
    pub(super) rest: &'a str,
    pub(super) query: Query<'a>,
}

/// Answers a request.
pub(super) async fn handle(
    edge: Arc<Edge>,
    link: Arc<LinkState>,
    client: Client,
    request: Request<Incoming>,
) -> Response<Body> {
    link.request_began();
    let (head, mut body) = request.into_parts();
    let answered = answer(&edge, &link, &client, &head, &mut body).await;
    if !body.is_end_stream() {
        body::discard(body, &head).await;
    }
    link.request_ended(head.version == Version::HTTP_2);
    answered.unwrap_or_else(|error| {
        tracing::debug!(method = %head.method, path = head.uri.path(), %client, %error, "request failed");
        error.into_response()
    })
}

async fn answer(
    edge: &Edge,
    link: &LinkState,
    client: &Client,
    head: &Parts,
    body: &mut Incoming,
) -> Result<Response<Body>, Error> {
    let raw = head.uri.path();
    let path = route::decode_path(raw)
        .ok_or_else(|| Error::bad_request(format!("invalid URL path {raw:?}")))?;
    let (route, rest) = match route::find(&path) {
        Found::Endpoint(route, rest) => (route, rest),
        Found::Redirect(to) => return Ok(redirect(head, &to)),
        Found::Nothing => return Ok(nothing(&path)),
    };
    if head.method == Method::OPTIONS && !route.allow.is_empty() {
        return Ok(options(route));
    }
    if !route.allows(head.method.as_str()) {
        return Err(Error::MethodNotAllowed {
            method: head.method.to_string(),
            allow: route.allow,
        });
    }
    let call = Call {
        edge,
        link,
        client,
        head,
        rest,
        query: Query(head.uri.query().unwrap_or_default()),
    };
    dispatch(&call, route.endpoint, body).await
}

async fn dispatch(
    call: &Call<'_>,
    endpoint: Endpoint,
    body: &mut Incoming,
) -> Result<Response<Body>, Error> {
    call.check_place()?;
    match endpoint {
        Endpoint::Kv => kv::kv(call, body).await,
        // Boxed, as everything rare and large: a parked query pays for the largest endpoint.
        Endpoint::Txn => Box::pin(txn::txn(call, body)).await,
        Endpoint::SessionCreate => Box::pin(session::create(call, body)).await,
        Endpoint::SessionDestroy => Box::pin(session::destroy(call)).await,
        Endpoint::SessionInfo => session::info(call).await,
        Endpoint::SessionNode => session::of_node(call).await,
        Endpoint::SessionList => session::list(call).await,
        Endpoint::SessionRenew => Box::pin(session::renew(call)).await,
        Endpoint::StatusLeader => Ok(operator::leader(call)),
        Endpoint::StatusPeers => Box::pin(operator::peers(call)).await,
        Endpoint::RaftConfiguration => Box::pin(operator::raft_configuration(call)).await,
        Endpoint::RaftPeer => Box::pin(operator::remove_peer(call)).await,
        Endpoint::RaftTransferLeader => Box::pin(operator::transfer_leader(call)).await,
        Endpoint::Snapshot if call.head.method == Method::PUT => {
            Box::pin(snapshot::restore(call, body)).await
        }
        Endpoint::Snapshot => Box::pin(snapshot::save(call)).await,
        Endpoint::AclDisabled => Ok(answer::text(
            StatusCode::UNAUTHORIZED,
            "ACL support disabled",
        )),
        Endpoint::Live => Ok(answer::plain(StatusCode::OK, "alive\n")),
        Endpoint::Ready => Ok(operator::ready(call)),
    }
}

impl Call<'_> {
    /// Proposes a write, and records it when there is an audit log.
    pub(super) async fn propose(&self, command: Command) -> Result<Reply, Error> {
        let committed = self.edge.door.propose(command).await?;
        self.record(committed.index).await;
        Ok(committed.reply)
    }

    /// Writes a line of the audit log, when there is one.
    pub(super) async fn record(&self, index: Index) {
        let Some(audit) = &self.edge.config.audit else {
            return;
        };
        let client = self.client.to_string();
        audit
            .record(&Entry {
                client: &client,
                accessor: "",
                method: self.head.method.as_str(),
                path: self.head.uri.path(),
                query: self.query,
                index,
            })
            .await;
    }

    /// JSON, indented when the client asks for it.
    pub(super) fn json<T: Serialize + ?Sized>(&self, value: &T) -> Response<Body> {
        self.json_bytes(StatusCode::OK, json::to_vec(value))
    }

    /// The same for JSON that is written already.
    pub(super) fn json_bytes(&self, status: StatusCode, compact: Vec<u8>) -> Response<Body> {
        if self.query.has("pretty") {
            answer::json(status, json::indent(&compact))
        } else {
            answer::json(status, compact)
        }
    }

    /// Datacenter, namespace and partition: there is one of each.
    fn check_place(&self) -> Result<(), Error> {
        for (header, what) in [
            ("x-consul-namespace", "Namespaces"),
            ("x-consul-partition", "Partitions"),
        ] {
            if let Some(value) = self.head.headers.get(header)
                && !matches!(value.as_bytes(), b"" | b"default")
            {
                let words =
                    format!("Invalid header: {header:?} - {what} are a Consul Enterprise feature");
                return Err(Error::BadRequest(words.into()));
            }
        }
        if self.query.0.is_empty() {
            return Ok(());
        }
        for (name, value) in self.query.pairs() {
            let what = match name.as_ref() {
                "dc" if !value.is_empty() && value != self.edge.config.datacenter.as_str() => {
                    return Err(Error::internal("No path to datacenter"));
                }
                "ns" => "Namespaces",
                "partition" => "Partitions",
                _ => continue,
            };
            if !matches!(value.as_ref(), "" | "default") {
                let words = format!(
                    "Invalid query parameter: {name:?} - {what} are a Consul Enterprise feature"
                );
                return Err(Error::BadRequest(words.into()));
            }
        }
        Ok(())
    }
}

fn options(route: &Route) -> Response<Body> {
    let mut response = answer::text(StatusCode::OK, "");
    (response.headers_mut()).insert(ALLOW, HeaderValue::from_static(route.allow));
    response
}

/// As Go's multiplexer: the method is kept, and a browser gets a link.
fn redirect(head: &Parts, to: &str) -> Response<Body> {
    let mut location = encode_path(to);
    if let Some(query) = head.uri.query() {
        location.push('?');
        location.push_str(query);
    }
    let words = if head.method == Method::GET {
        format!("<a href=\"{location}\">Temporary Redirect</a>.\n\n")
    } else {
        String::new()
    };
    let html = !words.is_empty();
    let mut response = Response::new(Body::Whole(words.into()));
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    let headers = response.headers_mut();
    if html {
        let kind = HeaderValue::from_static("text/html; charset=utf-8");
        headers.insert(CONTENT_TYPE, kind);
    }
    let location = HeaderValue::try_from(location);
    headers.insert(
        LOCATION,
        location.expect("an encoded path and a parsed query must be header text"),
    );
    response
}

fn nothing(path: &str) -> Response<Body> {
    let words = if path.starts_with("/v1/") {
        "Invalid URL path: not a recognized HTTP API endpoint\n"
    } else {
        "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'\n"
    };
    answer::plain(StatusCode::NOT_FOUND, words)
}
