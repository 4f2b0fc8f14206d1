//! The exchange of full state over TCP: a header, every member, and Serf's own state as bytes behind them. A member that does
//! not make sense is left out and counted; it must not keep the others from being merged.

use std::net::SocketAddr;

use bytes::Bytes;

use super::WireError;
use super::message::{self, Versions, kind};
use super::msgpack::{Reader, Writer};

/// A member's state as memberlist numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// Answers.
    Alive,
    /// Somebody had no answer.
    Suspect,
    /// Held for dead.
    Dead,
    /// Went by itself.
    Left,
}

impl State {
    fn number(self) -> u8 {
        match self {
            Self::Alive => 0,
            Self::Suspect => 1,
            Self::Dead => 2,
            Self::Left => 3,
        }
    }

    fn of_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Alive),
            1 => Some(Self::Suspect),
            2 => Some(Self::Dead),
            3 => Some(Self::Left),
            _ => None,
        }
    }
}

/// One member as another one sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeState<'a> {
    pub(crate) name: &'a str,
    pub(crate) address: SocketAddr,
    pub(crate) meta: &'a [u8],
    pub(crate) incarnation: u32,
    pub(crate) state: State,
    pub(crate) versions: Versions,
}

/// One side's whole state, still encoded: read member by member with [`PushPull::states`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PushPull {
    /// The sender joins, and is not only reconciling.
    pub(crate) join: bool,
    nodes: usize,
    states: Bytes,
    /// Serf's state.
    pub(crate) user: Bytes,
}

impl NodeState<'_> {
    fn encode(&self, writer: &mut Writer) {
        writer.map(7);
        writer.string("Addr");
        message::write_ip(writer, self.address.ip());
        writer.string("Incarnation");
        writer.unsigned(self.incarnation);
        writer.string("Meta");
        writer.raw_or_nil(self.meta);
        writer.string("Name");
        writer.string(self.name);
        writer.string("Port");
        writer.unsigned(self.address.port());
        writer.string("State");
        writer.unsigned(self.state.number());
        writer.string("Vsn");
        writer.raw(&self.versions.0);
    }
}

impl<'a> NodeState<'a> {
    /// The outer error is of the bytes, the inner one of what they say.
    fn decode(reader: &mut Reader<'a>) -> Result<Result<Self, WireError>, WireError> {
        let (mut name, mut address, mut meta): (&[u8], &[u8], &[u8]) = (&[], &[], &[]);
        let (mut port, mut incarnation, mut state) = (0, 0, 0);
        let mut versions = Versions::default();
        reader.fields(|field, reader| {
            match field {
                "Name" => name = reader.raw()?,
                "Addr" => address = reader.raw()?,
                "Port" => port = reader.u16()?,
                "Meta" => meta = reader.raw()?,
                "Incarnation" => incarnation = reader.u32()?,
                "State" => state = reader.unsigned()?,
                "Vsn" => versions = message::versions_field(reader)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let make = || {
            Ok(Self {
                name: message::name(std::str::from_utf8(name).map_err(|_| WireError::Utf8)?)?,
                address: SocketAddr::new(message::ip(address)?, port),
                meta: message::meta(meta)?,
                incarnation,
                state: State::of_number(state).ok_or(WireError::Range { value: state })?,
                versions,
            })
        };
        Ok(make())
    }
}

impl PushPull {
    /// Encodes one side's state.
    pub(crate) fn encode<'a>(
        join: bool,
        nodes: usize,
        states: impl Iterator<Item = NodeState<'a>>,
        user: &[u8],
    ) -> Vec<u8> {
        let mut writer = Writer::of_kind(kind::PUSH_PULL);
        writer.map(3);
        writer.string("Join");
        writer.boolean(join);
        writer.string("Nodes");
        writer.unsigned(nodes as u64);
        writer.string("UserStateLen");
        writer.unsigned(user.len() as u64);
        for state in states {
            state.encode(&mut writer);
        }
        writer.append(user);
        writer.finish()
    }

    /// The members in it; those that do not make sense come as errors.
    pub(crate) fn states(&self) -> impl Iterator<Item = Result<NodeState<'_>, WireError>> {
        let mut reader = Reader::new(&self.states);
        (0..self.nodes).map(move |_| NodeState::decode(&mut reader).and_then(|state| state))
    }
}

/// Reads a push/pull that may arrive in pieces: what was read once is not read again.
#[derive(Debug, Clone, Default)]
pub(crate) struct PushPullProgress {
    header: Option<Header>,
    nodes_read: usize,
    bytes_read: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Header {
    join: bool,
    nodes: usize,
    user_bytes: usize,
    bytes: usize,
}

impl PushPullProgress {
    /// Goes on with `body`, which holds all that came so far, without the kind. `Truncated` says that more is needed.
    pub(crate) fn read(&mut self, body: &Bytes) -> Result<PushPull, WireError> {
        let header = match self.header {
            Some(header) => header,
            None => self.read_header(body)?,
        };
        while self.nodes_read < header.nodes {
            let mut reader = Reader::new(&body[self.bytes_read..]);
            match NodeState::decode(&mut reader) {
                Ok(_) => {
                    self.bytes_read += reader.position();
                    self.nodes_read += 1;
                }
                Err(WireError::Truncated { needed }) => {
                    return Err(WireError::Truncated {
                        needed: needed.saturating_add(self.bytes_read),
                    });
                }
                Err(error) => return Err(error),
            }
        }
        let end = self.bytes_read.saturating_add(header.user_bytes);
        if body.len() < end {
            return Err(WireError::Truncated { needed: end });
        }
        Ok(PushPull {
            join: header.join,
            nodes: header.nodes,
            states: body.slice(header.bytes..self.bytes_read),
            user: body.slice(self.bytes_read..end),
        })
    }

    fn read_header(&mut self, body: &Bytes) -> Result<Header, WireError> {
        let mut reader = Reader::new(body);
        let mut header = Header::default();
        let size = |value: u64| usize::try_from(value).map_err(|_| WireError::Range { value });
        reader.fields(|field, reader| {
            match field {
                "Join" => header.join = reader.boolean()?,
                "Nodes" => header.nodes = size(reader.unsigned()?)?,
                "UserStateLen" => header.user_bytes = size(reader.unsigned()?)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        header.bytes = reader.position();
        self.bytes_read = header.bytes;
        self.header = Some(header);
        Ok(header)
    }
}
