//! The real thing: an agent of HashiCorp's `serf` as a process, and its command line.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::driver::sockets;

/// A running agent. Dropped: killed.
pub(crate) struct SerfAgent {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    rpc: SocketAddr,
    child: Child,
    log: PathBuf,
}

/// Waits until something holds, and says what was seen last when it does not.
pub(crate) fn wait_for(what: &str, limit: Duration, mut holds: impl FnMut() -> Result<(), String>) {
    let end = Instant::now() + limit;
    loop {
        match holds() {
            Ok(()) => return,
            Err(seen) if Instant::now() > end => {
                panic!("{what}: not within {limit:?}; last seen: {seen}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

impl SerfAgent {
    pub(crate) fn start(name: &str, more: &[&str]) -> Self {
        let (udp, tcp) = sockets();
        let (_, rpc_tcp) = sockets();
        let (address, rpc) = (tcp.local_addr().unwrap(), rpc_tcp.local_addr().unwrap());
        drop((udp, tcp, rpc_tcp));
        let file = format!("rollcall-serf-{}-{name}.log", std::process::id());
        let log = std::env::temp_dir().join(file);
        let child = Command::new("serf")
            .args(["agent", "-log-level=debug"])
            .arg(format!("-node={name}"))
            .arg(format!("-bind={address}"))
            .arg(format!("-rpc-addr={rpc}"))
            .args(more)
            .stdin(Stdio::null())
            .stdout(File::create(&log).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .expect("`serf` must be installed (Debian: apt-get install serf)");
        let name = name.to_owned();
        let agent = Self {
            name,
            address,
            rpc,
            child,
            log,
        };
        wait_for("the agent answers", Duration::from_secs(20), || {
            let output = agent.run(&["info"]);
            if output.status.success() {
                return Ok(());
            }
            Err(String::from_utf8_lossy(&output.stderr).into_owned() + &agent.log())
        });
        agent
    }

    /// One of `serf`'s commands.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let (command, rest) = arguments.split_first().unwrap();
        let mut process = Command::new("serf");
        process
            .arg(command)
            .arg(format!("-rpc-addr={}", self.rpc))
            .args(rest);
        process
            .output()
            .expect("`serf` must be installed (Debian: apt-get install serf)")
    }

    /// ... that must succeed; gives what it printed.
    pub(crate) fn command(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "serf {arguments:?}: {text}{error}");
        text
    }

    /// The line that `serf members` prints of a member: name, address, status, tags.
    pub(crate) fn member(&self, name: &str) -> String {
        let members = self.command(&["members"]);
        let line = members
            .lines()
            .find(|line| line.split_whitespace().next() == Some(name));
        line.unwrap_or_default().to_owned()
    }

    /// Waits until the agent sees a member in this status, and gives its line.
    pub(crate) fn wait_member(&self, name: &str, status: &str, limit: Duration) -> String {
        let mut line = String::new();
        let what = format!("{} sees {name} {status}", self.name);
        wait_for(&what, limit, || {
            line = self.member(name);
            if line.split_whitespace().nth(2) == Some(status) {
                return Ok(());
            }
            Err(line.clone())
        });
        line
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What went wrong when it read what others sent.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.log();
        let bad = |line: &&str| {
            let line = line.to_lowercase();
            [
                "decode",
                "decoding",
                "not supported",
                "unknown type",
                "invalid",
                "checksum",
                "decrypt",
                "truncated",
                "incompatible",
            ]
            .iter()
            .any(|word| line.contains(word))
        };
        log.lines().filter(bad).map(str::to_owned).collect()
    }
}

impl Drop for SerfAgent {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_file(&self.log);
    }
}
