//! The task that tends checks: takes in results of runs, and does what time brings (TTLs, outputs to be written, services that
//! stay critical).

use rollcall_rt as rt;
use tokio::sync::mpsc;

use super::Agent;
use crate::definition::{CheckResult, Kind};
use crate::local::{Outcome, Source};
use crate::store::Health;

impl Agent {
    /// Takes in results, and does what time brings.
    pub(super) async fn tend(&self, mut results: mpsc::Receiver<CheckResult>) {
        let mut changed = self.subscribe();
        let mut open = true;
        loop {
            let due = self.with_local(|local| local.next_due());
            let due = due.map(|due| self.started + due);
            let waits = async {
                match due {
                    Some(at) => rt::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                result = results.recv(), if open => match result {
                    Some(result) => self.take_in(result),
                    None => open = false,
                },
                _ = changed.changed() => {}
                () = waits => self.pass_time().await,
            }
        }
    }

    fn take_in(&self, result: CheckResult) {
        let now = self.now();
        let marked = self.with_local(|local| {
            let outcome = local.result(result, now);
            outcome == Outcome::Status || !local.unsynced().is_empty()
        });
        if marked {
            self.changed();
        }
    }

    async fn pass_time(&self) {
        let _changing = self.changing.lock().await;
        let now = self.now();
        let (expired, reaped) = self.with_local(|local| {
            let expired = local.expire(now);
            local.release_outputs(now);
            (expired, local.reap(now))
        });
        for id in &reaped.services_gone {
            tracing::warn!(service = %id, "deregistered: a check of it was critical for too long");
        }
        if expired == Outcome::Status {
            self.keep_health().await;
        }
        if let Err(error) = self.carry_out(reaped).await {
            tracing::error!(%error, "files of a deregistered service are still there");
        }
        self.changed();
    }

    /// Writes down how all TTL checks fare: when the agent stops, and when some ran out.
    pub async fn keep_health(&self) {
        let health: Vec<Health> = self.with_local(|local| {
            let ttl = local
                .checks()
                .iter()
                .filter(|(_, check)| matches!(check.definition.kind, Kind::Ttl { .. }));
            ttl.filter(|(_, check)| check.source == Source::Api)
                .map(|(id, check)| Health {
                    id: id.clone(),
                    status: check.status,
                    output: check.output.clone(),
                })
                .collect()
        });
        let kept = self.store(move |store| {
            health
                .iter()
                .try_for_each(|health| store.put_health(health))
        });
        if let Err(error) = kept.await {
            tracing::error!(%error, "the health of TTL checks is not kept");
        }
    }
}
