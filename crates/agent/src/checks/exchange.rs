//! One request and its answer over a fresh connection, HTTP/1 or HTTP/2.
//!
//! Only so much of a body is read as is kept, so an endless one costs no more than another. The connection is polled by the run
//! itself: no task of its own. Over HTTP/1 the other side is given a moment to close first, as it was asked to: the side that
//! closes first keeps the port for a minute, and a thousand checks a second would run out of ports.

use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rollcall_rt as rt;
use tokio::io::AsyncReadExt as _;

use super::dial::{Wire, system_words};

/// How long the other side may take to close.
const CLOSE_WAIT: Duration = Duration::from_millis(50);
/// Of an answer's head. Larger ones are no health check's.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The same for HTTP/2, which counts the decoded lines.
const HEADER_LIST_BYTES_MAX: u32 = 64 * 1024;

/// How the body of an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyEnd {
    /// As it should.
    Whole,
    /// There was more than is kept.
    Cut,
    /// It did not go on in time.
    Silent,
    /// The connection broke.
    Broken,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    /// Status.
    pub(super) status: StatusCode,
    /// The words beside the status, where there are any.
    pub(super) reason: Option<String>,
    /// Header lines.
    pub(super) headers: HeaderMap,
    /// The first bytes of the body.
    pub(super) body: Vec<u8>,
    /// What became of the rest.
    pub(super) end: BodyEnd,
    /// Lines after the body (gRPC's result).
    pub(super) trailers: Option<HeaderMap>,
}

/// Why there is no answer. The other side may have acted on the request.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    /// No head of an answer in time.
    #[error("context deadline exceeded (Client.Timeout exceeded while awaiting headers)")]
    Silent,
    /// The connection was closed instead.
    #[error("EOF")]
    Closed,
    /// What came is no HTTP.
    #[error("net/http: malformed HTTP response: {0}")]
    Malformed(String),
    /// The connection broke.
    #[error("{0}")]
    Broken(String),
}

impl ExchangeError {
    fn of_http1(error: hyper::Error) -> Self {
        if error.is_incomplete_message() {
            return ExchangeError::Closed;
        }
        if error.is_parse() || error.is_parse_too_large() {
            return ExchangeError::Malformed(error.to_string());
        }
        let cause = error.source().and_then(|cause| cause.downcast_ref());
        ExchangeError::Broken(match cause {
            Some(cause) => broken_words(cause),
            None => error.to_string(),
        })
    }

    fn of_http2(error: h2::Error) -> Self {
        match error.get_io() {
            Some(cause) => ExchangeError::Broken(broken_words(cause)),
            None => ExchangeError::Broken(format!("http2: {error}")),
        }
    }
}

fn broken_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionReset => "read: connection reset by peer".to_owned(),
        io::ErrorKind::BrokenPipe => "write: broken pipe".to_owned(),
        io::ErrorKind::UnexpectedEof => "unexpected EOF".to_owned(),
        _ => system_words(error),
    }
}

/// The time that is left.
pub(super) fn left(end: rt::Instant) -> Duration {
    end.saturating_duration_since(rt::Instant::now())
}

/// Sends a request over HTTP/1. Until `end` the head of the answer must be there; a body that is not is left where it is.
pub(super) async fn http1(
    wire: Box<dyn Wire>,
    request: Request<Full<Bytes>>,
    limit: usize,
    end: rt::Instant,
) -> Result<Answer, ExchangeError> {
    let handshake = http1::Builder::new()
        .title_case_headers(true)
        .allow_spaces_after_header_name_in_responses(true)
        .ignore_invalid_headers_in_responses(true)
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(wire));
    let (mut sender, connection) = handshake.await.map_err(ExchangeError::of_http1)?;
    let mut connection = pin!(connection.without_shutdown());
    let mut closed = None;
    let work = async move {
        let sent = rt::timeout(left(end), sender.send_request(request)).await;
        let response = sent
            .ok_or(ExchangeError::Silent)?
            .map_err(ExchangeError::of_http1)?;
        let (head, body) = response.into_parts();
        let (body, body_end) = read_http1(body, limit, end).await;
        Ok(Answer {
            status: head.status,
            reason: head
                .extensions
                .get::<hyper::ext::ReasonPhrase>()
                .map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned()),
            headers: head.headers,
            body,
            end: body_end,
            trailers: None,
        })
    };
    let answer = beside(connection.as_mut(), &mut closed, work).await?;
    if answer.end == BodyEnd::Whole {
        let closing = async {
            let parts = match closed {
                Some(parts) => parts,
                None => connection.await,
            };
            if let Ok(parts) = parts {
                let mut rest = [0; 1];
                let _ = parts.io.into_inner().read(&mut rest).await;
            }
        };
        rt::timeout(CLOSE_WAIT, closing).await;
    }
    Ok(answer)
}

async fn read_http1(mut body: Incoming, limit: usize, end: rt::Instant) -> (Vec<u8>, BodyEnd) {
    let mut kept = Vec::new();
    loop {
        let frame = match rt::timeout(left(end), body.frame()).await {
            None => return (kept, BodyEnd::Silent),
            Some(None) => return (kept, BodyEnd::Whole),
            Some(Some(Err(_))) => return (kept, BodyEnd::Broken),
            Some(Some(Ok(frame))) => frame,
        };
        if let Ok(data) = frame.into_data() {
            let room = limit - kept.len();
            kept.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                return (kept, BodyEnd::Cut);
            }
        }
    }
}

/// Sends a request over HTTP/2. The rules are those of [`http1`].
pub(super) async fn http2(
    wire: Box<dyn Wire>,
    request: Request<()>,
    body: Bytes,
    limit: usize,
    end: rt::Instant,
) -> Result<Answer, ExchangeError> {
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .max_header_list_size(HEADER_LIST_BYTES_MAX);
    let handshake = builder.handshake::<_, Bytes>(wire);
    let (sender, connection) = handshake.await.map_err(ExchangeError::of_http2)?;
    let mut closed = None;
    let work = async move {
        let response = rt::timeout(left(end), async {
            let mut sender = sender.ready().await?;
            let (response, mut stream) = sender.send_request(request, body.is_empty())?;
            if !body.is_empty() {
                stream.send_data(body, true)?;
            }
            response.await
        });
        let response = response.await.ok_or(ExchangeError::Silent)?;
        let (head, body) = response.map_err(ExchangeError::of_http2)?.into_parts();
        let (body, trailers, body_end) = read_http2(body, limit, end).await;
        Ok(Answer {
            status: head.status,
            reason: None,
            headers: head.headers,
            body,
            end: body_end,
            trailers,
        })
    };
    beside(pin!(connection), &mut closed, work).await
}

async fn read_http2(
    mut body: h2::RecvStream,
    limit: usize,
    end: rt::Instant,
) -> (Vec<u8>, Option<HeaderMap>, BodyEnd) {
    let mut kept = Vec::new();
    loop {
        let data = match rt::timeout(left(end), body.data()).await {
            None => return (kept, None, BodyEnd::Silent),
            Some(Some(Err(_))) => return (kept, None, BodyEnd::Broken),
            Some(Some(Ok(data))) => data,
            Some(None) => {
                return match rt::timeout(left(end), body.trailers()).await {
                    None => (kept, None, BodyEnd::Silent),
                    Some(Err(_)) => (kept, None, BodyEnd::Broken),
                    Some(Ok(trailers)) => (kept, trailers, BodyEnd::Whole),
                };
            }
        };
        // The window is at least as large as what is kept in all, so giving back what was read cannot fail in a way that matters.
        let _ = body.flow_control().release_capacity(data.len());
        let room = limit - kept.len();
        kept.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            return (kept, None, BodyEnd::Cut);
        }
    }
}

/// Polls a connection beside the work over it, until the work is done. What the connection ended with, if it did, is in `ended`.
async fn beside<C: Future, W: Future>(
    mut connection: Pin<&mut C>,
    ended: &mut Option<C::Output>,
    work: W,
) -> W::Output {
    let mut work = pin!(work);
    poll_fn(|context| {
        if let Poll::Ready(output) = work.as_mut().poll(context) {
            return Poll::Ready(output);
        }
        if ended.is_none()
            && let Poll::Ready(output) = connection.as_mut().poll(context)
        {
            *ended = Some(output);
            return work.as_mut().poll(context);
        }
        Poll::Pending
    })
    .await
}
