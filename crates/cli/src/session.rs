//! `rollcall session`.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use rollcall_client::{NewSession, Session};

use crate::connect::{ConnectArgs, block_on};
use crate::output::{self, FormatArgs};
use crate::time::duration;

/// Create, look at and end sessions
#[derive(Debug, Args)]
pub(crate) struct SessionArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    format: FormatArgs,
    #[command(subcommand)]
    command: SessionCommand,
}

#[derive(Debug, Subcommand)]
enum SessionCommand {
    /// Create a session and print its id
    Create(CreateArgs),
    /// List sessions
    List {
        /// Only those of this node
        #[arg(long)]
        node: Option<String>,
    },
    /// Show a session
    Info {
        /// Session
        id: String,
    },
    /// Keep a session alive for another TTL
    Renew {
        /// Session
        id: String,
    },
    /// End a session: its locks are released, or its keys deleted
    Destroy {
        /// Session
        id: String,
    },
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// Name, for people
    #[arg(long, default_value = "")]
    name: String,
    /// End it when not renewed for this long (10s to 24h); it may live twice as long
    #[arg(long, value_parser = duration)]
    ttl: Option<Duration>,
    /// How long its locks stay closed after it ended [default: 15s]
    #[arg(long, value_parser = duration)]
    lock_delay: Option<Duration>,
    /// What becomes of its keys
    #[arg(long, value_enum, default_value = "release")]
    behavior: Behavior,
    /// Node it is bound to [default: the asked server's]
    #[arg(long)]
    node: Option<String>,
    /// Check of the node it depends on; may be repeated [default: serfHealth]
    #[arg(
        long = "node-check",
        value_name = "CHECK",
        conflicts_with = "no_checks"
    )]
    node_checks: Vec<String>,
    /// Let it depend on no check
    #[arg(long)]
    no_checks: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Behavior {
    /// They are unlocked
    Release,
    /// They are deleted
    Delete,
}

pub(crate) fn run(args: SessionArgs) -> anyhow::Result<()> {
    let SessionArgs {
        connect,
        format,
        command,
    } = args;
    let client = connect.client()?;
    let read = connect.read_options();
    block_on(async {
        let sessions = client.sessions();
        match command {
            SessionCommand::Create(args) => {
                let id = sessions
                    .create(&new(args))
                    .await
                    .context("creating the session")?;
                format.print(&serde_json::json!({ "ID": id }), || output::line(&id))
            }
            SessionCommand::List { node } => {
                let list = sessions
                    .list(node.as_deref(), &read)
                    .await
                    .context("querying the server")?
                    .value;
                format.print(&list, || print(&list))
            }
            SessionCommand::Info { id } => {
                let session = sessions
                    .info(&id, &read)
                    .await
                    .context("querying the server")?
                    .value;
                let session =
                    session.with_context(|| format!("No session exists with id: {id}"))?;
                format.print(&session, || print(std::slice::from_ref(&session)))
            }
            SessionCommand::Renew { id } => {
                match sessions.renew(&id).await.context("renewing the session")? {
                    Some(session) => {
                        format.print(&session, || print(std::slice::from_ref(&session)))
                    }
                    None => bail!("No session exists with id: {id}"),
                }
            }
            SessionCommand::Destroy { id } => {
                sessions
                    .destroy(&id)
                    .await
                    .context("destroying the session")?;
                output::line(format_args!("Success! Destroyed session: {id}"))
            }
        }
    })
}

fn new(args: CreateArgs) -> NewSession {
    let CreateArgs {
        name,
        ttl,
        lock_delay,
        behavior,
        node,
        node_checks,
        no_checks,
    } = args;
    let node_checks = (no_checks || !node_checks.is_empty()).then_some(node_checks);
    NewSession {
        name,
        node,
        ttl,
        lock_delay,
        delete_keys: behavior == Behavior::Delete,
        node_checks,
    }
}

fn print(sessions: &[Session]) -> anyhow::Result<()> {
    let or_dash = |text: &str| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text.to_owned()
        }
    };
    let row = |session: &Session| {
        let delay = Duration::from_nanos(session.lock_delay.try_into().unwrap_or(0));
        let checks = session.node_checks.as_deref().unwrap_or_default().join(",");
        [
            session.id.clone(),
            or_dash(&session.name),
            session.node.clone(),
            or_dash(&session.ttl),
            format!("{delay:?}"),
            session.behavior.clone(),
            or_dash(&checks),
        ]
    };
    output::table(
        [
            "ID",
            "Name",
            "Node",
            "TTL",
            "LockDelay",
            "Behavior",
            "Checks",
        ],
        sessions.iter().map(row),
    )
}
