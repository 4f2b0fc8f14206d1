//! Taking the node or one of its services out of use: a check that is critical for as long as it lasts.
//!
//! The ids are literally matched by clients (fabio, Consul's own Go client).

use std::time::Duration;

use crate::definition::Status;

use super::{Effects, Local, LocalError, Source};
use crate::definition::{Definition, Kind, OUTPUT_BYTES_MAX, Thresholds};

/// Id of the node's maintenance.
pub const NODE_MAINTENANCE: &str = "_node_maintenance";
/// What the id of a service's maintenance begins with.
const SERVICE_MAINTENANCE: &str = "_service_maintenance:";
/// Reason of a service's maintenance that was given none.
const SERVICE_REASON: &str = "Maintenance mode is enabled for this service, but no reason was provided. This is a default message.";
/// The same for the node.
const NODE_REASON: &str = "Maintenance mode is enabled for this node, but no reason was provided. This is a default message.";

/// Id of a service's maintenance.
pub fn service_maintenance(service_id: &str) -> String {
    format!("{SERVICE_MAINTENANCE}{service_id}")
}

/// Whether a check is a maintenance.
pub(crate) fn is_maintenance(check_id: &str) -> bool {
    check_id == NODE_MAINTENANCE || check_id.starts_with(SERVICE_MAINTENANCE)
}

impl Local {
    /// Takes the node out of use. One that already is keeps its reason.
    pub fn start_node_maintenance(&mut self, reason: &str, now: Duration) -> Effects {
        let definition = maintenance(
            NODE_MAINTENANCE.to_owned(),
            "Node Maintenance Mode",
            reason,
            NODE_REASON,
            "",
        );
        self.start_maintenance(definition, now)
    }

    /// Takes a service out of use. One that already is keeps its reason.
    pub fn start_service_maintenance(
        &mut self,
        service_id: &str,
        reason: &str,
        now: Duration,
    ) -> Result<Effects, LocalError> {
        if !self.services.contains_key(service_id) {
            return Err(LocalError::UnknownService(service_id.to_owned()));
        }
        let definition = maintenance(
            service_maintenance(service_id),
            "Service Maintenance Mode",
            reason,
            SERVICE_REASON,
            service_id,
        );
        Ok(self.start_maintenance(definition, now))
    }

    /// Puts the node back into use.
    pub fn end_node_maintenance(&mut self, now: Duration) -> Effects {
        self.end_maintenance(NODE_MAINTENANCE, now)
    }

    /// Puts a service back into use.
    pub fn end_service_maintenance(
        &mut self,
        service_id: &str,
        now: Duration,
    ) -> Result<Effects, LocalError> {
        if !self.services.contains_key(service_id) {
            return Err(LocalError::UnknownService(service_id.to_owned()));
        }
        Ok(self.end_maintenance(&service_maintenance(service_id), now))
    }

    fn start_maintenance(&mut self, definition: Definition, now: Duration) -> Effects {
        let mut effects = Effects::default();
        if !self.checks.contains_key(&definition.id) {
            self.put_check(definition, Source::Api, now, &mut effects);
            self.refresh_aliases(now);
        }
        effects
    }

    fn end_maintenance(&mut self, id: &str, now: Duration) -> Effects {
        let mut effects = Effects::default();
        if self.checks.contains_key(id) {
            self.drop_check(id, &mut effects);
            self.refresh_aliases(now);
        }
        effects
    }
}

fn maintenance(
    id: String,
    name: &str,
    reason: &str,
    default_reason: &str,
    service_id: &str,
) -> Definition {
    let reason = if reason.is_empty() {
        default_reason
    } else {
        reason
    };
    Definition {
        id,
        name: name.to_owned(),
        notes: reason.to_owned(),
        service_id: service_id.to_owned(),
        kind: Kind::Maintenance,
        initial_status: Status::Critical,
        thresholds: Thresholds::default(),
        deregister_critical_service_after: None,
        output_bytes_max: OUTPUT_BYTES_MAX,
        with_service: false,
    }
}
