//! `kv put`.

use std::io::Read as _;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use rollcall_client::{Client, Condition, PutOptions};

use super::source;
use crate::output;

/// Largest value read, in bytes: the largest a server can be told to take; it refuses more with words of its own.
const VALUE_BYTES_MAX: u64 = 64 << 20;

#[derive(Debug, Args)]
pub(super) struct PutArgs {
    /// Key
    key: String,
    /// Value; @FILE reads a file, - reads standard input
    #[arg(allow_hyphen_values = true, default_value = "")]
    data: String,
    /// Write only if the key is unchanged; needs --modify-index
    #[arg(long, requires = "modify_index")]
    cas: bool,
    /// ModifyIndex the key must have with --cas; 0: it must not be there
    #[arg(long, value_name = "INDEX", requires = "cas")]
    modify_index: Option<u64>,
    /// A number kept with the key, for whatever its users like
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    flags: u64,
    /// The value is base64
    #[arg(long)]
    base64: bool,
    /// Take the key's lock for the session
    #[arg(long, requires = "session", conflicts_with_all = ["release", "cas"])]
    acquire: bool,
    /// Give the key's lock back
    #[arg(long, requires = "session", conflicts_with = "cas")]
    release: bool,
    /// Session of --acquire and --release
    #[arg(long, value_name = "ID")]
    session: Option<String>,
}

pub(super) async fn put(client: &Client, args: PutArgs) -> anyhow::Result<()> {
    let key = &args.key;
    ensure!(
        !key.starts_with('/'),
        "Invalid key. Key must not begin with a '/': {key}"
    );
    ensure!(!key.is_empty(), "Missing KEY argument");
    let value = value(&args)?;
    let condition = condition(&args);
    let options = PutOptions {
        flags: args.flags,
        condition: condition.clone(),
    };
    let written = client.kv().put(key, value, &options).await;
    match (condition, written) {
        (Condition::Always | Condition::Unchanged(_), Ok(true)) => {
            output::line(format_args!("Success! Data written to: {key}"))
        }
        (Condition::Always, Ok(false)) => bail!("Did not write to {key}"),
        (Condition::Unchanged(_), Ok(false)) => bail!("Did not write to {key}: CAS failed"),
        (Condition::Unchanged(_), Err(error)) => {
            Err(error).with_context(|| format!("Did not write to {key}"))
        }
        (Condition::Acquire(_), Ok(true)) => {
            output::line(format_args!("Success! Lock acquired on: {key}"))
        }
        (Condition::Acquire(_), Ok(false)) => bail!("Did not acquire lock"),
        (Condition::Release(_), Ok(true)) => {
            output::line(format_args!("Success! Lock released on: {key}"))
        }
        (Condition::Release(_), Ok(false)) => bail!("Did not release lock"),
        (_, Err(error)) => Err(error).context("Failed writing data"),
    }
}

fn condition(args: &PutArgs) -> Condition {
    let session = args.session.clone().unwrap_or_default();
    match (args.cas, args.acquire, args.release) {
        (true, _, _) => Condition::Unchanged(args.modify_index.unwrap_or_default()),
        (_, true, _) => Condition::Acquire(session),
        (_, _, true) => Condition::Release(session),
        _ => Condition::Always,
    }
}

fn value(args: &PutArgs) -> anyhow::Result<Vec<u8>> {
    let mut value = Vec::new();
    let reader = source::open(&args.data)?.reader;
    reader
        .take(VALUE_BYTES_MAX + 1)
        .read_to_end(&mut value)
        .context("Failed to read the value")?;
    ensure!(
        value.len() as u64 <= VALUE_BYTES_MAX,
        "the value has more than {VALUE_BYTES_MAX} bytes"
    );
    if args.base64 {
        let text = value.trim_ascii();
        value = STANDARD
            .decode(text)
            .context("Cannot base 64 decode data")?;
    }
    Ok(value)
}
