//! What travels: memberlist's messages, Serf's messages inside them, and the wrappers around them. Bytes in, values out, and
//! back; nothing here knows members or time. Whatever a stranger sends ends as a value or as a `WireError`, never as a panic.

pub(crate) mod compress;
pub(crate) mod message;
pub(crate) mod msgpack;
pub(crate) mod packet;
pub(crate) mod push_pull;
pub(crate) mod query;
pub(crate) mod serf;
pub(crate) mod stream;
pub(crate) mod tags;

/// Why bytes were dropped. Nothing changed; the sender may repeat what it had to say, which for us is just another message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The message ends before its last field. On a stream: more bytes may still come.
    #[error("message ends early: at least {needed} bytes are needed")]
    Truncated {
        /// Bytes from the start of what was read.
        needed: usize,
    },
    /// A value of another type than the field has.
    #[error("expected {expected}, found marker {marker:#04x}")]
    Type {
        /// What the field is.
        expected: &'static str,
        /// MessagePack's first byte of the value.
        marker: u8,
    },
    /// A number too large for its field.
    #[error("number {value} is out of range")]
    Range {
        /// The number.
        value: u64,
    },
    /// A name or tag that is no UTF-8.
    #[error("text is not UTF-8")]
    Utf8,
    /// Values nested too deeply.
    #[error("values are nested deeper than {max}")]
    Depth {
        /// The bound.
        max: usize,
    },
    /// A field longer than the protocol allows.
    #[error("{field} has {length} bytes, at most {max} are allowed")]
    TooLong {
        /// Which field.
        field: &'static str,
        /// Its length.
        length: usize,
        /// The bound.
        max: usize,
    },
    /// An address that is neither IPv4 nor IPv6.
    #[error("address has {length} bytes, not 4 or 16")]
    Address {
        /// Bytes of the address.
        length: usize,
    },
    /// A message without content.
    #[error("message is empty")]
    Empty,
    /// A kind of message that we do not know.
    #[error("unknown kind of message {kind}")]
    UnknownKind {
        /// The first byte.
        kind: u8,
    },
    /// Wrappers inside wrappers, deeper than any member writes.
    #[error("messages are wrapped deeper than {max}")]
    Wrapped {
        /// The bound.
        max: usize,
    },
    /// The checksum does not fit.
    #[error("checksum is {found:#010x}, announced was {announced:#010x}")]
    Checksum {
        /// Computed here.
        found: u32,
        /// In the message.
        announced: u32,
    },
    /// Compressed with something that is not LZW.
    #[error("unknown compression {algorithm}")]
    Algorithm {
        /// The number in the message.
        algorithm: u8,
    },
    /// LZW that does not decode.
    #[error("compressed bytes do not decode")]
    Compression,
    /// Encrypted, and no key of ours opens it; or another version of the framing.
    #[error("no installed key opens the message")]
    Decrypt,
    /// Not encrypted, though we have a key, or encrypted, though we have none.
    #[error("message is {}encrypted and we {}", if *.encrypted { "" } else { "not " }, if *.encrypted { "have no key" } else { "have a key" })]
    Encryption {
        /// Whether the message was.
        encrypted: bool,
    },
    /// A label, or another one than ours.
    #[error("label of the message is not ours")]
    Label,
}
