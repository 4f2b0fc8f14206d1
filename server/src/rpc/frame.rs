//! Frames: `length u32 | crc32 u32 | kind u8 | id u64 | body`, little endian; length counts kind, id and body.
//!
//! Reading is cancel-safe: what arrived of a frame stays in the reader's buffer when the future is dropped. Writing
//! gathers frames and hands them over in as few writes as possible. The checksum finds what TCP's lets through.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Largest frame: a batch of log entries ends at a byte limit far below, but a single entry (a transaction of 128
/// values of 512 KiB) may reach 64 MiB and some.
pub(super) const FRAME_BYTES_MAX: usize = 80 << 20;
/// Length and checksum.
const PREFIX_BYTES: usize = 8;
/// Kind and id.
const HEAD_BYTES: usize = 9;
/// Read buffers begin with this, and write buffers are given back when they outgrow it by much.
const READ_BUFFER_BYTES: usize = 64 << 10;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// A request: `method u16 | body`.
    Request = 1,
    /// Its answer.
    Response = 2,
    /// Its refusal: words.
    Refusal = 3,
    /// One item of a stream.
    Item = 4,
    /// The stream is complete.
    End = 5,
}

impl FrameKind {
    fn from_wire(value: u8) -> Option<Self> {
        let all = [
            Self::Request,
            Self::Response,
            Self::Refusal,
            Self::Item,
            Self::End,
        ];
        all.into_iter().find(|kind| *kind as u8 == value)
    }
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: FrameKind,
    /// Which request it belongs to; free in streams.
    pub id: u64,
    /// Its content.
    pub body: Bytes,
}

/// Why no frame could be read. The connection is of no use afterwards.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The socket failed, or ended inside a frame.
    #[error("connection failed")]
    Io(#[from] io::Error),
    /// A length out of bounds: not our protocol, or damaged.
    #[error("a frame of {0} bytes (between {HEAD_BYTES} and {FRAME_BYTES_MAX} allowed)")]
    Length(usize),
    /// The checksum does not match.
    #[error("a frame's checksum does not match")]
    Checksum,
    /// A kind of frame this version does not know.
    #[error("unknown kind of frame {0}")]
    Kind(u8),
}

/// Appends a frame to a buffer, its body written in place.
fn encode(kind: FrameKind, id: u64, out: &mut BytesMut, body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u64_le(0);
    out.put_u8(kind as u8);
    out.put_u64_le(id);
    body(out);
    let length = (out.len() - start - PREFIX_BYTES) as u32;
    let checksum = crc32fast::hash(&out[start + PREFIX_BYTES..]);
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    out[start + 4..start + PREFIX_BYTES].copy_from_slice(&checksum.to_le_bytes());
}

/// Takes a whole frame off the front of a buffer, if there is one.
fn decode(buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
    if buffer.len() < PREFIX_BYTES {
        return Ok(None);
    }
    let length = u32::from_le_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]) as usize;
    if !(HEAD_BYTES..=FRAME_BYTES_MAX).contains(&length) {
        return Err(FrameError::Length(length));
    }
    if buffer.len() < PREFIX_BYTES + length {
        return Ok(None);
    }
    let checksum = u32::from_le_bytes([buffer[4], buffer[5], buffer[6], buffer[7]]);
    buffer.advance(PREFIX_BYTES);
    let mut content = buffer.split_to(length).freeze();
    if crc32fast::hash(&content) != checksum {
        return Err(FrameError::Checksum);
    }
    let kind = content.get_u8();
    let kind = FrameKind::from_wire(kind).ok_or(FrameError::Kind(kind))?;
    let id = content.get_u64_le();
    Ok(Some(Frame {
        kind,
        id,
        body: content,
    }))
}

/// Reads frames.
pub struct FrameReader {
    source: Box<dyn AsyncRead + Send + Sync + Unpin>,
    buffer: BytesMut,
}

impl FrameReader {
    /// Reads from a byte stream.
    pub fn new(source: impl AsyncRead + Send + Sync + Unpin + 'static) -> Self {
        Self {
            source: Box::new(source),
            buffer: BytesMut::with_capacity(READ_BUFFER_BYTES),
        }
    }

    /// The next frame; `None`: the peer closed between two frames. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            if let Some(frame) = decode(&mut self.buffer)? {
                return Ok(Some(frame));
            }
            if self.buffer.capacity() - self.buffer.len() < READ_BUFFER_BYTES / 4 {
                // Doubles while a large frame comes in, but never takes a peer's word for its length.
                self.buffer
                    .reserve(READ_BUFFER_BYTES.max(self.buffer.len()));
            }
            let read = self.source.read_buf(&mut self.buffer).await?;
            if read == 0 && self.buffer.is_empty() {
                return Ok(None);
            }
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    /// A whole frame that is already here, without waiting.
    pub fn buffered(&mut self) -> Result<Option<Frame>, FrameError> {
        decode(&mut self.buffer)
    }
}

/// Writes frames.
pub struct FrameWriter {
    sink: Box<dyn AsyncWrite + Send + Sync + Unpin>,
    buffer: BytesMut,
}

impl FrameWriter {
    /// Writes to a byte stream.
    pub fn new(sink: impl AsyncWrite + Send + Sync + Unpin + 'static) -> Self {
        Self {
            sink: Box::new(sink),
            buffer: BytesMut::new(),
        }
    }

    /// Gathers a frame; [`FrameWriter::flush`] sends it.
    pub fn push(&mut self, kind: FrameKind, id: u64, body: &[u8]) {
        self.push_with(kind, id, |out| {
            out.reserve(body.len());
            out.put_slice(body);
        });
    }

    /// Gathers a frame whose body is written in place.
    pub fn push_with(&mut self, kind: FrameKind, id: u64, body: impl FnOnce(&mut BytesMut)) {
        encode(kind, id, &mut self.buffer, body);
    }

    /// Bytes gathered and not yet sent.
    pub fn pending_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Sends what was gathered. Cancel-safe: what was not sent yet stays gathered.
    pub async fn flush(&mut self) -> io::Result<()> {
        while self.buffer.has_remaining() {
            let written = self.sink.write_buf(&mut self.buffer).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        if self.buffer.capacity() > 4 * READ_BUFFER_BYTES {
            self.buffer = BytesMut::new();
        }
        self.sink.flush().await
    }

    /// Gathers a frame and sends all.
    pub async fn send(&mut self, kind: FrameKind, id: u64, body: &[u8]) -> io::Result<()> {
        self.push(kind, id, body);
        self.flush().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(frame: &Frame, out: &mut BytesMut) {
        encode(frame.kind, frame.id, out, |out| out.put_slice(&frame.body));
    }

    fn frame(id: u64, body: &'static [u8]) -> Frame {
        Frame {
            kind: FrameKind::Item,
            id,
            body: Bytes::from_static(body),
        }
    }

    #[test]
    fn frames_come_back_as_they_went_whatever_the_cuts() {
        let mut wire = BytesMut::new();
        let sent = [frame(1, b""), frame(u64::MAX, b"hello")];
        for frame in &sent {
            put(frame, &mut wire);
        }
        for cut in 0..wire.len() {
            let mut buffer = BytesMut::from(&wire[..cut]);
            let mut got = Vec::new();
            while let Some(frame) = decode(&mut buffer).unwrap() {
                got.push(frame);
            }
            buffer.extend_from_slice(&wire[cut..]);
            while let Some(frame) = decode(&mut buffer).unwrap() {
                got.push(frame);
            }
            assert_eq!(got, sent, "cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_found() {
        let mut wire = BytesMut::new();
        put(&frame(3, b"some bytes"), &mut wire);
        for position in 0..wire.len() * 8 {
            let mut damaged = wire.clone();
            damaged[position / 8] ^= 1 << (position % 8);
            // A changed length may also make the frame wait for more; it never yields a frame.
            assert!(
                !matches!(decode(&mut damaged), Ok(Some(_))),
                "bit {position}"
            );
        }
    }

    #[tokio::test]
    async fn a_stream_that_ends_inside_a_frame_is_an_error_and_between_frames_the_end() {
        let mut wire = BytesMut::new();
        put(&frame(3, b"some bytes"), &mut wire);
        let mut whole = FrameReader::new(io::Cursor::new(wire.to_vec()));
        assert_eq!(whole.next().await.unwrap(), Some(frame(3, b"some bytes")));
        assert_eq!(whole.next().await.unwrap(), None);
        let mut half = FrameReader::new(io::Cursor::new(wire[..wire.len() - 1].to_vec()));
        assert!(matches!(half.next().await, Err(FrameError::Io(_))));
    }
}
