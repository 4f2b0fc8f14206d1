//! How checks fare: results of runs, words of clients, TTLs that run out, aliases, and services that stay critical.

use std::time::Duration;

use crate::definition::Status;

use super::{Effects, Local, LocalError};
use crate::definition::{CheckResult, Kind};
use crate::rows::Key;

/// What a result changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing that anybody has to hear of now.
    Quiet,
    /// The status: the catalog is to follow at once.
    Status,
}

/// Output of a TTL that ran out, before what was said last.
const TTL_EXPIRED: &str = "TTL expired";

impl Local {
    /// A client says how a TTL check fares. Its TTL starts again.
    pub fn update_ttl(
        &mut self,
        id: &str,
        status: Status,
        output: &str,
        now: Duration,
    ) -> Result<Outcome, LocalError> {
        let check =
            (self.checks.get_mut(id)).ok_or_else(|| LocalError::UnknownCheck(id.to_owned()))?;
        let Kind::Ttl { ttl } = check.definition.kind else {
            return Err(LocalError::NotTtl(id.to_owned()));
        };
        let at = now + ttl;
        if let Some(before) = check.ttl_ends.replace(at) {
            self.ttls.remove(&(before, id.to_owned()));
        }
        self.ttls.insert((at, id.to_owned()));
        let output = cut(output, check.definition.output_bytes_max);
        let outcome = self.set_status(id, status, output, now);
        self.refresh_aliases(now);
        Ok(outcome)
    }

    /// A run ended. Results of checks that are gone, or are not run, are passed over.
    pub fn result(&mut self, result: CheckResult, now: Duration) -> Outcome {
        let known = (self.checks.get(&result.id)).is_some_and(|check| {
            !matches!(check.definition.kind, Kind::Ttl { .. } | Kind::Maintenance)
        });
        if !known {
            return Outcome::Quiet;
        }
        let outcome = self.set_status(&result.id, result.status, result.output, now);
        if outcome == Outcome::Status {
            self.refresh_aliases(now);
        }
        outcome
    }

    /// TTL checks that nobody spoke for turn critical.
    pub fn expire(&mut self, now: Duration) -> Outcome {
        let mut any = Outcome::Quiet;
        while let Some((at, _)) = self.ttls.first()
            && *at <= now
            && let Some((_, id)) = self.ttls.pop_first()
        {
            let Some(check) = self.checks.get_mut(&id) else {
                continue;
            };
            check.ttl_ends = None;
            let output = if check.output.is_empty() {
                TTL_EXPIRED.to_owned()
            } else {
                format!(
                    "{TTL_EXPIRED} (last output before timeout follows): {}",
                    check.output
                )
            };
            if self.set_status(&id, Status::Critical, output, now) == Outcome::Status {
                any = Outcome::Status;
            }
        }
        if any == Outcome::Status {
            self.refresh_aliases(now);
        }
        any
    }

    /// Puts a TTL check where it was before a restart; its TTL starts afresh.
    pub fn restore_status(&mut self, id: &str, status: Status, output: String, now: Duration) {
        let ttl = |check: &super::LocalCheck| matches!(check.definition.kind, Kind::Ttl { .. });
        if self.checks.get(id).is_some_and(ttl) {
            self.set_status(id, status, output, now);
        }
    }

    /// Sets health and output, and marks what the catalog has to follow.
    pub(super) fn set_status(
        &mut self,
        id: &str,
        status: Status,
        output: String,
        now: Duration,
    ) -> Outcome {
        let pause = self.output_pause(id);
        let Some(check) = self.checks.get_mut(id) else {
            return Outcome::Quiet;
        };
        check.restored = false;
        if check.has_status(status, &output) {
            return Outcome::Quiet;
        }
        let turned = check.status != status;
        check.status = status;
        check.output = output;
        check.critical_since = match (status, check.critical_since) {
            (Status::Critical, None) => Some(now),
            (Status::Critical, since) => since,
            (Status::Passing | Status::Warning, _) => None,
        };
        let pause = if turned { None } else { Some(pause) };
        self.plan_reap(id);
        let Some(check) = self.checks.get_mut(id) else {
            return Outcome::Quiet;
        };
        match (pause, &check.written) {
            // Not written yet at all: it is marked already, or the plan will see it.
            (Some(pause), Some((_, at))) if *at + pause > now => {
                if check.output_due.is_none() {
                    let due = *at + pause;
                    check.output_due = Some(due);
                    self.outputs.insert((due, id.to_owned()));
                }
                Outcome::Quiet
            }
            (Some(_), _) => {
                self.unsynced.insert(Key::Check(id.to_owned()));
                Outcome::Quiet
            }
            (None, _) => {
                self.forget_due(id);
                self.unsynced.insert(Key::Check(id.to_owned()));
                Outcome::Status
            }
        }
    }

    /// Deregisters services of which a check has been critical for too long.
    pub fn reap(&mut self, now: Duration) -> Effects {
        let mut effects = Effects::default();
        while let Some((at, check)) = self.reaps.first()
            && *at <= now
        {
            let service = (self.checks.get(check))
                .map(|check| check.definition.service_id.clone())
                .unwrap_or_default();
            // Its checks go with it, and this entry with them.
            match self.deregister_service(&service, now) {
                Ok(more) => {
                    effects.stopped.extend(more.stopped);
                    effects.services_gone.extend(more.services_gone);
                    effects.checks_gone.extend(more.checks_gone);
                }
                Err(_) => {
                    self.reaps.pop_first();
                }
            }
        }
        effects
    }

    /// Brings the time at which a check takes its service with it in line with the check's health.
    pub(super) fn plan_reap(&mut self, id: &str) {
        let Some(check) = self.checks.get_mut(id) else {
            return;
        };
        let after = (check.definition.deregister_critical_service_after)
            .filter(|_| !check.definition.service_id.is_empty());
        let wanted = after.and_then(|after| Some(check.critical_since? + after));
        if check.reap_at == wanted {
            return;
        }
        if let Some(before) = std::mem::replace(&mut check.reap_at, wanted) {
            self.reaps.remove(&(before, id.to_owned()));
        }
        if let Some(at) = wanted {
            self.reaps.insert((at, id.to_owned()));
        }
    }

    /// Lets aliases of this node's own services follow. An alias of an alias takes a round each, at most as many as there are.
    pub(super) fn refresh_aliases(&mut self, now: Duration) {
        if self.aliases.is_empty() {
            return;
        }
        let aliases = self.aliases.clone();
        for _ in 0..aliases.len() {
            let mut turned = false;
            for (id, service) in &aliases {
                let (status, output) = self.alias(id, service);
                turned |= self.set_status(id, status, output, now) == Outcome::Status;
            }
            if !turned {
                return;
            }
        }
    }

    /// Health and output of an alias.
    fn alias(&self, own: &str, service: &str) -> (Status, String) {
        if !service.is_empty() && !self.services.contains_key(service) {
            let node = &self.settings.node;
            let output = format!("Service {service} could not be found on node {node}");
            return (Status::Critical, output);
        }
        let of_service = self.checks_of(service).filter(|_| !service.is_empty());
        let mut worst = (Status::Passing, "No checks found.".to_owned());
        for (id, check) in self.checks_of("").chain(of_service) {
            if id == own {
                continue;
            }
            if check.status > worst.0 {
                let output = format!(
                    "Aliased check {:?} failing: {}",
                    check.definition.name, check.output
                );
                worst = (check.status, output);
            } else if worst.0 == Status::Passing {
                worst.1 = "All checks passing.".to_owned();
            }
        }
        worst
    }
}

/// At most so many bytes, at a character's end.
fn cut(text: &str, max: usize) -> String {
    text[..text.floor_char_boundary(max)].to_owned()
}
