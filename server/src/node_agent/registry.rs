//! The catalog as a server's own agent sees it: rows out of this server's state, writes through the log.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use rollcall_agent::checks::NodeReads;
use rollcall_agent::checks::alias::{CheckRow, NodeHealth, Reading};
use rollcall_agent::definition::Status;
use rollcall_agent::registry::{Boxed, ReadError, Registry, Seen, Write, WriteError, steps};
use rollcall_agent::rows::{self, Change, Row, Rows};
use rollcall_state::command::{self, CheckSpec, Deregister, NodeSpec, Register, ServiceSpec};
use rollcall_state::{Command, Reply, State, Topic};

use crate::consensus::Consensus;
use crate::door::{Consistency, Door as _, ProposeError};
use crate::node_rows::{self, Own};
use crate::rt;

/// How long a parked read may last: anti-entropy compares by itself every minute.
const PARKED_MAX: Duration = Duration::from_secs(300);

/// Rows of this server's node.
pub(super) struct DoorRegistry {
    consensus: Arc<Consensus>,
    node: String,
    owner: Arc<str>,
}

impl DoorRegistry {
    pub(super) fn new(consensus: Arc<Consensus>) -> Self {
        DoorRegistry {
            node: consensus.members.name.clone(),
            owner: format!("agent:{}", consensus.id).into(),
            consensus,
        }
    }

    /// This node's row, registered first if it is not there.
    async fn node_spec(&self) -> Result<NodeSpec, WriteError> {
        let row = || self.consensus.local().state.node(&self.node).value;
        if row().is_none() {
            let own = node_rows::register_own(&self.consensus).await;
            if own != Own::Registered {
                return Err(WriteError::Failed(
                    "this server's node is not registered".to_owned(),
                ));
            }
        }
        let found = row().map(|node| node.spec.clone());
        found.ok_or_else(|| {
            WriteError::Failed("this server's node is not registered here yet".to_owned())
        })
    }

    async fn propose(&self, command: Command, places: &[usize]) -> Result<(), WriteError> {
        match self.consensus.propose(command).await {
            Ok(committed) => match committed.reply {
                Reply::Refused(refusal) => Err(WriteError::Refused {
                    at: places[0],
                    words: refusal.to_string(),
                }),
                _ => Ok(()),
            },
            Err(
                error @ (ProposeError::NoLeader
                | ProposeError::Busy(_)
                | ProposeError::Unknown(_)
                | ProposeError::Refused(_)
                | ProposeError::Stopping(_)),
            ) => Err(WriteError::Failed(error.to_string())),
        }
    }

    fn register(&self, node: &NodeSpec) -> Register {
        Register {
            node: node.clone(),
            skip_node_update: true,
            owner: self.owner.clone(),
            ..Register::default()
        }
    }

    fn command(&self, node: &NodeSpec, write: &Write<'_>) -> Option<Command> {
        let deregister = |service: &str, check: &str| {
            Command::Deregister(Deregister {
                node: node.node.clone(),
                service_id: service.into(),
                check_id: check.into(),
                owner: self.owner.clone(),
            })
        };
        match write {
            // Servers keep their node's row themselves.
            Write::Node(_) => None,
            Write::Rows(service, checks) => {
                let checks = checks.iter().map(|spec| check_row(&node.node, spec));
                Some(Command::Register(Register {
                    service: service.map(service_row),
                    checks: checks.collect(),
                    ..self.register(node)
                }))
            }
            Write::NoCheck(id) => Some(deregister("", id)),
            Write::NoService(id) => Some(deregister(id, "")),
        }
    }
}

impl Registry for DoorRegistry {
    fn rows(&self, seen: Option<Seen>) -> Boxed<'_, Result<(Rows, Seen), ReadError>> {
        Box::pin(async move {
            let door = &self.consensus;
            let topics = vec![Topic::node(&self.node), Topic::checks_of_node(&self.node)];
            let mut watch = door.watch(topics);
            let Some(seen) = seen else {
                let view = door.read(Consistency::Linearizable).await;
                let view = view.map_err(|error| ReadError(error.to_string()))?;
                return Ok(rows_of(&view.state, &self.node));
            };
            let changed = async {
                loop {
                    let found = rows_of(&door.local().state, &self.node);
                    if found.1 != seen {
                        return found;
                    }
                    drop(found);
                    watch.changed().await;
                }
            };
            let found = rt::timeout(PARKED_MAX, changed).await;
            Ok(found.unwrap_or_else(|| rows_of(&door.local().state, &self.node)))
        })
    }

    fn write<'a>(&'a self, changes: &'a [Change]) -> Boxed<'a, Result<(), WriteError>> {
        Box::pin(async move {
            let node = self.node_spec().await?;
            for step in steps(changes) {
                let writes = step.iter().filter_map(|(write, places)| {
                    Some(self.propose(self.command(&node, write)?, places))
                });
                // Together: the log takes many commands with one sync.
                try_join_all(writes).await?;
            }
            Ok(())
        })
    }
}

impl NodeReads for DoorRegistry {
    fn node_health<'a>(&'a self, node: &'a str, after: u64, wait: Duration) -> Reading<'a> {
        Box::pin(async move {
            let door = &self.consensus;
            let topics = vec![Topic::node(node), Topic::checks_of_node(node)];
            let mut watch = door.watch(topics);
            let changed = async {
                loop {
                    let found = health_of(&door.local().state, node);
                    if found.index > after {
                        return found;
                    }
                    watch.changed().await;
                }
            };
            let found = rt::timeout(wait, changed).await;
            Ok(found.unwrap_or_else(|| health_of(&door.local().state, node)))
        })
    }
}

fn health_of(state: &State, node: &str) -> NodeHealth {
    let services = state.catalog_node(node);
    let checks = state.health_node(node);
    NodeHealth {
        index: services.index.max(checks.index),
        checks: (checks.value.iter())
            .map(|check| CheckRow {
                name: check.spec.name.to_string(),
                service_id: check.spec.service_id.to_string(),
                status: status(&check.spec.status),
                output: check.spec.output.to_string(),
            })
            .collect(),
        services: (services.value.iter())
            .flat_map(|node| &node.services)
            .map(|service| service.spec.id.to_string())
            .collect(),
    }
}

/// A node's rows, and how far they are seen with it. A restore brings rows with their old indexes under another offset.
fn rows_of(state: &State, node: &str) -> (Rows, Seen) {
    let services = state.catalog_node(node);
    let checks = state.health_node(node);
    let seen = Seen {
        services: services.index,
        checks: checks.index,
        epoch: state.offset(),
    };
    let mut rows = Rows::default();
    if let Some(found) = services.value {
        for service in found.services {
            let row = Row {
                spec: service_spec(&service.spec),
                owner: service.owner.to_string(),
            };
            rows.services.insert(row.spec.id.clone(), row);
        }
        rows.node = Some(Row {
            spec: rows::NodeSpec {
                id: found.node.spec.id.to_string(),
                node: found.node.spec.node.to_string(),
                address: found.node.spec.address.to_string(),
                ..rows::NodeSpec::default()
            },
            owner: found.node.owner.to_string(),
        });
    }
    for check in checks.value {
        let row = Row {
            spec: check_spec(&check.spec),
            owner: check.owner.to_string(),
        };
        rows.checks.insert(row.spec.check_id.clone(), row);
    }
    (rows, seen)
}

fn status(status: &command::Status) -> Status {
    Status::from_text(status.as_str()).unwrap_or(Status::Critical)
}

fn service_spec(spec: &ServiceSpec) -> rows::ServiceSpec {
    let text = |text: &Arc<str>| text.to_string();
    rows::ServiceSpec {
        id: text(&spec.id),
        service: text(&spec.service),
        tags: spec
            .tags
            .iter()
            .flat_map(|tags| tags.iter())
            .map(text)
            .collect(),
        address: text(&spec.address),
        tagged_addresses: (spec.tagged_addresses.iter())
            .flat_map(|addresses| addresses.iter())
            .map(|(kind, at)| {
                let address = rows::TaggedAddress {
                    address: text(&at.address),
                    port: at.port,
                };
                (text(kind), address)
            })
            .collect(),
        meta: (spec.meta.iter())
            .flat_map(|meta| meta.iter())
            .map(|(key, value)| (text(key), text(value)))
            .collect(),
        port: spec.port,
        weights: rows::Weights {
            passing: spec.weights.passing,
            warning: spec.weights.warning,
        },
        enable_tag_override: spec.enable_tag_override,
    }
}

fn check_spec(spec: &CheckSpec) -> rows::CheckSpec {
    rows::CheckSpec {
        check_id: spec.check_id.to_string(),
        name: spec.name.to_string(),
        status: status(&spec.status),
        notes: spec.notes.to_string(),
        output: spec.output.to_string(),
        service_id: spec.service_id.to_string(),
        check_type: spec.check_type.to_string(),
        interval: spec.interval.to_string(),
        timeout: spec.timeout.to_string(),
    }
}

/// Empty maps are absent, as in a registration that names none; tags are a list in any case, as Consul's agent writes them.
fn service_row(spec: &rows::ServiceSpec) -> ServiceSpec {
    let text = |text: &String| -> Arc<str> { text.as_str().into() };
    let addresses = spec.tagged_addresses.iter().map(|(kind, at)| {
        let address = command::TaggedAddress {
            address: text(&at.address),
            port: at.port,
        };
        (text(kind), address)
    });
    let meta = spec
        .meta
        .iter()
        .map(|(key, value)| (text(key), text(value)));
    ServiceSpec {
        id: text(&spec.id),
        service: text(&spec.service),
        tags: Some(spec.tags.iter().map(text).collect()),
        address: text(&spec.address),
        tagged_addresses: (!spec.tagged_addresses.is_empty()).then(|| addresses.collect()),
        meta: (!spec.meta.is_empty()).then(|| meta.collect()),
        port: spec.port,
        weights: command::Weights {
            passing: spec.weights.passing,
            warning: spec.weights.warning,
        },
        enable_tag_override: spec.enable_tag_override,
        ..ServiceSpec::default()
    }
}

fn check_row(node: &Arc<str>, spec: &rows::CheckSpec) -> CheckSpec {
    let text = |text: &String| -> Arc<str> { text.as_str().into() };
    CheckSpec {
        node: node.clone(),
        check_id: text(&spec.check_id),
        name: text(&spec.name),
        status: match spec.status {
            Status::Passing => command::Status::Passing,
            Status::Warning => command::Status::Warning,
            Status::Critical => command::Status::Critical,
        },
        notes: text(&spec.notes),
        output: text(&spec.output),
        service_id: text(&spec.service_id),
        check_type: text(&spec.check_type),
        interval: text(&spec.interval),
        timeout: text(&spec.timeout),
        ..CheckSpec::default()
    }
}
