//! The settings of DNS.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rollcall_api::GoDuration;
use rollcall_dns::{Config, Ttls};

use super::ConfigError;
use super::reader::Reader;

/// Longest TTL: what lives longer in a resolver than a week will not be noticed to be wrong.
const TTL_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Port of recursors that name none.
const DNS_PORT: u16 = 53;

/// Where DNS listens, and how it answers.
#[derive(Debug, Clone, PartialEq)]
pub struct DnsListen {
    /// Addresses; a port of 0 is any free one.
    pub addresses: Vec<SocketAddr>,
    /// How.
    pub config: Config,
}

impl Eq for DnsListen {}

/// `None`: DNS is switched off.
pub(super) fn dns(read: &Reader<'_>, port: Option<u16>) -> Result<Option<DnsListen>, ConfigError> {
    let config = config(read)?;
    let addresses = addresses(read)?;
    Ok(port.map(|port| DnsListen {
        addresses: addresses
            .into_iter()
            .map(|ip| SocketAddr::new(ip, port))
            .collect(),
        config,
    }))
}

fn addresses(read: &Reader<'_>) -> Result<Vec<IpAddr>, ConfigError> {
    let from_client = read.text("client_addr");
    let (key, words) = match read.text("addresses.dns") {
        Some(words) => ("addresses.dns", words),
        None => ("client_addr", from_client.unwrap_or_default()),
    };
    let mut addresses = Vec::new();
    for word in words.split_whitespace() {
        let address: IpAddr = word
            .parse()
            .map_err(|_| read.wrong_as(key, word, "expected IP addresses, spaces between"))?;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

fn config(read: &Reader<'_>) -> Result<Config, ConfigError> {
    let wrong = |key: &str, error: &dyn std::fmt::Display| read.wrong(key, &error.to_string());
    let domain = |key: &'static str, text: &str| {
        rollcall_dns::domain(key, text).map_err(|error| wrong(key, &error))
    };
    let alt_domain = read.text("alt_domain");
    let datacenter = read
        .text("datacenter")
        .unwrap_or_default()
        .to_ascii_lowercase();
    let seconds = |key| Duration::from_secs(read.number(key));
    let config = Config {
        domain: domain("domain", &read.text("domain").unwrap_or_default())?,
        alt_domain: alt_domain
            .map(|alt_domain| domain("alt_domain", &alt_domain))
            .transpose()?,
        datacenter: rollcall_dns::label("datacenter", &datacenter)
            .map_err(|error| wrong("datacenter", &error))?,
        node_ttl: read.duration("dns_config.node_ttl"),
        service_ttl: service_ttl(read)?,
        only_passing: read.flag("dns_config.only_passing"),
        udp_answer_limit: read.number("dns_config.udp_answer_limit"),
        a_record_limit: read.number("dns_config.a_record_limit"),
        enable_truncate: read.flag("dns_config.enable_truncate"),
        udp_max_size: read.number("dns_config.udp_max_size"),
        soa: [
            seconds("dns_config.soa.refresh"),
            seconds("dns_config.soa.retry"),
            seconds("dns_config.soa.expire"),
            seconds("dns_config.soa.min_ttl"),
        ],
        allow_stale: read.flag("dns_config.allow_stale"),
        max_stale: read.duration("dns_config.max_stale"),
        recursors: recursors(read)?,
        recursor_timeout: read.duration("dns_config.recursor_timeout"),
        public_rate: read.number("dns_config.public_rate"),
    };
    config.check().map_err(|error| wrong("recursors", &error))?;
    Ok(config)
}

fn service_ttl(read: &Reader<'_>) -> Result<Ttls, ConfigError> {
    const KEY: &str = "dns_config.service_ttl";
    let mut ttls = Vec::new();
    for (pattern, ttl) in read.below(KEY) {
        let parsed = ttl.parse::<GoDuration>().ok().map(GoDuration::to_std);
        match parsed.filter(|ttl| *ttl <= TTL_MAX) {
            Some(ttl) => ttls.push((pattern, ttl)),
            None => {
                let key = format!("{KEY}.{pattern}");
                return Err(read.wrong_as(&key, &ttl, "expected a duration, 0s..168h"));
            }
        }
    }
    Ok(Ttls::new(ttls))
}

fn recursors(read: &Reader<'_>) -> Result<Vec<SocketAddr>, ConfigError> {
    let mut recursors = Vec::new();
    for word in read.list("recursors") {
        let address = word.parse::<SocketAddr>().or_else(|_| {
            word.parse::<IpAddr>()
                .map(|ip| SocketAddr::new(ip, DNS_PORT))
        });
        let address =
            address.map_err(|_| read.wrong_as("recursors", &word, "expected IP or IP:PORT"))?;
        recursors.push(address);
    }
    Ok(recursors)
}
