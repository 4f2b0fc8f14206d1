//! memberlist's compression: LZW as Go's `compress/lzw` has it, least significant bit first, eight bits a literal. What
//! decodes is bounded, because a few hundred bytes of LZW can stand for megabytes.

use weezl::{BitOrder, LzwStatus, decode, encode};

use super::WireError;
use super::message::kind;
use super::msgpack::{Reader, Writer};

/// Bits of a literal, as memberlist has it.
const LITERAL_BITS: u8 = 8;
/// memberlist's number of LZW, the only algorithm there is.
const LZW: u8 = 0;
/// Output is decoded in pieces of this size, so that a bound costs no allocation of its own.
const PIECE_BYTES: usize = 4096;

/// Wraps `plain` into a compressed message.
pub(crate) fn compress(plain: &[u8]) -> Vec<u8> {
    let packed = encode::Encoder::new(BitOrder::Lsb, LITERAL_BITS)
        .encode(plain)
        .expect("every sequence of bytes must have an LZW form");
    let mut writer = Writer::of_kind(kind::COMPRESSED);
    writer.map(2);
    writer.string("Algo");
    writer.unsigned(LZW);
    writer.string("Buf");
    writer.raw(&packed);
    writer.finish()
}

/// Unwraps the body of a compressed message (without its kind) into at most `bytes_max` bytes.
pub(crate) fn decompress(reader: &mut Reader<'_>, bytes_max: usize) -> Result<Vec<u8>, WireError> {
    let (mut algorithm, mut packed): (u8, &[u8]) = (LZW, &[]);
    reader.fields(|field, reader| {
        match field {
            "Algo" => algorithm = reader.u8()?,
            "Buf" => packed = reader.raw()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if algorithm != LZW {
        return Err(WireError::Algorithm { algorithm });
    }
    unpack(packed, bytes_max)
}

fn unpack(mut packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, WireError> {
    let mut decoder = decode::Decoder::new(BitOrder::Lsb, LITERAL_BITS);
    let mut plain = Vec::new();
    let mut piece = [0; PIECE_BYTES];
    loop {
        let step = decoder.decode_bytes(packed, &mut piece);
        packed = &packed[step.consumed_in..];
        plain.extend_from_slice(&piece[..step.consumed_out]);
        if plain.len() > bytes_max {
            return Err(WireError::TooLong {
                field: "decompressed message",
                length: plain.len(),
                max: bytes_max,
            });
        }
        match step.status {
            Ok(LzwStatus::Ok) => {}
            Ok(LzwStatus::Done) => return Ok(plain),
            Ok(LzwStatus::NoProgress) | Err(_) => return Err(WireError::Compression),
        }
    }
}
