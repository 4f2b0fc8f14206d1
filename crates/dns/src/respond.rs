//! One message in, one message out: what is answered at all, and within which size. The records stand in `records`.

use domain::base::iana::{Class, Opcode, Rcode, Rtype};
use domain::base::name::ParsedName;
use domain::base::{Message, Name};

use crate::config::{Config, PLAIN_UDP_BYTES};
use crate::lookup::{Host, Lookup};
use crate::question::{self, Question};
use crate::reply::{Room, refusal};
use crate::shuffle::Shuffle;

/// Largest message over tcp.
const TCP_BYTES: usize = u16::MAX as usize;

/// How a question came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A datagram: the answer has bounds.
    Udp,
    /// A stream.
    Tcp,
}

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The buffer has the answer.
    Reply,
    /// Nothing is said: it was an answer itself, or no message at all.
    Silence,
    /// Not ours, and recursors are configured: they may know.
    Recurse,
    /// The buffer has an answer that ends in somebody else's name: recursors may complete it.
    Follow(Name<Vec<u8>>, Rtype),
}

/// Answers messages. One for all sockets; nothing in it changes.
#[derive(Debug)]
pub struct Responder<L> {
    config: Config,
    lookup: L,
}

/// A question that was understood.
pub(crate) struct Asked<'a> {
    pub(crate) request: &'a Message<[u8]>,
    pub(crate) name: ParsedName<&'a [u8]>,
    pub(crate) kind: Rtype,
    pub(crate) transport: Transport,
    pub(crate) room: Room,
    /// The one the name stands below.
    pub(crate) domain: &'a Name<Vec<u8>>,
    /// Seconds since 1970, for SOA.
    pub(crate) now: u32,
    /// What recursors said about the name that the answer ends in.
    pub(crate) followed: Option<&'a Message<[u8]>>,
}

impl Asked<'_> {
    pub(crate) fn wants(&self, kind: Rtype) -> bool {
        self.kind == kind || self.kind == Rtype::ANY
    }

    pub(crate) fn wants_host(&self, host: &Host) -> bool {
        match host {
            Host::V4(_) => self.wants(Rtype::A),
            Host::V6(_) => self.wants(Rtype::AAAA),
            Host::Name(_) | Host::Unusable => false,
        }
    }

    pub(crate) fn wants_addresses(&self) -> bool {
        matches!(
            self.kind,
            Rtype::A | Rtype::AAAA | Rtype::ANY | Rtype::CNAME
        )
    }
}

impl<L: Lookup> Responder<L> {
    /// # Panics
    ///
    /// The configuration was not checked.
    pub fn new(config: Config, lookup: L) -> Self {
        config.check().expect("the configuration must be checked");
        Responder { config, lookup }
    }

    /// How names are answered.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where answers come from.
    pub fn lookup(&self) -> &L {
        &self.lookup
    }

    /// Answers a message into `out`, whose content is lost. `now` is in seconds since 1970; `followed` is what a recursor said to
    /// an earlier [`Outcome::Follow`] of the same message.
    pub fn respond(
        &self,
        request: &[u8],
        transport: Transport,
        now: u32,
        followed: Option<&[u8]>,
        shuffle: &mut Shuffle,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let buffer = std::mem::take(out);
        let Ok(request) = Message::from_slice(request) else {
            return Outcome::Silence;
        };
        if request.header().qr() {
            return Outcome::Silence;
        }
        let followed = followed.and_then(|message| Message::from_slice(message).ok());
        let answered = self
            .question(request, transport, now, followed)
            .and_then(|asked| {
                let Some((asked, question)) = asked else {
                    return Ok((Vec::new(), Outcome::Recurse));
                };
                self.answer(&asked, &question, shuffle, buffer)
                    .map_err(|_| Rcode::SERVFAIL)
            });
        match answered {
            Ok((message, outcome)) => {
                *out = message;
                outcome
            }
            Err(rcode) => {
                *out = refusal(request, rcode, self.config.udp_max_size);
                Outcome::Reply
            }
        }
    }

    /// SERVFAIL, for when nothing fresh enough is known or no recursor answered.
    pub fn failure(&self, request: &[u8], out: &mut Vec<u8>) -> Outcome {
        match Message::from_slice(request) {
            Ok(request) if !request.header().qr() => {
                *out = refusal(request, Rcode::SERVFAIL, self.config.udp_max_size);
                Outcome::Reply
            }
            Ok(_) | Err(_) => Outcome::Silence,
        }
    }

    /// Understands a message; `None`: recursors shall answer it.
    fn question<'a>(
        &'a self,
        request: &'a Message<[u8]>,
        transport: Transport,
        now: u32,
        followed: Option<&'a Message<[u8]>>,
    ) -> Result<Option<(Asked<'a>, Question)>, Rcode> {
        if request.header().opcode() != Opcode::QUERY {
            return Err(Rcode::NOTIMP);
        }
        let question = request.sole_question().map_err(|_| Rcode::FORMERR)?;
        if !matches!(question.qclass(), Class::IN | Class::ANY) {
            return Err(Rcode::REFUSED);
        }
        if matches!(question.qtype(), Rtype::AXFR | Rtype::IXFR) {
            return Err(Rcode::REFUSED);
        }
        let room = self.room(request, transport)?;
        let name = *question.qname();
        let (meaning, alternative) = question::parse(&name, &self.config);
        let recurses = !self.config.recursors.is_empty();
        if meaning == Question::Foreign {
            return if recurses {
                Ok(None)
            } else {
                Err(Rcode::REFUSED)
            };
        }
        let domain = match &self.config.alt_domain {
            Some(alt) if alternative => alt,
            Some(_) | None => &self.config.domain,
        };
        let asked = Asked {
            request,
            name,
            kind: question.qtype(),
            transport,
            room,
            domain,
            now,
            followed,
        };
        Ok(Some((asked, meaning)))
    }

    fn room(&self, request: &Message<[u8]>, transport: Transport) -> Result<Room, Rcode> {
        let opt = request.opt();
        if opt.as_ref().is_some_and(|opt| opt.version() > 0) {
            // BADVERS needs the upper bits that only OPT has; an old client is better served by a plain refusal.
            return Err(Rcode::FORMERR);
        }
        let offered = opt.map(|opt| opt.udp_payload_size().max(PLAIN_UDP_BYTES));
        let largest = self.config.udp_max_size;
        let bytes = match transport {
            Transport::Tcp => TCP_BYTES,
            Transport::Udp => usize::from(offered.unwrap_or(PLAIN_UDP_BYTES).min(largest)),
        };
        Ok(Room {
            bytes,
            edns: offered.map(|size| size.min(largest)),
            says_truncated: transport == Transport::Udp && self.config.enable_truncate,
        })
    }
}
