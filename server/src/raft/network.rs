//! The asking end: how this server's Raft speaks to another's.
//!
//! Three habits of openraft shape it. It waits out its back-off inside the request stream, so the first request is taken
//! *before* dialling. It ends a request stream as a matter of course, which is answered with the end of the answers,
//! not with an error. And it drops a call to cancel it: the connection goes with it, since half an exchange is on it.
//!
//! An append connection is kept between streams: heartbeats are streams of one request.

use std::collections::VecDeque;
use std::future::Future;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, Stream as _Stream, StreamExt as _};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, VoteRequest,
    VoteResponse,
};
use openraft::raft::{TransferLeaderRequest, TransferLeaderResponse};
use openraft::{EmptyNode, OptionalSend};

use super::message::{self, method};
use super::record::RecordError;
use super::snapshot::{SnapshotFile, Snapshots};
use super::state_machine::Snapshot;
use super::types::{ServerId, TypeConfig, Vote};
use crate::disk::ReadFile;
use crate::rpc::{Client, FrameKind, FrameReader, FrameWriter, Kind, Lane, Stream};
use crate::rt::{self, Instant};

/// Append requests sent and not answered: the other end takes no more of one stream than this.
const WINDOW: usize = 64;
/// Bytes gathered into one write.
const WRITE_BYTES: usize = 256 << 10;
/// A snapshot is sent in pieces of this size.
const SNAPSHOT_PIECE_BYTES: usize = 256 << 10;
/// Rest after each piece, so that the network and the core are shared.
const SNAPSHOT_REST: Duration = Duration::from_millis(1);
/// A peer that receives a snapshot says twice a second that it is at work; after so long without a word it is gone.
const SNAPSHOT_SILENT: Duration = Duration::from_secs(3);

type Rpc<T> = Result<T, RPCError<TypeConfig>>;

/// Makes a network per peer.
pub(super) struct NetworkFactory {
    pub(super) client: Arc<Client>,
    pub(super) snapshots: Arc<Snapshots>,
    /// A peer that does not answer an append for so long is gone.
    pub(super) response_timeout: Duration,
}

impl RaftNetworkFactory<TypeConfig> for NetworkFactory {
    type Network = Network;

    async fn new_client(&mut self, target: ServerId, _node: &EmptyNode) -> Network {
        Network {
            to: target,
            client: Arc::clone(&self.client),
            snapshots: Arc::clone(&self.snapshots),
            response_timeout: self.response_timeout,
            idle: None,
            last_session: 0,
        }
    }
}

/// Speaks to one peer.
pub(super) struct Network {
    to: ServerId,
    client: Arc<Client>,
    snapshots: Arc<Snapshots>,
    response_timeout: Duration,
    /// An append connection between two streams.
    idle: Option<Stream>,
    /// Numbers the streams of a connection, so that late answers to an earlier one are known.
    last_session: u64,
}

fn unreachable(why: impl ToString) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::from_string(why))
}

impl Network {
    async fn ask<T>(
        &self,
        method: u16,
        put: impl FnOnce(&mut BytesMut),
        take: impl FnOnce(&[u8]) -> Result<T, RecordError>,
        option: RPCOption,
    ) -> Rpc<T> {
        let mut body = BytesMut::new();
        put(&mut body);
        let call = self.client.call_on(
            Lane::Raft,
            self.to,
            method,
            body.freeze(),
            option.soft_ttl(),
        );
        let answer = call.await.map_err(unreachable)?;
        take(&answer).map_err(unreachable)
    }

    /// The kept connection if it is still good, or a new one.
    async fn append_connection(&mut self) -> Rpc<Stream> {
        if let Some(mut idle) = self.idle.take()
            && still_open(&mut idle)
        {
            return Ok(idle);
        }
        let opened = self.client.open(self.to, Kind::Append).await;
        opened.map_err(unreachable)
    }
}

/// Whether an idle connection can be used: nothing but late answers came, and no end.
fn still_open(idle: &mut Stream) -> bool {
    loop {
        match idle.reader.next().now_or_never() {
            None => return true,
            Some(Ok(Some(_late))) => {}
            Some(Ok(None) | Err(_)) => return false,
        }
    }
}

/// One stream of append requests and its answers.
struct Session<'s, S> {
    network: &'s mut Network,
    input: S,
    input_over: bool,
    connection: Option<Stream>,
    number: u64,
    unanswered: usize,
    /// When the next answer is due. It moves with answers, not with requests: else a peer that takes everything and
    /// answers nothing would be waited for as long as there is something to send.
    answer_due: Instant,
    /// Answers that arrived together.
    ready: VecDeque<StreamAppendResult<TypeConfig>>,
    over: bool,
}

type Answered = Rpc<StreamAppendResult<TypeConfig>>;

enum Event {
    Request(Option<AppendEntriesRequest<TypeConfig>>),
    Answer(StreamAppendResult<TypeConfig>),
    Late,
    Failed(RPCError<TypeConfig>),
}

impl<S> Session<'_, S>
where
    S: _Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
{
    async fn next(&mut self) -> Option<Answered> {
        loop {
            if self.over {
                return None;
            }
            if let Some(result) = self.ready.pop_front() {
                return Some(self.yielded(result));
            }
            if self.input_over && self.unanswered == 0 {
                self.end();
                return None;
            }
            let step = match self.event().await {
                Event::Request(None) => {
                    self.input_over = true;
                    Ok(())
                }
                Event::Request(Some(request)) => self.send(request).await,
                Event::Answer(result) => {
                    self.answered(result);
                    Ok(())
                }
                Event::Late => Ok(()),
                Event::Failed(error) => Err(error),
            };
            if let Err(error) = step {
                self.over = true;
                self.connection = None;
                return Some(Err(error));
            }
        }
    }

    /// A conflict or a higher vote is the last answer of a stream.
    fn yielded(&mut self, result: StreamAppendResult<TypeConfig>) -> Answered {
        if result.is_err() {
            self.end();
        }
        Ok(result)
    }

    /// Keeps the connection for the next stream.
    fn end(&mut self) {
        self.over = true;
        self.network.idle = self.connection.take();
    }

    fn answered(&mut self, result: StreamAppendResult<TypeConfig>) {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.answer_due = Instant::now() + self.network.response_timeout;
        self.ready.push_back(result);
    }

    async fn event(&mut self) -> Event {
        let Some(connection) = &mut self.connection else {
            return Event::Request(self.input.next().await);
        };
        let silence = async {
            match self.unanswered {
                0 => std::future::pending().await,
                _ => rt::sleep_until(self.answer_due).await,
            }
        };
        let may_send = !self.input_over && self.unanswered < WINDOW;
        tokio::select! {
            biased;
            frame = connection.reader.next() => match frame {
                Ok(Some(frame)) if frame.id != self.number => Event::Late,
                Ok(Some(frame)) => match message::take_append_result(&frame.body) {
                    Ok(result) => Event::Answer(result),
                    Err(error) => Event::Failed(unreachable(error)),
                },
                Ok(None) => Event::Failed(unreachable("the peer closed the connection")),
                Err(error) => Event::Failed(unreachable(error)),
            },
            request = self.input.next(), if may_send => Event::Request(request),
            () = silence => Event::Failed(unreachable("the peer did not answer in time")),
        }
    }

    /// Sends a request and all that wait behind it.
    async fn send(&mut self, first: AppendEntriesRequest<TypeConfig>) -> Rpc<()> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.network.append_connection().await?,
        };
        if self.unanswered == 0 {
            self.answer_due = Instant::now() + self.network.response_timeout;
        }
        let mut next = Some(first);
        while let Some(request) = next.take() {
            let put = |out: &mut BytesMut| message::put_append(&request, out);
            connection
                .writer
                .push_with(FrameKind::Item, self.number, put);
            self.unanswered += 1;
            if self.unanswered < WINDOW && connection.writer.pending_bytes() < WRITE_BYTES {
                next = match self.input.next().now_or_never() {
                    Some(None) => {
                        self.input_over = true;
                        None
                    }
                    Some(request) => request,
                    None => None,
                };
            }
        }
        let flushed = rt::timeout(self.network.response_timeout, connection.writer.flush()).await;
        match flushed {
            Some(Ok(())) => {
                self.connection = Some(connection);
                Ok(())
            }
            Some(Err(error)) => Err(unreachable(error)),
            None => Err(unreachable("the peer does not read")),
        }
    }
}

impl RaftNetworkV2<TypeConfig> for Network {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<TypeConfig>> {
        let put = |out: &mut BytesMut| message::put_append(&request, out);
        let answer = self.ask(method::APPEND, put, message::take_append_result, option);
        answer.await.map(AppendEntriesResponse::from)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Rpc<BoxStream<'s, Answered>>>
    where
        S: _Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        self.last_session += 1;
        let session = Session {
            number: self.last_session,
            network: self,
            input,
            input_over: false,
            connection: None,
            unanswered: 0,
            answer_due: Instant::now(),
            ready: VecDeque::new(),
            over: false,
        };
        let answers = futures_util::stream::unfold(session, |mut session| async move {
            let answered = session.next().await?;
            Some((answered, session))
        });
        let answers: BoxStream<'s, Answered> = Box::pin(answers);
        Box::pin(std::future::ready(Ok(answers)))
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<VoteResponse<TypeConfig>> {
        let put = |out: &mut BytesMut| message::put_vote_request(&request, out);
        self.ask(method::VOTE, put, message::take_vote_response, option)
            .await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<VoteResponse<TypeConfig>> {
        let put = |out: &mut BytesMut| message::put_vote_request(&request, out);
        self.ask(method::PRE_VOTE, put, message::take_vote_response, option)
            .await
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<TransferLeaderResponse<TypeConfig>> {
        let put = |out: &mut BytesMut| message::put_transfer(&request, out);
        let take = message::take_transfer_response;
        self.ask(method::TRANSFER_LEADER, put, take, option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let sending = send_snapshot(
            &self.client,
            &self.snapshots,
            self.to,
            vote,
            snapshot.snapshot,
        );
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = sending => match sent {
                Ok(vote) => Ok(SnapshotResponse::new(vote)),
                Err(why) => Err(StreamingError::Unreachable(Unreachable::from_string(why))),
            },
        }
    }
}

/// Sends a snapshot file and waits until the peer has it in place. Returns the peer's vote.
async fn send_snapshot(
    client: &Client,
    snapshots: &Arc<Snapshots>,
    to: ServerId,
    vote: Vote,
    file: SnapshotFile,
) -> Result<Vote, String> {
    let bytes = file.bytes();
    let snapshots = Arc::clone(snapshots);
    let opened = rt::blocking(move || snapshots.open_file(&file)).await;
    let source = opened.map_err(|error| error.to_string())?;
    let Stream { reader, writer } = client.open(to, Kind::Snapshot).await?;
    tracing::info!(server = %to, bytes, "sending a snapshot");
    tokio::select! {
        biased;
        answer = snapshot_answer(reader) => answer,
        failed = send_pieces(writer, vote, source) => Err(failed),
    }
}

/// Sends all of it. Resolves only when it cannot; when it could, the answer is the end.
async fn send_pieces(mut writer: FrameWriter, vote: Vote, mut source: Box<dyn ReadFile>) -> String {
    let mut head = BytesMut::new();
    message::put_bare_vote(&vote, &mut head);
    writer.push(FrameKind::Item, 0, &head);
    loop {
        let (piece, rest) = rt::blocking(move || {
            let mut piece = Vec::with_capacity(SNAPSHOT_PIECE_BYTES);
            let read = (&mut source)
                .take(SNAPSHOT_PIECE_BYTES as u64)
                .read_to_end(&mut piece);
            (read.map(|_| piece), source)
        })
        .await;
        source = rest;
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => return error.to_string(),
        };
        let end = piece.is_empty();
        let kind = if end { FrameKind::End } else { FrameKind::Item };
        writer.push(kind, 0, &piece);
        if let Err(error) = writer.flush().await {
            return error.to_string();
        }
        if end {
            return std::future::pending().await;
        }
        rt::sleep(SNAPSHOT_REST).await;
    }
}

/// What the peer makes of it, as long as it lives: to check, load and put in place gigabytes takes its time.
async fn snapshot_answer(mut reader: FrameReader) -> Result<Vote, String> {
    loop {
        let Some(heard) = rt::timeout(SNAPSHOT_SILENT, reader.next()).await else {
            return Err("the peer fell silent".to_owned());
        };
        match heard {
            Ok(Some(frame)) if frame.kind == FrameKind::Item => {}
            Ok(Some(frame)) if frame.kind == FrameKind::Response => {
                return message::take_bare_vote(&frame.body).map_err(|error| error.to_string());
            }
            Ok(Some(frame)) => return Err(words(&frame.body)),
            Ok(None) => return Err("the peer closed the connection".to_owned()),
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn words(body: &Bytes) -> String {
    String::from_utf8_lossy(body).into_owned()
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
