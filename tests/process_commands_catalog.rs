//! The commands over catalog and agent, over the real binary: words, exit codes, and the order of their requests.
//!
//! They speak Consul's API to whoever listens, so here a stand-in listens: it answers reads of the catalog with what Consul
//! 1.20.1 was recorded to say, and keeps instances and checks as an agent does. `watch` runs against our own server, whose restart
//! it must survive.

mod process_commands_catalog {
    pub(crate) mod standin;
}

use std::fs;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use harness::server::{Scratch, binary};
use harness::{Server, Settings, wait_for};
use process_commands_catalog::standin::Agent;
use rustix::process::{Pid, Signal, kill_process};

/// What a command may take on a machine with much else to do.
const COMMAND_BOUND: Duration = Duration::from_secs(60);

fn command(address: &str, words: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .args(words)
        .env("CONSUL_HTTP_ADDR", address)
        .env("SHELL", "/bin/sh")
        .env_remove("ROLLCALL_HTTP_ADDR")
        .stdin(Stdio::null());
    command
}

/// Standard output, standard error, exit code.
fn gave(output: Output) -> (String, String, i32) {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (
        text(output.stdout),
        text(output.stderr),
        output.status.code().unwrap_or(-1),
    )
}

fn run(address: &str, words: &[&str]) -> (String, String, i32) {
    gave(
        command(address, words)
            .output()
            .expect("the binary must start"),
    )
}

#[track_caller]
fn good(address: &str, words: &[&str]) -> String {
    let (out, error, code) = run(address, words);
    assert_eq!((error.as_str(), code), ("", 0), "{words:?} printed {out}");
    out
}

#[track_caller]
fn bad(address: &str, words: &[&str], code: i32) -> String {
    let (out, error, got) = run(address, words);
    assert_eq!((out.as_str(), got), ("", code), "{words:?} said {error}");
    error
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn the_catalog_is_shown_in_consuls_columns() {
    let agent = Agent::start();
    let on = agent.address();
    assert_eq!(
        good(on, &["catalog", "nodes"]),
        "Node      ID        Address    DC\ndev-node  a8e2668d  127.0.0.1  dc1\n"
    );
    let detailed = good(on, &["catalog", "nodes", "-detailed"]);
    assert!(
        detailed.contains("a8e2668d-174f-0613-d25e-c48041684c77")
            && detailed.contains("consul-version=1.20.1"),
        "{detailed}"
    );
    assert_eq!(
        good(on, &["catalog", "nodes", "-service=web"]),
        "Node  ID  Address   DC\next1      10.1.2.3  dc1\next2      10.1.2.4  dc1\n"
    );
    let filter = "-filter=Meta.rack == \"r2\"";
    let filtered = good(on, &["catalog", "nodes", filter, "-o", "json"]);
    assert_eq!(json(&filtered)[0]["Node"], "ext2");
    let words = ["catalog", "services", "-node-meta", "rack=r1", "-o=yaml"];
    assert_eq!(good(on, &words), "{}\n");
    let words = ["catalog", "services", "-filter=ServiceName == web", "-tags"];
    assert_eq!(good(on, &words), "Service  Tags\nweb      prod,v1,v2\n");
    assert_eq!(good(on, &["catalog", "services"]), "consul\n");
    assert_eq!(good(on, &["catalog", "datacenters"]), "dc1\n");
    assert_eq!(
        good(on, &["catalog", "nodes", "-service=none", "-o=json"]),
        "[]\n"
    );
    let (out, said, code) = run(on, &["catalog", "nodes", "-service=none"]);
    assert_eq!((out.as_str(), code), ("", 0));
    assert!(said.starts_with("No nodes match"), "{said}");
    let error = bad(on, &["catalog", "nodes", "-filter=Bogus == 1"], 1);
    assert!(error.contains("Selector \"Bogus\" is not valid"), "{error}");
    let error = bad(on, &["catalog", "services", "-node=ghost"], 1);
    assert!(error.contains("There is no node ghost"), "{error}");
}

#[test]
fn instances_come_from_files_and_flags_and_a_file_with_an_error_registers_nothing() {
    let (agent, scratch) = (Agent::start(), Scratch::new());
    let on = agent.address();
    let file = |name: &str, text: &str| {
        let path = scratch.path().join(name);
        fs::write(&path, text).expect("it must be writable");
        path.to_str().expect("UTF-8").to_owned()
    };
    let many = file(
        "many.yaml",
        "services: [{name: web, id: web-1, port: 80, check: {ttl: 10s}}, {name: web, id: web-2}]",
    );
    let one = file("one.json", r#"{"Name": "db", "Port": 5432}"#);
    let wrong = file("wrong.yaml", "[{name: never}, {name: web, prot: 80}]");
    let error = bad(on, &["services", "register", &one, &wrong], 1);
    assert!(error.contains("wrong.yaml: [1].prot: unknown"), "{error}");
    assert_eq!(agent.services(), Vec::<String>::new());
    assert_eq!(
        good(on, &["services", "register", &many, &one]),
        "Registered service: web\nRegistered service: web\nRegistered service: db\n"
    );
    let flags = [
        "services",
        "register",
        "-name=api",
        "-id=a/1",
        "-port=9",
        "-tag=t",
        "-meta=k=v",
    ];
    good(on, &flags);
    assert_eq!(agent.services(), ["a/1", "db", "web-1", "web-2"]);
    let sent = agent.service("a/1");
    assert_eq!(
        sent,
        json(r#"{"Name": "api", "ID": "a/1", "Port": 9, "Tags": ["t"], "Meta": {"k": "v"}}"#)
    );
    assert_eq!(agent.service("web-1")["Check"]["TTL"], "10s");
    assert_eq!(
        good(on, &["services", "deregister", &many]),
        "Deregistered service: web-1\nDeregistered service: web-2\n"
    );
    let ids = ["services", "deregister", "-id=ghost", "-id=db"];
    let (out, error, code) = run(on, &ids);
    assert_eq!((out.as_str(), code), ("Deregistered service: db\n", 1));
    assert!(error.contains("Unknown service ID \"ghost\""), "{error}");
    assert_eq!(agent.services(), ["a/1"]);
}

#[test]
fn maintenance_is_switched_and_listed() {
    let agent = Agent::start();
    let on = agent.address();
    agent.register("web-1");
    assert_eq!(good(on, &["maint"]), "Nothing is under maintenance\n");
    assert_eq!(
        good(on, &["maint", "-enable", "-reason=upgrade & more"]),
        "Node maintenance is now enabled\n"
    );
    assert_eq!(
        good(on, &["maint", "-enable", "-service=web-1"]),
        "Service maintenance is now enabled for \"web-1\"\n"
    );
    assert_eq!(
        good(on, &["maint"]),
        "Kind     ID        Reason\nnode     dev-node  upgrade & more\nservice  web-1\n"
    );
    let list = json(&good(on, &["maint", "-o", "json"]));
    assert_eq!(list[0]["kind"], "node");
    good(on, &["maint", "-disable"]);
    good(on, &["maint", "-disable", "-service", "web-1"]);
    assert_eq!(good(on, &["maint", "-o", "json"]), "[]\n");
    let error = bad(on, &["maint", "-enable", "-service", "web"], 1);
    assert!(error.contains("not the service's name"), "{error}");
}

#[test]
fn a_drain_deregisters_after_maintenance_and_grace_and_leaves_the_rest() {
    let agent = Agent::start();
    let on = agent.address();
    for id in ["a", "b", "c"] {
        agent.register(id);
    }
    let said = good(on, &["drain", "-service=a", "-grace=50ms"]);
    assert_eq!(
        said,
        "Maintenance: instance a gets no new requests; deregistration in 50ms\n\
         Deregistered service: a\nDrained: instance a\n"
    );
    assert_eq!(agent.services(), ["b", "c"]);
    let writes = agent.writes();
    assert_eq!(
        writes,
        [
            "/v1/agent/service/maintenance/a?enable=true&reason=rollcall%20drain",
            "/v1/agent/service/deregister/a",
        ]
    );
    let said = good(on, &["drain", "-node", "-grace=0s", "-reason=move"]);
    assert!(said.contains("Drained: node dev-node\n"), "{said}");
    assert_eq!(agent.services(), Vec::<String>::new());
    assert_eq!(agent.checks(), ["_node_maintenance"]);
    let left = |path: &String| path.contains("leave");
    assert!(!agent.writes().iter().any(left), "a drain never leaves");
    good(on, &["drain", "-node", "-cancel"]);
    assert_eq!(agent.checks(), Vec::<String>::new());
    let error = bad(on, &["drain", "-service=a", "-cancel"], 1);
    assert!(error.contains("register it again"), "{error}");
    bad(on, &["drain", "-service=ghost", "-grace=0s"], 1);
}

#[test]
fn a_drain_ends_when_its_maintenance_is_ended_or_a_signal_comes() {
    let agent = Agent::start();
    let on = agent.address();
    agent.register("a");
    let begin = || {
        let mut draining = command(on, &["drain", "-service=a", "-grace=1h"]);
        let draining = draining
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let draining = draining.expect("the binary must start");
        wait_for("the catalog to be watched", COMMAND_BOUND, || {
            (agent.parked().then_some(())).ok_or_else(|| format!("checks {:?}", agent.checks()))
        });
        draining
    };
    let ended = |draining: Child| {
        let (out, error, code) = gave(draining.wait_with_output().expect("it must end"));
        assert_eq!((error.as_str(), code), ("", 3), "{out}");
        out
    };
    let draining = begin();
    good(on, &["drain", "-service=a", "-cancel"]);
    let said = ended(draining);
    assert!(
        said.ends_with("Cancelled: instance a is under maintenance no more\n"),
        "{said}"
    );
    assert_eq!(agent.services(), ["a"]);
    let draining = begin();
    signal(&draining, Signal::INT);
    let said = ended(draining);
    assert!(said.contains("stays under maintenance"), "{said}");
    assert_eq!(
        (agent.services(), agent.checks().len()),
        (vec!["a".to_owned()], 1)
    );
}

#[test]
fn an_agent_tells_who_it_is_and_its_log_ends_with_an_error_when_it_stops() {
    let agent = Agent::start();
    let on = agent.address();
    let info = good(on, &["info"]);
    assert!(info.contains("Node        dev-node\n"), "{info}");
    assert!(info.contains("Role        server\n"), "{info}");
    assert_eq!(
        json(&good(on, &["info", "-o", "json"]))["Config"]["Datacenter"],
        "dc1"
    );
    let (out, error, code) = run(on, &["monitor", "-log-level=DEBUG"]);
    assert_eq!((out.as_str(), code), ("one\ntwo\n", 1));
    assert!(error.contains("ended the log"), "{error}");
    let error = bad("127.0.0.1:1", &["info"], 1);
    assert!(error.contains("--http-addr"), "{error}");
}

fn signal(child: &Child, signal: Signal) {
    let pid = child.id().try_into().ok().and_then(Pid::from_raw);
    kill_process(pid.expect("it must have an id"), signal).expect("it must be there");
}

/// A command that is killed with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_watch_runs_its_command_at_each_change_and_over_a_restart_of_the_server() {
    let scratch = Scratch::new();
    let mut server = Server::new(Settings::single(scratch.path()), scratch.path());
    server.start_and_wait();
    let on = server.http().to_string();
    let put = |value: &str| {
        wait_for("a write", COMMAND_BOUND, || {
            let (_, error, code) = run(&on, &["kv", "put", "k", value]);
            (code == 0).then_some(()).ok_or(error)
        });
    };
    let script = "cat >> seen; echo \"at $CONSUL_INDEX\" >> seen";
    let mut watching = command(&on, &["watch", "-type=key", "-key=/k", script]);
    watching.current_dir(scratch.path()).stderr(Stdio::null());
    let mut watching = Running(watching.spawn().expect("the binary must start"));
    let seen = || fs::read_to_string(scratch.path().join("seen")).unwrap_or_default();
    let shows = |text: &str| {
        wait_for(text, COMMAND_BOUND, || {
            let seen = seen();
            seen.contains(text).then_some(()).ok_or(seen)
        });
    };
    shows("null\nat ");
    put("one");
    shows("\"Value\":\"b25l\"");
    // The same again changes nothing.
    put("one");
    server.kill();
    server.start_and_wait();
    put("two");
    shows("\"Value\":\"dHdv\"");
    let values = seen();
    let lines: Vec<&str> = values
        .lines()
        .filter(|line| !line.starts_with("at "))
        .collect();
    assert_eq!(lines.len(), 3, "each state must be told once: {values}");
    signal(&watching.0, Signal::TERM);
    let status = watching.0.wait().expect("it must end");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_watch_prints_lines_of_json_and_ends_when_its_command_fails_or_the_server_never_will_answer() {
    let agent = Agent::start();
    let on = agent.address();
    let once = good(on, &["watch", "-type=services", "-once"]);
    assert_eq!(once, "{\"consul\":[]}\n");
    let table = good(
        on,
        &[
            "watch",
            "-type=service",
            "-service=web",
            "-once",
            "-o=table",
        ],
    );
    assert!(
        table.contains("web-2  ext2  10.1.2.4:8081   critical  v2"),
        "{table}"
    );
    let error = bad(on, &["watch", "-type=nodes", "--", "sh", "-c", "exit 3"], 1);
    assert!(error.contains("the command sh failed"), "{error}");
    let error = bad(on, &["watch", "-type=nodes", "-filter=Bogus == 1"], 1);
    assert!(error.contains("Selector \"Bogus\""), "{error}");
    let error = bad(on, &["watch", "-type=service"], 1);
    assert!(error.contains("--type service needs --service"), "{error}");
    bad(on, &["watch", "-type=event"], 2);
}

#[test]
fn the_script_for_bash_completes_commands_and_flags() {
    let complete = |words: &str, last: &str| {
        let script = format!(
            "source <({} completion bash); COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _rollcall rollcall {last} catalog; echo \"${{COMPREPLY[@]}}\"",
            binary().display()
        );
        let output = Command::new("bash").arg("-c").arg(script).output();
        let (out, error, _) = gave(output.expect("bash must start"));
        assert_eq!(error, "", "{words}");
        out
    };
    assert_eq!(complete("rollcall catalog node", "node"), "nodes\n");
    assert_eq!(
        complete("rollcall catalog nodes --deta", "--deta"),
        "--detailed\n"
    );
    for shell in ["zsh", "fish"] {
        let script = good("127.0.0.1:1", &["completion", shell]);
        assert!(
            script.contains("rollcall") && script.contains("deregister"),
            "{script}"
        );
    }
}
