//! The answering side: accepts connections and hands their content to the handlers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::connection::{OUTGOING_FRAMES_MAX, write_loop};
use super::frame::{FrameKind, FrameReader, FrameWriter};
use super::hello::{self, Identity, Kind};
use super::{Handler, Handlers};
use crate::raft::ServerId;
use crate::rt;
use crate::rt::net::{TcpListener, TcpStream};

/// Connections at once. Each server keeps about six to each other; agents call over HTTP, not here.
const CONNECTIONS_MAX: usize = 1024;
/// Requests of one connection being answered at once; past it the connection is not read.
const REQUESTS_PER_CONNECTION_MAX: usize = 4096;
/// A dialler that does not say hello in this time is no server.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// After an accept failed (out of file handles), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A running server; dropping it stops it and its connections.
pub struct Server {
    local: SocketAddr,
    stop: CancellationToken,
}

impl Server {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Stops accepting and closes all connections.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Serves a listener until the returned handle is dropped or `shutdown` is cancelled.
///
/// # Errors
/// When the listener has no local address.
pub fn serve(
    listener: TcpListener,
    identity: Arc<Identity>,
    handlers: Handlers,
    shutdown: &CancellationToken,
) -> std::io::Result<Server> {
    let local = listener.local_addr()?;
    let stop = shutdown.child_token();
    let accepting = stop.clone();
    rt::spawn(async move {
        tokio::select! {
            biased;
            () = accepting.cancelled() => {}
            () = accept_loop(&listener, &identity, &handlers, &accepting) => {}
        }
    });
    Ok(Server { local, stop })
}

async fn accept_loop(
    listener: &TcpListener,
    identity: &Arc<Identity>,
    handlers: &Handlers,
    stop: &CancellationToken,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accept failed on the server port");
                rt::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!(%peer, limit = CONNECTIONS_MAX, "too many connections on the server port");
            continue;
        };
        let identity = Arc::clone(identity);
        let handlers = handlers.clone();
        let stop = stop.clone();
        rt::spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = serve_connection(stream, peer, &identity, handlers) => {}
            }
            drop(place);
        });
    }
}

/// TLS would wrap the stream here.
async fn serve_connection(
    mut stream: TcpStream,
    peer: SocketAddr,
    identity: &Identity,
    handlers: Handlers,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
    }
    let greeted = rt::timeout(HELLO_TIMEOUT, hello::answer(&mut stream, identity)).await;
    let (kind, from) = match greeted {
        Some(Ok(Some(greeted))) => greeted,
        Some(Ok(None)) | None => return,
        Some(Err(error)) => {
            tracing::debug!(%peer, %error, "no hello");
            return;
        }
    };
    let (read, write) = stream.into_split();
    let (reader, writer) = (FrameReader::new(read), FrameWriter::new(write));
    match kind {
        Kind::Call => answer_calls(from, reader, writer, handlers.call).await,
        Kind::Append => handlers.append.stream(from, reader, writer).await,
        Kind::Snapshot => handlers.snapshot.stream(from, reader, writer).await,
    }
}

async fn answer_calls(
    from: ServerId,
    mut reader: FrameReader,
    writer: FrameWriter,
    handler: Arc<dyn Handler>,
) {
    let (outgoing, queue) = mpsc::channel(OUTGOING_FRAMES_MAX);
    let requests = async {
        let places = Arc::new(Semaphore::new(REQUESTS_PER_CONNECTION_MAX));
        loop {
            let frame = match reader.next().await {
                Ok(Some(frame)) if frame.kind == FrameKind::Request && frame.body.len() >= 2 => {
                    frame
                }
                Ok(Some(_)) | Ok(None) => return,
                Err(error) => {
                    tracing::debug!(%from, %error, "a server's connection ended");
                    return;
                }
            };
            let place = Arc::clone(&places).acquire_owned().await;
            let handler = Arc::clone(&handler);
            let outgoing = outgoing.clone();
            rt::spawn(async move {
                let mut body = frame.body;
                let method = body.get_u16_le();
                let answer = match handler.call(from, method, body).await {
                    Ok(body) => (FrameKind::Response, frame.id, body),
                    Err(words) => (FrameKind::Refusal, frame.id, Bytes::from(words)),
                };
                // The connection may have ended meanwhile; then the caller knows as much.
                let _ = outgoing.send(answer).await;
                drop(place);
            });
        }
    };
    tokio::select! {
        biased;
        () = requests => {}
        () = write_loop(queue, writer) => {}
    }
}
