//! Who is known, and how. The membership protocol says who answers; intents, ordered by Lamport time, say who meant to go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;

use super::api::{Effect, Member, MemberChange, MemberEvent, Status};
use super::leave::Leaving;
use super::{Out, Pool};
use crate::swim::{self, Name};
use crate::wire::push_pull::State;
use crate::wire::serf::LeaveIntent;

/// Intents of members not seen yet. They come just before their member does; thousands of them are made up.
const INTENTS_MAX: usize = 4096;

/// A join or leave of somebody we do not know yet.
#[derive(Debug, Clone)]
struct Intent {
    leaves: bool,
    ltime: u64,
    heard: Duration,
}

/// Members and early intents.
#[derive(Debug, Clone, Default)]
pub(super) struct Roster {
    members: OrdMap<Name, Arc<Member>>,
    intents: BTreeMap<Name, Intent>,
}

impl Roster {
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Member>> {
        self.members.iter().map(|(_, member)| member)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Arc<Member>> {
        self.members.get(name)
    }

    pub(super) fn change(&mut self, name: &str) -> Option<&mut Member> {
        self.members.get_mut(name).map(Arc::make_mut)
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Arc<Member>> {
        self.members.remove(name)
    }

    /// Notes an intent of somebody unknown; true if it is news.
    fn note(&mut self, now: Duration, name: &str, leaves: bool, ltime: u64) -> bool {
        match self.intents.get(name) {
            Some(known) if ltime <= known.ltime => return false,
            None if self.intents.len() >= INTENTS_MAX => return false,
            _ => {}
        }
        let intent = Intent {
            leaves,
            ltime,
            heard: now,
        };
        self.intents.insert(name.into(), intent);
        true
    }

    pub(super) fn forget_intents(&mut self, heard_before: Duration) {
        self.intents
            .retain(|_, intent| intent.heard >= heard_before);
    }

    /// A member answers. Gives it as it is now, and how it was.
    pub(super) fn joined(
        &mut self,
        now: Duration,
        member: &swim::Member,
    ) -> (Arc<Member>, Option<(Status, Duration)>) {
        if let Some(known) = self.change(&member.name) {
            let before = (known.status, now.saturating_sub(known.gone_since));
            known.status = Status::Alive;
            known.address = member.address;
            known.meta = member.meta.clone();
            known.versions = member.versions;
            return (self.members[&member.name].clone(), Some(before));
        }
        let (status, status_ltime) = match self.intents.get(&member.name) {
            Some(intent) if intent.leaves => (Status::Leaving, intent.ltime),
            Some(intent) => (Status::Alive, intent.ltime),
            None => (Status::Alive, 0),
        };
        let new = Arc::new(Member {
            name: member.name.clone(),
            address: member.address,
            status,
            versions: member.versions,
            status_ltime,
            gone_since: Duration::ZERO,
            meta: member.meta.clone(),
        });
        self.members.insert(member.name.clone(), new.clone());
        (new, None)
    }
}

impl Pool {
    pub(super) fn member_joined(
        &mut self,
        now: Duration,
        member: &swim::Member,
        effects: &mut Vec<Effect>,
    ) {
        let (member, before) = self.roster.joined(now, member);
        if let Some((Status::Failed, gone_for)) = before
            && gone_for < self.config.flap_timeout
        {
            self.swim.counters_mut().flaps += 1;
        }
        tell(MemberChange::Joined, member, effects);
    }

    pub(super) fn member_gone(
        &mut self,
        now: Duration,
        gone: &swim::Member,
        effects: &mut Vec<Effect>,
    ) {
        let Some(member) = self.roster.change(&gone.name) else {
            return;
        };
        let change = match member.status {
            // Its own last word counts even if its intent did not reach us; Serf would call it failed.
            Status::Leaving => MemberChange::Left,
            Status::Alive if gone.state == State::Left => MemberChange::Left,
            Status::Alive => MemberChange::Failed,
            Status::Left | Status::Failed => return,
        };
        member.status = if change == MemberChange::Left {
            Status::Left
        } else {
            Status::Failed
        };
        member.gone_since = now;
        self.tell_of(change, &gone.name, effects);
    }

    pub(super) fn member_updated(&mut self, updated: &swim::Member, effects: &mut Vec<Effect>) {
        let Some(member) = self.roster.change(&updated.name) else {
            return;
        };
        member.address = updated.address;
        member.meta = updated.meta.clone();
        member.versions = updated.versions;
        self.tell_of(MemberChange::Updated, &updated.name, effects);
    }

    pub(super) fn tell_of(&self, change: MemberChange, name: &str, effects: &mut Vec<Effect>) {
        if let Some(member) = self.roster.get(name) {
            tell(change, member.clone(), effects);
        }
    }

    /// Somebody joined, or says that it does not leave after all. True if that is news.
    pub(super) fn join_intent(&mut self, now: Duration, ltime: u64, node: &str) -> bool {
        self.clock.witness(ltime);
        let Some(member) = self.roster.get(node) else {
            return self.roster.note(now, node, false, ltime);
        };
        if ltime <= member.status_ltime {
            return false;
        }
        if let Some(member) = self.roster.change(node) {
            member.status_ltime = ltime;
            if member.status == Status::Leaving {
                member.status = Status::Alive;
            }
        }
        true
    }

    /// Somebody leaves, or is made to. True if that is news.
    pub(super) fn leave_intent(
        &mut self,
        now: Duration,
        intent: &LeaveIntent<'_>,
        out: &mut Out,
        effects: &mut Vec<Effect>,
    ) -> bool {
        self.clock.witness(intent.ltime);
        let Some(member) = self.roster.get(intent.node) else {
            return self.roster.note(now, intent.node, true, intent.ltime);
        };
        if intent.ltime <= member.status_ltime {
            return false;
        }
        if *intent.node == **self.swim.name() && self.leaving == Leaving::No {
            // We are here. Say so, later than what was said.
            self.announce_join(now, out);
            return false;
        }
        let status = member.status;
        if let Some(member) = self.roster.change(intent.node) {
            // Always, even if nothing else changes: otherwise members tell each other the same intent for ever.
            member.status_ltime = intent.ltime;
            match status {
                Status::Alive => member.status = Status::Leaving,
                Status::Failed => member.status = Status::Left,
                Status::Leaving | Status::Left => {}
            }
        }
        if status == Status::Failed {
            self.tell_of(MemberChange::Left, intent.node, effects);
        }
        if intent.prune {
            self.prune(now, intent.node, out, effects);
        }
        true
    }
}

pub(super) fn tell(change: MemberChange, member: Arc<Member>, effects: &mut Vec<Effect>) {
    effects.push(Effect::Member(MemberEvent { change, member }));
}
