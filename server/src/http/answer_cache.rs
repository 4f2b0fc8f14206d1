//! Encoded answers that are still true.
//!
//! An answer's index moves if and only if the answer could have changed, so bytes that were encoded at an index are right as long
//! as the answer has that index (and the state that offset: a restore brings rows back with old indexes). A service that a
//! thousand clients ask for is encoded once a change, and ten thousand parked queries that wake together share one encoding.
//! Looked up after the query, never instead of it: what is saved is the encoding, which costs ten times the query.
//!
//! Two generations: what was not asked for since the last change of generations is forgotten. No lists, no clock.

use std::collections::HashMap;
use std::fmt::Write as _;

use bytes::Bytes;
use parking_lot::Mutex;
use rollcall_api::query::Query;
use rollcall_state::Index;

/// Bytes of both generations: some thousand answers of usual size.
const BYTES_MAX: usize = 32 << 20;
/// Longer answers are rare, and would push out many short ones.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Longer keys are filters; few ask the same.
const KEY_BYTES_MAX: usize = 1024;
/// What an entry takes beside its key and answer.
const ENTRY_BYTES: usize = 128;
/// Options that do not change what an answer says.
const IRRELEVANT: [&str; 10] = [
    "index",
    "wait",
    "stale",
    "consistent",
    "cached",
    "near",
    "dc",
    "ns",
    "partition",
    "merge-central-config",
];

/// Answers of one server.
#[derive(Debug, Default)]
pub(super) struct AnswerCache(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Box<str>, Encoded>,
    old: HashMap<Box<str>, Encoded>,
    young_bytes: usize,
}

#[derive(Debug, Clone)]
struct Encoded {
    at: Version,
    answer: Bytes,
}

/// What an encoding is true for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    /// The answer's.
    pub(super) index: Index,
    /// The state's.
    pub(super) offset: u64,
}

/// Under which an answer is kept; `None`: it is not.
pub(super) fn key(pattern: &str, rest: &str, query: Query<'_>, owners: bool) -> Option<Box<str>> {
    let mut key = format!("{pattern}\n{rest}\n{owners}");
    for (name, value) in query.pairs() {
        if name == "pretty" {
            return None;
        }
        if !IRRELEVANT.contains(&name.as_ref()) {
            write!(key, "\n{name}\n{value}").expect("writing to a String must succeed");
        }
    }
    (key.len() <= KEY_BYTES_MAX).then(|| key.into())
}

impl AnswerCache {
    /// The answer at this version, encoded now if it was not before.
    pub(super) fn get(
        &self,
        key: Option<Box<str>>,
        at: Version,
        encode: impl FnOnce() -> Vec<u8>,
    ) -> Bytes {
        let Some(key) = key else {
            return encode().into();
        };
        if let Some(answer) = self.0.lock().find(&key, at) {
            return answer;
        }
        // Not under the lock: others look up meanwhile, and two that encode the same do no harm.
        let answer = Bytes::from(encode());
        if answer.len() <= ANSWER_BYTES_MAX {
            let answer = answer.clone();
            self.0.lock().keep(key, Encoded { at, answer });
        }
        answer
    }
}

impl Generations {
    fn find(&mut self, key: &str, at: Version) -> Option<Bytes> {
        if let Some(found) = self.young.get(key) {
            return (found.at == at).then(|| found.answer.clone());
        }
        let (key, found) = self.old.remove_entry(key)?;
        if found.at != at {
            return None;
        }
        let answer = found.answer.clone();
        self.keep(key, found);
        Some(answer)
    }

    fn keep(&mut self, key: Box<str>, encoded: Encoded) {
        self.young_bytes += key.len() + encoded.answer.len() + ENTRY_BYTES;
        let key_bytes = key.len();
        if let Some(replaced) = self.young.insert(key, encoded) {
            self.young_bytes -= key_bytes + replaced.answer.len() + ENTRY_BYTES;
        }
        if self.young_bytes > BYTES_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Version = Version {
        index: 7,
        offset: 0,
    };

    fn key(name: &str) -> Option<Box<str>> {
        Some(name.into())
    }

    #[test]
    fn an_answer_is_encoded_once_a_version() {
        let cache = AnswerCache::default();
        let mut encoded = 0;
        for (at, expected) in [
            (FIRST, 1),
            (FIRST, 1),
            (Version { index: 8, ..FIRST }, 2),
            // A restore: the same index, another answer.
            (
                Version {
                    index: 8,
                    offset: 100,
                },
                3,
            ),
            (
                Version {
                    index: 8,
                    offset: 100,
                },
                3,
            ),
        ] {
            let answer = cache.get(key("a"), at, || {
                encoded += 1;
                vec![encoded]
            });
            assert_eq!(answer[..], [expected], "{at:?}");
        }
        assert_eq!(cache.get(key("b"), FIRST, || vec![9])[..], [9]);
    }

    #[test]
    fn what_it_takes_stays_within_its_bound() {
        let cache = AnswerCache::default();
        for number in 0..200 {
            cache.get(key(&format!("service {number}")), FIRST, || {
                vec![0; ANSWER_BYTES_MAX]
            });
            cache.get(key("busy"), FIRST, || vec![1]);
            let generations = cache.0.lock();
            let all = generations.young.values().chain(generations.old.values());
            let bytes: usize = all.map(|encoded| encoded.answer.len()).sum();
            assert!(
                bytes <= BYTES_MAX + ANSWER_BYTES_MAX,
                "{bytes} bytes after {number}"
            );
        }
        // Asked for all the time, it outlived every generation.
        assert_eq!(cache.get(key("busy"), FIRST, || vec![2])[..], [1]);
        cache.get(key("large"), FIRST, || vec![0; ANSWER_BYTES_MAX + 1]);
        assert!(!cache.0.lock().young.contains_key("large"));
    }

    #[test]
    fn what_does_not_change_an_answer_is_not_in_its_key() {
        let key = |query| super::key("/v1/health/service/", "web", Query(query), false);
        assert_eq!(key("passing&index=7&wait=10s&stale"), key("passing"));
        assert_ne!(key("passing"), key("passing=false"));
        assert_ne!(key("tag=a"), key("tag=b"));
        assert_eq!(key("pretty"), None);
        assert_ne!(
            key(""),
            super::key("/v1/health/service/", "web", Query(""), true)
        );
    }
}
