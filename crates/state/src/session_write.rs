//! How sessions begin and end.

use std::sync::Arc;

use crate::Stamp;
use crate::change::fold;
use crate::command::{Behavior, SessionCreate, Status};
use crate::reply::Refusal;
use crate::row::Session;
use crate::write::Write;

const NANOSECONDS_PER_MILLISECOND: u64 = 1_000_000;

impl Write<'_> {
    pub(crate) fn session_create(&mut self, create: &SessionCreate) -> Result<(), Refusal> {
        if self.tables.catalog.node_row(&create.node).is_none() {
            return Err(Refusal::MissingNode);
        }
        for id in check_ids(&create.node_checks, create.service_checks.as_deref()) {
            match self.tables.catalog.check_row(&create.node, id) {
                None => return Err(Refusal::MissingCheck(id.to_owned())),
                Some(check) if check.spec.status == Status::Critical => {
                    return Err(Refusal::CriticalCheck(id.to_owned()));
                }
                Some(_) => {}
            }
        }
        if self.tables.sessions.row(&create.id).is_some() {
            return Err(Refusal::Other(format!("session {} exists", create.id)));
        }
        let session = Session {
            id: Arc::from(&*create.id),
            name: create.name.clone(),
            node: create.node.clone(),
            lock_delay_ns: create.lock_delay_ns,
            behavior: create.behavior,
            ttl: create.ttl.clone(),
            ttl_ms: create.ttl_ms,
            node_checks: create.node_checks.clone(),
            service_checks: create.service_checks.clone(),
            create_index: self.index,
            modify_index: self.index,
        };
        self.note_session(&session);
        self.tables.sessions.insert(Arc::new(session));
        Ok(())
    }

    /// Ends a session: its keys are freed or deleted, and nobody acquires them before the lock-delay is over. Returns
    /// whether it was there.
    pub(crate) fn session_end(&mut self, id: &str) -> bool {
        let Some(session) = self.tables.sessions.remove(id, self.index) else {
            return false;
        };
        self.note_session(&session);
        self.queries_end_with_session(&session.id);
        // Rounded up: a delay is never shorter than asked for.
        let delay_ms = session.lock_delay_ns.div_ceil(NANOSECONDS_PER_MILLISECOND);
        for key in self.tables.sessions.keys_held_by(&session.id) {
            match session.behavior {
                Behavior::Release => self.kv_free(&key),
                Behavior::Delete => self.kv_delete(&key),
            }
            if delay_ms > 0 {
                let end = Stamp(self.at.0.saturating_add(delay_ms));
                self.tables.sessions.delay(key, end);
            }
        }
        true
    }

    /// Ends the sessions of a folded node.
    pub(crate) fn sessions_end_with_node(&mut self, node: &str) {
        for id in self.tables.sessions.ids_of_node(node) {
            self.session_end(&id);
        }
    }

    /// Ends the sessions that name a check. Node and id are folded.
    pub(crate) fn sessions_end_with_check(&mut self, node: &str, check: &str) {
        for id in self.tables.sessions.ids_of_node(node) {
            let names_it = self.tables.sessions.row(&id).is_some_and(|session| {
                check_ids(&session.node_checks, session.service_checks.as_deref())
                    .any(|id| id.eq_ignore_ascii_case(check))
            });
            if names_it {
                self.session_end(&id);
            }
        }
    }

    fn note_session(&mut self, session: &Session) {
        self.changes
            .sessions
            .push((session.id.clone(), fold(&session.node)));
    }
}

fn check_ids<'a>(
    node_checks: &'a [String],
    service_checks: Option<&'a [crate::command::ServiceCheckRef]>,
) -> impl Iterator<Item = &'a str> {
    let of_services = service_checks.unwrap_or_default().iter().map(|c| &*c.id);
    node_checks.iter().map(|id| &**id).chain(of_services)
}
