//! Cluster time: the leader's stamps inside commands.
//!
//! Time enters state only as stamps, and stamps come from here: from the monotonic clock, never from the time of day, so
//! a clock that is set by an hour ends no lock-delay early. Each server maps the last stamp it applied to the
//! moment it applied it and counts on from there. As a stamp is applied later than it was made, a new leader's time is never
//! ahead of the old one's: a delay may be longer than asked for (by the time of an election and a delivery), never shorter.

use parking_lot::Mutex;
use rollcall_state::Stamp;

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
}

impl ClusterClock {
    /// Starts with the stamp of the state as it was found on disk.
    pub fn new(stamp: Stamp) -> Self {
        ClusterClock {
            anchor: Mutex::new(Anchor {
                at: Instant::now(),
                stamp: stamp.0,
            }),
        }
    }

    /// Cluster time now, given the state's own (the last stamp applied). Never decreases.
    pub fn now(&self, state: Stamp) -> Stamp {
        let now = Instant::now();
        let mut anchor = self.anchor.lock();
        let elapsed = now.saturating_duration_since(anchor.at).as_millis();
        let here = anchor
            .stamp
            .saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX));
        if state.0 > here {
            *anchor = Anchor {
                at: now,
                stamp: state.0,
            };
            return state;
        }
        Stamp(here)
    }
}
