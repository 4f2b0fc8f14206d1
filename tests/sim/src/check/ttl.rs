//! What time says about sessions and locks. Times are nanoseconds of simulated time, the same clock for everybody.
//!
//! A session ends no earlier than its TTL after its last acknowledged renewal, and, once one leader stands, no later
//! than twice that. A lock whose holder's session ended goes to nobody before the lock-delay is over. Only what
//! clients saw counts: a thing surely happened by the time its answer came, and no earlier than it was asked for.

/// Stamps in the state are whole milliseconds, and hosts take turns in steps of one: what one host calls now may be
/// one step behind another's. So a time may be short by less than two.
pub const SLACK_NS: u64 = 2_000_000;

/// A session's life, as its clients saw it.
#[derive(Debug, Clone, Default)]
pub struct Life {
    /// For the words of a violation.
    pub id: String,
    /// 0: none.
    pub ttl_ns: u64,
    /// 0: none.
    pub lock_delay_ns: u64,
    /// Whether checks of a node can end it as well, so that it may end early.
    pub has_checks: bool,
    /// When `create` was sent, and answered.
    pub created: (u64, u64),
    /// Acknowledged renewals: sent, answered.
    pub renewed: Vec<(u64, u64)>,
    /// When each `destroy` was sent, whatever became of it.
    pub destroyed: Vec<u64>,
    /// Answers that showed it alive: asked, answered. Linearizable reads only.
    pub alive: Vec<(u64, u64)>,
    /// Answers that showed it ended.
    pub ended: Vec<(u64, u64)>,
}

impl Life {
    /// The earliest time it may have ended.
    fn earliest_end(&self) -> u64 {
        if self.has_checks {
            return self.created.0;
        }
        let renewed = self.renewed.iter().map(|(sent, _)| *sent).max();
        let by_ttl = match self.ttl_ns {
            0 => u64::MAX,
            ttl => renewed.unwrap_or(0).max(self.created.0) + ttl,
        };
        let by_destroy = self.destroyed.iter().copied().min().unwrap_or(u64::MAX);
        by_ttl.min(by_destroy)
    }

    /// Everything wrong with its end. `calm_from`: from then on one leader stood and no fault was at work.
    pub fn check(&self, calm_from: u64) -> Vec<String> {
        let mut wrong = Vec::new();
        let earliest = self.earliest_end();
        for (_, answered) in &self.ended {
            if *answered + SLACK_NS < earliest {
                wrong.push(format!(
                    "ended by {answered}, but not before {earliest}: {self:?}"
                ));
            }
        }
        if self.ttl_ns > 0 {
            let renewed = self.renewed.iter().map(|(_, answered)| *answered).max();
            let from = renewed.unwrap_or(0).max(self.created.1).max(calm_from);
            let latest = from + 2 * self.ttl_ns;
            for (asked, _) in &self.alive {
                if *asked > latest {
                    wrong.push(format!("alive at {asked}, past {latest}: {self:?}"));
                }
            }
        }
        let first_end = self.ended.iter().map(|(_, answered)| *answered).min();
        for (asked, _) in self.alive.iter().chain(&self.renewed) {
            if first_end.is_some_and(|end| end < *asked) {
                wrong.push(format!("alive at {asked} after its end: {self:?}"));
            }
        }
        wrong
    }
}

/// A lock key taken by a session: `acquire` answered true.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    /// Which key.
    pub key: usize,
    /// Position in the list of lives.
    pub session: usize,
    /// When it was asked.
    pub asked: u64,
    /// When it was answered.
    pub answered: u64,
    /// Whether this session ever tried to release this key after that.
    pub released: bool,
}

/// Takeovers before the lock-delay was over.
pub fn check_lock_delays(lives: &[Life], taken: &[Taken]) -> Vec<String> {
    let mut wrong = Vec::new();
    for before in taken.iter().filter(|taken| !taken.released) {
        let life = &lives[before.session];
        if life.lock_delay_ns == 0 {
            continue;
        }
        // It never gave the key back, so it held it until its end.
        let free_from = life.earliest_end().saturating_add(life.lock_delay_ns);
        for after in taken {
            let another = after.key == before.key && after.session != before.session;
            if another && after.asked > before.answered && after.answered + SLACK_NS < free_from {
                wrong.push(format!(
                    "taken by {} at {} before {free_from}, the end of the lock-delay after {life:?}",
                    lives[after.session].id, after.answered
                ));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests;
