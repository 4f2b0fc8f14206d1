//! Probing for others who had no answer. What we heard we pass on; that we heard nothing we say shortly before they give up,
//! so that they know it is not them who hears nothing.

use std::net::SocketAddr;
use std::time::Duration;

use super::gossip::Receiver;
use super::{Out, Swim};
use crate::count::DropReason;
use crate::step::TimerKind;
use crate::wire::message::{Ack, IndirectPing, Nack};

/// Probes for others at one time. A pool in which more members ask one helper at once is failing as a whole.
const RELAYS_MAX: usize = 1024;
/// Part of the probe time-out after which we say that there is no answer yet: early enough to arrive in time (the paper's
/// 80 %; memberlist waits for all of it, and comes too late).
const NACK_AFTER: f64 = 0.8;

/// Whom to answer.
#[derive(Debug)]
pub(super) struct Relay {
    origin: Receiver,
    seq: u32,
}

impl Swim {
    /// Somebody asks us to probe a member.
    pub(super) fn relay_ping(
        &mut self,
        now: Duration,
        from: SocketAddr,
        request: &IndirectPing<'_>,
        out: &mut Out,
    ) {
        if self.relays.len() >= RELAYS_MAX {
            return self.counters.count_dropped(DropReason::Full);
        }
        let origin = self.receiver(request.source_node, request.source.unwrap_or(from));
        let seq = self.next_seq();
        let relay = Relay {
            origin,
            seq: request.seq,
        };
        self.relays.insert(seq, relay);
        let ping = self.ping(seq, request.node);
        let to = self.receiver(request.node, request.target);
        self.send_with_gossip(to, vec![ping.into()], out);
        let timeout = self.timing.probe_timeout;
        if request.nack {
            out.timer(
                now + timeout.mul_f64(NACK_AFTER),
                TimerKind::RelayNack { seq },
            );
        }
        out.timer(now + timeout, TimerKind::RelayEnd { seq });
    }

    /// True if the answer was for somebody else.
    pub(super) fn relay_ack(&mut self, seq: u32, out: &mut Out) -> bool {
        let Some(relay) = self.relays.remove(&seq) else {
            return false;
        };
        let ack = Ack { seq: relay.seq };
        self.send_with_gossip(relay.origin, vec![ack.encode().into()], out);
        true
    }

    pub(super) fn relay_nack(&mut self, _now: Duration, seq: u32, out: &mut Out) {
        let Some(relay) = self.relays.get(&seq) else {
            return;
        };
        let nack = Nack { seq: relay.seq };
        self.send_with_gossip(relay.origin, vec![nack.encode().into()], out);
    }
}
