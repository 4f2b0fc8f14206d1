//! The story of a lock whose holder dies, told once for every client.
//!
//! ```text
//! holder   ── acquires ── renews ── (leader moves) ── renews ─ kill -9
//! leader                                                        kill -9         moves
//! lock     ────────────────── held ──────────────────── TTL .. 2 TTL ── free ── lock-delay ──
//! others   ── wait ───────────────────────────────────────────────────────────────────────── one after the other
//! ```
//! Times are taken here, from the lines the programs write: a line is read a little after what it tells of, hence
//! [`SLACK`].

use std::time::{Duration, Instant};

use crate::client::{Client, Running};
use crate::{Cluster, Request, Server, wait_for};

/// The shortest TTL that Consul allows.
const TTL: Duration = Duration::from_secs(10);
/// Short, but longer than a change of the leader.
const LOCK_DELAY: Duration = Duration::from_secs(3);
/// How late a line may be read, and a poll be answered, on a busy machine.
const SLACK: Duration = Duration::from_millis(400);
/// Consul's own client waits 5 s after it was refused because of the lock-delay, and then tries again.
const RETRY_BOUND: Duration = Duration::from_secs(12);
/// Programs start, find a session and take a free lock within this.
const ACQUIRE_BOUND: Duration = Duration::from_secs(60);

const KEY: &str = "story/lock";

fn start(client: Client, command: &str, server: &Server, name: &str) -> Running {
    let address = server.http().to_string();
    let (ttl, delay) = (TTL.as_secs().to_string(), LOCK_DELAY.as_secs().to_string());
    client.start(&[command, &address, KEY, name, &ttl, &delay])
}

/// Who holds the lock, as the server's own state has it.
fn holder_of(server: &Server) -> Result<Option<String>, String> {
    let answer = server.try_send(&Request::new("GET", &format!("/v1/kv/{KEY}?stale")));
    let answer = answer.map_err(|error| error.to_string())?;
    match answer.status {
        200 => Ok(answer.json()[0]["Session"].as_str().map(str::to_owned)),
        404 => Ok(None),
        status => Err(format!("{status} {}", answer.text())),
    }
}

fn count(running: &Running, word: &str) -> usize {
    running
        .said()
        .iter()
        .filter(|said| said.line.starts_with(word))
        .count()
}

/// Tells the whole story; `holding` is the client that dies, the others are the ones that wait.
///
/// # Panics
/// When the story goes otherwise.
pub fn a_killed_holder_loses_its_lock_in_time(holding: Client, waiting: [Client; 2]) {
    let mut cluster = Cluster::start();
    let mut holder = start(holding, "hold", &cluster.servers[0], "holder");
    holder.wait_for_line("acquired", 0, ACQUIRE_BOUND);
    // The client heard it from the leader; this server's own state may be a moment behind.
    let session = wait_for("the holder's session on the key", ACQUIRE_BOUND, || {
        holder_of(&cluster.servers[0])?.ok_or_else(|| "no session".to_owned())
    });
    let session = Some(session);
    let others = waiting.map(|client| {
        start(
            client,
            "contend",
            &cluster.servers[1],
            &format!("{client:?}"),
        )
    });

    // The leader changes under a living holder: it keeps the lock. The last leader is one that no program talks to.
    if cluster.leader() == 2 {
        cluster.make_leader(1);
    }
    cluster.make_leader(2);
    let renewals = count(&holder, "renewed");
    wait_for(
        "the holder to renew with the new leader",
        ACQUIRE_BOUND,
        || {
            let now = count(&holder, "renewed");
            if now > renewals {
                Ok(())
            } else {
                Err(format!("{now} renewals"))
            }
        },
    );
    assert_eq!(
        holder_of(&cluster.servers[0]),
        Ok(session.clone()),
        "the lock has changed hands"
    );

    holder.kill();
    let renewed = holder
        .last_line("renewed")
        .expect("it must have renewed")
        .at;
    cluster.servers[2].kill();
    let freed = wait_until_free(&cluster.servers[..2], session.as_deref());
    let held_on = freed - renewed;
    assert!(
        held_on + SLACK >= TTL,
        "free {held_on:?} after the last renewal, before the TTL of {TTL:?}"
    );
    assert!(
        held_on <= 2 * TTL + SLACK,
        "free only {held_on:?} after the last renewal, TTL {TTL:?}"
    );

    // The lock-delay runs on across another change of the leader.
    let leader = cluster.leader();
    cluster.make_leader(1 - leader);
    cluster.servers[2].start();
    let (first, after) = wait_for("another to get the lock", LOCK_DELAY + RETRY_BOUND, || {
        let got = others
            .iter()
            .position(|other| other.last_line("acquired").is_some());
        let index = got.ok_or_else(|| "nobody has it".to_owned())?;
        let said = others[index]
            .last_line("acquired")
            .expect("it was there a moment ago");
        Ok((index, said.at - freed))
    });
    assert!(
        after + SLACK >= LOCK_DELAY,
        "{:?} got the lock {after:?} after it was free; the lock-delay is {LOCK_DELAY:?}",
        waiting[first]
    );
    never_two_holders(&others);
    println!(
        "{holding:?}: free {held_on:?} after the last renewal, taken by {:?} {after:?} later",
        waiting[first]
    );
}

/// When the first of these servers has seen the lock free: one of them leads, and the other hears of it later.
fn wait_until_free(servers: &[Server], session: Option<&str>) -> Instant {
    wait_for("the lock to be free", 3 * TTL, || {
        let holders: Vec<_> = servers.iter().map(holder_of).collect();
        for holder in holders.iter().flatten() {
            match holder {
                None => return Ok(Instant::now()),
                Some(other) if Some(other.as_str()) != session => {
                    panic!("{other} has the lock of {session:?}, which was never seen free")
                }
                Some(_) => {}
            }
        }
        Err(format!("{holders:?}"))
    })
}

/// Each says "acquired" after it was acknowledged and "released" before it asks to release, so what is between lies
/// within the true time of holding: two of these must not overlap.
///
/// # Panics
/// When two overlap, or one never gets the lock.
pub fn never_two_holders(programs: &[Running]) {
    let mut times = Vec::new();
    for program in programs {
        let (line, begin) = program.wait_for_line("acquired", 0, ACQUIRE_BOUND);
        let (_, end) = program.wait_for_line("released", line, ACQUIRE_BOUND);
        times.push((begin.at, end.at));
    }
    times.sort();
    for pair in times.windows(2) {
        assert!(
            pair[0].1 <= pair[1].0,
            "two held the lock at once: {times:?}"
        );
    }
}
