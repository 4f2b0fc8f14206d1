//! The runtime, clock and sockets: tokio's, or the simulation's (feature `sim`).
//!
//! Server code spawns, sleeps and connects through this module only. Under `sim` the same names lead to a
//! seeded runtime and to turmoil's network, so that a run is repeated exactly from its seed. A plain
//! `tokio::spawn` would lose the seed's scope.

use std::future::Future;
use std::time::Duration;

use openraft_rt::AsyncRuntime as _;

/// The runtime openraft and we run on.
#[cfg(not(feature = "sim"))]
pub type Rt = openraft_rt_tokio::TokioRuntime;
/// The runtime openraft and we run on: tokio's with seeded randomness.
#[cfg(feature = "sim")]
pub type Rt = openraft_rt::deterministic_rng::DeterministicRng<openraft_rt_tokio::TokioRuntime>;

/// A point of the monotonic clock.
pub type Instant = tokio::time::Instant;

/// TCP.
pub mod net {
    #[cfg(not(feature = "sim"))]
    pub use tokio::net::{TcpListener, TcpStream};
    #[cfg(feature = "sim")]
    pub use turmoil::net::{TcpListener, TcpStream};
}

/// Handle of a spawned task; dropping it detaches the task.
pub type JoinHandle<T> = <Rt as openraft_rt::AsyncRuntime>::JoinHandle<T>;

/// Spawns a task.
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    Rt::spawn(future)
}

/// Sleeps.
pub async fn sleep(duration: Duration) {
    Rt::sleep(duration).await;
}

/// Sleeps until a point of the monotonic clock.
pub async fn sleep_until(deadline: Instant) {
    tokio::time::sleep_until(deadline).await;
}

/// Bounds a future in time. `None`: the time ran out.
pub async fn timeout<F: Future + Send>(duration: Duration, future: F) -> Option<F::Output> {
    tokio::time::timeout(duration, future).await.ok()
}

/// Runs CPU- or disk-heavy work without holding up other tasks: a thread of its own, or in place in simulation.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    #[cfg(not(feature = "sim"))]
    {
        tokio::task::spawn_blocking(work)
            .await
            .expect("blocking work must not panic")
    }
    #[cfg(feature = "sim")]
    {
        work()
    }
}

/// A random number from the operating system, or from the seed in simulation.
pub fn random_u64() -> u64 {
    use rand::Rng as _;
    openraft_random().random()
}

fn openraft_random() -> impl rand::Rng {
    rand::rng()
}

/// A new random UUID (version 4), from the seed in simulation.
pub fn new_uuid() -> uuid::Uuid {
    let bytes = (u128::from(random_u64()) << 64) | u128::from(random_u64());
    uuid::Builder::from_random_bytes(bytes.to_be_bytes()).into_uuid()
}
