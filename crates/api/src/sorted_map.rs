//! A small map as one allocation: a boxed slice of pairs in the order of their keys.
//!
//! Meta and addresses of a hundred thousand rows: a `BTreeMap` of three pairs takes half a kilobyte, this takes what the pairs take. It is made once
//! and never changed. On the wire it is a map like any other.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Pairs in the order of their keys, each key once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortedMap<V = Arc<str>>(Box<[(Arc<str>, V)]>);

impl<V> Default for SortedMap<V> {
    fn default() -> Self {
        SortedMap(Box::default())
    }
}

impl<V> SortedMap<V> {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&V> {
        let at = self.0.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        Some(&self.0[at].1)
    }

    /// Pairs, in the order of their keys.
    pub fn iter(&self) -> std::slice::Iter<'_, (Arc<str>, V)> {
        self.0.iter()
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl SortedMap<Arc<str>> {
    /// Takes the other map's strings where both have the same, so that they are kept once.
    pub fn share_with(&mut self, known: &SortedMap<Arc<str>>) {
        // Mostly both have the same keys, and they are in order.
        for ((key, value), (known_key, known_value)) in self.0.iter_mut().zip(known) {
            if key == known_key {
                *key = known_key.clone();
                if value == known_value {
                    *value = known_value.clone();
                }
            }
        }
    }
}

/// Of a key that comes twice the last value counts.
impl<K: Into<Arc<str>>, T: Into<V>, V> FromIterator<(K, T)> for SortedMap<V> {
    fn from_iter<I: IntoIterator<Item = (K, T)>>(pairs: I) -> Self {
        let pairs = pairs.into_iter().map(|(k, v)| (k.into(), v.into()));
        let sorted: BTreeMap<Arc<str>, V> = pairs.collect();
        SortedMap(sorted.into_iter().collect())
    }
}

impl<K: Into<Arc<str>>, T: Into<V>, V> From<BTreeMap<K, T>> for SortedMap<V> {
    fn from(map: BTreeMap<K, T>) -> Self {
        map.into_iter().collect()
    }
}

impl<'a, V> IntoIterator for &'a SortedMap<V> {
    type Item = &'a (Arc<str>, V);
    type IntoIter = std::slice::Iter<'a, (Arc<str>, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<V: Serialize> Serialize for SortedMap<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (key, value) in self {
            map.serialize_entry(&**key, value)?;
        }
        map.end()
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for SortedMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for Pairs<V> {
            type Value = SortedMap<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SortedMap<V>, A::Error> {
                let mut pairs: Vec<(Arc<str>, V)> = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(pairs.into_iter().collect())
            }
        }

        deserializer.deserialize_map(Pairs(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sorted_map_is_a_map_on_the_wire_in_any_order_it_comes() {
        let map: SortedMap = [("b", "2"), ("a", "1"), ("b", "3")].into_iter().collect();
        assert_eq!(map.get("b").map(|v| &**v), Some("3"));
        assert_eq!(map.get("c"), None);
        let bytes = serde_json::to_vec(&map).expect("a map must encode");
        let plain: BTreeMap<String, String> =
            serde_json::from_slice(&bytes).expect("it is a map on the wire");
        assert_eq!(plain.len(), map.len());
        assert_eq!(SortedMap::from(plain), map);
        let back: SortedMap = serde_json::from_slice(&bytes).expect("a map must decode");
        assert_eq!(back, map);
    }
}
