//! Aliases of another node's service, over a registry that is told what to say.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::*;
use crate::checks::alias::{CheckRow, Follower, NodeHealth, NodeReads, Reading};

/// Answers at once when it knows something newer, else waits for it.
#[derive(Default)]
pub(super) struct Registry {
    says: Mutex<Option<Result<NodeHealth, String>>>,
    changed: Notify,
}

impl Registry {
    pub(super) fn say(&self, answer: Result<NodeHealth, String>) {
        *self.says.lock() = Some(answer);
        self.changed.notify_one();
    }
}

impl NodeReads for Registry {
    fn node_health<'a>(&'a self, node: &'a str, after: u64, _wait: Duration) -> Reading<'a> {
        Box::pin(async move {
            assert_eq!(node, "n2");
            loop {
                match self.says.lock().clone() {
                    Some(Err(error)) => return Err(error),
                    Some(Ok(health)) if health.index != after => return Ok(health),
                    _ => {}
                }
                self.changed.notified().await;
            }
        })
    }
}

pub(super) fn health(index: u64, status: Status) -> NodeHealth {
    NodeHealth {
        index,
        checks: vec![CheckRow {
            name: "db's".to_owned(),
            service_id: "db".to_owned(),
            status,
            output: "o".to_owned(),
        }],
        services: ["db".to_owned()].into(),
    }
}

#[tokio::test]
async fn an_alias_follows_changes_and_outlives_failures() {
    let registry = Arc::new(Registry::default());
    let mut follower = Follower::new(Arc::clone(&registry) as _, "n2", "db");
    registry.say(Ok(health(5, Status::Passing)));
    assert_outcome(
        &follower.next().await,
        Status::Passing,
        "All checks passing.",
    );
    registry.say(Ok(health(6, Status::Warning)));
    let outcome = follower.next().await;
    assert_outcome(
        &outcome,
        Status::Warning,
        "Aliased check \"db's\" failing: o",
    );
    // After a restore the index may be lower.
    registry.say(Ok(health(2, Status::Critical)));
    assert_outcome(&follower.next().await, Status::Critical, "failing");
    registry.say(Err("No cluster leader".to_owned()));
    let outcome = follower.next().await;
    let words = "Failure checking aliased node or service: No cluster leader";
    assert_outcome(&outcome, Status::Critical, words);
    registry.say(Ok(health(7, Status::Passing)));
    assert_outcome(
        &follower.next().await,
        Status::Passing,
        "All checks passing.",
    );
}
