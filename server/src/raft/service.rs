//! The answering end: what other servers' Raft asks of this one's.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, StreamExt as _};
use openraft::base::BoxStream;
use openraft::errors::Fatal as RaftFatal;
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use tokio::sync::{Semaphore, mpsc};

use super::message::{self, method};
use super::node::Contact;
use super::snapshot::{Incoming, Snapshots};
use super::state_machine::Snapshot;
use super::types::{Raft, ServerId, TypeConfig};
use crate::door::Boxed;
use crate::rpc::{
    APPLICATION_METHODS_FROM, FrameKind, FrameReader, FrameWriter, Handler, StreamHandler,
};
use crate::rt;

/// Requests handed to Raft and not answered, of one connection. The asking end sends no more of them.
const WINDOW: usize = 64;
/// Received bytes of a snapshot written to disk at once.
const WRITE_BYTES: usize = 1 << 20;
/// A sender that sends nothing of a snapshot for so long is gone, and its place is another's.
const SENDER_SILENT: Duration = Duration::from_secs(3);
/// A receiver says this often that it is still at work, so that the sender can tell a slow disk from a dead machine.
const BEAT: Duration = Duration::from_millis(500);
/// A beat that cannot be sent in this time has no one to hear it.
const BEAT_TIMEOUT: Duration = Duration::from_millis(500);

/// Answers Raft's calls, and passes on the application's.
pub(super) struct Calls {
    pub(super) raft: Raft,
    pub(super) application: Arc<dyn Handler>,
}

impl Calls {
    async fn answer(&self, method: u16, body: &[u8]) -> Result<Bytes, String> {
        let mut out = BytesMut::new();
        match method {
            method::APPEND => {
                let request = message::take_append(body).map_err(in_words)?;
                let prev = request.prev_log_id;
                let last = request.entries.last().map(|entry| entry.log_id).or(prev);
                let response = self.raft.append_entries(request).await.map_err(in_words)?;
                message::put_append_result(&response.into_stream_result(prev, last), &mut out);
            }
            method::VOTE => {
                let request = message::take_vote_request(body).map_err(in_words)?;
                let response = self.raft.vote(request).await.map_err(in_words)?;
                message::put_vote_response(&response, &mut out);
            }
            method::PRE_VOTE => {
                let request = message::take_vote_request(body).map_err(in_words)?;
                let response = self.raft.pre_vote(request).await.map_err(in_words)?;
                message::put_vote_response(&response, &mut out);
            }
            method::TRANSFER_LEADER => {
                let request = message::take_transfer(body).map_err(in_words)?;
                let handled = self.raft.handle_transfer_leader(request).await;
                message::put_transfer_response(&handled.map_err(in_words)?, &mut out);
            }
            other => return Err(format!("method {other} is not known to this version")),
        }
        Ok(out.freeze())
    }
}

fn in_words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Handler for Calls {
    fn call(&self, from: ServerId, method: u16, body: Bytes) -> Boxed<'_, Result<Bytes, String>> {
        if method >= APPLICATION_METHODS_FROM {
            return self.application.call(from, method, body);
        }
        Box::pin(async move { self.answer(method, &body).await })
    }
}

/// Takes log entries.
pub(super) struct Append {
    pub(super) raft: Raft,
    pub(super) contact: Arc<Contact>,
}

type Answers = BoxStream<'static, Result<StreamAppendResult<TypeConfig>, RaftFatal<TypeConfig>>>;

/// A stream of requests on its way through Raft.
struct Running {
    requests: mpsc::Sender<AppendEntriesRequest<TypeConfig>>,
    answers: Answers,
    /// The session of each request not answered yet, in order.
    sessions: VecDeque<u64>,
}

impl Append {
    fn start(&self) -> Running {
        let (requests, receiver) = mpsc::channel(WINDOW);
        let receiver = futures_util::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|request| (request, receiver))
        });
        Running {
            requests,
            answers: Box::pin(self.raft.stream_append(receiver)),
            sessions: VecDeque::new(),
        }
    }

    /// Serves until the connection ends. Why it ended, if not by the peer.
    async fn serve(&self, mut reader: FrameReader, mut writer: FrameWriter) -> Result<(), String> {
        let mut running = self.start();
        // The rest of a session that ended with a conflict or a higher vote is not taken.
        let mut refused_session = None;
        loop {
            let may_take = running.sessions.len() < WINDOW;
            tokio::select! {
                biased;
                answer = running.answers.next(), if !running.sessions.is_empty() => {
                    let mut answer = Some(answer);
                    while let Some(ready) = answer {
                        let result = ready.ok_or("Raft ended the stream")?.map_err(in_words)?;
                        let session = running.sessions.pop_front().unwrap_or_default();
                        let put = |out: &mut BytesMut| message::put_append_result(&result, out);
                        writer.push_with(FrameKind::Item, session, put);
                        if result.is_ok() {
                            self.contact.made();
                        } else {
                            refused_session = Some(session);
                            running = self.start();
                        }
                        answer = match running.sessions.is_empty() {
                            true => None,
                            false => running.answers.next().now_or_never(),
                        };
                    }
                    writer.flush().await.map_err(in_words)?;
                }
                frame = reader.next(), if may_take => {
                    let Some(frame) = frame.map_err(in_words)? else {
                        return Ok(());
                    };
                    if frame.kind != FrameKind::Item || refused_session == Some(frame.id) {
                        continue;
                    }
                    let request = message::take_append(&frame.body).map_err(in_words)?;
                    let taken = running.requests.send(request).await;
                    taken.map_err(|_| "Raft ended the stream")?;
                    running.sessions.push_back(frame.id);
                }
            }
        }
    }
}

impl StreamHandler for Append {
    fn stream(&self, from: ServerId, reader: FrameReader, writer: FrameWriter) -> Boxed<'_, ()> {
        Box::pin(async move {
            if let Err(why) = self.serve(reader, writer).await {
                tracing::debug!(%from, %why, "an append connection ended");
            }
        })
    }
}

/// Takes snapshots.
pub(super) struct Receive {
    pub(super) raft: Raft,
    pub(super) snapshots: Arc<Snapshots>,
    pub(super) contact: Arc<Contact>,
    /// One at a time: each is a whole state in memory.
    pub(super) place: Semaphore,
}

impl Receive {
    async fn receive(&self, reader: &mut FrameReader) -> Result<Bytes, String> {
        let _place = self
            .place
            .try_acquire()
            .map_err(|_| "another snapshot is being received")?;
        let head = item(reader).await?.ok_or("a snapshot without a head")?;
        let vote = message::take_bare_vote(&head).map_err(in_words)?;
        let snapshots = Arc::clone(&self.snapshots);
        let mut incoming = rt::blocking(move || snapshots.receive())
            .await
            .map_err(in_words)?;
        loop {
            let (piece, end) = gather(reader).await;
            self.contact.made();
            let written;
            (incoming, written) = rt::blocking(move || {
                let written = incoming.write(&piece);
                (incoming, written)
            })
            .await;
            let step = match (written, end) {
                (Err(error), _) => Err(error.to_string()),
                (Ok(()), Err(why)) => Err(why),
                (Ok(()), Ok(end)) => Ok(end),
            };
            match step {
                Ok(false) => {}
                Ok(true) => break,
                Err(why) => {
                    rt::blocking(move || incoming.abandon()).await;
                    return Err(why);
                }
            }
        }
        let installed = self.install(vote, incoming).await?;
        Ok(installed)
    }

    async fn install(&self, vote: super::types::Vote, incoming: Incoming) -> Result<Bytes, String> {
        let checked = rt::blocking(move || incoming.finish()).await;
        let (meta, snapshot) = checked.map_err(in_words)?;
        let installed = self
            .raft
            .install_full_snapshot(vote, Snapshot { meta, snapshot });
        let response = installed.await.map_err(in_words)?;
        let mut out = BytesMut::new();
        message::put_bare_vote(&response.vote, &mut out);
        Ok(out.freeze())
    }
}

/// The next piece of a snapshot; `None` at its end.
async fn item(reader: &mut FrameReader) -> Result<Option<Bytes>, String> {
    let Some(next) = rt::timeout(SENDER_SILENT, reader.next()).await else {
        return Err("the sender fell silent".to_owned());
    };
    match next {
        Ok(Some(frame)) if frame.kind == FrameKind::Item => Ok(Some(frame.body)),
        Ok(Some(frame)) if frame.kind == FrameKind::End => Ok(None),
        Ok(Some(frame)) => Err(format!("a frame of kind {:?} in a snapshot", frame.kind)),
        Ok(None) => Err("the snapshot was cut off".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Pieces up to the size of a write, and whether that was the end.
async fn gather(reader: &mut FrameReader) -> (Vec<u8>, Result<bool, String>) {
    let mut bytes = Vec::with_capacity(WRITE_BYTES);
    while bytes.len() < WRITE_BYTES {
        match item(reader).await {
            Ok(Some(piece)) => bytes.extend_from_slice(&piece),
            Ok(None) => return (bytes, Ok(true)),
            Err(why) => return (bytes, Err(why)),
        }
    }
    (bytes, Ok(false))
}

impl StreamHandler for Receive {
    fn stream(
        &self,
        from: ServerId,
        mut reader: FrameReader,
        mut writer: FrameWriter,
    ) -> Boxed<'_, ()> {
        Box::pin(async move {
            let received = {
                let mut receiving = pin!(self.receive(&mut reader));
                let mut heard = true;
                loop {
                    tokio::select! {
                        biased;
                        received = &mut receiving => break received,
                        () = rt::sleep(BEAT), if heard => {
                            let beat = writer.send(FrameKind::Item, 0, &[]);
                            // Without a listener it goes on: what is on its way may still be whole.
                            heard = matches!(rt::timeout(BEAT_TIMEOUT, beat).await, Some(Ok(())));
                        }
                    }
                }
            };
            let (kind, body) = match received {
                Ok(body) => (FrameKind::Response, body),
                Err(why) => {
                    tracing::warn!(%from, %why, "a snapshot was not taken");
                    (FrameKind::Refusal, Bytes::from(why))
                }
            };
            let answer = rt::timeout(BEAT_TIMEOUT, writer.send(kind, 0, &body)).await;
            if !matches!(answer, Some(Ok(()))) {
                tracing::debug!(%from, "a snapshot's answer was not sent");
            }
        })
    }
}
