//! Everything that is not the agent's own is passed on to a server, and the answer passed back as it comes.
//!
//! Bodies that announce their size and are small are kept until the answer's head is there, so that a request that surely was not
//! sent can go to another server; larger ones stream and go out once. A client that hangs up takes its request with it: the stream
//! to the server is reset, and the server forgets the parked read. Identical parked reads may share one stream later; this is the
//! place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use hyper::{Method, Response, StatusCode};
use rollcall_api::GoDuration;
use rollcall_edge::answer::StreamError;
use rollcall_edge::{Answering, Api, Body, Call, Error, Found, Matched, Parking, answer, body};
use rollcall_rt as rt;
use tokio::sync::mpsc;

use crate::servers::{Asked, PASSED_ON, SendError, Servers};

/// Bytes of a body that is kept for a second attempt: more than the largest value or transaction.
const KEPT_BYTES_MAX: u64 = 1 << 20;
/// Bytes of an answer that is passed back in one piece, with its length.
const WHOLE_BYTES_MAX: u64 = 1 << 20;
/// Pieces of a stream that wait for the slower side.
const PIECES_MAX: usize = 8;
/// How long a passed-on request may wait at most: the server ends its waits itself, earlier.
const PATIENCE: GoDuration = GoDuration::from_secs(24 * 3600);

/// Headers that are of one connection, not of the request.
const OF_CONNECTION: [HeaderName; 6] = [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, HOST];

/// The rest of the API.
pub struct Forward {
    servers: Arc<Servers>,
    /// Whether the catalog has this node; `/readyz` says so.
    ready: Arc<AtomicBool>,
}

impl Forward {
    /// Passes on to these.
    pub fn new(servers: Arc<Servers>, ready: Arc<AtomicBool>) -> Self {
        Forward { servers, ready }
    }
}

const V1: usize = 0;
const LIVE: usize = 1;
const READY: usize = 2;

impl Api for Forward {
    fn find<'p>(&self, path: &'p str) -> Found<'p> {
        let (endpoint, pattern, allow) = match path {
            "/livez" => (LIVE, "/livez", "OPTIONS,GET,HEAD"),
            "/readyz" => (READY, "/readyz", "OPTIONS,GET,HEAD"),
            // What is not here is nowhere: servers have agents of their own.
            path if path.starts_with("/v1/agent/") => return Found::Nothing,
            path if path.starts_with("/v1/") => (V1, "/v1/", ""),
            _ => return Found::Nothing,
        };
        let rest = path.strip_prefix(pattern).unwrap_or_default();
        Found::Endpoint(Matched {
            endpoint,
            pattern,
            allow,
            errors_as_read: false,
            rest,
        })
    }

    fn answer<'a>(
        &'a self,
        endpoint: usize,
        call: &'a Call<'a>,
        body: &'a mut Incoming,
    ) -> Answering<'a> {
        Box::pin(async move {
            match endpoint {
                LIVE => Ok(answer::plain(StatusCode::OK, "alive\n")),
                READY if self.ready.load(Ordering::Relaxed) => {
                    Ok(answer::plain(StatusCode::OK, "ready\n"))
                }
                READY => {
                    let words = "no server has this node's registration yet\n";
                    Ok(answer::plain(StatusCode::SERVICE_UNAVAILABLE, words))
                }
                _ => self.pass_on(call, body).await,
            }
        })
    }
}

impl Forward {
    async fn pass_on(&self, call: &Call<'_>, body: &mut Incoming) -> Result<Response<Body>, Error> {
        if call.head.headers.contains_key(PASSED_ON) {
            return Err(Error::internal(
                "passed on twice: retry_join of an agent names an agent, not a server",
            ));
        }
        let method = &call.head.method;
        let target = call.head.uri.path_and_query();
        let mut asked = Asked {
            method: method.clone(),
            target: target.map_or("/", |target| target.as_str()).to_owned(),
            headers: of_request(&call.head.headers),
            body: Bytes::new(),
            repeatable: matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS),
        };
        let announced = body.size_hint().exact();
        let kept = body.is_end_stream() || announced.is_some_and(|size| size <= KEPT_BYTES_MAX);
        let mut parking = Parking::new(call, Some(PATIENCE));
        let answered = if kept {
            let limit = usize::try_from(KEPT_BYTES_MAX).unwrap_or(usize::MAX);
            asked.body = body::read(body, limit, &|_| String::new()).await?;
            parking.wait(self.servers.ask(&asked)).await?
        } else {
            self.stream(&asked, body, &mut parking).await?
        };
        match answered {
            Some(Ok(answer)) => back(answer).await,
            Some(Err(error)) => Err(refusal(error)),
            None => Err(Error::internal("the agent is stopping")),
        }
    }

    /// Sends a body as it comes, while the answer is waited for.
    async fn stream(
        &self,
        asked: &Asked,
        from: &mut Incoming,
        parking: &mut Parking<'_>,
    ) -> Result<Option<Result<Response<Incoming>, SendError>>, Error> {
        let (pieces, receiver) = mpsc::channel::<Result<Frame<Bytes>, StreamError>>(PIECES_MAX);
        let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
            Some((receiver.recv().await?, receiver))
        });
        let sent = StreamBody::new(stream.boxed()).boxed_unsync();
        let feed = async {
            let mut got = 0;
            loop {
                let piece = match body::next(from, got).await {
                    Ok(Some(piece)) => piece,
                    Ok(None) => break,
                    Err(error) => {
                        let _ = pieces.send(Err(error.to_string().into())).await;
                        break;
                    }
                };
                got += piece.len() as u64;
                if pieces.send(Ok(Frame::data(piece))).await.is_err() {
                    break;
                }
            }
            drop(pieces);
            std::future::pending::<()>().await;
        };
        let answered = async {
            tokio::select! {
                biased;
                answer = self.servers.stream(asked, sent) => answer,
                () = feed => std::future::pending().await,
            }
        };
        parking.wait(answered).await
    }
}

fn refusal(error: SendError) -> Error {
    // Consul's clients know both words, and retry on 500 only.
    Error::internal(error.to_string())
}

/// A request's own headers.
fn of_request(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    for name in OF_CONNECTION.iter().chain([&EXPECT]) {
        kept.remove(name);
    }
    kept.remove("keep-alive");
    kept.remove("proxy-connection");
    kept
}

/// An answer as it is passed back.
async fn back(answer: Response<Incoming>) -> Result<Response<Body>, Error> {
    let (mut head, mut from) = answer.into_parts();
    for name in &OF_CONNECTION {
        head.headers.remove(name);
    }
    let whole = from.is_end_stream()
        || from
            .size_hint()
            .exact()
            .is_some_and(|size| size <= WHOLE_BYTES_MAX);
    let body = if whole {
        let collected = from.collect().await;
        let collected =
            collected.map_err(|error| Error::internal(format!("outcome unknown: {error}")))?;
        Body::Whole(collected.to_bytes())
    } else {
        let (pieces, receiver) = mpsc::channel(PIECES_MAX);
        rt::spawn(async move {
            loop {
                let frame = tokio::select! {
                    biased;
                    () = pieces.closed() => return,
                    frame = from.frame() => frame,
                };
                let piece = match frame {
                    None => return,
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => Ok(data),
                        Err(_) => continue,
                    },
                    Some(Err(error)) => Err(StreamError::from(error)),
                };
                let ended = piece.is_err();
                if pieces.send(piece).await.is_err() || ended {
                    return;
                }
            }
        });
        head.headers.remove(CONTENT_LENGTH);
        Body::Stream(receiver)
    };
    Ok(Response::from_parts(head, body))
}
