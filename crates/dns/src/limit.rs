//! No amplifier: how much one public source may be sent over udp.
//!
//! A source address in a datagram is a claim. Whoever forges it wants our answers, which are larger than his questions, to hit
//! somebody. So each public network (IPv4 /24, IPv6 /56) has an allowance; past it every second answer is an empty one with TC set,
//! which a real client answers by coming back over tcp, and the others are not sent. Private and loopback sources are ours.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};

use rollcall_rt::Instant;

/// Networks watched at a time by one socket; two that share a place share its allowance.
const PLACES: usize = 4096;

/// What may be sent to a source now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The answer.
    Answer,
    /// An empty answer that asks to come back over tcp.
    Truncated,
    /// Nothing.
    Nothing,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    /// Answers that may be sent at once.
    tokens: f32,
    since: Instant,
    slip: bool,
}

/// The allowances of one socket's sources.
#[derive(Debug)]
pub(crate) struct Allowances {
    rate: u32,
    hasher: RandomState,
    places: Vec<Place>,
}

impl Allowances {
    /// `rate` answers a second and network; 0: no limit.
    pub(crate) fn new(rate: u32, now: Instant) -> Self {
        let place = Place {
            tokens: rate as f32,
            since: now,
            slip: false,
        };
        Allowances {
            rate,
            hasher: RandomState::new(),
            places: if rate == 0 {
                Vec::new()
            } else {
                vec![place; PLACES]
            },
        }
    }

    /// Counts one answer to a source.
    pub(crate) fn take(&mut self, source: IpAddr, now: Instant) -> Verdict {
        if self.rate == 0 {
            return Verdict::Answer;
        }
        let Some(network) = public_network(source.to_canonical()) else {
            return Verdict::Answer;
        };
        let place = self.hasher.hash_one(network) % PLACES as u64;
        let place = &mut self.places[usize::try_from(place).unwrap_or(0)];
        let rate = self.rate as f32;
        let earned = now.duration_since(place.since).as_secs_f32() * rate;
        place.tokens = (place.tokens + earned).min(rate);
        place.since = now;
        if place.tokens >= 1.0 {
            place.tokens -= 1.0;
            return Verdict::Answer;
        }
        place.slip = !place.slip;
        match place.slip {
            true => Verdict::Truncated,
            false => Verdict::Nothing,
        }
    }
}

/// The network of a public address; `None` for those that cannot be somebody else's.
fn public_network(source: IpAddr) -> Option<u64> {
    match source {
        IpAddr::V4(address) => {
            let shared = address.octets()[0] == 100 && (address.octets()[1] & 0xc0) == 64;
            let ours =
                address.is_private() || address.is_loopback() || address.is_link_local() || shared;
            (!ours).then(|| u64::from(address.to_bits() >> 8))
        }
        IpAddr::V6(address) => {
            (!is_ours(address)).then(|| u64::try_from(address.to_bits() >> 72).unwrap_or(u64::MAX))
        }
    }
}

fn is_ours(address: Ipv6Addr) -> bool {
    address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_public_network_gets_its_rate_and_then_hints_only() {
        let start = Instant::now();
        let mut allowances = Allowances::new(10, start);
        let source = |last| IpAddr::from([203, 0, 113, last]);
        for i in 0..10 {
            assert_eq!(allowances.take(source(i), start), Verdict::Answer);
        }
        assert_eq!(allowances.take(source(1), start), Verdict::Truncated);
        assert_eq!(allowances.take(source(2), start), Verdict::Nothing);
        let later = start + Duration::from_millis(250);
        assert_eq!(allowances.take(source(3), later), Verdict::Answer);
        assert_eq!(allowances.take(source(4), later), Verdict::Answer);
        assert_ne!(allowances.take(source(5), later), Verdict::Answer);
    }

    #[test]
    fn our_own_networks_have_no_limit() {
        let start = Instant::now();
        let mut allowances = Allowances::new(1, start);
        for source in [
            "10.1.2.3",
            "127.0.0.1",
            "::1",
            "fd00::1",
            "::ffff:192.168.0.1",
            "100.64.1.1",
        ] {
            let source: IpAddr = source.parse().unwrap();
            for _ in 0..3 {
                assert_eq!(allowances.take(source, start), Verdict::Answer, "{source}");
            }
        }
    }
}
