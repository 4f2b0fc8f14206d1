//! `rollcall operator raft`.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use rollcall_client::{RaftConfiguration, RaftServer};

use crate::connect::{ConnectArgs, block_on};
use crate::output::{self, FormatArgs};

/// Look after the servers
#[derive(Debug, Args)]
pub(crate) struct OperatorArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    format: FormatArgs,
    #[command(subcommand)]
    command: OperatorCommand,
}

#[derive(Debug, Subcommand)]
enum OperatorCommand {
    /// The Raft configuration
    Raft {
        #[command(subcommand)]
        command: RaftCommand,
    },
}

#[derive(Debug, Subcommand)]
enum RaftCommand {
    /// List the servers
    ListPeers,
    /// Hand leadership to another server
    TransferLeader {
        /// Server to lead [default: the best one]
        #[arg(long)]
        id: Option<String>,
    },
    /// Take a server out of the configuration
    RemovePeer(Peer),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Peer {
    /// Its id
    #[arg(long)]
    id: Option<String>,
    /// Its IP:port between servers
    #[arg(long)]
    address: Option<String>,
}

pub(crate) fn run(args: OperatorArgs) -> anyhow::Result<()> {
    let OperatorArgs {
        connect,
        format,
        command,
    } = args;
    let OperatorCommand::Raft { command } = command;
    let client = connect.client()?;
    let read = connect.read_options();
    block_on(async {
        let operator = client.operator();
        match command {
            RaftCommand::ListPeers => {
                let configuration = operator
                    .raft_configuration(&read)
                    .await
                    .context("Error getting peers")?;
                format.print(&configuration.servers, || print(&configuration))
            }
            RaftCommand::TransferLeader { id } => {
                operator
                    .transfer_leader(id.as_deref())
                    .await
                    .context("Error transferring leadership")?;
                output::line("Success")
            }
            RaftCommand::RemovePeer(Peer { id: Some(id), .. }) => {
                operator
                    .remove_peer_by_id(&id)
                    .await
                    .context("Error removing peer")?;
                output::line(format_args!("Removed peer with id {id:?}"))
            }
            RaftCommand::RemovePeer(Peer { address, .. }) => {
                let address = address.unwrap_or_default();
                operator
                    .remove_peer_by_address(&address)
                    .await
                    .context("Error removing peer")?;
                output::line(format_args!("Removed peer with address {address:?}"))
            }
        }
    })
}

/// With Consul's columns.
fn print(configuration: &RaftConfiguration) -> anyhow::Result<()> {
    let leader = configuration
        .servers
        .iter()
        .find(|server| server.leader)
        .map(|server| server.last_index);
    let row = |server: &RaftServer| {
        let behind = match leader {
            Some(_) if server.leader => "-".to_owned(),
            Some(leader) => match leader.saturating_sub(server.last_index) {
                1 => "1 Commit".to_owned(),
                commits => format!("{commits} Commits"),
            },
            None => "unknown".to_owned(),
        };
        [
            server.node.clone(),
            server.id.clone(),
            server.address.clone(),
            if server.leader { "leader" } else { "follower" }.to_owned(),
            server.voter.to_string(),
            server.protocol_version.clone(),
            server.last_index.to_string(),
            behind,
        ]
    };
    let header = [
        "Node",
        "ID",
        "Address",
        "State",
        "Voter",
        "RaftProtocol",
        "Commit Index",
        "Trails Leader By",
    ];
    output::table(header, configuration.servers.iter().map(row))
}
