//! What happened in the last interval, out of values that only grow.
//!
//! Consul's JSON shows the last interval that has ended, not all since the start. Differences between two readings give the same, and
//! cost nothing where things are counted.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::registry::Entry;
use crate::{INTERVAL, Reading};

/// Which line: the number of its metric, and the values of its labels.
pub(crate) type LineKey = (usize, Vec<(&'static str, String)>);

/// Some things that happened, summed up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Summary {
    pub(crate) count: u64,
    pub(crate) sum: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) deviation: f64,
}

/// An interval.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interval {
    pub(crate) length: Duration,
    pub(crate) lines: BTreeMap<LineKey, Summary>,
}

/// The last readings, and the last interval that has ended.
#[derive(Debug, Default)]
pub(crate) struct Intervals {
    began: Duration,
    readings: BTreeMap<LineKey, Reading>,
    ended: Option<Interval>,
}

impl Intervals {
    /// Ends the interval under way.
    pub(crate) fn tick(&mut self, now: Duration, entries: &[Entry]) {
        let readings = read_all(entries);
        self.ended = Some(self.since_began(now.saturating_sub(self.began), &readings));
        self.began = now;
        self.readings = readings;
        for entry in entries {
            entry.source.begin_interval();
        }
    }

    /// The last that has ended, or the one under way if none has.
    pub(crate) fn last(&self, entries: &[Entry]) -> Interval {
        match &self.ended {
            Some(ended) => ended.clone(),
            None => self.since_began(INTERVAL, &read_all(entries)),
        }
    }

    fn since_began(&self, length: Duration, readings: &BTreeMap<LineKey, Reading>) -> Interval {
        let summaries = readings.iter().filter_map(|(key, now)| {
            let summary = summary(self.readings.get(key), now)?;
            Some((key.clone(), summary))
        });
        Interval {
            length,
            lines: summaries.collect(),
        }
    }
}

pub(crate) fn read_all(entries: &[Entry]) -> BTreeMap<LineKey, Reading> {
    let mut readings = BTreeMap::new();
    for (number, entry) in entries.iter().enumerate() {
        entry.source.read(&mut |labels, reading| {
            let labels = labels
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()));
            readings.insert((number, labels.collect()), reading);
        });
    }
    readings
}

/// `None`: nothing happened, or it is a gauge.
fn summary(before: Option<&Reading>, now: &Reading) -> Option<Summary> {
    match now {
        Reading::Gauge(_) => None,
        Reading::Counter(now) => {
            let before = match before {
                Some(Reading::Counter(before)) => *before,
                _ => 0,
            };
            let count = now.saturating_sub(before);
            (count > 0).then_some(Summary {
                count,
                sum: count as f64,
                least: 1.0,
                most: 1.0,
                deviation: 0.0,
            })
        }
        Reading::Histogram(now) => {
            let (count, sum, squares) = match before {
                Some(Reading::Histogram(before)) => (
                    now.count().saturating_sub(before.count()),
                    now.sum_us.saturating_sub(before.sum_us),
                    now.squares_us.wrapping_sub(before.squares_us),
                ),
                _ => (now.count(), now.sum_us, now.squares_us),
            };
            (count > 0).then(|| {
                let (count_f, sum_f) = (count as f64, sum as f64);
                let variance =
                    (squares as f64 - sum_f * sum_f / count_f) / (count_f - 1.0).max(1.0);
                Summary {
                    count,
                    sum: sum_f / 1e6,
                    least: now.least_us.min(now.most_us) as f64 / 1e6,
                    most: now.most_us as f64 / 1e6,
                    deviation: variance.max(0.0).sqrt() / 1e6,
                }
            })
        }
    }
}
