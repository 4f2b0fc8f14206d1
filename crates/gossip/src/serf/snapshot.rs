//! What a member keeps over a restart: who was alive and where, and how far its clocks had got. In Serf's own lines, so that
//! either can read the other's file. The driver writes it, whole, when members have changed and now and then for the clocks.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::api::Status;
use super::{Leaving, Name, Pool};

/// Who and where, and three clocks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Members that were alive, by name.
    pub alive: Vec<(Name, SocketAddr)>,
    /// The members' clock.
    pub clock: u64,
    /// The events' clock.
    pub event_clock: u64,
    /// The queries' clock.
    pub query_clock: u64,
}

/// Why a snapshot was not read. It is only a help: without it the member has to be told whom to join.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// A line that is none of Serf's.
    #[error("line {line} of the gossip snapshot is not understood: {text:?}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What it says.
        text: String,
    },
}

impl Snapshot {
    /// Serf's lines.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, address) in &self.alive {
            let _ = writeln!(text, "alive: {name} {address}");
        }
        let _ = writeln!(text, "clock: {}", self.clock);
        let _ = writeln!(text, "event-clock: {}", self.event_clock);
        let _ = writeln!(text, "query-clock: {}", self.query_clock);
        text
    }

    /// Reads Serf's lines, also those of a file that Serf appended to. A last line that was not finished is left out.
    pub fn from_text(text: &str) -> Result<Self, SnapshotError> {
        let mut snapshot = Self::default();
        for (at, line) in text.split_inclusive('\n').enumerate() {
            let Some(line) = line.strip_suffix('\n') else {
                break;
            };
            snapshot
                .read_line(line)
                .ok_or_else(|| SnapshotError::Line {
                    line: at + 1,
                    text: line.to_owned(),
                })?;
        }
        Ok(snapshot)
    }

    fn read_line(&mut self, line: &str) -> Option<()> {
        if line.is_empty() || line.starts_with('#') {
            return Some(());
        }
        if line == "leave" {
            *self = Self::default();
            return Some(());
        }
        let (what, value) = line.split_once(": ")?;
        match what {
            "alive" => {
                let (name, address) = value.rsplit_once(' ')?;
                let address = address.parse().ok()?;
                self.alive.retain(|(known, _)| **known != *name);
                self.alive.push((name.into(), address));
            }
            "not-alive" => self.alive.retain(|(known, _)| **known != *value),
            "clock" => self.clock = value.parse().ok()?,
            "event-clock" => self.event_clock = value.parse().ok()?,
            "query-clock" => self.query_clock = value.parse().ok()?,
            "coordinate" => {}
            _ => return None,
        }
        Some(())
    }
}

impl Pool {
    /// What to keep now. After a leave nothing: who left does not come back by itself.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        if self.leaving != Leaving::No {
            return Snapshot::default();
        }
        let alive = self
            .roster
            .iter()
            .filter(|member| member.status == Status::Alive);
        let clock = |clock: &super::Clock| clock.time().saturating_sub(1);
        Snapshot {
            alive: alive
                .map(|member| (member.name.clone(), member.address))
                .collect(),
            clock: clock(&self.clock),
            event_clock: clock(&self.events.clock),
            query_clock: clock(&self.queries.clock),
        }
    }
}
