//! The seam between the pool and the world: one closed set of inputs and one of effects. The driver (in `crates/agent`) is
//! one task that owns the pool, the UDP socket, the TCP listener and a heap of timers, and does nothing but this:
//!
//! 1. wait for the first of a packet, something on a stream, a timer that is due, a command;
//! 2. call [`crate::Pool::step`] with it and the time since start;
//! 3. carry out the effects in their order.
//!
//! **Ordering.** When packets and timers are ready together, packets come first: an answer that already lies in the socket
//! must not lose against the timer that waits for it. Effects of one step are carried out before the next step. Timers
//! are never cancelled: one that is stale is recognised by what it carries and ignored. A stream that failed to open, broke or
//! ended is reported once with [`Input::StreamClosed`]; after [`Effect::CloseStream`] nothing more is reported of it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::swim::MemberId;

/// One TCP connection. Who opened it is part of its number, so that both sides can number their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamId {
    /// Opened by an [`Effect::OpenStream`]; numbered by the pool.
    Opened(u64),
    /// Accepted by the driver, which numbers it; never twice.
    Accepted(u64),
}

/// What a timer is for; only the pool knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timer(pub(crate) TimerKind);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum TimerKind {
    /// Begin the probe of this number.
    Probe { round: u64 },
    /// The direct probe got no answer.
    ProbeTimeout { round: u64 },
    /// The probe is over.
    ProbeEnd { round: u64 },
    /// Say that an indirect probe has no answer.
    RelayNack { seq: u32 },
    /// Forget an indirect probe.
    RelayEnd { seq: u32 },
    /// A suspect may be dead.
    Suspicion { member: MemberId },
    /// Send broadcasts that found no packet to ride on.
    Gossip,
    /// Exchange full state with somebody.
    PushPull,
    /// Exchange full state once more after a join.
    PushPullSoon,
    /// A stream takes too long.
    Stream { stream: StreamId },
    /// Ask the first owner of a name again, or decide.
    Contest { seq: u32 },
    /// Leaving: go on although not all broadcasts are out.
    Leave { stage: u8 },
    /// Look for members and intents that are due.
    Reap,
    /// Try a failed member again.
    Reconnect,
    /// A query of ours is over.
    Query { ltime: u64 },
    /// Hand over events that were held back.
    Coalesce { round: u64 },
    /// Forget a member that was leaving when it was pruned.
    Prune { round: u64 },
}

/// What can happen to the membership layer.
#[derive(Debug, Clone)]
pub(crate) enum SwimInput {
    /// The pool begins; once, first.
    Start,
    Timer(TimerKind),
    Packet {
        from: SocketAddr,
        bytes: Bytes,
    },
    StreamAccepted {
        stream: StreamId,
        from: SocketAddr,
    },
    StreamData {
        stream: StreamId,
        bytes: Bytes,
    },
    StreamClosed {
        stream: StreamId,
    },
}

/// What the driver is to do with sockets and clock. Member events and answers to commands are [`crate::Effect`]'s others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetEffect {
    /// Send a packet.
    SendPacket {
        /// To whom.
        to: SocketAddr,
        /// At most `packet_bytes_max` bytes, except answers to queries that others allow to be longer.
        bytes: Bytes,
    },
    /// Open a connection and write `bytes`.
    OpenStream {
        /// Its number.
        stream: StreamId,
        /// To whom.
        to: SocketAddr,
        /// What to write first.
        bytes: Bytes,
        /// Give up after this; the pool closes the stream by itself when it is over.
        timeout: Duration,
    },
    /// Write to a connection.
    SendStream {
        /// Its number.
        stream: StreamId,
        /// What to write.
        bytes: Bytes,
    },
    /// Write what is still to be written, then close.
    CloseStream {
        /// Its number.
        stream: StreamId,
    },
    /// Call back at this time since start.
    SetTimer {
        /// When.
        at: Duration,
        /// With what.
        timer: Timer,
    },
}
