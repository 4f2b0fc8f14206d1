//! How long a suspect has to object. With Lifeguard it starts with the longest time and falls, with each member that
//! independently had no answer either, towards the shortest (arXiv 1707.00788, section IV.B).

use std::collections::BTreeSet;
use std::time::Duration;

use super::members::Name;

/// One suspect's time.
#[derive(Debug, Clone)]
pub(crate) struct Suspicion {
    started: Duration,
    shortest: Duration,
    longest: Duration,
    /// Confirmations that bring the time to its shortest.
    wanted: usize,
    /// Who has said it, the first one included; never more than `wanted` + 1.
    accusers: BTreeSet<Name>,
}

impl Suspicion {
    pub(crate) fn new(
        now: Duration,
        from: Name,
        wanted: usize,
        shortest: Duration,
        longest: Duration,
    ) -> Self {
        Self {
            started: now,
            shortest,
            longest,
            wanted,
            accusers: BTreeSet::from([from]),
        }
    }

    /// When the suspect is dead unless something is heard.
    pub(crate) fn deadline(&self) -> Duration {
        if self.wanted == 0 {
            return self.started + self.shortest;
        }
        let confirmations = self.accusers.len() - 1;
        #[expect(clippy::cast_precision_loss, reason = "confirmations are few")]
        let part = ((confirmations + 1) as f64).ln() / ((self.wanted + 1) as f64).ln();
        let span = self.longest.saturating_sub(self.shortest);
        self.started
            + self
                .shortest
                .max(self.longest.saturating_sub(span.mul_f64(part.min(1.0))))
    }

    /// Another member says it. True if that is news that brings the end nearer, which is worth telling on.
    pub(crate) fn confirm(&mut self, from: &str) -> bool {
        if self.accusers.len() > self.wanted || self.accusers.contains(from) {
            return false;
        }
        self.accusers.insert(from.into())
    }
}

/// The shortest time in a pool of so many members: `mult` probe intervals, times the logarithm of the members.
pub(crate) fn shortest(mult: u32, members: usize, probe_interval: Duration) -> Duration {
    #[expect(
        clippy::cast_precision_loss,
        reason = "pools have fewer than 2^52 members"
    )]
    let scale = (members.max(1) as f64).log10().max(1.0);
    probe_interval.mul_f64(f64::from(mult) * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_time_falls_with_independent_confirmations_to_the_shortest() {
        let mut suspicion = Suspicion::new(SECOND, "a".into(), 3, 10 * SECOND, 60 * SECOND);
        assert_eq!(suspicion.deadline(), 61 * SECOND);
        assert!(
            !suspicion.confirm("a"),
            "the first accuser confirms nothing"
        );
        let mut last = suspicion.deadline();
        for from in ["b", "c", "d"] {
            assert!(suspicion.confirm(from));
            assert!(
                suspicion.deadline() < last,
                "{from} brought the end no nearer"
            );
            last = suspicion.deadline();
        }
        assert_eq!(last, 11 * SECOND);
        assert!(!suspicion.confirm("e"), "no more are wanted");
    }

    #[test]
    fn the_first_confirmation_counts_most() {
        let mut suspicion = Suspicion::new(Duration::ZERO, "a".into(), 3, 10 * SECOND, 60 * SECOND);
        suspicion.confirm("b");
        assert_eq!(
            suspicion.deadline(),
            35 * SECOND,
            "half of the way with one of three"
        );
    }

    #[test]
    fn without_confirmations_to_expect_it_is_the_shortest_from_the_start() {
        let suspicion = Suspicion::new(SECOND, "a".into(), 0, 10 * SECOND, 60 * SECOND);
        assert_eq!(suspicion.deadline(), 11 * SECOND);
    }

    #[test]
    fn the_shortest_grows_with_the_logarithm_of_the_pool() {
        assert_eq!(shortest(4, 3, SECOND), 4 * SECOND);
        assert_eq!(shortest(4, 100, SECOND), 8 * SECOND);
        assert_eq!(shortest(5, 10_000, SECOND), 20 * SECOND);
    }
}
