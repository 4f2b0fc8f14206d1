//! Scenes that seeds found by chance, played on purpose: each a bug that was mended, named as what must be true.
//!
//! `rollcall-sim --stories` plays them all. A story fails as well when its scene does not come about: then it shows nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use parking_lot::Mutex;
use rollcall_server::raft::SnapshotLimits;
use rollcall_server::rt::{self, sim::SimRuntime};
use rollcall_server::run::StartOptions;
use rollcall_server::sabotage::Sabotage;

use crate::client::{Answer, Client, Failure};
use crate::cluster::{CLIENT_HOSTS, Cluster};
use crate::faults::Crash;
use crate::history::Recorder;
use crate::scenario::align_task_ids;

/// A story: `Err` says what was not as it must be.
pub type Story = fn() -> Result<(), String>;

/// All of them, by name.
pub const STORIES: &[(&str, Story)] = &[
    (
        "a_renewal_is_never_answered_gone_while_an_end_is_only_proposed",
        a_renewal_is_never_answered_gone_while_an_end_is_only_proposed,
    ),
    (
        "a_server_that_falls_mute_for_a_while_catches_up_while_writes_go_on",
        a_server_that_falls_mute_for_a_while_catches_up_while_writes_go_on,
    ),
    (
        "a_machine_that_died_while_it_took_a_snapshot_gets_another_when_it_is_back",
        a_machine_that_died_while_it_took_a_snapshot_gets_another_when_it_is_back,
    ),
    (
        "a_leader_that_died_while_it_sent_a_snapshot_leaves_its_place_to_the_next",
        a_leader_that_died_while_it_sent_a_snapshot_leaves_its_place_to_the_next,
    ),
];

/// A request is asked again so often while there is no leader.
const TRIES: usize = 20;
/// What came about shows nothing.
const NO_SCENE: &str = "no scene";

/// An election with bad luck, and what clients notice of it.
const SOON: Duration = Duration::from_secs(8);

/// 1. A session's TTL runs out (after 12.5 s of 10); its leader proposes the end, and no other disk has it yet.
/// 2. The session is renewed. The end may still come to nothing, so "gone" would be a promise nobody can keep.
/// 3. The leader dies. Whether the end outlives it shows when the next leader answers, and then it stays so.
fn a_renewal_is_never_answered_gone_while_an_end_is_only_proposed() -> Result<(), String> {
    // How long a slow disk takes is the seed's: at times it is quick, and there is no scene.
    let played = (0..5).map(renew_while_an_end_is_proposed);
    let mut played =
        played.skip_while(|told| matches!(told, Err(words) if words.starts_with(NO_SCENE)));
    played.next().unwrap_or_else(|| Err(NO_SCENE.to_owned()))
}

fn renew_while_an_end_is_proposed(seed: u64) -> Result<(), String> {
    let mut stage = Stage::new(seed)?;
    let (leader, followers) = stage.roles()?;
    let created = stage.ask(
        followers[0],
        Method::PUT,
        "/v1/session/create",
        r#"{"TTL":"10s","NodeChecks":[]}"#,
    );
    let created = stage.answer(&created)?.text();
    let id = created.split('"').nth(3).ok_or("no session")?.to_owned();
    stage.pass(Duration::from_secs(12));
    for follower in &followers {
        stage.cluster.slow_disk(*follower, 4_000);
    }
    // A quarter of the TTL more, and the way to the followers.
    stage.pass(Duration::from_millis(600));
    let renew = format!("/v1/session/renew/{id}");
    let early = stage.ask(followers[0], Method::PUT, &renew, "");
    stage.pass(Duration::from_millis(200));
    let state = stage
        .cluster
        .view(leader)
        .ok_or("the leader is down")?
        .state;
    if state.session(&id).value.is_none() {
        return Err(format!(
            "{NO_SCENE}: the end was applied before the leader died"
        ));
    }
    if matches!(&*early.lock(), Some(Ok(answer)) if answer.status == 404) {
        return Err("answered gone, and the end was only proposed".to_owned());
    }
    let crash = machine_dies(Duration::from_secs(60));
    stage.cluster.crash(leader, crash);
    for follower in &followers {
        stage.cluster.slow_disk(*follower, 0);
    }
    // Meanwhile it may have any answer: the next leader's, or none.
    let _ = stage.answer(&early);
    let alive = stage.first_status(followers[1], Method::PUT, &renew, &[200, 404])? == 200;
    let info = format!("/v1/session/info/{id}");
    for follower in &followers {
        let shown = stage.ask(*follower, Method::GET, &info, "");
        let shown = stage.answer(&shown)?.text();
        if (shown != "[]") != alive {
            return Err(format!("renewed: {alive}, and then shown as {shown}"));
        }
    }
    stage.nothing_wrong()
}

/// 1. A follower falls mute: it takes everything on connections that stay open, and nothing it says arrives.
/// 2. Writes go on, so that there is always something more to send to it.
/// 3. The network heals, but answers that were lost do not come again on the old connection.
fn a_server_that_falls_mute_for_a_while_catches_up_while_writes_go_on() -> Result<(), String> {
    let mut stage = Stage::new(5)?;
    let (leader, followers) = stage.roles()?;
    let mute = followers[0];
    let others = (0..5).filter(|host| *host != mute);
    let silenced = others.map(|other| (mute, other)).collect();
    stage.cluster.block(silenced);
    stage.write(leader, 40)?;
    stage.cluster.block(Default::default());
    let writes = stage.keep_writing(leader, Duration::from_millis(20), 400);
    let at = stage.index(leader)?;
    stage.until("the mute server has what it missed", SOON, |cluster| {
        cluster
            .view(mute)
            .is_some_and(|view| view.state.index() >= at)
    })?;
    if writes.lock().is_some() {
        return Err(format!("{NO_SCENE}: the writes were over"));
    }
    stage.nothing_wrong()
}

/// 1. A server was away for so long that the log it needs is gone: the leader sends a snapshot.
/// 2. Its machine dies while it takes it: no word on the connection.
/// 3. It is back a moment later, and must not wait for the leader to notice by a time-out of minutes.
fn a_machine_that_died_while_it_took_a_snapshot_gets_another_when_it_is_back() -> Result<(), String>
{
    let mut stage = Stage::new(7)?;
    let (leader, followers) = stage.roles()?;
    let away = followers[0];
    stage.until_it_takes_a_snapshot(leader, away)?;
    stage
        .cluster
        .crash(away, machine_dies(Duration::from_millis(50)));
    stage.must_catch_up(leader, away)
}

/// 1. A server was away for so long that the log it needs is gone: the leader sends a snapshot.
/// 2. The leader's machine dies meanwhile: no word on the connection.
/// 3. The next leader sends one too, and must find the place free.
fn a_leader_that_died_while_it_sent_a_snapshot_leaves_its_place_to_the_next() -> Result<(), String>
{
    let mut stage = Stage::new(9)?;
    let (leader, followers) = stage.roles()?;
    let away = followers[0];
    stage.until_it_takes_a_snapshot(leader, away)?;
    stage
        .cluster
        .crash(leader, machine_dies(Duration::from_secs(60)));
    stage.must_catch_up(followers[1], away)
}

fn machine_dies(down: Duration) -> Crash {
    Crash {
        down,
        silent: true,
        at_operation: 0,
    }
}

/// What became of a request.
type Asked = Arc<Mutex<Option<Result<Answer, Failure>>>>;

/// Three servers that agree, and nothing wrong but what the story does.
struct Stage {
    cluster: Cluster<'static>,
    asked: u64,
}

impl Stage {
    fn new(seed: u64) -> Result<Stage, String> {
        align_task_ids();
        let sim = turmoil::Builder::new()
            .rng_seed(seed)
            .simulation_duration(Duration::from_secs(300))
            .tick_duration(Duration::from_millis(1))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(4))
            .tcp_capacity(4096)
            .build();
        let options = StartOptions {
            sabotage: Sabotage::default(),
            snapshot_limits: Some(SnapshotLimits {
                log_bytes: 1 << 20,
                log_entries: 120,
                keep_entries: 30,
                keep_bytes: 1 << 20,
            }),
            ..StartOptions::default()
        };
        let starts = [Duration::ZERO; 3];
        let recorder = Recorder::new(starts.len(), false);
        let mut cluster = Cluster::new(sim, seed, recorder, &starts, &options);
        for name in CLIENT_HOSTS {
            // Nobody is there, but links lead to it.
            cluster.sim.client(name, std::future::pending());
        }
        let mut stage = Stage { cluster, asked: 0 };
        stage.until("a leader stands", SOON, |cluster| cluster.stands())?;
        let first = stage.ask(0, Method::PUT, "/v1/kv/first", "1");
        stage.answer(&first)?;
        // Until the servers' own nodes are there.
        stage.pass(Duration::from_secs(2));
        Ok(stage)
    }

    /// The leader and the others.
    fn roles(&mut self) -> Result<(usize, Vec<usize>), String> {
        let leader = self.cluster.leader().ok_or("nobody leads")?;
        let others = (0..self.cluster.len()).filter(|number| *number != leader);
        Ok((leader, others.collect()))
    }

    fn pass(&mut self, time: Duration) {
        let end = self.cluster.now() + time;
        while self.cluster.now() < end {
            self.cluster.step();
        }
    }

    fn until(
        &mut self,
        what: &str,
        at_most: Duration,
        mut holds: impl FnMut(&Cluster<'_>) -> bool,
    ) -> Result<(), String> {
        let end = self.cluster.now() + at_most;
        while self.cluster.now() < end {
            if holds(&self.cluster) {
                return Ok(());
            }
            self.cluster.step();
        }
        Err(format!("not within {at_most:?}: {what}"))
    }

    fn index(&self, server: usize) -> Result<u64, String> {
        let view = self.cluster.view(server).ok_or("it is down")?;
        Ok(view.state.index())
    }

    fn client(&mut self, work: impl Future<Output = ()> + 'static) {
        self.asked += 1;
        let name = format!("client-{}", self.asked);
        let work = async move {
            work.await;
            Ok(())
        };
        let host = SimRuntime::host(self.asked, Arc::default(), work);
        self.cluster.sim.client(name, host);
    }

    /// Sends a request and goes on.
    fn ask(&mut self, server: usize, method: Method, path: &str, body: &'static str) -> Asked {
        let asked = Asked::default();
        let answer = Arc::clone(&asked);
        let address = self.cluster.http_addresses()[server];
        let path = path.to_owned();
        self.client(async move {
            let body = Bytes::from_static(body.as_bytes());
            let mut client = Client::new(address);
            let answered = client.call(method, &path, body, SOON).await;
            *answer.lock() = Some(answered);
        });
        asked
    }

    fn answer(&mut self, asked: &Asked) -> Result<Answer, String> {
        let answered = Arc::clone(asked);
        self.until("an answer", 2 * SOON, move |_| answered.lock().is_some())?;
        let answer = asked.lock().take().ok_or("no answer")?;
        answer.map_err(|failure| format!("{failure:?}"))
    }

    /// Asks again until one of these statuses comes.
    fn first_status(
        &mut self,
        server: usize,
        method: Method,
        path: &str,
        wanted: &[u16],
    ) -> Result<u16, String> {
        let mut last = String::new();
        for _ in 0..TRIES {
            let asked = self.ask(server, method.clone(), path, "");
            last = match self.answer(&asked) {
                Ok(answer) if wanted.contains(&answer.status) => return Ok(answer.status),
                Ok(answer) => format!("{} {}", answer.status, answer.text()),
                Err(failure) => failure,
            };
        }
        Err(format!("{method} {path}: {last}"))
    }

    /// Writes one after the other, a pause apart; the cell is filled when all are answered.
    fn keep_writing(&mut self, server: usize, pause: Duration, count: u32) -> Asked {
        let asked = Asked::default();
        let last = Arc::clone(&asked);
        let address = self.cluster.http_addresses()[server];
        self.client(async move {
            let mut client = Client::new(address);
            let mut answer = Err(Failure::NotSent);
            for number in 0..count {
                let path = format!("/v1/kv/w/{}", number % 10);
                let body = Bytes::from_static(b"w");
                answer = client.call(Method::PUT, &path, body, SOON).await;
                rt::sleep(pause).await;
            }
            *last.lock() = Some(answer);
        });
        asked
    }

    fn write(&mut self, server: usize, count: u32) -> Result<(), String> {
        let written = self.keep_writing(server, Duration::ZERO, count);
        let answer = self.answer(&written)?;
        match answer.status {
            200 => Ok(()),
            status => Err(format!("writes failed: {status} {}", answer.text())),
        }
    }

    /// Takes `away` down, writes until its part of the log is gone, and brings it back into the middle of a snapshot.
    fn until_it_takes_a_snapshot(&mut self, leader: usize, away: usize) -> Result<(), String> {
        let down = Duration::from_secs(30);
        let crash = Crash {
            down,
            silent: false,
            at_operation: 0,
        };
        self.cluster.crash(away, crash);
        self.write(leader, 400)?;
        let arrives = |name: &str| name.starts_with("snapshot-") && name.ends_with(".tmp");
        self.until("it takes a snapshot", down + SOON, |cluster| {
            cluster.has_file(away, arrives)
        })
    }

    fn must_catch_up(&mut self, witness: usize, away: usize) -> Result<(), String> {
        let at = self.index(witness)?;
        self.until("it has caught up", SOON, |cluster| {
            cluster
                .view(away)
                .is_some_and(|view| view.state.index() >= at)
        })?;
        self.nothing_wrong()
    }

    fn nothing_wrong(&self) -> Result<(), String> {
        let wrong = self.cluster.recorder.verdict(u64::MAX);
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(wrong.join("; ")),
        }
    }
}
