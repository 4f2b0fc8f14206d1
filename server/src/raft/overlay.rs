//! A database file one may look at without changing it: what is written stays in memory.
//!
//! redb repairs a file when it opens it, and a repair of a damaged file may throw away entries this server acknowledged.
//! So a file is opened through this first, checked from end to end, and only then for real.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use redb::{BackendError, StorageBackend};

/// Writes are kept in pieces of this size.
const PIECE_BYTES: u64 = 4096;

/// A backend whose writes do not reach the file.
#[derive(Debug)]
pub(crate) struct Overlay {
    below: Box<dyn StorageBackend>,
    below_len: u64,
    len: AtomicU64,
    pieces: Mutex<BTreeMap<u64, Vec<u8>>>,
}

impl Overlay {
    pub(crate) fn new(below: Box<dyn StorageBackend>) -> io::Result<Self> {
        let below_len = below.len()?;
        Ok(Self {
            below,
            below_len,
            len: AtomicU64::new(below_len),
            pieces: Mutex::default(),
        })
    }

    /// A whole piece as the file below has it, zeros past its end.
    fn piece_below(&self, piece: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; PIECE_BYTES as usize];
        let start = piece * PIECE_BYTES;
        let there = self.below_len.saturating_sub(start).min(PIECE_BYTES) as usize;
        if there > 0 {
            self.below.read(start, &mut bytes[..there])?;
        }
        Ok(bytes)
    }
}

/// The pieces a range touches: piece, start within it, length within it.
fn pieces_of(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset + length as u64;
    let first = offset / PIECE_BYTES;
    (first..end.div_ceil(PIECE_BYTES)).map(move |piece| {
        let start = piece * PIECE_BYTES;
        let from = offset.max(start);
        let to = end.min(start + PIECE_BYTES);
        (piece, (from - start) as usize, (to - from) as usize)
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.len.load(Ordering::Acquire))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset + out.len() as u64 > self.len()? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let pieces = self.pieces.lock();
        if pieces.is_empty() && offset + out.len() as u64 <= self.below_len {
            return self.below.read(offset, out);
        }
        let mut at = 0;
        for (piece, start, length) in pieces_of(offset, out.len()) {
            let to = &mut out[at..at + length];
            match pieces.get(&piece) {
                Some(bytes) => to.copy_from_slice(&bytes[start..start + length]),
                None => {
                    let from = piece * PIECE_BYTES + start as u64;
                    let there = self.below_len.saturating_sub(from).min(length as u64) as usize;
                    self.below.read(from, &mut to[..there])?;
                    to[there..].fill(0);
                }
            }
            at += length;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.len.store(len, Ordering::Release);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut pieces = self.pieces.lock();
        let mut at = 0;
        for (piece, start, length) in pieces_of(offset, data.len()) {
            let bytes = match pieces.entry(piece) {
                std::collections::btree_map::Entry::Occupied(there) => there.into_mut(),
                std::collections::btree_map::Entry::Vacant(free) => {
                    free.insert(self.piece_below(piece)?)
                }
            };
            bytes[start..start + length].copy_from_slice(&data[at..at + length]);
            at += length;
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.below.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.below.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.below.try_lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.below.unlock_range(start, end)
    }
}

/// A boxed backend as redb wants it: by value.
#[derive(Debug)]
pub(crate) struct Boxed(pub(crate) Box<dyn StorageBackend>);

impl StorageBackend for Boxed {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.0.try_lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_seen_above_and_do_not_reach_below() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![7u8; 10_000]).unwrap();
        let below = redb::backends::FileBackend::new(file.reopen().unwrap()).unwrap();
        let overlay = Overlay::new(Box::new(below)).unwrap();
        overlay.set_len(20_000).unwrap();
        overlay.write(4_090, &[1; 20]).unwrap();
        overlay.write(9_995, &[2; 10]).unwrap();
        let mut seen = vec![9; 20_000];
        overlay.read(0, &mut seen).unwrap();
        let expected = [
            vec![7; 4_090],
            vec![1; 20],
            vec![7; 9_995 - 4_110],
            vec![2; 10],
            vec![0; 20_000 - 10_005],
        ];
        assert_eq!(seen, expected.concat());
        assert!(overlay.read(19_999, &mut [0; 2]).is_err());
        assert_eq!(std::fs::read(file.path()).unwrap(), vec![7u8; 10_000]);
    }
}
