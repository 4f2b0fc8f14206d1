//! Commands as bytes, in the log and between servers.
//!
//! A proposal is `[u8 version][u64 LE stamp][u16 LE number][MessagePack map by field name]`, a bare command (what a follower forwards) the
//! same without the stamp. The number says which command it is; an unknown one is an error and the server that meets it in
//! its log stops: to skip it would make servers differ. Golden files in `tests/golden` hold the format still.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Stamp;
use crate::command::{Command, Proposal};

/// Version of the frame around a command.
const VERSION: u8 = 1;

/// Why bytes are no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum CodecError {
    #[error("command of {0} bytes is too short")]
    Truncated(usize),
    #[error("command format version {0} is not known to this version (it knows {VERSION})")]
    UnknownVersion(u8),
    #[error("command number {0} is not known to this version")]
    UnknownCommand(u16),
    #[error("command number {number} does not decode: {why}")]
    Body { number: u16, why: String },
}

impl Proposal {
    /// As it stands in the log.
    pub fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.at.0.to_le_bytes());
        put_command(&self.command, &mut out);
        Bytes::from(out)
    }

    /// As it stands in the log, from a command that is already encoded: the stamp goes between version and number.
    ///
    /// # Errors
    /// When the bytes are no frame of this version; what is inside is looked at when it is applied.
    pub fn stamp_encoded(at: Stamp, command: &[u8]) -> Result<Bytes, CodecError> {
        let rest = skip_version(command)?;
        let mut out = Vec::with_capacity(command.len() + 8);
        out.push(VERSION);
        out.extend_from_slice(&at.0.to_le_bytes());
        out.extend_from_slice(rest);
        Ok(Bytes::from(out))
    }

    /// From the log.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let rest = skip_version(bytes)?;
        let (stamp, rest) = rest
            .split_first_chunk::<8>()
            .ok_or(CodecError::Truncated(bytes.len()))?;
        Ok(Proposal {
            at: Stamp(u64::from_le_bytes(*stamp)),
            command: take_command(rest)?,
        })
    }
}

impl Command {
    /// Without a stamp, as followers forward it.
    pub fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        put_command(self, &mut out);
        Bytes::from(out)
    }

    /// From a follower.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        take_command(skip_version(bytes)?)
    }
}

fn skip_version(bytes: &[u8]) -> Result<&[u8], CodecError> {
    match bytes.split_first() {
        None => Err(CodecError::Truncated(0)),
        Some((&VERSION, rest)) => Ok(rest),
        Some((other, _)) => Err(CodecError::UnknownVersion(*other)),
    }
}

/// One line a command: its number, for ever.
macro_rules! commands {
    ($($number:literal $name:ident),* $(,)?) => {
        fn put_command(command: &Command, out: &mut Vec<u8>) {
            match command {
                $(Command::$name(body) => put_body($number, body, out),)*
            }
        }

        fn take_command(bytes: &[u8]) -> Result<Command, CodecError> {
            let (number, body) = bytes
                .split_first_chunk::<2>()
                .ok_or(CodecError::Truncated(bytes.len()))?;
            match u16::from_le_bytes(*number) {
                $($number => Ok(Command::$name(take_body($number, body)?)),)*
                unknown => Err(CodecError::UnknownCommand(unknown)),
            }
        }
    };
}

commands! {
    1 KvSet,
    2 KvDelete,
    3 KvDeleteTree,
    4 SessionCreate,
    5 SessionDestroy,
    6 SessionExpire,
    7 Txn,
    8 Register,
    9 Deregister,
    10 TombstoneReap,
    11 RestoreBegin,
    12 RestoreChunk,
    13 RestoreSwap,
    14 RestoreAbort,
    15 ClusterInit,
    16 QuerySet,
    17 QueryDelete,
}

fn put_body(number: u16, body: &impl Serialize, out: &mut Vec<u8>) {
    out.extend_from_slice(&number.to_le_bytes());
    rmp_serde::encode::write_named(out, body).expect("a command must encode into memory");
}

fn take_body<T: DeserializeOwned>(number: u16, body: &[u8]) -> Result<T, CodecError> {
    rmp_serde::from_slice(body).map_err(|e| CodecError::Body {
        number,
        why: e.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{KvDeleteTree, SessionExpire};

    #[test]
    fn stamping_an_encoded_command_gives_the_encoded_proposal() {
        let command = Command::KvDeleteTree(KvDeleteTree {
            prefix: "a/".into(),
        });
        let at = Stamp(77);
        let stamped = Proposal::stamp_encoded(at, &command.encode())
            .expect("an encoded command must be stampable");
        assert_eq!(stamped, Proposal { at, command }.encode());
        assert_eq!(
            Proposal::stamp_encoded(at, &[9, 1, 0]),
            Err(CodecError::UnknownVersion(9))
        );
    }

    #[test]
    fn a_leader_id_of_128_bits_survives() {
        let command = Command::SessionExpire(SessionExpire {
            ids: vec!["a".into()],
            term: 3,
            leader: u128::MAX - 1,
        });
        assert_eq!(Command::decode(&command.encode()), Ok(command));
    }
}
