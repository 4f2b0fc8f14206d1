//! The old MessagePack that HashiCorp's codec writes: strings and bytes are one family ("raw") without `str8` and `bin`, structs
//! are maps with sorted field names, and what is nil is the zero value. Reading is liberal (the newer markers, unknown fields
//! and any order are taken), writing is exactly what the old decoder knows. Reads no deeper and allocates no more than the
//! bytes at hand allow: they come from strangers.
//!
//! Written by hand because the ready crates write `str8` and `bin8`, which Serf 0.9 cannot read.

use super::WireError;

/// Maps and arrays inside each other; the deepest message of the protocol has five. Deeper is an attack on the stack.
const DEPTH_MAX: usize = 16;

/// Reads values one after the other and knows how far it came, because raw bytes may follow the last value.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes have been read.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// All that has not been read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// The next `count` bytes as they stand.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let end = self
            .at
            .checked_add(count)
            .ok_or(WireError::Truncated { needed: usize::MAX })?;
        let bytes = self
            .bytes
            .get(self.at..end)
            .ok_or(WireError::Truncated { needed: end })?;
        self.at = end;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, WireError> {
        Ok(self.take(1)?[0])
    }

    fn peek(&self) -> Result<u8, WireError> {
        self.bytes
            .get(self.at)
            .copied()
            .ok_or(WireError::Truncated {
                needed: self.at + 1,
            })
    }

    /// A big-endian number of `size` bytes, at most eight.
    fn big_endian(&mut self, size: usize) -> Result<u64, WireError> {
        let bytes = self.take(size)?;
        Ok(bytes
            .iter()
            .fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
    }

    /// A number that is not negative. Nil is 0.
    pub(crate) fn unsigned(&mut self) -> Result<u64, WireError> {
        let marker = self.byte()?;
        let signed = |value: u64, bits: u32| -> Result<u64, WireError> {
            if value >> (bits - 1) == 0 {
                Ok(value)
            } else {
                Err(WireError::Type {
                    expected: "a number that is not negative",
                    marker,
                })
            }
        };
        match marker {
            0x00..=0x7f => Ok(u64::from(marker)),
            0xc0 => Ok(0),
            0xcc => self.big_endian(1),
            0xcd => self.big_endian(2),
            0xce => self.big_endian(4),
            0xcf => self.big_endian(8),
            0xd0 => signed(self.big_endian(1)?, 8),
            0xd1 => signed(self.big_endian(2)?, 16),
            0xd2 => signed(self.big_endian(4)?, 32),
            0xd3 => signed(self.big_endian(8)?, 64),
            _ => Err(WireError::Type {
                expected: "a number",
                marker,
            }),
        }
    }

    /// A number that fits into 32 bits.
    pub(crate) fn u32(&mut self) -> Result<u32, WireError> {
        narrow(self.unsigned()?)
    }

    /// A number that fits into 16 bits.
    pub(crate) fn u16(&mut self) -> Result<u16, WireError> {
        narrow(self.unsigned()?)
    }

    /// A number that fits into 8 bits.
    pub(crate) fn u8(&mut self) -> Result<u8, WireError> {
        narrow(self.unsigned()?)
    }

    /// True or false. Nil is false.
    pub(crate) fn boolean(&mut self) -> Result<bool, WireError> {
        match self.byte()? {
            0xc0 | 0xc2 => Ok(false),
            0xc3 => Ok(true),
            marker => Err(WireError::Type {
                expected: "true or false",
                marker,
            }),
        }
    }

    /// Bytes or a string. Nil is empty.
    pub(crate) fn raw(&mut self) -> Result<&'a [u8], WireError> {
        let marker = self.byte()?;
        let size = match marker {
            0xa0..=0xbf => u64::from(marker & 0x1f),
            0xc0 => 0,
            0xc4 | 0xd9 => self.big_endian(1)?,
            0xc5 | 0xda => self.big_endian(2)?,
            0xc6 | 0xdb => self.big_endian(4)?,
            _ => {
                return Err(WireError::Type {
                    expected: "bytes",
                    marker,
                });
            }
        };
        self.take(narrow(size)?)
    }

    /// A string. Go does not promise UTF-8; what is not is malformed to us, since names and tags end up in JSON and DNS.
    pub(crate) fn string(&mut self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.raw()?).map_err(|_| WireError::Utf8)
    }

    /// How many elements of an array follow. Nil is none.
    pub(crate) fn array(&mut self) -> Result<usize, WireError> {
        let marker = self.byte()?;
        match marker {
            0x90..=0x9f => Ok(usize::from(marker & 0x0f)),
            0xc0 => Ok(0),
            0xdc => narrow(self.big_endian(2)?),
            0xdd => narrow(self.big_endian(4)?),
            _ => Err(WireError::Type {
                expected: "an array",
                marker,
            }),
        }
    }

    /// How many pairs of a map follow. Nil is none.
    pub(crate) fn map(&mut self) -> Result<usize, WireError> {
        let marker = self.byte()?;
        match marker {
            0x80..=0x8f => Ok(usize::from(marker & 0x0f)),
            0xc0 => Ok(0),
            0xde => narrow(self.big_endian(2)?),
            0xdf => narrow(self.big_endian(4)?),
            _ => Err(WireError::Type {
                expected: "a map",
                marker,
            }),
        }
    }

    /// Reads a struct: `field` gets each name and says whether it knew it and read the value; a value it does not know is
    /// skipped. Fields that are absent keep their zero value.
    pub(crate) fn fields(
        &mut self,
        mut field: impl FnMut(&str, &mut Self) -> Result<bool, WireError>,
    ) -> Result<(), WireError> {
        for _ in 0..self.map()? {
            let name = self.raw()?;
            let name = std::str::from_utf8(name).map_err(|_| WireError::Utf8)?;
            if !field(name, self)? {
                self.skip(0)?;
            }
        }
        Ok(())
    }

    fn skip(&mut self, depth: usize) -> Result<(), WireError> {
        if depth > DEPTH_MAX {
            return Err(WireError::Depth { max: DEPTH_MAX });
        }
        let marker = self.peek()?;
        match marker {
            0x80..=0x8f | 0xde | 0xdf => {
                for _ in 0..self.map()? {
                    self.skip(depth + 1)?;
                    self.skip(depth + 1)?;
                }
            }
            0x90..=0x9f | 0xdc | 0xdd => {
                for _ in 0..self.array()? {
                    self.skip(depth + 1)?;
                }
            }
            0xa0..=0xbf | 0xc4..=0xc6 | 0xd9..=0xdb => {
                self.raw()?;
            }
            0x00..=0x7f | 0xc0..=0xc3 | 0xe0..=0xff => self.at += 1,
            0xcc | 0xd0 => drop(self.take(2)?),
            0xcd | 0xd1 => drop(self.take(3)?),
            0xca | 0xce | 0xd2 => drop(self.take(5)?),
            0xcb | 0xcf | 0xd3 => drop(self.take(9)?),
            0xd4..=0xd8 => {
                let payload = 1 << (marker - 0xd4);
                self.take(2 + payload)?;
            }
            0xc7..=0xc9 => {
                self.at += 1;
                let size: usize = narrow(self.big_endian(1 << (marker - 0xc7))?)?;
                self.take(size.saturating_add(1))?;
            }
        }
        Ok(())
    }
}

fn narrow<T: TryFrom<u64>>(value: u64) -> Result<T, WireError> {
    T::try_from(value).map_err(|_| WireError::Range { value })
}

/// Appends values as HashiCorp's codec writes them.
#[derive(Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// A writer whose first byte is the kind of the message.
    pub(crate) fn of_kind(kind: u8) -> Self {
        Self { bytes: vec![kind] }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes as they stand, after the last value.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn nil(&mut self) {
        self.bytes.push(0xc0);
    }

    pub(crate) fn unsigned(&mut self, value: impl Into<u64>) {
        let value = value.into();
        let bytes = value.to_be_bytes();
        match value {
            0..=0x7f => self.bytes.push(bytes[7]),
            0x80..=0xff => self.sized(0xcc, &bytes[7..]),
            0x100..=0xffff => self.sized(0xcd, &bytes[6..]),
            0x1_0000..=0xffff_ffff => self.sized(0xce, &bytes[4..]),
            _ => self.sized(0xcf, &bytes),
        }
    }

    pub(crate) fn boolean(&mut self, value: bool) {
        self.bytes.push(if value { 0xc3 } else { 0xc2 });
    }

    pub(crate) fn raw(&mut self, value: &[u8]) {
        let size = u32::try_from(value.len()).expect("a message must be shorter than 4 GiB");
        let bytes = size.to_be_bytes();
        match size {
            0..=31 => self.bytes.push(0xa0 | bytes[3]),
            32..=0xffff => self.sized(0xda, &bytes[2..]),
            _ => self.sized(0xdb, &bytes),
        }
        self.append(value);
    }

    /// Bytes, where Go tells empty from nil and the protocol means nil.
    pub(crate) fn raw_or_nil(&mut self, value: &[u8]) {
        if value.is_empty() {
            self.nil();
        } else {
            self.raw(value);
        }
    }

    pub(crate) fn string(&mut self, value: &str) {
        self.raw(value.as_bytes());
    }

    pub(crate) fn array(&mut self, count: usize) {
        self.count(count, 0x90, 0xdc);
    }

    /// A map of `count` pairs; the caller writes the names in ascending order, as Go does.
    pub(crate) fn map(&mut self, count: usize) {
        self.count(count, 0x80, 0xde);
    }

    fn count(&mut self, count: usize, short: u8, long: u8) {
        let count = u32::try_from(count).expect("a message must have fewer than 2^32 elements");
        let bytes = count.to_be_bytes();
        match count {
            0..=15 => self.bytes.push(short | bytes[3]),
            16..=0xffff => self.sized(long, &bytes[2..]),
            _ => self.sized(long + 1, &bytes),
        }
    }

    fn sized(&mut self, marker: u8, bytes: &[u8]) {
        self.bytes.push(marker);
        self.append(bytes);
    }
}
