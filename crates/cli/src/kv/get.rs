//! `kv get` and `kv list`.

use std::io::Write as _;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use rollcall_client::{Client, KvPair, ReadOptions};

use super::without_slash;
use crate::output::{self, FormatArgs};

#[derive(Debug, Args)]
pub(super) struct GetArgs {
    /// Key, or prefix with --recurse and --keys
    key: Option<String>,
    /// Print every key with this prefix, with its value
    #[arg(long)]
    recurse: bool,
    /// Print the names of the keys with this prefix
    #[arg(long, conflicts_with = "recurse")]
    keys: bool,
    /// Cut names off behind this, with --keys
    #[arg(long, default_value = "/")]
    separator: String,
    /// Print everything known about the key
    #[arg(long)]
    detailed: bool,
    /// Print values as base64
    #[arg(long)]
    base64: bool,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Prefix; all keys without it
    prefix: Option<String>,
}

pub(super) async fn get(
    client: &Client,
    read: &ReadOptions,
    format: FormatArgs,
    args: GetArgs,
) -> anyhow::Result<()> {
    let key = without_slash(args.key.as_deref().unwrap_or_default());
    ensure!(
        !key.is_empty() || args.recurse || args.keys,
        "Missing KEY argument"
    );
    if args.keys {
        let separator = Some(args.separator.as_str()).filter(|separator| !separator.is_empty());
        let keys = client
            .kv()
            .keys(key, separator, read)
            .await
            .context(QUERYING)?
            .value;
        return format.print(&keys, || keys.iter().try_for_each(output::line));
    }
    if args.recurse {
        let pairs = client.kv().list(key, read).await.context(QUERYING)?.value;
        return format.print(&pairs, || print_all(&pairs, &args));
    }
    let pair = client.kv().get(key, read).await.context(QUERYING)?.value;
    let pair = pair.with_context(|| format!("No key exists at: {key}"))?;
    format.print(&pair, || {
        if args.detailed {
            detailed(&pair, args.base64)
        } else {
            raw(&[], &pair, args.base64)
        }
    })
}

const QUERYING: &str = "querying the server";

fn print_all(pairs: &[KvPair], args: &GetArgs) -> anyhow::Result<()> {
    for (position, pair) in pairs.iter().enumerate() {
        if !args.detailed {
            raw(format!("{}:", pair.key).as_bytes(), pair, args.base64)?;
            continue;
        }
        if position > 0 {
            output::line("")?;
        }
        detailed(pair, args.base64)?;
    }
    Ok(())
}

/// The value as it is, whatever bytes it has, and a line's end.
fn raw(before: &[u8], pair: &KvPair, base64: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(before)?;
    out.write_all(&shown(pair, base64))?;
    Ok(out.write_all(b"\n")?)
}

fn shown(pair: &KvPair, base64: bool) -> Vec<u8> {
    if base64 {
        STANDARD.encode(&pair.value).into_bytes()
    } else {
        pair.value.to_vec()
    }
}

/// In Consul's columns, which scripts cut.
fn detailed(pair: &KvPair, base64: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let session = if pair.session.is_empty() {
        "-"
    } else {
        &pair.session
    };
    for (name, value) in [
        ("CreateIndex", pair.create_index.to_string()),
        ("Flags", pair.flags.to_string()),
        ("Key", pair.key.clone()),
        ("LockIndex", pair.lock_index.to_string()),
        ("ModifyIndex", pair.modify_index.to_string()),
        ("Session", session.to_owned()),
    ] {
        writeln!(out, "{name:<17}{value}")?;
    }
    write!(out, "{:<17}", "Value")?;
    out.write_all(&shown(pair, base64))?;
    Ok(out.write_all(b"\n")?)
}

pub(super) async fn list(
    client: &Client,
    read: &ReadOptions,
    format: FormatArgs,
    args: ListArgs,
) -> anyhow::Result<()> {
    let prefix = args.prefix.unwrap_or_default();
    let pairs = client
        .kv()
        .list(without_slash(&prefix), read)
        .await
        .context(QUERYING)?
        .value;
    format.print(&pairs, || {
        let row = |pair: &KvPair| {
            let session = if pair.session.is_empty() {
                "-".to_owned()
            } else {
                pair.session.clone()
            };
            let (size, flags) = (pair.value.len().to_string(), pair.flags.to_string());
            [
                pair.key.clone(),
                size,
                flags,
                pair.modify_index.to_string(),
                session,
            ]
        };
        output::table(
            ["Key", "Bytes", "Flags", "ModifyIndex", "Session"],
            pairs.iter().map(row),
        )
    })
}
