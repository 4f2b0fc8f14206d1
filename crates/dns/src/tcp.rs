//! Streams: messages with their length in front, answered in order (RFC 7766).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rollcall_rt as rt;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::lookup::Lookup;
use crate::respond::Transport;
use crate::serve::{Now, Shared};
use crate::shuffle::Shuffle;

/// Connections at a time; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 1024;
/// How long a client may be silent, or take no answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause after an accept that failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Bytes of the length in front of a message.
const LENGTH_BYTES: usize = 2;

/// Serves a listener until `shutdown`.
pub(crate) async fn serve<L: Lookup>(
    listener: TcpListener,
    shared: Arc<Shared<L>>,
    shutdown: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((socket, place)) => {
                let (shared, shutdown) = (Arc::clone(&shared), shutdown.clone());
                rt::spawn(async move {
                    let _place = place;
                    tokio::select! {
                        () = shutdown.cancelled() => {}
                        ended = connection(socket, &shared) => {
                            if let Err(error) = ended {
                                tracing::debug!(%error, "a DNS connection broke");
                            }
                        }
                    }
                });
            }
            Err(error) => {
                tracing::error!(%error, "cannot accept a DNS connection");
                rt::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (socket, _) = listener.accept().await?;
    Ok((socket, place))
}

async fn connection<L: Lookup>(mut socket: TcpStream, shared: &Shared<L>) -> io::Result<()> {
    let mut shuffle = Shuffle::new(rt::random_u64());
    let (mut out, mut framed) = (Vec::new(), Vec::new());
    while let Some(question) = next(&mut socket).await? {
        let answer = match shared.now(&question, Transport::Tcp, &mut shuffle, &mut out) {
            Now::Reply => &out,
            Now::Silence => return Ok(()),
            Now::Later => {
                match shared
                    .later(&question, Transport::Tcp, shuffle.clone())
                    .await
                {
                    Some(answer) => out = answer,
                    None => return Ok(()),
                }
                &out
            }
        };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        framed.clear();
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(answer);
        bounded(socket.write_all(&framed)).await?;
    }
    Ok(())
}

/// The next message; `None`: the client has no more.
async fn next(socket: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; LENGTH_BYTES];
    match bounded(socket.read_exact(&mut length)).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
    bounded(socket.read_exact(&mut question)).await?;
    Ok(Some(question))
}

async fn bounded<T>(io: impl Future<Output = io::Result<T>> + Send) -> io::Result<T> {
    rt::timeout(PATIENCE, io)
        .await
        .unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
}
