//! Switches that break a promise on purpose, so that the simulation can show that it would notice.
//!
//! They exist in the simulation's build only; in every other build all are constantly off.

/// What is broken. All off by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sabotage {
    /// Entries count as flushed before the log is synced.
    #[cfg(feature = "sim")]
    pub skip_fsync: bool,
    /// openraft's `enable_leader_restore` is on: a restarted leader leads again in its old term.
    #[cfg(feature = "sim")]
    pub leader_restore: bool,
    /// A server that was leader goes on answering reads without a quorum.
    #[cfg(feature = "sim")]
    pub deposed_leader_answers: bool,
    /// A session renewal is acknowledged without a quorum.
    #[cfg(feature = "sim")]
    pub renew_without_quorum: bool,
    /// Apply takes its stamps from the server's own clock.
    #[cfg(feature = "sim")]
    pub apply_reads_clock: bool,
}

macro_rules! switch {
    ($name:ident, $field:ident) => {
        /// Whether this promise is broken.
        pub fn $name(&self) -> bool {
            #[cfg(feature = "sim")]
            return self.$field;
            #[cfg(not(feature = "sim"))]
            return false;
        }
    };
}

impl Sabotage {
    switch!(skips_fsync, skip_fsync);
    switch!(restores_leader, leader_restore);
    switch!(lets_deposed_leader_answer, deposed_leader_answers);
    switch!(renews_without_quorum, renew_without_quorum);
    switch!(applies_by_clock, apply_reads_clock);
}
