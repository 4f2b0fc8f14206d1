//! Saved snapshots as files: what `GET /v1/snapshot` sends and `PUT` takes.
//!
//! ```text
//! magic ── header length, JSON header ── frame* ── end ── SHA-256 of everything before
//! frame: length (u32, little-endian, not 0), CRC-32 of the bytes, bytes      end: length 0, number of frames (u64)
//! ```
//! The frames are chunks of the state's own snapshot format; this container adds what a file that travels needs: it says
//! what it is, half a file is not a file, and a flipped bit is found before anything is restored. The format lives for
//! ever: `magic` ends with its version, and the header is JSON, to which fields can be added.

use std::io::{self, Read};

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Beginning of every archive; the last byte is the version.
const MAGIC: &[u8; 16] = b"rollcall-snap\r\n\x01";
/// Bytes of the header; it holds a handful of short fields.
const HEADER_BYTES_MAX: u32 = 64 * 1024;
/// Bytes of a frame. Chunks are cut near [`FRAME_BYTES`] and may exceed it by one row.
const FRAME_BYTES_MAX: u32 = 64 << 20;
/// Bytes that chunks should have: each becomes one command of the log when it is restored.
pub const FRAME_BYTES: usize = 512 * 1024;

/// What an archive says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The state's index.
    pub index: u64,
    /// The cluster it comes from.
    #[serde(default)]
    pub cluster: String,
    /// That cluster's datacenter.
    #[serde(default)]
    pub datacenter: String,
    /// Version of the server that wrote it.
    #[serde(default)]
    pub version: String,
}

/// Why a file is no archive that could be restored. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ArchiveError {
    #[error("not a snapshot of rollcall")]
    Foreign,
    #[error("snapshot format {0} is not known to this version (it knows {known})", known = MAGIC[15])]
    Version(u8),
    #[error("the snapshot ends too early, after {0} bytes")]
    Truncated(u64),
    #[error("the snapshot goes on after its end")]
    TooLong,
    #[error("the snapshot is damaged: {0}")]
    Damaged(String),
    #[error("cannot read the snapshot")]
    Io(#[source] io::Error),
}

/// Makes the bytes of an archive, piece by piece.
#[derive(Debug)]
pub struct Writer {
    hash: Sha256,
    frames: u64,
}

impl Writer {
    /// Begins an archive; returns its first bytes.
    pub fn begin(header: &Header) -> (Self, Bytes) {
        let header = serde_json::to_vec(header).expect("a header must be JSON");
        let mut out = BytesMut::with_capacity(MAGIC.len() + 4 + header.len());
        out.put_slice(MAGIC);
        out.put_u32_le(u32::try_from(header.len()).expect("a header must be short"));
        out.put_slice(&header);
        let mut hash = Sha256::new();
        hash.update(&out);
        (Writer { hash, frames: 0 }, out.freeze())
    }

    /// A chunk as a frame. Chunks are not empty.
    pub fn frame(&mut self, chunk: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(8 + chunk.len());
        out.put_u32_le(u32::try_from(chunk.len()).expect("a chunk must be shorter than 4 GiB"));
        out.put_u32_le(crc32fast::hash(chunk));
        out.put_slice(chunk);
        self.hash.update(&out);
        self.frames += 1;
        out.freeze()
    }

    /// The last bytes.
    pub fn end(mut self) -> Bytes {
        let mut out = BytesMut::with_capacity(12 + 32);
        out.put_u32_le(0);
        out.put_u64_le(self.frames);
        self.hash.update(&out);
        out.put_slice(&self.hash.finalize());
        out.freeze()
    }
}

/// Reads an archive and checks every byte of it. Trust nothing of it before [`Reader::next_chunk`] said `None`.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    hash: Sha256,
    header: Header,
    frames: u64,
    bytes: u64,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the beginning.
    pub fn open(mut source: R) -> Result<Self, ArchiveError> {
        let mut magic = [0; MAGIC.len()];
        let mut got = 0;
        while got < magic.len() {
            match source.read(&mut magic[got..]).map_err(ArchiveError::Io)? {
                0 => break,
                n => got += n,
            }
        }
        let known = MAGIC.len() - 1;
        if magic[..got.min(known)] != MAGIC[..got.min(known)] || got == 0 {
            return Err(ArchiveError::Foreign);
        }
        if got < magic.len() {
            return Err(ArchiveError::Truncated(got as u64));
        }
        if magic[known] != MAGIC[known] {
            return Err(ArchiveError::Version(magic[known]));
        }
        let mut hash = Sha256::new();
        hash.update(magic);
        let mut reader = Reader {
            source,
            hash,
            header: Header {
                index: 0,
                cluster: String::new(),
                datacenter: String::new(),
                version: String::new(),
            },
            frames: 0,
            bytes: magic.len() as u64,
            ended: false,
        };
        let length = reader.u32()?;
        if length > HEADER_BYTES_MAX {
            return Err(ArchiveError::Damaged(format!(
                "its header has {length} bytes"
            )));
        }
        let header = reader.take(length)?;
        reader.header = serde_json::from_slice(&header)
            .map_err(|error| ArchiveError::Damaged(format!("its header: {error}")))?;
        Ok(reader)
    }

    /// What the archive says about itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Frames read so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// The next chunk. `None`: that was all, and all of it was whole.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, ArchiveError> {
        if self.ended {
            return Ok(None);
        }
        let length = self.u32()?;
        if length == 0 {
            self.check_end()?;
            return Ok(None);
        }
        if length > FRAME_BYTES_MAX {
            return Err(ArchiveError::Damaged(format!("a frame of {length} bytes")));
        }
        let checksum = self.u32()?;
        let chunk = self.take(length)?;
        if crc32fast::hash(&chunk) != checksum {
            return Err(ArchiveError::Damaged(format!(
                "frame {} has another checksum",
                self.frames
            )));
        }
        self.frames += 1;
        Ok(Some(chunk.into()))
    }

    fn check_end(&mut self) -> Result<(), ArchiveError> {
        let mut frames = [0; 8];
        self.fill(&mut frames)?;
        let expected = self.hash.clone().finalize();
        let mut found = [0; 32];
        self.fill(&mut found)?;
        if found != expected[..] {
            return Err(ArchiveError::Damaged("it has another checksum".to_owned()));
        }
        let frames = u64::from_le_bytes(frames);
        if frames != self.frames {
            return Err(ArchiveError::Damaged(format!(
                "{} frames of {frames}",
                self.frames
            )));
        }
        self.ended = true;
        match self.source.read(&mut [0]).map_err(ArchiveError::Io)? {
            0 => Ok(()),
            _ => Err(ArchiveError::TooLong),
        }
    }

    fn u32(&mut self) -> Result<u32, ArchiveError> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn take(&mut self, length: u32) -> Result<Vec<u8>, ArchiveError> {
        // Grown as bytes come: a damaged length must not take memory.
        let mut taken = Vec::new();
        let read = (&mut self.source)
            .take(u64::from(length))
            .read_to_end(&mut taken)
            .map_err(ArchiveError::Io)?;
        self.bytes += read as u64;
        if read as u64 != u64::from(length) {
            return Err(ArchiveError::Truncated(self.bytes));
        }
        self.hash.update(&taken);
        Ok(taken)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), ArchiveError> {
        match self.source.read_exact(bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(ArchiveError::Truncated(self.bytes));
            }
            Err(error) => return Err(ArchiveError::Io(error)),
        }
        self.bytes += bytes.len() as u64;
        self.hash.update(&*bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(chunks: &[&[u8]]) -> Vec<u8> {
        let header = Header {
            index: 42,
            cluster: "c".to_owned(),
            datacenter: "dc1".to_owned(),
            version: "0.1.0".to_owned(),
        };
        let (mut writer, first) = Writer::begin(&header);
        let mut whole = first.to_vec();
        for chunk in chunks {
            whole.extend_from_slice(&writer.frame(chunk));
        }
        whole.extend_from_slice(&writer.end());
        whole
    }

    fn read(bytes: &[u8]) -> Result<Vec<Bytes>, ArchiveError> {
        let mut reader = Reader::open(bytes)?;
        let mut chunks = Vec::new();
        while let Some(chunk) = reader.next_chunk()? {
            chunks.push(chunk);
        }
        Ok(chunks)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let whole = archive(&[b"one", b"two"]);
        assert_eq!(read(&whole).expect("must be whole"), ["one", "two"]);
        assert_eq!(
            Reader::open(&whole[..]).expect("must open").header().index,
            42
        );
        assert_eq!(read(&archive(&[])).expect("must be whole").len(), 0);
    }

    #[test]
    fn every_half_and_every_flipped_bit_is_found() {
        let whole = archive(&[b"one", b"two"]);
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "{length} bytes");
        }
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&damaged).is_err(), "bit {bit}");
        }
        let mut longer = whole;
        longer.push(0);
        assert!(matches!(read(&longer), Err(ArchiveError::TooLong)));
    }

    #[test]
    fn a_foreign_file_is_named_as_such() {
        assert!(matches!(
            read(b"\x1f\x8b\x08 consul's own"),
            Err(ArchiveError::Foreign)
        ));
        assert!(matches!(read(b""), Err(ArchiveError::Foreign)));
        assert!(matches!(
            read(b"rollcall-snap\r\n\x02"),
            Err(ArchiveError::Version(2))
        ));
    }
}
