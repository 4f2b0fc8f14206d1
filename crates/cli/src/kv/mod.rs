//! `rollcall kv`, with Consul's flags and words.

mod delete;
mod export;
mod get;
mod import;
mod put;
mod source;

use clap::{Args, Subcommand};

use crate::connect::{ConnectArgs, block_on};
use crate::output::FormatArgs;

/// Read and write keys
#[derive(Debug, Args)]
pub(crate) struct KvArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    format: FormatArgs,
    #[command(subcommand)]
    command: KvCommand,
}

#[derive(Debug, Subcommand)]
enum KvCommand {
    /// Print the value of a key, or the keys with a prefix
    Get(get::GetArgs),
    /// Write a key
    Put(put::PutArgs),
    /// Delete a key, or all keys with a prefix
    Delete(delete::DeleteArgs),
    /// List the keys with a prefix: size, flags, index, session
    List(get::ListArgs),
    /// Print the keys with a prefix as JSON that import reads
    Export(export::ExportArgs),
    /// Write keys from such JSON
    Import(import::ImportArgs),
}

pub(crate) fn run(args: KvArgs) -> anyhow::Result<()> {
    let KvArgs {
        connect,
        format,
        command,
    } = args;
    let client = connect.client()?;
    let read = connect.read_options();
    block_on(async {
        match command {
            KvCommand::Get(args) => get::get(&client, &read, format, args).await,
            KvCommand::Put(args) => put::put(&client, args).await,
            KvCommand::Delete(args) => delete::delete(&client, args).await,
            KvCommand::List(args) => get::list(&client, &read, format, args).await,
            KvCommand::Export(args) => export::export(&client, &read, args).await,
            KvCommand::Import(args) => import::import(&client, args).await,
        }
    })
}

/// A key as people write it: a leading slash is a habit, never part of a key.
fn without_slash(key: &str) -> &str {
    key.strip_prefix('/').unwrap_or(key)
}
