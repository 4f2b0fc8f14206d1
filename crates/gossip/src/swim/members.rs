//! The table of members: by name, by number, and in the shuffled order in which they are probed. Persistent maps, so that a
//! copy costs nothing: readers can hold one, and a simulation of thousands of members shares what they agree on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use imbl::OrdMap;

use crate::random::Random;
use crate::wire::message::{Alive, Versions};
use crate::wire::push_pull::State;

/// A member's name, shared between all that mention it.
pub type Name = Arc<str>;

/// A member's number in one table; never used again for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MemberId(u32);

/// What is known of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: Name,
    pub(crate) address: SocketAddr,
    pub(crate) meta: Bytes,
    pub(crate) versions: Versions,
    pub(crate) incarnation: u32,
    pub(crate) state: State,
    /// When `state` became what it is.
    pub(crate) changed: Duration,
}

impl Member {
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.state, State::Dead | State::Left)
    }

    /// The member's own words.
    pub(crate) fn alive(&self) -> Alive<'_> {
        Alive {
            incarnation: self.incarnation,
            node: &self.name,
            address: self.address,
            meta: &self.meta,
            versions: self.versions,
        }
    }
}

/// All members that take part in the protocol, ourselves among them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Members {
    by_name: OrdMap<Name, MemberId>,
    table: OrdMap<MemberId, Arc<Member>>,
    order: Vec<MemberId>,
    next_in_order: usize,
    next_id: u32,
}

impl Members {
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn find(&self, name: &str) -> Option<MemberId> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn get(&self, id: MemberId) -> Option<&Arc<Member>> {
        self.table.get(&id)
    }

    /// The member with this number, to be changed.
    pub(crate) fn change(&mut self, id: MemberId) -> &mut Member {
        let member = self
            .table
            .get_mut(&id)
            .expect("a member that is changed must be in the table");
        Arc::make_mut(member)
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (MemberId, &Arc<Member>)> {
        self.table.iter().map(|(id, member)| (*id, member))
    }

    /// A new order, and from its beginning: two members must not probe in the same one.
    pub(crate) fn shuffle(&mut self, random: &mut dyn Random) {
        random.shuffle(&mut self.order);
        self.next_in_order = 0;
    }

    /// Takes in a new member, at a random place of the order: if all appended, a new one would be probed late by everybody.
    pub(crate) fn insert(&mut self, member: Member, random: &mut dyn Random) -> MemberId {
        let id = MemberId(self.next_id);
        self.next_id += 1;
        self.by_name.insert(member.name.clone(), id);
        self.table.insert(id, Arc::new(member));
        self.order.push(id);
        let last = self.order.len() - 1;
        self.order.swap(random.below(last + 1), last);
        id
    }

    /// The next member to be probed that `wanted` accepts; after each round the gone are dropped and the rest is shuffled.
    pub(crate) fn next_in_order(
        &mut self,
        random: &mut dyn Random,
        forget_before: Option<Duration>,
        wanted: impl Fn(MemberId, &Member) -> bool,
    ) -> Option<MemberId> {
        // Twice the order: what is left of this round, and one whole round more.
        for _ in 0..=2 * self.order.len() {
            if self.next_in_order >= self.order.len() {
                self.forget(forget_before);
                random.shuffle(&mut self.order);
                self.next_in_order = 0;
            }
            let id = *self.order.get(self.next_in_order)?;
            self.next_in_order += 1;
            if self.get(id).is_some_and(|member| wanted(id, member)) {
                return Some(id);
            }
        }
        None
    }

    /// Drops those that have been gone since before `before`.
    fn forget(&mut self, before: Option<Duration>) {
        let Some(before) = before else {
            return;
        };
        let due = |member: &Member| member.is_gone() && member.changed < before;
        let gone: Vec<_> = self.iter().filter(|(_, member)| due(member)).collect();
        let gone: Vec<_> = gone
            .iter()
            .map(|(id, member)| (*id, member.name.clone()))
            .collect();
        for (id, name) in &gone {
            self.table.remove(id);
            self.by_name.remove(name);
        }
        if !gone.is_empty() {
            self.order.retain(|id| self.table.contains_key(id));
        }
    }

    /// Up to `count` different members that `wanted` accepts. Like memberlist it tries three times as often as there are
    /// members, so small pools are searched well and large ones are not searched through.
    pub(crate) fn choose(
        &self,
        count: usize,
        random: &mut dyn Random,
        wanted: impl Fn(MemberId, &Member) -> bool,
    ) -> Vec<Arc<Member>> {
        let mut chosen: Vec<Arc<Member>> = Vec::with_capacity(count);
        for _ in 0..3 * self.order.len() {
            if chosen.len() == count {
                break;
            }
            let id = self.order[random.below(self.order.len())];
            let Some(member) = self.get(id) else {
                continue;
            };
            if wanted(id, member) && !chosen.iter().any(|other| other.name == member.name) {
                chosen.push(member.clone());
            }
        }
        chosen
    }
}
