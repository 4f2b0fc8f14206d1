//! The log as a stream for whoever asks (`agent/monitor`).
//!
//! A layer of `tracing` that costs nothing while nobody listens. Each listener has a bounded queue: a slow one loses lines, which
//! are counted and told to it, and never holds up what is being logged.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use rollcall_edge::answer::StreamError;
use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::layer::{Context, Filter};

/// Lines that wait for a listener; more are dropped and counted. Consul's.
const LINES_MAX: usize = 512;
/// Listeners at once: each line is formatted once, and copied by reference to each.
pub const LISTENERS_MAX: usize = 64;
/// Bytes of a line: what is longer is cut.
const LINE_BYTES_MAX: usize = 8 << 10;

/// Lines for one listener.
pub type Lines = mpsc::Receiver<Result<Bytes, StreamError>>;

#[derive(Debug)]
struct Listener {
    id: u64,
    level: Level,
    lines: mpsc::Sender<Result<Bytes, StreamError>>,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Shared {
    listeners: RwLock<Vec<Listener>>,
    count: AtomicUsize,
    next: AtomicU64,
    /// Changes of the set of listeners, one after the other.
    changing: Mutex<()>,
}

/// Where listeners come and go. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Monitor(Arc<Shared>);

/// A listener's place; given back when dropped.
#[derive(Debug)]
pub struct Listening {
    monitor: Monitor,
    id: u64,
    closed: mpsc::Sender<Result<Bytes, StreamError>>,
}

impl Monitor {
    /// The layer that feeds it, with the filter that keeps it cheap.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    {
        Feed(self.clone()).with_filter(Wanted(self.clone()))
    }

    /// Listens to everything at a level and above. `None`: too many listen.
    pub fn listen(&self, level: Level) -> Option<(Listening, Lines)> {
        let _changing = self.0.changing.lock();
        let mut listeners = self.0.listeners.write();
        if listeners.len() >= LISTENERS_MAX {
            return None;
        }
        let (lines, receiver) = mpsc::channel(LINES_MAX);
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let listening = Listening {
            monitor: self.clone(),
            id,
            closed: lines.clone(),
        };
        listeners.push(Listener {
            id,
            level,
            lines,
            dropped: AtomicU64::new(0),
        });
        self.0.count.store(listeners.len(), Ordering::Release);
        drop(listeners);
        tracing::callsite::rebuild_interest_cache();
        Some((listening, receiver))
    }

    fn level(&self) -> Option<Level> {
        self.0
            .listeners
            .read()
            .iter()
            .map(|listener| listener.level)
            .max()
    }

    fn send(&self, level: Level, line: &Bytes) {
        for listener in self
            .0
            .listeners
            .read()
            .iter()
            .filter(|listener| level <= listener.level)
        {
            let dropped = listener.dropped.load(Ordering::Relaxed);
            let line = if dropped > 0 {
                let mut told =
                    format!("({dropped} lines were dropped: too slow a reader)\n").into_bytes();
                told.extend_from_slice(line);
                told.into()
            } else {
                line.clone()
            };
            match listener.lines.try_send(Ok(line)) {
                Ok(()) => drop(listener.dropped.fetch_sub(dropped, Ordering::Relaxed)),
                Err(_) => drop(listener.dropped.fetch_add(1, Ordering::Relaxed)),
            }
        }
    }
}

impl Listening {
    /// Resolves when nobody reads the lines any more.
    pub async fn gone(&self) {
        self.closed.closed().await;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let shared = &self.monitor.0;
        let _changing = shared.changing.lock();
        let mut listeners = shared.listeners.write();
        listeners.retain(|listener| listener.id != self.id);
        shared.count.store(listeners.len(), Ordering::Release);
        drop(listeners);
        tracing::callsite::rebuild_interest_cache();
    }
}

/// Formats what is wanted.
struct Feed(Monitor);

impl<S: Subscriber> Layer<S> for Feed {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut line = String::with_capacity(128);
        // A clock that cannot be shown leaves its place empty.
        let _ = SystemTime.format_time(&mut Writer::new(&mut line));
        let _ = write!(line, " [{}] {}:", metadata.level(), metadata.target());
        event.record(&mut Fields(&mut line));
        line.truncate(line.floor_char_boundary(LINE_BYTES_MAX));
        line.push('\n');
        self.0.send(*metadata.level(), &Bytes::from(line));
    }
}

/// Says what is wanted, so that the rest costs nothing.
struct Wanted(Monitor);

impl<S> Filter<S> for Wanted {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.wants(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.wants(metadata) {
            Interest::sometimes()
        } else {
            Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(
            self.0
                .level()
                .map_or(LevelFilter::OFF, LevelFilter::from_level),
        )
    }
}

impl Wanted {
    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries' own events are for whoever writes them.
        self.0.0.count.load(Ordering::Acquire) > 0
            && metadata.is_event()
            && metadata.target().starts_with("rollcall")
            && self
                .0
                .level()
                .is_some_and(|level| *metadata.level() <= level)
    }
}

/// Writes an event's fields behind each other, the message first by nature.
struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

/// A level by Consul's word for it, in any case.
pub fn level_from(text: &str) -> Option<Level> {
    match text.to_ascii_uppercase().as_str() {
        "TRACE" => Some(Level::TRACE),
        "DEBUG" => Some(Level::DEBUG),
        "INFO" => Some(Level::INFO),
        "WARN" => Some(Level::WARN),
        "ERR" | "ERROR" => Some(Level::ERROR),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    fn next(lines: &mut Lines) -> Option<String> {
        let line = lines.try_recv().ok()?.ok()?;
        Some(String::from_utf8_lossy(&line).into_owned())
    }

    #[test]
    fn a_listener_hears_its_level_and_above_and_a_slow_one_is_told_what_it_lost() {
        let monitor = Monitor::default();
        let subscriber = tracing_subscriber::registry().with(monitor.layer());
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!(target: "rollcall", "nobody listens");
            let (listening, mut lines) = monitor.listen(Level::INFO).unwrap();
            tracing::debug!(target: "rollcall", "too fine");
            tracing::info!(target: "hyper", "not ours");
            tracing::info!(target: "rollcall::x", id = 7, "hello");
            let line = next(&mut lines).unwrap();
            assert!(line.contains("[INFO] rollcall::x: hello id=7\n"), "{line}");
            assert_eq!(next(&mut lines), None);
            for n in 0..LINES_MAX + 10 {
                tracing::warn!(target: "rollcall", n);
            }
            while next(&mut lines).is_some() {}
            tracing::warn!(target: "rollcall", "after");
            let line = next(&mut lines).unwrap();
            assert!(line.starts_with("(10 lines were dropped"), "{line}");
            drop(listening);
            tracing::error!(target: "rollcall", "gone");
            assert_eq!(next(&mut lines), None);
        });
    }
}
