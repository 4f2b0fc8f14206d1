//! Lamport's clock: a number that is larger than every number seen so far.

/// One of the three clocks: of members, events and queries. Starts at 1, so that a status of time 0 is older than anything.
#[derive(Debug, Clone)]
pub(crate) struct Clock(u64);

/// A clock that is further than this was not reached by counting; taking it over would leave no room to count on.
const TIME_MAX: u64 = u64::MAX / 2;

impl Clock {
    /// A clock that goes on where it stood at `last`, 0 for a new one.
    pub(crate) fn after(last: u64) -> Self {
        let mut clock = Self(1);
        clock.witness(last);
        clock
    }

    pub(crate) fn time(&self) -> u64 {
        self.0
    }

    /// The present time; the next will be later.
    pub(crate) fn tick(&mut self) -> u64 {
        let time = self.0;
        self.0 = self.0.saturating_add(1);
        time
    }

    /// Somebody is at this time: ours is at least one later from now on.
    pub(crate) fn witness(&mut self, time: u64) {
        if time >= self.0 && time < TIME_MAX {
            self.0 = time + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Clock;

    #[test]
    fn the_clock_is_always_later_than_what_it_saw() {
        let mut clock = Clock::after(0);
        assert_eq!(clock.time(), 1);
        clock.witness(41);
        assert_eq!(clock.time(), 42);
        clock.witness(3);
        assert_eq!(clock.tick(), 42);
        assert_eq!(clock.time(), 43);
    }

    #[test]
    fn a_time_out_of_all_proportion_is_not_taken_over() {
        let mut clock = Clock::after(5);
        clock.witness(u64::MAX);
        assert_eq!(clock.time(), 6);
    }
}
