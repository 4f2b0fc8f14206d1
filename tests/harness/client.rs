//! Programs over other people's clients: started with the address of a server, they say line by line what they see.
//!
//! A line is a word and its rest; it is read as it is written, and stamped with the time at which it came, so that
//! one clock measures everything. The programs stand in tests/clients.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::{Server, wait_for};

/// A line that a program wrote.
#[derive(Debug, Clone)]
pub struct Said {
    /// When it was read here.
    pub at: Instant,
    /// The line.
    pub line: String,
}

/// One of the clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// py-consul.
    Python,
    /// The npm package `consul`.
    Node,
    /// Consul's own Go client.
    Go,
}

impl Client {
    fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
            Self::Go => "go",
        }
    }

    fn command(self) -> Command {
        let directory = install(self.name());
        match self {
            Self::Python => {
                let mut command = Command::new("python3");
                command
                    .env("PYTHONPATH", directory)
                    .env("PYTHONDONTWRITEBYTECODE", "1");
                command.arg("-u").arg(clients().join("python/client.py"));
                command
            }
            Self::Node => {
                let mut command = Command::new("node");
                command.env("NODE_PATH", directory.join("node_modules"));
                command.arg(clients().join("node/client.js"));
                command
            }
            Self::Go => Command::new(directory.join("client")),
        }
    }

    /// Starts it with these arguments.
    pub fn start(self, arguments: &[&str]) -> Running {
        let mut child = self
            .command()
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap_or_else(|error| panic!("{} {arguments:?}: {error}", self.name()));
        let stdout = child.stdout.take().expect("stdout must be piped");
        let said = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&said);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let said = Said {
                    at: Instant::now(),
                    line,
                };
                writer
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(said);
            }
        });
        Running {
            name: format!("{} {}", self.name(), arguments.join(" ")),
            child,
            said,
            reader: Some(reader),
        }
    }
}

/// Installs a client if need be, and returns where it is.
pub(crate) fn install(name: &str) -> PathBuf {
    let install = clients().join("install");
    let output = Command::new(&install)
        .arg(name)
        .stderr(Stdio::inherit())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", install.display()));
    assert!(
        output.status.success(),
        "{} {name} failed",
        install.display()
    );
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// A program that runs. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    said: Arc<Mutex<Vec<Said>>>,
    reader: Option<JoinHandle<()>>,
}

impl Running {
    /// Everything it has said so far.
    pub fn said(&self) -> Vec<Said> {
        self.said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits for a line that begins with `word`, counted from the `after`th line on; returns the line and its number.
    pub fn wait_for_line(&self, word: &str, after: usize, bound: Duration) -> (usize, Said) {
        wait_for(&format!("{} to say '{word}'", self.name), bound, || {
            let said = self.said();
            let found = said
                .iter()
                .enumerate()
                .skip(after)
                .find(|(_, s)| s.line.starts_with(word));
            match found {
                Some((index, said)) => Ok((index, said.clone())),
                None => Err(format!("{:?}", said.last().map(|said| &said.line))),
            }
        })
    }

    /// The last line so far that begins with `word`.
    pub fn last_line(&self, word: &str) -> Option<Said> {
        self.said()
            .into_iter()
            .rev()
            .find(|said| said.line.starts_with(word))
    }

    /// kill -9.
    pub fn kill(&mut self) {
        // One that has ended is as dead.
        let _ = self.child.kill();
        self.child.wait().expect("a child must be waitable");
    }

    /// Waits until it ends, which it must do with exit code 0.
    pub fn wait_for_success(mut self, bound: Duration) -> Vec<Said> {
        let name = self.name.clone();
        let status = wait_for(&format!("{name} to end"), bound, || {
            let status = self.child.try_wait().expect("a child must be waitable");
            status.ok_or_else(|| format!("{:?}", self.said().last().map(|said| said.line.clone())))
        });
        // The last lines may still be on their way.
        if let Some(reader) = self.reader.take() {
            reader.join().expect("a reader must not panic");
        }
        let said = self.said();
        assert!(
            status.success(),
            "{name} ended with {status} after {said:#?}"
        );
        said
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- {} had said:", self.name);
            for said in self.said() {
                eprintln!("{}", said.line);
            }
        }
    }
}

/// The whole exercise of a client takes a few seconds.
const CHECK_BOUND: Duration = Duration::from_secs(60);

/// Runs a client's exercise of the store and its sessions against a server: it ends well, and its last word is "ok".
///
/// # Panics
/// When it does not.
pub fn assert_finds_what_it_expects(client: Client, server: &Server) {
    assert_ends_well(client, "check", server);
}

/// The same for its exercise of what a node's own half does: services, checks, maintenance, anti-entropy.
///
/// # Panics
/// When it does not.
pub fn assert_finds_the_agent(client: Client, server: &Server) {
    assert_ends_well(client, "agent", server);
}

/// The same for its exercise of catalog, health and prepared queries.
///
/// # Panics
/// When it does not.
pub fn assert_finds_the_catalog(client: Client, server: &Server) {
    assert_ends_well(client, "catalog", server);
}

fn assert_ends_well(client: Client, exercise: &str, server: &Server) {
    let running = client.start(&[exercise, &server.http().to_string(), client.name()]);
    assert_eq!(
        running
            .wait_for_success(CHECK_BOUND)
            .last()
            .map(|said| said.line.as_str()),
        Some("ok")
    );
}
