//! The calling side: shared connections to servers by id, and connections of one's own for streams.
//!
//! An address is looked up at every dial, never kept. Callers of one server share a connection per lane; a caller that
//! gives up takes only its own request back. A connection that stayed silent while a call timed out is dropped, so
//! that the next call dials anew (after a partition TCP's own retransmission may take many seconds).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};

use super::AddressBook;
use super::connection::{OUTGOING_FRAMES_MAX, Outgoing, dial, write_loop};
use super::frame::{FRAME_BYTES_MAX, Frame, FrameKind, FrameReader, FrameWriter};
use super::hello::{HelloError, Identity, Kind};
use crate::raft::ServerId;
use crate::rt;

/// The longest a dial may take: a live server on a local network answers in milliseconds.
const DIAL_TIMEOUT: Duration = Duration::from_millis(1000);

/// Which shared connection a call goes over, so that a heartbeat never waits behind a large write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Votes and other small messages of Raft.
    Raft,
    /// Everything else.
    Application,
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Surely not sent: the peer did nothing. Safe to retry.
    #[error("not sent: {0}")]
    NotSent(String),
    /// The peer may have done it, or may yet.
    #[error("no answer: {0}")]
    Unknown(String),
    /// The peer's handler refused, in its words.
    #[error("{0}")]
    Refused(String),
}

/// An open stream connection.
pub struct Stream {
    /// From the peer.
    pub reader: FrameReader,
    /// To the peer.
    pub writer: FrameWriter,
}

/// Calls other servers.
pub struct Client {
    identity: Arc<Identity>,
    book: Arc<AddressBook>,
    slots: Mutex<BTreeMap<(ServerId, Lane), Arc<Slot>>>,
}

type Slot = tokio::sync::Mutex<Option<Arc<Shared>>>;

impl Client {
    /// Calls as `identity`, to the addresses in `book`.
    pub fn new(identity: Arc<Identity>, book: Arc<AddressBook>) -> Arc<Self> {
        Arc::new(Self {
            identity,
            book,
            slots: Mutex::default(),
        })
    }

    /// Who calls.
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// Where servers live.
    pub fn book(&self) -> &Arc<AddressBook> {
        &self.book
    }

    /// Calls a server over the application's lane.
    ///
    /// # Errors
    /// See [`CallError`]. Dropping the future gives the call up; the peer may still do it.
    pub async fn call(
        &self,
        to: ServerId,
        method: u16,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        self.call_on(Lane::Application, to, method, body, timeout)
            .await
    }

    /// Calls a server over one of the lanes.
    pub async fn call_on(
        &self,
        lane: Lane,
        to: ServerId,
        method: u16,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        let deadline = rt::Instant::now() + timeout;
        let connected = rt::timeout(timeout, self.connection(lane, to)).await;
        let connection = match connected {
            Some(Ok(connection)) => connection,
            Some(Err(error)) => return Err(CallError::NotSent(error)),
            None => return Err(CallError::NotSent(format!("dialling {to} took too long"))),
        };
        connection.call(method, body, deadline).await
    }

    /// Calls whoever answers at an address, over a connection of its own (bootstrap probes). Returns who it was.
    pub async fn call_address(
        &self,
        address: SocketAddr,
        method: u16,
        body: Bytes,
        timeout: Duration,
    ) -> Result<(ServerId, Bytes), CallError> {
        let deadline = rt::Instant::now() + timeout;
        let within = timeout.min(DIAL_TIMEOUT);
        // Without a cluster, so that a server of another one answers and can be told apart from one that is down.
        let anyone = Identity::new(self.identity.id, None);
        let dialled = dial(address, &anyone, Kind::Call, ServerId::ANYONE, within)
            .await
            .map_err(|error| CallError::NotSent(error.to_string()))?;
        let peer = dialled.peer;
        let connection = Shared::start(dialled.reader, dialled.writer);
        let answer = connection.call(method, body, deadline).await;
        connection.close("done");
        Ok((peer, answer?))
    }

    /// Opens a stream to a server, at the first of its addresses that answers as it.
    ///
    /// # Errors
    /// In words; nothing was sent.
    pub async fn open(&self, to: ServerId, kind: Kind) -> Result<Stream, String> {
        let addresses = self.book.all(to);
        let mut failed = format!("the address of server {to} is not known");
        for address in addresses {
            match dial(address, &self.identity, kind, to, DIAL_TIMEOUT).await {
                Ok(dialled) => {
                    return Ok(Stream {
                        reader: dialled.reader,
                        writer: dialled.writer,
                    });
                }
                Err(error) => {
                    let other = matches!(error, HelloError::OtherServer(_));
                    tracing::debug!(server = %to, %address, %error, other, "dial failed");
                    failed = format!("{address}: {error}");
                }
            }
        }
        Err(failed)
    }

    /// The lane's connection, dialled if there is none. Concurrent callers share one dial.
    async fn connection(&self, lane: Lane, to: ServerId) -> Result<Arc<Shared>, String> {
        let slot = Arc::clone(self.slots.lock().entry((to, lane)).or_default());
        let mut held = slot.lock().await;
        if let Some(open) = held.as_ref().filter(|open| !open.is_closed()) {
            return Ok(Arc::clone(open));
        }
        *held = None;
        let stream = self.open(to, Kind::Call).await?;
        let connection = Shared::start(stream.reader, stream.writer);
        *held = Some(Arc::clone(&connection));
        Ok(connection)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        for slot in self.slots.get_mut().values() {
            if let Ok(held) = slot.try_lock()
                && let Some(connection) = held.as_ref()
            {
                connection.close("this server stops");
            }
        }
    }
}

type Answer = Result<Bytes, CallError>;

/// A connection shared by many calls.
struct Shared {
    outgoing: mpsc::Sender<Outgoing>,
    // `None` once closed, so that no call can be added to a connection that nobody reads.
    waiting: Mutex<Option<BTreeMap<u64, oneshot::Sender<Answer>>>>,
    last_id: AtomicU64,
    received: AtomicU64,
    closed: AtomicBool,
    close: Notify,
}

impl Shared {
    fn start(reader: FrameReader, writer: FrameWriter) -> Arc<Self> {
        let (outgoing, queue) = mpsc::channel(OUTGOING_FRAMES_MAX);
        let shared = Arc::new(Self {
            outgoing,
            waiting: Mutex::new(Some(BTreeMap::new())),
            last_id: AtomicU64::new(0),
            received: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            close: Notify::new(),
        });
        let running = Arc::clone(&shared);
        rt::spawn(async move {
            let why = tokio::select! {
                biased;
                () = running.close.notified() => "closed".to_owned(),
                why = running.read_loop(reader) => why,
                () = write_loop(queue, writer) => "the connection broke".to_owned(),
            };
            running.close(&why);
        });
        shared
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Ends the connection; calls in flight are told.
    fn close(&self, why: &str) {
        self.closed.store(true, Ordering::Release);
        self.close.notify_one();
        for (_, waiter) in self.waiting.lock().take().unwrap_or_default() {
            // The caller may have gone; then nobody asks.
            let _ = waiter.send(Err(CallError::Unknown(why.to_owned())));
        }
    }

    async fn read_loop(&self, mut reader: FrameReader) -> String {
        loop {
            let frame = match reader.next().await {
                Ok(Some(frame)) => frame,
                Ok(None) => return "the peer closed the connection".to_owned(),
                Err(error) => return error.to_string(),
            };
            self.received.fetch_add(1, Ordering::Relaxed);
            self.answered(frame);
        }
    }

    fn answered(&self, frame: Frame) {
        let mut waiting = self.waiting.lock();
        let Some(waiter) = waiting
            .as_mut()
            .and_then(|waiting| waiting.remove(&frame.id))
        else {
            return;
        };
        let answer = match frame.kind {
            FrameKind::Response => Ok(frame.body),
            FrameKind::Refusal => Err(CallError::Refused(
                String::from_utf8_lossy(&frame.body).into_owned(),
            )),
            FrameKind::Request | FrameKind::Item | FrameKind::End => Err(CallError::Unknown(
                format!("the peer answered with a frame of kind {:?}", frame.kind),
            )),
        };
        let _ = waiter.send(answer);
    }

    async fn call(&self, method: u16, body: Bytes, deadline: rt::Instant) -> Answer {
        let not_sent = |why: &str| CallError::NotSent(why.to_owned());
        if body.len() + 64 > FRAME_BYTES_MAX {
            return Err(not_sent("the request is larger than a frame"));
        }
        let mut request = BytesMut::with_capacity(2 + body.len());
        request.put_u16_le(method);
        request.put_slice(&body);
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let (waiter, answer) = oneshot::channel();
        let pending = Pending { shared: self, id };
        match self.waiting.lock().as_mut() {
            Some(waiting) => waiting.insert(id, waiter),
            None => return Err(not_sent("the connection just closed")),
        };
        let received_before = self.received.load(Ordering::Relaxed);
        let left = deadline.saturating_duration_since(rt::Instant::now());
        match rt::timeout(left, self.outgoing.reserve()).await {
            Some(Ok(place)) => place.send((FrameKind::Request, id, request.freeze())),
            Some(Err(_)) => return Err(not_sent("the connection just closed")),
            None => return Err(not_sent("the peer reads too slowly")),
        }
        let left = deadline.saturating_duration_since(rt::Instant::now());
        let answered = rt::timeout(left, answer).await;
        drop(pending);
        match answered {
            Some(Ok(answer)) => answer,
            Some(Err(_)) => Err(CallError::Unknown("the connection closed".to_owned())),
            None => {
                if self.received.load(Ordering::Relaxed) == received_before {
                    self.close("the peer stayed silent");
                }
                Err(CallError::Unknown(
                    "the peer did not answer in time".to_owned(),
                ))
            }
        }
    }
}

/// Takes a given-up call out of those that wait.
struct Pending<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = self.shared.waiting.lock().as_mut() {
            waiting.remove(&self.id);
        }
    }
}
