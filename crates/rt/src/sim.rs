//! The simulation's runtime: tokio's, with randomness from a seed and tasks that stop while their host is paused.
//!
//! A paused host is a process that gets no processor (a long collection, a stopped virtual machine): its tasks are not
//! polled, while its clock goes on, its timers run out and its sockets fill. openraft spawns through its own runtime
//! type, hence a type of ours instead of a wrapper around `spawn`. The host's switches travel from a task to the
//! tasks it spawns.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use openraft_rt::deterministic_rng::DeterministicRng;
use openraft_rt::{AsyncRuntime, OptionalSend};
use openraft_rt_tokio::TokioRuntime;
use parking_lot::Mutex;

type Inner = DeterministicRng<TokioRuntime>;

tokio::task_local! {
    static HOST: Arc<Host>;
}

/// The switches of one simulated host. The driver of the simulation holds them too.
#[derive(Debug, Default)]
pub struct Host {
    state: Mutex<HostState>,
}

#[derive(Debug, Default)]
struct HostState {
    paused: bool,
    /// Tasks that wanted to run meanwhile, in order.
    waiting: Vec<Waker>,
    /// Added to the time of day.
    clock_step_seconds: i64,
    /// A write to the log takes up to this much longer than usual, milliseconds.
    slow_disk_ms: u64,
}

impl Host {
    /// Stops the tasks of this host, or lets them go on.
    pub fn set_paused(&self, paused: bool) {
        let waiting = {
            let mut state = self.state.lock();
            state.paused = paused;
            if paused {
                return;
            }
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Forgets tasks that waited: their runtime is gone. Not paused any more.
    pub fn crashed(&self) {
        let mut state = self.state.lock();
        state.paused = false;
        state.waiting.clear();
    }

    /// Sets how far this host's time of day is off.
    pub fn step_clock(&self, seconds: i64) {
        self.state.lock().clock_step_seconds = seconds;
    }

    /// Makes writes to this host's log take up to so many milliseconds longer.
    pub fn slow_disk(&self, milliseconds: u64) {
        self.state.lock().slow_disk_ms = milliseconds;
    }

    /// How much longer a write of the current host may take, milliseconds.
    pub fn current_slow_disk_ms() -> u64 {
        HOST.try_with(|host| host.state.lock().slow_disk_ms)
            .unwrap_or(0)
    }

    /// How far the time of day of the current host is off; 0 outside of a host.
    pub(super) fn current_clock_step_seconds() -> i64 {
        HOST.try_with(|host| host.state.lock().clock_step_seconds)
            .unwrap_or(0)
    }

    fn parks(&self, context: &Context<'_>) -> bool {
        let mut state = self.state.lock();
        if state.paused {
            state.waiting.push(context.waker().clone());
        }
        state.paused
    }
}

/// A task of a host.
struct Task<F> {
    host: Option<Arc<Host>>,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Task<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(host) = self.host.clone() else {
            return self.future.as_mut().poll(context);
        };
        if host.parks(context) {
            return Poll::Pending;
        }
        let future = self.future.as_mut();
        HOST.sync_scope(host, || future.poll(context))
    }
}

/// The runtime's type for openraft. Never constructed.
#[derive(Debug)]
pub struct SimRuntime(Inner);

impl SimRuntime {
    /// Runs the software of a host: everything it spawns has its switches, and its randomness from the seed.
    pub fn host<F: Future>(
        seed: u64,
        host: Arc<Host>,
        future: F,
    ) -> impl Future<Output = F::Output> {
        let task = Task {
            host: Some(host),
            future: Box::pin(future),
        };
        Inner::scope(seed, task)
    }
}

impl AsyncRuntime for SimRuntime {
    type JoinError = <Inner as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <Inner as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <Inner as AsyncRuntime>::Sleep;
    type Instant = <Inner as AsyncRuntime>::Instant;
    type TimeoutError = <Inner as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = <Inner as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = <Inner as AsyncRuntime>::ThreadLocalRng;
    type Mpsc = <Inner as AsyncRuntime>::Mpsc;
    type Watch = <Inner as AsyncRuntime>::Watch;
    type Oneshot = <Inner as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <Inner as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        Inner::spawn(Task {
            host: HOST.try_with(Arc::clone).ok(),
            future: Box::pin(future),
        })
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        Inner::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        Inner::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        Inner::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        Inner::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        Inner::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        Inner::thread_rng()
    }

    fn new(threads: usize) -> Self {
        SimRuntime(Inner::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }

    /// In place: a thread would end at a time of its own.
    fn spawn_blocking<F, T>(f: F) -> impl Future<Output = Result<T, std::io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        std::future::ready(Ok(f()))
    }
}
