//! What indexes and values must obey in every answer, stale ones included.
//!
//! A stale read may be old, it may not be wrong: its value was written by somebody who had begun before the answer
//! came, it has the same ModifyIndex in every answer of every server, it fits what other answers say of the same
//! index, and one server never goes back while it runs. Linearizable reads must in addition never go back in index
//! at all. Which linearizable reads fit which writes is `wgl`'s business.

use std::collections::BTreeMap;

use super::kv::Version;

/// A key that was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The write its value came from.
    pub version: Version,
    /// `CreateIndex`
    pub create_index: u64,
    /// `ModifyIndex`
    pub modify_index: u64,
}

/// One answer about one key. Points in time are positions in the order of events.
#[derive(Debug, Clone)]
pub struct Observation {
    /// The key.
    pub key: String,
    /// When it was asked.
    pub invoked: u64,
    /// When it was answered.
    pub returned: u64,
    /// The server that answered.
    pub server: usize,
    /// How often that server had started.
    pub boot: u64,
    /// Whether the read was to be linearizable.
    pub linearizable: bool,
    /// `X-Consul-Index`
    pub index: u64,
    /// What was there.
    pub found: Option<Found>,
}

/// A write, whatever became of it.
#[derive(Debug, Clone)]
pub struct Written {
    /// The key.
    pub key: String,
    /// Its value.
    pub version: Version,
    /// When it was sent.
    pub invoked: u64,
    /// When success was answered; `None`: never, or unknown.
    pub acknowledged: Option<u64>,
}

/// Everything that is wrong, in words.
pub fn check(observations: &[Observation], writes: &[Written]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut keys: BTreeMap<&str, (Vec<&Observation>, Vec<&Written>)> = BTreeMap::new();
    for seen in observations {
        keys.entry(&seen.key).or_default().0.push(seen);
    }
    for written in writes {
        keys.entry(&written.key).or_default().1.push(written);
    }
    for (seen, written) in keys.values() {
        no_invention(seen, written, &mut wrong);
        one_index_one_value(seen, &mut wrong);
        absent_means_absent(seen, &mut wrong);
        indexes_follow_time(seen, written, &mut wrong);
        never_back(seen, &mut wrong);
    }
    wrong
}

fn no_invention(seen: &[&Observation], written: &[&Written], wrong: &mut Vec<String>) {
    let begun: BTreeMap<Version, u64> = written.iter().map(|w| (w.version, w.invoked)).collect();
    for answer in seen {
        let Some(found) = answer.found else { continue };
        match begun.get(&found.version) {
            None => wrong.push(format!("a value nobody wrote: {answer:?}")),
            Some(&begun) if begun > answer.returned => {
                wrong.push(format!(
                    "a value from the future (sent at {begun}): {answer:?}"
                ));
            }
            Some(_) => {}
        }
    }
}

fn one_index_one_value(seen: &[&Observation], wrong: &mut Vec<String>) {
    let mut by_modify: BTreeMap<u64, &Observation> = BTreeMap::new();
    let mut by_version: BTreeMap<Version, &Observation> = BTreeMap::new();
    for answer in seen {
        if answer.index == 0 {
            wrong.push(format!("index 0: {answer:?}"));
        }
        let Some(found) = answer.found else { continue };
        if found.create_index > found.modify_index || found.create_index == 0 {
            wrong.push(format!("CreateIndex past ModifyIndex, or 0: {answer:?}"));
        }
        if found.modify_index > answer.index {
            wrong.push(format!("X-Consul-Index below ModifyIndex: {answer:?}"));
        }
        let other = *by_modify.entry(found.modify_index).or_insert(answer);
        if other.found != answer.found {
            wrong.push(format!(
                "one ModifyIndex, two contents: {other:?} and {answer:?}"
            ));
        }
        let other = *by_version.entry(found.version).or_insert(answer);
        if other.found != answer.found {
            wrong.push(format!(
                "one write, two places in the order: {other:?} and {answer:?}"
            ));
        }
    }
}

/// A key that one answer shows from its CreateIndex to its ModifyIndex cannot be absent at an index between.
fn absent_means_absent(seen: &[&Observation], wrong: &mut Vec<String>) {
    let present: BTreeMap<u64, &Observation> = seen
        .iter()
        .filter_map(|answer| answer.found.map(|found| (found.modify_index, *answer)))
        .collect();
    for absent in seen.iter().filter(|answer| answer.found.is_none()) {
        let mut later = present.range(absent.index..);
        if let Some((_, answer)) = later.next()
            && answer.found.is_some_and(|f| f.create_index <= absent.index)
        {
            wrong.push(format!(
                "absent and present at once: {absent:?}, {answer:?}"
            ));
        }
    }
}

/// Of two acknowledged writes one of which began after the other was answered, the later has the higher index.
fn indexes_follow_time(seen: &[&Observation], written: &[&Written], wrong: &mut Vec<String>) {
    let index_of: BTreeMap<Version, u64> = seen
        .iter()
        .filter_map(|answer| answer.found.map(|f| (f.version, f.modify_index)))
        .collect();
    let mut answered: Vec<(u64, u64, &Written)> = written
        .iter()
        .filter_map(|w| Some((w.acknowledged?, *index_of.get(&w.version)?, *w)))
        .collect();
    answered.sort_by_key(|(at, ..)| *at);
    for later in written {
        let Some(&index) = index_of.get(&later.version) else {
            continue;
        };
        let before = answered.partition_point(|(at, ..)| *at < later.invoked);
        let highest = answered[..before].iter().max_by_key(|(_, index, _)| *index);
        if let Some((_, higher, earlier)) = highest
            && *higher >= index
        {
            wrong.push(format!(
                "written later at a lower index: {earlier:?} at {higher}, {later:?} at {index}"
            ));
        }
    }
}

/// One running server never shows a lower index of a key than it has shown; linearizable reads never do at all.
fn never_back(seen: &[&Observation], wrong: &mut Vec<String>) {
    let mut groups: BTreeMap<Option<(usize, u64)>, Vec<&Observation>> = BTreeMap::new();
    for answer in seen {
        groups
            .entry(Some((answer.server, answer.boot)))
            .or_default()
            .push(answer);
        if answer.linearizable {
            groups.entry(None).or_default().push(answer);
        }
    }
    for answers in groups.values() {
        let mut by_return = answers.clone();
        by_return.sort_by_key(|answer| answer.returned);
        for answer in answers {
            let before = by_return.partition_point(|earlier| earlier.returned < answer.invoked);
            let highest = by_return[..before]
                .iter()
                .max_by_key(|earlier| earlier.index);
            if let Some(earlier) = highest
                && earlier.index > answer.index
            {
                wrong.push(format!("went back: {earlier:?}, then {answer:?}"));
            }
        }
    }
}

#[cfg(test)]
mod tests;
