//! The records of each kind of name.

use std::collections::HashSet;
use std::net::IpAddr;
use std::str::FromStr as _;

use domain::base::iana::{Rcode, Rtype};
use domain::base::message_builder::PushError;
use domain::base::name::{NameBuilder, RelativeName};
use domain::base::{Message, Name};
use domain::rdata::{AllRecordData, Ns, Ptr, Srv};

use crate::config::seconds;
use crate::lookup::{Host, Instance, Lookup, Node, Pointer};
use crate::question::Question;
use crate::reply::{Additional, Answers, Authority, below, record, soa};
use crate::respond::{Asked, Outcome, Responder, Transport};
use crate::shuffle::Shuffle;

/// SRV priority of every instance, as in Consul.
const PRIORITY: u16 = 1;

impl<L: Lookup> Responder<L> {
    /// The answer to a question that was understood.
    pub(crate) fn answer(
        &self,
        asked: &Asked<'_>,
        question: &Question,
        shuffle: &mut Shuffle,
        buffer: Vec<u8>,
    ) -> Result<(Vec<u8>, Outcome), PushError> {
        let mut answers = Answers::begin(buffer, asked.request, asked.room)?;
        if !self.config().recursors.is_empty() {
            answers.recursion_available();
        }
        match question {
            Question::Service { name, tag } => {
                let service = self.lookup().service(name);
                let ttl = self.config().service_ttl.of(name);
                let tag = tag.as_deref();
                let fits = |instance: &&Instance| {
                    (instance.passing || !self.config().only_passing)
                        && tag.is_none_or(|tag| has_tag(instance, tag))
                };
                let chosen = service
                    .iter()
                    .flat_map(|service| &service.instances)
                    .filter(fits)
                    .collect();
                self.instances(asked, answers, chosen, ttl, shuffle)
            }
            Question::Query(name) => match self.lookup().query(name) {
                None => self.nothing(asked, answers, Rcode::NXDOMAIN),
                Some(prepared) => {
                    let ttl = match prepared.ttl {
                        Some(ttl) => seconds(ttl),
                        None => self.config().service_ttl.of(&prepared.name),
                    };
                    let chosen = prepared.service.instances.iter().collect();
                    self.instances(asked, answers, chosen, ttl, shuffle)
                }
            },
            Question::Node(name) => match self.lookup().node(name) {
                None => self.nothing(asked, answers, Rcode::NXDOMAIN),
                Some(node) => self.node(asked, answers, &node),
            },
            Question::Address(address) => {
                let ttl = seconds(self.config().node_ttl);
                let host = host_of(*address);
                if asked.wants_host(&host) {
                    answers.push_host(&asked.name, ttl, &host);
                }
                self.finish(asked, answers)
            }
            Question::Pointer(address) => self.pointer(asked, answers, *address),
            Question::Apex => self.apex(asked, answers),
            Question::NameServer => {
                for server in self.lookup().servers() {
                    if asked.wants_host(&server.host) {
                        answers.push_host(
                            &asked.name,
                            seconds(self.config().node_ttl),
                            &server.host,
                        );
                    }
                }
                self.finish(asked, answers)
            }
            Question::Between => self.finish(asked, answers),
            Question::Virtual => {
                let message = answers.authority().additional().finish();
                Ok((message, Outcome::Reply))
            }
            Question::Nothing => self.nothing(asked, answers, Rcode::NXDOMAIN),
            Question::Foreign => self.nothing(asked, answers, Rcode::REFUSED),
        }
    }

    fn instances(
        &self,
        asked: &Asked<'_>,
        answers: Answers,
        mut chosen: Vec<&Instance>,
        ttl: u32,
        shuffle: &mut Shuffle,
    ) -> Result<(Vec<u8>, Outcome), PushError> {
        if chosen.is_empty() {
            return self.nothing(asked, answers, Rcode::NXDOMAIN);
        }
        shuffle.shuffle(&mut chosen);
        if asked.kind == Rtype::SRV {
            return self.srv(asked, answers, &chosen, ttl);
        }
        if asked.wants_addresses() {
            return self.addresses(asked, answers, &chosen, ttl);
        }
        self.finish(asked, answers)
    }

    /// A, AAAA, or CNAME where instances have names only.
    fn addresses(
        &self,
        asked: &Asked<'_>,
        mut answers: Answers,
        chosen: &[&Instance],
        ttl: u32,
    ) -> Result<(Vec<u8>, Outcome), PushError> {
        let limit = self.address_limit(asked);
        let mut seen = Seen::default();
        for instance in chosen {
            let host = instance.shown();
            if !asked.wants_host(host) || !seen.is_new(host) {
                continue;
            }
            if answers.count() >= limit || !answers.push_host(&asked.name, ttl, host) {
                break;
            }
        }
        if answers.count() > 0 || answers.is_cut() {
            return self.finish(asked, answers);
        }
        // A name may have one alias only: one instance of those that are names answers for all.
        let alias = chosen.iter().find_map(|instance| match instance.shown() {
            Host::Name(name) => Some(name),
            Host::V4(_) | Host::V6(_) | Host::Unusable => None,
        });
        match alias {
            Some(name) => self.alias(asked, answers, ttl, name),
            None => self.finish(asked, answers),
        }
    }

    /// Most addresses of this answer.
    fn address_limit(&self, asked: &Asked<'_>) -> usize {
        let plain = asked.transport == Transport::Udp && asked.room.edns.is_none();
        let limits = [
            (self.config().a_record_limit, true),
            (self.config().udp_answer_limit, plain),
        ];
        limits
            .into_iter()
            .filter(|(limit, applies)| *applies && *limit > 0)
            .map(|(limit, _)| limit)
            .min()
            .unwrap_or(usize::MAX)
    }

    /// A name somewhere else, with what recursors say about it.
    fn alias(
        &self,
        asked: &Asked<'_>,
        mut answers: Answers,
        ttl: u32,
        name: &Name<Vec<u8>>,
    ) -> Result<(Vec<u8>, Outcome), PushError> {
        answers.push_host(&asked.name, ttl, &Host::Name(name.clone()));
        let mut outcome = Outcome::Reply;
        match asked.followed {
            Some(followed) => copy_answers(followed, &mut answers),
            None => {
                let follows = matches!(asked.kind, Rtype::A | Rtype::AAAA);
                if follows && asked.request.header().rd() && !self.config().recursors.is_empty() {
                    outcome = Outcome::Follow(name.clone(), asked.kind);
                }
            }
        }
        let message = answers.authority().additional().finish();
        Ok((message, outcome))
    }

    fn srv(
        &self,
        asked: &Asked<'_>,
        mut answers: Answers,
        chosen: &[&Instance],
        ttl: u32,
    ) -> Result<(Vec<u8>, Outcome), PushError> {
        let mut shown = Vec::with_capacity(chosen.len());
        for instance in chosen {
            let target = self.target(instance);
            let (weight, port) = (instance.weight, instance.port);
            let pushed = match &target {
                Target::Ours(labels) => match below(labels, asked.domain) {
                    Some(name) => {
                        let srv = Srv::new(PRIORITY, weight, port, name);
                        answers.push(record(&asked.name, ttl, srv))
                    }
                    None => continue,
                },
                Target::Theirs(name) => {
                    let srv = Srv::new(PRIORITY, weight, port, *name);
                    answers.push(record(&asked.name, ttl, srv))
                }
                Target::Nowhere => continue,
            };
            if !pushed {
                break;
            }
            shown.push((*instance, target));
        }
        if answers.count() == 0 {
            return self.finish(asked, answers);
        }
        let mut additional = answers.authority().additional();
        for (instance, target) in &shown {
            if !self.srv_additional(asked, &mut additional, instance, target, ttl) {
                break;
            }
        }
        Ok((additional.finish(), Outcome::Reply))
    }

    /// Where an SRV record points: the node, unless the instance has an address of its own.
    fn target<'i>(&self, instance: &'i Instance) -> Target<'i> {
        let labels = |text: String| RelativeName::from_str(&text).ok();
        let datacenter = &self.config().datacenter;
        match &instance.host {
            Some(Host::Name(name)) => Target::Theirs(name),
            Some(Host::V4(address)) => {
                let labels = labels(format!("{:08x}.addr.{datacenter}", address.to_bits()));
                labels.map_or(Target::Nowhere, Target::Ours)
            }
            Some(Host::V6(address)) => {
                let labels = labels(format!("{:032x}.addr.{datacenter}", address.to_bits()));
                labels.map_or(Target::Nowhere, Target::Ours)
            }
            Some(Host::Unusable) => Target::Nowhere,
            None => match self.node_labels(&instance.node.labels) {
                Some(labels) => Target::Ours(labels),
                None => Target::Nowhere,
            },
        }
    }

    /// `NAME.node.DC`; `None`: the node's name cannot stand in DNS.
    fn node_labels(&self, node: &RelativeName<Vec<u8>>) -> Option<RelativeName<Vec<u8>>> {
        if node.is_empty() {
            return None;
        }
        let mut labels = NameBuilder::new_vec();
        for label in node.iter() {
            labels.append_label(label.as_slice()).ok()?;
        }
        labels.append_label(b"node").ok()?;
        for label in self.config().datacenter.iter() {
            labels.append_label(label.as_slice()).ok()?;
        }
        Some(labels.finish())
    }

    /// What spares the client a second question. False: no more room.
    fn srv_additional(
        &self,
        asked: &Asked<'_>,
        additional: &mut Additional,
        instance: &Instance,
        target: &Target<'_>,
        ttl: u32,
    ) -> bool {
        let Target::Ours(labels) = target else {
            return true;
        };
        let Some(owner) = below(labels, asked.domain) else {
            return true;
        };
        let fits = additional.push_host(&owner, ttl, instance.shown());
        match instance.host {
            None => fits && additional.push_texts(&owner, ttl, &instance.node),
            Some(_) => fits,
        }
    }

    fn node(
        &self,
        asked: &Asked<'_>,
        mut answers: Answers,
        node: &Node,
    ) -> Result<(Vec<u8>, Outcome), PushError> {
        let ttl = seconds(self.config().node_ttl);
        if asked.wants(Rtype::TXT) {
            if asked.wants_host(&node.host) {
                answers.push_host(&asked.name, ttl, &node.host);
            }
            answers.push_texts(&asked.name, ttl, node);
            return self.finish(asked, answers);
        }
        if !asked.wants_addresses() {
            return self.finish(asked, answers);
        }
        if let Host::Name(name) = &node.host {
            return self.alias(asked, answers, ttl, name);
        }
        if asked.wants_host(&node.host) {
            answers.push_host(&asked.name, ttl, &node.host);
        }
        let authority = self.authority(asked, answers);
        let mut additional = authority.additional();
        additional.push_texts(&asked.name, ttl, node);
        Ok((additional.finish(), Outcome::Reply))
    }

    fn pointer(
        &self,
        asked: &Asked<'_>,
        mut answers: Answers,
        address: IpAddr,
    ) -> Result<(Vec<u8>, Outcome), PushError> {
        let Some(pointer) = self.lookup().pointer(address) else {
            return self.unknown_address(asked, answers);
        };
        let (name, kind) = match &pointer {
            Pointer::Node(name) => (name, "node"),
            Pointer::Service(name) => (name, "service"),
        };
        let labels = format!("{name}.{kind}.{}", self.config().datacenter);
        if let Ok(labels) = RelativeName::<Vec<u8>>::from_str(&labels)
            && let Some(target) = below(&labels, asked.domain)
            && asked.wants(Rtype::PTR)
        {
            let ttl = seconds(self.config().node_ttl);
            answers.push(record(&asked.name, ttl, Ptr::new(target)));
        }
        self.finish(asked, answers)
    }

    /// Somebody else may know whose address it is.
    fn unknown_address(
        &self,
        asked: &Asked<'_>,
        answers: Answers,
    ) -> Result<(Vec<u8>, Outcome), PushError> {
        if self.config().recursors.is_empty() {
            return self.nothing(asked, answers, Rcode::NXDOMAIN);
        }
        Ok((Vec::new(), Outcome::Recurse))
    }

    /// The domain itself: who serves it.
    fn apex(
        &self,
        asked: &Asked<'_>,
        mut answers: Answers,
    ) -> Result<(Vec<u8>, Outcome), PushError> {
        let servers = self.lookup().servers();
        let ttl = seconds(self.config().node_ttl);
        let named: Vec<_> = servers
            .iter()
            .filter_map(|node| Some((node, self.node_labels(&node.labels)?)))
            .collect();
        let mut names = named
            .iter()
            .filter_map(|(node, labels)| Some((node, below(labels, asked.domain)?)));
        if asked.wants(Rtype::SOA) {
            answers.push(soa(asked.domain, asked.now, self.config().soa));
        }
        if asked.wants(Rtype::NS) {
            for (_, name) in names.clone() {
                answers.push(record(asked.domain, ttl, Ns::new(name)));
            }
        }
        if answers.count() == 0 {
            return self.finish(asked, answers);
        }
        let mut authority = answers.authority();
        if !asked.wants(Rtype::NS) {
            for (_, name) in names.clone() {
                authority.push(record(asked.domain, ttl, Ns::new(name)));
            }
        }
        let mut additional = authority.additional();
        names.all(|(node, name)| additional.push_host(&name, ttl, &node.host));
        Ok((additional.finish(), Outcome::Reply))
    }

    /// An error about a name: with SOA, so that resolvers know how long to believe it.
    fn nothing(
        &self,
        asked: &Asked<'_>,
        mut answers: Answers,
        rcode: Rcode,
    ) -> Result<(Vec<u8>, Outcome), PushError> {
        answers.set_rcode(rcode);
        self.finish(asked, answers)
    }

    /// The end of an answer, whether it has records or not.
    fn finish(&self, asked: &Asked<'_>, answers: Answers) -> Result<(Vec<u8>, Outcome), PushError> {
        let message = self.authority(asked, answers).additional().finish();
        Ok((message, Outcome::Reply))
    }

    /// The authority section: SOA where there is no answer.
    fn authority(&self, asked: &Asked<'_>, answers: Answers) -> Authority {
        let empty = answers.count() == 0 && !answers.is_cut();
        let mut authority = answers.authority();
        if empty {
            authority.push(soa(asked.domain, asked.now, self.config().soa));
        }
        authority
    }
}

/// Where an SRV record points.
enum Target<'i> {
    /// Below our domain.
    Ours(RelativeName<Vec<u8>>),
    /// Somewhere else.
    Theirs(&'i Name<Vec<u8>>),
    /// There is nothing to point to.
    Nowhere,
}

fn has_tag(instance: &Instance, tag: &str) -> bool {
    (instance.tags.iter()).any(|own| own.eq_ignore_ascii_case(tag))
}

fn host_of(address: IpAddr) -> Host {
    match address {
        IpAddr::V4(address) => Host::V4(address),
        IpAddr::V6(address) => Host::V6(address),
    }
}

/// The addresses and aliases of another's answer.
fn copy_answers(followed: &Message<[u8]>, answers: &mut Answers) {
    let Ok(section) = followed.answer() else {
        return;
    };
    for record in section.limit_to::<AllRecordData<_, _>>().flatten() {
        let wanted = matches!(record.rtype(), Rtype::A | Rtype::AAAA | Rtype::CNAME);
        if wanted && !answers.push(record) {
            return;
        }
    }
}

/// Addresses that stand in the answer: instances may share one.
#[derive(Default)]
struct Seen {
    few: Vec<Host>,
    many: HashSet<IpAddr>,
}

/// Up to so many are compared one by one.
const FEW: usize = 16;

impl Seen {
    fn is_new(&mut self, host: &Host) -> bool {
        let address = match host {
            Host::V4(address) => IpAddr::V4(*address),
            Host::V6(address) => IpAddr::V6(*address),
            Host::Name(_) | Host::Unusable => return true,
        };
        if self.many.is_empty() {
            if self.few.contains(host) {
                return false;
            }
            if self.few.len() < FEW {
                self.few.push(host.clone());
                return true;
            }
            let seen = self.few.iter().filter_map(|host| match host {
                Host::V4(address) => Some(IpAddr::V4(*address)),
                Host::V6(address) => Some(IpAddr::V6(*address)),
                Host::Name(_) | Host::Unusable => None,
            });
            self.many.extend(seen);
        }
        self.many.insert(address)
    }
}
