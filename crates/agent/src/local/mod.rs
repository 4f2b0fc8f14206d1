//! What this node offers, and how it fares: pure state.
//!
//! No clock, no sockets: time is an argument, counted from any fixed point and never going back. Each change marks what it
//! touched as unsynced; [`crate::plan`] turns marks and the catalog's rows into changes of the catalog. What has to be started
//! or stopped comes back as [`Effects`], so that a test needs no runner.

mod health;
mod maintenance;
mod register;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::definition::Status;
use crate::rows::{CheckSpec, ServiceSpec};
use rollcall_api::GoDuration;

use crate::definition::{Definition, Kind};
use crate::rows::Key;

pub use self::health::{Aggregated, ServiceHealth};
pub use self::maintenance::{NODE_MAINTENANCE, service_maintenance};
pub use self::register::LocalError;
pub use self::status::Outcome;

/// Where a registration came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A file of the configuration: it comes and goes with the file.
    File,
    /// The agent's API: it survives a restart.
    Api,
}

/// A service instance of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalService {
    /// As the catalog is to have it.
    pub spec: ServiceSpec,
    /// Where it came from.
    pub source: Source,
}

/// A check of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalCheck {
    /// What it does.
    pub definition: Definition,
    /// Where it came from.
    pub source: Source,
    /// Its service's name; empty for a check of the node.
    pub service_name: String,
    /// Its service's tags when it was registered.
    pub service_tags: Vec<String>,
    /// Health.
    pub status: Status,
    /// Of the last run.
    pub output: String,
    /// Since when it is critical.
    pub critical_since: Option<Duration>,
    /// Nothing was heard of it since this agent started, and it was registered before: the catalog knows better.
    pub restored: bool,
    /// When its service is to be deregistered, if it stays critical.
    reap_at: Option<Duration>,
    /// When a TTL runs out.
    ttl_ends: Option<Duration>,
    /// What was last written of its output, and when.
    written: Option<(String, Duration)>,
    /// When an output that changed alone is to be written.
    output_due: Option<Duration>,
}

impl LocalCheck {
    /// How the interval is shown: Consul leaves a zero out of checks that came with their service.
    pub fn interval_text(&self) -> String {
        self.shown(self.definition.every().map(|every| every.interval))
    }

    /// The same for the timeout.
    pub fn timeout_text(&self) -> String {
        self.shown(self.definition.every().and_then(|every| every.timeout))
    }

    fn shown(&self, duration: Option<Duration>) -> String {
        let blank = self.definition.with_service || self.definition.kind == Kind::Maintenance;
        match duration {
            None if blank => String::new(),
            other => GoDuration::from_std(other.unwrap_or_default()).to_string(),
        }
    }

    fn has_status(&self, status: Status, output: &str) -> bool {
        self.status == status && self.output == output
    }
}

/// What follows from a change for the runners.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    /// Checks to start (again).
    pub started: Vec<Definition>,
    /// Checks to stop.
    pub stopped: Vec<String>,
    /// Services that are gone.
    pub services_gone: Vec<String>,
    /// Checks that are gone.
    pub checks_gone: Vec<String>,
}

/// Settings of [`Local`].
#[derive(Debug, Clone)]
pub struct LocalSettings {
    /// This node's name.
    pub node: String,
    /// An output that changes alone is written at most this often; zero: at once.
    pub check_update_interval: Duration,
}

/// Services and checks of this node.
#[derive(Debug, Clone)]
pub struct Local {
    settings: LocalSettings,
    services: BTreeMap<String, LocalService>,
    checks: BTreeMap<String, LocalCheck>,
    /// Ids of checks by service; `""` has the node's.
    checks_of: BTreeMap<String, BTreeSet<String>>,
    /// Ends of TTLs, the next first.
    ttls: BTreeSet<(Duration, String)>,
    /// Outputs to be written, the next first.
    outputs: BTreeSet<(Duration, String)>,
    /// Critical checks that take their service with them, the next first.
    reaps: BTreeSet<(Duration, String)>,
    /// Aliases of this node's services: service followed, by check.
    aliases: BTreeMap<String, String>,
    unsynced: BTreeSet<Key>,
}

impl Local {
    /// Nothing yet.
    pub fn new(settings: LocalSettings) -> Self {
        Local {
            settings,
            services: BTreeMap::new(),
            checks: BTreeMap::new(),
            checks_of: BTreeMap::new(),
            ttls: BTreeSet::new(),
            outputs: BTreeSet::new(),
            reaps: BTreeSet::new(),
            aliases: BTreeMap::new(),
            unsynced: BTreeSet::new(),
        }
    }

    /// This node's name.
    pub fn node(&self) -> &str {
        &self.settings.node
    }

    /// Services by id.
    pub fn services(&self) -> &BTreeMap<String, LocalService> {
        &self.services
    }

    /// Checks by id.
    pub fn checks(&self) -> &BTreeMap<String, LocalCheck> {
        &self.checks
    }

    /// Checks of a service (`""`: of the node itself), by id.
    pub fn checks_of(&self, service_id: &str) -> impl Iterator<Item = (&str, &LocalCheck)> {
        let ids = self.checks_of.get(service_id).into_iter().flatten();
        ids.filter_map(|id| Some((id.as_str(), self.checks.get(id)?)))
    }

    /// A check as the catalog is to have it.
    pub fn check_spec(&self, id: &str) -> Option<CheckSpec> {
        let check = self.checks.get(id)?;
        let definition = &check.definition;
        Some(CheckSpec {
            check_id: id.to_owned(),
            name: definition.name.clone(),
            status: check.status,
            notes: definition.notes.clone(),
            output: check.output.clone(),
            service_id: definition.service_id.clone(),
            check_type: definition.type_name().to_owned(),
            interval: check.interval_text(),
            timeout: check.timeout_text(),
        })
    }

    /// What may differ from the catalog.
    pub fn unsynced(&self) -> &BTreeSet<Key> {
        &self.unsynced
    }

    /// When something is due by itself: a TTL ends, an output is to be written, a service has been critical for too long.
    pub fn next_due(&self) -> Option<Duration> {
        let first = |set: &BTreeSet<(Duration, String)>| set.first().map(|(at, _)| *at);
        [first(&self.ttls), first(&self.outputs), first(&self.reaps)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Marks outputs whose time has come.
    pub fn release_outputs(&mut self, now: Duration) {
        while let Some((at, _)) = self.outputs.first()
            && *at <= now
            && let Some((_, id)) = self.outputs.pop_first()
        {
            if let Some(check) = self.checks.get_mut(&id) {
                check.output_due = None;
            }
            self.unsynced.insert(Key::Check(id));
        }
    }

    /// Whether an output that changed alone stays unwritten for now, given what the catalog has.
    pub(crate) fn output_waits(&self, id: &str, there: &str, now: Duration) -> bool {
        let Some((output, at)) = self.checks.get(id).and_then(|check| check.written.as_ref())
        else {
            return false;
        };
        // Somebody else's output is put right at once.
        output == there && now < *at + self.output_pause(id)
    }

    /// The interval, and up to a quarter more by the check's id: ten thousand checks registered at once must not all write at once.
    fn output_pause(&self, id: &str) -> Duration {
        let interval = self.settings.check_update_interval;
        let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let share = u32::try_from(hash % 1024).unwrap_or(0);
        interval + interval / 4096 * share
    }

    /// Notes that a change has been written.
    pub fn note_written(&mut self, change: &crate::rows::Change, now: Duration) {
        use crate::rows::Change;
        match change {
            Change::SetNode(_) => {}
            Change::SetService(spec) => {
                if self
                    .services
                    .get(&spec.id)
                    .is_some_and(|local| local.spec == *spec)
                {
                    self.unsynced.remove(&Key::Service(spec.id.clone()));
                }
            }
            Change::SetCheck(spec) => {
                let same = self.check_spec(&spec.check_id).as_ref() == Some(spec);
                if let Some(check) = self.checks.get_mut(&spec.check_id) {
                    check.written = Some((spec.output.clone(), now));
                }
                if same {
                    self.forget_due(&spec.check_id);
                    self.unsynced.remove(&Key::Check(spec.check_id.clone()));
                }
            }
            Change::DeleteService(id) => {
                if !self.services.contains_key(id) {
                    self.unsynced.remove(&Key::Service(id.clone()));
                }
            }
            Change::DeleteCheck(id) => {
                if !self.checks.contains_key(id) {
                    self.unsynced.remove(&Key::Check(id.clone()));
                }
            }
        }
    }

    /// Notes that the catalog has these already.
    pub fn note_in_sync(&mut self, keys: &[Key]) {
        for key in keys {
            self.unsynced.remove(key);
        }
    }

    /// Takes over what the catalog knows better: tags of services with EnableTagOverride, and the status of checks that were
    /// registered before this agent started and have not been heard of since.
    pub fn adopt(&mut self, rows: &crate::rows::Rows, owner: &str, now: Duration) {
        let mine = |of: &str| of == owner || of == crate::rows::API;
        for (id, local) in &mut self.services {
            let key = Key::Service(id.clone());
            if let Some(row) = rows.services.get(id)
                && local.spec.enable_tag_override
                && row.spec.tags != local.spec.tags
                && mine(&row.owner)
                && !self.unsynced.contains(&key)
            {
                local.spec.tags.clone_from(&row.spec.tags);
            }
        }
        let mut adopted = Vec::new();
        for (id, check) in &mut self.checks {
            if let Some(row) = rows.checks.get(id)
                && check.restored
                && row.owner == owner
                && !matches!(check.definition.kind, Kind::Ttl { .. } | Kind::Maintenance)
            {
                check.restored = false;
                adopted.push((id.clone(), row.spec.status, row.spec.output.clone()));
            }
        }
        for (id, status, output) in adopted {
            if let Some(check) = self.checks.get_mut(&id) {
                check.written = Some((output.clone(), now));
            }
            self.set_status(&id, status, output, now);
        }
    }

    fn forget_due(&mut self, id: &str) {
        if let Some(check) = self.checks.get_mut(id)
            && let Some(at) = check.output_due.take()
        {
            self.outputs.remove(&(at, id.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests;
