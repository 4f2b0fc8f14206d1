//! memberlist's messages: what each field is called on the wire and what it means. Borrowed, because most messages that
//! arrive are old news and are dropped after one look at name and incarnation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::WireError;
use super::msgpack::{Reader, Writer};

/// First byte of each message of memberlist.
pub(crate) mod kind {
    pub(crate) const PING: u8 = 0;
    pub(crate) const INDIRECT_PING: u8 = 1;
    pub(crate) const ACK: u8 = 2;
    pub(crate) const SUSPECT: u8 = 3;
    pub(crate) const ALIVE: u8 = 4;
    pub(crate) const DEAD: u8 = 5;
    pub(crate) const PUSH_PULL: u8 = 6;
    pub(crate) const COMPOUND: u8 = 7;
    pub(crate) const USER: u8 = 8;
    pub(crate) const COMPRESSED: u8 = 9;
    pub(crate) const ENCRYPTED: u8 = 10;
    pub(crate) const NACK: u8 = 11;
    pub(crate) const CRC: u8 = 12;
    pub(crate) const ERROR: u8 = 13;
    pub(crate) const LABEL: u8 = 244;
}

/// A member's tags and whatever else it says of itself, encoded: memberlist's bound.
pub const META_BYTES_MAX: usize = 512;
/// Names are host names; Serf's own check allows 128. Longer ones would not fit into a packet beside anything else.
pub const NAME_BYTES_MAX: usize = 255;

/// The versions a member says it speaks: memberlist's least, most, current, then the same of Serf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Versions(pub [u8; 6]);

impl Versions {
    /// What we say: memberlist 2 of 1 to 5, Serf 5 of 2 to 5, as Serf 0.9 and 0.10 do.
    pub const OURS: Self = Self([1, 5, 2, 2, 5, 5]);

    /// The newest of memberlist's versions that the member understands.
    pub(crate) fn protocol_max(self) -> u8 {
        self.0[1]
    }

    /// The member answers pings over TCP.
    pub(crate) fn has_stream_ping(self) -> bool {
        self.protocol_max() >= 3
    }

    /// The member says so when an indirect ping stays without answer.
    pub(crate) fn has_nack(self) -> bool {
        self.protocol_max() >= 4
    }

    /// The member understands checksums on packets.
    pub(crate) fn has_checksum(self) -> bool {
        self.protocol_max() >= 5
    }

    /// Serf relays answers to queries from version 5 on.
    pub(crate) fn has_relay(self) -> bool {
        self.0[4] >= 5
    }

    /// Makes sense at all: an alive message whose versions do not is ignored by memberlist too.
    pub(crate) fn is_sane(self) -> bool {
        let [least, most, ..] = self.0;
        least != 0 && most != 0 && least <= most
    }

    fn read(bytes: &[u8]) -> Self {
        let mut versions = [0; 6];
        for (to, from) in versions.iter_mut().zip(bytes) {
            *to = *from;
        }
        Self(versions)
    }
}

/// Asks whether `node` lives at the address the packet went to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Ping<'a> {
    pub(crate) seq: u32,
    pub(crate) node: &'a str,
    pub(crate) source: Option<SocketAddr>,
    pub(crate) source_node: &'a str,
}

/// Asks the receiver to ping `node` at `target`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndirectPing<'a> {
    pub(crate) seq: u32,
    pub(crate) target: SocketAddr,
    pub(crate) node: &'a str,
    pub(crate) nack: bool,
    pub(crate) source: Option<SocketAddr>,
    pub(crate) source_node: &'a str,
}

/// Answers a ping. Serf's payload is a network coordinate; ours is empty, which Serf ignores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) seq: u32,
}

/// Says that an indirect ping stayed without answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Nack {
    pub(crate) seq: u32,
}

/// `from` had no answer from `node`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Suspect<'a> {
    pub(crate) incarnation: u32,
    pub(crate) node: &'a str,
    pub(crate) from: &'a str,
}

/// `from` holds `node` for dead; when both are the same, the node left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dead<'a> {
    pub(crate) incarnation: u32,
    pub(crate) node: &'a str,
    pub(crate) from: &'a str,
}

/// A member says of itself where it is and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alive<'a> {
    pub(crate) incarnation: u32,
    pub(crate) node: &'a str,
    pub(crate) address: SocketAddr,
    pub(crate) meta: &'a [u8],
    pub(crate) versions: Versions,
}

/// Every packet's innermost content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    Ping(Ping<'a>),
    IndirectPing(IndirectPing<'a>),
    Ack(Ack),
    Nack(Nack),
    Suspect(Suspect<'a>),
    Alive(Alive<'a>),
    Dead(Dead<'a>),
    User(&'a [u8]),
}

impl<'a> Message<'a> {
    /// Reads one message that is neither compound nor wrapped.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let (kind, body) = bytes.split_first().ok_or(WireError::Empty)?;
        let mut reader = Reader::new(body);
        match *kind {
            kind::PING => Ping::decode(&mut reader).map(Self::Ping),
            kind::INDIRECT_PING => IndirectPing::decode(&mut reader).map(Self::IndirectPing),
            kind::ACK => Ok(Self::Ack(Ack {
                seq: sequence(&mut reader)?,
            })),
            kind::NACK => Ok(Self::Nack(Nack {
                seq: sequence(&mut reader)?,
            })),
            kind::SUSPECT => accusation(&mut reader).map(|(incarnation, node, from)| {
                Self::Suspect(Suspect {
                    incarnation,
                    node,
                    from,
                })
            }),
            kind::ALIVE => Alive::decode(&mut reader).map(Self::Alive),
            kind::DEAD => accusation(&mut reader).map(|(incarnation, node, from)| {
                Self::Dead(Dead {
                    incarnation,
                    node,
                    from,
                })
            }),
            kind::USER => Ok(Self::User(body)),
            kind => Err(WireError::UnknownKind { kind }),
        }
    }
}

/// 4 or 16 bytes; an IPv4 address that Go wrote in 16 becomes IPv4 again.
pub(crate) fn ip(bytes: &[u8]) -> Result<IpAddr, WireError> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Ok(IpAddr::V4(Ipv4Addr::from(four)));
    }
    let sixteen = <[u8; 16]>::try_from(bytes).map_err(|_| WireError::Address {
        length: bytes.len(),
    })?;
    Ok(Ipv6Addr::from(sixteen).to_canonical())
}

/// Writes an address in as many bytes as it has.
pub(crate) fn write_ip(writer: &mut Writer, address: IpAddr) {
    match address {
        IpAddr::V4(four) => writer.raw(&four.octets()),
        IpAddr::V6(six) => writer.raw(&six.octets()),
    }
}

/// Bounds a name.
pub(crate) fn name(text: &str) -> Result<&str, WireError> {
    bounded("name", text.len(), NAME_BYTES_MAX)?;
    Ok(text)
}

/// Bounds what a member says of itself.
pub(crate) fn meta(bytes: &[u8]) -> Result<&[u8], WireError> {
    bounded("meta", bytes.len(), META_BYTES_MAX)?;
    Ok(bytes)
}

fn bounded(field: &'static str, length: usize, max: usize) -> Result<(), WireError> {
    if length > max {
        return Err(WireError::TooLong { field, length, max });
    }
    Ok(())
}

/// The optional address of a sender: present when both its parts are.
fn source(address: &[u8], port: u16) -> Result<Option<SocketAddr>, WireError> {
    if address.is_empty() || port == 0 {
        return Ok(None);
    }
    Ok(Some(SocketAddr::new(ip(address)?, port)))
}

fn sequence(reader: &mut Reader<'_>) -> Result<u32, WireError> {
    let mut seq = 0;
    reader.fields(|field, reader| {
        match field {
            "SeqNo" => seq = reader.u32()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(seq)
}

fn accusation<'a>(reader: &mut Reader<'a>) -> Result<(u32, &'a str, &'a str), WireError> {
    let (mut incarnation, mut node, mut from) = (0, "", "");
    reader.fields(|field, reader| {
        match field {
            "Incarnation" => incarnation = reader.u32()?,
            "Node" => node = name(reader.string()?)?,
            "From" => from = name(reader.string()?)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok((incarnation, node, from))
}

fn write_accusation(kind: u8, incarnation: u32, node: &str, from: &str) -> Vec<u8> {
    let mut writer = Writer::of_kind(kind);
    writer.map(3);
    writer.string("From");
    writer.string(from);
    writer.string("Incarnation");
    writer.unsigned(incarnation);
    writer.string("Node");
    writer.string(node);
    writer.finish()
}

/// The fields of a sender's address, which Go leaves out when they are empty.
fn write_source(writer: &mut Writer, source: Option<SocketAddr>, source_node: &str) {
    if let Some(address) = source {
        writer.string("SourceAddr");
        write_ip(writer, address.ip());
    }
    if !source_node.is_empty() {
        writer.string("SourceNode");
        writer.string(source_node);
    }
    if let Some(address) = source {
        writer.string("SourcePort");
        writer.unsigned(address.port());
    }
}

fn source_fields(source: Option<SocketAddr>, source_node: &str) -> usize {
    2 * usize::from(source.is_some()) + usize::from(!source_node.is_empty())
}

impl<'a> Ping<'a> {
    pub(crate) fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let mut ping = Self::default();
        let (mut address, mut port): (&[u8], u16) = (&[], 0);
        reader.fields(|field, reader| {
            match field {
                "SeqNo" => ping.seq = reader.u32()?,
                "Node" => ping.node = name(reader.string()?)?,
                "SourceAddr" => address = reader.raw()?,
                "SourcePort" => port = reader.u16()?,
                "SourceNode" => ping.source_node = name(reader.string()?)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        ping.source = source(address, port)?;
        Ok(ping)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::of_kind(kind::PING);
        writer.map(2 + source_fields(self.source, self.source_node));
        writer.string("Node");
        writer.string(self.node);
        writer.string("SeqNo");
        writer.unsigned(self.seq);
        write_source(&mut writer, self.source, self.source_node);
        writer.finish()
    }
}

impl<'a> IndirectPing<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let (mut target, mut target_port): (&[u8], u16) = (&[], 0);
        let (mut address, mut port): (&[u8], u16) = (&[], 0);
        let (mut seq, mut node, mut nack, mut source_node) = (0, "", false, "");
        reader.fields(|field, reader| {
            match field {
                "SeqNo" => seq = reader.u32()?,
                "Target" => target = reader.raw()?,
                "Port" => target_port = reader.u16()?,
                "Node" => node = name(reader.string()?)?,
                "Nack" => nack = reader.boolean()?,
                "SourceAddr" => address = reader.raw()?,
                "SourcePort" => port = reader.u16()?,
                "SourceNode" => source_node = name(reader.string()?)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(Self {
            seq,
            target: SocketAddr::new(ip(target)?, target_port),
            node,
            nack,
            source: source(address, port)?,
            source_node,
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::of_kind(kind::INDIRECT_PING);
        writer.map(5 + source_fields(self.source, self.source_node));
        writer.string("Nack");
        writer.boolean(self.nack);
        writer.string("Node");
        writer.string(self.node);
        writer.string("Port");
        writer.unsigned(self.target.port());
        writer.string("SeqNo");
        writer.unsigned(self.seq);
        write_source(&mut writer, self.source, self.source_node);
        writer.string("Target");
        write_ip(&mut writer, self.target.ip());
        writer.finish()
    }
}

impl Ack {
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            seq: sequence(reader)?,
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::of_kind(kind::ACK);
        writer.map(2);
        writer.string("Payload");
        writer.nil();
        writer.string("SeqNo");
        writer.unsigned(self.seq);
        writer.finish()
    }
}

impl Nack {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::of_kind(kind::NACK);
        writer.map(1);
        writer.string("SeqNo");
        writer.unsigned(self.seq);
        writer.finish()
    }
}

impl Suspect<'_> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        write_accusation(kind::SUSPECT, self.incarnation, self.node, self.from)
    }
}

impl Dead<'_> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        write_accusation(kind::DEAD, self.incarnation, self.node, self.from)
    }
}

impl<'a> Alive<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let (mut incarnation, mut node, mut port) = (0, "", 0);
        let (mut address, mut about): (&[u8], &[u8]) = (&[], &[]);
        let mut versions = Versions::default();
        reader.fields(|field, reader| {
            match field {
                "Incarnation" => incarnation = reader.u32()?,
                "Node" => node = name(reader.string()?)?,
                "Addr" => address = reader.raw()?,
                "Port" => port = reader.u16()?,
                "Meta" => about = meta(reader.raw()?)?,
                "Vsn" => versions = versions_field(reader)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(Self {
            incarnation,
            node,
            address: SocketAddr::new(ip(address)?, port),
            meta: about,
            versions,
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::of_kind(kind::ALIVE);
        writer.map(6);
        writer.string("Addr");
        write_ip(&mut writer, self.address.ip());
        writer.string("Incarnation");
        writer.unsigned(self.incarnation);
        writer.string("Meta");
        writer.raw_or_nil(self.meta);
        writer.string("Node");
        writer.string(self.node);
        writer.string("Port");
        writer.unsigned(self.address.port());
        writer.string("Vsn");
        writer.raw(&self.versions.0);
        writer.finish()
    }
}

/// Six versions as bytes, or as numbers in an array, which newer codecs write.
pub(crate) fn versions_field(reader: &mut Reader<'_>) -> Result<Versions, WireError> {
    reader.raw().map(Versions::read)
}
