//! `rollcall watch`: a command, or a line of JSON, for each change of what is watched; with Consul's flags and types.
//!
//! Unlike Consul's, it prints every change and not only the first (`--once` does that), and it goes on where the server restarts or
//! is another one afterwards. A command sees the newest state; what came and went while it ran it does not see.

mod handler;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use rollcall_client::{
    Check, ChecksOf, Client, Error, KvPair, LongPoll, ReadOptions, Selection, ServiceEntry,
};
use serde::Serialize;

use self::handler::{Handled, Handler};
use crate::catalog::{print_nodes, print_services};
use crate::child::Stop;
use crate::connect::{ConnectArgs, block_on};
use crate::output::{self, Format};

const EXAMPLES: &str = "Examples:
  rollcall watch --type service --service web --passingonly -- ./reload.sh
  rollcall watch --type checks --state critical -o table";

/// Run a command, or print, whenever something changes
///
/// The command gets what is watched as JSON on standard input and its index in CONSUL_INDEX, once at the start and then at each
/// change. When it fails, so does watch, unless --keep-going. Without a command the JSON is printed, a line a change where standard
/// output is no terminal.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// How it is printed when there is no command
    #[arg(
        short = 'o',
        long,
        value_enum,
        value_name = "FORMAT",
        default_value = "json"
    )]
    format: Format,
    /// What is watched
    #[arg(long, value_enum, value_name = "TYPE")]
    r#type: Watched,
    /// The key; for type key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// The prefix of the keys; for type keyprefix
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// The service; for type service, and for type checks
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Only instances with this tag; may be repeated, then all must be there; for type service
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Only instances whose checks all pass; for type service
    #[arg(long, alias = "passing-only")]
    passingonly: bool,
    /// Only checks in this state: passing, warning, critical or any; for type checks [default: any]
    #[arg(long, value_name = "STATE", conflicts_with = "service")]
    state: Option<String>,
    /// Only what this expression selects; not for keys
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// End after the first time
    #[arg(long)]
    once: bool,
    /// Go on when the command fails
    #[arg(long, requires = "command")]
    keep_going: bool,
    /// Run the command through a shell [default: true for one word, else false]
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    shell: Option<bool>,
    /// Command and its arguments
    #[arg(trailing_var_arg = true)]
    command: Vec<OsString>,
}

/// The types of a watch, as Consul names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Watched {
    /// A key (--key); null when it is not there
    Key,
    /// The keys with a prefix (--prefix)
    Keyprefix,
    /// The services with their tags
    Services,
    /// The nodes
    Nodes,
    /// The instances of a service (--service) with their nodes and checks
    Service,
    /// The checks of a service (--service) or in a state (--state)
    Checks,
}

impl Watched {
    /// The flags that say something for it, the needed one first.
    fn flags(self) -> &'static [&'static str] {
        match self {
            Watched::Key => &["key"],
            Watched::Keyprefix => &["prefix"],
            Watched::Services | Watched::Nodes => &["filter"],
            Watched::Service => &["service", "tag", "passingonly", "filter"],
            Watched::Checks => &["service", "state", "filter"],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Watched::Key => "key",
            Watched::Keyprefix => "keyprefix",
            Watched::Services => "services",
            Watched::Nodes => "nodes",
            Watched::Service => "service",
            Watched::Checks => "checks",
        }
    }
}

impl WatchArgs {
    /// A flag that the type does not know would be passed over in silence, and the watch be another than meant.
    fn check(&self) -> anyhow::Result<()> {
        let given = [
            ("key", self.key.is_some()),
            ("prefix", self.prefix.is_some()),
            ("service", self.service.is_some()),
            ("tag", !self.tag.is_empty()),
            ("passingonly", self.passingonly),
            ("state", self.state.is_some()),
            ("filter", self.filter.is_some()),
        ];
        let (flags, name) = (self.r#type.flags(), self.r#type.name());
        for (flag, given) in given {
            let needed = matches!(
                (self.r#type, flag),
                (Watched::Key, "key")
                    | (Watched::Keyprefix, "prefix")
                    | (Watched::Service, "service")
            );
            ensure!(given || !needed, "--type {name} needs --{flag}");
            ensure!(
                !given || flags.contains(&flag),
                "--{flag} says nothing for --type {name}, which knows --{}",
                flags.join(", --")
            );
        }
        if let Some(state) = &self.state {
            ensure!(
                ["any", "passing", "warning", "critical"].contains(&state.as_str()),
                "--state {state}: expected any, passing, warning or critical"
            );
        }
        Ok(())
    }
}

pub(crate) fn run(args: WatchArgs) -> anyhow::Result<ExitCode> {
    args.check()?;
    let client = args.connect.client()?;
    let read = args.connect.read_options();
    block_on(start(&client, read, &args))
}

async fn start(client: &Client, read: ReadOptions, args: &WatchArgs) -> anyhow::Result<ExitCode> {
    let selection = Selection {
        filter: args.filter.clone(),
        node_meta: Vec::new(),
        tags: args.tag.clone(),
    };
    // A slash before a key is a habit, never part of it.
    let key = |key: &Option<String>| {
        let key = key.as_deref().unwrap_or_default();
        key.strip_prefix('/').unwrap_or(key).to_owned()
    };
    match (args.r#type, &args.service) {
        (Watched::Key, _) => {
            let poll = client.kv().watch(&key(&args.key), read);
            follow(args, poll, |pair| print_pairs(pair.as_slice())).await
        }
        (Watched::Keyprefix, _) => {
            let poll = client.kv().watch_prefix(&key(&args.prefix), read);
            follow(args, poll, |pairs| print_pairs(pairs)).await
        }
        (Watched::Services, _) => {
            let poll = client.catalog().watch_services(&selection, read);
            follow(args, poll, print_services).await
        }
        (Watched::Nodes, _) => {
            let poll = client.catalog().watch_nodes(&selection, read);
            follow(args, poll, |nodes| print_nodes(nodes)).await
        }
        (Watched::Service, name) => {
            let name = name.as_deref().unwrap_or_default();
            let health = client.health();
            let poll = health.watch_service(name, args.passingonly, &selection, read);
            follow(args, poll, |entries| print_entries(entries)).await
        }
        (Watched::Checks, name) => {
            let of = match name {
                Some(name) => ChecksOf::Service(name.clone()),
                None => ChecksOf::State(args.state.clone().unwrap_or_else(|| "any".to_owned())),
            };
            let poll = client.health().watch_checks(&of, &selection, read);
            follow(args, poll, |checks| print_checks(checks)).await
        }
    }
}

/// Until it is stopped, the command fails, or the server says that it will never answer.
async fn follow<T: Serialize + 'static>(
    args: &WatchArgs,
    mut poll: LongPoll<T>,
    table: impl Fn(&T) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let mut stop = Stop::listen()?;
    let handler = Handler::new(&args.command, args.shell);
    let (mut last, mut outage) = (None, Outage::default());
    loop {
        let answer = tokio::select! {
            answer = poll.next() => answer,
            () = stop.asked() => return Ok(ExitCode::SUCCESS),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if lasts(&error) => return Err(error).context("watching"),
            Err(error) => {
                outage.begin(&format!("{:#}", anyhow::Error::new(error)))?;
                continue;
            }
        };
        outage.end()?;
        let json = serde_json::to_vec(&answer.value).context("writing JSON")?;
        // The index also moves when an entry changed and changed back.
        if last.as_ref() == Some(&json) {
            continue;
        }
        if let Some(handler) = &handler {
            match handler.run(answer.index, &json, &mut stop).await? {
                Handled::Done => {}
                Handled::Stopped => return Ok(ExitCode::SUCCESS),
                Handled::Failed(why) if args.keep_going => tell(&why)?,
                Handled::Failed(why) => bail!("{why}"),
            }
        } else {
            if last.is_some() && args.format == Format::Table {
                output::line("")?;
            }
            print(args.format, &answer.value, &json, &table)?;
        }
        if args.once {
            return Ok(ExitCode::SUCCESS);
        }
        last = Some(json);
    }
}

/// Whether the server will say the same again, however often it is asked. Consul says 500 to a filter it cannot read.
fn lasts(error: &Error) -> bool {
    match error {
        Error::Status { text, .. } if text.contains("boolean expression") => true,
        other => !other.is_passing(),
    }
}

/// What is said of a server that does not answer: once, and that it is back.
#[derive(Default)]
struct Outage(Option<String>);

impl Outage {
    fn begin(&mut self, why: &str) -> anyhow::Result<()> {
        if self.0.as_deref() == Some(why) {
            return Ok(());
        }
        self.0 = Some(why.to_owned());
        tell(&format!("{why}; trying again"))
    }

    fn end(&mut self) -> anyhow::Result<()> {
        match self.0.take() {
            Some(_) => tell("the server answers again"),
            None => Ok(()),
        }
    }
}

fn tell(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(io::stderr(), "watch: {text}")?)
}

fn print<T: Serialize>(
    format: Format,
    value: &T,
    json: &[u8],
    table: impl Fn(&T) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut out = io::stdout();
    match format {
        Format::Table => table(value)?,
        Format::Yaml => write!(out, "---\n{}", serde_yaml::to_string(value)?)?,
        Format::Json => {
            let mut text = if out.is_terminal() {
                serde_json::to_vec_pretty(value)?
            } else {
                json.to_vec()
            };
            text.push(b'\n');
            out.write_all(&text)?;
        }
    }
    Ok(out.flush()?)
}

fn print_pairs(pairs: &[KvPair]) -> anyhow::Result<()> {
    let row = |pair: &KvPair| {
        let value = String::from_utf8_lossy(&pair.value).into_owned();
        [pair.key.clone(), pair.modify_index.to_string(), value]
    };
    output::table(["Key", "ModifyIndex", "Value"], pairs.iter().map(row))
}

fn print_entries(entries: &[ServiceEntry]) -> anyhow::Result<()> {
    let row = |entry: &ServiceEntry| {
        let (node, service) = (&entry.node, &entry.service);
        let address = if service.address.is_empty() {
            &node.address
        } else {
            &service.address
        };
        [
            service.id.clone(),
            node.node.clone(),
            format!("{address}:{}", service.port),
            worst(&entry.checks).to_owned(),
            service.tags.join(","),
        ]
    };
    let header = ["ID", "Node", "Address", "Status", "Tags"];
    output::table(header, entries.iter().map(row))
}

/// The status of an instance: its worst check's, maintenance before all.
fn worst(checks: &[Check]) -> &str {
    let rank = |check: &&Check| match check.status.as_str() {
        "passing" => 0,
        "warning" => 1,
        _ => 2,
    };
    if checks.iter().any(Check::is_maintenance) {
        return "maintenance";
    }
    match checks.iter().max_by_key(rank) {
        Some(check) => &check.status,
        None => "passing",
    }
}

fn print_checks(checks: &[Check]) -> anyhow::Result<()> {
    let row = |check: &Check| {
        [
            check.node.clone(),
            check.check_id.clone(),
            check.status.clone(),
            check.service_name.clone(),
            check.output.lines().next().unwrap_or_default().to_owned(),
        ]
    };
    let header = ["Node", "CheckID", "Status", "Service", "Output"];
    output::table(header, checks.iter().map(row))
}
