//! The list of all metrics of a process.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use crate::interval::Intervals;
use crate::{Computed, Counted, Counter, Histogram, Labels, Source};

/// What a metric's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; `_total` in Prometheus.
    Counter,
    /// Comes and goes.
    Gauge,
    /// Durations in classes.
    Histogram,
}

/// What a value is measured in. It stands last in the name, before `_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// As it stands in names.
    pub fn as_str(self) -> &'static str {
        match self {
            Unit::Seconds => "seconds",
            Unit::Bytes => "bytes",
        }
    }
}

/// What a metric is called and means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// The part it belongs to: `http`, `raft`, …
    pub subsystem: &'static str,
    /// Words joined by `_`, without part, unit and `_total`.
    pub name: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// What they are measured in, where that is not a number of things.
    pub unit: Option<Unit>,
    /// For people: one sentence without a stop.
    pub help: &'static str,
}

impl Descriptor {
    /// Something that only grows.
    pub const fn counter(subsystem: &'static str, name: &'static str, help: &'static str) -> Self {
        Self::new(subsystem, name, Kind::Counter, None, help)
    }

    /// Something that comes and goes.
    pub const fn gauge(subsystem: &'static str, name: &'static str, help: &'static str) -> Self {
        Self::new(subsystem, name, Kind::Gauge, None, help)
    }

    /// Durations.
    pub const fn histogram(
        subsystem: &'static str,
        name: &'static str,
        help: &'static str,
    ) -> Self {
        Self::new(subsystem, name, Kind::Histogram, Some(Unit::Seconds), help)
    }

    /// The same, measured in a unit.
    pub const fn in_unit(self, unit: Unit) -> Self {
        Descriptor {
            unit: Some(unit),
            ..self
        }
    }

    const fn new(
        subsystem: &'static str,
        name: &'static str,
        kind: Kind,
        unit: Option<Unit>,
        help: &'static str,
    ) -> Self {
        Descriptor {
            subsystem,
            name,
            kind,
            unit,
            help,
        }
    }

    /// The name in Prometheus' text: `rollcall_raft_append_duration_seconds`.
    pub fn prometheus_name(&self) -> String {
        let total = match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge | Kind::Histogram => "",
        };
        let Descriptor {
            subsystem, name, ..
        } = self;
        format!("rollcall_{subsystem}_{name}{}{total}", self.unit_suffix())
    }

    /// The name in Consul's JSON: `rollcall.raft.append_duration_seconds`.
    pub fn dotted_name(&self) -> String {
        let Descriptor {
            subsystem, name, ..
        } = self;
        format!("rollcall.{subsystem}.{name}{}", self.unit_suffix())
    }

    fn unit_suffix(&self) -> String {
        self.unit
            .map_or_else(String::new, |unit| format!("_{}", unit.as_str()))
    }
}

pub(crate) struct Entry {
    pub(crate) descriptor: Descriptor,
    pub(crate) source: Arc<dyn Source>,
}

/// All metrics of a process. Parts add theirs as they start; what was added stays.
#[derive(Default)]
pub struct Registry {
    pub(crate) entries: Arc<RwLock<Vec<Entry>>>,
    pub(crate) intervals: Mutex<Intervals>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut names = f.debug_list();
        for entry in self.entries.read().iter() {
            names.entry(&entry.descriptor.prometheus_name());
        }
        names.finish()
    }
}

impl Registry {
    /// Exports a source.
    ///
    /// # Panics
    ///
    /// When there is a metric of that name already: two parts of the program would be taken for one.
    pub fn add(&self, descriptor: Descriptor, source: Arc<dyn Source>) {
        let name = descriptor.prometheus_name();
        let mut entries = self.entries.write();
        let taken = entries
            .iter()
            .any(|entry| entry.descriptor.prometheus_name() == name);
        assert!(!taken, "{name} is registered twice");
        entries.push(Entry { descriptor, source });
    }

    /// A new counter without labels.
    pub fn counter(&self, descriptor: Descriptor) -> Arc<Counter> {
        let counter = Arc::new(Counter::default());
        self.add(descriptor, Arc::clone(&counter) as _);
        counter
    }

    /// A new histogram without labels.
    pub fn histogram(&self, descriptor: Descriptor) -> Arc<Histogram> {
        let histogram = Arc::new(Histogram::default());
        self.add(descriptor, Arc::clone(&histogram) as _);
        histogram
    }

    /// A gauge without labels that is read when somebody asks.
    pub fn gauge(&self, descriptor: Descriptor, read: impl Fn() -> f64 + Send + Sync + 'static) {
        self.gauges(descriptor, move |line| line(&[], read()));
    }

    /// Gauges that are read when somebody asks.
    pub fn gauges(
        &self,
        descriptor: Descriptor,
        read: impl Fn(&mut dyn FnMut(Labels<'_>, f64)) + Send + Sync + 'static,
    ) {
        self.add(descriptor, Arc::new(Computed(read)));
    }

    /// Counters that are counted elsewhere and read when somebody asks.
    pub fn counters(
        &self,
        descriptor: Descriptor,
        read: impl Fn(&mut dyn FnMut(Labels<'_>, u64)) + Send + Sync + 'static,
    ) {
        self.add(descriptor, Arc::new(Counted(read)));
    }

    /// What there is, in the order in which it was added.
    pub fn descriptors(&self) -> Vec<Descriptor> {
        let entries = self.entries.read();
        entries.iter().map(|entry| entry.descriptor).collect()
    }

    /// Ends an interval of Consul's JSON and begins the next. `now` counts from any moment, the same at each call. To be called
    /// every [`crate::INTERVAL`].
    pub fn tick(&self, now: Duration) {
        let entries = self.entries.read();
        self.intervals.lock().tick(now, &entries);
    }
}
