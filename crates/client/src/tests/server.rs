//! A server that answers what the test says. It ends when dropped.

use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

use crate::{Address, Client, Settings};

/// A request that came.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: String,
    /// With its query.
    pub(super) path: String,
    pub(super) token: Option<String>,
    pub(super) body: String,
}

/// What is answered.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    Answer {
        status: u16,
        body: String,
        headers: Vec<(&'static str, String)>,
    },
    /// The connection is closed without an answer.
    Cut,
    /// The connection is closed behind the first bytes of the body.
    CutInBody,
    /// Nothing comes.
    Silence,
}

impl Reply {
    pub(super) fn ok(body: &str) -> Reply {
        Reply::status(200, body)
    }

    pub(super) fn status(status: u16, body: &str) -> Reply {
        Reply::Answer {
            status,
            body: body.to_owned(),
            headers: Vec::new(),
        }
    }

    pub(super) fn index(self, index: u64) -> Reply {
        self.header("X-Consul-Index", &index.to_string())
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Reply {
        if let Reply::Answer { headers, .. } = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }
}

type Handler = dyn Fn(usize, &Asked) -> Reply + Send + Sync;

pub(super) struct Server {
    address: Address,
    asked: Arc<Mutex<Vec<Asked>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(super) async fn start(handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Server {
        Server::start_counting(move |_, asked| handler(asked)).await
    }

    /// The handler also gets the number of requests before.
    pub(super) async fn start_counting(
        handler: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static,
    ) -> Server {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let (asked, handler) = (Arc::default(), Arc::new(handler));
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&asked);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&shared), handler.clone()));
            }
        });
        Server {
            address: Address::Tcp {
                host: "127.0.0.1".into(),
                port,
            },
            asked,
            _tasks: tasks,
        }
    }

    pub(super) async fn start_unix(
        path: &Path,
        handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Server {
        let listener = tokio::net::UnixListener::bind(path).expect("a socket");
        let asked = Arc::default();
        let handler = Arc::new(move |_: usize, asked: &Asked| handler(asked));
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&asked);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&shared), handler.clone()));
            }
        });
        Server {
            address: Address::Unix(path.to_owned()),
            asked,
            _tasks: tasks,
        }
    }

    pub(super) fn address(&self) -> Address {
        self.address.clone()
    }

    pub(super) fn client(&self) -> Client {
        Client::new(Settings {
            address: self.address(),
            ..Settings::default()
        })
        .expect("good settings")
    }

    /// What was asked so far, in order.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }
}

async fn serve<S>(stream: S, asked: Arc<Mutex<Vec<Asked>>>, handler: Arc<Handler>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (asked, handler) = (Arc::clone(&asked), Arc::clone(&handler));
        async move { answer(request, &asked, &*handler).await }
    });
    // A connection that is cut ends in an error: that is what was asked for.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    request: Request<Incoming>,
    all: &Mutex<Vec<Asked>>,
    handler: &Handler,
) -> Result<Response<Content>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map_err(std::io::Error::other)?
        .to_bytes();
    let asked = Asked {
        method: head.method.to_string(),
        path: head
            .uri
            .path_and_query()
            .map(ToString::to_string)
            .unwrap_or_default(),
        token: head
            .headers
            .get("x-consul-token")
            .and_then(|token| Some(token.to_str().ok()?.to_owned())),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let count = {
        let mut all = all.lock().expect("no panic");
        all.push(asked.clone());
        all.len() - 1
    };
    match handler(count, &asked) {
        Reply::Cut => Err(std::io::Error::other("cut")),
        Reply::Silence => std::future::pending::<Result<_, Infallible>>()
            .await
            .map_err(std::io::Error::other),
        Reply::CutInBody => Ok(Response::new(Content {
            rest: Some(Bytes::from_static(b"half")),
            cut: true,
            sent: false,
        })),
        Reply::Answer {
            status,
            body,
            headers,
        } => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            let rest = Some(Bytes::from(body)).filter(|body| !body.is_empty());
            Ok(response
                .body(Content {
                    rest,
                    cut: false,
                    sent: false,
                })
                .expect("a good answer"))
        }
    }
}

/// A body that may break.
struct Content {
    rest: Option<Bytes>,
    cut: bool,
    /// The first bytes must leave before the connection breaks: hyper sends them when a body has no more for now.
    sent: bool,
}

impl Body for Content {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let content = self.get_mut();
        if content.cut && content.rest.is_none() && !content.sent {
            content.sent = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(match content.rest.take() {
            Some(bytes) => Some(Ok(Frame::data(bytes))),
            None if content.cut => Some(Err(std::io::Error::other("cut"))),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && !self.cut
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.as_ref().map_or(0, Bytes::len) as u64;
        if self.cut {
            SizeHint::default()
        } else {
            SizeHint::with_exact(rest)
        }
    }
}
