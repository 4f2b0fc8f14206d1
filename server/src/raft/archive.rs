//! The container of snapshot files: header, checked chunks, and a trailer that says it is complete.
//!
//! `RCSNAP1\n | u32 length, u32 crc32, header JSON | (1, u32 length, u32 crc32, chunk)* | 2, u64 chunks, u64 bytes, sha256`;
//! numbers are little endian, the sha256 is over everything before it. The container knows nothing of states: the
//! header and the chunks are its users'.

use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};

const MAGIC: &[u8; 8] = b"RCSNAP1\n";
const TAG_CHUNK: u8 = 1;
const TAG_END: u8 = 2;
/// Largest header: a membership of hundreds of servers.
const HEADER_BYTES_MAX: usize = 1 << 20;
/// Largest chunk: what `State::chunks` was asked for plus one row, which may have 64 MiB.
const CHUNK_BYTES_MAX: usize = 66 << 20;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Reading failed.
    #[error("cannot read it")]
    Io(#[source] io::Error),
    /// It is not a snapshot of ours, or of a later version.
    #[error("it is not a rollcall snapshot of version 1")]
    Foreign,
    /// It ends before its trailer.
    #[error("it is cut off")]
    Short,
    /// Something in it changed since it was written.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
}

/// Writes an archive.
pub struct ArchiveWriter<W> {
    sink: W,
    hasher: Sha256,
    chunks: u64,
    bytes: u64,
}

impl<W: Write> ArchiveWriter<W> {
    /// Begins with a header (JSON).
    ///
    /// # Errors
    /// The sink's.
    pub fn new(sink: W, header: &[u8]) -> io::Result<Self> {
        let mut writer = Self {
            sink,
            hasher: Sha256::new(),
            chunks: 0,
            bytes: 0,
        };
        writer.put(MAGIC)?;
        writer.put_checked(header)?;
        Ok(writer)
    }

    /// Adds a chunk.
    ///
    /// # Errors
    /// The sink's.
    pub fn chunk(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.put(&[TAG_CHUNK])?;
        self.put_checked(chunk)?;
        self.chunks += 1;
        self.bytes += chunk.len() as u64;
        Ok(())
    }

    /// The sink, to sync it now and then.
    pub fn sink(&mut self) -> &mut W {
        &mut self.sink
    }

    /// Writes the trailer. The sink still has to be synced.
    ///
    /// # Errors
    /// The sink's.
    pub fn finish(mut self) -> io::Result<W> {
        let (chunks, bytes) = (self.chunks, self.bytes);
        self.put(&[TAG_END])?;
        self.put(&chunks.to_le_bytes())?;
        self.put(&bytes.to_le_bytes())?;
        let digest = self.hasher.finalize();
        self.sink.write_all(&digest)?;
        self.sink.flush()?;
        Ok(self.sink)
    }

    fn put_checked(&mut self, content: &[u8]) -> io::Result<()> {
        self.put(&(content.len() as u32).to_le_bytes())?;
        self.put(&crc32fast::hash(content).to_le_bytes())?;
        self.put(content)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.sink.write_all(bytes)
    }
}

/// Reads an archive. What it yields is only to be trusted once [`ArchiveReader::next_chunk`] said `None`.
pub struct ArchiveReader<R> {
    source: R,
    hasher: Sha256,
    chunks: u64,
    bytes: u64,
}

impl<R: Read> ArchiveReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn new(source: R) -> Result<(Vec<u8>, Self), ArchiveError> {
        let mut reader = Self {
            source,
            hasher: Sha256::new(),
            chunks: 0,
            bytes: 0,
        };
        let mut magic = [0; MAGIC.len()];
        reader.take(&mut magic)?;
        if &magic != MAGIC {
            return Err(ArchiveError::Foreign);
        }
        let header = reader.take_checked(HEADER_BYTES_MAX, "its header")?;
        Ok((header, reader))
    }

    /// The next chunk; `None` once all are read and the archive is known to be whole.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, ArchiveError> {
        let mut tag = [0];
        self.take(&mut tag)?;
        match tag[0] {
            TAG_CHUNK => {
                let chunk = self.take_checked(CHUNK_BYTES_MAX, "a chunk")?;
                self.chunks += 1;
                self.bytes += chunk.len() as u64;
                Ok(Some(chunk))
            }
            TAG_END => self.take_trailer().map(|()| None),
            _ => Err(ArchiveError::Damaged("a chunk's mark")),
        }
    }

    fn take_trailer(&mut self) -> Result<(), ArchiveError> {
        let chunks = u64::from_le_bytes(self.take_array()?);
        let bytes = u64::from_le_bytes(self.take_array()?);
        let expected = self.hasher.clone().finalize();
        let digest: [u8; 32] = self.take_array()?;
        if (chunks, bytes) != (self.chunks, self.bytes) {
            return Err(ArchiveError::Damaged("its counts"));
        }
        if digest != *expected {
            return Err(ArchiveError::Damaged("its checksum"));
        }
        match self.source.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(ArchiveError::Damaged("something follows its end")),
            Err(error) => Err(ArchiveError::Io(error)),
        }
    }

    fn take_checked(&mut self, max: usize, what: &'static str) -> Result<Vec<u8>, ArchiveError> {
        let length = u32::from_le_bytes(self.take_array()?) as usize;
        let checksum = u32::from_le_bytes(self.take_array()?);
        if length > max {
            return Err(ArchiveError::Damaged(what));
        }
        let mut content = vec![0; length];
        self.take(&mut content)?;
        if crc32fast::hash(&content) != checksum {
            return Err(ArchiveError::Damaged(what));
        }
        Ok(content)
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], ArchiveError> {
        let mut bytes = [0; N];
        self.take(&mut bytes)?;
        Ok(bytes)
    }

    fn take(&mut self, bytes: &mut [u8]) -> Result<(), ArchiveError> {
        self.source
            .read_exact(bytes)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => ArchiveError::Short,
                _ => ArchiveError::Io(error),
            })?;
        self.hasher.update(&*bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Vec<u8> {
        let mut writer = ArchiveWriter::new(Vec::new(), b"{\"a\":1}").unwrap();
        writer.chunk(b"first").unwrap();
        writer.chunk(b"").unwrap();
        writer.chunk(b"third chunk").unwrap();
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<(Vec<u8>, Vec<Vec<u8>>), ArchiveError> {
        let (header, mut reader) = ArchiveReader::new(bytes)?;
        let mut chunks = Vec::new();
        while let Some(chunk) = reader.next_chunk()? {
            chunks.push(chunk);
        }
        Ok((header, chunks))
    }

    #[test]
    fn an_archive_comes_back_as_written() {
        let (header, chunks) = read(&written()).unwrap();
        assert_eq!(header, b"{\"a\":1}");
        let expected: [&[u8]; 3] = [b"first", b"", b"third chunk"];
        assert_eq!(chunks, expected);
    }

    #[test]
    fn a_flipped_bit_a_missing_byte_or_one_too_many_is_found() {
        let whole = written();
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&damaged).is_err(), "bit {bit}");
        }
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "{length} bytes");
        }
        assert!(read(&[&whole[..], b"x"].concat()).is_err());
    }
}
