//! A check as the agent runs it: validated, with every default filled in.
//!
//! The HTTP API, the configuration's files and the files of registrations that survive a restart all end up here; the runners
//! and `local` see nothing else. Who does what: TTL checks and alias checks of this node's own services live in `local` (they
//! are functions of time and of other checks); HTTP, TCP, gRPC and script checks, and aliases of other nodes, are run by
//! [`crate::checks`]. Serde's names are the format of files that live for ever: fields may be added with a default.

use std::collections::BTreeMap;
use std::time::Duration;

use rollcall_api::GoDuration;
use rollcall_api::agent_check::CheckBody;
use serde::{Deserialize, Serialize};

/// Shortest interval of a check that is run; a shorter one is taken as this. Consul's.
pub const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// How long one run may take when its definition does not say. Consul's.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// Bytes of output kept of a run, unless the definition says less: it is for people, and stands in every answer. Consul's.
pub const OUTPUT_BYTES_MAX: usize = 4096;

/// Shortest time after which a service whose check stays critical is deregistered; a shorter one is taken as this. Consul's.
pub const DEREGISTER_AFTER_MIN: Duration = Duration::from_secs(60);

/// Registers this check under this id, from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// Unique on its node.
    pub id: String,
    /// For people.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub notes: String,
    /// The service it belongs to; empty: the node.
    #[serde(default)]
    pub service_id: String,
    /// What is done.
    pub kind: Kind,
    /// Status before the first result. Critical unless it was said otherwise.
    #[serde(default)]
    pub initial_status: Status,
    /// How many results in a row change the status.
    #[serde(default)]
    pub thresholds: Thresholds,
    /// The service is deregistered when this check has been critical for so long. `None`: never.
    #[serde(default, with = "optional_go_duration")]
    pub deregister_critical_service_after: Option<Duration>,
    /// Bytes of output kept, 1..=[`OUTPUT_BYTES_MAX`].
    #[serde(default = "output_bytes_max")]
    pub output_bytes_max: usize,
    /// Registered together with its service, not by itself: Consul shows the two differently.
    #[serde(default)]
    pub with_service: bool,
}

/// How many results in a row change the status. As Consul's: a count of 0 acts at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thresholds {
    /// Successes in a row before passing, beyond the first.
    #[serde(default)]
    pub success_before_passing: u32,
    /// Failures in a row before warning, beyond the first.
    #[serde(default)]
    pub failures_before_warning: u32,
    /// Failures in a row before critical, beyond the first.
    #[serde(default)]
    pub failures_before_critical: u32,
}

/// What a check does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Waits to be told; critical when nobody did for so long.
    Ttl {
        /// The time.
        #[serde(with = "go_duration")]
        ttl: Duration,
    },
    /// Follows the checks of another service.
    Alias {
        /// Its node; empty: this one.
        #[serde(default)]
        node: String,
        /// Its id; empty: only the node's own checks.
        #[serde(default)]
        service_id: String,
    },
    /// Asks for a URL.
    Http {
        /// When.
        every: Every,
        /// What, and how.
        http: Http,
    },
    /// Opens a connection.
    Tcp {
        /// When.
        every: Every,
        /// `host:port`.
        address: String,
        /// Speak TLS, if at all.
        #[serde(default)]
        tls: Option<Tls>,
    },
    /// Asks a gRPC health service.
    Grpc {
        /// When.
        every: Every,
        /// `host:port` or `host:port/service`.
        target: String,
        /// Speak TLS, if at all.
        #[serde(default)]
        tls: Option<Tls>,
    },
    /// Critical as long as it is there: somebody took the node or the service out of use. Never run.
    Maintenance,
    /// Runs a program of this machine. Only where scripts are allowed.
    Script {
        /// When.
        every: Every,
        /// Program and arguments, as they are: no shell.
        args: Vec<String>,
    },
}

/// When a check runs, and how long it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Every {
    /// From one start to the next; at least [`INTERVAL_MIN`].
    #[serde(with = "go_duration")]
    pub interval: Duration,
    /// As it was given; `None`: [`TIMEOUT_DEFAULT`], or the interval's share that a runner thinks right.
    #[serde(default, with = "optional_go_duration")]
    pub timeout: Option<Duration>,
}

/// An HTTP(S) request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    /// `http://…` or `https://…`.
    pub url: String,
    /// Empty: GET.
    #[serde(default)]
    pub method: String,
    /// Header lines by name.
    #[serde(default)]
    pub headers: BTreeMap<String, Vec<String>>,
    /// Sent with the request.
    #[serde(default)]
    pub body: String,
    /// A redirect is an answer like any other (warning), not a way to follow.
    #[serde(default)]
    pub disable_redirects: bool,
    /// For `https`.
    #[serde(default)]
    pub tls: Tls,
}

/// TLS towards what is checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// Name expected in the certificate; empty: the address's.
    #[serde(default)]
    pub server_name: String,
    /// Take any certificate.
    #[serde(default)]
    pub skip_verify: bool,
}

/// Health of a check, the worst last.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All is well.
    Passing,
    /// Something is not well, but it serves.
    Warning,
    /// It does not serve, or nobody knows yet.
    #[default]
    Critical,
}

impl Status {
    /// By Consul's word for it.
    pub fn from_text(text: &str) -> Option<Status> {
        match text {
            "passing" => Some(Status::Passing),
            "warning" => Some(Status::Warning),
            "critical" => Some(Status::Critical),
            _ => None,
        }
    }

    /// Consul's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Passing => "passing",
            Status::Warning => "warning",
            Status::Critical => "critical",
        }
    }
}

/// What a run found. Runners send them over a bounded channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    /// The check.
    pub id: String,
    /// Its status, thresholds applied.
    pub status: Status,
    /// For people; cut already.
    pub output: String,
}

/// Why a check cannot be registered. Nothing was changed; whoever sent it must act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// A combination of fields that makes no check. Consul's words.
    #[error("Invalid check: {0}")]
    Invalid(String),
    /// A status that is none.
    #[error("Bad check status")]
    Status,
    /// A kind that is not run here.
    #[error("Invalid check: {0} checks are not supported")]
    NotBuilt(&'static str),
}

impl Definition {
    /// A check from its JSON, which [`CheckBody::validate`] has found sound. `id` stands for the one it may lack.
    pub fn from_body(
        body: CheckBody,
        id: String,
        service_id: String,
    ) -> Result<Self, DefinitionError> {
        let initial_status = match body.status.as_str() {
            "" => Status::Critical,
            text => Status::from_text(text).ok_or(DefinitionError::Status)?,
        };
        let count = |value: i64| u32::try_from(value).unwrap_or(0);
        let critical = count(body.failures_before_critical);
        let thresholds = Thresholds {
            success_before_passing: count(body.success_before_passing),
            failures_before_warning: match count(body.failures_before_warning) {
                // Not given: a check goes from passing to critical without a warning between.
                0 => critical,
                warning => warning,
            },
            failures_before_critical: critical,
        };
        let after = positive(body.deregister_critical_service_after);
        let output = usize::try_from(body.output_max_size).unwrap_or(0);
        Ok(Definition {
            id,
            name: body.name.clone(),
            notes: body.notes.clone(),
            service_id,
            initial_status,
            thresholds,
            deregister_critical_service_after: after.map(|after| after.max(DEREGISTER_AFTER_MIN)),
            output_bytes_max: if output == 0 {
                OUTPUT_BYTES_MAX
            } else {
                output.min(OUTPUT_BYTES_MAX)
            },
            with_service: false,
            kind: kind(body)?,
        })
    }

    /// What Consul calls the kind.
    pub fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Ttl { .. } => "ttl",
            Kind::Alias { .. } => "alias",
            Kind::Http { .. } => "http",
            Kind::Tcp { .. } => "tcp",
            Kind::Grpc { .. } => "grpc",
            Kind::Script { .. } => "script",
            Kind::Maintenance => "maintenance",
        }
    }

    /// Whether a runner has it: one with an interval, or an alias of another node than `node`.
    pub fn is_run(&self, node: &str) -> bool {
        match &self.kind {
            Kind::Alias { node: of, .. } => !of.is_empty() && of != node,
            _ => self.every().is_some(),
        }
    }

    /// When it runs, if it is run at all.
    pub fn every(&self) -> Option<Every> {
        match self.kind {
            Kind::Ttl { .. } | Kind::Alias { .. } | Kind::Maintenance => None,
            Kind::Http { every, .. }
            | Kind::Tcp { every, .. }
            | Kind::Grpc { every, .. }
            | Kind::Script { every, .. } => Some(every),
        }
    }
}

/// The kind of a body, in the order in which Consul looks.
fn kind(body: CheckBody) -> Result<Kind, DefinitionError> {
    let every = Every {
        interval: body.interval.to_std().max(INTERVAL_MIN),
        timeout: positive(body.timeout),
    };
    let tls = Tls {
        server_name: body.tls_server_name,
        skip_verify: body.tls_skip_verify,
    };
    if !body.h2ping.is_empty() {
        return Err(DefinitionError::NotBuilt("H2PING"));
    }
    if !body.udp.is_empty() {
        return Err(DefinitionError::NotBuilt("UDP"));
    }
    if !body.os_service.is_empty() {
        return Err(DefinitionError::NotBuilt("OSService"));
    }
    if !body.docker_container_id.is_empty() {
        return Err(DefinitionError::NotBuilt("Docker"));
    }
    Ok(if !body.args.is_empty() {
        Kind::Script {
            every,
            args: body.args,
        }
    } else if !body.http.is_empty() {
        Kind::Http {
            every,
            http: Http {
                url: body.http,
                method: body.method,
                headers: body.header,
                body: body.body,
                disable_redirects: body.disable_redirects,
                tls,
            },
        }
    } else if !body.tcp.is_empty() {
        Kind::Tcp {
            every,
            address: body.tcp,
            tls: body.tcp_use_tls.then_some(tls),
        }
    } else if !body.grpc.is_empty() {
        Kind::Grpc {
            every,
            target: body.grpc,
            tls: body.grpc_use_tls.then_some(tls),
        }
    } else if !body.alias_node.is_empty() || !body.alias_service.is_empty() {
        Kind::Alias {
            node: body.alias_node,
            service_id: body.alias_service,
        }
    } else {
        Kind::Ttl {
            ttl: body.ttl.to_std(),
        }
    })
}

fn positive(duration: GoDuration) -> Option<Duration> {
    (duration.0 > 0).then(|| duration.to_std())
}

fn output_bytes_max() -> usize {
    OUTPUT_BYTES_MAX
}

/// Durations in files: Go's spelling, which people read.
mod go_duration {
    use std::time::Duration;

    use rollcall_api::GoDuration;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&GoDuration::from_std(*duration))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        let parsed: Result<GoDuration, _> = text.parse();
        parsed
            .map(GoDuration::to_std)
            .map_err(serde::de::Error::custom)
    }
}

/// The same where there may be none.
mod optional_go_duration {
    use std::time::Duration;

    use rollcall_api::GoDuration;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => to.collect_str(&GoDuration::from_std(*duration)),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        let Some(text) = Option::<String>::deserialize(from)? else {
            return Ok(None);
        };
        let parsed: Result<GoDuration, _> = text.parse();
        let parsed = parsed.map_err(serde::de::Error::custom)?;
        Ok(Some(parsed.to_std()))
    }
}

#[cfg(test)]
mod tests;
