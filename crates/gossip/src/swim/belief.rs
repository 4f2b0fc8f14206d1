//! What words about a member do to the table. Incarnations order them: only the member itself raises its own, to object to
//! what is said of it. At equal incarnation suspect beats alive and dead beats both.

use std::time::Duration;

use super::members::{Member, MemberId, Name};
use super::queue::Ticket;
use super::suspicion::{Suspicion, shortest};
use super::{Happened, Out, Swim};
use crate::count::DropReason;
use crate::step::TimerKind;
use crate::wire::message::{Alive, Dead, Suspect};
use crate::wire::push_pull::{NodeState, State};

/// Members in one table. A pool has at most thousands; more are somebody making names up.
const MEMBERS_MAX: usize = 100_000;
/// Confirmations are wanted from this many fewer members than `suspicion_mult`, as in memberlist: 3 at alpha 5.
const CONFIRMATIONS_BELOW_MULT: u32 = 2;

impl Swim {
    // === alive ===

    pub(super) fn hear_alive(&mut self, now: Duration, alive: &Alive<'_>, out: &mut Out) {
        if !alive.versions.is_sane() || alive.node.is_empty() || alive.address.port() == 0 {
            return self.counters.count_dropped(DropReason::Versions);
        }
        if alive.node == &*self.name {
            return self.hear_of_myself(now, alive, out);
        }
        let Some(id) = self.members.find(alive.node) else {
            return self.take_in(now, alive, out);
        };
        let known = self.member(id);
        if known.address != alive.address {
            return self.hear_of_other_address(now, id, alive, out);
        }
        if alive.incarnation > known.incarnation {
            self.believe_alive(now, id, alive, out);
        }
    }

    fn take_in(&mut self, now: Duration, alive: &Alive<'_>, out: &mut Out) {
        if self.members.len() >= MEMBERS_MAX {
            return self.counters.count_dropped(DropReason::Full);
        }
        let member = Member {
            name: alive.node.into(),
            address: alive.address,
            meta: alive.meta.to_vec().into(),
            versions: alive.versions,
            incarnation: alive.incarnation,
            state: State::Dead,
            changed: now,
        };
        let id = self.members.insert(member, &mut *self.random);
        self.believe_alive(now, id, alive, out);
    }

    /// Takes a member's word for what it is, and tells it on.
    pub(super) fn believe_alive(
        &mut self,
        now: Duration,
        id: MemberId,
        alive: &Alive<'_>,
        out: &mut Out,
    ) {
        self.suspicions.remove(&id);
        let known = self.member(id);
        let (was_gone, was_alive) = (known.is_gone(), known.state == State::Alive);
        let is_new = known.meta != alive.meta || known.address != alive.address;
        let name = known.name.clone();
        self.broadcast(now, name, alive.encode(), None, out);
        let member = self.members.change(id);
        member.incarnation = alive.incarnation;
        member.address = alive.address;
        member.versions = alive.versions;
        if member.meta != alive.meta {
            member.meta = alive.meta.to_vec().into();
        }
        if !was_alive {
            member.state = State::Alive;
            member.changed = now;
        }
        let member = self.member(id).clone();
        if was_gone {
            out.happened.push(Happened::Joined(member));
        } else if is_new {
            out.happened.push(Happened::Updated(member));
        }
    }

    /// Somebody says what we are. Right, or older than what we say now: fine. Otherwise we say it again, louder.
    fn hear_of_myself(&mut self, now: Duration, alive: &Alive<'_>, out: &mut Out) {
        let me = self.myself();
        if self.is_leaving || alive.incarnation < me.incarnation {
            return;
        }
        if me.address != alive.address {
            return self.hear_of_myself_elsewhere(now, alive, out);
        }
        let is_right = alive.incarnation == me.incarnation
            && me.meta == alive.meta
            && me.versions == alive.versions;
        if !is_right {
            self.refute(now, alive.incarnation, out);
        }
    }

    /// Says again that we are alive and what we are, so that it beats what was said.
    pub(super) fn refute(&mut self, now: Duration, accused: u32, out: &mut Out) {
        let me = self.members.change(self.me);
        me.incarnation = me.incarnation.max(accused).saturating_add(1);
        self.counters.refutations += 1;
        self.health.worsen(1);
        self.announce_myself(now, out);
    }

    // === suspect ===

    pub(super) fn hear_suspect(&mut self, now: Duration, suspect: &Suspect<'_>, out: &mut Out) {
        let Some(id) = self.members.find(suspect.node) else {
            return;
        };
        let known = self.member(id).clone();
        if suspect.incarnation < known.incarnation {
            return;
        }
        if let Some(suspicion) = self.suspicions.get_mut(&id) {
            if suspicion.confirm(suspect.from) {
                let deadline = suspicion.deadline();
                let name = known.name.clone();
                self.broadcast(now, name, suspect.encode(), None, out);
                out.timer(deadline.max(now), TimerKind::Suspicion { member: id });
            }
            return;
        }
        if known.state != State::Alive {
            return;
        }
        if id == self.me {
            if !self.is_leaving {
                self.refute(now, suspect.incarnation, out);
            }
            return;
        }
        self.begin_suspicion(now, id, suspect, out);
    }

    fn begin_suspicion(
        &mut self,
        now: Duration,
        id: MemberId,
        suspect: &Suspect<'_>,
        out: &mut Out,
    ) {
        let name = self.name_of(id);
        self.broadcast(now, name, suspect.encode(), None, out);
        let member = self.members.change(id);
        member.incarnation = suspect.incarnation;
        member.state = State::Suspect;
        member.changed = now;

        let wanted = self
            .timing
            .suspicion_mult
            .saturating_sub(CONFIRMATIONS_BELOW_MULT);
        let wanted = usize::try_from(wanted).expect("a small number must fit");
        // Neither we nor the suspect can confirm; in a small pool nobody is left who could.
        let could = self.members.len().saturating_sub(2);
        let wanted = if self.lifeguard.suspicion && could >= wanted {
            wanted
        } else {
            0
        };
        let shortest = shortest(
            self.timing.suspicion_mult,
            self.members.len(),
            self.timing.probe_interval,
        );
        let longest = shortest * self.timing.suspicion_max_mult;
        let suspicion = Suspicion::new(now, suspect.from.into(), wanted, shortest, longest);
        out.timer(suspicion.deadline(), TimerKind::Suspicion { member: id });
        self.suspicions.insert(id, suspicion);
    }

    /// A suspect's time may be over, unless it was suspected again since.
    pub(super) fn suspicion_over(&mut self, now: Duration, id: MemberId, out: &mut Out) {
        let is_over = |suspicion: &Suspicion| suspicion.deadline() <= now;
        if !self.suspicions.get(&id).is_some_and(is_over) {
            return;
        }
        let member = self.member(id).clone();
        let name = self.name.clone();
        let dead = Dead {
            incarnation: member.incarnation,
            node: &member.name,
            from: &name,
        };
        self.hear_dead(now, &dead, out);
    }

    // === dead and left ===

    pub(super) fn hear_dead(&mut self, now: Duration, dead: &Dead<'_>, out: &mut Out) {
        let Some(id) = self.members.find(dead.node) else {
            return;
        };
        let known = self.member(id);
        if dead.incarnation < known.incarnation || known.is_gone() {
            return;
        }
        if id == self.me {
            if !self.is_leaving {
                self.refute(now, dead.incarnation, out);
            }
            return;
        }
        self.believe_dead(now, id, dead, None, out);
    }

    fn believe_dead(
        &mut self,
        now: Duration,
        id: MemberId,
        dead: &Dead<'_>,
        ticket: Option<Ticket>,
        out: &mut Out,
    ) {
        self.suspicions.remove(&id);
        let name = self.name_of(id);
        self.broadcast(now, name, dead.encode(), ticket, out);
        let member = self.members.change(id);
        member.incarnation = dead.incarnation;
        member.state = if dead.node == dead.from {
            State::Left
        } else {
            State::Dead
        };
        member.changed = now;
        let member = self.member(id).clone();
        out.happened.push(Happened::Gone(member));
    }

    /// Says that we leave. From here on nobody can call us back; probes are answered still. `ticket` is done once the word
    /// is out.
    pub(crate) fn leave(&mut self, now: Duration, ticket: Ticket, out: &mut Out) {
        if self.is_leaving {
            return;
        }
        self.is_leaving = true;
        let name: Name = self.name.clone();
        let dead = Dead {
            incarnation: self.myself().incarnation,
            node: &name,
            from: &name,
        };
        self.believe_dead(now, self.me, &dead, Some(ticket), out);
    }

    // === another member's whole table ===

    /// Merges what another member believes. Its dead are only suspects to us: we might hear from them.
    pub(super) fn hear_state(&mut self, now: Duration, remote: &NodeState<'_>, out: &mut Out) {
        let name = self.name.clone();
        match remote.state {
            State::Alive => {
                let alive = Alive {
                    incarnation: remote.incarnation,
                    node: remote.name,
                    address: remote.address,
                    meta: remote.meta,
                    versions: remote.versions,
                };
                self.hear_alive(now, &alive, out);
            }
            State::Left => {
                let dead = Dead {
                    incarnation: remote.incarnation,
                    node: remote.name,
                    from: remote.name,
                };
                self.hear_dead(now, &dead, out);
            }
            State::Suspect | State::Dead => {
                let suspect = Suspect {
                    incarnation: remote.incarnation,
                    node: remote.name,
                    from: &name,
                };
                self.hear_suspect(now, &suspect, out);
            }
        }
    }

    pub(super) fn member(&self, id: MemberId) -> &std::sync::Arc<Member> {
        self.members
            .get(id)
            .expect("a member that was found must be in the table")
    }
}
