//! What clients did and saw, as it happens, and the verdict over it.
//!
//! The simulation is one thread, so starts and ends of calls have one total order: their positions. The recorder also
//! keeps the run's trace: a hash over every line that happened (and the lines themselves when asked), which two runs
//! of one seed must share.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::check::kv::{Keys, KvOp, Version};
use crate::check::lock::{Acquired, Lock, LockOp, SESSIONS_MAX, Seen};
use crate::check::stale::{Found, Observation, Written};
use crate::check::ttl::{Life, Taken};
use crate::check::wgl::{Call, Verdict, check};
use crate::check::{stale, ttl};

/// Keys of the workload, by group. A group is what is checked together.
pub const GROUPS: [&[&str]; 4] = [&["r/0"], &["r/1"], &["r/2"], &["t/a", "t/b", "t/c"]];

/// Lock keys.
pub const LOCKS: [&str; 2] = ["l/0", "l/1"];

/// A call under way.
#[derive(Debug, Clone, Copy)]
pub struct Ticket {
    /// Position of its start.
    pub invoked: u64,
    /// Simulated time of its start.
    pub at_ns: u64,
    /// The server asked.
    pub server: usize,
    /// That server's boot then.
    pub boot: u64,
}

/// Shared by all clients and the driver.
#[derive(Debug, Clone, Default)]
pub struct Recorder(Arc<Mutex<Record>>);

#[derive(Debug, Default)]
struct Record {
    position: u64,
    now_ns: u64,
    versions: Version,
    trace: u64,
    lines: Option<Vec<String>>,
    boots: Vec<u64>,
    kv: Vec<(usize, Call<KvOp>)>,
    seen: Vec<Observation>,
    written: Vec<Written>,
    locks: Vec<(usize, Call<LockCall>)>,
    lives: Vec<Life>,
    taken: Vec<Taken>,
    /// Lock key and session of releases without an answer: they may be done at any time from then on.
    late_releases: Vec<(usize, usize)>,
    /// `deletes`, by session.
    deletes: Vec<bool>,
    counts: Counts,
    wrong: Vec<String>,
    /// When faults ended.
    healed_ns: Option<u64>,
    /// A write that was sent after that was acknowledged.
    works: bool,
}

/// A call on a lock key; sessions by their position among all sessions of the run.
#[derive(Debug, Clone)]
pub enum LockCall {
    /// `PUT ?acquire=`
    Acquire(usize, Version, Option<Acquired>),
    /// `PUT ?release=`
    Release(usize, Version, Option<bool>),
    /// A read: value, holder, LockIndex.
    Get(Option<(Version, Option<usize>, u64)>),
}

/// How much a run did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Calls with an answer.
    pub answered: u64,
    /// Calls of unknown outcome.
    pub unknown: u64,
    /// Calls that were surely not done.
    pub refused: u64,
}

impl Recorder {
    /// A new record; `keep_lines` for a trace that people read.
    pub fn new(servers: usize, keep_lines: bool) -> Recorder {
        Recorder(Arc::new(Mutex::new(Record {
            lines: keep_lines.then(Vec::new),
            boots: vec![0; servers],
            ..Record::default()
        })))
    }

    /// Sets simulated time: for the driver, which is no host.
    pub fn set_now(&self, now: Duration) {
        self.0.lock().now_ns = nanoseconds(now);
    }

    /// Notes a line of the trace.
    pub fn note(&self, line: &str) {
        self.0.lock().note(line);
    }

    /// A server started again.
    pub fn booted(&self, server: usize) -> u64 {
        let mut record = self.0.lock();
        record.boots[server] += 1;
        record.boots[server]
    }

    /// A value of its own for the next write.
    pub fn new_version(&self) -> Version {
        let mut record = self.0.lock();
        record.versions += 1;
        record.versions
    }

    /// A call starts.
    pub fn begin(&self, client: usize, server: usize, what: &str) -> Ticket {
        let mut record = self.0.lock();
        record.note(&format!("c{client} s{server} > {what}"));
        Ticket {
            invoked: record.next(),
            at_ns: record.now(),
            server,
            boot: record.boots[server],
        }
    }

    /// A call ended; the answer in words. Gives its position and time.
    pub fn end(&self, client: usize, ticket: Ticket, what: &str) -> (u64, u64) {
        let mut record = self.0.lock();
        let server = ticket.server;
        record.note(&format!("c{client} s{server} < {what}"));
        record.counts.answered += 1;
        (record.next(), record.now())
    }

    /// Counts a call without a known answer.
    pub fn lost(&self, client: usize, ticket: Ticket, maybe_done: bool, why: &str) {
        let mut record = self.0.lock();
        let server = ticket.server;
        record.note(&format!("c{client} s{server} ! {why}"));
        if maybe_done {
            record.counts.unknown += 1;
        } else {
            record.counts.refused += 1;
        }
    }

    /// Faults are over.
    pub fn healed(&self) {
        let mut record = self.0.lock();
        record.healed_ns = Some(record.now());
        record.note("healed");
    }

    /// Whether a write that was sent after the faults was acknowledged: then a leader stands, whatever servers believe.
    pub fn works(&self) -> bool {
        self.0.lock().works
    }

    /// Adds a call on a group of keys.
    pub fn kv(&self, group: usize, ticket: Ticket, returned: Option<u64>, op: KvOp) {
        let mut record = self.0.lock();
        let is_write = matches!(op, KvOp::Put(..) | KvOp::Delete(_));
        let after = record.healed_ns.is_some_and(|healed| healed < ticket.at_ns);
        record.works |= is_write && after && returned.is_some();
        record.kv.push((
            group,
            Call {
                invoked: ticket.invoked,
                returned,
                op,
            },
        ));
    }

    /// Adds a write that was begun (and perhaps acknowledged).
    pub fn written(&self, key: &str, version: Version, ticket: Ticket, acknowledged: Option<u64>) {
        self.0.lock().written.push(Written {
            key: key.to_owned(),
            version,
            invoked: ticket.invoked,
            acknowledged,
        });
    }

    /// Adds what an answer said of a key. Answers of a server that restarted meanwhile say nothing of "going back".
    pub fn observed(
        &self,
        key: &str,
        ticket: Ticket,
        returned: u64,
        linearizable: bool,
        index: u64,
        found: Option<Found>,
    ) {
        let mut record = self.0.lock();
        if record.boots[ticket.server] != ticket.boot && !linearizable {
            return;
        }
        record.seen.push(Observation {
            key: key.to_owned(),
            invoked: ticket.invoked,
            returned,
            server: ticket.server,
            boot: ticket.boot,
            linearizable,
            index,
            found,
        });
    }

    /// Adds a call on a lock key.
    pub fn lock(&self, key: usize, ticket: Ticket, returned: Option<u64>, op: LockCall) {
        self.0.lock().locks.push((
            key,
            Call {
                invoked: ticket.invoked,
                returned,
                op,
            },
        ));
    }

    /// A session was created. Gives its number.
    pub fn session(&self, life: Life, deletes: bool) -> usize {
        let mut record = self.0.lock();
        record.lives.push(life);
        record.deletes.push(deletes);
        record.lives.len() - 1
    }

    /// Changes what is known of a session.
    pub fn life(&self, session: usize, change: impl FnOnce(&mut Life)) {
        change(&mut self.0.lock().lives[session]);
    }

    /// A destroy of this session is about to be sent.
    pub fn will_destroy(&self, session: usize) {
        let mut record = self.0.lock();
        let now = record.now();
        record.lives[session].destroyed.push(now);
    }

    /// How many sessions there were so far.
    pub fn sessions(&self) -> usize {
        self.0.lock().lives.len()
    }

    /// The id of a session.
    pub fn session_id(&self, number: usize) -> String {
        self.0.lock().lives[number].id.clone()
    }

    /// The number of a session by its id.
    pub fn session_number(&self, id: &str) -> Option<usize> {
        self.0.lock().lives.iter().position(|life| life.id == id)
    }

    /// A lock was taken.
    pub fn taken(&self, mut taken: Taken) {
        let mut record = self.0.lock();
        let late = (taken.key, taken.session);
        taken.released |= record.late_releases.contains(&late);
        record.taken.push(taken);
    }

    /// A release had no answer: it may be done after the session has taken the lock again.
    pub fn may_release_later(&self, key: usize, session: usize) {
        self.0.lock().late_releases.push((key, session));
    }

    /// A session is about to give a lock back.
    pub fn releases(&self, key: usize, session: usize) {
        let mut record = self.0.lock();
        for taken in &mut record.taken {
            taken.released |= taken.key == key && taken.session == session;
        }
    }

    /// Something is wrong that no checker of histories would find.
    pub fn wrong(&self, words: String) {
        let mut record = self.0.lock();
        record.note(&format!("WRONG {words}"));
        record.wrong.push(words);
    }

    /// Everything that is wrong with the run. `calm_from_ns`: faults were over and a leader stood.
    pub fn verdict(&self, calm_from_ns: u64) -> Vec<String> {
        let record = self.0.lock();
        let mut wrong = record.wrong.clone();
        wrong.extend(stale::check(&record.seen, &record.written));
        for (group, keys) in GROUPS.iter().enumerate() {
            let calls: Vec<Call<KvOp>> = calls_of(&record.kv, group);
            push(
                &mut wrong,
                &format!("keys {keys:?}"),
                check(&Keys(keys.len()), &calls),
            );
        }
        for (key, name) in LOCKS.iter().enumerate() {
            match record.lock_history(key) {
                Ok(calls) => push(&mut wrong, &format!("lock {name}"), check(&Lock, &calls)),
                Err(words) => wrong.push(words),
            }
        }
        for life in &record.lives {
            wrong.extend(life.check(calm_from_ns));
        }
        wrong.extend(ttl::check_lock_delays(&record.lives, &record.taken));
        wrong
    }

    /// The trace's hash.
    pub fn trace(&self) -> u64 {
        self.0.lock().trace
    }

    /// The trace's lines, if they were kept.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().lines.clone().unwrap_or_default()
    }

    /// How much was done.
    pub fn counts(&self) -> Counts {
        self.0.lock().counts
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn push(wrong: &mut Vec<String>, what: &str, verdict: Verdict) {
    match verdict {
        Verdict::Linearizable => {}
        Verdict::Violation(words) => wrong.push(format!("{what}: not linearizable: {words}")),
        Verdict::Undecided(words) => wrong.push(format!("{what}: undecided: {words}")),
    }
}

fn calls_of<Op: Clone>(calls: &[(usize, Call<Op>)], of: usize) -> Vec<Call<Op>> {
    calls
        .iter()
        .filter(|(group, _)| *group == of)
        .map(|(_, call)| call.clone())
        .collect()
}

impl Record {
    fn next(&mut self) -> u64 {
        self.position += 1;
        self.position
    }

    /// Simulated time: of the host that runs, else as the driver set it.
    fn now(&self) -> u64 {
        #[cfg(feature = "sim")]
        if let Some(now) = turmoil::sim_elapsed() {
            return nanoseconds(now);
        }
        self.now_ns
    }

    fn note(&mut self, line: &str) {
        let line = format!("{:>9} {line}", self.now() / 1000);
        let hash = u64::from(crc32fast::hash(line.as_bytes()));
        self.trace = (self.trace.rotate_left(21) ^ hash).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        if let Some(lines) = &mut self.lines {
            lines.push(line);
        }
    }

    /// The calls on one lock key, with the sessions that use it numbered from 0 and their possible ends.
    fn lock_history(&self, key: usize) -> Result<Vec<Call<LockOp>>, String> {
        let calls: Vec<Call<LockCall>> = calls_of(&self.locks, key);
        let mut used: Vec<usize> = calls
            .iter()
            .filter_map(|call| match &call.op {
                LockCall::Acquire(session, ..) | LockCall::Release(session, ..) => Some(*session),
                LockCall::Get(_) => None,
            })
            .collect();
        used.sort_unstable();
        used.dedup();
        if used.len() > SESSIONS_MAX as usize {
            return Err(format!(
                "lock {}: {} sessions, the model takes {SESSIONS_MAX}",
                LOCKS[key],
                used.len()
            ));
        }
        let number = |session: usize| {
            let found = used.binary_search(&session).ok()?;
            u32::try_from(found).ok()
        };
        let mut history = Vec::new();
        for call in &calls {
            let op = match &call.op {
                LockCall::Acquire(session, version, seen) => LockOp::Acquire {
                    session: number(*session).unwrap_or(u32::MAX),
                    version: *version,
                    seen: *seen,
                },
                LockCall::Release(session, version, seen) => LockOp::Release {
                    session: number(*session).unwrap_or(u32::MAX),
                    version: *version,
                    seen: *seen,
                },
                LockCall::Get(None) => LockOp::Get(None),
                LockCall::Get(Some((version, holder, lock_index))) => {
                    let holder = match holder {
                        None => None,
                        Some(session) => Some(number(*session).ok_or_else(|| {
                            format!("lock {}: held by a session that never asked", LOCKS[key])
                        })?),
                    };
                    LockOp::Get(Some(Seen {
                        version: *version,
                        holder,
                        lock_index: *lock_index,
                    }))
                }
            };
            history.push(Call {
                invoked: call.invoked,
                returned: call.returned,
                op,
            });
        }
        for (position, session) in used.iter().enumerate() {
            history.push(Call {
                invoked: 0,
                returned: None,
                op: LockOp::End {
                    session: u32::try_from(position).unwrap_or(u32::MAX),
                    deletes: self.deletes[*session],
                    delays: self.lives[*session].lock_delay_ns > 0,
                },
            });
        }
        Ok(history)
    }
}

#[cfg(test)]
mod tests;
