//! One request: its path, method and common options, then its endpoint.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Version};
use rollcall_api::json;
use rollcall_api::query::{Query, encode_path};
use rollcall_rt as rt;
use serde::Serialize;

use crate::answer::{self, Body};
use crate::error::Error;
use crate::link::LinkState;
use crate::metrics::{Place, RequestMetrics};
use crate::route::{self, Found, Matched};
use crate::{Edge, body};

/// Who asks.
#[derive(Debug, Clone)]
pub struct Client(Option<SocketAddr>);

impl Client {
    pub(crate) fn at(address: SocketAddr) -> Self {
        Client(Some(address))
    }

    /// Through a unix socket.
    #[cfg(not(feature = "sim"))]
    pub(crate) fn local() -> Self {
        Client(None)
    }

    /// Its address; `None` through a unix socket.
    pub fn ip(&self) -> Option<IpAddr> {
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
pub struct Call<'a> {
    /// What all requests share.
    pub edge: &'a Edge,
    /// Who asks.
    pub client: &'a Client,
    /// Method, path, version, headers.
    pub head: &'a Parts,
    /// The route's pattern.
    pub pattern: &'static str,
    /// What stands behind the route's pattern, decoded.
    pub rest: &'a str,
    /// Options.
    pub query: Query<'a>,
    pub(crate) link: &'a LinkState,
    /// Nanoseconds that it was parked.
    pub(crate) parked: &'a AtomicU64,
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("method", &self.head.method)
            .field("uri", &self.head.uri)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// Answers a request.
pub(crate) async fn handle(
    edge: Arc<Edge>,
    link: Arc<LinkState>,
    client: Client,
    request: Request<Incoming>,
) -> Response<Body> {
    link.request_began();
    let began = rt::Instant::now();
    let (head, mut body) = request.into_parts();
    let mut counted = Counted {
        place: RequestMetrics::NOWHERE,
        parked: AtomicU64::new(0),
    };
    let answered = answer(&edge, &link, &client, &head, &mut body, &mut counted).await;
    if !body.is_end_stream() {
        body::discard(body, &head).await;
    }
    link.request_ended(head.version == Version::HTTP_2);
    let response = answered.unwrap_or_else(|error| {
        tracing::debug!(method = %head.method, path = head.uri.path(), %client, %error, "request failed");
        error.into_response()
    });
    let parked = Duration::from_nanos(counted.parked.into_inner());
    let took = began.elapsed().saturating_sub(parked);
    (edge.requests).count(counted.place, &head.method, response.status(), took);
    // Where nobody listens this costs one comparison.
    tracing::debug!(method = %head.method, path = head.uri.path(), %client, status = response.status().as_u16(), ?took, "request finished");
    response
}

/// What is counted of a request.
struct Counted {
    place: Place,
    parked: AtomicU64,
}

async fn answer(
    edge: &Edge,
    link: &LinkState,
    client: &Client,
    head: &Parts,
    body: &mut Incoming,
    counted: &mut Counted,
) -> Result<Response<Body>, Error> {
    let raw = head.uri.path();
    let path = route::decode_path(raw)
        .ok_or_else(|| Error::bad_request(format!("invalid URL path {raw:?}")))?;
    let (number, found) = match edge.find(&path) {
        Ok(found) => found,
        Err(Some(to)) => return Ok(redirect(head, &to)),
        Err(None) => return Ok(nothing(&path)),
    };
    let api = &edge.apis[number];
    counted.place = edge.requests.place(number, found.endpoint);
    if head.method == Method::OPTIONS && !found.allow.is_empty() {
        return Ok(options(found.allow));
    }
    if !found.allows(head.method.as_str()) {
        return Err(Error::MethodNotAllowed {
            method: head.method.to_string(),
            allow: found.allow,
        });
    }
    let call = Call {
        edge,
        link,
        client,
        head,
        pattern: found.pattern,
        rest: found.rest,
        query: Query(head.uri.query().unwrap_or_default()),
        parked: &counted.parked,
    };
    call.check_place().map_err(|error| match error {
        Error::Internal(_) if found.errors_as_read => Error::of_read(error),
        other => other,
    })?;
    api.answer(found.endpoint, &call, body).await
}

impl Edge {
    /// The number of the API that answers a path; else where it redirects to, if anywhere.
    fn find<'p>(&self, path: &'p str) -> Result<(usize, Matched<'p>), Option<Cow<'p, str>>> {
        for (number, api) in self.apis.iter().enumerate() {
            match api.find(path) {
                Found::Endpoint(found) => return Ok((number, found)),
                Found::Redirect(to) => return Err(Some(to)),
                Found::Nothing => {}
            }
        }
        Err(None)
    }
}

impl Call<'_> {
    /// JSON, indented when the client asks for it.
    pub fn json<T: Serialize + ?Sized>(&self, value: &T) -> Response<Body> {
        self.json_bytes(StatusCode::OK, json::to_vec(value))
    }

    /// The same for JSON that is written already.
    pub fn json_bytes(&self, status: StatusCode, compact: Vec<u8>) -> Response<Body> {
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

fn options(allow: &'static str) -> Response<Body> {
    let mut response = answer::text(StatusCode::OK, "");
    (response.headers_mut()).insert(ALLOW, HeaderValue::from_static(allow));
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
