//! Messages over TCP: one request and at most one answer a connection. Bytes come in pieces of any size; a reader collects
//! them until the message is whole, never more than the bound.

use bytes::{Bytes, BytesMut};

use super::WireError;
use super::compress::{compress, decompress};
use super::message::{Ack, Ping, kind};
use super::msgpack::{Reader, Writer};
use super::packet::Framing;
use super::push_pull::{PushPull, PushPullProgress};
use crate::count::{Counters, Kind};
use crate::random::Random;

/// memberlist's bound for one message; the state of 100,000 members with full tags is about 60 MB, of usual ones 15 MB.
pub(crate) const STREAM_BYTES_MAX: usize = 20 * 1024 * 1024;
/// What a compressed message may become.
const PLAIN_BYTES_MAX: usize = 4 * STREAM_BYTES_MAX;
/// Kind and length before sealed bytes; both are authenticated.
const SEALED_HEADER_BYTES: usize = 5;

/// What one side said on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StreamMessage {
    Ping { seq: u32, node: String },
    Ack { seq: u32 },
    PushPull(PushPull),
    User(Bytes),
    Error(String),
}

impl Framing {
    /// Frames one message for a stream. The label's header is separate, because only who opens the stream writes it.
    pub(crate) fn seal_stream(
        &self,
        message: Vec<u8>,
        random: &mut dyn Random,
        counters: &mut Counters,
    ) -> Vec<u8> {
        let mut message = message;
        if self.compression {
            let compressed = compress(&message);
            if compressed.len() < message.len() {
                counters.count_sent(Kind::Compressed);
                message = compressed;
            }
        }
        let Some(keyring) = &self.keyring else {
            return message;
        };
        counters.count_sent(Kind::Encrypted);
        let length = u32::try_from(message.len() + crate::keyring::OVERHEAD)
            .expect("a message must be shorter than 4 GiB");
        let mut framed = vec![kind::ENCRYPTED];
        framed.extend_from_slice(&length.to_be_bytes());
        let authenticated = [&framed, self.label.as_bytes()].concat();
        framed.extend(keyring.seal(&message, &authenticated, random));
        framed
    }
}

/// Encodes an error for the other side, which logs it.
pub(crate) fn encode_error(text: &str) -> Vec<u8> {
    let mut writer = Writer::of_kind(kind::ERROR);
    writer.map(1);
    writer.string("Error");
    writer.string(text);
    writer.finish()
}

/// Collects the bytes of one message.
#[derive(Debug)]
pub(crate) struct StreamReader {
    buffer: BytesMut,
    /// Fewer bytes than this cannot be the whole message.
    needed: usize,
    /// Whether a label's header is still to come.
    labelled: bool,
    progress: PushPullProgress,
}

impl StreamReader {
    /// `accepted`: the other side opened the stream and writes the label's header, if one is set.
    pub(crate) fn new(accepted: bool) -> Self {
        Self {
            buffer: BytesMut::new(),
            needed: 1,
            labelled: accepted,
            progress: PushPullProgress::default(),
        }
    }

    /// Takes more bytes; gives the message once it is whole.
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        framing: &Framing,
        counters: &mut Counters,
    ) -> Result<Option<StreamMessage>, WireError> {
        self.buffer.extend_from_slice(bytes);
        if self.labelled && !self.read_label(framing, counters)? {
            return Ok(None);
        }
        if self.buffer.len() < self.needed {
            return Ok(None);
        }
        match self.read(framing, counters) {
            Ok(message) => Ok(Some(message)),
            Err(WireError::Truncated { needed }) if needed > self.buffer.len() => {
                too_long(needed, STREAM_BYTES_MAX)?;
                self.needed = needed;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn read_label(
        &mut self,
        framing: &Framing,
        counters: &mut Counters,
    ) -> Result<bool, WireError> {
        let header = framing.label_header();
        let shared = header.len().min(self.buffer.len());
        let is_label = self.buffer.first() == Some(&kind::LABEL);
        if self.buffer.is_empty() {
            return Ok(false);
        }
        if is_label == header.is_empty() || self.buffer[..shared] != header[..shared] {
            return Err(WireError::Label);
        }
        if shared < header.len() {
            return Ok(false);
        }
        if !header.is_empty() {
            counters.count_received(Kind::Label);
            let _ = self.buffer.split_to(header.len());
        }
        self.labelled = false;
        Ok(true)
    }

    fn read(
        &mut self,
        framing: &Framing,
        counters: &mut Counters,
    ) -> Result<StreamMessage, WireError> {
        let (kind, body) = self.buffer.split_first().ok_or(WireError::Empty)?;
        match (*kind, &framing.keyring) {
            (kind::ENCRYPTED, None) => Err(WireError::Encryption { encrypted: true }),
            (kind::ENCRYPTED, Some(keyring)) => {
                let mut reader = Reader::new(&self.buffer);
                let header = reader.take(SEALED_HEADER_BYTES)?;
                let length = header[1..]
                    .iter()
                    .fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
                too_long(length, STREAM_BYTES_MAX)?;
                let sealed = reader.take(length)?;
                let authenticated = [header, framing.label.as_bytes()].concat();
                let plain = keyring.open(sealed, &authenticated)?;
                counters.count_received(Kind::Encrypted);
                whole(read_plain(plain.into(), counters))
            }
            (_, Some(_)) => Err(WireError::Encryption { encrypted: false }),
            // From here on plain: the numbers in `Truncated` count without the kind.
            (kind::PUSH_PULL, None) => {
                // No copy: the reader of push/pulls goes on where it stopped.
                let all = self.buffer.split().freeze();
                let read = self.progress.read(&all.slice(1..));
                self.buffer = BytesMut::from(all);
                one_more(read).map(StreamMessage::PushPull)
            }
            (kind::COMPRESSED, None) => {
                let plain = one_more(decompress(&mut Reader::new(body), PLAIN_BYTES_MAX))?;
                counters.count_received(Kind::Compressed);
                whole(read_message(plain.into()))
            }
            (_, None) => read_message(Bytes::copy_from_slice(&self.buffer)),
        }
    }
}

/// Counts the kind of a message before the bytes that were found missing behind it.
fn one_more<T>(read: Result<T, WireError>) -> Result<T, WireError> {
    read.map_err(|error| match error {
        WireError::Truncated { needed } => WireError::Truncated {
            needed: needed.saturating_add(1),
        },
        error => error,
    })
}

/// A message whose bytes are all there cannot become whole by waiting.
fn whole<T>(read: Result<T, WireError>) -> Result<T, WireError> {
    read.map_err(|error| match error {
        WireError::Truncated { .. } => WireError::Truncated { needed: 0 },
        error => error,
    })
}

fn too_long(length: usize, max: usize) -> Result<(), WireError> {
    if length > max {
        return Err(WireError::TooLong {
            field: "stream message",
            length,
            max,
        });
    }
    Ok(())
}

fn read_plain(plain: Bytes, counters: &mut Counters) -> Result<StreamMessage, WireError> {
    if plain.first() != Some(&kind::COMPRESSED) {
        return read_message(plain);
    }
    let unpacked = decompress(&mut Reader::new(&plain[1..]), PLAIN_BYTES_MAX)?;
    counters.count_received(Kind::Compressed);
    read_message(unpacked.into())
}

fn read_message(message: Bytes) -> Result<StreamMessage, WireError> {
    let (kind, body) = message.split_first().ok_or(WireError::Empty)?;
    let mut reader = Reader::new(body);
    match *kind {
        kind::PING => one_more(Ping::decode(&mut reader)).map(|ping| StreamMessage::Ping {
            seq: ping.seq,
            node: ping.node.to_owned(),
        }),
        kind::ACK => {
            one_more(Ack::decode(&mut reader)).map(|ack| StreamMessage::Ack { seq: ack.seq })
        }
        kind::PUSH_PULL => one_more(PushPullProgress::default().read(&message.slice(1..)))
            .map(StreamMessage::PushPull),
        kind::USER => one_more(read_user(&mut reader))
            .map(|body| StreamMessage::User(message.slice_ref(body))),
        kind::ERROR => {
            let mut text = "";
            one_more(reader.fields(|field, reader| {
                match field {
                    "Error" => text = reader.string()?,
                    _ => return Ok(false),
                }
                Ok(true)
            }))?;
            Ok(StreamMessage::Error(text.to_owned()))
        }
        kind => Err(WireError::UnknownKind { kind }),
    }
}

fn read_user<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], WireError> {
    let mut length = 0;
    reader.fields(|field, reader| {
        match field {
            "UserMsgLen" => length = reader.u32()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let length = usize::try_from(length).map_err(|_| WireError::Range {
        value: u64::from(length),
    })?;
    too_long(length, STREAM_BYTES_MAX)?;
    reader.take(length)
}
