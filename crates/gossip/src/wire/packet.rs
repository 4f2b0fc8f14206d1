//! What is around the messages of a packet. From the inside out: compound, compressed, checksum, encrypted, label. Sizes are
//! exact here where memberlist estimates, so that no packet of ours is longer than the bound.

use bytes::Bytes;

use super::WireError;
use super::compress::{compress, decompress};
use super::message::kind;
use super::msgpack::Reader;
use crate::count::{Counters, Kind};
use crate::keyring::{self, Keyring};
use crate::random::Random;

/// A compound's kind and its number of messages.
pub(crate) const COMPOUND_BYTES: usize = 2;
/// Each message's length in a compound.
pub(crate) const COMPOUND_PART_BYTES: usize = 2;
/// A compound counts its messages in one byte.
pub(crate) const COMPOUND_PARTS_MAX: usize = 255;
/// Kind and checksum.
const CHECKSUM_BYTES: usize = 5;
/// Kind and length of a label.
const LABEL_BYTES: usize = 2;
/// Shorter messages do not become shorter by compression.
const COMPRESS_BYTES_MIN: usize = 64;
/// What a UDP packet can hold at all; a packet that decompresses to more was not written by a member.
const PLAIN_BYTES_MAX: usize = 64 * 1024;
/// Checksum, compression and compound inside each other are three; one to spare.
const WRAPPERS_MAX: usize = 4;

/// How a pool frames what it sends and what it accepts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Framing {
    pub(crate) keyring: Option<Keyring>,
    pub(crate) label: String,
    pub(crate) compression: bool,
}

impl Framing {
    /// Bytes that framing adds to a packet at most, a compound's own not counted.
    pub(crate) fn overhead(&self) -> usize {
        let sealed = self.keyring.as_ref().map_or(0, |_| keyring::OVERHEAD);
        CHECKSUM_BYTES + sealed + self.label_bytes()
    }

    fn label_bytes(&self) -> usize {
        if self.label.is_empty() {
            0
        } else {
            LABEL_BYTES + self.label.len()
        }
    }

    /// Makes one packet of messages, of which there must be at least one and at most 255.
    pub(crate) fn seal_packet(
        &self,
        messages: &[Bytes],
        checksum: bool,
        random: &mut dyn Random,
        counters: &mut Counters,
    ) -> Vec<u8> {
        let mut packet = match messages {
            [one] => one.to_vec(),
            _ => {
                counters.count_sent(Kind::Compound);
                compound(messages)
            }
        };
        if self.compression && packet.len() >= COMPRESS_BYTES_MIN {
            let compressed = compress(&packet);
            if compressed.len() < packet.len() {
                counters.count_sent(Kind::Compressed);
                packet = compressed;
            }
        }
        if checksum {
            counters.count_sent(Kind::Checksum);
            packet = with_checksum(&packet);
        }
        if let Some(keyring) = &self.keyring {
            counters.count_sent(Kind::Encrypted);
            packet = keyring.seal(&packet, self.label.as_bytes(), random);
        }
        if !self.label.is_empty() {
            counters.count_sent(Kind::Label);
            packet = [self.label_header(), packet].concat();
        }
        packet
    }

    /// Takes a packet apart into its innermost messages, still encoded.
    pub(crate) fn open_packet(
        &self,
        packet: Bytes,
        counters: &mut Counters,
    ) -> Result<Vec<Bytes>, WireError> {
        let mut packet = self.without_label(packet, counters)?;
        if let Some(keyring) = &self.keyring {
            packet = keyring.open(&packet, self.label.as_bytes())?.into();
            counters.count_received(Kind::Encrypted);
        }
        let mut messages = Vec::with_capacity(4);
        unwrap(packet, 0, counters, &mut messages)?;
        Ok(messages)
    }

    /// The header that stands before packets and streams when a label is set.
    pub(crate) fn label_header(&self) -> Vec<u8> {
        if self.label.is_empty() {
            return Vec::new();
        }
        let length = u8::try_from(self.label.len()).expect("a label must have at most 255 bytes");
        [&[kind::LABEL, length], self.label.as_bytes()].concat()
    }

    fn without_label(&self, packet: Bytes, counters: &mut Counters) -> Result<Bytes, WireError> {
        if packet.first() != Some(&kind::LABEL) {
            let labelled = self.label.is_empty();
            return if labelled {
                Ok(packet)
            } else {
                Err(WireError::Label)
            };
        }
        let header = self.label_header();
        if header.is_empty() || !packet.starts_with(&header) {
            return Err(WireError::Label);
        }
        counters.count_received(Kind::Label);
        Ok(packet.slice(header.len()..))
    }
}

fn compound(messages: &[Bytes]) -> Vec<u8> {
    let count = u8::try_from(messages.len()).expect("a compound must have at most 255 messages");
    let mut packet = vec![kind::COMPOUND, count];
    for message in messages {
        let length = u16::try_from(message.len()).expect("a message must fit into a packet");
        packet.extend_from_slice(&length.to_be_bytes());
    }
    for message in messages {
        packet.extend_from_slice(message);
    }
    packet
}

fn with_checksum(packet: &[u8]) -> Vec<u8> {
    let checksum = crc32fast::hash(packet).to_be_bytes();
    [&[kind::CRC], &checksum[..], packet].concat()
}

fn unwrap(
    packet: Bytes,
    depth: usize,
    counters: &mut Counters,
    messages: &mut Vec<Bytes>,
) -> Result<(), WireError> {
    if depth > WRAPPERS_MAX {
        return Err(WireError::Wrapped { max: WRAPPERS_MAX });
    }
    let (kind, body) = packet.split_first().ok_or(WireError::Empty)?;
    match *kind {
        kind::CRC => {
            let mut reader = Reader::new(body);
            let announced = reader.take(4)?;
            let announced = announced
                .iter()
                .fold(0, |sum, byte| (sum << 8) | u32::from(*byte));
            let found = crc32fast::hash(reader.rest());
            if found != announced {
                return Err(WireError::Checksum { found, announced });
            }
            counters.count_received(Kind::Checksum);
            unwrap(
                packet.slice(CHECKSUM_BYTES..),
                depth + 1,
                counters,
                messages,
            )
        }
        kind::COMPRESSED => {
            let plain = decompress(&mut Reader::new(body), PLAIN_BYTES_MAX)?;
            counters.count_received(Kind::Compressed);
            unwrap(plain.into(), depth + 1, counters, messages)
        }
        kind::COMPOUND => {
            let parts = split_compound(&packet)?;
            counters.count_received(Kind::Compound);
            for part in parts {
                unwrap(part, depth + 1, counters, messages)?;
            }
            Ok(())
        }
        _ => {
            messages.push(packet);
            Ok(())
        }
    }
}

/// The parts of a compound. One that ends early gives the parts that are whole, as in memberlist.
fn split_compound(packet: &Bytes) -> Result<Vec<Bytes>, WireError> {
    let mut reader = Reader::new(packet);
    let count = reader.take(COMPOUND_BYTES)?[1];
    let lengths = reader.take(usize::from(count) * COMPOUND_PART_BYTES)?;
    let lengths = lengths
        .chunks_exact(COMPOUND_PART_BYTES)
        .map(|pair| usize::from(u16::from_be_bytes([pair[0], pair[1]])));
    let mut parts = Vec::with_capacity(usize::from(count));
    for length in lengths {
        let Ok(part) = reader.take(length) else {
            break;
        };
        parts.push(packet.slice_ref(part));
    }
    Ok(parts)
}
