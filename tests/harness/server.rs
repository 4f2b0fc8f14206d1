//! One server process: the real binary under a configuration of its own.

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value, json};

use crate::http::{self, Connection, Request, Response};
use crate::{consul, wait_for};

/// A server answers its first request within this; a debug build on a busy machine included.
pub const START_BOUND: Duration = Duration::from_secs(60);
/// A server that was asked to stop is gone within this.
pub const STOP_BOUND: Duration = Duration::from_secs(30);

/// How a server is started.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `node_name`.
    pub node_name: String,
    /// Where both ports listen; within 127.0.0.0/8.
    pub address: IpAddr,
    /// `ports.http`.
    pub http_port: u16,
    /// `ports.server`.
    pub server_port: u16,
    /// `data_dir`.
    pub data_dir: PathBuf,
    /// `rollcall dev` (one server, with flags) or `rollcall server` (a configuration file).
    pub dev: bool,
    /// `bootstrap_expect`; not used by `dev`.
    pub bootstrap_expect: usize,
    /// `retry_join`; not used by `dev`.
    pub retry_join: Vec<String>,
    /// Further settings, by their key.
    pub more: Map<String, Value>,
    /// A command that runs the server: a tracer, another user.
    pub wrapper: Vec<String>,
    /// The program.
    pub binary: PathBuf,
}

impl Settings {
    /// One server for itself, durable in `data_dir`.
    pub fn single(directory: &Path) -> Self {
        let address = loopback_address(1);
        Self {
            node_name: "solo".to_owned(),
            address,
            http_port: free_port(address),
            server_port: free_port(address),
            data_dir: directory.join("solo"),
            dev: true,
            bootstrap_expect: 1,
            retry_join: Vec::new(),
            more: Map::new(),
            wrapper: Vec::new(),
            binary: binary(),
        }
    }

    fn arguments(&self, config: &Path) -> Vec<String> {
        if !self.dev {
            let agent = self.more.get("server") == Some(&Value::Bool(false));
            return vec![
                if agent { "agent" } else { "server" }.to_owned(),
                "--config-file".to_owned(),
                path_text(config),
            ];
        }
        let mut arguments = vec!["dev".to_owned()];
        let mut flag = |name: &str, value: String| arguments.extend([format!("--{name}"), value]);
        flag("node-name", self.node_name.clone());
        flag("data-dir", path_text(&self.data_dir));
        flag("bind-addr", self.address.to_string());
        flag("client-addr", self.address.to_string());
        flag("http-port", self.http_port.to_string());
        flag("ports-server", self.server_port.to_string());
        arguments
    }

    /// The configuration as a file: JSON, which is YAML.
    fn document(&self) -> Value {
        let mut document = json!({
            "node_name": self.node_name,
            "server": true,
            "data_dir": path_text(&self.data_dir),
            "bind_addr": self.address.to_string(),
            "client_addr": self.address.to_string(),
            "ports": { "http": self.http_port, "server": self.server_port },
        });
        if self.bootstrap_expect > 1 {
            document["bootstrap_expect"] = json!(self.bootstrap_expect);
            document["retry_join"] = json!(self.retry_join);
        }
        if let Value::Object(map) = &mut document {
            map.extend(self.more.clone());
        }
        document
    }
}

pub(crate) fn path_text(path: &Path) -> String {
    path.to_str().expect("test paths must be UTF-8").to_owned()
}

/// An address in 127.0.0.0/8 that no other test uses: random in the middle, `last` at the end.
pub fn loopback_address(last: u8) -> IpAddr {
    let middle: [u8; 2] = rand::random();
    IpAddr::from([127, 64 | (middle[0] & 63), middle[1], last])
}

/// A free port of an address. Nobody else uses the address, so it is still free when the server binds it.
pub fn free_port(address: IpAddr) -> u16 {
    let listener =
        TcpListener::bind((address, 0)).expect("a loopback address must have a free port");
    listener
        .local_addr()
        .expect("a bound socket must have an address")
        .port()
}

/// How a process ended, and what it had said.
#[derive(Debug)]
pub struct Exit {
    /// Its status.
    pub status: ExitStatus,
    /// Everything it wrote on stdout and stderr since it was last started.
    pub output: String,
}

/// A server process. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    /// How it is started; changes count from the next start on.
    pub settings: Settings,
    child: Option<Child>,
    log: PathBuf,
    config: PathBuf,
    starts: u32,
}

impl Server {
    /// A server that is not started yet; its log and configuration go into `directory`.
    pub fn new(settings: Settings, directory: &Path) -> Self {
        let config = directory.join(format!("{}.yaml", settings.node_name));
        let log = directory.join(format!("{}.log", settings.node_name));
        Self {
            settings,
            child: None,
            log,
            config,
            starts: 0,
        }
    }

    /// Starts the process, without waiting for anything.
    ///
    /// # Panics
    /// When it runs already, or cannot be started.
    pub fn start(&mut self) {
        assert!(
            self.child.is_none(),
            "{} runs already",
            self.settings.node_name
        );
        fs::write(&self.config, self.settings.document().to_string())
            .expect("the test's directory must be writable");
        self.starts += 1;
        self.log.set_extension(format!("{}.log", self.starts));
        let log = File::create(&self.log).expect("the test's directory must be writable");
        let mut words = self.settings.wrapper.clone();
        match consul::binary() {
            Some(consul) => words.extend(consul::command(&consul, &self.settings, &self.config)),
            None => {
                words.push(path_text(&self.settings.binary));
                words.extend(self.settings.arguments(&self.config));
            }
        }
        let child = Command::new(&words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file must be clonable"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", words.join(" ")));
        self.child = Some(child);
    }

    /// Starts it and waits until it answers a linearizable read.
    pub fn start_and_wait(&mut self) {
        self.start();
        self.wait_until_it_answers();
    }

    /// Waits until it is ready (it has caught up and its node is registered, which a session needs) and answers a
    /// linearizable read: it knows a leader, and has applied what the leader has.
    pub fn wait_until_it_answers(&mut self) {
        let name = self.settings.node_name.clone();
        wait_for(&format!("{name} to answer a read"), START_BOUND, || {
            if let Some(status) = self.exit_status() {
                panic!(
                    "{name} ended with {status} before it answered:\n{}",
                    self.output()
                );
            }
            let answer = self.try_send(&self.readiness());
            let answer = match answer {
                Ok(ready) if ready.status == 200 => {
                    self.try_send(&Request::new("GET", "/v1/kv/is-anybody-there"))
                }
                other => other,
            };
            match answer {
                Ok(answer) if matches!(answer.status, 200 | 404) => Ok(()),
                Ok(answer) => Err(format!("{} {}", answer.status, answer.text())),
                Err(error) => Err(error.to_string()),
            }
        });
    }

    /// Consul has no `/readyz`; its node is registered when it is in the catalog.
    fn readiness(&self) -> Request {
        match consul::binary() {
            Some(_) => Request::new("GET", &consul::node_path(&self.settings)),
            None => Request::new("GET", "/readyz"),
        }
    }

    /// Where its HTTP port is.
    pub fn http(&self) -> SocketAddr {
        SocketAddr::new(self.settings.address, self.settings.http_port)
    }

    /// `IP:port` of its server port.
    pub fn server_address(&self) -> String {
        SocketAddr::new(self.settings.address, self.settings.server_port).to_string()
    }

    /// A new connection to its HTTP port.
    pub fn connect(&self) -> io::Result<Connection> {
        Connection::open(self.http())
    }

    /// Sends one request.
    pub fn try_send(&self, request: &Request) -> io::Result<Response> {
        http::send(self.http(), request)
    }

    /// Sends one request that must be answered.
    ///
    /// # Panics
    /// When it is not.
    pub fn send(&self, request: &Request) -> Response {
        self.try_send(request).unwrap_or_else(|error| {
            panic!(
                "{} did not answer {request:?}: {error}",
                self.settings.node_name
            )
        })
    }

    /// GET.
    pub fn get(&self, path: &str) -> Response {
        self.send(&Request::new("GET", path))
    }

    /// PUT.
    pub fn put(&self, path: &str, body: impl Into<Vec<u8>>) -> Response {
        self.send(&Request::new("PUT", path).body(body))
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // A child that has ended is not an error here: the outcome is the same.
            let _ = child.kill();
            child.wait().expect("a child must be waitable");
        }
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("a running child must take a signal");
    }

    /// Its process id.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> Pid {
        let child = self
            .child
            .as_ref()
            .expect("the server must have been started");
        Pid::from_child(child)
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) -> Exit {
        self.signal(Signal::TERM);
        self.wait_for_exit(STOP_BOUND)
    }

    /// Waits for the end.
    pub fn wait_for_exit(&mut self, bound: Duration) -> Exit {
        let name = self.settings.node_name.clone();
        let status = wait_for(&format!("{name} to end"), bound, || {
            self.exit_status()
                .ok_or_else(|| format!("still running:\n{}", self.output()))
        });
        self.child = None;
        Exit {
            status,
            output: self.output(),
        }
    }

    /// Whether the process is there.
    pub fn is_running(&mut self) -> bool {
        self.child.is_some() && self.exit_status().is_none()
    }

    fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child
            .as_mut()?
            .try_wait()
            .expect("a child must be waitable")
    }

    /// What it has written since it was last started.
    pub fn output(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines of it.
    pub fn last_lines(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() && self.starts > 0 {
            eprintln!(
                "--- last lines of {}:\n{}",
                self.log.display(),
                self.last_lines()
            );
        }
    }
}

/// The binary under test: `ROLLCALL_BINARY`, or the one cargo built beside this test.
///
/// # Panics
/// When there is none.
pub fn binary() -> PathBuf {
    let path = std::env::var_os("ROLLCALL_BINARY")
        .map(PathBuf::from)
        .unwrap_or_else(|| {
            let test = std::env::current_exe().expect("a test must know its own path");
            let profile = test
                .ancestors()
                .nth(2)
                .expect("a test must lie in target/PROFILE/deps");
            profile.join("rollcall")
        });
    assert!(
        path.is_file(),
        "{}: not built; run `cargo build --bins` first",
        path.display()
    );
    path
}

/// A directory for one test; kept, and named, when the test fails.
#[derive(Debug)]
pub struct Scratch(Option<tempfile::TempDir>);

impl Scratch {
    /// Makes one.
    #[expect(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("rollcall-test-").tempdir();
        Self(Some(
            directory.expect("the temporary directory must be writable"),
        ))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.0
            .as_ref()
            .expect("it must be there until it is dropped")
            .path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(directory) = self.0.take()
            && std::thread::panicking()
        {
            eprintln!("--- kept for you: {}", directory.keep().display());
        }
    }
}
