//! How many results in a row it takes to change a check's status (`SuccessBeforePassing` and its two sisters).
//!
//! Pure. As Consul counts them: passing and warning are both successes; a count of 0 acts at once like 1; a failure that is not yet
//! critical may be a warning; one result of the other sort starts the count afresh. Source: Consul's health check configuration
//! reference.

use crate::definition::{Status, Thresholds};

/// Results of one sort, in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Run {
    /// Passing or warning.
    Successes(u32),
    /// Critical.
    Failures(u32),
}

/// Counts results of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Streak {
    run: Run,
}

impl Streak {
    /// Nothing was counted yet.
    pub(super) fn new() -> Self {
        Streak {
            run: Run::Successes(0),
        }
    }

    /// Counts a result. The status that the check has from now on, or `None`: what it had stays.
    pub(super) fn count(&mut self, thresholds: Thresholds, result: Status) -> Option<Status> {
        match result {
            Status::Passing | Status::Warning => {
                let successes = match self.run {
                    Run::Successes(count) => count.saturating_add(1),
                    Run::Failures(_) => 1,
                };
                self.run = Run::Successes(successes);
                (successes >= thresholds.success_before_passing).then_some(result)
            }
            Status::Critical => {
                let failures = match self.run {
                    Run::Failures(count) => count.saturating_add(1),
                    Run::Successes(_) => 1,
                };
                self.run = Run::Failures(failures);
                if failures >= thresholds.failures_before_critical {
                    Some(Status::Critical)
                } else if failures >= before_warning(thresholds) {
                    Some(Status::Warning)
                } else {
                    None
                }
            }
        }
    }
}

/// Not given, it is that of critical: no warning on the way.
fn before_warning(thresholds: Thresholds) -> u32 {
    match thresholds.failures_before_warning {
        0 => thresholds.failures_before_critical,
        given => given,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn thresholds(passing: u32, warning: u32, critical: u32) -> Thresholds {
        Thresholds {
            success_before_passing: passing,
            failures_before_warning: warning,
            failures_before_critical: critical,
        }
    }

    /// `P`, `W`, `C`: a status, `-`: as before.
    fn told(thresholds: Thresholds, results: &str) -> String {
        let mut streak = Streak::new();
        let status = |letter| match letter {
            'P' => Status::Passing,
            'W' => Status::Warning,
            _ => Status::Critical,
        };
        results
            .chars()
            .map(|letter| match streak.count(thresholds, status(letter)) {
                None => '-',
                Some(Status::Passing) => 'P',
                Some(Status::Warning) => 'W',
                Some(Status::Critical) => 'C',
            })
            .collect()
    }

    #[test]
    fn the_table_of_thresholds() {
        for (passing, warning, critical, results, expected) in [
            (0, 0, 0, "PCPWC", "PCPWC"),
            (1, 1, 1, "PCPWC", "PCPWC"),
            (3, 0, 0, "PPPPCPP", "--PPC--"),
            (2, 0, 0, "PWWCPW", "-WWC-W"),
            (0, 0, 3, "CCCCPCC", "--CCP--"),
            (0, 1, 3, "CCCCPC", "WWCCPW"),
            (0, 2, 4, "CCCCC", "-WWCC"),
            (2, 2, 3, "PPCCCPCP", "-P-WC---"),
        ] {
            assert_eq!(
                told(thresholds(passing, warning, critical), results),
                expected,
                "thresholds {passing}, {warning}, {critical}, results {results}"
            );
        }
    }

    proptest! {
        /// Against the definition itself: the length of the run that ends here.
        #[test]
        fn the_status_follows_from_the_results_in_a_row(
            passing in 0u32..4, warning in 0u32..4, critical in 0u32..4, results in "[PWC]{0,24}",
        ) {
            let given = thresholds(passing, warning, critical);
            let told = told(given, &results);
            let results: Vec<char> = results.chars().collect();
            for (at, letter) in told.chars().enumerate() {
                let failed = results[at] == 'C';
                let run = results[..=at].iter().rev().take_while(|r| (**r == 'C') == failed).count() as u32;
                let warning = if warning == 0 { critical } else { warning };
                let expected = match failed {
                    false if run >= passing => results[at],
                    true if run >= critical => 'C',
                    true if run >= warning => 'W',
                    _ => '-',
                };
                prop_assert_eq!(letter, expected);
            }
        }
    }
}
