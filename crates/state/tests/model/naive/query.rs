//! Prepared queries, plainly.

use rollcall_state::command::QuerySet;

use super::{Naive, low};

impl Naive {
    pub(crate) fn query_set(&mut self, set: &QuerySet) -> Result<(), String> {
        let spec = &set.query;
        let id = low(&spec.id);
        let old = self.queries.get(&id).cloned();
        if set.must_exist && old.is_none() {
            return Err(missing(&spec.id));
        }
        if !spec.name.is_empty() {
            let name = low(&spec.name);
            let taken = |(other, (q, ..)): (&String, &super::Row<_>)| {
                let q: &rollcall_state::command::QuerySpec = q;
                *other != id && low(&q.name) == name
            };
            if self.queries.iter().any(taken) {
                return Err(format!(
                    "name '{}' aliases an existing query name",
                    spec.name
                ));
            }
            if self.queries.contains_key(&name) {
                return Err(format!("name '{}' aliases an existing query ID", spec.name));
            }
        }
        if !spec.session.is_empty() && !self.sessions.contains_key(&*spec.session) {
            return Err("invalid session".into());
        }
        if old.as_ref().is_some_and(|(old, ..)| old == spec) {
            return Ok(());
        }
        let create = old.map_or(self.index, |(_, create, _)| create);
        self.queries_changed = self.index;
        self.queries.insert(id, (spec.clone(), create, self.index));
        Ok(())
    }

    pub(crate) fn query_delete(&mut self, id: &str) -> Result<(), String> {
        match self.queries.remove(&low(id)) {
            None => Err(missing(id)),
            Some(_) => {
                self.queries_changed = self.index;
                self.queries_removed = self.index;
                Ok(())
            }
        }
    }

    pub(super) fn queries_end(&mut self, session: &str) {
        let of = self
            .queries
            .iter()
            .filter(|(_, (q, ..))| *q.session == *session);
        let ids: Vec<String> = of.map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.query_delete(&id).expect("it was just seen");
        }
    }
}

fn missing(id: &str) -> String {
    format!("Cannot modify non-existent prepared query: '{id}'")
}
