//! What a restore leaves, plainly.

use rollcall_state::row::{Check, Service};

use super::catalog::{MEANINGFUL, Of};
use super::{Gone, Naive, low};

impl Naive {
    /// What a swap leaves: the saved rows, this cluster's time and lock-delays, and everything absent at the new index.
    pub(crate) fn restore(&mut self, saved: &Naive, above: u64) {
        let gone = || Gone {
            floor: above,
            ..Gone::default()
        };
        let sessions = saved.sessions.values();
        *self = Naive {
            index: above,
            now: self.now,
            keys: saved.keys.clone(),
            deletions: Vec::new(),
            reaped: 0,
            floor: above,
            sessions: saved.sessions.clone(),
            session_events: sessions
                .map(|(s, create)| (low(&s.node), *create))
                .chain([(String::new(), above)])
                .collect(),
            session_ended: above,
            delays: self.delays.clone(),
            nodes: saved.nodes.clone(),
            services: saved.services.clone(),
            checks: saved.checks.clone(),
            events: saved.events_of_rows(above),
            queries: saved.queries.clone(),
            queries_changed: above,
            queries_removed: above,
            gone_nodes: gone(),
            gone_services: gone(),
            nodes_changed: above,
            names_changed: above,
            instances_changed: above,
            checks_changed: above,
            states_left: above,
            removed: above,
        };
    }

    /// What rows say of their writes. The states are tables and begin anew.
    fn events_of_rows(&self, above: u64) -> Vec<(Of, u64)> {
        let mut events: Vec<_> = MEANINGFUL.map(|s| (Of::State(s.into()), above)).into();
        for (name, node) in &self.nodes {
            events.push((Of::ChecksOn(name.clone()), node.create_index));
        }
        for ((node, _), row) in &self.services {
            let Service { spec, .. } = row;
            for of in [
                Of::ServicesOn(node.clone()),
                Of::Instances(low(&spec.service)),
            ] {
                events.push((of, row.modify_index));
            }
        }
        for ((node, _), row) in &self.checks {
            let Check { spec, .. } = row;
            let about = match spec.service_id.is_empty() {
                true => Of::OwnChecks(node.clone()),
                false => Of::ServiceChecks(low(&row.service_name)),
            };
            events.push((Of::ChecksOn(node.clone()), row.modify_index));
            events.push((about, row.modify_index));
            events.push((Of::State(low(spec.status.as_str())), above));
        }
        events
    }
}
