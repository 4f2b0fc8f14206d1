//! Serf's queries and their answers, the filters that say who is meant, and what a member answers to Serf's own question of
//! who owns a name.

use std::net::SocketAddr;
use std::time::Duration;

use super::WireError;
use super::message::{Versions, ip, name, write_ip};
use super::msgpack::{Reader, Writer};
use super::serf::kind;

/// The receiver acknowledges a query, or this answer is an acknowledgement.
pub(crate) const FLAG_ACK: u32 = 1;
/// The query is not gossiped on.
pub(crate) const FLAG_NO_BROADCAST: u32 = 2;
/// More filters than anybody writes by hand; each may be a regular expression to compile.
const FILTERS_MAX: usize = 64;

const FILTER_NODES: u8 = 0;
const FILTER_TAG: u8 = 1;

/// A question to all members, or to those that pass the filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query<'a> {
    pub(crate) ltime: u64,
    pub(crate) id: u32,
    pub(crate) source: SocketAddr,
    pub(crate) source_node: &'a str,
    pub(crate) filters: Vec<&'a [u8]>,
    pub(crate) flags: u32,
    pub(crate) relay_factor: u8,
    pub(crate) timeout: Duration,
    pub(crate) name: &'a str,
    pub(crate) payload: &'a [u8],
}

/// An answer, or an acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QueryResponse<'a> {
    pub(crate) ltime: u64,
    pub(crate) id: u32,
    pub(crate) from: &'a str,
    pub(crate) flags: u32,
    pub(crate) payload: &'a [u8],
}

/// Who is meant by a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// Members with these names.
    Nodes(Vec<String>),
    /// Members whose tag matches a regular expression; an absent tag is an empty one.
    Tag {
        /// The tag's name.
        tag: String,
        /// The expression, unanchored.
        expression: String,
    },
}

/// A member, as the answer to Serf's question who owns a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NameOwner<'a> {
    pub(crate) name: &'a str,
    pub(crate) address: SocketAddr,
    pub(crate) tags: Vec<(&'a str, &'a str)>,
    /// Serf's number of the status.
    pub(crate) status: u8,
    pub(crate) versions: Versions,
}

impl<'a> Query<'a> {
    pub(crate) fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let (mut address, mut port): (&[u8], u16) = (&[], 0);
        let mut query = Self {
            ltime: 0,
            id: 0,
            source: SocketAddr::from(([0, 0, 0, 0], 0)),
            source_node: "",
            filters: Vec::new(),
            flags: 0,
            relay_factor: 0,
            timeout: Duration::ZERO,
            name: "",
            payload: &[],
        };
        reader.fields(|field, reader| {
            match field {
                "LTime" => query.ltime = reader.unsigned()?,
                "ID" => query.id = reader.u32()?,
                "Addr" => address = reader.raw()?,
                "Port" => port = reader.u16()?,
                "SourceNode" => query.source_node = name(reader.string()?)?,
                "Filters" => query.filters = filters(reader)?,
                "Flags" => query.flags = reader.u32()?,
                "RelayFactor" => query.relay_factor = reader.u8()?,
                "Timeout" => query.timeout = Duration::from_nanos(reader.unsigned()?),
                "Name" => query.name = reader.string()?,
                "Payload" => query.payload = reader.raw()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        query.source = SocketAddr::new(ip(address)?, port);
        Ok(query)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::of_kind(kind::QUERY);
        writer.map(11);
        writer.string("Addr");
        write_ip(&mut writer, self.source.ip());
        writer.string("Filters");
        if self.filters.is_empty() {
            writer.nil();
        } else {
            writer.array(self.filters.len());
            for filter in &self.filters {
                writer.raw(filter);
            }
        }
        writer.string("Flags");
        writer.unsigned(self.flags);
        writer.string("ID");
        writer.unsigned(self.id);
        writer.string("LTime");
        writer.unsigned(self.ltime);
        writer.string("Name");
        writer.string(self.name);
        writer.string("Payload");
        writer.raw_or_nil(self.payload);
        writer.string("Port");
        writer.unsigned(self.source.port());
        writer.string("RelayFactor");
        writer.unsigned(self.relay_factor);
        writer.string("SourceNode");
        writer.string(self.source_node);
        writer.string("Timeout");
        let nanoseconds = u64::try_from(self.timeout.as_nanos()).unwrap_or(u64::MAX);
        writer.unsigned(nanoseconds.min(i64::MAX.unsigned_abs()));
        writer.finish()
    }

    pub(crate) fn wants_ack(&self) -> bool {
        self.flags & FLAG_ACK != 0
    }

    pub(crate) fn is_broadcast(&self) -> bool {
        self.flags & FLAG_NO_BROADCAST == 0
    }
}

fn filters<'a>(reader: &mut Reader<'a>) -> Result<Vec<&'a [u8]>, WireError> {
    let count = reader.array()?;
    if count > FILTERS_MAX {
        return Err(WireError::TooLong {
            field: "filters",
            length: count,
            max: FILTERS_MAX,
        });
    }
    (0..count).map(|_| reader.raw()).collect()
}

impl<'a> QueryResponse<'a> {
    pub(crate) fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let (mut ltime, mut id, mut from, mut flags) = (0, 0, "", 0);
        let mut payload: &[u8] = &[];
        reader.fields(|field, reader| {
            match field {
                "LTime" => ltime = reader.unsigned()?,
                "ID" => id = reader.u32()?,
                "From" => from = name(reader.string()?)?,
                "Flags" => flags = reader.u32()?,
                "Payload" => payload = reader.raw()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(Self {
            ltime,
            id,
            from,
            flags,
            payload,
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::of_kind(kind::QUERY_RESPONSE);
        writer.map(5);
        writer.string("Flags");
        writer.unsigned(self.flags);
        writer.string("From");
        writer.string(self.from);
        writer.string("ID");
        writer.unsigned(self.id);
        writer.string("LTime");
        writer.unsigned(self.ltime);
        writer.string("Payload");
        writer.raw_or_nil(self.payload);
        writer.finish()
    }

    pub(crate) fn is_ack(&self) -> bool {
        self.flags & FLAG_ACK != 0
    }
}

impl Filter {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let (kind, body) = bytes.split_first().ok_or(WireError::Empty)?;
        let mut reader = Reader::new(body);
        match *kind {
            FILTER_NODES => {
                let count = reader.array()?;
                let names = (0..count).map(|_| reader.string().map(str::to_owned));
                names.collect::<Result<_, _>>().map(Self::Nodes)
            }
            FILTER_TAG => {
                let (mut tag, mut expression) = ("", "");
                reader.fields(|field, reader| {
                    match field {
                        "Tag" => tag = reader.string()?,
                        "Expr" => expression = reader.string()?,
                        _ => return Ok(false),
                    }
                    Ok(true)
                })?;
                Ok(Self::Tag {
                    tag: tag.to_owned(),
                    expression: expression.to_owned(),
                })
            }
            kind => Err(WireError::UnknownKind { kind }),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Nodes(names) => {
                let mut writer = Writer::of_kind(FILTER_NODES);
                writer.array(names.len());
                for name in names {
                    writer.string(name);
                }
                writer.finish()
            }
            Self::Tag { tag, expression } => {
                let mut writer = Writer::of_kind(FILTER_TAG);
                writer.map(2);
                writer.string("Expr");
                writer.string(expression);
                writer.string("Tag");
                writer.string(tag);
                writer.finish()
            }
        }
    }
}

impl NameOwner<'_> {
    /// The answer for a name; nobody owns it: `None`.
    pub(crate) fn encode(owner: Option<&Self>) -> Vec<u8> {
        let mut writer = Writer::of_kind(kind::CONFLICT_RESPONSE);
        let Some(owner) = owner else {
            writer.nil();
            return writer.finish();
        };
        let [
            protocol_min,
            protocol_max,
            protocol,
            delegate_min,
            delegate_max,
            delegate,
        ] = owner.versions.0;
        writer.map(11);
        writer.string("Addr");
        write_ip(&mut writer, owner.address.ip());
        writer.string("DelegateCur");
        writer.unsigned(delegate);
        writer.string("DelegateMax");
        writer.unsigned(delegate_max);
        writer.string("DelegateMin");
        writer.unsigned(delegate_min);
        writer.string("Name");
        writer.string(owner.name);
        writer.string("Port");
        writer.unsigned(owner.address.port());
        writer.string("ProtocolCur");
        writer.unsigned(protocol);
        writer.string("ProtocolMax");
        writer.unsigned(protocol_max);
        writer.string("ProtocolMin");
        writer.unsigned(protocol_min);
        writer.string("Status");
        writer.unsigned(owner.status);
        writer.string("Tags");
        writer.map(owner.tags.len());
        for (tag, value) in &owner.tags {
            writer.string(tag);
            writer.string(value);
        }
        writer.finish()
    }
}
