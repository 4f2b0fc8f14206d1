//! Asking one member after the other whether it is there: directly, then through others and by TCP, then suspecting it. One
//! probe at a time; a probe gets one interval, stretched when we do not trust ourselves.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::gossip::Receiver;
use super::members::MemberId;
use super::{Happened, Out, Swim};
use crate::count::DropReason;
use crate::step::{StreamId, TimerKind};
use crate::wire::message::{Ack, IndirectPing, Ping, Suspect};
use crate::wire::push_pull::State;

/// The probe that is under way, or was last.
#[derive(Debug, Default)]
pub(super) struct Probe {
    /// Timers of other rounds are stale.
    pub(super) round: u64,
    pub(super) running: Option<Running>,
}

#[derive(Debug)]
pub(super) struct Running {
    target: MemberId,
    seq: u32,
    started: Duration,
    ends: Duration,
    nacks_wanted: u32,
    nacks: u32,
    /// The TCP ping, once it was sent.
    pub(super) stream: Option<StreamId>,
    /// TCP was answered.
    pub(super) stream_answered: bool,
}

impl Swim {
    /// Begins the probe of the next member.
    pub(super) fn probe_next(&mut self, now: Duration, round: u64, out: &mut Out) {
        if round != self.probe.round || self.probe.running.is_some() {
            return;
        }
        let me = self.me;
        let forget_before = now.checked_sub(self.timing.gossip_to_the_dead);
        let next = self
            .members
            .next_in_order(&mut *self.random, forget_before, |id, member| {
                id != me && !member.is_gone()
            });
        let Some(target) = next else {
            let at = now + self.timing.probe_interval;
            return out.timer(at, TimerKind::Probe { round });
        };
        self.probe_member(now, target, out);
    }

    fn probe_member(&mut self, now: Duration, target: MemberId, out: &mut Out) {
        let Some(member) = self.members.get(target).cloned() else {
            return;
        };
        let round = self.probe.round;
        let seq = self.next_seq();
        let ends = now + self.health.stretch(self.timing.probe_interval);
        self.probe.running = Some(Running {
            target,
            seq,
            started: now,
            ends,
            nacks_wanted: 0,
            nacks: 0,
            stream: None,
            stream_answered: false,
        });
        self.counters.probes += 1;
        let mut messages: Vec<Bytes> = vec![self.ping(seq, &member.name).into()];
        if self.lifeguard.buddy && member.state == State::Suspect {
            let accusation = Suspect {
                incarnation: member.incarnation,
                node: &member.name,
                from: &self.name,
            };
            messages.push(accusation.encode().into());
        }
        self.send_with_gossip(Receiver::member(&member), messages, out);
        let timeout = now + self.timing.probe_timeout;
        out.timer(timeout, TimerKind::ProbeTimeout { round });
        out.timer(ends, TimerKind::ProbeEnd { round });
    }

    pub(super) fn ping(&self, seq: u32, node: &str) -> Vec<u8> {
        let ping = Ping {
            seq,
            node,
            source: Some(self.address()),
            source_node: &self.name,
        };
        ping.encode()
    }

    /// No direct answer: three others try, and TCP.
    pub(super) fn probe_timeout(&mut self, now: Duration, round: u64, out: &mut Out) {
        let Some((target, seq, ends)) = self.running(round) else {
            return;
        };
        let Some(member) = self.members.get(target).cloned() else {
            return;
        };
        let me = self.me;
        let count = self.timing.indirect_checks;
        let helpers = self.members.choose(count, &mut *self.random, |id, member| {
            id != me && id != target && member.state == State::Alive
        });
        let mut nacks_wanted = 0;
        for helper in helpers {
            let nack = self.lifeguard.local_health && helper.versions.has_nack();
            nacks_wanted += u32::from(nack);
            let request = IndirectPing {
                seq,
                target: member.address,
                node: &member.name,
                nack,
                source: Some(self.address()),
                source_node: &self.name,
            };
            let messages = vec![request.encode().into()];
            self.send_with_gossip(Receiver::member(&helper), messages, out);
        }
        let stream = member
            .versions
            .has_stream_ping()
            .then(|| self.ping_by_stream(now, &member, seq, ends, out));
        if let Some(running) = &mut self.probe.running {
            running.nacks_wanted = nacks_wanted;
            running.stream = stream;
        }
    }

    /// The probe of this round, while it runs: target, sequence number, end.
    fn running(&self, round: u64) -> Option<(MemberId, u32, Duration)> {
        let running = self.probe.running.as_ref()?;
        (round == self.probe.round).then_some((running.target, running.seq, running.ends))
    }

    /// True if the answer was for the running probe.
    pub(super) fn probe_ack(
        &mut self,
        now: Duration,
        from: SocketAddr,
        seq: u32,
        out: &mut Out,
    ) -> bool {
        let answered = self.probe.running.take_if(|running| running.seq == seq);
        let Some(running) = answered else {
            return false;
        };
        let direct = self
            .members
            .get(running.target)
            .filter(|member| member.address == from);
        if let Some(member) = direct {
            out.happened.push(Happened::RoundTrip {
                name: member.name.clone(),
                time: now.saturating_sub(running.started),
            });
        }
        self.probe_done(now, &running, out);
        true
    }

    /// The probe was answered: we are well enough to notice.
    fn probe_done(&mut self, now: Duration, running: &Running, out: &mut Out) {
        self.health.improve();
        self.next_round(now, running, out);
    }

    fn next_round(&mut self, now: Duration, running: &Running, out: &mut Out) {
        if let Some(stream) = running.stream {
            self.close(stream, out);
        }
        self.probe.round += 1;
        let round = self.probe.round;
        let at = now.max(running.started + self.timing.probe_interval);
        out.timer(at, TimerKind::Probe { round });
    }

    pub(super) fn nack(&mut self, seq: u32) {
        match &mut self.probe.running {
            Some(running) if running.seq == seq => running.nacks += 1,
            _ => self.counters.count_dropped(DropReason::Unasked),
        }
    }

    /// The time is over.
    pub(super) fn probe_end(&mut self, now: Duration, round: u64, out: &mut Out) {
        if self.running(round).is_none() {
            return;
        }
        let Some(running) = self.probe.running.take() else {
            return;
        };
        if running.stream_answered {
            self.counters.probes_by_stream += 1;
            return self.probe_done(now, &running, out);
        }
        self.counters.probes_failed += 1;
        // Helpers who do not even say that they had no answer either are a sign that it is us who does not hear.
        let unheard = if running.nacks_wanted > 0 {
            running.nacks_wanted.saturating_sub(running.nacks)
        } else {
            1
        };
        self.health.worsen(unheard);
        if let Some(member) = self.members.get(running.target).cloned() {
            let name = self.name.clone();
            let accusation = Suspect {
                incarnation: member.incarnation,
                node: &member.name,
                from: &name,
            };
            self.hear_suspect(now, &accusation, out);
        }
        self.next_round(now, &running, out);
    }

    /// Somebody asks whether we are there.
    pub(super) fn answer_ping(&mut self, from: SocketAddr, ping: &Ping<'_>, out: &mut Out) {
        if !ping.node.is_empty() && ping.node != &*self.name {
            return self.counters.count_dropped(DropReason::WrongNode);
        }
        let to = self.receiver(ping.source_node, ping.source.unwrap_or(from));
        let ack = Ack { seq: ping.seq };
        self.send_with_gossip(to, vec![ack.encode().into()], out);
    }
}
