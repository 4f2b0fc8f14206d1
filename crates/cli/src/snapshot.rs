//! `rollcall snapshot`.

use std::fs::File;
use std::io::{BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bytes::Bytes;
use clap::{Args, Subcommand};
use rollcall_client::{Client, ReadOptions};
use rollcall_server::archive::Reader;
use serde::Serialize;

use crate::connect::{ConnectArgs, block_on};
use crate::output::{self, FormatArgs};

/// Bytes read from a file at once.
const CHUNK_BYTES: usize = 256 << 10;

/// Chunks read ahead of what is sent.
const AHEAD_MAX: usize = 4;

/// Save and restore the whole state
#[derive(Debug, Args)]
pub(crate) struct SnapshotArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    format: FormatArgs,
    #[command(subcommand)]
    command: SnapshotCommand,
}

#[derive(Debug, Subcommand)]
enum SnapshotCommand {
    /// Save a snapshot to a file
    Save {
        /// File to write; one that is there is replaced only by a whole snapshot
        file: PathBuf,
    },
    /// Put a snapshot in place of the whole state
    Restore {
        /// File that save wrote
        file: PathBuf,
    },
    /// Tell what a snapshot file holds, without a server
    Inspect {
        /// File that save wrote
        file: PathBuf,
    },
}

pub(crate) fn run(args: SnapshotArgs) -> anyhow::Result<()> {
    let SnapshotArgs {
        connect,
        format,
        command,
    } = args;
    match command {
        SnapshotCommand::Inspect { file } => {
            inspect(&file, format).with_context(|| format!("inspecting {}", file.display()))
        }
        SnapshotCommand::Save { file } => {
            let client = connect.client()?;
            block_on(save(&client, &connect.read_options(), &file))
        }
        SnapshotCommand::Restore { file } => {
            let client = connect.client()?;
            block_on(restore(&client, &file))
        }
    }
}

/// Into a file beside, which takes the name only when it is whole and on the disk.
async fn save(client: &Client, read: &ReadOptions, file: &Path) -> anyhow::Result<()> {
    let mut stream = client
        .snapshots()
        .save(read)
        .await
        .context("Error saving snapshot")?;
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let beside = tempfile::Builder::new()
        .prefix(".snapshot-")
        .suffix(".unverified")
        .tempfile_in(directory);
    let mut beside = beside.with_context(|| format!("making a file in {}", directory.display()))?;
    let bar = output::byte_progress("saving", stream.length);
    while let Some(chunk) = stream.chunk().await.context("Error saving snapshot")? {
        beside
            .write_all(&chunk)
            .with_context(|| format!("writing {}", beside.path().display()))?;
        bar.inc(chunk.len() as u64);
    }
    beside
        .as_file()
        .sync_all()
        .with_context(|| format!("writing {}", beside.path().display()))?;
    bar.finish_and_clear();
    verify(beside.path()).context("Error verifying snapshot file")?;
    beside
        .persist(file)
        .with_context(|| format!("renaming to {}", file.display()))?;
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .context("syncing the directory")?;
    output::line(format_args!(
        "Saved and verified snapshot to index {}",
        stream.index
    ))
}

async fn restore(client: &Client, file: &Path) -> anyhow::Result<()> {
    verify(file).context("Error verifying snapshot file")?;
    let opened = File::open(file).with_context(|| format!("Error opening {}", file.display()))?;
    let length = opened.metadata().context("looking at the file")?.len();
    let bar = output::byte_progress("restoring", Some(length));
    let mut reader = bar.wrap_read(opened);
    let (send, receive) = tokio::sync::mpsc::channel::<std::io::Result<Bytes>>(AHEAD_MAX);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut chunk = vec![0; CHUNK_BYTES];
            let read = reader.read(&mut chunk).map(|count| {
                chunk.truncate(count);
                Bytes::from(chunk)
            });
            let (ended, failed) = (read.as_ref().is_ok_and(Bytes::is_empty), read.is_err());
            // Nobody takes more when the server has answered early.
            if ended || send.blocking_send(read).is_err() || failed {
                return;
            }
        }
    });
    let stream = futures_util::stream::unfold(receive, |mut receive| async {
        receive.recv().await.map(|chunk| (chunk, receive))
    });
    let restored = client.snapshots().restore(stream).await;
    bar.finish_and_clear();
    restored.context("Error restoring snapshot")?;
    output::line("Restored snapshot")
}

/// Reads the whole file and checks every byte of it, as a server does before it restores anything.
fn verify(file: &Path) -> anyhow::Result<()> {
    let mut archive = open(file)?;
    while archive.next_chunk()?.is_some() {}
    Ok(())
}

fn open(file: &Path) -> anyhow::Result<Reader<BufReader<File>>> {
    let opened = File::open(file).with_context(|| format!("Error opening {}", file.display()))?;
    Ok(Reader::open(BufReader::with_capacity(CHUNK_BYTES, opened))?)
}

/// What `inspect` tells.
#[derive(Debug, Serialize)]
struct Inspected {
    index: u64,
    cluster: String,
    datacenter: String,
    version: String,
    size_bytes: u64,
    frames: u64,
    keys: usize,
    key_bytes: usize,
    value_bytes: usize,
    sessions: usize,
    nodes: usize,
    checks: usize,
}

/// Without a server: reads the file into a state, which proves that it can be restored, and counts.
fn inspect(file: &Path, format: FormatArgs) -> anyhow::Result<()> {
    let mut archive = open(file)?;
    let mut loader = rollcall_state::Loader::new();
    while let Some(chunk) = archive.next_chunk()? {
        loader.push(&chunk).context("the snapshot is damaged")?;
    }
    let state = loader.finish().context("the snapshot is damaged")?;
    let header = archive.header().clone();
    let keys = state.kv_list("").value;
    let nodes = state.catalog_nodes().value;
    let inspected = Inspected {
        index: header.index,
        cluster: header.cluster,
        datacenter: header.datacenter,
        version: header.version,
        size_bytes: std::fs::metadata(file)?.len(),
        frames: archive.frames(),
        keys: keys.len(),
        key_bytes: keys.iter().map(|entry| entry.key().len()).sum(),
        value_bytes: keys.iter().map(|entry| entry.value().len()).sum(),
        sessions: state.sessions().value.len(),
        checks: nodes
            .iter()
            .map(|node| state.health_node(&node.spec.node).value.len())
            .sum(),
        nodes: nodes.len(),
    };
    format.print(&inspected, || print(&inspected))
}

fn print(inspected: &Inspected) -> anyhow::Result<()> {
    let Inspected {
        index,
        cluster,
        datacenter,
        version,
        size_bytes,
        frames,
        ..
    } = inspected;
    for (name, value) in [
        ("Index", index.to_string()),
        ("Cluster", cluster.clone()),
        ("Datacenter", datacenter.clone()),
        ("Version", version.clone()),
        ("Size", format!("{size_bytes} bytes in {frames} frames")),
    ] {
        output::line(format_args!("{name:<12}{value}"))?;
    }
    output::line("")?;
    let Inspected {
        keys,
        key_bytes,
        value_bytes,
        sessions,
        nodes,
        checks,
        ..
    } = inspected;
    let rows = [
        ("KVS", keys),
        ("Session", sessions),
        ("Node", nodes),
        ("Check", checks),
    ];
    output::table(
        ["Type", "Count"],
        rows.map(|(name, count)| [name.to_owned(), count.to_string()]),
    )?;
    output::line(format_args!(
        "\nBytes of keys {key_bytes}, of values {value_bytes}"
    ))
}
