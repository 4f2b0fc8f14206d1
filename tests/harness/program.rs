//! Other people's servers in a test: Prometheus, Patroni. They write a log, say nothing to us, and end with the test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::client::install;

/// Lines of its log that a failed test shows.
const LOG_LINES: usize = 25;

/// A program that runs. Dropping it kills it.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts it; its log goes into `directory`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(name: &str, mut command: Command, directory: &Path) -> Self {
        let log = directory.join(format!("{name}.log"));
        let file = File::create(&log).expect("the test's directory must be writable");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file must be clonable"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {command:?}: {error}"));
        Self {
            name: name.to_owned(),
            child,
            log,
        }
    }

    /// kill -9.
    ///
    /// # Panics
    /// When the child cannot be waited for.
    pub fn kill(&mut self) {
        // One that has ended is as dead.
        let _ = self.child.kill();
        self.child.wait().expect("a child must be waitable");
    }

    /// The last lines of its log.
    pub fn last_lines(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- last lines of {}:\n{}", self.name, self.last_lines());
        }
    }
}

/// Installs what tests/clients/install knows by this name if it is missing, and returns the directory of its programs.
///
/// # Panics
/// When it cannot be installed; the error names what is missing.
pub fn installed(name: &str) -> PathBuf {
    install(name)
}
