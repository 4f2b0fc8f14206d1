//! Debian's Patroni with PostgreSQL over the real binary: a leader is elected, killed, and replaced, through our sessions and KV.
//!
//! ```text
//! first   ── initialises ── leads, takes a row ── kill -9, with its PostgreSQL
//! second           ── copies ── follows ───────────── session ends ── leads, has the row, takes another
//! catalog      master: first, replica: second                         master: second
//! ```
//! Both speak to a server of their own, of three. Patroni registers itself as a service with HTTP checks there, so a server's
//! half as agent is part of the story.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::program::{Program, installed};
use harness::server::{free_port, loopback_address};
use harness::{Cluster, Request, Server, wait_for};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::{Value, json};

/// Patroni's; it halves it for the session, since Consul ends a session as late as after twice its TTL. The smallest it takes.
const TTL: Duration = Duration::from_secs(20);
/// PostgreSQL is initialised, copied and started within this on a busy machine.
const START_BOUND: Duration = Duration::from_secs(120);
/// After its TTL and a few rounds of Patroni the other leads.
const REPLACE_BOUND: Duration = Duration::from_secs(40);
const SCOPE: &str = "accounts";

struct Postgres {
    name: &'static str,
    ip: IpAddr,
    port: u16,
    data: PathBuf,
    programs: PathBuf,
    patroni: Program,
}

/// PostgreSQL does not run as root: there its own user runs it, who must be able to reach its directory.
fn as_postgres(program: impl Into<PathBuf>) -> Command {
    let program = program.into();
    if !geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--init-groups"])
        .arg(program);
    command
}

impl Postgres {
    fn start(name: &'static str, last: u8, server: &Server, cluster: &Cluster) -> Self {
        let programs = installed("patroni");
        let ip = loopback_address(last);
        let (port, api_port) = (free_port(ip), free_port(ip));
        let directory = cluster.scratch.path().join(name);
        fs::create_dir(&directory).expect("the test's directory must be writable");
        if geteuid().is_root() {
            let owned = Command::new("chown")
                .arg("postgres")
                .arg(&directory)
                .status();
            assert!(owned.is_ok_and(|status| status.success()), "chown postgres");
        }
        let data = directory.join("data");
        let trusted = [
            "host all all 127.0.0.0/8 trust",
            "host replication all 127.0.0.0/8 trust",
        ];
        let settings = json!({
            "listen": format!("{ip}:{port}"),
            "connect_address": format!("{ip}:{port}"),
            "data_dir": data,
            "bin_dir": programs,
            "pgpass": directory.join("pgpass"),
            "authentication": {
                "superuser": { "username": "super", "password": "none" },
                "replication": { "username": "copier", "password": "none" },
            },
            "pg_hba": trusted,
            "parameters": {
                "unix_socket_directories": directory,
                // What is tested is who leads, not what survives the power supply.
                "fsync": "off",
                "shared_buffers": "16MB",
            },
        });
        let document = json!({
            "scope": SCOPE,
            "name": name,
            "restapi": { "listen": format!("{ip}:{api_port}"), "connect_address": format!("{ip}:{api_port}") },
            "consul": {
                "host": server.http().to_string(),
                "register_service": true,
                "service_check_interval": "1s",
                "service_tags": ["sql"],
            },
            "bootstrap": {
                "dcs": { "ttl": TTL.as_secs(), "loop_wait": 1, "retry_timeout": 3 },
                "initdb": [{ "encoding": "UTF8" }, { "locale": "C" }, "no-sync"],
            },
            "postgresql": settings,
        });
        let config = directory.join("patroni.yml");
        fs::write(&config, document.to_string()).expect("the test's directory must be writable");
        let mut command = as_postgres("/usr/bin/patroni");
        command.arg(&config).current_dir(&directory);
        let patroni = Program::start(name, command, cluster.scratch.path());
        Self {
            name,
            ip,
            port,
            data,
            programs,
            patroni,
        }
    }

    /// What `psql` says.
    fn ask(&self, sql: &str) -> Result<String, String> {
        let output = Command::new(self.programs.join("psql"))
            .args(["-XAtq", "-U", "super", "-d", "postgres", "-c", sql])
            .args(["-h", &self.ip.to_string(), "-p", &self.port.to_string()])
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }

    /// kill -9 for Patroni and its PostgreSQL, as when a machine dies.
    fn kill(&mut self) {
        self.patroni.kill();
        let Ok(file) = fs::read_to_string(self.data.join("postmaster.pid")) else {
            return;
        };
        let number = file
            .lines()
            .next()
            .and_then(|line| line.trim().parse().ok());
        let Some(pid) = number.and_then(Pid::from_raw) else {
            return;
        };
        // The file may be older than the process that has this number now.
        let directory = fs::read_link(format!("/proc/{number}/cwd", number = pid.as_raw_nonzero()));
        if directory.is_ok_and(|directory| directory == self.data) {
            // One that has ended is as dead.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Who leads, as the key says.
fn leader(server: &Server) -> Result<String, String> {
    let path = format!("/v1/kv/service/{SCOPE}/leader?raw");
    let answer = server.try_send(&Request::new("GET", &path));
    let answer = answer.map_err(|error| error.to_string())?;
    match answer.status {
        200 => Ok(answer.text()),
        status => Err(format!("{status} {}", answer.text())),
    }
}

/// The ids of the instances with a tag whose checks all pass.
fn passing(server: &Server, tag: &str) -> Result<Vec<String>, String> {
    let path = format!("/v1/health/service/{SCOPE}?passing&tag={tag}&tag=sql");
    let answer = server.try_send(&Request::new("GET", &path));
    let answer = answer.map_err(|error| error.to_string())?;
    let rows = match answer.status {
        200 => answer.json(),
        status => return Err(format!("{status} {}", answer.text())),
    };
    let ids = rows.as_array().into_iter().flatten();
    let mut ids: Vec<String> = ids
        .filter_map(|row: &Value| row["Service"]["ID"].as_str().map(str::to_owned))
        .collect();
    ids.sort();
    Ok(ids)
}

fn wait_for_passing(server: &Server, tag: &str, names: &[&str], bound: Duration) {
    let expected: Vec<String> = names.iter().map(|name| format!("{SCOPE}/{name}")).collect();
    wait_for(&format!("{expected:?} as {tag}"), bound, || {
        let seen = passing(server, tag)?;
        if seen == expected {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        }
    });
}

fn wait_for_leader(server: &Server, name: &str, bound: Duration) {
    wait_for(&format!("{name} to lead"), bound, || {
        let seen = leader(server)?;
        if seen == name { Ok(()) } else { Err(seen) }
    });
}

#[test]
fn patroni_elects_a_leader_and_replaces_one_that_was_killed() {
    let cluster = Cluster::start();
    let [one, two, three] = &cluster.servers[..] else {
        unreachable!("a cluster has three servers")
    };
    // So that PostgreSQL's user may pass through.
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(cluster.scratch.path(), fs::Permissions::from_mode(0o755))
        .expect("the test's directory must be ours");
    let mut first = Postgres::start("first", 21, one, &cluster);
    wait_for_leader(three, first.name, START_BOUND);
    let second = Postgres::start("second", 22, two, &cluster);
    wait_for_passing(three, "master", &["first"], START_BOUND);
    wait_for_passing(three, "replica", &["second"], START_BOUND);
    wait_for("a row to be taken", START_BOUND, || {
        first.ask("create table if not exists rows as select 'before' as word")
    });
    wait_for("the row to be copied", START_BOUND, || {
        match second.ask("select word from rows")? {
            word if word == "before" => Ok(()),
            other => Err(other),
        }
    });

    first.kill();
    let killed = Instant::now();
    wait_for_leader(three, second.name, TTL + REPLACE_BOUND);
    println!("replaced {:?} after it was killed", killed.elapsed());
    wait_for("the second to take a row", START_BOUND, || {
        second.ask("insert into rows values ('after')")
    });
    let words = second.ask("select string_agg(word, ' ' order by word desc) from rows");
    assert_eq!(words.as_deref(), Ok("before after"));
    wait_for_passing(three, "master", &["second"], START_BOUND);
    assert_eq!(passing(three, "replica"), Ok(Vec::new()));
}
