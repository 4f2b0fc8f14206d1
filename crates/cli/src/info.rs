//! `rollcall info`: who the asked agent is and its figures, in the form of Consul's `info`, which scripts read.

use anyhow::Context as _;
use clap::Args;
use rollcall_client::AgentSelf;
use serde_json::Value;

use crate::connect::{ConnectArgs, block_on};
use crate::output::{self, FormatArgs};

/// Show who the asked agent is, and figures of its parts
#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    format: FormatArgs,
}

pub(crate) fn run(args: InfoArgs) -> anyhow::Result<()> {
    let client = args.connect.client()?;
    block_on(async {
        let info = client.agent().info().await.context("querying the agent")?;
        args.format.print(&info, || print(&info))
    })
}

fn print(info: &AgentSelf) -> anyhow::Result<()> {
    let config = &info.config;
    let role = if config.server { "server" } else { "agent" };
    for (name, value) in [
        ("Node", config.node_name.as_str()),
        ("ID", &config.node_id),
        ("Datacenter", &config.datacenter),
        ("Role", role),
        ("Version", &config.version),
    ] {
        output::line(format_args!("{name:<12}{value}"))?;
    }
    for (part, figures) in &info.stats {
        output::line(format_args!("{part}:"))?;
        for (name, value) in figures {
            match value {
                Value::String(text) => output::line(format_args!("\t{name} = {text}"))?,
                other => output::line(format_args!("\t{name} = {other}"))?,
            }
        }
    }
    Ok(())
}
