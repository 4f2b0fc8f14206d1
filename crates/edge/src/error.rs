//! What went wrong, and the answer it gets: the one place where errors become statuses.
//!
//! Statuses and words are Consul's, since clients match them: its Go client retries 500 and nothing else.

use std::borrow::Cow;

use hyper::header::{ALLOW, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use rollcall_api::decode::DecodeError;
use rollcall_api::query::{NumberError, OptionsError};

use crate::answer::{self, Body, Meta};

/// Seconds after which a client that was turned away should come back.
const RETRY_AFTER_SECONDS: u64 = 1;

/// Why a request got no other answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// 400: the request makes no sense. Nothing was written.
    #[error("{0}")]
    BadRequest(Cow<'static, str>),
    /// 400: the body ended early. Nothing was written.
    #[error("request body ended after {got} bytes")]
    BodyCutShort {
        /// Bytes that came.
        got: u64,
    },
    /// 404 with words.
    #[error("{0}")]
    NotFound(String),
    /// 405.
    #[error("method {method} not allowed")]
    MethodNotAllowed {
        /// As asked.
        method: String,
        /// The `Allow` header.
        allow: &'static str,
    },
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
    TooMany {
        /// Of what, in the plural.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// 500 with words that clients know.
    #[error("{0}")]
    Internal(Cow<'static, str>),
    /// 503: not now. Nothing was written.
    #[error("{0}")]
    Unavailable(String),
    /// Of a read that Consul answers with a read's headers even when it fails.
    #[error(transparent)]
    OfRead(Box<Error>),
}

impl Error {
    /// 400 with words.
    pub fn bad_request(words: impl Into<Cow<'static, str>>) -> Self {
        Error::BadRequest(words.into())
    }

    /// 500 with words.
    pub fn internal(words: impl Into<Cow<'static, str>>) -> Self {
        Error::Internal(words.into())
    }

    /// Marks it as a read's ([`Error::OfRead`]).
    pub fn of_read(error: impl Into<Error>) -> Self {
        Error::OfRead(Box::new(error.into()))
    }

    fn status(&self) -> StatusCode {
        match self {
            Error::OfRead(inner) => inner.status(),
            Error::BadRequest(_) | Error::BodyCutShort { .. } => StatusCode::BAD_REQUEST,
            Error::NotFound(_) => StatusCode::NOT_FOUND,
            Error::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Error::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Error::Conflict(_) => StatusCode::CONFLICT,
            Error::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Error::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The answer it gets.
    pub fn into_response(self) -> Response<Body> {
        if let Error::OfRead(inner) = self {
            let mut response = inner.into_response();
            Meta::OF_NO_ANSWER.add_to(&mut response);
            return response;
        }
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
pub fn undecodable(opening: &'static str) -> impl Fn(DecodeError) -> Error {
    move |error| Error::bad_request(format!("{opening}: {error}"))
}
