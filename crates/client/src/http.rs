//! The client itself: one server, a pool of connections, requests and their answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::de::DeserializeOwned;

use crate::address::Address;
use crate::connector::Connector;
use crate::error::Error;

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an answer may take beyond the time it was asked to wait.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// How long an unused connection is kept: less than servers and the boxes between keep theirs.
const IDLE_TIMEOUT: Duration = Duration::from_secs(55);

/// Largest answer taken into memory, in bytes: a list of a million small keys has a place, a mistaken one does not end the process.
const ANSWER_BYTES_MAX: u64 = 2 << 30;

/// Longest error text kept, in bytes: Consul's are a line.
const ERROR_TEXT_BYTES_MAX: usize = 8 << 10;

pub(crate) type Body = BoxBody<Bytes, std::io::Error>;

/// Whom to ask, and as whom.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The server.
    pub address: Address,
    /// Sent as `X-Consul-Token`.
    pub token: Option<String>,
    /// Sent as `dc` with every request.
    pub datacenter: Option<String>,
}

/// A client of one server. Clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    address: Address,
    authority: String,
    token: Option<HeaderValue>,
    datacenter: Option<String>,
    pool: legacy::Client<Connector, Body>,
}

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Consistency {
    /// The server's default.
    #[default]
    Default,
    /// Whatever the asked server knows.
    Stale,
    /// Linearizable.
    Consistent,
}

/// Options of a read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// How fresh.
    pub consistency: Consistency,
    /// Wait until the index is above this one.
    pub index: Option<u64>,
    /// Wait no longer than this; the server's default otherwise.
    pub wait: Option<Duration>,
}

impl ReadOptions {
    /// Whatever the asked server knows.
    pub fn stale() -> ReadOptions {
        ReadOptions {
            consistency: Consistency::Stale,
            ..ReadOptions::default()
        }
    }

    /// Linearizable.
    pub fn consistent() -> ReadOptions {
        ReadOptions {
            consistency: Consistency::Consistent,
            ..ReadOptions::default()
        }
    }
}

/// A read's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// What was asked for.
    pub value: T,
    /// Index to wait on; 0 when the server gave none.
    pub index: u64,
    /// Whether the server knew a leader.
    pub known_leader: bool,
    /// How long ago the server had heard of the leader.
    pub last_contact: Duration,
}

impl<T> Answer<T> {
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        let Answer {
            value,
            index,
            known_leader,
            last_contact,
        } = self;
        Answer {
            value: change(value),
            index,
            known_leader,
            last_contact,
        }
    }
}

/// A request being put together.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Bytes,
    timeout: Duration,
}

impl Call {
    /// A request of a path below `/v1/`, whose variable parts are already [`escaped`].
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Call {
        Call {
            method,
            path: path.into(),
            query: Vec::new(),
            body: Bytes::new(),
            timeout: ANSWER_TIMEOUT,
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Call {
        self.query.push((name, value.to_string()));
        self
    }

    /// A bare `?name`.
    pub(crate) fn flag(mut self, name: &'static str) -> Call {
        self.query.push((name, String::new()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Call {
        self.body = body.into();
        self
    }

    pub(crate) fn read(mut self, options: &ReadOptions) -> Call {
        match options.consistency {
            Consistency::Default => {}
            Consistency::Stale => self = self.flag("stale"),
            Consistency::Consistent => self = self.flag("consistent"),
        }
        if let Some(index) = options.index {
            self = self.with("index", index);
            // Servers add up to a sixteenth of the wait, so that not all wake at once; without one they wait five minutes.
            let wait = options.wait.unwrap_or(Duration::from_secs(300));
            self.timeout += wait + wait / 16;
        }
        match options.wait {
            Some(wait) => self.with("wait", format!("{}ms", wait.as_millis())),
            None => self,
        }
    }
}

/// Percent-encodes a variable part of a path. Slashes stay: keys have them.
pub(crate) fn escaped(text: &str) -> String {
    escape(text, |byte| byte == b'/')
}

fn escape(text: &str, also: impl Fn(u8) -> bool) -> String {
    use std::fmt::Write as _;
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') || also(byte) {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("writing to a string must succeed");
        }
    }
    escaped
}

impl Client {
    /// A client; connects when first used. Fails when the token cannot be a header.
    pub fn new(settings: Settings) -> Result<Client, Error> {
        let Settings {
            address,
            token,
            datacenter,
        } = settings;
        let token = token
            .filter(|token| !token.is_empty())
            .map(|token| HeaderValue::from_str(&token))
            .transpose()
            .map_err(|_| {
                Error::Request("the token has characters that a header cannot carry".into())
            })?
            .map(|mut token| {
                token.set_sensitive(true);
                token
            });
        let connector = Connector {
            address: address.clone(),
            timeout: CONNECT_TIMEOUT,
        };
        let pool = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            // Only a request of which nothing was written on a connection that had died is sent on another one.
            .retry_canceled_requests(true)
            .build(connector);
        let authority = address.authority();
        Ok(Client {
            inner: Arc::new(Inner {
                address,
                authority,
                token,
                datacenter,
                pool,
            }),
        })
    }

    /// The server.
    pub fn address(&self) -> &Address {
        &self.inner.address
    }

    fn request(&self, call: &Call, body: Body) -> Result<Request<Body>, Error> {
        let mut uri = format!("http://{}/v1/{}", self.inner.authority, call.path);
        let datacenter = self.inner.datacenter.iter().map(|name| ("dc", name));
        let pairs = call
            .query
            .iter()
            .map(|(name, value)| (*name, value))
            .chain(datacenter);
        for (position, (name, value)) in pairs.enumerate() {
            uri.push(if position == 0 { '?' } else { '&' });
            uri.push_str(name);
            if !value.is_empty() {
                uri.push('=');
                uri.push_str(&escape(value, |_| false));
            }
        }
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(uri)
            .body(body)
            .map_err(|error| Error::Request(error.to_string()))?;
        if let Some(token) = &self.inner.token {
            request
                .headers_mut()
                .insert("x-consul-token", token.clone());
        }
        Ok(request)
    }

    /// Sends a request and returns as soon as the head of the answer is there, whatever its status.
    pub(crate) async fn send(&self, call: &Call, body: Body) -> Result<Response<Incoming>, Error> {
        let request = self.request(call, body)?;
        self.inner.pool.request(request).await.map_err(|error| {
            let address = self.inner.address.clone();
            if error.is_connect() {
                Error::Connect {
                    address,
                    source: Box::new(error),
                }
            } else {
                Error::Broken {
                    address,
                    reading: false,
                    source: Box::new(error),
                }
            }
        })
    }

    /// Sends a request and reads the whole answer; a status other than 200 is an error.
    pub(crate) async fn call(&self, call: &Call) -> Result<(HeaderMap, Bytes), Error> {
        let (status, headers, body) = self.exchange(call).await?;
        if status == StatusCode::OK {
            Ok((headers, body))
        } else {
            Err(refused(status, &body))
        }
    }

    /// Sends a request and reads the whole answer, whatever its status.
    pub(crate) async fn exchange(
        &self,
        call: &Call,
    ) -> Result<(StatusCode, HeaderMap, Bytes), Error> {
        let whole = async {
            let body = Full::new(call.body.clone())
                .map_err(|never| match never {})
                .boxed();
            let (head, body) = self.send(call, body).await?.into_parts();
            Ok((
                head.status,
                head.headers,
                self.collect(&call.path, body).await?,
            ))
        };
        tokio::time::timeout(call.timeout, whole)
            .await
            .unwrap_or_else(|_| {
                Err(Error::Timeout {
                    address: self.inner.address.clone(),
                    after: call.timeout,
                })
            })
    }

    /// Reads the rest of an answer.
    pub(crate) async fn collect(&self, path: &str, mut body: Incoming) -> Result<Bytes, Error> {
        let mut whole = bytes::BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.broken(error))?;
            if let Ok(data) = frame.into_data() {
                if (whole.len() + data.len()) as u64 > ANSWER_BYTES_MAX {
                    return Err(Error::TooLarge {
                        path: path.to_owned(),
                        max: ANSWER_BYTES_MAX,
                    });
                }
                whole.extend_from_slice(&data);
            }
        }
        Ok(whole.freeze())
    }

    /// An answer that stopped half-way.
    pub(crate) fn broken(&self, error: hyper::Error) -> Error {
        Error::Broken {
            address: self.inner.address.clone(),
            reading: true,
            source: Box::new(error),
        }
    }

    /// Sends a request and reads its JSON.
    pub(crate) async fn json<T: DeserializeOwned>(&self, call: &Call) -> Result<Answer<T>, Error> {
        let (headers, body) = self.call(call).await?;
        Ok(answer(&headers, parsed(call, &body)?))
    }

    /// As [`Client::json`]; 404 is none.
    pub(crate) async fn json_if_there<T: DeserializeOwned>(
        &self,
        call: &Call,
    ) -> Result<Answer<Option<T>>, Error> {
        let (status, headers, body) = self.exchange(call).await?;
        match status {
            StatusCode::OK => Ok(answer(&headers, Some(parsed(call, &body)?))),
            // A missing key has an empty body; words come from something else that was not found.
            StatusCode::NOT_FOUND if body.is_empty() => Ok(answer(&headers, None)),
            _ => Err(refused(status, &body)),
        }
    }

    /// A write answered with `true` or `false`.
    pub(crate) async fn decision(&self, call: &Call) -> Result<bool, Error> {
        self.json(call).await.map(|answer| answer.value)
    }
}

/// A body without bytes.
pub(crate) fn empty() -> Body {
    http_body_util::Empty::new()
        .map_err(|never| match never {})
        .boxed()
}

pub(crate) fn parsed<T: DeserializeOwned>(call: &Call, body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::Answer {
        path: format!("/v1/{}", call.path),
        detail: error.to_string(),
    })
}

pub(crate) fn refused(status: StatusCode, body: &[u8]) -> Error {
    let text = String::from_utf8_lossy(&body[..body.len().min(ERROR_TEXT_BYTES_MAX)]);
    Error::Status {
        status,
        text: text.trim().to_owned(),
    }
}

fn answer<T>(headers: &HeaderMap, value: T) -> Answer<T> {
    let number = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok())
    };
    Answer {
        value,
        index: number("x-consul-index").unwrap_or(0),
        known_leader: headers
            .get("x-consul-knownleader")
            .is_some_and(|value| value == "true"),
        last_contact: Duration::from_millis(number("x-consul-lastcontact").unwrap_or(0)),
    }
}
