//! Serf's messages, which travel as memberlist's user messages: intents, events, and the state in a push/pull.

use std::net::SocketAddr;

use bytes::Bytes;

use super::WireError;
use super::message::{ip, name, write_ip};
use super::msgpack::{Reader, Writer};
use super::query::{Query, QueryResponse};

/// First byte of each message of Serf.
pub(crate) mod kind {
    pub(crate) const LEAVE: u8 = 0;
    pub(crate) const JOIN: u8 = 1;
    pub(crate) const PUSH_PULL: u8 = 2;
    pub(crate) const USER_EVENT: u8 = 3;
    pub(crate) const QUERY: u8 = 4;
    pub(crate) const QUERY_RESPONSE: u8 = 5;
    pub(crate) const CONFLICT_RESPONSE: u8 = 6;
    pub(crate) const RELAY: u8 = 9;
}

/// A member came, or says that an older word of its leaving is not true any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinIntent<'a> {
    pub(crate) ltime: u64,
    pub(crate) node: &'a str,
}

/// A member is leaving, or is made to; `prune` forgets it as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeaveIntent<'a> {
    pub(crate) ltime: u64,
    pub(crate) node: &'a str,
    pub(crate) prune: bool,
}

/// Something a user says to all members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserEvent<'a> {
    pub(crate) ltime: u64,
    pub(crate) name: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) coalesce: bool,
}

/// A message for somebody else, to be passed on as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Relay<'a> {
    pub(crate) to: SocketAddr,
    pub(crate) node: &'a str,
    pub(crate) message: &'a [u8],
}

/// Serf's part of a push/pull.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SerfState<'a> {
    pub(crate) ltime: u64,
    pub(crate) event_ltime: u64,
    pub(crate) query_ltime: u64,
    /// Each member's status time.
    pub(crate) statuses: Vec<(&'a str, u64)>,
    /// Members that left.
    pub(crate) left: Vec<&'a str>,
    /// Recent events: time, name, payload.
    pub(crate) events: Vec<(u64, &'a str, &'a [u8])>,
}

/// What a user message can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SerfMessage<'a> {
    Join(JoinIntent<'a>),
    Leave(LeaveIntent<'a>),
    UserEvent(UserEvent<'a>),
    Query(Query<'a>),
    QueryResponse(QueryResponse<'a>),
    Relay(Relay<'a>),
}

impl<'a> SerfMessage<'a> {
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let (kind, body) = bytes.split_first().ok_or(WireError::Empty)?;
        let mut reader = Reader::new(body);
        match *kind {
            kind::LEAVE => LeaveIntent::decode(&mut reader).map(Self::Leave),
            kind::JOIN => LeaveIntent::decode(&mut reader).map(|intent| {
                Self::Join(JoinIntent {
                    ltime: intent.ltime,
                    node: intent.node,
                })
            }),
            kind::USER_EVENT => UserEvent::decode(&mut reader).map(Self::UserEvent),
            kind::QUERY => Query::decode(&mut reader).map(Self::Query),
            kind::QUERY_RESPONSE => QueryResponse::decode(&mut reader).map(Self::QueryResponse),
            kind::RELAY => Relay::decode(&mut reader).map(Self::Relay),
            kind => Err(WireError::UnknownKind { kind }),
        }
    }
}

impl JoinIntent<'_> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::of_kind(kind::JOIN);
        writer.map(2);
        writer.string("LTime");
        writer.unsigned(self.ltime);
        writer.string("Node");
        writer.string(self.node);
        writer.finish()
    }
}

impl<'a> LeaveIntent<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let (mut ltime, mut node, mut prune) = (0, "", false);
        reader.fields(|field, reader| {
            match field {
                "LTime" => ltime = reader.unsigned()?,
                "Node" => node = name(reader.string()?)?,
                "Prune" => prune = reader.boolean()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(Self { ltime, node, prune })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::of_kind(kind::LEAVE);
        writer.map(3);
        writer.string("LTime");
        writer.unsigned(self.ltime);
        writer.string("Node");
        writer.string(self.node);
        writer.string("Prune");
        writer.boolean(self.prune);
        writer.finish()
    }
}

impl<'a> UserEvent<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let (mut ltime, mut name, mut coalesce) = (0, "", false);
        let mut payload: &[u8] = &[];
        reader.fields(|field, reader| {
            match field {
                "LTime" => ltime = reader.unsigned()?,
                "Name" => name = reader.string()?,
                "Payload" => payload = reader.raw()?,
                "CC" => coalesce = reader.boolean()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(Self {
            ltime,
            name,
            payload,
            coalesce,
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::of_kind(kind::USER_EVENT);
        writer.map(4);
        writer.string("CC");
        writer.boolean(self.coalesce);
        writer.string("LTime");
        writer.unsigned(self.ltime);
        writer.string("Name");
        writer.string(self.name);
        writer.string("Payload");
        writer.raw_or_nil(self.payload);
        writer.finish()
    }
}

impl<'a> Relay<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let (mut address, mut port, mut node): (&[u8], u16, &str) = (&[], 0, "");
        reader.fields(|field, reader| {
            match field {
                "DestAddr" => reader.fields(|field, reader| {
                    match field {
                        "IP" => address = reader.raw()?,
                        "Port" => port = reader.u16()?,
                        _ => return Ok(false),
                    }
                    Ok(true)
                })?,
                "DestName" => node = name(reader.string()?)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(Self {
            to: SocketAddr::new(ip(address)?, port),
            node,
            message: reader.rest(),
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::of_kind(kind::RELAY);
        writer.map(2);
        writer.string("DestAddr");
        writer.map(3);
        writer.string("IP");
        write_ip(&mut writer, self.to.ip());
        writer.string("Port");
        writer.unsigned(self.to.port());
        writer.string("Zone");
        writer.string("");
        writer.string("DestName");
        writer.string(self.node);
        writer.append(self.message);
        writer.finish()
    }
}

impl<'a> SerfState<'a> {
    /// Reads the state with its kind in front.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let (kind, body) = bytes.split_first().ok_or(WireError::Empty)?;
        if *kind != kind::PUSH_PULL {
            return Err(WireError::UnknownKind { kind: *kind });
        }
        let mut state = Self::default();
        Reader::new(body).fields(|field, reader| {
            match field {
                "LTime" => state.ltime = reader.unsigned()?,
                "EventLTime" => state.event_ltime = reader.unsigned()?,
                "QueryLTime" => state.query_ltime = reader.unsigned()?,
                "StatusLTimes" => {
                    for _ in 0..reader.map()? {
                        let node = name(reader.string()?)?;
                        state.statuses.push((node, reader.unsigned()?));
                    }
                }
                "LeftMembers" => {
                    for _ in 0..reader.array()? {
                        state.left.push(name(reader.string()?)?);
                    }
                }
                "Events" => {
                    for _ in 0..reader.array()? {
                        Self::decode_events(reader, &mut state.events)?;
                    }
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(state)
    }

    /// The events of one time; nil where Serf's ring buffer has none.
    fn decode_events(
        reader: &mut Reader<'a>,
        events: &mut Vec<(u64, &'a str, &'a [u8])>,
    ) -> Result<(), WireError> {
        let before = events.len();
        let mut ltime = 0;
        reader.fields(|field, reader| {
            match field {
                "LTime" => ltime = reader.unsigned()?,
                "Events" => {
                    for _ in 0..reader.array()? {
                        let (mut name, mut payload): (&str, &[u8]) = ("", &[]);
                        reader.fields(|field, reader| {
                            match field {
                                "Name" => name = reader.string()?,
                                "Payload" => payload = reader.raw()?,
                                _ => return Ok(false),
                            }
                            Ok(true)
                        })?;
                        events.push((0, name, payload));
                    }
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        for event in &mut events[before..] {
            event.0 = ltime;
        }
        Ok(())
    }

    /// Encodes the state; events of one time must stand beside each other.
    pub(crate) fn encode(&self) -> Bytes {
        let mut writer = Writer::of_kind(kind::PUSH_PULL);
        writer.map(6);
        writer.string("EventLTime");
        writer.unsigned(self.event_ltime);
        writer.string("Events");
        let times: Vec<_> = self.events.chunk_by(|one, two| one.0 == two.0).collect();
        writer.array(times.len());
        for events in times {
            writer.map(2);
            writer.string("Events");
            writer.array(events.len());
            for (_, name, payload) in events {
                writer.map(2);
                writer.string("Name");
                writer.string(name);
                writer.string("Payload");
                writer.raw_or_nil(payload);
            }
            writer.string("LTime");
            writer.unsigned(events[0].0);
        }
        writer.string("LTime");
        writer.unsigned(self.ltime);
        writer.string("LeftMembers");
        writer.array(self.left.len());
        for node in &self.left {
            writer.string(node);
        }
        writer.string("QueryLTime");
        writer.unsigned(self.query_ltime);
        writer.string("StatusLTimes");
        writer.map(self.statuses.len());
        for (node, ltime) in &self.statuses {
            writer.string(node);
            writer.unsigned(*ltime);
        }
        writer.finish().into()
    }
}
