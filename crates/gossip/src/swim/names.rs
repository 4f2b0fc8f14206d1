//! One name at two addresses. memberlist keeps the first for good, and Serf lets the loser shut itself down; clusters whose
//! members all come back with new addresses are lost by that. Here:
//!
//! - the old one is gone, or it is the same id (tag `id`) with a higher incarnation: the new address is taken over at once;
//! - otherwise the old address is asked. No answer: taken over. An answer: the first stays, the second is counted and shown.
//!
//! We never stop over a name. The same *id* twice is another matter (a copied data directory): the newcomer is told.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::gossip::Receiver;
use super::members::{Member, MemberId, Name};
use super::{Happened, Out, Swim};
use crate::count::DropReason;
use crate::step::TimerKind;
use crate::wire::message::{Alive, Versions};
use crate::wire::tags;

/// Names that are being asked for at one time; each costs two pings a few seconds.
const CONTESTS_MAX: usize = 64;
/// The old address is asked so often before it counts as silent.
const ASKED_MAX: u32 = 3;
/// How long a decision stands before the same claim is looked at again.
const DECISION_STANDS: Duration = Duration::from_secs(10);
/// The tag that tells members of one name apart.
const ID_TAG: &str = "id";

/// Who has the name?
#[derive(Debug)]
pub(super) struct Contest {
    seq: u32,
    holder: SocketAddr,
    claim: Claim,
    asked: u32,
    decided: bool,
    /// We found it when we came: if the claim is about us, we are the second.
    newcomer: bool,
}

/// An alive message, kept.
#[derive(Debug, Clone)]
struct Claim {
    incarnation: u32,
    address: SocketAddr,
    meta: Bytes,
    versions: Versions,
}

impl Claim {
    fn keep(alive: &Alive<'_>) -> Self {
        Self {
            incarnation: alive.incarnation,
            address: alive.address,
            meta: Bytes::copy_from_slice(alive.meta),
            versions: alive.versions,
        }
    }

    fn alive<'a>(&'a self, node: &'a str) -> Alive<'a> {
        Alive {
            incarnation: self.incarnation,
            node,
            address: self.address,
            meta: &self.meta,
            versions: self.versions,
        }
    }
}

fn same_id(one: &[u8], two: &[u8]) -> bool {
    match (tags::find(one, ID_TAG), tags::find(two, ID_TAG)) {
        (Some(one), Some(two)) => one == two && !one.is_empty(),
        _ => false,
    }
}

impl Swim {
    /// A member we know is said to be at another address.
    pub(super) fn hear_of_other_address(
        &mut self,
        now: Duration,
        id: MemberId,
        alive: &Alive<'_>,
        out: &mut Out,
    ) {
        let known: &Member = self.member(id);
        let is_same = same_id(&known.meta, alive.meta);
        if known.is_gone() {
            // Old words about a place where it was before it died are not news.
            if alive.incarnation > known.incarnation || !is_same {
                self.believe_alive(now, id, alive, out);
                return;
            }
        } else if is_same && alive.incarnation > known.incarnation {
            return self.believe_alive(now, id, alive, out);
        }
        if is_same {
            // It has come back and does not know how far its incarnation had got; told so, it will speak up at once.
            let news: Bytes = known.alive().encode().into();
            let to = Receiver {
                address: alive.address,
                versions: Some(alive.versions),
            };
            self.send_with_gossip(to, vec![news], out);
        }
        let holder = self.member(id).address;
        self.contest(now, holder, alive, out);
    }

    /// We are said to be somewhere else.
    pub(super) fn hear_of_myself_elsewhere(
        &mut self,
        now: Duration,
        alive: &Alive<'_>,
        out: &mut Out,
    ) {
        let is_same = same_id(&self.myself().meta, alive.meta);
        // Ask there first: what we say next may reach it and make it stop.
        self.contest(now, alive.address, alive, out);
        if is_same {
            // We have moved, and this is where we were.
            self.refute(now, alive.incarnation, out);
        }
    }

    fn contest(&mut self, now: Duration, holder: SocketAddr, alive: &Alive<'_>, out: &mut Out) {
        if self.contests.contains_key(alive.node) {
            return;
        }
        if self.contests.len() >= CONTESTS_MAX {
            return self.counters.count_dropped(DropReason::Full);
        }
        let seq = self.next_seq();
        let contest = Contest {
            seq,
            holder,
            claim: Claim::keep(alive),
            asked: 0,
            decided: false,
            newcomer: !self.has_joined,
        };
        let name: Name = alive.node.into();
        self.contests.insert(name.clone(), contest);
        self.ask_holder(now, &name, out);
    }

    fn ask_holder(&mut self, now: Duration, name: &Name, out: &mut Out) {
        let Some(contest) = self.contests.get_mut(name) else {
            return;
        };
        contest.asked += 1;
        let (seq, holder) = (contest.seq, contest.holder);
        let ping = self.ping(seq, name);
        let to = Receiver {
            address: holder,
            versions: None,
        };
        self.send_with_gossip(to, vec![ping.into()], out);
        let at = now + self.timing.probe_timeout / 2;
        out.timer(at, TimerKind::Contest { seq });
    }

    /// True if the answer came from the first owner of a name: it stays.
    pub(super) fn contest_ack(&mut self, now: Duration, seq: u32, out: &mut Out) -> bool {
        let Some((name, contest)) = self
            .contests
            .iter_mut()
            .find(|(_, contest)| contest.seq == seq)
        else {
            return false;
        };
        if contest.decided {
            return true;
        }
        contest.decided = true;
        let (name, holder, claim) = (name.clone(), contest.holder, contest.claim.clone());
        let newcomer = contest.newcomer;
        out.timer(now + DECISION_STANDS, TimerKind::Contest { seq });
        let is_mine = name == self.name;
        let known_meta = match self.members.find(&name) {
            Some(id) => self.member(id).meta.clone(),
            None => Bytes::new(),
        };
        let is_same = same_id(&known_meta, &claim.meta);
        if is_mine && is_same {
            self.counters.name_conflicts += 1;
            out.happened.push(Happened::IdentityTwice {
                address: holder,
                newcomer,
            });
        } else if !is_same {
            self.counters.name_conflicts += 1;
            let (holder, claimant) = if is_mine {
                (self.address(), claim.address)
            } else {
                (holder, claim.address)
            };
            out.happened.push(Happened::NameConflict {
                name,
                holder,
                claimant,
            });
        }
        // The same id, and the address we know answers: the claim was an old word about where the member was.
        true
    }

    pub(super) fn contest_timeout(&mut self, now: Duration, seq: u32, out: &mut Out) {
        let found = self.contests.iter().find(|(_, contest)| contest.seq == seq);
        let Some((name, contest)) = found else {
            return;
        };
        let name = name.clone();
        if contest.decided {
            self.contests.remove(&name);
        } else if contest.asked < ASKED_MAX {
            self.ask_holder(now, &name, out);
        } else if let Some(contest) = self.contests.remove(&name) {
            self.take_over(now, &name, &contest, out);
        }
    }

    /// The first owner is silent.
    fn take_over(&mut self, now: Duration, name: &Name, contest: &Contest, out: &mut Out) {
        let claim = contest.claim.alive(name);
        if *name == self.name {
            // Nobody is where we were said to be. Say where we are, unless that was done meanwhile.
            if !self.is_leaving && claim.incarnation >= self.myself().incarnation {
                self.refute(now, claim.incarnation, out);
            }
            return;
        }
        let Some(id) = self.members.find(name) else {
            return;
        };
        if self.member(id).address == contest.holder {
            self.believe_alive(now, id, &claim, out);
        }
    }
}
