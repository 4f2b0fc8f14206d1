//! Cluster time: the leader's stamps inside commands.
//!
//! Time enters state only as stamps, and stamps come from here: from the monotonic clock, never from the time of day, so
//! a clock that is set by an hour ends no lock-delay early.
//!
//! A leader maps the stamp of its state to the moment it took office, and counts on from there. As that stamp was
//! applied here later than it was made, a new leader's time is never ahead of the old one's: a delay may be longer than asked
//! for (by the time of an election and a delivery), never shorter. A server that does not lead keeps no time of its own: it
//! may have started long before the leader, and what it counted since would shorten every delay once it leads.

use parking_lot::Mutex;
use rollcall_state::Stamp;

use crate::raft::LeaderId;
use crate::rt::Instant;

/// Cluster time as this server knows it.
#[derive(Debug)]
pub struct ClusterClock {
    anchor: Mutex<Anchor>,
}

#[derive(Debug)]
struct Anchor {
    /// When `stamp` was true, on this server's monotonic clock.
    at: Instant,
    stamp: u64,
    /// The leadership it holds for.
    leadership: Option<LeaderId>,
}

impl ClusterClock {
    /// Starts with the stamp of the state as it was found on disk.
    pub fn new(stamp: Stamp) -> Self {
        ClusterClock {
            anchor: Mutex::new(Anchor {
                at: Instant::now(),
                stamp: stamp.0,
                leadership: None,
            }),
        }
    }

    /// Cluster time now, given the state's own (the last stamp applied) and this server's leadership. Never decreases while
    /// that lasts; call it when it begins.
    pub fn now(&self, state: Stamp, leadership: Option<LeaderId>) -> Stamp {
        self.at(Instant::now(), state, leadership)
    }

    fn at(&self, now: Instant, state: Stamp, leadership: Option<LeaderId>) -> Stamp {
        let mut anchor = self.anchor.lock();
        let elapsed = now.saturating_duration_since(anchor.at).as_millis();
        let here = anchor
            .stamp
            .saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX));
        if state.0 <= here && leadership.is_some() && leadership == anchor.leadership {
            return Stamp(here);
        }
        *anchor = Anchor {
            at: now,
            stamp: state.0,
            leadership,
        };
        state
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::raft::ServerId;

    fn leads(term: u64) -> Option<LeaderId> {
        let node_id = ServerId(uuid::Uuid::from_u128(1));
        Some(LeaderId { term, node_id })
    }

    #[test]
    fn a_leader_counts_on_from_the_stamp_it_took_office_with() {
        let clock = ClusterClock::new(Stamp(0));
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(clock.at(after(100), Stamp(7), leads(1)), Stamp(7));
        assert_eq!(clock.at(after(103), Stamp(7), leads(1)), Stamp(3_007));
        assert_eq!(
            clock.at(after(104), Stamp(3_007), leads(1)),
            Stamp(4_007),
            "its own stamps do not hold it back"
        );
        assert_eq!(
            clock.at(after(105), Stamp(9_000), leads(1)),
            Stamp(9_000),
            "what was applied late is caught up with"
        );
    }

    /// Server B started an hour before A led. A expires a session at 1,000 and its lock-delay ends at 4,000; then B leads. Were
    /// B's hour in its stamps, the lock would be free at once. Found by the clients' tests of locks.
    #[test]
    fn the_time_before_an_office_does_not_count() {
        let clock = ClusterClock::new(Stamp(0));
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(
            clock.at(after(10), Stamp(5), None),
            Stamp(5),
            "a write that found no leader"
        );
        assert_eq!(clock.at(after(3_600), Stamp(1_000), leads(2)), Stamp(1_000));
        assert_eq!(clock.at(after(3_601), Stamp(1_000), leads(2)), Stamp(2_000));
        assert_eq!(
            clock.at(after(9_000), Stamp(2_500), leads(4)),
            Stamp(2_500),
            "another office of the same server"
        );
    }
}
