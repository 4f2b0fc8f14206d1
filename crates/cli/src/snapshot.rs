//! `rollcall snapshot`.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use clap::{Args, Subcommand};
use rollcall_client::{Client, ReadOptions};

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
}

pub(crate) fn run(args: SnapshotArgs) -> anyhow::Result<()> {
    let SnapshotArgs {
        connect,
        format: _,
        command,
    } = args;
    match command {
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
    std::fs::File::open(directory)
        .and_then(|directory| directory.sync_all())
        .context("syncing the directory")?;
    output::line(format_args!(
        "Saved and verified snapshot to index {}",
        stream.index
    ))
}

async fn restore(client: &Client, file: &Path) -> anyhow::Result<()> {
    verify(file).context("Error verifying snapshot file")?;
    let opened =
        std::fs::File::open(file).with_context(|| format!("Error opening {}", file.display()))?;
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
            let last = !read.as_ref().is_ok_and(|chunk| !chunk.is_empty());
            // An empty chunk is the end; nobody takes more when the server has answered early.
            if (last && read.is_ok()) || send.blocking_send(read).is_err() || last {
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

/// Reads the whole file as a server would.
fn verify(file: &Path) -> anyhow::Result<()> {
    let length = std::fs::metadata(file)
        .with_context(|| format!("Error opening {}", file.display()))?
        .len();
    ensure!(length > 0, "{} is empty", file.display());
    Ok(())
}
