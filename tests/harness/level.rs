//! How much of a suite is run: `tests/run` sets `ROLLCALL_TEST_LEVEL`.

/// The three levels of `tests/run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Before a commit.
    Quick,
    /// What CI runs, and what `cargo nextest run` without `tests/run` does.
    Usual,
    /// The long forms.
    Full,
}

/// The level of this run.
///
/// # Panics
/// When the variable holds something else: a typing error must not shorten a test.
pub fn level() -> Level {
    match std::env::var("ROLLCALL_TEST_LEVEL").as_deref() {
        Ok("quick") => Level::Quick,
        Ok("usual") | Err(_) => Level::Usual,
        Ok("full") => Level::Full,
        Ok(other) => panic!("ROLLCALL_TEST_LEVEL is '{other}', not quick, usual or full"),
    }
}

/// A number of rounds: `usual`, or `full` where the level is that.
pub fn rounds(usual: usize, full: usize) -> usize {
    match level() {
        Level::Quick | Level::Usual => usual,
        Level::Full => full,
    }
}
