//! Dialling, and the writing half of a shared connection.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::frame::{FrameKind, FrameReader, FrameWriter};
use super::hello::{self, HelloError, Identity, Kind};
use crate::raft::ServerId;
use crate::rt;
use crate::rt::net::TcpStream;

/// Frames that wait for a shared connection's writer. Past it senders wait: the peer reads too slowly.
pub(super) const OUTGOING_FRAMES_MAX: usize = 1024;
/// Bytes gathered into one write of a shared connection.
const WRITE_BYTES: usize = 256 << 10;

/// An open connection.
pub(super) struct Dialled {
    /// Who answered.
    pub(super) peer: ServerId,
    pub(super) reader: FrameReader,
    pub(super) writer: FrameWriter,
}

/// Connects and says hello within a time. TLS would wrap the stream here.
pub(super) async fn dial(
    address: SocketAddr,
    identity: &Identity,
    kind: Kind,
    to: ServerId,
    within: Duration,
) -> Result<Dialled, HelloError> {
    let attempt = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let peer = hello::open(&mut stream, identity, kind, to).await?;
        let (read, write) = stream.into_split();
        Ok(Dialled {
            peer,
            reader: FrameReader::new(read),
            writer: FrameWriter::new(write),
        })
    };
    match rt::timeout(within, attempt).await {
        Some(result) => result,
        None => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    }
}

/// A frame that waits to be written.
pub(super) type Outgoing = (FrameKind, u64, Bytes);

/// Writes what comes, many frames a write while many wait. Ends when all senders are gone or the socket fails.
pub(super) async fn write_loop(mut queue: mpsc::Receiver<Outgoing>, mut writer: FrameWriter) {
    while let Some((kind, id, body)) = queue.recv().await {
        writer.push(kind, id, &body);
        while writer.pending_bytes() < WRITE_BYTES {
            let Ok((kind, id, body)) = queue.try_recv() else {
                break;
            };
            writer.push(kind, id, &body);
        }
        if writer.flush().await.is_err() {
            return;
        }
    }
}
