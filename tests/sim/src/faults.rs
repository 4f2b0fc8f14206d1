//! The faults of a run: what goes wrong, when, with whom, all from the seed.
//!
//! A plan is made before the run and does not look at it, except that "the leader" is whoever leads when the fault
//! strikes. Faults are dense and overlap; each ends by itself, and all are over at [`Plan::HEAL`]. Never more servers
//! are down or cut off for good than a majority can bear, but for short times anything may happen, everybody's crash
//! at once included: what was acknowledged must survive that too.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Whom a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The server that leads then; server 0 when none does.
    Leader,
    /// A server.
    Server(usize),
}

/// How a server goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crash {
    /// It is back after this.
    pub down: Duration,
    /// Its sockets close without a word, as when the machine dies; else as when a process is killed.
    pub silent: bool,
    /// The power goes at the nth write or sync from then, in the middle of a commit; 0: between two polls.
    pub at_operation: u32,
}

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No message between the victim, with the clients of side 0, and everybody else.
    CutOff(Victim),
    /// Nothing that the victim sends arrives anywhere; what is sent to it does.
    Mute(Victim),
    /// Nothing arrives at the victim from other servers; what it sends does.
    Deaf(Victim),
    /// Two servers do not hear each other.
    BrokenLink(usize, usize),
    /// Messages of all links get lost: links break and repair at random.
    Loss,
    /// Messages take up to this many milliseconds.
    Slow(u64),
    /// The victim's process stands still.
    Pause(Victim),
    /// The victim crashes and comes back.
    Crash(Victim, Crash),
    /// All servers crash at once and come back.
    CrashAll(Crash),
    /// The victim's disk is full: it stops for good, and is started again when there is room.
    DiskFull(Victim),
    /// The victim's writes take up to so many milliseconds.
    SlowDisk(Victim, u64),
    /// The victim's disk cannot sync.
    SyncFails(Victim),
    /// The victim's time of day is off by so many seconds.
    ClockStep(Victim, i64),
    /// The leader is asked to hand over.
    Transfer,
    /// A server loses its disk and comes back empty, under the same address.
    Wipe(usize),
}

/// A fault in time.
#[derive(Debug, Clone, Copy)]
pub struct Planned {
    /// When it strikes.
    pub at: Duration,
    /// When it ends.
    pub until: Duration,
    /// What it is.
    pub fault: Fault,
}

/// All faults of a run, in order.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The faults.
    pub faults: Vec<Planned>,
    /// When each server starts for the first time.
    pub starts: Vec<Duration>,
    /// Longest way of a message when nothing is wrong, milliseconds.
    pub latency_ms: u64,
}

impl Plan {
    /// All faults are over.
    pub const HEAL: Duration = Duration::from_millis(9_000);

    /// The plan of a seed.
    pub fn new(seed: u64, servers: usize) -> Plan {
        let mut random = SmallRng::seed_from_u64(seed ^ 0xfa17);
        let random = &mut random;
        let starts = (0..servers)
            .map(|_| Duration::from_millis(random.random_range(0..300)))
            .collect();
        let mut faults = Vec::new();
        if random.random_bool(0.4) {
            faults.extend(during_bootstrap(random, servers));
        }
        // Every seed has a character: what it does most.
        let character = random.random_range(0..6u32);
        let mut at = random.random_range(1_200..2_500u64);
        // In every fifth seed a leader is cut off with clients on its side, and nothing else happens for so long that the
        // others elect another, end sessions, and write.
        if random.random_bool(0.2) {
            let until = at + random.random_range(4_000..5_500);
            faults.push(Planned {
                at: Duration::from_millis(at),
                until: Duration::from_millis(until),
                fault: Fault::CutOff(Victim::Leader),
            });
            at = until + 300;
        }
        while at < 8_400 {
            let (fault, lasts) = draw(random, servers, character);
            let until = (at + lasts).min(8_900);
            faults.push(Planned {
                at: Duration::from_millis(at),
                until: Duration::from_millis(until),
                fault,
            });
            at += random.random_range(100..900);
        }
        if random.random_bool(0.25) {
            faults.push(wipe(random, servers));
        }
        faults.sort_by_key(|planned| planned.at);
        Plan {
            faults,
            starts,
            latency_ms: [2, 5, 20][random.random_range(0..3usize)],
        }
    }
}

/// Somebody dies, or is cut off, while the cluster forms: at times it is the one that proposes it.
fn during_bootstrap(random: &mut SmallRng, servers: usize) -> Vec<Planned> {
    let count = random.random_range(1..=2);
    (0..count)
        .map(|_| {
            let at = random.random_range(20..900u64);
            let victim = Victim::Server(random.random_range(0..servers));
            let (fault, lasts) = if random.random_bool(0.7) {
                (Fault::Crash(victim, crash(random)), 0)
            } else {
                (Fault::CutOff(victim), random.random_range(100..1500))
            };
            Planned {
                at: Duration::from_millis(at),
                until: Duration::from_millis(at + lasts),
                fault,
            }
        })
        .collect()
}

fn wipe(random: &mut SmallRng, servers: usize) -> Planned {
    let at = Duration::from_millis(random.random_range(3_000..6_000));
    Planned {
        at,
        until: at + Duration::from_millis(500),
        fault: Fault::Wipe(random.random_range(0..servers)),
    }
}

fn victim(random: &mut SmallRng, servers: usize) -> Victim {
    if random.random_bool(0.55) {
        Victim::Leader
    } else {
        Victim::Server(random.random_range(0..servers))
    }
}

fn crash(random: &mut SmallRng) -> Crash {
    // Back within the election time-out, or long after it.
    let down = if random.random_bool(0.7) {
        random.random_range(20..120)
    } else {
        random.random_range(300..2500)
    };
    Crash {
        down: Duration::from_millis(down),
        silent: random.random_bool(0.4),
        at_operation: if random.random_bool(0.5) {
            random.random_range(1..60)
        } else {
            0
        },
    }
}

/// A fault and how long it lasts, in milliseconds.
fn draw(random: &mut SmallRng, servers: usize, character: u32) -> (Fault, u64) {
    let victim = victim(random, servers);
    // Half of the faults are of the seed's kind.
    let kind = if random.random_bool(0.5) {
        character
    } else {
        random.random_range(0..6u32)
    };
    match kind {
        0 | 1 if random.random_bool(0.15) => (Fault::CrashAll(crash(random)), 0),
        0 | 1 => (Fault::Crash(victim, crash(random)), 0),
        2 => (
            partition(random, victim, servers),
            random.random_range(300..5_500),
        ),
        3 => (Fault::Pause(victim), random.random_range(30..2_500)),
        4 => match random.random_range(0..3u32) {
            0 => (Fault::Loss, random.random_range(200..1_500)),
            1 => (
                Fault::Slow(random.random_range(30..250)),
                random.random_range(300..2_000),
            ),
            _ => (
                partition(random, victim, servers),
                random.random_range(1_500..4_500),
            ),
        },
        _ => match random.random_range(0..7u32) {
            5 | 6 => {
                let up_to = [40, 200, 1000][random.random_range(0..3usize)];
                let fault = Fault::SlowDisk(victim, up_to);
                (fault, random.random_range(500..3_000))
            }
            0 => (Fault::DiskFull(victim), random.random_range(100..800)),
            1 => (Fault::SyncFails(victim), random.random_range(100..800)),
            2 => (Fault::Transfer, 0),
            _ => {
                let seconds = if random.random_bool(0.5) { 3600 } else { -3600 };
                (
                    Fault::ClockStep(victim, seconds),
                    random.random_range(500..4_000),
                )
            }
        },
    }
}

fn partition(random: &mut SmallRng, victim: Victim, servers: usize) -> Fault {
    match random.random_range(0..6u32) {
        0..3 => Fault::CutOff(victim),
        3 => Fault::Mute(victim),
        4 => Fault::Deaf(victim),
        _ => {
            let a = random.random_range(0..servers);
            let b = (a + random.random_range(1..servers)) % servers;
            Fault::BrokenLink(a, b)
        }
    }
}

#[cfg(test)]
mod tests;
