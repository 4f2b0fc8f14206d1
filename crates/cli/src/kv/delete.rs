//! `kv delete`.

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use rollcall_client::Client;

use super::without_slash;
use crate::output;

#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    /// Key, or prefix with --recurse
    key: Option<String>,
    /// Delete all keys with this prefix
    #[arg(long, conflicts_with = "cas")]
    recurse: bool,
    /// Delete only if the key is unchanged; needs --modify-index
    #[arg(long, requires = "modify_index")]
    cas: bool,
    /// ModifyIndex the key must have with --cas
    #[arg(long, value_name = "INDEX", requires = "cas", value_parser = clap::value_parser!(u64).range(1..))]
    modify_index: Option<u64>,
}

pub(super) async fn delete(client: &Client, args: DeleteArgs) -> anyhow::Result<()> {
    let key = without_slash(args.key.as_deref().unwrap_or_default());
    ensure!(!key.is_empty() || args.recurse, "Missing KEY argument");
    if args.recurse {
        client
            .kv()
            .delete_tree(key)
            .await
            .with_context(|| format!("Did not delete prefix {key}"))?;
        return output::line(format_args!("Success! Deleted keys with prefix: {key}"));
    }
    match client.kv().delete(key, args.modify_index).await {
        Ok(true) => output::line(format_args!("Success! Deleted key: {key}")),
        Ok(false) => bail!("Did not delete key {key}: CAS failed"),
        Err(error) => Err(error).with_context(|| format!("Did not delete key {key}")),
    }
}
