//! The container of snapshot files: a header, checked frames, and an end that says the file is whole.
//!
//! Two layouts of it are on disks and live for ever, told apart by their first bytes ([`Layout`]). The container knows
//! nothing of states: header and frames are its users'. Numbers are little-endian, checksums CRC-32, and the last 32
//! bytes are the SHA-256 of everything before them.
//!
//! ```text
//! Saved  "rollcall-snap\r\n\x01" | length u32, header | (length u32 > 0, checksum, frame)*    | 0 u32, frames u64 | SHA-256
//! Raft   "RCSNAP1\n" | length u32, checksum, header   | (1 u8, length u32, checksum, frame)*  | 2 u8, frames u64, bytes u64 | SHA-256
//! ```

use std::io::{self, Read, Write};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

/// Before a frame, in [`Layout::Raft`].
const TAG_FRAME: u8 = 1;
/// Before the end, in [`Layout::Raft`].
const TAG_END: u8 = 2;
/// Memory taken on a length's word alone; a damaged one must not take more.
const TRUSTED_BYTES: u32 = 1 << 20;

/// Which of the two layouts a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// What `GET /v1/snapshot` sends. The last byte of its magic is a version; frames are not empty.
    Saved,
    /// What Raft keeps in the data directory and sends to servers that lag.
    Raft,
}

impl Layout {
    fn magic(self) -> &'static [u8] {
        match self {
            Layout::Saved => b"rollcall-snap\r\n\x01",
            Layout::Raft => b"RCSNAP1\n",
        }
    }

    /// Longest header: a handful of short fields, or a membership of hundreds of servers.
    fn header_bytes_max(self) -> u32 {
        match self {
            Layout::Saved => 64 << 10,
            Layout::Raft => 1 << 20,
        }
    }

    /// Longest frame: frames are cut near a wanted size and may exceed it by one row, which may have 64 MiB.
    fn frame_bytes_max(self) -> u32 {
        66 << 20
    }
}

/// Why a file cannot be used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is something else, or empty.
    #[error("not a snapshot of rollcall")]
    Foreign,
    /// A later version wrote it.
    #[error("snapshot format {0} is not known to this version (it knows 1)")]
    Version(u8),
    /// It ends after so many bytes, before its end.
    #[error("the snapshot ends too early, after {0} bytes")]
    Truncated(u64),
    /// Something follows its end.
    #[error("the snapshot goes on after its end")]
    TooLong,
    /// Something in it changed since it was written.
    #[error("the snapshot is damaged: {0}")]
    Damaged(String),
    /// Reading failed.
    #[error("cannot read the snapshot")]
    Io(#[source] io::Error),
}

/// Writes a file of frames.
#[derive(Debug)]
pub struct FrameWriter<W> {
    layout: Layout,
    sink: W,
    hash: Sha256,
    frames: u64,
    bytes: u64,
}

impl<W: Write> FrameWriter<W> {
    /// Begins with a header.
    ///
    /// # Errors
    /// The sink's.
    pub fn begin(layout: Layout, sink: W, header: &[u8]) -> io::Result<Self> {
        let mut writer = Self {
            layout,
            sink,
            hash: Sha256::new(),
            frames: 0,
            bytes: 0,
        };
        writer.put(layout.magic())?;
        match layout {
            Layout::Saved => {
                writer.put(&length(header).to_le_bytes())?;
                writer.put(header)?;
            }
            Layout::Raft => writer.put_checked(header)?,
        }
        Ok(writer)
    }

    /// Adds a frame.
    ///
    /// # Errors
    /// The sink's.
    pub fn frame(&mut self, content: &[u8]) -> io::Result<()> {
        match self.layout {
            Layout::Saved => assert!(!content.is_empty(), "an empty frame would be the end"),
            Layout::Raft => self.put(&[TAG_FRAME])?,
        }
        self.put_checked(content)?;
        self.frames += 1;
        self.bytes += content.len() as u64;
        Ok(())
    }

    /// The sink, to sync or to empty it now and then.
    pub fn sink(&mut self) -> &mut W {
        &mut self.sink
    }

    /// Writes the end. The sink still has to be synced.
    ///
    /// # Errors
    /// The sink's.
    pub fn end(mut self) -> io::Result<W> {
        let (frames, bytes) = (self.frames, self.bytes);
        match self.layout {
            Layout::Saved => {
                self.put(&0u32.to_le_bytes())?;
                self.put(&frames.to_le_bytes())?;
            }
            Layout::Raft => {
                self.put(&[TAG_END])?;
                self.put(&frames.to_le_bytes())?;
                self.put(&bytes.to_le_bytes())?;
            }
        }
        let digest = self.hash.finalize();
        self.sink.write_all(&digest)?;
        self.sink.flush()?;
        Ok(self.sink)
    }

    fn put_checked(&mut self, content: &[u8]) -> io::Result<()> {
        self.put(&length(content).to_le_bytes())?;
        self.put(&crc32fast::hash(content).to_le_bytes())?;
        self.put(content)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.sink.write_all(bytes)
    }
}

fn length(content: &[u8]) -> u32 {
    u32::try_from(content.len()).expect("a frame must be shorter than 4 GiB")
}

/// Reads a file of frames and checks every byte of it. Trust nothing of it before [`FrameReader::next_frame`] said `None`.
#[derive(Debug)]
pub struct FrameReader<R> {
    layout: Layout,
    source: R,
    hash: Sha256,
    frames: u64,
    /// Of the frames' content.
    bytes: u64,
    /// Of the file, so far.
    read: u64,
    ended: bool,
}

impl<R: Read> FrameReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn open(layout: Layout, source: R) -> Result<(Vec<u8>, Self), ArchiveError> {
        let mut reader = Self {
            layout,
            source,
            hash: Sha256::new(),
            frames: 0,
            bytes: 0,
            read: 0,
            ended: false,
        };
        reader.take_magic()?;
        let max = layout.header_bytes_max();
        let header = match layout {
            Layout::Saved => {
                let length = reader.take_length(max, "its header")?;
                reader.take(length)?
            }
            Layout::Raft => reader.take_checked(max, "its header")?,
        };
        Ok((header, reader))
    }

    /// Frames read so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// The next frame. `None`: that was all, and all of it was whole.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, ArchiveError> {
        if self.ended {
            return Ok(None);
        }
        let what = format!("frame {}", self.frames);
        let max = self.layout.frame_bytes_max();
        let content = match self.layout {
            Layout::Saved => match self.take_length(max, &what)? {
                0 => None,
                length => Some(self.take_content(length, &what)?),
            },
            Layout::Raft => match u8::from_le_bytes(self.take_array()?) {
                TAG_FRAME => Some(self.take_checked(max, &what)?),
                TAG_END => None,
                _ => return Err(ArchiveError::Damaged(format!("the mark of {what}"))),
            },
        };
        let Some(content) = content else {
            self.check_end()?;
            return Ok(None);
        };
        self.frames += 1;
        self.bytes += content.len() as u64;
        Ok(Some(content.into()))
    }

    fn take_magic(&mut self) -> Result<(), ArchiveError> {
        let magic = self.layout.magic();
        let found = self.take_up_to(magic.len() as u32)?;
        let (version, name) = match self.layout {
            Layout::Saved => (found.get(magic.len() - 1), magic.len() - 1),
            Layout::Raft => (None, magic.len()),
        };
        let begins = found.len().min(name);
        if found.is_empty() || found[..begins] != magic[..begins] {
            return Err(ArchiveError::Foreign);
        }
        match version {
            Some(version) if Some(version) != magic.last() => Err(ArchiveError::Version(*version)),
            _ if found.len() < magic.len() => Err(ArchiveError::Truncated(self.read)),
            _ => Ok(()),
        }
    }

    fn check_end(&mut self) -> Result<(), ArchiveError> {
        let frames = u64::from_le_bytes(self.take_array()?);
        let bytes = match self.layout {
            Layout::Saved => self.bytes,
            Layout::Raft => u64::from_le_bytes(self.take_array()?),
        };
        let expected = self.hash.clone().finalize();
        let found: [u8; 32] = self.take_array()?;
        if found != *expected {
            return Err(ArchiveError::Damaged("it has another checksum".to_owned()));
        }
        if (frames, bytes) != (self.frames, self.bytes) {
            let words = format!("{} frames of {frames}", self.frames);
            return Err(ArchiveError::Damaged(words));
        }
        self.ended = true;
        match self.source.read(&mut [0]).map_err(ArchiveError::Io)? {
            0 => Ok(()),
            _ => Err(ArchiveError::TooLong),
        }
    }

    fn take_checked(&mut self, max: u32, what: &str) -> Result<Vec<u8>, ArchiveError> {
        let length = self.take_length(max, what)?;
        self.take_content(length, what)
    }

    fn take_length(&mut self, max: u32, what: &str) -> Result<u32, ArchiveError> {
        let length = u32::from_le_bytes(self.take_array()?);
        if length > max {
            let words = format!("{what} has {length} bytes");
            return Err(ArchiveError::Damaged(words));
        }
        Ok(length)
    }

    /// What follows a length: the checksum and what it is of.
    fn take_content(&mut self, length: u32, what: &str) -> Result<Vec<u8>, ArchiveError> {
        let checksum = u32::from_le_bytes(self.take_array()?);
        let content = self.take(length)?;
        if crc32fast::hash(&content) != checksum {
            let words = format!("{what} has another checksum");
            return Err(ArchiveError::Damaged(words));
        }
        Ok(content)
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], ArchiveError> {
        let mut bytes = [0; N];
        match self.source.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(ArchiveError::Truncated(self.read));
            }
            Err(error) => return Err(ArchiveError::Io(error)),
        }
        self.read += N as u64;
        self.hash.update(bytes);
        Ok(bytes)
    }

    fn take(&mut self, length: u32) -> Result<Vec<u8>, ArchiveError> {
        let taken = self.take_up_to(length)?;
        match taken.len() == length as usize {
            true => Ok(taken),
            false => Err(ArchiveError::Truncated(self.read)),
        }
    }

    fn take_up_to(&mut self, length: u32) -> Result<Vec<u8>, ArchiveError> {
        let mut taken = Vec::with_capacity(length.min(TRUSTED_BYTES) as usize);
        (&mut self.source)
            .take(u64::from(length))
            .read_to_end(&mut taken)
            .map_err(ArchiveError::Io)?;
        self.read += taken.len() as u64;
        self.hash.update(&taken);
        Ok(taken)
    }
}

#[cfg(test)]
mod tests;
