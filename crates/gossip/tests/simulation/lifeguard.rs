//! Lifeguard's experiments (arXiv 1707.00788, section V): members whose sends and receives are blocked for a while, again and
//! again, and what the healthy ones then say of each other; and how fast a member that is really gone is noticed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rollcall_gossip::{Lifeguard, MemberChange, Random, Seeded};

use super::world::World;

/// The paper's number of members.
pub(crate) const MEMBERS: usize = 128;
/// Time to settle before anything is disturbed, as in the paper.
const SETTLE: Duration = Duration::from_secs(15);
/// At least this long members are disturbed.
const DISTURBED: Duration = Duration::from_secs(120);

/// The five columns of the paper's table: which parts are on.
pub(crate) const COLUMNS: [(&str, Lifeguard); 5] = [
    ("SWIM", Lifeguard::OFF),
    (
        "LHA-Probe",
        Lifeguard {
            local_health: true,
            ..Lifeguard::OFF
        },
    ),
    (
        "LHA-Suspicion",
        Lifeguard {
            suspicion: true,
            ..Lifeguard::OFF
        },
    ),
    (
        "Buddy",
        Lifeguard {
            buddy: true,
            ..Lifeguard::OFF
        },
    ),
    ("Lifeguard", Lifeguard::ON),
];

/// One cell of the grid.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    /// Members disturbed at the same time.
    pub(crate) concurrent: usize,
    /// How long each pause is.
    pub(crate) pause: Duration,
    /// How long it is well between two pauses.
    pub(crate) between: Duration,
}

/// What one run showed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// Members that were well and were called failed, as often as anybody did so.
    pub(crate) false_positives: u64,
    /// Of these, said by members that were well themselves.
    pub(crate) false_positives_at_healthy: u64,
    /// From the beginning of the pause to the first who called the member failed.
    pub(crate) first_detection: Vec<Duration>,
    /// ... to the last.
    pub(crate) full_dissemination: Vec<Duration>,
    /// Packets and streams that all members sent.
    pub(crate) messages: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

impl Outcome {
    pub(crate) fn add(&mut self, other: &Self) {
        self.false_positives += other.false_positives;
        self.false_positives_at_healthy += other.false_positives_at_healthy;
        self.first_detection.extend(&other.first_detection);
        self.full_dissemination.extend(&other.full_dissemination);
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}

fn world(parts: Lifeguard, seed: u64) -> World {
    World::acquainted(seed, MEMBERS, |config| {
        config.lifeguard = parts;
        config.timing.suspicion_mult = 5;
        config.timing.suspicion_max_mult = 6;
    })
}

fn choose(concurrent: usize, seed: u64) -> BTreeSet<usize> {
    let mut random = Seeded::new(seed ^ 0x5eed);
    let mut chosen = BTreeSet::new();
    while chosen.len() < concurrent {
        let drawn = usize::try_from(random.next() >> 33).expect("31 bits must fit");
        chosen.insert(drawn % MEMBERS);
    }
    chosen
}

/// The paper's interval experiment: pauses that repeat, all at the same time.
pub(crate) fn repeated_pauses(parts: Lifeguard, cell: Cell, seed: u64) -> Outcome {
    let mut world = world(parts, seed);
    world.run(SETTLE);
    let sick = choose(cell.concurrent, seed);
    let begin = world.now;
    let sent = traffic(&world);
    while world.now < begin + DISTURBED {
        for node in &sick {
            world.pause(*node, cell.pause);
        }
        world.run(cell.pause + cell.between);
    }
    let mut outcome = Outcome::default();
    count_false(&world, &sick, &mut outcome);
    let now = traffic(&world);
    // As if every run had lasted two minutes.
    let part = DISTURBED.as_secs_f64() / (world.now - begin).as_secs_f64();
    outcome.messages = scaled(now.0 - sent.0, part);
    outcome.bytes = scaled(now.1 - sent.1, part);
    outcome
}

/// The paper's threshold experiment, with a pause so long that everybody has to notice.
pub(crate) fn one_long_pause(parts: Lifeguard, concurrent: usize, seed: u64) -> Outcome {
    let mut world = world(parts, seed);
    world.run(SETTLE);
    let sick = choose(concurrent, seed);
    let begin = world.now;
    for node in &sick {
        world.pause(*node, DISTURBED);
    }
    world.run(DISTURBED);
    let mut outcome = Outcome::default();
    count_false(&world, &sick, &mut outcome);
    let mut noticed: BTreeMap<&str, BTreeMap<usize, Duration>> = BTreeMap::new();
    for seen in &world.seen {
        if seen.change == MemberChange::Failed && !sick.contains(&seen.by) {
            let by = noticed.entry(&seen.name).or_default();
            by.entry(seen.by).or_insert(seen.at - begin);
        }
    }
    for node in &sick {
        let name = &world.nodes[*node].config.name;
        let times = noticed.get(&name[..]).cloned().unwrap_or_default();
        outcome.first_detection.extend(times.values().min());
        if times.len() == MEMBERS - sick.len() {
            outcome.full_dissemination.extend(times.values().max());
        }
    }
    outcome
}

fn count_false(world: &World, sick: &BTreeSet<usize>, outcome: &mut Outcome) {
    let is_sick = |name: &str| {
        sick.iter()
            .any(|node| world.nodes[*node].config.name == name)
    };
    for seen in &world.seen {
        if seen.change == MemberChange::Failed && !is_sick(&seen.name) {
            outcome.false_positives += 1;
            outcome.false_positives_at_healthy += u64::from(!sick.contains(&seen.by));
        }
    }
}

fn traffic(world: &World) -> (u64, u64) {
    let counters = world.nodes.iter().map(|node| node.pool.counters());
    counters.fold((0, 0), |(messages, bytes), counters| {
        (
            messages + counters.packets_sent,
            bytes + counters.packet_bytes_sent + counters.stream_bytes_sent,
        )
    })
}

fn scaled(count: u64, part: f64) -> u64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts of a run are far below 2^52"
    )]
    let scaled = (count as f64 * part).round() as u64;
    scaled
}

/// The value below which this part of the sorted values lies.
pub(crate) fn percentile(values: &mut [Duration], part: f64) -> Option<Duration> {
    values.sort_unstable();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index of a few thousand values"
    )]
    let at = ((values.len() as f64 * part).ceil() as usize).saturating_sub(1);
    values.get(at).copied()
}
