//! `/v1/snapshot`: saves the state, and restores it through the log.
//!
//! A restore first keeps the whole upload in a file of the data directory and checks every byte of it; only then does the
//! first command go out. So half an upload, a damaged one or a foreign file changes nothing. Chunks go one after the other:
//! they must be applied in order, and the log is the slower part anyway.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body as _, Incoming};
use hyper::header::HeaderValue;
use hyper::{Response, StatusCode};
use rollcall_api::query::ReadOptions;
use rollcall_edge::{
    Body, Error, Meta,
    answer::{self, StreamError},
    body,
};
use rollcall_state::command::{RestoreAbort, RestoreBegin, RestoreChunk, RestoreSwap};
use rollcall_state::{Command, Include, Reply};
use tokio::sync::mpsc;

use super::Spool;
use super::call::Call;
use super::error::refused;
use crate::archive::{ArchiveError, FRAME_BYTES, Header, Reader, Writer};
use crate::disk::{ReadFile, WriteFile};
use crate::door::{Committed, Consistency, Door, ProposeError, View};
use crate::rt;

/// Frames made ahead of a client that reads slowly.
const FRAMES_AHEAD: usize = 2;
/// How long a client may leave a frame untaken: a reader that stands still keeps a whole old state in memory.
const SLOWEST_READER: Duration = Duration::from_secs(60);
/// Bytes of an upload written to disk at once.
const SPOOL_BYTES: usize = 1 << 20;
/// Attempts to propose a command that was surely not proposed, a pause apart: a change of leader takes seconds.
const ATTEMPTS_MAX: usize = 40;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(250);
/// A line of progress in the log for so many bytes.
const PROGRESS_BYTES: u64 = 64 << 20;

/// Numbers the uploads of this process, so that two never share a file.
static UPLOADS: AtomicU64 = AtomicU64::new(0);

/// `GET /v1/snapshot`.
pub(super) async fn save(call: &Call<'_>) -> Result<Response<Body>, Error> {
    let options = ReadOptions::parse(call.query)?;
    let consistency = match options.stale {
        true => Consistency::Stale(None),
        false => Consistency::Linearizable,
    };
    let view = call.api.door.read(consistency).await?;
    let meta = Meta {
        index: view.state.index().max(1),
        known_leader: view.known_leader,
        last_contact_ms: u64::try_from(view.last_contact.as_millis()).unwrap_or(u64::MAX),
    };
    let header = Header {
        index: view.state.index(),
        cluster: view.state.cluster_id().unwrap_or_default().to_owned(),
        datacenter: call.edge.config().datacenter.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let kind = HeaderValue::from_static("application/octet-stream");
    let mut response = answer::content(StatusCode::OK, kind, stream(view, &header));
    meta.add_to(&mut response);
    Ok(response)
}

fn stream(view: View, header: &Header) -> Body {
    let (mut writer, first) = Writer::begin(header);
    let (frames, body) = mpsc::channel::<Result<Bytes, StreamError>>(FRAMES_AHEAD);
    let mut chunks = view.state.chunks(FRAME_BYTES, Include::LiveOnly);
    drop(view);
    rt::spawn(async move {
        let send = async |frame: Bytes| {
            let sent = rt::timeout(SLOWEST_READER, frames.send(Ok(frame))).await;
            matches!(sent, Some(Ok(())))
        };
        if !send(first).await {
            return;
        }
        loop {
            let (back, chunk) = rt::blocking(move || {
                let chunk = chunks.next();
                (chunks, chunk)
            })
            .await;
            chunks = back;
            let Some(chunk) = chunk else { break };
            if !send(writer.frame(&chunk)).await {
                // Without its end it is not a snapshot, and says so wherever it is read.
                tracing::warn!("a client stopped reading a snapshot; it was cut off");
                let _ = frames.try_send(Err("cut off: read too slowly".into()));
                return;
            }
        }
        send(writer.end()).await;
    });
    Body::Stream(body)
}

/// `PUT /v1/snapshot`.
pub(super) async fn restore(call: &Call<'_>, body: &mut Incoming) -> Result<Response<Body>, Error> {
    let Some(spool) = call.api.config.spool.clone() else {
        return Err(Error::internal(
            "this server has no place to keep an upload",
        ));
    };
    let _only = Only::enter(&call.api.restoring).ok_or(Error::Conflict(
        "a restore is already running on this server",
    ))?;
    let limit = call.api.config.snapshot_bytes;
    let (upload, file) = Upload::begin(spool)?;
    let bytes = upload.receive(file, body, limit).await?;
    apply(call, &upload, bytes).await?;
    Ok(answer::bare(StatusCode::OK, Body::Whole(Bytes::new())))
}

/// Checks the upload, then sends it through the log.
async fn apply(call: &Call<'_>, upload: &Upload, bytes: u64) -> Result<(), Error> {
    let (header, checksum, chunks) = {
        let file = upload.open()?;
        rt::blocking(move || verify(file)).await?
    };
    tracing::info!(bytes, chunks, index = header.index, cluster = %header.cluster, "restore begins");
    let staged = Staged {
        id: rt::new_uuid().to_string(),
        door: Some(Arc::clone(&call.api.door)),
    };
    let index = send(call, upload, &staged.id, (chunks, checksum)).await?;
    staged.swapped();
    call.record(index).await;
    tracing::info!(bytes, index, "restored");
    Ok(())
}

/// What a restore has staged on every server. Unless it was swapped in it is dropped, also when the client hangs up.
struct Staged {
    id: String,
    door: Option<Arc<dyn Door>>,
}

impl Staged {
    fn swapped(mut self) {
        self.door = None;
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let Some(door) = self.door.take() else { return };
        let id = self.id.clone();
        tracing::error!(restore = %id, "restore did not finish");
        rt::spawn(async move {
            // If this fails too, the next restore drops it.
            let abort = Command::RestoreAbort(RestoreAbort { id });
            if let Err(error) = door.propose(abort).await {
                tracing::warn!(%error, "cannot drop what a restore has staged");
            }
        });
    }
}

async fn send(
    call: &Call<'_>,
    upload: &Upload,
    id: &str,
    (chunks, checksum): (u64, u32),
) -> Result<u64, Error> {
    let id = || id.to_owned();
    propose(call, Command::RestoreBegin(RestoreBegin { id: id() })).await?;
    let file = upload.open()?;
    let mut reader = rt::blocking(move || Reader::open(file))
        .await
        .map_err(damaged)?;
    let (mut sent, mut reported) = (0, 0);
    for sequence in 0..chunks {
        let (back, chunk) = rt::blocking(move || {
            let chunk = reader.next_chunk();
            (reader, chunk)
        })
        .await;
        reader = back;
        let rows = chunk
            .map_err(damaged)?
            .ok_or_else(|| Error::internal("the upload became shorter on disk"))?;
        sent += rows.len() as u64;
        let chunk = RestoreChunk {
            id: id(),
            sequence,
            rows,
        };
        propose(call, Command::RestoreChunk(chunk)).await?;
        if sent - reported >= PROGRESS_BYTES {
            reported = sent;
            tracing::info!(bytes = sent, chunk = sequence + 1, of = chunks, "restoring");
        }
    }
    let swap = RestoreSwap {
        id: id(),
        chunks,
        checksum,
    };
    propose(call, Command::RestoreSwap(swap)).await
}

/// Proposes a command of the restore; tries again while it was surely not proposed.
async fn propose(call: &Call<'_>, command: Command) -> Result<u64, Error> {
    for _ in 1..ATTEMPTS_MAX {
        match call.api.door.propose(command.clone()).await {
            Err(ProposeError::Busy(_) | ProposeError::NoLeader) => rt::sleep(ATTEMPT_PAUSE).await,
            other => return committed(other),
        }
    }
    committed(call.api.door.propose(command).await)
}

fn committed(result: Result<Committed, ProposeError>) -> Result<u64, Error> {
    let committed = result?;
    match committed.reply {
        Reply::Refused(why) => Err(refused("restore failed", &why)),
        Reply::None | Reply::Bool(_) | Reply::Txn(_) => Ok(committed.index),
    }
}

/// Reads an archive from end to end: its header, the checksum over all chunks, and their number.
fn verify(file: Box<dyn ReadFile>) -> Result<(Header, u32, u64), Error> {
    let mut reader = Reader::open(std::io::BufReader::new(file)).map_err(damaged)?;
    let mut checksum = crc32fast::Hasher::new();
    while let Some(chunk) = reader.next_chunk().map_err(damaged)? {
        checksum.update(&chunk);
    }
    Ok((
        reader.header().clone(),
        checksum.finalize(),
        reader.frames(),
    ))
}

fn damaged(error: ArchiveError) -> Error {
    match error {
        ArchiveError::Io(source) => {
            Error::Internal(format!("cannot read the upload: {source}").into())
        }
        other => Error::BadRequest(format!("{other}; nothing was changed").into()),
    }
}

/// An upload in a file of its own; removed when dropped.
struct Upload {
    spool: Spool,
    path: PathBuf,
}

impl Upload {
    fn begin(spool: Spool) -> Result<(Self, Box<dyn WriteFile>), Error> {
        let number = UPLOADS.fetch_add(1, Ordering::Relaxed);
        let path = spool.directory.join(format!("upload-{number}.tmp"));
        let file = (spool.disk.create_dir_all(&spool.directory))
            .and_then(|()| spool.disk.create(&path))
            .map_err(|error| disk(&path, &error))?;
        Ok((Upload { spool, path }, file))
    }

    /// Writes the body to disk; returns its length.
    async fn receive(
        &self,
        mut file: Box<dyn WriteFile>,
        body: &mut Incoming,
        limit: u64,
    ) -> Result<u64, Error> {
        let too_large = |size: u64| {
            let words = format!("snapshot of {size} bytes is too large, max size: {limit} bytes");
            Error::TooLarge(words)
        };
        if let Some(size) = body.size_hint().exact().filter(|&size| size > limit) {
            return Err(too_large(size));
        }
        let mut bytes = 0;
        let mut pending = BytesMut::new();
        loop {
            let piece = body::next(body, bytes).await?;
            let last = piece.is_none();
            if let Some(piece) = piece {
                bytes += piece.len() as u64;
                pending.extend_from_slice(&piece);
            }
            if bytes > limit {
                return Err(too_large(bytes));
            }
            if last || pending.len() >= SPOOL_BYTES {
                let full = pending.split().freeze();
                let (back, written) = rt::blocking(move || {
                    let written = file.write_all(&full).and_then(|()| file.flush());
                    (file, written)
                })
                .await;
                file = back;
                written.map_err(|error| disk(&self.path, &error))?;
            }
            if last {
                return Ok(bytes);
            }
        }
    }

    fn open(&self) -> Result<Box<dyn ReadFile>, Error> {
        (self.spool.disk.open(&self.path)).map_err(|error| disk(&self.path, &error))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Err(error) = self.spool.disk.remove(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove an upload");
        }
    }
}

fn disk(path: &std::path::Path, error: &std::io::Error) -> Error {
    Error::Internal(format!("cannot keep the upload in {}: {error}", path.display()).into())
}

/// The right to be the only restore.
struct Only<'a>(&'a AtomicBool);

impl<'a> Only<'a> {
    fn enter(running: &'a AtomicBool) -> Option<Self> {
        (!running.swap(true, Ordering::AcqRel)).then_some(Only(running))
    }
}

impl Drop for Only<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
