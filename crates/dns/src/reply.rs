//! An answer under construction: records while there is room, then the truth about what was left out.
//!
//! The room is known from the start, and kept free for EDNS. Answers come first: an answer that does not fit is cut and says so (TC).
//! Additional records are a service to the client, so what does not fit there is left out without a word (RFC 2181, 9).

use domain::base::iana::Class;
use domain::base::iana::Rcode;
use domain::base::message_builder::{
    AdditionalBuilder, AnswerBuilder, AuthorityBuilder, PushError, StaticCompressor,
};
use domain::base::name::{Chain, RelativeName, ToName};
use domain::base::record::{ComposeRecord, Ttl};
use domain::base::{Message, MessageBuilder, Name};
use domain::rdata::{A, Aaaa, Cname, Soa};

use crate::config::{PLAIN_UDP_BYTES, seconds};
use crate::lookup::{Host, Node};

/// A reused buffer with the places of the names in it.
type Target = StaticCompressor<Vec<u8>>;

/// Bytes of an OPT record without options.
const OPT_BYTES: usize = 11;

/// Labels of ours below a domain of ours.
pub(crate) type Below<'a> = Chain<RelativeName<&'a Vec<u8>>, Name<&'a Vec<u8>>>;

/// Joins labels and domain; `None` when the name would be too long.
pub(crate) fn below<'a>(
    labels: &'a RelativeName<Vec<u8>>,
    domain: &'a Name<Vec<u8>>,
) -> Option<Below<'a>> {
    labels.for_ref().chain(domain.for_ref()).ok()
}

/// An answer without records; without the question too where that cannot be read. `edns`: the size we offer, to clients that offered one.
pub(crate) fn refusal(request: &Message<[u8]>, rcode: Rcode, edns: u16) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec();
    if matches!(rcode, Rcode::FORMERR | Rcode::NOTIMP) {
        let (header, asked) = (builder.header_mut(), request.header());
        header.set_id(asked.id());
        header.set_qr(true);
        header.set_opcode(asked.opcode());
        header.set_rd(asked.rd());
        header.set_rcode(rcode);
        return builder.finish();
    }
    let mut builder = builder.start_error(request, rcode).additional();
    if let Some(opt) = request.opt() {
        let size = opt.udp_payload_size().clamp(PLAIN_UDP_BYTES, edns);
        builder
            .opt(|opt| {
                opt.set_udp_payload_size(size);
                Ok(())
            })
            .expect("a vector must take an OPT record");
    }
    builder.finish()
}

/// What an answer may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Bytes of the whole message.
    pub(crate) bytes: usize,
    /// The size the client offered by EDNS, if it did: our answer then has an OPT record too.
    pub(crate) edns: Option<u16>,
    /// Whether TC is set when answers are left out.
    pub(crate) says_truncated: bool,
}

/// The answer section.
pub(crate) struct Answers {
    builder: AnswerBuilder<Target>,
    room: Room,
    cut: bool,
}

impl Answers {
    /// Begins the answer to a question in `buffer`, whose content is lost.
    pub(crate) fn begin(
        buffer: Vec<u8>,
        request: &Message<[u8]>,
        room: Room,
    ) -> Result<Self, PushError> {
        let builder = MessageBuilder::from_target(StaticCompressor::new(buffer))
            .map_err(|_| PushError::ShortBuf)?;
        let mut builder = builder.start_answer(request, Rcode::NOERROR)?;
        let edns = if room.edns.is_some() { OPT_BYTES } else { 0 };
        builder.set_push_limit(room.bytes - edns);
        builder.header_mut().set_aa(true);
        Ok(Answers {
            builder,
            room,
            cut: false,
        })
    }

    /// Answers so far.
    pub(crate) fn count(&self) -> usize {
        usize::from(self.builder.counts().ancount())
    }

    /// Whether there was no room for an answer.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut
    }

    pub(crate) fn set_rcode(&mut self, rcode: Rcode) {
        self.builder.header_mut().set_rcode(rcode);
    }

    pub(crate) fn recursion_available(&mut self) {
        self.builder.header_mut().set_ra(true);
    }

    /// Adds a record. False: there is no room, and nothing after it is taken either.
    pub(crate) fn push(&mut self, record: impl ComposeRecord) -> bool {
        if !self.cut {
            self.cut = self.builder.push(record).is_err();
        }
        !self.cut
    }

    /// The record that shows a host.
    pub(crate) fn push_host(&mut self, owner: &impl ToName, ttl: u32, host: &Host) -> bool {
        match host {
            Host::V4(address) => self.push(record(owner, ttl, A::new(*address))),
            Host::V6(address) => self.push(record(owner, ttl, Aaaa::new(*address))),
            Host::Name(name) => self.push(record(owner, ttl, Cname::new(name))),
            Host::Unusable => true,
        }
    }

    pub(crate) fn push_texts(&mut self, owner: &impl ToName, ttl: u32, node: &Node) {
        for text in &node.texts {
            if !self.push(record(owner, ttl, text)) {
                return;
            }
        }
    }

    /// Goes on to the authority section.
    pub(crate) fn authority(mut self) -> Authority {
        if self.cut && self.room.says_truncated {
            self.builder.header_mut().set_tc(true);
        }
        Authority {
            builder: self.builder.authority(),
            room: self.room,
        }
    }
}

/// The authority section.
pub(crate) struct Authority {
    builder: AuthorityBuilder<Target>,
    room: Room,
}

impl Authority {
    /// Says whose the names are and how long to remember that there is nothing.
    pub(crate) fn push(&mut self, record: impl ComposeRecord) {
        // Without it the answer is poorer, not wrong.
        let _ = self.builder.push(record);
    }

    pub(crate) fn additional(self) -> Additional {
        Additional {
            builder: self.builder.additional(),
            room: self.room,
            full: false,
        }
    }
}

/// The additional section.
pub(crate) struct Additional {
    builder: AdditionalBuilder<Target>,
    room: Room,
    full: bool,
}

impl Additional {
    /// False: there is no room any more.
    fn push(&mut self, record: impl ComposeRecord) -> bool {
        if !self.full {
            self.full = self.builder.push(record).is_err();
        }
        !self.full
    }

    pub(crate) fn push_host(&mut self, owner: &impl ToName, ttl: u32, host: &Host) -> bool {
        match host {
            Host::V4(address) => self.push(record(owner, ttl, A::new(*address))),
            Host::V6(address) => self.push(record(owner, ttl, Aaaa::new(*address))),
            Host::Name(name) => self.push(record(owner, ttl, Cname::new(name))),
            Host::Unusable => true,
        }
    }

    pub(crate) fn push_texts(&mut self, owner: &impl ToName, ttl: u32, node: &Node) -> bool {
        node.texts
            .iter()
            .all(|text| self.push(record(owner, ttl, text)))
    }

    /// The finished message.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        if let Some(size) = self.room.edns {
            self.builder.clear_push_limit();
            self.builder
                .opt(|opt| {
                    opt.set_udp_payload_size(size);
                    Ok(())
                })
                .expect("a vector must take an OPT record");
        }
        self.builder.finish().into_target()
    }
}

/// The start of authority of one of our domains.
pub(crate) fn soa<'a>(
    domain: &'a Name<Vec<u8>>,
    serial: u32,
    times: [std::time::Duration; 4],
) -> impl ComposeRecord + 'a {
    let below = |label: &'static [u8]| {
        RelativeName::from_octets(label)
            .expect("one short label must be a name")
            .chain(domain.for_ref())
            .expect("a checked domain must leave room for a label")
    };
    let [refresh, retry, expire, minimum] = times.map(|time| Ttl::from_secs(seconds(time)));
    let data = Soa::new(
        below(b"\x02ns"),
        below(b"\x0ahostmaster"),
        serial.into(),
        refresh,
        retry,
        expire,
        minimum,
    );
    record(domain, minimum.as_secs(), data)
}

/// A record of class IN.
pub(crate) fn record<N: ToName, D>(owner: N, ttl: u32, data: D) -> (N, Class, Ttl, D) {
    (owner, Class::IN, Ttl::from_secs(ttl), data)
}

/// An empty answer with TC: come back over tcp. `None`: that was no question.
pub(crate) fn truncated(request: &Message<[u8]>) -> Option<Vec<u8>> {
    if request.header().qr() {
        return None;
    }
    let mut builder = MessageBuilder::new_vec().start_error(request, Rcode::NOERROR);
    builder.header_mut().set_tc(true);
    Some(builder.finish())
}
