//! Saved snapshots as files: what `GET /v1/snapshot` sends and `PUT` takes.
//!
//! The frames are chunks of the state's own snapshot format; the container (`frames`) adds what a file that travels
//! needs: it says what it is, half a file is not a file, and a flipped bit is found before anything is restored. The
//! header is JSON, to which fields can be added.

use std::io::Read;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub mod frames;

pub use self::frames::ArchiveError;
use self::frames::{FrameReader, FrameWriter, Layout};

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

/// Makes the bytes of an archive, piece by piece.
#[derive(Debug)]
pub struct Writer(FrameWriter<Vec<u8>>);

const IN_MEMORY: &str = "memory must take what is written";

impl Writer {
    /// Begins an archive; returns its first bytes.
    pub fn begin(header: &Header) -> (Self, Bytes) {
        let header = serde_json::to_vec(header).expect("a header must be JSON");
        let begun = FrameWriter::begin(Layout::Saved, Vec::new(), &header);
        let mut writer = Writer(begun.expect(IN_MEMORY));
        let first = writer.written();
        (writer, first)
    }

    /// A chunk as a frame. Chunks are not empty.
    pub fn frame(&mut self, chunk: &[u8]) -> Bytes {
        self.0.sink().reserve(8 + chunk.len());
        self.0.frame(chunk).expect(IN_MEMORY);
        self.written()
    }

    /// The last bytes.
    pub fn end(self) -> Bytes {
        self.0.end().expect(IN_MEMORY).into()
    }

    fn written(&mut self) -> Bytes {
        std::mem::take(self.0.sink()).into()
    }
}

/// Reads an archive and checks every byte of it. Trust nothing of it before [`Reader::next_chunk`] said `None`.
#[derive(Debug)]
pub struct Reader<R> {
    header: Header,
    frames: FrameReader<R>,
}

impl<R: Read> Reader<R> {
    /// Reads the beginning.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn open(source: R) -> Result<Self, ArchiveError> {
        let (header, frames) = FrameReader::open(Layout::Saved, source)?;
        let header = serde_json::from_slice(&header)
            .map_err(|error| ArchiveError::Damaged(format!("its header: {error}")))?;
        Ok(Reader { header, frames })
    }

    /// What the archive says about itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Frames read so far.
    pub fn frames(&self) -> u64 {
        self.frames.frames()
    }

    /// The next chunk. `None`: that was all, and all of it was whole.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, ArchiveError> {
        self.frames.next_frame()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_piece_by_piece_is_the_golden_file() {
        let header = Header {
            index: 42,
            cluster: "c".to_owned(),
            datacenter: "dc1".to_owned(),
            version: "0.1.0".to_owned(),
        };
        let (mut writer, first) = Writer::begin(&header);
        let mut whole = first.to_vec();
        for chunk in [b"one", b"two"] {
            whole.extend_from_slice(&writer.frame(chunk));
        }
        whole.extend_from_slice(&writer.end());
        assert_eq!(whole, include_bytes!("archive/golden/saved-1.snap"));
        let mut reader = Reader::open(&whole[..]).expect("must open");
        assert_eq!(reader.header(), &header);
        let mut chunks = Vec::new();
        while let Some(chunk) = reader.next_chunk().expect("must be whole") {
            chunks.push(chunk);
        }
        assert_eq!(
            (chunks, reader.frames()),
            (vec!["one".into(), "two".into()], 2)
        );
    }
}
