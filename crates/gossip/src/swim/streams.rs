//! What goes over TCP: the exchange of full state, at random with one member or to join, and pings that UDP did not get
//! through. A connection carries one request and one answer, within a time.

use std::net::SocketAddr;
use std::time::Duration;

use super::gossip::Receiver;
use super::members::Member;
use super::{ExchangeError, Happened, Out, Swim};
use crate::count::{DropReason, Kind};
use crate::step::{NetEffect, StreamId, TimerKind};
use crate::wire::WireError;
use crate::wire::message::Ack;
use crate::wire::push_pull::{NodeState, PushPull, State};
use crate::wire::stream::{StreamMessage, StreamReader, encode_error};

/// memberlist's bound for exchanges that others began; beyond it connections are closed at once.
const ACCEPTED_MAX: usize = 128;
/// Up to this many members the exchange keeps its interval; each doubling adds one interval more.
const FULL_RATE_MEMBERS: usize = 32;
/// Exchanges with random members in the seconds after a join.
const SOON_MAX: u32 = 3;

/// One connection.
#[derive(Debug)]
pub(super) struct Stream {
    reader: StreamReader,
    purpose: Purpose,
}

#[derive(Debug)]
enum Purpose {
    /// The other side asks.
    Accepted,
    /// We exchange state: to join, for a request of the layer above, or at random.
    Exchange {
        join: bool,
        request: Option<u64>,
        with: SocketAddr,
    },
    /// We ping.
    Ping { seq: u32 },
}

impl Swim {
    // === opened by us ===

    fn open(
        &mut self,
        now: Duration,
        to: SocketAddr,
        message: Vec<u8>,
        purpose: Purpose,
        timeout: Duration,
        out: &mut Out,
    ) -> StreamId {
        let stream = StreamId::Opened(self.next_stream);
        self.next_stream += 1;
        let mut bytes = self.framing.label_header();
        bytes.extend(
            self.framing
                .seal_stream(message, &mut *self.random, &mut self.counters),
        );
        self.counters.stream_bytes_sent += bytes.len() as u64;
        let reader = StreamReader::new(false);
        self.streams.insert(stream, Stream { reader, purpose });
        out.effects.push(NetEffect::OpenStream {
            stream,
            to,
            bytes: bytes.into(),
            timeout,
        });
        out.timer(now + timeout, TimerKind::Stream { stream });
        stream
    }

    /// The interval's turn: exchanges state with a random member that is alive.
    pub(super) fn exchange_state(&mut self, now: Duration, out: &mut Out) {
        let interval = self.push_pull_interval();
        out.timer(now + interval, TimerKind::PushPull);
        self.exchange_at_random(out);
    }

    /// Who has just joined has told one member, which tells others; whoever misses that would learn it only with the next
    /// exchange, minutes later in a large pool. A few more exchanges soon after close that gap.
    fn exchange_soon(&mut self, now: Duration, out: &mut Out) {
        if self.soon_left > 0 {
            self.soon_left -= 1;
            let wait = self.timing.probe_interval + self.random.part_of(self.timing.probe_interval);
            out.timer(now + wait, TimerKind::PushPullSoon);
        }
    }

    pub(super) fn exchange_at_random(&mut self, out: &mut Out) {
        let me = self.me;
        let chosen = self.members.choose(1, &mut *self.random, |id, member| {
            id != me && member.state == State::Alive
        });
        for member in chosen {
            out.happened.push(Happened::ExchangeDue {
                with: member.address,
            });
        }
    }

    /// memberlist's scale: a pool twice as large exchanges by one interval more rarely.
    fn push_pull_interval(&self) -> Duration {
        let mut intervals = 1;
        let mut members = FULL_RATE_MEMBERS;
        while members < self.members.len() {
            intervals += 1;
            members *= 2;
        }
        self.timing.push_pull_interval * intervals
    }

    /// Begins an exchange of state; `user` is the state of the layer above.
    pub(crate) fn exchange_with(
        &mut self,
        now: Duration,
        with: SocketAddr,
        join: bool,
        request: Option<u64>,
        user: &[u8],
        out: &mut Out,
    ) {
        let message = self.local_state(join, user);
        let purpose = Purpose::Exchange {
            join,
            request,
            with,
        };
        let timeout = self.timing.stream_timeout;
        self.open(now, with, message, purpose, timeout, out);
    }

    pub(super) fn ping_by_stream(
        &mut self,
        now: Duration,
        member: &Member,
        seq: u32,
        ends: Duration,
        out: &mut Out,
    ) -> StreamId {
        let ping = self.ping(seq, &member.name);
        self.counters.count_sent(Kind::StreamPing);
        let timeout = ends.saturating_sub(now);
        let to = Receiver::member(member).address;
        self.open(now, to, ping, Purpose::Ping { seq }, timeout, out)
    }

    // === opened by others ===

    pub(super) fn accept(
        &mut self,
        now: Duration,
        stream: StreamId,
        _from: SocketAddr,
        out: &mut Out,
    ) {
        let accepted = |id: &StreamId| matches!(id, StreamId::Accepted(_));
        if self.streams.keys().filter(|id| accepted(id)).count() >= ACCEPTED_MAX {
            self.counters.count_dropped(DropReason::Full);
            out.effects.push(NetEffect::CloseStream { stream });
            return;
        }
        let reader = StreamReader::new(true);
        let purpose = Purpose::Accepted;
        self.streams.insert(stream, Stream { reader, purpose });
        out.timer(
            now + self.timing.stream_timeout,
            TimerKind::Stream { stream },
        );
    }

    /// Answers an exchange that another member began.
    pub(crate) fn send_state(&mut self, stream: StreamId, user: &[u8], out: &mut Out) {
        let message = self.local_state(false, user);
        self.answer(stream, message, out);
    }

    fn answer(&mut self, stream: StreamId, message: Vec<u8>, out: &mut Out) {
        let bytes = self
            .framing
            .seal_stream(message, &mut *self.random, &mut self.counters);
        self.counters.stream_bytes_sent += bytes.len() as u64;
        out.effects.push(NetEffect::SendStream {
            stream,
            bytes: bytes.into(),
        });
        self.close(stream, out);
    }

    fn local_state(&mut self, join: bool, user: &[u8]) -> Vec<u8> {
        self.counters.count_sent(Kind::PushPull);
        self.counters.count_sent(Kind::SerfState);
        let states = self.members.iter().map(|(_, member)| NodeState {
            name: &member.name,
            address: member.address,
            meta: &member.meta,
            incarnation: member.incarnation,
            state: member.state,
            versions: member.versions,
        });
        PushPull::encode(join, self.members.len(), states, user)
    }

    // === what arrives ===

    pub(super) fn stream_data(&mut self, now: Duration, id: StreamId, bytes: &[u8], out: &mut Out) {
        self.counters.stream_bytes_received += bytes.len() as u64;
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let read = stream.reader.push(bytes, &self.framing, &mut self.counters);
        match (read, &stream.purpose) {
            (Ok(None), _) => {}
            (Ok(Some(message)), Purpose::Accepted) => self.asked(now, id, message, out),
            (Ok(Some(message)), Purpose::Exchange { .. } | Purpose::Ping { .. }) => {
                self.answered(now, id, message, out);
            }
            (Err(error), _) => self.stream_malformed(id, error, out),
        }
    }

    fn asked(&mut self, now: Duration, id: StreamId, message: StreamMessage, out: &mut Out) {
        match message {
            StreamMessage::Ping { seq, node } => {
                self.counters.count_received(Kind::StreamPing);
                if node.is_empty() || *node == *self.name {
                    self.counters.count_sent(Kind::StreamAck);
                    self.answer(id, Ack { seq }.encode(), out);
                } else {
                    self.counters.count_dropped(DropReason::WrongNode);
                    self.close(id, out);
                }
            }
            StreamMessage::PushPull(state) => {
                self.counters.count_received(Kind::PushPull);
                // Our answer is made before the merge is seen above, and after it is done here: nothing is lost either way.
                out.happened.push(Happened::StateWanted { stream: id });
                // Who is asked was there first.
                self.has_joined = true;
                self.merge(now, &state, out);
            }
            StreamMessage::User(message) => {
                self.counters.count_received(Kind::StreamUser);
                out.happened.push(Happened::User(message));
                self.close(id, out);
            }
            StreamMessage::Error(_) => {
                self.counters.count_received(Kind::StreamError);
                self.close(id, out);
            }
            StreamMessage::Ack { .. } => {
                self.counters.count_dropped(DropReason::Unasked);
                self.close(id, out);
            }
        }
    }

    fn answered(&mut self, now: Duration, id: StreamId, message: StreamMessage, out: &mut Out) {
        let Some(stream) = self.streams.remove(&id) else {
            return;
        };
        out.effects.push(NetEffect::CloseStream { stream: id });
        match (stream.purpose, message) {
            (Purpose::Ping { seq: asked }, StreamMessage::Ack { seq }) if asked == seq => {
                self.counters.count_received(Kind::StreamAck);
                if let Some(running) = &mut self.probe.running
                    && running.stream == Some(id)
                {
                    running.stream_answered = true;
                    running.stream = None;
                }
            }
            (
                Purpose::Exchange {
                    join,
                    request,
                    with,
                },
                StreamMessage::PushPull(state),
            ) => {
                self.counters.count_received(Kind::PushPull);
                self.merge_answer(now, join, &state, out);
                out.happened.push(Happened::Exchanged {
                    request,
                    with,
                    result: Ok(()),
                });
            }
            (Purpose::Exchange { request, with, .. }, message) => {
                let error = match message {
                    StreamMessage::Error(text) => {
                        self.counters.count_received(Kind::StreamError);
                        ExchangeError::Refused(text)
                    }
                    _ => ExchangeError::Unexpected,
                };
                exchange_failed(request, with, error, out);
            }
            (Purpose::Ping { .. } | Purpose::Accepted, _) => {
                self.counters.count_dropped(DropReason::Unasked);
            }
        }
    }

    fn merge(&mut self, now: Duration, state: &PushPull, out: &mut Out) {
        self.merge_states(now, state, out);
        if !state.user.is_empty() {
            out.happened.push(Happened::State {
                join: state.join,
                user: state.user.clone(),
            });
        }
    }

    /// The answer says nothing of joining; whether it was one we know ourselves.
    fn merge_answer(&mut self, now: Duration, join: bool, state: &PushPull, out: &mut Out) {
        let mut state = state.clone();
        state.join = join;
        self.merge(now, &state, out);
        self.has_joined = true;
        if join {
            self.soon_left = SOON_MAX;
        }
        self.exchange_soon(now, out);
    }

    fn merge_states(&mut self, now: Duration, state: &PushPull, out: &mut Out) {
        for member in state.states() {
            match member {
                Ok(member) => self.hear_state(now, &member, out),
                Err(error) => self.counters.count_error(&error),
            }
        }
    }

    // === ends ===

    fn stream_malformed(&mut self, id: StreamId, error: WireError, out: &mut Out) {
        self.counters.count_error(&error);
        let Some(stream) = self.streams.get(&id) else {
            return;
        };
        match stream.purpose {
            // Said plainly, so that a wrong key can be found in the other side's log; memberlist does the same.
            Purpose::Accepted => {
                self.counters.count_sent(Kind::StreamError);
                let message = encode_error(&error.to_string());
                self.answer(id, message, out);
            }
            Purpose::Exchange { request, with, .. } => {
                exchange_failed(request, with, ExchangeError::Malformed(error), out);
                self.close(id, out);
            }
            Purpose::Ping { .. } => self.close(id, out),
        }
    }

    pub(super) fn stream_closed(&mut self, now: Duration, id: StreamId, out: &mut Out) {
        let purpose = self.streams.remove(&id).map(|stream| stream.purpose);
        if let Some(Purpose::Exchange { request, with, .. }) = purpose {
            // Another one, while there are tries left.
            self.exchange_soon(now, out);
            exchange_failed(request, with, ExchangeError::Connection, out);
        }
    }

    pub(super) fn stream_timeout(&mut self, id: StreamId, out: &mut Out) {
        let purpose = self.streams.get(&id).map(|stream| &stream.purpose);
        if let Some(&Purpose::Exchange { request, with, .. }) = purpose {
            let limit = self.timing.stream_timeout;
            exchange_failed(request, with, ExchangeError::Timeout { limit }, out);
        }
        self.close(id, out);
    }

    pub(super) fn close(&mut self, id: StreamId, out: &mut Out) {
        if self.streams.remove(&id).is_some() {
            out.effects.push(NetEffect::CloseStream { stream: id });
        }
    }
}

fn exchange_failed(request: Option<u64>, with: SocketAddr, error: ExchangeError, out: &mut Out) {
    out.happened.push(Happened::Exchanged {
        request,
        with,
        result: Err(error),
    });
}
