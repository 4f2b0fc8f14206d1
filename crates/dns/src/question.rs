//! What is asked: a name below our domain, taken apart as Consul does.
//!
//! | name | means |
//! |---|---|
//! | `[TAG.]NAME.service[.DC].DOMAIN` | instances of a service |
//! | `_NAME._TAG.service[.DC].DOMAIN` | the same (RFC 2782); `_tcp` is no tag |
//! | `NAME.node[.DC].DOMAIN` | a node |
//! | `NAME.query[.DC].DOMAIN`, `_NAME._tcp.query…` | a prepared query |
//! | `HEX.addr[.DC].DOMAIN` | the address written as 8 or 32 hexadecimal digits |
//! | `….in-addr.arpa`, `….ip6.arpa` | who has an address |

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use domain::base::name::{Label, ToName};

use crate::config::Config;

/// Labels below a domain; deeper names are nobody's.
const LABELS_MAX: usize = 16;

/// What a name means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    /// Instances of a service, perhaps with a tag.
    Service {
        /// As asked.
        name: String,
        /// As asked.
        tag: Option<String>,
    },
    /// A node.
    Node(String),
    /// A prepared query.
    Query(String),
    /// An address in the name.
    Address(IpAddr),
    /// Whose address it is.
    Pointer(IpAddr),
    /// The domain itself.
    Apex,
    /// `ns` below the domain: what SOA names.
    NameServer,
    /// Above names, but none itself: `service.consul`.
    Between,
    /// A service's address in the mesh: known, but without records.
    Virtual,
    /// Below our domain, and nothing.
    Nothing,
    /// Not ours.
    Foreign,
}

/// Takes a name apart. The second value: which domain it stands below (`true`: the alternative one).
pub(crate) fn parse(name: &impl ToName, config: &Config) -> (Question, bool) {
    if let Some(labels) = below(name, &config.domain) {
        return (ours(&labels, config), false);
    }
    if let Some(alt) = &config.alt_domain
        && let Some(labels) = below(name, alt)
    {
        return (ours(&labels, config), true);
    }
    (
        reverse(name).map_or(Question::Foreign, Question::Pointer),
        false,
    )
}

/// Labels below a domain, from the left; `None`: it is not below it.
fn below(name: &impl ToName, domain: &impl ToName) -> Option<Vec<String>> {
    let depth = name.iter_labels().count();
    let above = depth.checked_sub(domain.iter_labels().count())?;
    let is_below = name.iter_labels().skip(above).eq(domain.iter_labels());
    if !is_below {
        return None;
    }
    let mut labels: Vec<String> = Vec::with_capacity(above);
    for label in name.iter_labels().take(above) {
        labels.push(text(label));
    }
    Some(labels)
}

fn text(label: &Label) -> String {
    String::from_utf8_lossy(label.as_slice()).into_owned()
}

fn ours(labels: &[String], config: &Config) -> Question {
    if labels.is_empty() {
        return Question::Apex;
    }
    if labels.len() > LABELS_MAX {
        return Question::Nothing;
    }
    let last = &labels[labels.len() - 1];
    if let Some(kind) = Kind::parse(last) {
        return kind.of(&labels[..labels.len() - 1]);
    }
    let datacenter = &config.datacenter;
    let is_ours = datacenter.label_count() == 1
        && (datacenter.iter().next())
            .is_some_and(|label| label.as_slice().eq_ignore_ascii_case(last.as_bytes()));
    if labels.len() == 1 {
        return match last.eq_ignore_ascii_case("ns") {
            true => Question::NameServer,
            false => Question::Nothing,
        };
    }
    match Kind::parse(&labels[labels.len() - 2]) {
        Some(kind) if is_ours => kind.of(&labels[..labels.len() - 2]),
        Some(_) | None => Question::Nothing,
    }
}

/// The label that says what a name is.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Service,
    Node,
    Query,
    Address,
    Virtual,
}

impl Kind {
    fn parse(label: &str) -> Option<Self> {
        let kinds = [
            ("service", Kind::Service),
            ("node", Kind::Node),
            ("query", Kind::Query),
            ("addr", Kind::Address),
            ("virtual", Kind::Virtual),
        ];
        let kind = kinds
            .iter()
            .find(|(name, _)| label.eq_ignore_ascii_case(name));
        kind.map(|(_, kind)| *kind)
    }

    fn of(self, labels: &[String]) -> Question {
        if labels.is_empty() {
            return Question::Between;
        }
        match self {
            Kind::Service => service(labels),
            Kind::Node => Question::Node(labels.join(".")),
            Kind::Query => Question::Query(match underscored(labels) {
                Some((name, _)) => name.to_owned(),
                None => labels.join("."),
            }),
            Kind::Address => address(labels),
            Kind::Virtual => Question::Virtual,
        }
    }
}

fn service(labels: &[String]) -> Question {
    if let Some((name, tag)) = underscored(labels) {
        // The protocol is none of a service's properties; a tag `tcp` cannot be asked for this way.
        let tag = (!tag.eq_ignore_ascii_case("tcp")).then(|| tag.to_owned());
        return Question::Service {
            name: name.to_owned(),
            tag,
        };
    }
    let (name, tag) = labels
        .split_last()
        .expect("a service's labels must not be empty");
    // A tag may have dots.
    let tag = (!tag.is_empty()).then(|| tag.join("."));
    Question::Service {
        name: name.clone(),
        tag,
    }
}

/// `_NAME._TAG`.
fn underscored(labels: &[String]) -> Option<(&str, &str)> {
    let [name, tag] = labels else { return None };
    Some((name.strip_prefix('_')?, tag.strip_prefix('_')?))
}

fn address(labels: &[String]) -> Question {
    let [hex] = labels else {
        return Question::Nothing;
    };
    if !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Question::Nothing;
    }
    let address = match hex.len() {
        8 => u32::from_str_radix(hex, 16)
            .ok()
            .map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        32 => u128::from_str_radix(hex, 16)
            .ok()
            .map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
        _ => None,
    };
    address.map_or(Question::Nothing, Question::Address)
}

/// The address in a name below `in-addr.arpa` or `ip6.arpa`.
fn reverse(name: &impl ToName) -> Option<IpAddr> {
    let labels: Vec<String> = name.iter_labels().map(text).collect();
    // The root is a label too.
    let [rest @ .., family, arpa, _] = labels.as_slice() else {
        return None;
    };
    if !arpa.eq_ignore_ascii_case("arpa") {
        return None;
    }
    if family.eq_ignore_ascii_case("in-addr") && rest.len() == 4 {
        let mut octets = [0; 4];
        for (octet, label) in octets.iter_mut().rev().zip(rest) {
            *octet = label.parse().ok()?;
        }
        return Some(IpAddr::from(octets));
    }
    if family.eq_ignore_ascii_case("ip6") && rest.len() == 32 {
        let mut bits = 0_u128;
        for nibble in rest.iter().rev() {
            let [digit] = nibble.as_bytes() else {
                return None;
            };
            let value = char::from(*digit).to_digit(16)?;
            bits = (bits << 4) | u128::from(value);
        }
        return Some(IpAddr::V6(Ipv6Addr::from_bits(bits)));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use domain::base::Name;

    use super::*;

    fn parsed(name: &str) -> Question {
        let config = Config {
            alt_domain: Some(crate::domain("alt_domain", "roll.example").unwrap()),
            ..Config::default()
        };
        let name = Name::<Vec<u8>>::from_str(name).unwrap();
        parse(&name, &config).0
    }

    fn service(name: &str, tag: Option<&str>) -> Question {
        Question::Service {
            name: name.to_owned(),
            tag: tag.map(str::to_owned),
        }
    }

    #[test]
    fn names_mean_what_they_mean_in_consul() {
        for (name, meaning) in [
            ("web.service.consul", service("web", None)),
            ("web.service.dc1.consul", service("web", None)),
            ("WEB.Service.DC1.Consul", service("WEB", None)),
            ("web.service.roll.example", service("web", None)),
            ("v1.web.service.consul", service("web", Some("v1"))),
            ("a.b.web.service.consul", service("web", Some("a.b"))),
            ("_web._tcp.service.consul", service("web", None)),
            ("_web._v1.service.dc1.consul", service("web", Some("v1"))),
            ("n1.node.consul", Question::Node("n1".into())),
            ("n1.rack.node.dc1.consul", Question::Node("n1.rack".into())),
            ("pq.query.consul", Question::Query("pq".into())),
            ("_pq._tcp.query.consul", Question::Query("pq".into())),
            (
                "0a010001.addr.dc1.consul",
                Question::Address([10, 1, 0, 1].into()),
            ),
            ("0a01.addr.dc1.consul", Question::Nothing),
            ("+a010001.addr.consul", Question::Nothing),
            ("web.service.nope.consul", Question::Nothing),
            ("a.b.c.d.consul", Question::Nothing),
            ("bogus.consul", Question::Nothing),
            ("service.consul", Question::Between),
            ("consul", Question::Apex),
            ("ns.consul", Question::NameServer),
            ("example.com", Question::Foreign),
            ("notconsul", Question::Foreign),
            (
                "1.0.1.10.in-addr.arpa",
                Question::Pointer([10, 1, 0, 1].into()),
            ),
            ("0.1.10.in-addr.arpa", Question::Foreign),
        ] {
            assert_eq!(parsed(name), meaning, "{name}");
        }
        let six = "4.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        let address: IpAddr = "2001:db8::4".parse().unwrap();
        assert_eq!(parsed(six), Question::Pointer(address));
    }
}
