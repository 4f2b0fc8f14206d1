//! Where servers live: id → address, asked at every dial.
//!
//! Only discovery (`retry_join`, later gossip) writes it. A known id with a new address replaces the old one at once; the
//! old one is remembered as an alternate, tried when the newest does not answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use parking_lot::Mutex;

use crate::raft::ServerId;

/// Addresses remembered per server: the newest and those before it. More than a few old ones only slow a dial down.
const ADDRESSES_PER_SERVER_MAX: usize = 3;

/// Addresses of servers by id.
#[derive(Debug, Default)]
pub struct AddressBook {
    // Newest first. Ordered maps: a run of the simulation must not depend on a hash seed.
    entries: Mutex<BTreeMap<ServerId, Vec<SocketAddr>>>,
}

impl AddressBook {
    /// An empty book.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes where a server lives now. Whether that was news.
    pub fn set(&self, id: ServerId, address: SocketAddr) -> bool {
        let mut entries = self.entries.lock();
        let known = entries.entry(id).or_default();
        if known.first() == Some(&address) {
            return false;
        }
        known.retain(|old| *old != address);
        known.insert(0, address);
        known.truncate(ADDRESSES_PER_SERVER_MAX);
        true
    }

    /// The newest address of a server.
    pub fn get(&self, id: ServerId) -> Option<SocketAddr> {
        self.entries.lock().get(&id)?.first().copied()
    }

    /// All addresses of a server, newest first.
    pub fn all(&self, id: ServerId) -> Vec<SocketAddr> {
        self.entries.lock().get(&id).cloned().unwrap_or_default()
    }

    /// Forgets a server.
    pub fn remove(&self, id: ServerId) {
        self.entries.lock().remove(&id);
    }

    /// Every server with its newest address, by id.
    pub fn list(&self) -> Vec<(ServerId, SocketAddr)> {
        let entries = self.entries.lock();
        let newest = entries
            .iter()
            .filter_map(|(id, known)| Some((*id, *known.first()?)));
        newest.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn a_new_address_replaces_the_old_one_and_keeps_it_as_alternate() {
        let book = AddressBook::new();
        let id = ServerId(uuid::Uuid::from_u128(7));
        assert!(book.set(id, address(1)));
        assert!(!book.set(id, address(1)));
        assert!(book.set(id, address(2)));
        assert_eq!(book.get(id), Some(address(2)));
        assert_eq!(book.all(id), [address(2), address(1)]);
        assert!(book.set(id, address(1)));
        assert_eq!(book.all(id), [address(1), address(2)]);
    }

    #[test]
    fn only_a_few_old_addresses_are_remembered() {
        let book = AddressBook::new();
        let id = ServerId(uuid::Uuid::from_u128(7));
        for port in 1..=9 {
            book.set(id, address(port));
        }
        assert_eq!(book.all(id), [address(9), address(8), address(7)]);
    }
}
