//! One connection's bytes: bounds on idle and slow clients, and hang-ups noticed while a query is parked.
//!
//! hyper reads nothing while a request is in its handler, so it would notice a client that is gone only after writing to
//! it: a parked query would live on for minutes. Told by the handler that it is parked, the link reads on by itself, keeps
//! what it gets for later, and reports the end of the stream. hyper's own read time-out does not tell an idle connection
//! (fine for minutes: clients keep pools) from half a header (not fine), so time is kept here as well.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use rollcall_rt as rt;

/// Bytes read ahead: of a new connection, to see what it speaks, and while a query is parked. More wait in the socket; a
/// client that pipelines is not watched any longer. Most heads fit, so that hyper gets them in one piece: handed the few bytes
/// that tell the protocol first, it doubles its buffer, and a parked connection costs 8 KiB more.
const READ_AHEAD_BYTES: usize = 1024;
/// What HTTP/2 with prior knowledge begins with.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection is doing; decides how long the other side may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// Between requests.
    Idle = 0,
    /// The first bytes of a request came.
    Head = 1,
    /// A request is in its handler, or several are (HTTP/2).
    Busy = 2,
}

/// What the bytes and the handlers of a connection tell each other.
#[derive(Debug)]
pub(crate) struct LinkState {
    phase: AtomicU8,
    parked: AtomicBool,
    hung_up: Notify,
}

impl LinkState {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(LinkState {
            phase: AtomicU8::new(Phase::Idle as u8),
            parked: AtomicBool::new(false),
            hung_up: Notify::new(),
        })
    }

    /// A request's head is complete.
    pub(crate) fn request_began(&self) {
        self.phase.store(Phase::Busy as u8, Ordering::Relaxed);
    }

    /// Its answer is made. HTTP/2 connections stay busy: its own pings look after them.
    pub(crate) fn request_ended(&self, http2: bool) {
        if !http2 {
            self.phase.store(Phase::Idle as u8, Ordering::Relaxed);
        }
    }

    /// Resolves when the client hangs up. Only for HTTP/1 and once the body is read; HTTP/2 drops the handler instead.
    pub(crate) async fn hung_up(&self) {
        let _parked = Parked::enter(&self.parked);
        self.hung_up.notified().await;
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Idle,
            1 => Phase::Head,
            _ => Phase::Busy,
        }
    }
}

struct Parked<'a>(&'a AtomicBool);

impl<'a> Parked<'a> {
    fn enter(flag: &'a AtomicBool) -> Self {
        flag.store(true, Ordering::Relaxed);
        Parked(flag)
    }
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// How long the other side may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Between requests.
    pub(crate) idle: Duration,
    /// For a request's head once it began.
    pub(crate) head: Duration,
    /// To take the next bytes of an answer.
    pub(crate) write: Duration,
}

/// A socket with its state.
pub(crate) struct Link<S> {
    socket: S,
    state: Arc<LinkState>,
    patience: Patience,
    reading: Deadline<Phase>,
    writing: Deadline<()>,
    ahead: Vec<u8>,
    ended: bool,
}

impl<S> Link<S> {
    pub(crate) fn new(socket: S, state: Arc<LinkState>, patience: Patience) -> Self {
        Link {
            socket,
            state,
            patience,
            reading: Deadline::default(),
            writing: Deadline::default(),
            ahead: Vec::new(),
            ended: false,
        }
    }

    /// Nothing to read: is it time to give up?
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let phase = self.state.phase();
        let (patience, words) = match phase {
            Phase::Idle => (self.patience.idle, "idle for too long"),
            Phase::Head => (self.patience.head, "request head took too long"),
            Phase::Busy => {
                self.reading.clear();
                return Poll::Pending;
            }
        };
        ready!(self.reading.poll(cx, phase, patience));
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, words))
    }
}

impl<S: AsyncRead + Unpin> Link<S> {
    /// Waits for the first bytes, and says whether they begin HTTP/2. They are read again later.
    pub(crate) async fn speaks_http2(&mut self) -> io::Result<bool> {
        std::future::poll_fn(|cx| {
            loop {
                let known = self.ahead.len().min(HTTP2_PREFACE.len());
                if self.ended || self.ahead[..known] != HTTP2_PREFACE[..known] {
                    return Poll::Ready(Ok(false));
                }
                if known == HTTP2_PREFACE.len() {
                    return Poll::Ready(Ok(true));
                }
                if self.poll_ahead(cx)?.is_pending() {
                    return self.poll_patience(cx).map(Err);
                }
                self.head_began();
            }
        })
        .await
    }

    /// Reads some bytes ahead, or notes the end of the stream.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        let mut bytes = [0; READ_AHEAD_BYTES];
        let mut buffer = ReadBuf::new(&mut bytes[self.ahead.len()..]);
        match Pin::new(&mut self.socket).poll_read(cx, &mut buffer) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(result) => result?,
        }
        self.ended = buffer.filled().is_empty();
        self.ahead.extend_from_slice(buffer.filled());
        Ok(Poll::Ready(()))
    }

    /// Bytes came: between requests they begin one.
    fn head_began(&mut self) {
        if self.state.phase() == Phase::Idle {
            let head = Phase::Head as u8;
            self.state.phase.store(head, Ordering::Relaxed);
            self.reading.clear();
        }
    }

    /// While a query is parked: notice the end of the stream, keep what comes before it.
    fn watch_for_hang_up(&mut self, cx: &mut Context<'_>) {
        while self.state.parked.load(Ordering::Relaxed)
            && !self.ended
            && self.ahead.len() < READ_AHEAD_BYTES
        {
            match self.poll_ahead(cx) {
                Ok(Poll::Pending) => return,
                Ok(Poll::Ready(())) => {}
                Err(_) => self.ended = true,
            }
            if self.ended {
                self.state.hung_up.notify_one();
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Link<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        if !this.ahead.is_empty() {
            let taken = this.ahead.len().min(buffer.remaining());
            buffer.put_slice(&this.ahead[..taken]);
            this.ahead.drain(..taken);
            if this.ahead.is_empty() {
                // Not kept: most connections never need it again.
                this.ahead = Vec::new();
            }
        } else if !this.ended {
            match Pin::new(&mut this.socket).poll_read(cx, buffer) {
                Poll::Pending => {
                    return match this.poll_patience(cx) {
                        Poll::Ready(error) => Poll::Ready(Err(error)),
                        Poll::Pending => Poll::Pending,
                    };
                }
                Poll::Ready(result) => result?,
            }
        }
        if buffer.filled().len() > before {
            this.head_began();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    fn after_write(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if result.is_ready() {
            self.writing.clear();
            return result;
        }
        ready!(self.writing.poll(cx, (), self.patience.write));
        let error = io::Error::new(io::ErrorKind::TimedOut, "the client takes no more bytes");
        Poll::Ready(Err(error))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Link<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.after_write(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.after_write(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    /// hyper flushes after every poll of the handler, also when there is nothing to flush: the place to look for a hang-up.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch_for_hang_up(cx);
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// A deadline that moves often and is met seldom: its timer is kept when the deadline moves back, and set anew when it fires.
struct Deadline<K> {
    until: Option<(K, rt::Instant)>,
    timer: Option<Timer>,
}

struct Timer {
    fires: rt::Instant,
    sleep: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl<K> Default for Deadline<K> {
    fn default() -> Self {
        Deadline {
            until: None,
            timer: None,
        }
    }
}

impl<K: Copy + PartialEq> Deadline<K> {
    fn clear(&mut self) {
        self.until = None;
    }

    /// Ready when `patience` has passed since this was first asked for `kind`, or since `clear`.
    fn poll(&mut self, cx: &mut Context<'_>, kind: K, patience: Duration) -> Poll<()> {
        let until = match self.until {
            Some((known, until)) if known == kind => until,
            _ => rt::Instant::now() + patience,
        };
        self.until = Some((kind, until));
        loop {
            let timer = match &mut self.timer {
                Some(timer) if timer.fires <= until => timer,
                timer => timer.insert(Timer {
                    fires: until,
                    sleep: Box::pin(rt::sleep_until(until)),
                }),
            };
            ready!(timer.sleep.as_mut().poll(cx));
            self.timer = None;
            if rt::Instant::now() >= until {
                return Poll::Ready(());
            }
        }
    }
}
