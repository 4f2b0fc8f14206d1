//! What makes one pool differ from another: who we are, how fast it beats, which of Lifeguard's parts are on, and what it
//! accepts. The LAN pool is one value of this; a WAN pool is another.

use std::net::SocketAddr;
use std::time::Duration;

use crate::keyring::Keyring;
use crate::wire::message::{META_BYTES_MAX, NAME_BYTES_MAX};
use crate::wire::tags::{self, Tags};

/// A label's length stands in one byte.
const LABEL_BYTES_MAX: usize = 255;

/// One pool's settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our name: unique in the pool, at most 255 bytes.
    pub name: String,
    /// Where others reach us over UDP and TCP.
    pub advertise: SocketAddr,
    /// What we say of ourselves; at most 512 bytes encoded. The tag `id` tells members of one name apart.
    pub tags: Tags,
    /// How fast the pool beats.
    pub timing: Timing,
    /// Which of Lifeguard's parts are on. All, except in experiments.
    pub lifeguard: Lifeguard,
    /// Keys of encryption; without, everything is plain, and what is encrypted is dropped.
    pub keyring: Option<Keyring>,
    /// Tells pools apart that could reach each other by mistake. Empty: off, as in Serf.
    pub label: String,
    /// Compress what becomes shorter by it. Decompression is always on.
    pub compression: bool,
    /// Serf's layer.
    pub serf: SerfConfig,
}

/// Intervals and counts of the membership protocol, named as in memberlist.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// One member is probed in each.
    pub probe_interval: Duration,
    /// An answer later than this makes the probe go on by other members and by TCP.
    pub probe_timeout: Duration,
    /// How many members are asked to probe for us.
    pub indirect_checks: usize,
    /// A broadcast is sent this often, times the logarithm of the number of members.
    pub retransmit_mult: u32,
    /// Lifeguard's alpha: a suspect has at least this many probe intervals, times the logarithm of the number of members.
    pub suspicion_mult: u32,
    /// Lifeguard's beta: without confirmations it has this many times as long.
    pub suspicion_max_mult: u32,
    /// Broadcasts that did not ride on probes are sent this often.
    pub gossip_interval: Duration,
    /// To so many members.
    pub gossip_nodes: usize,
    /// Members that died this recently are told, so that they can object.
    pub gossip_to_the_dead: Duration,
    /// Full state is exchanged with one member this often, more rarely in large pools.
    pub push_pull_interval: Duration,
    /// A stream that takes longer is closed.
    pub stream_timeout: Duration,
    /// Bound of the local health multiplier.
    pub awareness_max: u32,
    /// No packet of ours is longer.
    pub packet_bytes_max: usize,
}

impl Timing {
    /// memberlist's settings for a local network.
    pub const LAN: Self = Self {
        probe_interval: Duration::from_secs(1),
        probe_timeout: Duration::from_millis(500),
        indirect_checks: 3,
        retransmit_mult: 4,
        suspicion_mult: 4,
        suspicion_max_mult: 6,
        gossip_interval: Duration::from_millis(200),
        gossip_nodes: 3,
        gossip_to_the_dead: Duration::from_secs(30),
        push_pull_interval: Duration::from_secs(30),
        stream_timeout: Duration::from_secs(10),
        awareness_max: 8,
        packet_bytes_max: 1400,
    };

    /// memberlist's settings between datacenters.
    pub const WAN: Self = Self {
        probe_interval: Duration::from_secs(5),
        probe_timeout: Duration::from_secs(3),
        suspicion_mult: 6,
        gossip_interval: Duration::from_millis(500),
        gossip_nodes: 4,
        gossip_to_the_dead: Duration::from_secs(60),
        push_pull_interval: Duration::from_secs(60),
        stream_timeout: Duration::from_secs(30),
        ..Self::LAN
    };
}

/// The three parts of Lifeguard (arXiv 1707.00788, section IV), each of which can be off to measure what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifeguard {
    /// LHA-Probe: who is slow itself gives others more time.
    pub local_health: bool,
    /// LHA-Suspicion: a suspicion that nobody confirms lasts longer.
    pub suspicion: bool,
    /// Buddy system: a suspect is told with the next probe.
    pub buddy: bool,
}

impl Lifeguard {
    /// As it should be.
    pub const ON: Self = Self {
        local_health: true,
        suspicion: true,
        buddy: true,
    };
    /// Plain SWIM.
    pub const OFF: Self = Self {
        local_health: false,
        suspicion: false,
        buddy: false,
    };
}

/// Settings of Serf's layer, with Serf's defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SerfConfig {
    /// A failed member is kept, and tried again, for so long.
    pub reconnect_timeout: Duration,
    /// One failed member is tried again about this often.
    pub reconnect_interval: Duration,
    /// A member that left is remembered for so long.
    pub tombstone_timeout: Duration,
    /// Members are looked through this often for those that are due.
    pub reap_interval: Duration,
    /// Intents of members not seen yet are kept for so long.
    pub recent_intent_timeout: Duration,
    /// A member that comes back sooner than this is counted as flapping.
    pub flap_timeout: Duration,
    /// How long a leave waits for its broadcasts to be sent.
    pub broadcast_timeout: Duration,
    /// How long it then stays to answer probes of those that have not heard.
    pub leave_propagate_delay: Duration,
    /// Events and queries of so many times are told apart from new ones.
    pub event_buffer: usize,
    /// The bound of an encoded user event, in bytes; at most 9 KiB.
    pub user_event_bytes_max: usize,
    /// The bound of an encoded query, in bytes.
    pub query_bytes_max: usize,
    /// The bound of an encoded answer, in bytes.
    pub query_response_bytes_max: usize,
    /// A query without a time-out of its own has so many gossip intervals, times the logarithm of the number of members.
    pub query_timeout_mult: u32,
    /// Events of one name within this time become the last of them, if they allow it. Zero: off, as in Consul.
    pub user_coalesce_period: Duration,
    /// ... or sooner, when none came for this time.
    pub user_quiescent_period: Duration,
    /// No broadcast queue is longer, or than twice the number of members if that is more.
    pub queue_depth_max: usize,
}

impl Default for SerfConfig {
    fn default() -> Self {
        Self {
            reconnect_timeout: Duration::from_secs(24 * 3600),
            reconnect_interval: Duration::from_secs(30),
            tombstone_timeout: Duration::from_secs(24 * 3600),
            reap_interval: Duration::from_secs(15),
            recent_intent_timeout: Duration::from_secs(300),
            flap_timeout: Duration::from_secs(60),
            broadcast_timeout: Duration::from_secs(5),
            leave_propagate_delay: Duration::from_secs(1),
            event_buffer: 512,
            user_event_bytes_max: 512,
            query_bytes_max: 1024,
            query_response_bytes_max: 1024,
            query_timeout_mult: 16,
            user_coalesce_period: Duration::ZERO,
            user_quiescent_period: Duration::ZERO,
            queue_depth_max: 4096,
        }
    }
}

/// Why a configuration was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No name, or too long a one.
    #[error("gossip name {name:?} has {bytes} bytes, not 1 to {NAME_BYTES_MAX}", bytes = .name.len())]
    Name {
        /// The name.
        name: String,
    },
    /// Nobody could reach this.
    #[error("gossip address {address} is not one that others can reach")]
    Advertise {
        /// The address.
        address: SocketAddr,
    },
    /// Tags do not fit into a packet.
    #[error("gossip tags have {bytes} bytes encoded, at most {META_BYTES_MAX} are allowed")]
    Tags {
        /// Their encoded length.
        bytes: usize,
    },
    /// The label does not fit into its header.
    #[error("gossip label has {bytes} bytes, at most {LABEL_BYTES_MAX} are allowed")]
    Label {
        /// Its length.
        bytes: usize,
    },
    /// A setting that must not be zero, or must be smaller than another.
    #[error("gossip setting {setting} is out of bounds: {bound}")]
    Setting {
        /// Which one.
        setting: &'static str,
        /// What it must be.
        bound: &'static str,
    },
}

impl Config {
    /// A pool with this timing, all of Lifeguard, compression, and neither keys nor label.
    #[must_use]
    pub fn new(name: impl Into<String>, advertise: SocketAddr, timing: Timing) -> Self {
        Self {
            name: name.into(),
            advertise,
            tags: Tags::new(),
            timing,
            lifeguard: Lifeguard::ON,
            keyring: None,
            label: String::new(),
            compression: true,
            serf: SerfConfig::default(),
        }
    }

    /// Checks every bound.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.name.is_empty() || self.name.len() > NAME_BYTES_MAX {
            return Err(ConfigError::Name {
                name: self.name.clone(),
            });
        }
        if self.advertise.ip().is_unspecified() || self.advertise.port() == 0 {
            return Err(ConfigError::Advertise {
                address: self.advertise,
            });
        }
        check_tags(&self.tags)?;
        if self.label.len() > LABEL_BYTES_MAX {
            return Err(ConfigError::Label {
                bytes: self.label.len(),
            });
        }
        let Timing {
            probe_interval,
            probe_timeout,
            gossip_interval,
            push_pull_interval,
            stream_timeout,
            awareness_max,
            packet_bytes_max,
            ..
        } = self.timing;
        let zero = Duration::ZERO;
        let rules = [
            (probe_timeout > zero, "probe_timeout", "more than 0"),
            (
                probe_interval > probe_timeout,
                "probe_interval",
                "more than probe_timeout",
            ),
            (gossip_interval > zero, "gossip_interval", "more than 0"),
            (
                push_pull_interval > zero,
                "push_pull_interval",
                "more than 0",
            ),
            (stream_timeout > zero, "stream_timeout", "more than 0"),
            (awareness_max > 0, "awareness_max", "at least 1"),
            // Room for our own description with full tags, framed.
            (
                packet_bytes_max >= 1200,
                "packet_bytes_max",
                "at least 1200",
            ),
            (
                packet_bytes_max <= 65507,
                "packet_bytes_max",
                "at most 65507",
            ),
            (self.serf.event_buffer > 0, "event_buffer", "at least 1"),
            (
                self.serf.user_event_bytes_max <= 9 * 1024,
                "user_event_bytes_max",
                "at most 9216",
            ),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            Some((_, setting, bound)) => Err(ConfigError::Setting { setting, bound }),
            None => Ok(()),
        }
    }
}

/// Checks that tags fit into what others accept.
pub(crate) fn check_tags(tags: &Tags) -> Result<Vec<u8>, ConfigError> {
    let meta = tags::encode(tags);
    if meta.len() > META_BYTES_MAX {
        return Err(ConfigError::Tags { bytes: meta.len() });
    }
    Ok(meta)
}
