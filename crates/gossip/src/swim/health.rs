//! Lifeguard's local health multiplier: how much we trust ourselves to notice answers in time. Who misses many answers gives
//! its probes more time, instead of accusing others (arXiv 1707.00788, section IV.A).

use std::time::Duration;

/// 0 is healthy; higher is worse.
#[derive(Debug, Clone)]
pub(crate) struct Health {
    score: u32,
    score_max: u32,
}

impl Health {
    /// `levels`: how many scores there are; 1 switches the multiplier off.
    pub(crate) fn new(levels: u32) -> Self {
        Self {
            score: 0,
            score_max: levels.saturating_sub(1),
        }
    }

    pub(crate) fn score(&self) -> u32 {
        self.score
    }

    pub(crate) fn improve(&mut self) {
        self.score = self.score.saturating_sub(1);
    }

    pub(crate) fn worsen(&mut self, by: u32) {
        self.score = self.score.saturating_add(by).min(self.score_max);
    }

    /// The time that a probe gets.
    pub(crate) fn stretch(&self, time: Duration) -> Duration {
        time * (self.score + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_stays_between_its_bounds() {
        let mut health = Health::new(8);
        health.improve();
        assert_eq!(health.score(), 0);
        health.worsen(100);
        assert_eq!(health.score(), 7);
        assert_eq!(
            health.stretch(Duration::from_secs(1)),
            Duration::from_secs(8)
        );
        let mut off = Health::new(1);
        off.worsen(3);
        assert_eq!(off.score(), 0);
    }
}
