//! `rollcall services`: registers instances with the asked agent, from files or from flags.

mod definition;
#[cfg(test)]
mod tests;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use rollcall_client::Client;
use serde_json::{Map, Value};

use self::definition::Definition;
use crate::connect::{ConnectArgs, block_on};
use crate::maint::unknown_service;
use crate::output;
use crate::pair::pair;

/// Largest file of definitions, in bytes: thousands of them have a place, a mistaken file does not end the process.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Register and deregister instances
#[derive(Debug, Args)]
pub(crate) struct ServicesArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(subcommand)]
    command: ServicesCommand,
}

#[derive(Debug, Subcommand)]
enum ServicesCommand {
    /// Register instances with the asked agent
    ///
    /// From files, YAML or JSON in Consul's spelling: one definition, a list of them, or below the key service or services. Or one
    /// instance from flags. A definition that has an id that is there already takes its place. Nothing is registered when a file
    /// cannot be understood.
    Register(RegisterArgs),
    /// Deregister instances from the agent they are registered with
    Deregister(DeregisterArgs),
}

#[derive(Debug, Args)]
struct RegisterArgs {
    /// Name of the service
    #[arg(long, conflicts_with = "files", required_unless_present = "files")]
    name: Option<String>,
    /// Id of the instance, unique on its node [default: the name]
    #[arg(long, requires = "name")]
    id: Option<String>,
    /// Its address, an IP address or a host name [default: the node's]
    #[arg(long, requires = "name")]
    address: Option<String>,
    /// Its port; 0 is none
    #[arg(long, requires = "name", default_value_t = 0)]
    port: u16,
    /// A tag; may be repeated
    #[arg(long, requires = "name", value_name = "TAG")]
    tag: Vec<String>,
    /// An entry of its meta; may be repeated
    #[arg(long, requires = "name", value_name = "KEY=VALUE", value_parser = pair)]
    meta: Vec<(String, String)>,
    /// Remove the checks of an instance that is there already and that the new definition does not have
    #[arg(long)]
    replace_existing_checks: bool,
    /// Files of definitions; - reads standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct DeregisterArgs {
    /// Id of the instance; may be repeated
    #[arg(long, conflicts_with = "files", required_unless_present = "files")]
    id: Vec<String>,
    /// Files of definitions, whose instances are deregistered; - reads standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(crate) fn run(args: ServicesArgs) -> anyhow::Result<()> {
    let client = args.connect.client()?;
    match args.command {
        ServicesCommand::Register(args) => {
            let replace = args.replace_existing_checks;
            let definitions = match args.files.as_slice() {
                [] => vec![from_flags(args)],
                files => read_all(files)?,
            };
            block_on(register(&client, &definitions, replace))
        }
        ServicesCommand::Deregister(args) => {
            let ids = match args.files.as_slice() {
                [] => args.id,
                files => {
                    let definitions = read_all(files)?;
                    definitions.iter().map(|one| one.id().to_owned()).collect()
                }
            };
            block_on(deregister(&client, &ids))
        }
    }
}

fn from_flags(args: RegisterArgs) -> Definition {
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    set("Name", args.name.unwrap_or_default().into());
    if let Some(id) = args.id {
        set("ID", id.into());
    }
    if let Some(address) = args.address {
        set("Address", address.into());
    }
    if args.port != 0 {
        set("Port", args.port.into());
    }
    if !args.tag.is_empty() {
        set("Tags", args.tag.into());
    }
    if !args.meta.is_empty() {
        let meta = args.meta.into_iter();
        set(
            "Meta",
            meta.map(|(key, value)| (key, value.into()))
                .collect::<Map<_, _>>()
                .into(),
        );
    }
    Definition::new(fields)
}

fn read_all(files: &[PathBuf]) -> anyhow::Result<Vec<Definition>> {
    let mut all = Vec::new();
    for file in files {
        let text = read(file).with_context(|| format!("reading {}", file.display()))?;
        let found = definition::parse(&text).with_context(|| file.display().to_string())?;
        ensure!(!found.is_empty(), "{} has no definition", file.display());
        all.extend(found);
    }
    Ok(all)
}

fn read(file: &Path) -> anyhow::Result<String> {
    if file.extension().is_some_and(|extension| extension == "hcl") {
        bail!("HCL is not understood; write it as YAML or JSON");
    }
    let mut text = String::new();
    let mut limited: Box<dyn std::io::Read> = if file == Path::new("-") {
        Box::new(std::io::stdin().take(FILE_BYTES_MAX + 1))
    } else {
        Box::new(std::fs::File::open(file)?.take(FILE_BYTES_MAX + 1))
    };
    limited.read_to_string(&mut text)?;
    ensure!(
        text.len() as u64 <= FILE_BYTES_MAX,
        "it is larger than {FILE_BYTES_MAX} bytes; split it"
    );
    Ok(text)
}

async fn register(
    client: &Client,
    definitions: &[Definition],
    replace: bool,
) -> anyhow::Result<()> {
    for (done, definition) in definitions.iter().enumerate() {
        let registered = client
            .agent()
            .register_service(definition.fields(), replace)
            .await;
        registered.with_context(|| {
            let (name, id) = (definition.name(), definition.id());
            let count = definitions.len();
            format!("Error registering service \"{name}\" with id \"{id}\" ({done} of {count} were registered before)")
        })?;
        output::line(format_args!("Registered service: {}", definition.name()))?;
    }
    Ok(())
}

/// All of them, whatever becomes of one: an instance that is gone is no reason to keep the next.
async fn deregister(client: &Client, ids: &[String]) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    for id in ids {
        let found = client.agent().deregister_service(id).await;
        if found.with_context(|| format!("Error deregistering service \"{id}\""))? {
            output::line(format_args!("Deregistered service: {id}"))?;
        } else {
            missing.push(id.as_str());
        }
    }
    match missing.as_slice() {
        [] => Ok(()),
        [id] => bail!("{}", unknown_service(client, id)),
        ids => bail!("{}", unknown_service(client, &ids.join("\", \""))),
    }
}
