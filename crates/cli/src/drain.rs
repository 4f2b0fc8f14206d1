//! `rollcall drain`: takes an instance, or all instances of a node, out of service in order: maintenance, so that nobody new is sent
//! there; a grace in which what runs ends; then deregistration.
//!
//! It never leaves gossip, and ends no process: the node stays a member, and stays under maintenance until `--cancel`. What was
//! registered through the catalog and not with the agent is not ours to deregister; it is named at the end. The maintenance itself
//! is the mark by which another `drain --cancel` stops this one.

mod steps;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{ArgGroup, Args};
use rollcall_client::{Client, NODE_MAINTENANCE, SERVICE_MAINTENANCE_PREFIX, Selection};

use self::steps::{Drain, Ended};
use crate::child::Stop;
use crate::connect::{ConnectArgs, block_on};
use crate::maint::unknown_service;
use crate::output;
use crate::time::duration;

/// It was cancelled: by --cancel elsewhere, or by a signal.
const EXIT_CANCELLED: u8 = 3;

/// Take an instance or a whole node out of service: maintenance, then deregistration
///
/// Maintenance makes its checks critical, so that nobody new is sent there. After the grace it is deregistered. The node stays in
/// gossip, and under maintenance until --cancel. Exit codes: 0 drained, 1 failed, 3 cancelled meanwhile.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("target").args(["service", "node"]).required(true))]
pub(crate) struct DrainArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Id of an instance that is registered with the asked agent
    #[arg(long, value_name = "ID")]
    service: Option<String>,
    /// All instances that are registered with the asked agent, and its node
    #[arg(long)]
    node: bool,
    /// Time between maintenance, once the catalog shows it, and deregistration, such as 30s or 5m
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "30s",
        value_parser = duration,
        conflicts_with = "cancel"
    )]
    grace: Duration,
    /// Why, for people; shown as the reason of the maintenance
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "rollcall drain",
        conflicts_with = "cancel"
    )]
    reason: String,
    /// End the maintenance, and with it a drain that is under way
    #[arg(long)]
    cancel: bool,
}

/// What is drained.
enum Target {
    Node,
    Service(String),
}

impl Target {
    /// The check that keeps people away from it.
    fn check(&self) -> String {
        match self {
            Target::Node => NODE_MAINTENANCE.to_owned(),
            Target::Service(id) => format!("{SERVICE_MAINTENANCE_PREFIX}{id}"),
        }
    }

    /// In words, with the node's name.
    fn shown(&self, node: &str) -> String {
        match self {
            Target::Node => format!("node {node}"),
            Target::Service(id) => format!("instance {id}"),
        }
    }

    /// The flags that name it.
    fn flags(&self) -> String {
        match self {
            Target::Node => "--node".to_owned(),
            Target::Service(id) => format!("--service {id}"),
        }
    }

    /// Switches its maintenance; refuses an instance that the agent does not know.
    async fn maintain(&self, client: &Client, reason: Option<&str>) -> anyhow::Result<()> {
        let agent = client.agent();
        match self {
            Target::Node => {
                let switched = agent.maintain_node(reason).await;
                switched.context("switching the node's maintenance")
            }
            Target::Service(id) => {
                let switched = agent.maintain_service(id, reason).await;
                if switched.context("switching the instance's maintenance")? {
                    Ok(())
                } else {
                    bail!("{}", unknown_service(client, id))
                }
            }
        }
    }

    /// Whether it is under maintenance, as its agent sees it.
    async fn maintained(&self, client: &Client) -> anyhow::Result<bool> {
        let checks = client.agent().checks(&Selection::default()).await;
        let checks = checks.context("querying the agent")?;
        Ok(checks.contains_key(&self.check()))
    }
}

pub(crate) fn run(args: DrainArgs) -> anyhow::Result<ExitCode> {
    let client = args.connect.client()?;
    let target = match args.service {
        Some(id) => Target::Service(id),
        None => Target::Node,
    };
    block_on(async {
        let info = client.agent().info().await.context("querying the agent")?;
        let node = info.config.node_name;
        if args.cancel {
            return cancel(&client, &target, &node).await;
        }
        let mut stop = Stop::listen()?;
        let drain = Drain {
            client: &client,
            target: &target,
            node: &node,
            grace: args.grace,
        };
        let ended = tokio::select! {
            ended = drain.run(&args.reason) => ended?,
            () = stop.asked() => Ended::Interrupted,
        };
        let (shown, flags) = (target.shown(&node), target.flags());
        match ended {
            Ended::Drained => Ok(ExitCode::SUCCESS),
            Ended::Cancelled => {
                output::line(format_args!(
                    "Cancelled: {shown} is under maintenance no more"
                ))?;
                Ok(ExitCode::from(EXIT_CANCELLED))
            }
            Ended::Interrupted => {
                output::line(format_args!(
                    "Interrupted: {shown} stays under maintenance; rollcall drain {flags} goes on, with --cancel it ends that"
                ))?;
                Ok(ExitCode::from(EXIT_CANCELLED))
            }
        }
    })
}

async fn cancel(client: &Client, target: &Target, node: &str) -> anyhow::Result<ExitCode> {
    let before = target.maintained(client).await?;
    target.maintain(client, None).await.with_context(|| {
        let shown = target.shown(node);
        format!("cannot cancel; when the drain of {shown} is complete, register it again")
    })?;
    let shown = target.shown(node);
    output::line(if before {
        format!("Cancelled: {shown} is under maintenance no more")
    } else {
        format!("Nothing to cancel: {shown} is not under maintenance")
    })?;
    Ok(ExitCode::SUCCESS)
}
