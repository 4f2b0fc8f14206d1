//! kill -9 while writers write: every acknowledged write is there afterwards, on every server.
//!
//! A write is acknowledged when its answer is `true`; one that failed or was not answered may or may not be there. Each
//! write has a key of its own, so that one that was lost can't hide behind a later one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use harness::level::rounds;
use harness::{Cluster, Connection, Request, wait_for};
use std::net::SocketAddr;

/// As many as the servers have on two cores without the harness taking part in the race.
const WRITERS: usize = 4;
/// Acknowledged writes between two kills, at least.
const WRITES_BETWEEN: usize = 100;
/// The remaining two elect a leader and go on within this.
const GO_ON_BOUND: Duration = Duration::from_secs(60);
/// A writer gives up on a server that does not answer, and goes to the next.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

type Acknowledged = Arc<Mutex<BTreeMap<String, String>>>;

/// Clients that write without a pause, each to one server until it fails, then to the next.
struct Writers {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    acknowledged: Acknowledged,
    threads: Vec<JoinHandle<()>>,
}

impl Writers {
    /// `name` keeps the keys of several generations of writers apart.
    fn start(name: &str, addresses: &[SocketAddr]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let count = Arc::new(AtomicUsize::new(0));
        let acknowledged = Acknowledged::default();
        let threads = (0..WRITERS).map(|writer| {
            let (stop, count, name) = (Arc::clone(&stop), Arc::clone(&count), name.to_owned());
            let (acknowledged, addresses) = (Arc::clone(&acknowledged), addresses.to_vec());
            std::thread::spawn(move || {
                let mut server = writer;
                let mut connection = None;
                for number in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let (key, value) = (
                        format!("kill/{name}/{writer}/{number}"),
                        format!("{writer}-{number}"),
                    );
                    let address = addresses[server % addresses.len()];
                    if connection.is_none() {
                        connection = connect(address);
                    }
                    let request = Request::new("PUT", &format!("/v1/kv/{key}")).body(value.clone());
                    let answer = connection
                        .as_mut()
                        .and_then(|connection| connection.send(&request).ok());
                    match answer {
                        Some(answer) if answer.status == 200 && answer.text().contains("true") => {
                            acknowledged
                                .lock()
                                .unwrap_or_else(PoisonError::into_inner)
                                .insert(key, value);
                            count.fetch_add(1, Ordering::SeqCst);
                        }
                        _ => {
                            connection = None;
                            server += 1;
                        }
                    }
                }
            })
        });
        let threads = threads.collect();
        Self {
            stop,
            count,
            acknowledged,
            threads,
        }
    }

    /// Waits until so many more writes were acknowledged.
    fn wait_for_more(&self, more: usize) {
        let begin = self.count.load(Ordering::SeqCst);
        wait_for(
            &format!("{more} more acknowledged writes"),
            GO_ON_BOUND,
            || {
                let count = self.count.load(Ordering::SeqCst) - begin;
                if count >= more {
                    Ok(())
                } else {
                    Err(format!("{count}"))
                }
            },
        );
    }

    fn finish(self) -> BTreeMap<String, String> {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().expect("a writer must not panic");
        }
        std::mem::take(
            &mut self
                .acknowledged
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

fn connect(address: SocketAddr) -> Option<Connection> {
    let connection = Connection::open(address).ok()?;
    connection.set_timeout(WRITE_TIMEOUT).ok()?;
    Some(connection)
}

/// Every acknowledged write, read from each server's own state and once more through a quorum.
fn assert_all_are_there(cluster: &Cluster, acknowledged: &BTreeMap<String, String>) {
    for server in &cluster.servers {
        for how in ["stale", "consistent"] {
            let rows = server.get(&format!("/v1/kv/kill/?recurse&{how}")).json();
            let rows = rows.as_array().expect("a listing must be an array");
            let found: BTreeMap<&str, &str> = rows
                .iter()
                .map(|row| {
                    (
                        row["Key"].as_str().unwrap_or_default(),
                        row["Value"].as_str().unwrap_or_default(),
                    )
                })
                .collect();
            let lost: Vec<_> = acknowledged
                .iter()
                .filter(|(key, value)| {
                    found.get(key.as_str()) != Some(&BASE64.encode(value).as_str())
                })
                .collect();
            assert!(
                lost.is_empty(),
                "{} has lost {} of {} acknowledged writes (?{how}), the first: {:?}",
                server.settings.node_name,
                lost.len(),
                acknowledged.len(),
                lost[0]
            );
        }
    }
}

#[test]
fn one_victim_at_a_time_loses_no_acknowledged_write() {
    let mut cluster = Cluster::start();
    let addresses: Vec<SocketAddr> = cluster.servers.iter().map(harness::Server::http).collect();
    let writers = Writers::start("one", &addresses);
    for round in 0..rounds(8, 30) {
        writers.wait_for_more(WRITES_BETWEEN);
        // Every other victim is the leader.
        let leader = cluster.leader();
        let victim = if round % 2 == 0 {
            leader
        } else {
            (leader + 1 + round / 2 % 2) % 3
        };
        cluster.servers[victim].kill();
        writers.wait_for_more(WRITES_BETWEEN);
        cluster.servers[victim].start_and_wait();
        cluster.wait_until_caught_up();
        println!("round {round}: server {victim} killed (leader {leader}) and back");
    }
    let acknowledged = writers.finish();
    cluster.wait_until_caught_up();
    assert_all_are_there(&cluster, &acknowledged);
    println!("{} acknowledged writes, all there", acknowledged.len());
}

#[test]
fn all_three_at_once_lose_no_acknowledged_write() {
    let mut cluster = Cluster::start();
    let addresses: Vec<SocketAddr> = cluster.servers.iter().map(harness::Server::http).collect();
    let mut all = BTreeMap::new();
    for round in 0..rounds(3, 10) {
        let writers = Writers::start(&format!("all-{round}"), &addresses);
        writers.wait_for_more(WRITES_BETWEEN);
        // One signal after the other without waiting for any: as near to one moment as it gets.
        for server in &cluster.servers {
            server.signal(rustix::process::Signal::KILL);
        }
        let acknowledged = writers.finish();
        for server in &mut cluster.servers {
            server.kill();
        }
        for server in &mut cluster.servers {
            server.start();
        }
        cluster.wait_until_all_answer();
        cluster.wait_until_caught_up();
        all.extend(acknowledged);
        assert_all_are_there(&cluster, &all);
        println!(
            "round {round}: {} acknowledged writes, all there",
            all.len()
        );
    }
}
