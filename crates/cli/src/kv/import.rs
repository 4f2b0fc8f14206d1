//! `kv import`: reads an export as a stream and writes it in transactions, so that a large one needs little memory and few rounds.
//!
//! It is not one transaction as a whole: when it fails, what came before is written, and the error says how much that is. Importing
//! again is safe, since each key is simply set.

use std::fmt;
use std::io::{BufReader, IsTerminal as _, Read, Write as _};

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use indicatif::ProgressBar;
use rollcall_client::{Client, PutOptions, TxnOp, TxnOutcome};
use serde::Deserializer as _;
use serde::de::{Error as _, SeqAccess, Visitor};
use tokio::sync::mpsc;

use super::export::Entry;
use super::source;
use crate::output;

/// Keys in one transaction: half of what a server takes at most, and what Consul of old took.
const BATCH_KEYS_MAX: usize = 64;

/// Bytes of one transaction's body: below the 512 KiB that servers take unless told otherwise.
const BATCH_BYTES_MAX: usize = 400 << 10;

/// Bytes of an operation beside its key and value, with room to spare for escapes.
const OPERATION_BYTES: usize = 128;

/// Keys read ahead of what is written.
const AHEAD_MAX: usize = 2 * BATCH_KEYS_MAX;

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// JSON as export prints it; @FILE reads a file, - reads standard input
    #[arg(allow_hyphen_values = true)]
    data: String,
}

pub(super) async fn import(client: &Client, args: ImportArgs) -> anyhow::Result<()> {
    ensure!(!args.data.is_empty(), "Empty DATA argument");
    let source = source::open(&args.data)?;
    let bar = output::byte_progress("importing", source.length);
    let (send, receive) = mpsc::channel(AHEAD_MAX);
    let reader = bar.wrap_read(source.reader);
    let reading = tokio::task::spawn_blocking(move || read(reader, send));
    let mut importer = Importer {
        client,
        bar,
        written: 0,
        batch: Vec::new(),
        bytes: 0,
    };
    let written = importer.write_all(receive).await;
    importer.bar.finish_and_clear();
    let count = importer.written;
    written.with_context(|| format!("{count} keys were imported before"))?;
    let read = reading.await.context("reading the import")?;
    read.with_context(|| format!("Cannot unmarshal data ({count} keys were imported before)"))?;
    if std::io::stderr().is_terminal() {
        output::line(format_args!("Imported {count} keys"))?;
    }
    Ok(())
}

struct Importer<'a> {
    client: &'a Client,
    bar: ProgressBar,
    written: usize,
    batch: Vec<Entry>,
    bytes: usize,
}

impl Importer<'_> {
    async fn write_all(&mut self, mut entries: mpsc::Receiver<Entry>) -> anyhow::Result<()> {
        while let Some(entry) = entries.recv().await {
            check(&entry)?;
            let bytes = entry.key.len() + entry.value.len() + OPERATION_BYTES;
            if self.batch.len() == BATCH_KEYS_MAX || self.bytes + bytes > BATCH_BYTES_MAX {
                self.flush().await?;
            }
            self.batch.push(entry);
            self.bytes += bytes;
        }
        self.flush().await
    }

    /// Writes the batch; one that is a single large value goes as it is, since base64 would put it over the limit.
    async fn flush(&mut self) -> anyhow::Result<()> {
        match self.batch.as_slice() {
            [] => return Ok(()),
            [entry] => {
                let options = PutOptions {
                    flags: entry.flags,
                    ..PutOptions::default()
                };
                let written = self
                    .client
                    .kv()
                    .put(&entry.key, decoded(entry)?, &options)
                    .await;
                ensure!(written.with_context(|| failed(entry))?, failed(entry));
            }
            entries => {
                let operation = |entry: &Entry| {
                    anyhow::Ok(TxnOp::set(&entry.key, &decoded(entry)?, entry.flags))
                };
                let operations: Vec<TxnOp> =
                    entries.iter().map(operation).collect::<Result<_, _>>()?;
                match self
                    .client
                    .kv()
                    .transaction(&operations)
                    .await
                    .with_context(|| failed(&entries[0]))?
                {
                    TxnOutcome::Done(_) => {}
                    TxnOutcome::RolledBack(errors) => {
                        let error = errors.into_iter().next().unwrap_or_default();
                        bail!(
                            "{}: {}",
                            failed(entries.get(error.op_index).unwrap_or(&entries[0])),
                            error.what
                        )
                    }
                }
            }
        }
        self.written += self.batch.len();
        self.bytes = 0;
        let told = self.batch.drain(..);
        if std::io::stderr().is_terminal() {
            self.bar
                .set_message(format!("importing {} keys", self.written));
            return Ok(());
        }
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        for entry in told {
            writeln!(out, "Imported: {}", entry.key)?;
        }
        Ok(out.flush()?)
    }
}

fn failed(entry: &Entry) -> String {
    format!("Failed writing data for key {}", entry.key)
}

fn decoded(entry: &Entry) -> anyhow::Result<Vec<u8>> {
    STANDARD
        .decode(&entry.value)
        .with_context(|| format!("Error base 64 decoding value for key {}", entry.key))
}

fn check(entry: &Entry) -> anyhow::Result<()> {
    ensure!(!entry.key.is_empty(), "a key is empty");
    for (what, name) in [
        ("namespace", &entry.namespace),
        ("partition", &entry.partition),
    ] {
        ensure!(
            name.is_empty() || name == "default",
            "key {}: {what} {name} is not the default one",
            entry.key
        );
    }
    Ok(())
}

/// Reads the array and passes each entry on. Ends without an error when nobody takes them any more.
fn read(reader: impl Read, send: mpsc::Sender<Entry>) -> anyhow::Result<()> {
    let mut json = serde_json::Deserializer::from_reader(BufReader::new(reader));
    let closed = send.clone();
    match json
        .deserialize_seq(Entries { send })
        .and_then(|()| json.end())
    {
        Err(_) if closed.is_closed() => Ok(()),
        outcome => Ok(outcome?),
    }
}

struct Entries {
    send: mpsc::Sender<Entry>,
}

impl<'de> Visitor<'de> for Entries {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of keys")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(entry) = entries.next_element::<Entry>()? {
            self.send
                .blocking_send(entry)
                .map_err(|_| A::Error::custom("writing stopped"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(json: &'static str) -> (Vec<String>, anyhow::Result<()>) {
        let (send, mut receive) = mpsc::channel(1);
        let reading = tokio::task::spawn_blocking(move || read(json.as_bytes(), send));
        let mut keys = Vec::new();
        while let Some(entry) = receive.recv().await {
            keys.push(entry.key);
        }
        (keys, reading.await.expect("no panic"))
    }

    #[tokio::test]
    async fn entries_before_an_error_are_passed_on() {
        let (keys, outcome) =
            read_all(r#"[{"key": "a", "flags": 1, "value": "YQ=="}, {"key": "b"}, {"key": 3}]"#)
                .await;
        assert_eq!(keys, ["a", "b"]);
        assert!(
            outcome
                .expect_err("3 is no key")
                .to_string()
                .contains("line 1")
        );
    }

    #[tokio::test]
    async fn what_is_no_export_is_refused() {
        for json in ["", "{}", "[1]", "[{}]", "[] x", "[", "[{\"key\": \"a\"}"] {
            assert!(read_all(json).await.1.is_err(), "{json:?}");
        }
        assert!(read_all("[]").await.1.is_ok());
    }
}
