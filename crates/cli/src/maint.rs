//! `rollcall maint`: maintenance of a node or an instance, with Consul's flags and words.

use anyhow::{Context as _, bail};
use clap::{ArgGroup, Args};
use rollcall_client::{Check, Client, NODE_MAINTENANCE, SERVICE_MAINTENANCE_PREFIX, Selection};
use serde::Serialize;

use crate::connect::{ConnectArgs, block_on};
use crate::output::{self, FormatArgs};

/// Switch maintenance on or off, or list what is under it
///
/// Under maintenance a check is critical, so that nobody is sent there; nothing is deregistered (see drain). It lasts until it is
/// switched off. Without --enable and --disable it lists.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("switch").args(["enable", "disable"]))]
pub(crate) struct MaintArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    format: FormatArgs,
    /// Switch it on
    #[arg(long)]
    enable: bool,
    /// Switch it off
    #[arg(long)]
    disable: bool,
    /// Id of an instance on the asked agent's node [default: the node itself]
    #[arg(long, value_name = "ID", requires = "switch")]
    service: Option<String>,
    /// Why, for people; with --enable
    #[arg(
        long,
        value_name = "TEXT",
        requires = "enable",
        conflicts_with = "disable"
    )]
    reason: Option<String>,
}

pub(crate) fn run(args: MaintArgs) -> anyhow::Result<()> {
    let client = args.connect.client()?;
    block_on(async {
        if args.enable || args.disable {
            switch(&client, &args).await
        } else {
            list(&client, args.format).await
        }
    })
}

async fn switch(client: &Client, args: &MaintArgs) -> anyhow::Result<()> {
    let agent = client.agent();
    let reason = args
        .enable
        .then(|| args.reason.as_deref().unwrap_or_default());
    let done = if args.enable { "enabled" } else { "disabled" };
    match &args.service {
        None => {
            let switched = agent.maintain_node(reason).await;
            switched.context("switching the node's maintenance")?;
            output::line(format_args!("Node maintenance is now {done}"))
        }
        Some(id) => {
            let switched = agent.maintain_service(id, reason).await;
            if !switched.context("switching the instance's maintenance")? {
                bail!("{}", unknown_service(client, id));
            }
            output::line(format_args!(
                "Service maintenance is now {done} for \"{id}\""
            ))
        }
    }
}

/// What to say when the asked agent has no instance of this id.
pub(crate) fn unknown_service(client: &Client, id: &str) -> String {
    format!(
        "Unknown service ID \"{id}\" on the agent at {}: give the instance's id, not the service's name, and ask the agent it is \
         registered with (--http-addr)",
        client.address()
    )
}

/// What is under maintenance.
#[derive(Debug, Serialize)]
struct Maintained {
    kind: &'static str,
    id: String,
    reason: String,
}

async fn list(client: &Client, format: FormatArgs) -> anyhow::Result<()> {
    let checks = client.agent().checks(&Selection::default()).await;
    let checks = checks.context("querying the agent")?;
    let maintained: Vec<Maintained> = checks.into_values().filter_map(maintained).collect();
    format.print(&maintained, || {
        if maintained.is_empty() {
            return output::line("Nothing is under maintenance");
        }
        let row = |entry: &Maintained| {
            [
                entry.kind.to_owned(),
                entry.id.clone(),
                entry.reason.clone(),
            ]
        };
        output::table(["Kind", "ID", "Reason"], maintained.iter().map(row))
    })
}

fn maintained(check: Check) -> Option<Maintained> {
    if check.check_id == NODE_MAINTENANCE {
        return Some(Maintained {
            kind: "node",
            id: check.node,
            reason: check.notes,
        });
    }
    check.check_id.strip_prefix(SERVICE_MAINTENANCE_PREFIX)?;
    Some(Maintained {
        kind: "service",
        id: check.service_id,
        reason: check.notes,
    })
}
