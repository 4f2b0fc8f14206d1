//! The command line. Each command's arguments stand with the command; here is what there is.

use clap::{Parser, Subcommand};

use crate::bench::BenchArgs;
use crate::catalog::CatalogArgs;
use crate::completion::CompletionArgs;
use crate::drain::DrainArgs;
use crate::info::InfoArgs;
use crate::kv::KvArgs;
use crate::lock::LockArgs;
use crate::maint::MaintArgs;
use crate::monitor::MonitorArgs;
use crate::operator::OperatorArgs;
use crate::serve::{DevArgs, ServerArgs};
use crate::services::ServicesArgs;
use crate::session::SessionArgs;
use crate::snapshot::SnapshotArgs;
use crate::watch::WatchArgs;

/// A service registry for Kubernetes that speaks Consul's HTTP API.
#[derive(Debug, Parser)]
#[command(name = "rollcall", version, after_help = EXIT_CODES, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: TopCommand,
}

const EXIT_CODES: &str =
    "Exit codes: 0 it worked, 1 it did not (kv get: no such key), 2 the command line is wrong, 3 drain was cancelled.
Flags may be written with one dash, as Consul's.";

/// The commands. What is said of one without words here stands at its arguments: words here would hide their further paragraphs.
#[derive(Debug, Subcommand)]
pub(crate) enum TopCommand {
    /// Run a server
    Server(Box<ServerArgs>),
    /// Run a node's agent: its services and checks, and the way to the servers
    Agent(Box<ServerArgs>),
    /// Run one server for trying out; without --data-dir nothing is kept
    Dev(Box<DevArgs>),
    /// Look at nodes, services and datacenters
    Catalog(Box<CatalogArgs>),
    /// Register and deregister instances
    Services(Box<ServicesArgs>),
    Watch(Box<WatchArgs>),
    Maint(Box<MaintArgs>),
    Drain(Box<DrainArgs>),
    /// Show who the asked agent is, and figures of its parts
    Info(Box<InfoArgs>),
    /// Show an agent's log as it is written
    Monitor(Box<MonitorArgs>),
    /// Read and write keys
    Kv(Box<KvArgs>),
    /// Run a command while holding a lock
    Lock(Box<LockArgs>),
    /// Create, look at and end sessions
    Session(Box<SessionArgs>),
    /// Save and restore the whole state
    Snapshot(Box<SnapshotArgs>),
    /// Look after the servers
    Operator(Box<OperatorArgs>),
    /// Measure servers
    Bench(Box<BenchArgs>),
    Completion(CompletionArgs),
    /// Show the version
    Version,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::dashes;

    fn parsed(line: &str) -> Result<Cli, clap::Error> {
        let words = line.split_whitespace().map(Into::into).collect();
        Cli::try_parse_from(dashes::normalise(&Cli::command(), words))
    }

    #[test]
    fn the_command_line_is_free_of_doubles() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_every_flag_says_what_it_is_for() {
        fn look(command: &clap::Command, path: &str) {
            let name = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{name}");
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{name} {}", arg.get_id());
            }
            for below in command.get_subcommands() {
                look(below, &name);
            }
        }
        let mut root = Cli::command();
        root.build();
        look(&root, "");
    }

    #[test]
    fn consuls_spellings_are_understood() {
        for line in [
            "rollcall kv get -recurse -stale=true -http-addr=unix:///run/a.sock p/",
            "rollcall kv get -keys -separator=. p",
            "rollcall kv get --detailed -base64 k -token t",
            "rollcall kv put -cas -modify-index=5 -flags 42 k v",
            "rollcall kv put -acquire -session=s k -",
            "rollcall kv put k -5",
            "rollcall kv put k @file",
            "rollcall kv delete -recurse p",
            "rollcall kv list -o json",
            "rollcall kv export",
            "rollcall kv import -",
            "rollcall lock -try 5s -child-exit-code k echo -n hi",
            "rollcall lock --shell=false k -- echo -n hi",
            "rollcall session create -ttl=15s -behavior delete -lock-delay 1ms",
            "rollcall snapshot save backup.snap",
            "rollcall operator raft list-peers -stale",
            "rollcall operator raft remove-peer -id=a",
            "rollcall operator raft transfer-leader",
            "rollcall server -config-file f.yaml -config-dir d -bootstrap-expect=3 -retry-join a -retry-join b -node n -client 0.0.0.0",
            "rollcall dev -http-port 0 --dns-port -1 -serf-lan-port 1 -node-name n -data-dir d",
            "rollcall catalog nodes -service=web -node-meta rack=r1 -node-meta=os=x -detailed -filter x",
            "rollcall catalog services -node n -tags -o yaml",
            "rollcall catalog datacenters -o json",
            "rollcall services register -name=web -id web-1 -address 10.0.0.1 -port=80 -tag a -tag=b -meta k=v",
            "rollcall services register a.json b.yaml -",
            "rollcall services deregister -id=web-1",
            "rollcall services deregister a.json",
            "rollcall watch -type=key -key=k cmd -type x",
            "rollcall watch -type keyprefix -prefix=p/",
            "rollcall watch -type service -service s -passingonly -tag a -tag b -shell=false cmd",
            "rollcall watch -type=checks -state critical -once",
            "rollcall maint",
            "rollcall maint -enable -reason=why -service id",
            "rollcall maint -disable",
            "rollcall drain -node -grace 1m",
            "rollcall drain -service=web-1 -cancel",
            "rollcall info -o json",
            "rollcall monitor -log-level=DEBUG",
            "rollcall completion bash",
            "rollcall server -bootstrap -log-json=false -performance-raft-multiplier 1",
        ] {
            parsed(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn what_cannot_be_meant_is_a_usage_error() {
        for line in [
            "rollcall",
            "rollcall kv",
            "rollcall kv put",
            "rollcall kv put -cas k v",
            "rollcall kv put -modify-index=1 k v",
            "rollcall kv put -acquire k v",
            "rollcall kv put -acquire -release -session s k v",
            "rollcall kv get -keys -recurse p",
            "rollcall kv delete -cas -modify-index=0 k",
            "rollcall kv delete -cas -modify-index=1 -recurse k",
            "rollcall kv get -unknown k",
            "rollcall lock k",
            "rollcall lock -timeout 5 k true",
            "rollcall session create -ttl=-1s",
            "rollcall operator raft remove-peer",
            "rollcall operator raft remove-peer -id a -address b",
            "rollcall catalog nodes -node-meta rack",
            "rollcall catalog services -node n -node-meta a=b",
            "rollcall services register",
            "rollcall services register -name web f.yaml",
            "rollcall services register -id web",
            "rollcall services register -name web -port 70000",
            "rollcall services deregister",
            "rollcall watch",
            "rollcall watch -type event",
            "rollcall watch -type nodes -keep-going",
            "rollcall watch -type nodes -nodes cmd",
            "rollcall maint -enable -disable",
            "rollcall maint -service web",
            "rollcall maint -disable -reason x",
            "rollcall drain",
            "rollcall drain -node -service web",
            "rollcall drain -node -cancel -grace 1s",
            "rollcall drain -node -grace 5",
            "rollcall monitor -log-level loud",
            "rollcall server --acl-default-policy deny",
        ] {
            let error = parsed(line).expect_err(line);
            assert!(error.exit_code() == 2, "{line}: {error}");
        }
    }
}
