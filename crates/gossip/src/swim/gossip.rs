//! How words get around: broadcasts ride on every packet that has room, and what finds no packet is sent to a few random
//! members at an interval. Every packet leaves here.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::members::{Member, Name};
use super::queue::{Room, Ticket, transmits_max};
use super::{Happened, Out, QueueName, Swim};
use crate::count::{DropReason, Kind};
use crate::step::{NetEffect, TimerKind};
use crate::wire::message::{self, Versions};
use crate::wire::packet::{COMPOUND_BYTES, COMPOUND_PART_BYTES, COMPOUND_PARTS_MAX};
use crate::wire::push_pull::State;

/// Where a packet goes. Versions are known when the receiver is a member; without them it gets no checksum.
#[derive(Debug, Clone, Copy)]
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    pub(super) versions: Option<Versions>,
}

impl Receiver {
    pub(super) fn member(member: &Member) -> Self {
        Self {
            address: member.address,
            versions: Some(member.versions),
        }
    }
}

impl Swim {
    /// The receiver behind a name and an address that a message gave: the member, if both agree.
    pub(super) fn receiver(&self, node: &str, address: SocketAddr) -> Receiver {
        let versions = self
            .members
            .find(node)
            .and_then(|id| self.members.get(id))
            .filter(|member| member.address == address)
            .map(|member| member.versions);
        Receiver { address, versions }
    }

    /// Tells everybody about a member; a newer word replaces an older one that is still waiting.
    pub(super) fn broadcast(
        &mut self,
        now: Duration,
        about: Name,
        message: Vec<u8>,
        ticket: Option<Ticket>,
        out: &mut Out,
    ) {
        let replaced = self.queues[0].push(message.into(), Some(about), ticket);
        out.happened.extend(replaced.map(Happened::Broadcasted));
        self.set_gossip(now, out);
    }

    /// Tells everybody something of the layer above, of which `message` is the encoded form without memberlist's kind.
    pub(crate) fn broadcast_user(
        &mut self,
        now: Duration,
        queue: QueueName,
        message: &[u8],
        ticket: Option<Ticket>,
        depth_max: usize,
        out: &mut Out,
    ) {
        let queue = &mut self.queues[queue as usize];
        queue.push(with_kind(message), None, ticket);
        let (dropped, tickets) = queue.prune(depth_max);
        for _ in 0..dropped {
            self.counters.count_dropped(DropReason::Full);
        }
        out.happened
            .extend(tickets.into_iter().map(Happened::Broadcasted));
        self.set_gossip(now, out);
    }

    /// Sends a message of the layer above to one member, at once and alone.
    pub(crate) fn send_user(&mut self, node: &str, to: SocketAddr, message: &[u8], out: &mut Out) {
        let receiver = self.receiver(node, to);
        self.send(receiver, &[with_kind(message)], out);
    }

    pub(super) fn announce_myself(&mut self, now: Duration, out: &mut Out) {
        let message = self.myself().alive().encode();
        self.broadcast(now, self.name.clone(), message, None, out);
    }

    fn set_gossip(&mut self, now: Duration, out: &mut Out) {
        if self.gossip_is_set {
            return;
        }
        self.gossip_is_set = true;
        // As if the interval had been running all along.
        let at = now + self.random.part_of(self.timing.gossip_interval);
        out.timer(at, TimerKind::Gossip);
    }

    /// The interval's turn.
    pub(super) fn gossip(&mut self, now: Duration, out: &mut Out) {
        let me = self.me;
        let dead_since = now.saturating_sub(self.timing.gossip_to_the_dead);
        let chosen =
            self.members
                .choose(self.timing.gossip_nodes, &mut *self.random, |id, member| {
                    id != me
                        && match member.state {
                            State::Alive | State::Suspect => true,
                            State::Dead => member.changed >= dead_since,
                            State::Left => false,
                        }
                });
        for member in chosen {
            let messages = self.ride_along(0, 0, out);
            if messages.is_empty() {
                break;
            }
            self.send(Receiver::member(&member), &messages, out);
        }
        self.gossip_is_set = self.queues.iter().any(|queue| !queue.is_empty());
        if self.gossip_is_set {
            out.timer(now + self.timing.gossip_interval, TimerKind::Gossip);
        }
    }

    /// Sends messages, and with them as many broadcasts as fit.
    pub(super) fn send_with_gossip(
        &mut self,
        to: Receiver,
        mut messages: Vec<Bytes>,
        out: &mut Out,
    ) {
        let bytes = messages
            .iter()
            .map(|message| message.len() + COMPOUND_PART_BYTES)
            .sum();
        let riders = self.ride_along(bytes, messages.len(), out);
        messages.extend(riders);
        self.send(to, &messages, out);
    }

    /// Broadcasts for a packet in which `bytes` and `messages` are taken.
    fn ride_along(&mut self, bytes: usize, messages: usize, out: &mut Out) -> Vec<Bytes> {
        let taken = bytes + COMPOUND_BYTES + self.framing.overhead();
        let mut room = Room {
            bytes: self.timing.packet_bytes_max.saturating_sub(taken),
            overhead: COMPOUND_PART_BYTES,
            messages: COMPOUND_PARTS_MAX - messages,
            transmits_max: transmits_max(self.timing.retransmit_mult, self.members.len()),
        };
        let (mut riders, mut done) = (Vec::new(), Vec::new());
        for queue in &mut self.queues {
            queue.take(&mut room, &mut riders, &mut done);
        }
        out.happened
            .extend(done.into_iter().map(Happened::Broadcasted));
        riders
    }

    fn send(&mut self, to: Receiver, messages: &[Bytes], out: &mut Out) {
        for message in messages {
            self.count_sent(message);
        }
        let checksum = to.versions.is_some_and(Versions::has_checksum);
        let packet =
            self.framing
                .seal_packet(messages, checksum, &mut *self.random, &mut self.counters);
        self.counters.packets_sent += 1;
        self.counters.packet_bytes_sent += packet.len() as u64;
        out.effects.push(NetEffect::SendPacket {
            to: to.address,
            bytes: packet.into(),
        });
    }

    fn count_sent(&mut self, message: &[u8]) {
        let kind = match message.first().copied() {
            Some(message::kind::PING) => Kind::Ping,
            Some(message::kind::INDIRECT_PING) => Kind::IndirectPing,
            Some(message::kind::ACK) => Kind::Ack,
            Some(message::kind::NACK) => Kind::Nack,
            Some(message::kind::SUSPECT) => Kind::Suspect,
            Some(message::kind::ALIVE) => Kind::Alive,
            Some(message::kind::DEAD) => Kind::Dead,
            _ => Kind::User,
        };
        self.counters.count_sent(kind);
        if kind == Kind::User
            && let Some(kind) = crate::serf::kind_of(&message[1..])
        {
            self.counters.count_sent(kind);
        }
    }
}

fn with_kind(message: &[u8]) -> Bytes {
    [&[message::kind::USER], message].concat().into()
}
