//! Alias checks of a service or node elsewhere: as healthy as what they stand for.
//!
//! Aliases of this node's own services need no run: the local state follows them. One of another node waits, as any client of the
//! registry would, for that node's checks to change.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rollcall_rt as rt;

use super::output::Outcome;
use crate::definition::Status;

/// How long one read waits for a change.
pub const READ_WAIT: Duration = Duration::from_secs(60);
/// Failures in a row before the pauses grow. Consul's, as the next.
const FAILURES_BEFORE_PAUSE: u32 = 3;
/// Longest pause between failures.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Shortest pause between reads, so that a registry that answers at once and a node that changes all the time cost little.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// A check of a node, as far as an alias looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRow {
    /// Its name.
    pub name: String,
    /// The service it belongs to; empty: the node.
    pub service_id: String,
    /// Health.
    pub status: Status,
    /// Of its last run.
    pub output: String,
}

/// A node's checks and services.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeHealth {
    /// To wait for the next change with.
    pub index: u64,
    /// Its checks.
    pub checks: Vec<CheckRow>,
    /// Ids of its services.
    pub services: BTreeSet<String>,
}

/// A read of the registry under way.
pub type Reading<'a> = Pin<Box<dyn Future<Output = Result<NodeHealth, String>> + Send + 'a>>;

/// Reads of the registry that aliases need.
pub trait NodeReads: Send + Sync + 'static {
    /// A node's health, once its index is above `after`, or after `wait`. Stale reads will do.
    fn node_health<'a>(&'a self, node: &'a str, after: u64, wait: Duration) -> Reading<'a>;
}

/// What an alias of `service_id` on `node` finds: the worst of the service's checks and the node's own.
pub fn judge(health: &NodeHealth, node: &str, service_id: &str) -> Outcome {
    let concerned = || {
        health
            .checks
            .iter()
            .filter(|row| row.service_id.is_empty() || row.service_id == service_id)
    };
    if !service_id.is_empty() && !health.services.contains(service_id) {
        return Outcome::critical(format!(
            "Service {service_id} could not be found on node {node}"
        ));
    }
    let worst = concerned().max_by_key(|row| row.status);
    match worst {
        None => Outcome::passing("No checks found."),
        Some(row) if row.status == Status::Passing => Outcome::passing("All checks passing."),
        Some(row) => Outcome {
            status: row.status,
            output: format!("Aliased check \"{}\" failing: {}", row.name, row.output),
        },
    }
}

/// Follows another node's service.
pub struct Follower {
    reads: Arc<dyn NodeReads>,
    node: String,
    service_id: String,
    after: u64,
    failures: u32,
    told: Option<Outcome>,
}

impl Follower {
    /// Has read nothing yet.
    pub fn new(reads: Arc<dyn NodeReads>, node: &str, service_id: &str) -> Self {
        Follower {
            reads,
            node: node.to_owned(),
            service_id: service_id.to_owned(),
            after: 0,
            failures: 0,
            told: None,
        }
    }

    /// The next outcome that differs from the last. To be asked again only after what it said was taken.
    pub async fn next(&mut self) -> Outcome {
        loop {
            if self.told.is_some() || self.failures > 0 {
                rt::sleep(pause(self.failures)).await;
            }
            let reading = self.reads.node_health(&self.node, self.after, READ_WAIT);
            let outcome = match reading.await {
                Ok(health) => {
                    self.failures = 0;
                    // An index that goes back begins anew.
                    let went_back = health.index < self.after;
                    self.after = if went_back { 0 } else { health.index };
                    judge(&health, &self.node, &self.service_id)
                }
                Err(error) => {
                    self.failures = self.failures.saturating_add(1);
                    self.after = 0;
                    if self.failures == 1 {
                        // It may be no more than a change of servers.
                        continue;
                    }
                    Outcome::critical(format!("Failure checking aliased node or service: {error}"))
                }
            };
            if self.told.as_ref() != Some(&outcome) {
                self.told = Some(outcome.clone());
                return outcome;
            }
        }
    }
}

fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(FAILURES_BEFORE_PAUSE).min(16);
    match failures {
        0 => PAUSE_MIN,
        _ => (Duration::from_secs(1) * 2u32.pow(doublings)).min(PAUSE_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(service_id: &str, status: Status) -> CheckRow {
        CheckRow {
            name: "c".to_owned(),
            service_id: service_id.to_owned(),
            status,
            output: "o".to_owned(),
        }
    }

    #[test]
    fn an_alias_is_as_healthy_as_the_worst_check_that_concerns_it() {
        use Status::{Critical, Passing, Warning};
        for (checks, status, words) in [
            (vec![], Passing, "No checks found."),
            (
                vec![row("db", Passing), row("", Passing)],
                Passing,
                "All checks passing.",
            ),
            (
                vec![row("other", Critical), row("db", Passing)],
                Passing,
                "All checks passing.",
            ),
            (
                vec![row("db", Warning), row("", Passing)],
                Warning,
                "Aliased check \"c\" failing: o",
            ),
            (
                vec![row("", Critical), row("db", Warning)],
                Critical,
                "Aliased check \"c\" failing: o",
            ),
        ] {
            let health = NodeHealth {
                index: 1,
                checks,
                services: ["db".to_owned(), "other".to_owned()].into(),
            };
            let outcome = judge(&health, "n1", "db");
            assert_eq!(
                (outcome.status, outcome.output.as_str()),
                (status, words),
                "{health:?}"
            );
        }
    }

    #[test]
    fn a_service_that_is_not_there_is_critical_however_well_its_node_is() {
        let health = NodeHealth {
            index: 1,
            checks: vec![row("", Status::Passing)],
            services: BTreeSet::new(),
        };
        let outcome = judge(&health, "n1", "db");
        assert_eq!(outcome.status, Status::Critical);
        assert_eq!(outcome.output, "Service db could not be found on node n1");
        assert_eq!(judge(&health, "n1", "").status, Status::Passing);
    }

    #[test]
    fn pauses_grow_with_failures_and_are_bounded() {
        let pauses: Vec<u64> = (0..12).map(|failures| pause(failures).as_secs()).collect();
        assert_eq!(pauses, [0, 1, 1, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(pause(u32::MAX), PAUSE_MAX);
    }
}
