//! Broadcasts that wait to ride on packets. Each is sent a limited number of times; those sent least go first, the largest of
//! them that still fits before smaller ones. A newer word about a member replaces the older.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::members::Name;

/// Sent so often; longer first; newer first.
type Place = (u32, Reverse<usize>, Reverse<u64>);

/// Names the broadcast whose sender wants to know when it has been sent often enough, or was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(pub(crate) u64);

#[derive(Debug, Clone)]
struct Broadcast {
    message: Bytes,
    about: Option<Name>,
    ticket: Option<Ticket>,
}

/// One queue; the pool has one each for statements about members, intents, queries and events.
#[derive(Debug, Clone, Default)]
pub(crate) struct Queue {
    waiting: BTreeMap<Place, Broadcast>,
    by_name: BTreeMap<Name, Place>,
    next_id: u64,
}

/// How much may be taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Bytes left in the packet.
    pub(crate) bytes: usize,
    /// Bytes each message costs besides its own.
    pub(crate) overhead: usize,
    /// Messages left in the compound.
    pub(crate) messages: usize,
    /// Each broadcast is sent so often.
    pub(crate) transmits_max: u32,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds a broadcast; gives the ticket of the one it replaced.
    pub(crate) fn push(
        &mut self,
        message: Bytes,
        about: Option<Name>,
        ticket: Option<Ticket>,
    ) -> Option<Ticket> {
        let replaced = about
            .as_ref()
            .and_then(|name| self.by_name.remove(name))
            .and_then(|place| self.waiting.remove(&place));
        self.next_id += 1;
        let place = (0, Reverse(message.len()), Reverse(self.next_id));
        if let Some(name) = &about {
            self.by_name.insert(name.clone(), place);
        }
        let broadcast = Broadcast {
            message,
            about,
            ticket,
        };
        self.waiting.insert(place, broadcast);
        replaced.and_then(|old| old.ticket)
    }

    /// Drops those sent most often until `len_max` are left; gives their number and tickets.
    pub(crate) fn prune(&mut self, len_max: usize) -> (usize, Vec<Ticket>) {
        let mut tickets = Vec::new();
        let excess = self.waiting.len().saturating_sub(len_max);
        for _ in 0..excess {
            let Some((_, old)) = self.waiting.pop_last() else {
                break;
            };
            if let Some(name) = &old.about {
                self.by_name.remove(name);
            }
            tickets.extend(old.ticket);
        }
        (excess, tickets)
    }

    /// Takes what fits into `room`, which shrinks by it, and puts the tickets of those that are done into `done`.
    pub(crate) fn take(
        &mut self,
        room: &mut Room,
        messages: &mut Vec<Bytes>,
        done: &mut Vec<Ticket>,
    ) {
        let mut again = Vec::new();
        let mut tier = match self.waiting.first_key_value() {
            Some(((tier, ..), _)) => *tier,
            None => return,
        };
        while room.messages > 0 && room.bytes > room.overhead {
            let free = room.bytes - room.overhead;
            let from: Place = (tier, Reverse(free), Reverse(u64::MAX));
            let Some((&place, _)) = self.waiting.range(from..).next() else {
                break;
            };
            if place.0 > tier {
                // Nothing that fits in this tier. The next one that exists may have longer messages than fit, too.
                tier = place.0;
                continue;
            }
            let broadcast = self
                .waiting
                .remove(&place)
                .expect("a place that was found must be taken");
            room.bytes -= room.overhead + broadcast.message.len();
            room.messages -= 1;
            messages.push(broadcast.message.clone());
            again.push((place, broadcast));
        }
        for ((sent, length, id), broadcast) in again {
            let sent = sent + 1;
            if sent >= room.transmits_max {
                if let Some(name) = &broadcast.about {
                    self.by_name.remove(name);
                }
                done.extend(broadcast.ticket);
                continue;
            }
            let place = (sent, length, id);
            if let Some(name) = &broadcast.about {
                self.by_name.insert(name.clone(), place);
            }
            self.waiting.insert(place, broadcast);
        }
    }
}

/// How often each broadcast is sent in a pool of so many members.
pub(crate) fn transmits_max(mult: u32, members: usize) -> u32 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "pools have fewer than 2^52 members"
    )]
    let scale = ((members + 1) as f64).log10().ceil();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a logarithm of a count is small and not negative"
    )]
    let scale = scale as u32;
    mult * scale
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(bytes: usize) -> Room {
        Room {
            bytes,
            overhead: 2,
            messages: 255,
            transmits_max: 3,
        }
    }

    fn take(queue: &mut Queue, bytes: usize) -> Vec<Bytes> {
        let mut messages = Vec::new();
        queue.take(&mut room(bytes), &mut messages, &mut Vec::new());
        messages
    }

    fn push(queue: &mut Queue, message: &'static str, about: Option<&str>) {
        queue.push(message.into(), about.map(Into::into), None);
    }

    #[test]
    fn what_was_sent_least_goes_first_and_the_largest_that_fits_before_smaller() {
        let mut queue = Queue::default();
        push(&mut queue, "four", None);
        assert_eq!(take(&mut queue, 6), ["four"]);
        push(&mut queue, "two", None);
        push(&mut queue, "seventeen letters", None);
        assert_eq!(
            take(&mut queue, 11),
            ["two", "four"],
            "the long one does not fit"
        );
        assert_eq!(take(&mut queue, 100), ["seventeen letters", "two", "four"]);
    }

    #[test]
    fn each_is_sent_as_often_as_the_limit_says_and_then_its_ticket_is_done() {
        let mut queue = Queue::default();
        queue.push("once more".into(), None, Some(Ticket(7)));
        let mut done = Vec::new();
        for sent in 1..=3 {
            assert!(done.is_empty(), "done before transmission {sent}");
            let mut messages = Vec::new();
            queue.take(&mut room(100), &mut messages, &mut done);
            assert_eq!(messages.len(), 1);
        }
        assert_eq!(done, [Ticket(7)]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_newer_word_about_a_member_replaces_the_older() {
        let mut queue = Queue::default();
        push(&mut queue, "a is suspect", Some("a"));
        push(&mut queue, "b is alive", Some("b"));
        take(&mut queue, 100);
        push(&mut queue, "a is alive", Some("a"));
        assert_eq!(take(&mut queue, 100), ["a is alive", "b is alive"]);
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn a_queue_that_is_too_long_loses_what_was_sent_most() {
        let mut queue = Queue::default();
        push(&mut queue, "old", Some("a"));
        take(&mut queue, 100);
        push(&mut queue, "new", Some("b"));
        assert_eq!(queue.prune(1).0, 1);
        assert_eq!(take(&mut queue, 100), ["new"]);
    }

    #[test]
    fn transmissions_grow_with_the_logarithm_of_the_pool() {
        for (members, expected) in [(0, 0), (1, 4), (9, 4), (10, 8), (99, 8), (10_000, 20)] {
            assert_eq!(transmits_max(4, members), expected, "{members} members");
        }
    }
}
