//! The health of a service in one word: its checks and its node's together.

use crate::definition::Status;

use super::maintenance::is_maintenance;
use super::{Local, LocalCheck, LocalService};

/// Consul's aggregated status. The order is its, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aggregated {
    /// All pass, or there are none.
    Passing,
    /// At least one warns.
    Warning,
    /// At least one is critical.
    Critical,
    /// Taken out of use.
    Maintenance,
}

impl Aggregated {
    /// Consul's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Aggregated::Passing => "passing",
            Aggregated::Warning => "warning",
            Aggregated::Critical => "critical",
            Aggregated::Maintenance => "maintenance",
        }
    }

    fn of(id: &str, status: Status) -> Self {
        match status {
            _ if is_maintenance(id) => Aggregated::Maintenance,
            Status::Passing => Aggregated::Passing,
            Status::Warning => Aggregated::Warning,
            Status::Critical => Aggregated::Critical,
        }
    }
}

/// A service with its health.
#[derive(Debug, Clone)]
pub struct ServiceHealth<'a> {
    /// In one word.
    pub aggregated: Aggregated,
    /// The service.
    pub service: &'a LocalService,
    /// Its checks and the node's, by id.
    pub checks: Vec<(&'a str, &'a LocalCheck)>,
}

impl Local {
    /// Health of one service.
    pub fn health_of(&self, service_id: &str) -> Option<ServiceHealth<'_>> {
        let service = self.services.get(service_id)?;
        let mut checks: Vec<_> = self
            .checks_of("")
            .chain(self.checks_of(service_id))
            .collect();
        checks.sort_by_key(|(id, _)| *id);
        let aggregated = (checks.iter())
            .map(|(id, check)| Aggregated::of(id, check.status))
            .max()
            .unwrap_or(Aggregated::Passing);
        Some(ServiceHealth {
            aggregated,
            service,
            checks,
        })
    }

    /// Health of all services of a name, by id.
    pub fn health_of_name(&self, name: &str) -> Vec<ServiceHealth<'_>> {
        (self.services.iter())
            .filter(|(_, service)| service.spec.service == name)
            .filter_map(|(id, _)| self.health_of(id))
            .collect()
    }
}
