//! Restoring a saved state through the log: chunks are staged beside the live state, and one command swaps.
//!
//! Until the swap nothing of it can be read; a restore that breaks off, or whose chunks are not the ones that were sent,
//! changes nothing. What is staged is part of snapshots, so that a server that joins half-way swaps too.
//!
//! What a restore keeps of the live cluster: its id, its cluster time, and its lock-delays (their ends are stamps of this cluster; a key freed
//! just before is not up for grabs just after). Sessions come with the backup, their TTLs start afresh with the leader;
//! the cluster's own nodes are registered again by the leader. The log's index goes on; the offset lifts the state's
//! index above everything that either state has ever answered. Restored rows keep their indexes.

use std::sync::Arc;

use crate::command::{RestoreAbort, RestoreBegin, RestoreChunk, RestoreSwap};
use crate::reply::Refusal;
use crate::snapshot::{Include, Loader};
use crate::{Changes, Reply, State};

/// A restore under way.
#[derive(Debug, Clone)]
pub(crate) struct Staged {
    pub(crate) id: String,
    pub(crate) next_sequence: u64,
    /// CRC-32 and number of all chunks' bytes so far.
    pub(crate) checksum: u32,
    pub(crate) bytes: u64,
    pub(crate) loader: Loader,
}

impl State {
    pub(crate) fn restore_begin(&mut self, begin: &RestoreBegin) -> Reply {
        self.staged = Some(Arc::new(Staged {
            id: begin.id.clone(),
            next_sequence: 0,
            checksum: 0,
            bytes: 0,
            loader: Loader::new(),
        }));
        Reply::None
    }

    pub(crate) fn restore_chunk(&mut self, chunk: &RestoreChunk) -> Result<(), Refusal> {
        let mut staged = self.take_staged(&chunk.id)?;
        if chunk.sequence != staged.next_sequence {
            return Err(refusal(format!(
                "chunk {} came where chunk {} was expected; nothing was changed",
                chunk.sequence, staged.next_sequence
            )));
        }
        let own = Arc::make_mut(&mut staged);
        let mut hasher = crc32fast::Hasher::new_with_initial_len(own.checksum, own.bytes);
        hasher.update(&chunk.rows);
        own.checksum = hasher.finalize();
        own.bytes += chunk.rows.len() as u64;
        own.next_sequence += 1;
        own.loader.push(&chunk.rows).map_err(|e| {
            refusal(format!(
                "chunk {}: {e}; nothing was changed",
                chunk.sequence
            ))
        })?;
        if own.loader.include() == Some(Include::Everything) {
            // Its tombstones and lock-delays are in another cluster's indexes and time.
            return Err(refusal(
                "this is a snapshot of a server, not a backup; nothing was changed".into(),
            ));
        }
        self.staged = Some(staged);
        Ok(())
    }

    pub(crate) fn restore_swap(
        &mut self,
        swap: &RestoreSwap,
        log_index: u64,
        changes: &mut Changes,
    ) -> Result<(), Refusal> {
        let staged = self.take_staged(&swap.id)?;
        if staged.next_sequence != swap.chunks {
            return Err(refusal(format!(
                "{} chunks arrived of {}; nothing was changed",
                staged.next_sequence, swap.chunks
            )));
        }
        if staged.checksum != swap.checksum {
            return Err(refusal(format!(
                "checksum of what arrived is {:08x}, of what was sent {:08x}; nothing was changed",
                staged.checksum, swap.checksum
            )));
        }
        let restored_max = staged.loader.max_index();
        let restored = (*staged)
            .clone()
            .loader
            .finish()
            .map_err(|e| refusal(format!("{e}; nothing was changed")))?;

        let above = self.index.max(restored.index).max(restored_max) + 1;
        let mut tables = restored.tables;
        for (key, end) in self.tables.sessions.delays() {
            tables.sessions.delay(key.clone(), *end);
        }
        tables.kv.graves.raise_watermark(above);
        tables.sessions.raise(above, above);
        tables.catalog.lift(above);
        tables.queries.raise(above, above);
        self.tables = tables;
        self.offset = above - log_index;
        self.index = above;
        changes.everything = true;
        Ok(())
    }

    pub(crate) fn restore_abort(&mut self, abort: &RestoreAbort) -> Reply {
        if self.staged.as_ref().is_some_and(|s| s.id == abort.id) {
            self.staged = None;
        }
        Reply::None
    }

    /// Takes the restore out: every error path drops it, the others put it back.
    fn take_staged(&mut self, id: &str) -> Result<Arc<Staged>, Refusal> {
        match self.staged.take() {
            Some(staged) if staged.id == id => Ok(staged),
            Some(other) => {
                let words = format!("{id} is not the one under way ({})", other.id);
                // Somebody else's late command must not end the restore that is under way.
                self.staged = Some(other);
                Err(refusal(words))
            }
            None => Err(refusal(format!("{id} is not under way"))),
        }
    }
}

fn refusal(words: String) -> Refusal {
    Refusal::Restore(words)
}
