//! A short file in front of the log's: new entries are made durable here in one sequential write and reach redb by and by.
//!
//! A commit of redb writes eight pages and more, each in another place; on a disk that does some ten thousand writes a
//! second that is most of a write's latency, whatever is in the commit. Here a batch of entries is one write and one sync; hundreds
//! of batches then share one commit. Only entries go this way: votes, truncations, purges and named values are rare, and
//! are committed to redb at once, together with the entries that waited here.
//!
//! ```text
//! header · record · record · …           each begins at a multiple of 4 KiB, so that no synced byte is written again
//! record = magic | crc32 | generation u64 | sequence u64 | length u32 | count u32 | count × (length u32 | entry)
//! ```
//! The generation stands in redb too (`META_JOURNAL`) and moves with every commit that takes the journal's entries over; records of
//! earlier ones are dead. A record is written only after the one before is durable: a broken record with a whole one of its
//! generation behind it is damage, and one with none behind it was never acknowledged.

use std::io;
use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut, BytesMut};
use redb::StorageBackend;

use super::log_open::StoreError;
use super::record::{put_entry, take_entry};
use super::types::Entry;
use crate::disk::{Disk, write_atomically};

/// Name of the file in the data directory.
pub(super) const FILE_NAME: &str = "raft.journal";
/// Length of the file while it is in use. What it holds is in memory too, and is what one commit of redb takes over: more would
/// let writes wait for that commit.
const FILE_BYTES: u64 = 1 << 20;
/// Records begin at multiples of this.
const BLOCK_BYTES: u64 = 4096;
/// The first block.
const HEADER: &[u8; 16] = b"rollcall-journl1";
const MAGIC: u32 = 0x4e4a_4352;
/// Bytes of a record before its entries.
const HEAD_BYTES: usize = 32;
/// Magic and checksum, which the checksum does not cover.
const UNCHECKED_BYTES: usize = 8;

/// The open journal.
#[derive(Debug)]
pub(super) struct Journal {
    file: Box<dyn StorageBackend>,
    path: PathBuf,
    generation: u64,
    sequence: u64,
    end: u64,
    /// The record being written; kept for its memory.
    record: BytesMut,
}

impl Journal {
    /// Opens it for writing, made if it is not there. Durable with its name when this returns; what it held is dead if
    /// `generation` is a new one.
    pub(super) fn open(disk: &dyn Disk, path: &Path, generation: u64) -> io::Result<Self> {
        if !disk.exists(path) {
            write_atomically(disk, path, HEADER)?;
        }
        let file = disk.open_database(path)?;
        if file.len()? != FILE_BYTES {
            file.set_len(FILE_BYTES)?;
            file.write(0, HEADER)?;
            file.sync_data()?;
        }
        Ok(Self {
            file,
            path: path.to_owned(),
            generation,
            sequence: 0,
            end: BLOCK_BYTES,
            record: BytesMut::new(),
        })
    }

    /// The generation of what is written now.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Makes entries durable, all or none of them. `false`, and nothing written: there is no room for them.
    pub(super) fn append<'a>(
        &mut self,
        entries: impl Iterator<Item = &'a Entry>,
    ) -> io::Result<bool> {
        self.encode(entries);
        let length = (self.record.len() as u64).next_multiple_of(BLOCK_BYTES);
        if self.end + length > FILE_BYTES {
            return Ok(false);
        }
        let written = self.file.write(self.end, &self.record);
        written
            .and_then(|()| self.file.sync_data())
            .map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
            })?;
        self.end += length;
        self.sequence += 1;
        Ok(true)
    }

    fn encode<'a>(&mut self, entries: impl Iterator<Item = &'a Entry>) {
        let out = &mut self.record;
        out.clear();
        out.put_u32_le(MAGIC);
        out.put_u32_le(0);
        out.put_u64_le(self.generation);
        out.put_u64_le(self.sequence);
        out.put_u64_le(0);
        let mut count = 0;
        for entry in entries {
            let start = out.len();
            out.put_u32_le(0);
            put_entry(entry, out);
            let length = (out.len() - start - 4) as u32;
            out[start..start + 4].copy_from_slice(&length.to_le_bytes());
            count += 1;
        }
        let length = (out.len() - HEAD_BYTES) as u32;
        out[24..28].copy_from_slice(&length.to_le_bytes());
        out[28..HEAD_BYTES].copy_from_slice(&u32::to_le_bytes(count));
        let checksum = crc32fast::hash(&out[UNCHECKED_BYTES..]);
        out[4..UNCHECKED_BYTES].copy_from_slice(&checksum.to_le_bytes());
    }

    /// Begins again: what it held is in redb, which says so by this generation.
    pub(super) fn restart(&mut self, generation: u64) {
        self.generation = generation;
        self.sequence = 0;
        self.end = BLOCK_BYTES;
    }

    /// Leaves an empty file behind: redb has everything and knows that nothing is here.
    pub(super) fn clear(&self) -> io::Result<()> {
        self.file.set_len(0)
    }
}

/// What was found of a record.
struct Found {
    sequence: u64,
    entries: Vec<u8>,
    count: u32,
}

/// The entries of a generation. Changes nothing.
pub(super) fn read(
    disk: &dyn Disk,
    path: &Path,
    generation: u64,
) -> Result<Vec<Entry>, StoreError> {
    let content = content(disk, path)?;
    let damaged = |why: String| StoreError::Damaged {
        path: path.to_owned(),
        why,
    };
    let mut entries = Vec::new();
    let (mut at, mut sequence) = (BLOCK_BYTES as usize, 0);
    while let Some(found) = record_at(&content, at, generation)
        && found.sequence == sequence
    {
        let mut rest = found.entries.as_slice();
        for _ in 0..found.count {
            let entry = next_entry(&mut rest).map_err(|why| damaged(why.to_string()))?;
            entries.push(entry);
        }
        at += (HEAD_BYTES + found.entries.len()).next_multiple_of(BLOCK_BYTES as usize);
        sequence += 1;
    }
    let behind = (at..content.len()).step_by(BLOCK_BYTES as usize).skip(1);
    for place in behind {
        if record_at(&content, place, generation).is_some() {
            return Err(damaged(format!("the record at byte {at} is broken")));
        }
    }
    Ok(entries)
}

fn content(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>, StoreError> {
    let damaged = |why: &str| StoreError::Damaged {
        path: path.to_owned(),
        why: why.to_owned(),
    };
    if !disk.exists(path) {
        return Err(damaged("it is missing, and the log says that it is in use"));
    }
    let mut content = Vec::new();
    let read = disk
        .open(path)
        .and_then(|mut file| file.read_to_end(&mut content));
    read.map_err(|source| StoreError::Io {
        path: path.to_owned(),
        source,
    })?;
    if content.len() as u64 != FILE_BYTES {
        return Err(damaged("it was cut off or is not a journal"));
    }
    match content.starts_with(HEADER) {
        true => Ok(content),
        false => Err(damaged("it does not begin as a journal does")),
    }
}

/// A whole record of this generation at this place.
fn record_at(content: &[u8], at: usize, generation: u64) -> Option<Found> {
    let mut head = content.get(at..at + HEAD_BYTES)?;
    let (magic, checksum) = (head.get_u32_le(), head.get_u32_le());
    let (of, sequence) = (head.get_u64_le(), head.get_u64_le());
    let (length, count) = (head.get_u32_le(), head.get_u32_le());
    if magic != MAGIC || of != generation {
        return None;
    }
    let end = (at + HEAD_BYTES).checked_add(usize::try_from(length).ok()?)?;
    let checked = content.get(at + UNCHECKED_BYTES..end)?;
    let entries = content[at + HEAD_BYTES..end].to_vec();
    (crc32fast::hash(checked) == checksum).then_some(Found {
        sequence,
        entries,
        count,
    })
}

fn next_entry(rest: &mut &[u8]) -> Result<Entry, String> {
    let (length, after) = rest
        .split_first_chunk::<4>()
        .ok_or("an entry without a length")?;
    let length = u32::from_le_bytes(*length) as usize;
    let (record, after) = after.split_at_checked(length).ok_or("half an entry")?;
    *rest = after;
    take_entry(record).map_err(|error| error.to_string())
}

#[cfg(test)]
#[path = "log_journal_tests.rs"]
mod tests;
