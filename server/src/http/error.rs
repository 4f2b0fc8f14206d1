//! What went wrong, and the answer it gets: the one place where errors become statuses.
//!
//! Statuses and words are Consul's, since clients match them: its Go client retries 500 and nothing else.

use std::borrow::Cow;

use hyper::header::{ALLOW, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use rollcall_api::decode::DecodeError;
use rollcall_api::query::{NumberError, OptionsError};
use rollcall_state::reply::Refusal;

use super::answer::{self, Body};
use crate::door::{OperatorError, ProposeError, ReadError};

/// Seconds after which a client that was turned away should come back.
const RETRY_AFTER_SECONDS: u64 = 1;

/// Why a request got no other answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// 400: the request makes no sense. Nothing was written.
    #[error("{0}")]
    BadRequest(Cow<'static, str>),
    /// 400: the body ended early. Nothing was written.
    #[error("request body ended after {got} bytes")]
    BodyCutShort { got: u64 },
    /// 404 with words.
    #[error("{0}")]
    NotFound(String),
    /// 405.
    #[error("method {method} not allowed")]
    MethodNotAllowed { method: String, allow: &'static str },
    /// 408: the body came too slowly. Nothing was written.
    #[error("request body took too long")]
    BodyTooSlow,
    /// 409: another one is under way.
    #[error("{0}")]
    Conflict(&'static str),
    /// 413. Nothing was written.
    #[error("{0}")]
    TooLarge(String),
    /// 429.
    #[error("too many {what} (limit {limit})")]
    TooMany { what: &'static str, limit: usize },
    /// 500 with words that clients know.
    #[error("{0}")]
    Internal(Cow<'static, str>),
    /// 500: a command was refused.
    #[error("{doing}: {why}")]
    Refused { doing: &'static str, why: Refusal },
    /// A write without answer.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// A read without answer.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An operator's wish that was not granted.
    #[error(transparent)]
    Operator(#[from] OperatorError),
}

impl Error {
    pub(super) fn bad_request(words: impl Into<Cow<'static, str>>) -> Self {
        Error::BadRequest(words.into())
    }

    pub(super) fn internal(words: impl Into<Cow<'static, str>>) -> Self {
        Error::Internal(words.into())
    }

    fn status(&self) -> StatusCode {
        match self {
            Error::BadRequest(_) | Error::BodyCutShort { .. } => StatusCode::BAD_REQUEST,
            Error::NotFound(_) => StatusCode::NOT_FOUND,
            Error::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Error::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Error::Conflict(_) => StatusCode::CONFLICT,
            Error::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Error::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Error::Propose(ProposeError::Busy(_)) => StatusCode::SERVICE_UNAVAILABLE,
            Error::Read(ReadError::Busy(_)) => StatusCode::TOO_MANY_REQUESTS,
            Error::Internal(_) | Error::Refused { .. } | Error::Operator(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            // A server that stops says 500 as well: Consul's Go client tries again on nothing else.
            Error::Propose(
                ProposeError::NoLeader | ProposeError::Unknown(_) | ProposeError::Stopping(_),
            )
            | Error::Read(ReadError::NoLeader | ReadError::Stopping(_)) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let status = self.status();
        let mut response = answer::text(status, self.to_string());
        if let Error::MethodNotAllowed { allow, .. } = self {
            (response.headers_mut()).insert(ALLOW, HeaderValue::from_static(allow));
        }
        if matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        ) {
            (response.headers_mut()).insert(RETRY_AFTER, RETRY_AFTER_SECONDS.into());
        }
        response
    }
}

impl From<OptionsError> for Error {
    fn from(error: OptionsError) -> Self {
        Error::bad_request(error.to_string())
    }
}

/// Consul answers 500 to a number it cannot read.
impl From<NumberError> for Error {
    fn from(error: NumberError) -> Self {
        Error::internal(error.to_string())
    }
}

/// A body that was not understood: Consul's opening words differ from endpoint to endpoint.
pub(super) fn undecodable(opening: &'static str) -> impl Fn(DecodeError) -> Error {
    move |error| Error::bad_request(format!("{opening}: {error}"))
}
