//! The servers, as an agent reaches them: one HTTP/2 connection to the one it uses, and another server when that one fails.
//!
//! The retry contract of the whole system stands here: what surely was not sent may go to another server; a read may in any case;
//! of everything else the outcome is unknown once it may have arrived, and is said to be.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::rt::ReadBufCursor;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioIo, TokioTimer};
use rollcall_rt as rt;

/// How long a connection may take to open; then another server is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a silent connection is asked whether it lives: a server that vanished without a word holds parked reads no longer.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// How long it may take to say so.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is looked whether the server in use still knows a leader.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// How long that look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// Times a request goes round all servers before it is given up.
const ROUNDS_MAX: usize = 2;
/// Pause between two rounds.
const ROUND_PAUSE: Duration = Duration::from_millis(200);

/// Says that an agent passed a request on, and which: such a request never counts as one from this machine.
pub const PASSED_ON: HeaderName = HeaderName::from_static("x-rollcall-passed-on");

/// What is sent.
pub type Sent = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// Where a server's HTTP API is; names are resolved at every connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// Name or IP address, without brackets.
    pub host: String,
    /// Port of the HTTP API.
    pub port: u16,
}

impl ServerAddress {
    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Surely not sent.
    #[error("No known Consul servers: {0}")]
    NotSent(String),
    /// It may have arrived.
    #[error("outcome unknown: {0}")]
    Unknown(String),
}

/// A request that can be sent again.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The method.
    pub method: Method,
    /// Path and query as they came.
    pub target: String,
    /// Headers to send.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Whether it may be sent again after it may have arrived.
    pub repeatable: bool,
}

impl Asked {
    /// A GET.
    pub fn get(target: String) -> Self {
        Asked {
            method: Method::GET,
            target,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            repeatable: true,
        }
    }
}

/// The servers of an agent.
#[derive(Debug)]
pub struct Servers {
    addresses: Vec<ServerAddress>,
    current: AtomicUsize,
    client: Client<Connector, Sent>,
    node: HeaderValue,
}

impl Servers {
    /// None is asked yet. `node` is who passes on.
    pub fn new(addresses: Vec<ServerAddress>, node: &str) -> Self {
        let client = Client::builder(Executor)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .http2_only(true)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .http2_keep_alive_while_idle(true)
            .http2_adaptive_window(true)
            .build(Connector);
        let node = HeaderValue::from_str(node);
        Servers {
            addresses,
            current: AtomicUsize::new(0),
            client,
            node: node.unwrap_or(HeaderValue::from_static("agent")),
        }
    }

    /// Where they are.
    pub fn addresses(&self) -> &[ServerAddress] {
        &self.addresses
    }

    /// Sends a request, to other servers too where that cannot do harm.
    ///
    /// # Errors
    /// No server answered.
    pub async fn ask(&self, asked: &Asked) -> Result<Response<Incoming>, SendError> {
        let mut last = "retry_join names none".to_owned();
        for round in 0..ROUNDS_MAX {
            if round > 0 {
                rt::sleep(ROUND_PAUSE).await;
            }
            for _ in 0..self.addresses.len() {
                let (at, address) = self.now();
                let body = Full::new(asked.body.clone()).map_err(|never| match never {});
                match self.send(address, asked, body.boxed_unsync()).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => {
                        last = format!("{}: {}", address.authority(), chain(&error));
                        if !error.is_connect() && !asked.repeatable {
                            self.turn(at);
                            return Err(SendError::Unknown(last));
                        }
                    }
                }
                self.turn(at);
            }
        }
        Err(SendError::NotSent(last))
    }

    /// Sends a request whose body cannot be had twice: to one server, once.
    ///
    /// # Errors
    /// It did not answer.
    pub async fn stream(&self, asked: &Asked, body: Sent) -> Result<Response<Incoming>, SendError> {
        if self.addresses.is_empty() {
            return Err(SendError::NotSent("retry_join names none".to_owned()));
        }
        let (at, address) = self.now();
        self.send(address, asked, body).await.map_err(|error| {
            self.turn(at);
            let words = format!("{}: {}", address.authority(), chain(&error));
            if error.is_connect() {
                SendError::NotSent(words)
            } else {
                SendError::Unknown(words)
            }
        })
    }

    async fn send(
        &self,
        address: &ServerAddress,
        asked: &Asked,
        body: Sent,
    ) -> Result<Response<Incoming>, legacy::Error> {
        let uri = format!("http://{}{}", address.authority(), asked.target);
        let mut request = Request::new(body);
        *request.method_mut() = asked.method.clone();
        *request.uri_mut() = uri
            .parse()
            .unwrap_or_else(|_| Uri::from_static("http://invalid/"));
        *request.headers_mut() = asked.headers.clone();
        request.headers_mut().insert(PASSED_ON, self.node.clone());
        self.client.request(request).await
    }

    fn now(&self) -> (usize, &ServerAddress) {
        let at = self.current.load(Ordering::Relaxed);
        (at, &self.addresses[at % self.addresses.len()])
    }

    /// Uses the next server, unless somebody turned already.
    fn turn(&self, from: usize) {
        let _ =
            (self.current).compare_exchange(from, from + 1, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Looks now and then whether the server in use knows a leader, and turns to another one when it does not. Never ends.
    pub async fn tend(&self) {
        let mut joined = false;
        loop {
            let (at, address) = match self.addresses.is_empty() {
                true => return std::future::pending().await,
                false => self.now(),
            };
            let asked = Asked::get("/v1/status/leader".to_owned());
            let body = Full::new(Bytes::new()).map_err(|never| match never {});
            let looked = rt::timeout(LOOK_TIMEOUT, async {
                let answer = self.send(address, &asked, body.boxed_unsync()).await.ok()?;
                let status = answer.status();
                let text = answer.into_body().collect().await.ok()?.to_bytes();
                Some(status == StatusCode::OK && text.len() > 2)
            });
            if looked.await.flatten() == Some(true) {
                if !joined {
                    tracing::info!(server = %address.authority(), "joined");
                }
                joined = true;
            } else {
                if joined || at == 0 {
                    tracing::warn!(server = %address.authority(), "this server does not answer, or knows no leader; trying another one");
                }
                joined = false;
                self.turn(at);
            }
            let jitter = Duration::from_millis(rt::random_u64() % 1000);
            rt::sleep(if joined {
                LOOK_EVERY + jitter
            } else {
                ROUND_PAUSE + jitter / 4
            })
            .await;
        }
    }
}

/// An error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words
}

/// Connects where the simulation can see it.
#[derive(Debug, Clone, Copy)]
struct Connector;

/// A connection to a server.
#[derive(Debug)]
pub struct Link(TokioIo<rt::net::TcpStream>);

impl tower_service::Service<Uri> for Connector {
    type Response = Link;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Link>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let host = uri.host().unwrap_or_default();
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let port = uri.port_u16().unwrap_or(80);
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = rt::net::resolve(&host, port).await;
            let mut last =
                std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
            for address in addresses {
                let connected = rt::timeout(CONNECT_TIMEOUT, rt::net::TcpStream::connect(address));
                match connected.await {
                    Some(Ok(stream)) => {
                        stream.set_nodelay(true)?;
                        return Ok(Link(TokioIo::new(stream)));
                    }
                    Some(Err(error)) => last = error,
                    None => last = std::io::ErrorKind::TimedOut.into(),
                }
            }
            Err(last)
        })
    }
}

impl Connection for Link {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl hyper::rt::Write for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Tasks of connections, spawned where the simulation can see them.
#[derive(Debug, Clone, Copy)]
struct Executor;

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        rt::spawn(future);
    }
}
