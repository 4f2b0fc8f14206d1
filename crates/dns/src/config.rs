//! How names are answered. Every setting has Consul's name in the configuration file's `dns_config`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::str::FromStr as _;
use std::time::Duration;

use domain::base::Name;
use domain::base::name::RelativeName;

/// Largest answer over udp that may be configured: more is lost to fragments everywhere.
pub(crate) const UDP_BYTES_MAX: u16 = 4096;
/// Answers over udp to clients that offer no EDNS.
pub(crate) const PLAIN_UDP_BYTES: u16 = 512;
/// Most recursors: each is tried in turn, and a client waits for all of them.
const RECURSORS_MAX: usize = 8;

/// A setting that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not a domain name.
    #[error("{setting}: {value:?} is not a domain name: {why}")]
    Domain {
        /// `domain`, `alt_domain`, …
        setting: &'static str,
        /// As given.
        value: String,
        /// What the parser says.
        why: String,
    },
    /// A number out of its bounds.
    #[error("{setting}: {value} is not within {least} and {most}")]
    Bound {
        /// The setting.
        setting: &'static str,
        /// As given.
        value: usize,
        /// Least value.
        least: usize,
        /// Largest value.
        most: usize,
    },
}

/// Seconds that resolvers may keep a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ttls {
    exact: BTreeMap<String, u32>,
    /// Prefix (of `prefix*`) to TTL; the longest that fits wins.
    prefixes: Vec<(String, u32)>,
}

impl Ttls {
    /// From patterns: a service's name, a prefix with `*` at its end, or `*`. Names are compared without regard to ASCII case.
    pub fn new(patterns: impl IntoIterator<Item = (String, Duration)>) -> Self {
        let mut ttls = Ttls::default();
        for (pattern, ttl) in patterns {
            let seconds = seconds(ttl);
            let pattern = pattern.to_ascii_lowercase();
            match pattern.strip_suffix('*') {
                Some(prefix) => ttls.prefixes.push((prefix.to_owned(), seconds)),
                None => {
                    ttls.exact.insert(pattern, seconds);
                }
            }
        }
        ttls.prefixes
            .sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        ttls
    }

    /// Seconds for a service; 0 where no pattern fits.
    pub fn of(&self, service: &str) -> u32 {
        if self.exact.is_empty() && self.prefixes.is_empty() {
            return 0;
        }
        let service = service.to_ascii_lowercase();
        self.exact.get(&service).copied().unwrap_or_else(|| {
            let fits = |(prefix, _): &&(String, u32)| service.starts_with(prefix.as_str());
            self.prefixes.iter().find(fits).map_or(0, |(_, ttl)| *ttl)
        })
    }
}

/// Whole seconds, as records have them.
pub(crate) fn seconds(ttl: Duration) -> u32 {
    u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX)
}

/// How names are answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `domain`: below it are our names. `consul.` by default.
    pub domain: Name<Vec<u8>>,
    /// `alt_domain`: another name for the same.
    pub alt_domain: Option<Name<Vec<u8>>>,
    /// `datacenter`, as a label.
    pub datacenter: RelativeName<Vec<u8>>,
    /// `dns_config.node_ttl`.
    pub node_ttl: Duration,
    /// `dns_config.service_ttl`.
    pub service_ttl: Ttls,
    /// `dns_config.only_passing`: instances with a warning are left out too.
    pub only_passing: bool,
    /// `dns_config.udp_answer_limit`: most addresses over udp to a client without EDNS; 0: no limit.
    pub udp_answer_limit: usize,
    /// `dns_config.a_record_limit`: most A or AAAA records of an answer; 0: no limit.
    pub a_record_limit: usize,
    /// `dns_config.enable_truncate`: whether TC is set when an answer over udp is cut.
    pub enable_truncate: bool,
    /// `dns_config.udp_max_size`: largest answer over udp, bytes, whatever the client offers. 512 to 4,096.
    pub udp_max_size: u16,
    /// `dns_config.soa.*`: refresh, retry, expire, minimum TTL.
    pub soa: [Duration; 4],
    /// `dns_config.allow_stale`: answer from what is known here, without asking the leader.
    pub allow_stale: bool,
    /// `dns_config.max_stale`: but only when the leader was heard of within this.
    pub max_stale: Duration,
    /// `recursors`: asked, in order, for names that are not ours. None: such questions are refused.
    pub recursors: Vec<SocketAddr>,
    /// `dns_config.recursor_timeout`: of each.
    pub recursor_timeout: Duration,
    /// Answers a second that one public source address may be sent over udp; more are dropped or cut, so that forged
    /// sources gain nothing. 0: no limit. Private and loopback sources are never limited.
    pub public_rate: u32,
}

impl Default for Config {
    fn default() -> Self {
        let hour = Duration::from_secs(3600);
        Config {
            domain: domain("domain", "consul").expect("the default domain must be a name"),
            alt_domain: None,
            datacenter: label("datacenter", "dc1").expect("the default datacenter must be a label"),
            node_ttl: Duration::ZERO,
            service_ttl: Ttls::default(),
            only_passing: false,
            udp_answer_limit: 3,
            a_record_limit: 0,
            enable_truncate: true,
            udp_max_size: UDP_BYTES_MAX,
            soa: [hour, hour / 6, 24 * hour, Duration::ZERO],
            allow_stale: true,
            max_stale: 24 * 365 * 10 * hour,
            recursors: Vec::new(),
            recursor_timeout: Duration::from_secs(2),
            public_rate: 200,
        }
    }
}

impl Config {
    /// Checks what the types leave open.
    ///
    /// # Errors
    ///
    /// Names the setting and its bounds.
    pub fn check(&self) -> Result<(), ConfigError> {
        let bound = |setting, value, least, most| match (least..=most).contains(&value) {
            true => Ok(()),
            false => Err(ConfigError::Bound {
                setting,
                value,
                least,
                most,
            }),
        };
        bound(
            "dns_config.udp_max_size",
            usize::from(self.udp_max_size),
            usize::from(PLAIN_UDP_BYTES),
            usize::from(UDP_BYTES_MAX),
        )?;
        bound("recursors", self.recursors.len(), 0, RECURSORS_MAX)
    }
}

/// A domain out of a setting, with or without its final dot.
///
/// # Errors
///
/// The text is no domain name.
pub fn domain(setting: &'static str, text: &str) -> Result<Name<Vec<u8>>, ConfigError> {
    Name::from_str(text).map_err(|why| ConfigError::Domain {
        setting,
        value: text.to_owned(),
        why: why.to_string(),
    })
}

/// One or several labels out of a setting.
///
/// # Errors
///
/// The text is no domain name, or ends with a dot.
pub fn label(setting: &'static str, text: &str) -> Result<RelativeName<Vec<u8>>, ConfigError> {
    RelativeName::from_str(text).map_err(|why| ConfigError::Domain {
        setting,
        value: text.to_owned(),
        why: why.to_string(),
    })
}
