//! `rollcall catalog`, with Consul's flags and columns.

use std::collections::BTreeMap;
use std::io::Write as _;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use rollcall_client::{Client, Node, ReadOptions, Selection, ServiceTags};

use crate::connect::{ConnectArgs, block_on};
use crate::output::{self, FormatArgs};
use crate::pair::pair;

const QUERYING: &str = "querying the server";

/// Characters of a node's id that the short table shows.
const SHORT_ID: usize = 8;

/// Look at nodes, services and datacenters
#[derive(Debug, Args)]
pub(crate) struct CatalogArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    format: FormatArgs,
    #[command(subcommand)]
    command: CatalogCommand,
}

#[derive(Debug, Subcommand)]
enum CatalogCommand {
    /// List the nodes
    Nodes(NodesArgs),
    /// List the services
    Services(ServicesArgs),
    /// List the datacenters
    Datacenters,
}

#[derive(Debug, Args)]
struct NodesArgs {
    /// Only nodes with an instance of this service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Only what this expression selects; with --service its fields are those of instances, such as ServiceTags
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// Only nodes with this in their meta; may be repeated, then all must be there
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    node_meta: Vec<(String, String)>,
    /// Show whole ids, tagged addresses and meta
    #[arg(long)]
    detailed: bool,
}

#[derive(Debug, Args)]
struct ServicesArgs {
    /// Only services with an instance on this node
    #[arg(long, value_name = "NAME", conflicts_with = "node_meta")]
    node: Option<String>,
    /// Only what this expression selects
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// Only services on nodes with this in their meta; may be repeated, then all must be there
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    node_meta: Vec<(String, String)>,
    /// Show the tags of each service
    #[arg(long)]
    tags: bool,
}

pub(crate) fn run(args: CatalogArgs) -> anyhow::Result<()> {
    let CatalogArgs {
        connect,
        format,
        command,
    } = args;
    let client = connect.client()?;
    let read = connect.read_options();
    block_on(async {
        match command {
            CatalogCommand::Nodes(args) => nodes(&client, &read, format, args).await,
            CatalogCommand::Services(args) => services(&client, &read, format, args).await,
            CatalogCommand::Datacenters => {
                let names = client.catalog().datacenters().await.context(QUERYING)?;
                format.print(&names, || names.iter().try_for_each(output::line))
            }
        }
    })
}

async fn nodes(
    client: &Client,
    read: &ReadOptions,
    format: FormatArgs,
    args: NodesArgs,
) -> anyhow::Result<()> {
    let selection = Selection {
        filter: args.filter,
        node_meta: args.node_meta,
        tags: Vec::new(),
    };
    let catalog = client.catalog();
    let nodes = match &args.service {
        None => {
            catalog
                .nodes(&selection, read)
                .await
                .context(QUERYING)?
                .value
        }
        Some(service) => {
            let instances = catalog.service(service, &selection, read).await;
            let nodes = instances.context(QUERYING)?.value.into_iter();
            // A node may run several instances.
            let by_name: BTreeMap<String, Node> = nodes
                .map(|instance| (instance.node.clone(), instance.into_node()))
                .collect();
            by_name.into_values().collect()
        }
    };
    format.print(&nodes, || match (nodes.is_empty(), args.detailed) {
        (true, _) => nothing("nodes"),
        (false, false) => print_nodes(&nodes),
        (false, true) => print_detailed(&nodes),
    })
}

async fn services(
    client: &Client,
    read: &ReadOptions,
    format: FormatArgs,
    args: ServicesArgs,
) -> anyhow::Result<()> {
    let selection = Selection {
        filter: args.filter,
        node_meta: args.node_meta,
        tags: Vec::new(),
    };
    let catalog = client.catalog();
    let mut services = match &args.node {
        None => {
            let services = catalog.services(&selection, read).await;
            services.context(QUERYING)?.value
        }
        Some(node) => {
            let answer = catalog.node_services(node, &selection, read).await;
            let on_node = answer.context(QUERYING)?.value;
            // A filter may leave nothing of a node that is there.
            anyhow::ensure!(
                on_node.node.is_some() || selection.filter.is_some(),
                "There is no node {node}; rollcall catalog nodes lists them"
            );
            let mut services = ServiceTags::new();
            for service in on_node.services {
                let tags = services.entry(service.service).or_default();
                tags.extend(service.tags);
            }
            services
        }
    };
    for tags in services.values_mut() {
        tags.sort();
        tags.dedup();
    }
    format.print(&services, || match (services.is_empty(), args.tags) {
        (true, _) => nothing("services"),
        (false, false) => services.keys().try_for_each(output::line),
        (false, true) => print_services(&services),
    })
}

/// To standard error, so that a script that counts lines counts none.
fn nothing(what: &str) -> anyhow::Result<()> {
    let text = format!("No {what} match the given query - try expanding your search.");
    Ok(writeln!(std::io::stderr(), "{text}")?)
}

/// Names and tags.
pub(crate) fn print_services(services: &ServiceTags) -> anyhow::Result<()> {
    output::table(
        ["Service", "Tags"],
        services
            .iter()
            .map(|(name, tags)| [name.clone(), tags.join(",")]),
    )
}

/// In Consul's columns.
pub(crate) fn print_nodes(nodes: &[Node]) -> anyhow::Result<()> {
    let row = |node: &Node| {
        [
            node.node.clone(),
            node.id.chars().take(SHORT_ID).collect(),
            node.address.clone(),
            node.datacenter.clone(),
        ]
    };
    output::table(["Node", "ID", "Address", "DC"], nodes.iter().map(row))
}

fn print_detailed(nodes: &[Node]) -> anyhow::Result<()> {
    let pairs = |map: &BTreeMap<String, String>| {
        let pairs: Vec<String> = map
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        pairs.join(", ")
    };
    let row = |node: &Node| {
        [
            node.node.clone(),
            node.id.clone(),
            node.address.clone(),
            node.datacenter.clone(),
            pairs(&node.tagged_addresses),
            pairs(&node.meta),
        ]
    };
    let header = ["Node", "ID", "Address", "DC", "TaggedAddresses", "Meta"];
    output::table(header, nodes.iter().map(row))
}
