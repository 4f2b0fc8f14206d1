//! `kv export`: the JSON that Consul's and our `kv import` read.

use std::io::Write as _;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use rollcall_client::{Client, KvPair, ReadOptions};
use serde::{Deserialize, Serialize};

use super::without_slash;

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Prefix; all keys without it
    prefix: Option<String>,
}

/// One key in an export. The order of the fields is Consul's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) key: String,
    #[serde(default)]
    pub(super) flags: u64,
    /// Base64.
    #[serde(default)]
    pub(super) value: String,
    /// Of Consul Enterprise; only the default one can be read.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) namespace: String,
    /// The same.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) partition: String,
}

pub(super) async fn export(
    client: &Client,
    read: &ReadOptions,
    args: ExportArgs,
) -> anyhow::Result<()> {
    let prefix = args.prefix.unwrap_or_default();
    let pairs = client
        .kv()
        .list(without_slash(&prefix), read)
        .await
        .context("querying the server")?
        .value;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut json = serde_json::Serializer::with_formatter(&mut out, formatter);
    serde::Serializer::collect_seq(&mut json, pairs.iter().map(entry))?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

fn entry(pair: &KvPair) -> Entry {
    Entry {
        key: pair.key.clone(),
        flags: pair.flags,
        value: STANDARD.encode(&pair.value),
        namespace: String::new(),
        partition: String::new(),
    }
}
