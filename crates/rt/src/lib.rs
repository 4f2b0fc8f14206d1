//! The runtime, clock and sockets: tokio's, or the simulation's (feature `sim`).
//!
//! Servers and agents spawn, sleep, connect and write files through this crate only. Under `sim` the same names lead to a
//! seeded runtime and to turmoil's network, so that a run is repeated exactly from its seed. A plain
//! `tokio::spawn` would lose the seed's scope.

pub mod disk;

#[cfg(feature = "sim")]
pub mod sim;

use std::future::Future;
use std::time::{Duration, SystemTime};

use openraft_rt::AsyncRuntime as _;

/// The runtime openraft and we run on.
#[cfg(not(feature = "sim"))]
pub type Rt = openraft_rt_tokio::TokioRuntime;
/// The runtime openraft and we run on: tokio's with seeded randomness and pauses.
#[cfg(feature = "sim")]
pub type Rt = sim::SimRuntime;

/// A point of the monotonic clock.
pub type Instant = tokio::time::Instant;

/// TCP.
pub mod net {
    #[cfg(not(feature = "sim"))]
    pub use tokio::net::{TcpListener, TcpStream};
    #[cfg(feature = "sim")]
    pub use turmoil::net::{TcpListener, TcpStream};

    use std::net::{IpAddr, SocketAddr};

    /// Addresses of a host; none when the name is unknown (now: names come and go with pods).
    pub async fn resolve(host: &str, port: u16) -> Vec<SocketAddr> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return vec![SocketAddr::new(address, port)];
        }
        #[cfg(not(feature = "sim"))]
        match tokio::net::lookup_host((host, port)).await {
            Ok(addresses) => addresses.collect(),
            Err(error) => {
                tracing::debug!(%host, %error, "name does not resolve");
                Vec::new()
            }
        }
        #[cfg(feature = "sim")]
        {
            vec![SocketAddr::new(turmoil::lookup(host), port)]
        }
    }
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

/// Rests a blocking thread, so that others get the core. Nothing in simulation, where blocking work runs in place.
pub fn rest(duration: Duration) {
    #[cfg(not(feature = "sim"))]
    std::thread::sleep(duration);
    #[cfg(feature = "sim")]
    let _ = duration;
}

/// A random number from the operating system, or from the seed in simulation.
pub fn random_u64() -> u64 {
    use rand::Rng as _;
    Rt::thread_rng().next_u64()
}

/// The time of day, for people to read (logs). Nothing may depend on it: it can be set, and in simulation it is.
pub fn time_of_day() -> SystemTime {
    #[cfg(not(feature = "sim"))]
    {
        SystemTime::now()
    }
    #[cfg(feature = "sim")]
    {
        // Every host starts far enough from 1970 to be set back.
        let seconds = 1_700_000_000 + sim::Host::current_clock_step_seconds();
        let seconds = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        SystemTime::UNIX_EPOCH + seconds + turmoil::sim_elapsed().unwrap_or_default()
    }
}

/// A new random UUID (version 4), from the seed in simulation.
pub fn new_uuid() -> uuid::Uuid {
    let bytes = (u128::from(random_u64()) << 64) | u128::from(random_u64());
    uuid::Builder::from_random_bytes(bytes.to_be_bytes()).into_uuid()
}
