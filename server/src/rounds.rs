//! Read-index rounds: one round is shared by all reads that wait for one.
//!
//! A linearizable read needs to know, after it arrived, an index that a confirmed leader had committed; what is
//! applied up to there is fresh enough. Reads that arrive while a round is under way wait for the next one, since
//! the one under way may have begun before them. No lease: leases trust clocks.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::rt;

/// Reads that may wait for a round. Past it a read is refused (503), since a queue that grows answers nobody.
pub const WAITING_MAX: usize = 65_536;
/// Rounds under way at once: while one waits for the network the next can start. More only split the batches.
const ROUNDS_IN_FLIGHT_MAX: usize = 2;

/// Why a round gave no index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RoundError {
    /// The leader is unknown, or could not confirm that it leads. Safe to retry.
    #[error("no confirmed leader")]
    NoLeader,
    /// Too many reads wait. Safe to retry.
    #[error("too many reads wait (limit {WAITING_MAX})")]
    Busy,
}

type Waiter = oneshot::Sender<Result<u64, RoundError>>;

/// Shares rounds between reads. Dropping it ends its task.
#[derive(Debug)]
pub struct Rounds {
    queue: mpsc::Sender<Waiter>,
}

impl Rounds {
    /// Starts the task that runs `round` for whoever waits.
    pub fn start<F, Fut>(round: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<u64, RoundError>> + Send + 'static,
    {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        rt::spawn(run(waiting, Arc::new(round)));
        Rounds { queue }
    }

    /// Waits for the result of a round that began after this call.
    pub async fn index(&self) -> Result<u64, RoundError> {
        let (waiter, result) = oneshot::channel();
        self.queue.try_send(waiter).map_err(|_| RoundError::Busy)?;
        result.await.unwrap_or(Err(RoundError::NoLeader))
    }
}

async fn run<F, Fut>(mut waiting: mpsc::Receiver<Waiter>, round: Arc<F>)
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<u64, RoundError>> + Send + 'static,
{
    let permits = Arc::new(tokio::sync::Semaphore::new(ROUNDS_IN_FLIGHT_MAX));
    while let Some(first) = waiting.recv().await {
        let permit = Arc::clone(&permits)
            .acquire_owned()
            .await
            .expect("the semaphore must stay open");
        // Only now is it decided who shares the round: all that arrived while the permit was waited for.
        let mut batch = vec![first];
        while let Ok(next) = waiting.try_recv() {
            batch.push(next);
        }
        let result = round();
        rt::spawn(async move {
            let result = result.await;
            drop(permit);
            for waiter in batch {
                // A read that gave up does not listen any more.
                let _ = waiter.send(result);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[tokio::test]
    async fn reads_that_wait_share_a_round_and_none_gets_one_that_began_before_it() {
        let began = Arc::new(AtomicU64::new(0));
        let (release, gate) = tokio::sync::watch::channel(0_u64);
        let counter = Arc::clone(&began);
        let rounds = Arc::new(Rounds::start(move || {
            let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
            let mut gate = gate.clone();
            async move {
                gate.wait_for(|released| *released >= number)
                    .await
                    .expect("the gate must stay");
                Ok(number)
            }
        }));
        let ask = |rounds: &Arc<Rounds>| {
            let rounds = Arc::clone(rounds);
            tokio::spawn(async move { rounds.index().await })
        };
        let mut early = Vec::new();
        for number in 1..=ROUNDS_IN_FLIGHT_MAX as u64 {
            early.push(ask(&rounds));
            while began.load(Ordering::SeqCst) < number {
                tokio::task::yield_now().await;
            }
        }
        let late: Vec<_> = (0..100).map(|_| ask(&rounds)).collect();
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        release.send_replace(1_000);
        for read in early {
            assert!(read.await.unwrap().unwrap() <= ROUNDS_IN_FLIGHT_MAX as u64);
        }
        for read in late {
            assert!(read.await.unwrap().unwrap() > ROUNDS_IN_FLIGHT_MAX as u64);
        }
        assert!(
            began.load(Ordering::SeqCst) <= ROUNDS_IN_FLIGHT_MAX as u64 + 2,
            "late reads must share"
        );
    }
}
