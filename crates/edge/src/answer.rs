//! Answers: bodies, and the headers Consul's recordings have.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, VARY};
use hyper::{Response, StatusCode};
use tokio::sync::mpsc;

/// What goes wrong while an answer is streamed: the connection is cut, so that the client cannot take it for whole.
pub type StreamError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer.
#[derive(Debug)]
pub enum Body {
    /// Sent with its length.
    Whole(Bytes),
    /// Sent as it is made.
    Stream(mpsc::Receiver<Result<Bytes, StreamError>>),
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        match &mut *self {
            Body::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Body::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Body::Stream(pieces) => {
                (pieces.poll_recv(cx)).map(|piece| Some(piece?.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Stream(_) => SizeHint::default(),
        }
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const DEFAULT_ACL_POLICY: HeaderName = HeaderName::from_static("x-consul-default-acl-policy");
const INDEX: HeaderName = HeaderName::from_static("x-consul-index");
const KNOWN_LEADER: HeaderName = HeaderName::from_static("x-consul-knownleader");
const LAST_CONTACT: HeaderName = HeaderName::from_static("x-consul-lastcontact");
const QUERY_BACKEND: HeaderName = HeaderName::from_static("x-consul-query-backend");
/// Headers of the fullest usual answer, with the two hyper adds.
const HEADERS: usize = 10;

/// How fresh an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// Never 0.
    pub index: u64,
    /// Whether this process knows a leader.
    pub known_leader: bool,
    /// Milliseconds since the leader was heard of.
    pub last_contact_ms: u64,
}

impl Meta {
    /// What Consul's servers say of a read that came to nothing.
    pub(crate) const OF_NO_ANSWER: Meta = Meta {
        index: 1,
        known_leader: false,
        last_contact_ms: 0,
    };

    /// Adds the headers of a read that could have blocked.
    pub fn add_to(self, response: &mut Response<Body>) {
        self.add_contact_to(response);
        let headers = response.headers_mut();
        headers.insert(INDEX, self.index.into());
        headers.insert(QUERY_BACKEND, HeaderValue::from_static("blocking-query"));
    }

    /// Adds the headers of a read that has no index of its own.
    pub fn add_contact_to(self, response: &mut Response<Body>) {
        let headers = response.headers_mut();
        let known = if self.known_leader { "true" } else { "false" };
        headers.insert(KNOWN_LEADER, HeaderValue::from_static(known));
        headers.insert(LAST_CONTACT, self.last_contact_ms.into());
    }
}

/// An answer without the API's headers: outside its paths.
pub fn plain(status: StatusCode, words: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::Whole(words.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    response
}

/// An answer of the API without content type.
pub fn bare(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(HEADERS);
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.insert(DEFAULT_ACL_POLICY, HeaderValue::from_static("allow"));
    response
}

/// 404 without words.
pub fn not_found() -> Response<Body> {
    bare(StatusCode::NOT_FOUND, Body::Whole(Bytes::new()))
}

/// Words.
pub fn text(status: StatusCode, words: impl Into<Bytes>) -> Response<Body> {
    let mut response = bare(status, Body::Whole(words.into()));
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    response
}

/// JSON.
pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    content(status, JSON, Body::Whole(body.into()))
}

/// Any type of content.
pub fn content(status: StatusCode, kind: HeaderValue, body: Body) -> Response<Body> {
    let mut response = bare(status, body);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// `true` or `false`.
pub fn truth(value: bool) -> Response<Body> {
    let word: &'static [u8] = if value { b"true" } else { b"false" };
    json(StatusCode::OK, Bytes::from_static(word))
}
