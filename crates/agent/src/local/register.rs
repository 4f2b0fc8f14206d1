//! Registration and deregistration of services and checks.

use std::time::Duration;

use crate::rows::ServiceSpec;

use super::maintenance::is_maintenance;
use super::{Effects, Local, LocalCheck, LocalService, Source};
use crate::definition::{Definition, Kind};
use crate::rows::Key;

/// Why a change was not made. Consul's words; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocalError {
    /// No such service here.
    #[error(
        "Unknown service ID {0:?}. Ensure that the service ID is passed, not the service name."
    )]
    UnknownService(String),
    /// No such check here.
    #[error("Unknown check ID {0:?}. Ensure that the check ID is passed, not the check name.")]
    UnknownCheck(String),
    /// A check of a service that is not here.
    #[error("ServiceID {0:?} does not exist")]
    NoSuchService(String),
    /// Only TTL checks can be told how they are.
    #[error("CheckID {0:?} does not have associated TTL")]
    NotTtl(String),
}

impl Local {
    /// Adds a service with its checks, or puts them in the place of what has the same ids. Checks keep their health over it.
    /// With `replace`, checks of the service that are not among `checks` go; its maintenance stays.
    pub fn register_service(
        &mut self,
        spec: ServiceSpec,
        checks: Vec<Definition>,
        source: Source,
        replace: bool,
        now: Duration,
    ) -> Effects {
        let mut effects = Effects::default();
        let id = spec.id.clone();
        let before = self
            .services
            .insert(id.clone(), LocalService { spec, source });
        let after = &self.services[&id];
        if before.as_ref().map(|local| &local.spec) != Some(&after.spec) {
            self.unsynced.insert(Key::Service(id.clone()));
        }
        if before.is_some_and(|before| {
            before.spec.service != after.spec.service || before.spec.tags != after.spec.tags
        }) {
            self.rename_service_of_checks(&id);
        }
        if replace {
            let kept = |check: &str| checks.iter().any(|new| new.id == check);
            let gone: Vec<String> = (self.checks_of(&id))
                .filter(|(check, _)| !kept(check) && !is_maintenance(check))
                .map(|(check, _)| check.to_owned())
                .collect();
            for check in gone {
                self.drop_check(&check, &mut effects);
            }
        }
        for definition in checks {
            let before = self.checks.get(&definition.id).cloned();
            let check = definition.id.clone();
            self.put_check(definition, source, now, &mut effects);
            if let Some(before) = before {
                self.set_status(&check, before.status, before.output, now);
                if let Some(check) = self.checks.get_mut(&check) {
                    check.restored = before.restored;
                }
            }
        }
        self.refresh_aliases(now);
        effects
    }

    /// Takes a service and its checks away.
    pub fn deregister_service(&mut self, id: &str, now: Duration) -> Result<Effects, LocalError> {
        if self.services.remove(id).is_none() {
            return Err(LocalError::UnknownService(id.to_owned()));
        }
        let mut effects = Effects::default();
        effects.services_gone.push(id.to_owned());
        self.unsynced.insert(Key::Service(id.to_owned()));
        let checks: Vec<String> = self
            .checks_of(id)
            .map(|(check, _)| check.to_owned())
            .collect();
        for check in checks {
            self.drop_check(&check, &mut effects);
        }
        self.refresh_aliases(now);
        Ok(effects)
    }

    /// Adds a check by itself, or puts it in the place of the one with its id; it begins with its initial status.
    pub fn register_check(
        &mut self,
        definition: Definition,
        source: Source,
        now: Duration,
    ) -> Result<Effects, LocalError> {
        let service = &definition.service_id;
        if !service.is_empty() && !self.services.contains_key(service) {
            return Err(LocalError::NoSuchService(service.clone()));
        }
        let mut effects = Effects::default();
        self.put_check(definition, source, now, &mut effects);
        self.refresh_aliases(now);
        Ok(effects)
    }

    /// Takes a check away.
    pub fn deregister_check(&mut self, id: &str, now: Duration) -> Result<Effects, LocalError> {
        if !self.checks.contains_key(id) {
            return Err(LocalError::UnknownCheck(id.to_owned()));
        }
        let mut effects = Effects::default();
        self.drop_check(id, &mut effects);
        self.refresh_aliases(now);
        Ok(effects)
    }

    /// Marks what survived a restart: until something is heard of it, the catalog knows its health better than we do.
    pub fn mark_restored(&mut self) {
        for check in self.checks.values_mut() {
            check.restored = true;
        }
    }

    pub(super) fn put_check(
        &mut self,
        definition: Definition,
        source: Source,
        now: Duration,
        effects: &mut Effects,
    ) {
        let id = definition.id.clone();
        let before = self.checks.remove(&id);
        if let Some(before) = &before {
            self.unlink(&id, before);
            if before.definition.is_run(&self.settings.node) {
                effects.stopped.push(id.clone());
            }
        }
        let service = self.services.get(&definition.service_id);
        let spec = service.map(|service| &service.spec);
        let ttl_ends = match definition.kind {
            Kind::Ttl { ttl } => Some(now + ttl),
            _ => None,
        };
        let critical = definition.initial_status == crate::definition::Status::Critical;
        let check = LocalCheck {
            source,
            service_name: spec.map(|spec| spec.service.clone()).unwrap_or_default(),
            service_tags: spec.map(|spec| spec.tags.clone()).unwrap_or_default(),
            status: definition.initial_status,
            output: String::new(),
            critical_since: critical.then_some(now),
            reap_at: None,
            restored: false,
            ttl_ends,
            written: before.and_then(|before| before.written),
            output_due: None,
            definition,
        };
        if let Some(at) = ttl_ends {
            self.ttls.insert((at, id.clone()));
        }
        if check.definition.is_run(&self.settings.node) {
            effects.started.push(check.definition.clone());
        }
        if let Kind::Alias { node, service_id } = &check.definition.kind
            && (node.is_empty() || *node == self.settings.node)
        {
            self.aliases.insert(id.clone(), service_id.clone());
        }
        let of = self.checks_of.entry(check.definition.service_id.clone());
        of.or_default().insert(id.clone());
        self.checks.insert(id.clone(), check);
        self.plan_reap(&id);
        self.unsynced.insert(Key::Check(id));
    }

    pub(super) fn drop_check(&mut self, id: &str, effects: &mut Effects) {
        let Some(check) = self.checks.remove(id) else {
            return;
        };
        self.unlink(id, &check);
        if check.definition.is_run(&self.settings.node) {
            effects.stopped.push(id.to_owned());
        }
        effects.checks_gone.push(id.to_owned());
        self.unsynced.insert(Key::Check(id.to_owned()));
    }

    /// Takes a check out of everything that points to it.
    fn unlink(&mut self, id: &str, check: &LocalCheck) {
        let service = &check.definition.service_id;
        if let Some(ids) = self.checks_of.get_mut(service) {
            ids.remove(id);
            if ids.is_empty() {
                self.checks_of.remove(service);
            }
        }
        if let Some(at) = check.ttl_ends {
            self.ttls.remove(&(at, id.to_owned()));
        }
        if let Some(at) = check.output_due {
            self.outputs.remove(&(at, id.to_owned()));
        }
        if let Some(at) = check.reap_at {
            self.reaps.remove(&(at, id.to_owned()));
        }
        self.aliases.remove(id);
    }

    fn rename_service_of_checks(&mut self, service: &str) {
        let Some(spec) = self.services.get(service).map(|local| &local.spec) else {
            return;
        };
        for id in self.checks_of.get(service).into_iter().flatten() {
            if let Some(check) = self.checks.get_mut(id) {
                check.service_name.clone_from(&spec.service);
                check.service_tags.clone_from(&spec.tags);
            }
        }
    }
}
