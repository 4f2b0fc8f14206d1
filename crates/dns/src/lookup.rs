//! Who is there: what an answer is made of, and where it comes from.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use domain::base::Name;
use domain::base::name::RelativeName;
use domain::rdata::Txt;

/// A boxed future.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where something can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A record.
    V4(Ipv4Addr),
    /// AAAA record.
    V6(Ipv6Addr),
    /// CNAME record.
    Name(Name<Vec<u8>>),
    /// Neither an address nor a name: there is no record for it.
    Unusable,
}

impl Host {
    /// Out of an address field of the catalog.
    pub fn parse(address: &str) -> Self {
        match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => Host::V4(address),
            Ok(IpAddr::V6(address)) => Host::V6(address),
            Err(_) if address.is_empty() => Host::Unusable,
            Err(_) => Name::from_str(address).map_or(Host::Unusable, Host::Name),
        }
    }
}

/// A node as DNS shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its labels; empty when its name cannot be one in DNS.
    pub labels: RelativeName<Vec<u8>>,
    /// Its address.
    pub host: Host,
    /// `key=value` of its meta. Longer than 255 bytes, a record has it in several pieces.
    pub texts: Vec<Txt<Vec<u8>>>,
}

/// Longest text that is shown; Consul takes meta values of 512 bytes and keys of 128.
const TEXT_BYTES_MAX: usize = 1024;

impl Node {
    /// Out of a node's row. A key that begins with `rfc1035-` shows its value alone, as in Consul.
    pub fn new<'m>(
        name: &str,
        address: &str,
        meta: impl IntoIterator<Item = (&'m str, &'m str)>,
    ) -> Self {
        let text = |(key, value): (&str, &str)| {
            let text = match key.starts_with("rfc1035-") {
                true => value.to_owned(),
                false => format!("{key}={value}"),
            };
            let bytes = &text.as_bytes()[..text.len().min(TEXT_BYTES_MAX)];
            Txt::build_from_slice(bytes).ok()
        };
        Node {
            labels: RelativeName::from_str(name).unwrap_or_else(|_| RelativeName::empty_vec()),
            host: Host::parse(address),
            texts: meta.into_iter().filter_map(text).collect(),
        }
    }
}

/// One instance that may be answered: passing, or with a warning.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Where it runs.
    pub node: Arc<Node>,
    /// Its own address, where it differs from its node's.
    pub host: Option<Host>,
    /// Port.
    pub port: u16,
    /// SRV weight for its present health.
    pub weight: u16,
    /// False: one of its checks, or of its node's, warns.
    pub passing: bool,
    /// Tags.
    pub tags: Arc<[Arc<str>]>,
}

impl Instance {
    /// What A, AAAA and CNAME show.
    pub fn shown(&self) -> &Host {
        self.host.as_ref().unwrap_or(&self.node.host)
    }
}

/// The instances of a service that are not critical, in any order.
#[derive(Debug, Clone, Default)]
pub struct Service {
    /// Them.
    pub instances: Vec<Instance>,
}

/// What executing a prepared query gives.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Its instances, health and tags already decided.
    pub service: Arc<Service>,
    /// Its own TTL, if it has one.
    pub ttl: Option<Duration>,
    /// The service's name: decides the TTL otherwise.
    pub name: String,
}

/// What an address belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pointer {
    /// A node: its labels.
    Node(RelativeName<Vec<u8>>),
    /// A service: its name's label.
    Service(RelativeName<Vec<u8>>),
}

/// What is known. Names come as asked; folding is the lookup's business.
///
/// The calls are made for every question and return shared values: an implementation keeps them ready and
/// makes them anew when the catalog changes.
pub trait Lookup: Send + Sync + 'static {
    /// Resolves when what is known here is as fresh as the configuration asks. `None`: it is now (the usual case, which costs nothing).
    fn settle(&self) -> Option<Boxed<'_, Result<(), Unavailable>>>;
    /// `None`: no such service.
    fn service(&self, name: &str) -> Option<Arc<Service>>;
    /// `None`: no such node.
    fn node(&self, name: &str) -> Option<Arc<Node>>;
    /// `None`: no such prepared query.
    fn query(&self, name: &str) -> Option<Prepared>;
    /// Nodes first, then services.
    fn pointer(&self, address: IpAddr) -> Option<Pointer>;
    /// Nodes of the servers, for NS; a few.
    fn servers(&self) -> Vec<Arc<Node>>;
}

/// Nothing fresh enough is known: SERVFAIL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no fresh answer: {0}")]
pub struct Unavailable(pub String);
