//! Listeners and connections: accepts, counts, and hands each connection to hyper.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::handle::{Client, handle};
use crate::link::{Link, LinkState, Patience};
use crate::{Edge, Share};
use rollcall_rt as rt;

/// Pause after an accept that failed for want of descriptors: they come back only when connections end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a client that has too many connections may take to hear it.
const REFUSAL: Duration = Duration::from_secs(1);
/// How long requests under way may go on when the server stops.
const DRAIN: Duration = Duration::from_secs(5);
/// Streams of one HTTP/2 connection: agents pass many parked queries on over one.
const STREAMS_MAX: u32 = 10_000;
/// How often a silent HTTP/2 connection is asked whether it lives, and how long it may take to say so.
const PING_INTERVAL: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Headers of a request; Go's servers have no such bound, clients send a dozen.
const HEADERS_MAX: usize = 100;

/// A bound socket.
#[derive(Debug)]
pub enum Listener {
    /// TCP, or the simulation's.
    Tcp(TcpListener),
    /// A unix socket.
    #[cfg(not(feature = "sim"))]
    Unix(tokio::net::UnixListener),
}

/// TCP's, with the `Debug` that the simulation's lacks.
pub struct TcpListener(pub rt::net::TcpListener);

impl std::fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TcpListener")
            .field(&self.0.local_addr())
            .finish()
    }
}

impl From<rt::net::TcpListener> for Listener {
    fn from(listener: rt::net::TcpListener) -> Self {
        Listener::Tcp(TcpListener(listener))
    }
}

/// Serves a listener until the edge's shutdown is cancelled; then waits a little for requests under way.
pub async fn serve(listener: Listener, edge: Arc<Edge>) {
    match listener {
        Listener::Tcp(TcpListener(listener)) => {
            accept_all(&edge, || async {
                let (socket, address) = listener.accept().await?;
                // Answers are small and somebody waits for each.
                socket.set_nodelay(true)?;
                Ok((socket, Client::at(address)))
            })
            .await;
        }
        #[cfg(not(feature = "sim"))]
        Listener::Unix(listener) => {
            accept_all(&edge, || async {
                let (socket, _) = listener.accept().await?;
                Ok((socket, Client::local()))
            })
            .await;
        }
    }
    let drained = async {
        while edge.connections() > 0 {
            rt::sleep(ACCEPT_PAUSE).await;
        }
    };
    if rt::timeout(DRAIN, drained).await.is_none() {
        tracing::warn!(
            connections = edge.connections(),
            "stopped with requests under way"
        );
    }
}

async fn accept_all<S, F>(edge: &Arc<Edge>, accept: impl Fn() -> F)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = io::Result<(S, Client)>> + Send,
{
    loop {
        let accepted = tokio::select! {
            biased;
            () = edge.shutdown.cancelled() => return,
            accepted = accept() => accepted,
        };
        match accepted {
            Ok((socket, client)) => {
                rt::spawn(connection(Arc::clone(edge), socket, client));
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept an HTTP connection");
                rt::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection<S>(edge: Arc<Edge>, socket: S, client: Client)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &edge.config.limits;
    let Some(_share) = Share::take(&edge.connections, limits.connections) else {
        tracing::warn!(limit = limits.connections, %client, "too many connections; closed one");
        return;
    };
    let Some(_of_client) = OfClient::take(&edge, client.ip()) else {
        tracing::debug!(%client, "too many connections of this client");
        rt::timeout(REFUSAL, refuse(socket)).await;
        return;
    };
    let state = LinkState::new();
    let patience = Patience {
        idle: limits.idle,
        head: limits.head,
        write: limits.write,
    };
    let mut link = Link::new(socket, Arc::clone(&state), patience);
    let sniffed = tokio::select! {
        biased;
        sniffed = link.speaks_http2() => sniffed,
        () = edge.shutdown.cancelled() => return,
    };
    let service = service_fn(|request| {
        let (edge, state, client) = (Arc::clone(&edge), Arc::clone(&state), client.clone());
        async move { Ok::<_, Infallible>(handle(edge, state, client, request).await) }
    });
    let io = TokioIo::new(link);
    let result = match sniffed {
        Ok(false) => {
            let serving = http1(limits.head_bytes).serve_connection(io, service);
            drive(&edge, serving, |serving| serving.graceful_shutdown()).await
        }
        Ok(true) => {
            let serving = http2(limits.head_bytes).serve_connection(io, service);
            // Boxed: the many HTTP/1 connections should not pay for its size.
            let driven = drive(&edge, serving, |serving| serving.graceful_shutdown());
            Box::pin(driven).await
        }
        Err(error) => {
            tracing::debug!(%error, %client, "HTTP connection broke before a request");
            return;
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, %client, "HTTP connection broke");
    }
}

/// Serves a connection to its end; when the server stops, until the requests under way are answered.
async fn drive<C>(
    edge: &Edge,
    serving: C,
    stop: impl FnOnce(Pin<&mut C>),
) -> Result<(), hyper::Error>
where
    C: Future<Output = Result<(), hyper::Error>> + Send,
{
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        biased;
        result = serving.as_mut() => result,
        () = edge.shutdown.cancelled() => {
            stop(serving.as_mut());
            rt::timeout(DRAIN, serving).await.unwrap_or(Ok(()))
        }
    }
}

/// Says why and closes. What the client sends is read and dropped until it closes too: closing over unread bytes would take
/// the answer away from it.
async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(mut socket: S) {
    if socket.write_all(TOO_MANY_CONNECTIONS).await.is_err() || socket.shutdown().await.is_err() {
        return;
    }
    let mut dropped = [0; 1024];
    while matches!(socket.read(&mut dropped).await, Ok(1..)) {}
}

/// As Consul's, plus when to come back.
const TOO_MANY_CONNECTIONS: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\n\
    Content-Type: text/plain; charset=utf-8\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 82\r\n\r\n\
    Your IP is issuing too many concurrent connections, please rate limit your calls\r\n";

fn http1(head_bytes: usize) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // Some clients compare header names byte by byte, in Go's spelling.
        .title_case_headers(true)
        // A client that closes its sending half still gets its answer; `link` watches for real hang-ups.
        .half_close(true)
        .max_buf_size(head_bytes)
        .max_headers(HEADERS_MAX)
        // `link` keeps time.
        .header_read_timeout(None)
        .auto_date_header(!cfg!(feature = "sim"));
    builder
}

fn http2(head_bytes: usize) -> http2::Builder<Executor> {
    let mut builder = http2::Builder::new(Executor);
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(head_bytes).unwrap_or(u32::MAX))
        .adaptive_window(true)
        .auto_date_header(!cfg!(feature = "sim"));
    builder
}

/// Tasks of HTTP/2 streams, spawned where the simulation can see them.
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

/// A client's share of the connections; given back when dropped.
struct OfClient<'a> {
    edge: &'a Edge,
    ip: Option<IpAddr>,
}

impl<'a> OfClient<'a> {
    fn take(edge: &'a Edge, ip: Option<IpAddr>) -> Option<Self> {
        if let Some(ip) = ip {
            let mut clients = edge.clients.lock();
            let open = clients.entry(ip).or_default();
            if *open >= edge.config.limits.connections_per_client {
                return None;
            }
            *open += 1;
        }
        Some(OfClient { edge, ip })
    }
}

impl Drop for OfClient<'_> {
    fn drop(&mut self) {
        let Some(ip) = self.ip else { return };
        let mut clients = self.edge.clients.lock();
        if let Some(open) = clients.get_mut(&ip) {
            *open -= 1;
            if *open == 0 {
                clients.remove(&ip);
            }
        }
    }
}
