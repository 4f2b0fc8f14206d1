//! The table of prepared queries, and how they are written. As Consul 1.20 does it (`state/prepared_query.go`), in its words.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::change::{Topic, fold, fold_shared};
use crate::command::{QueryDelete, QuerySet};
use crate::reply::Refusal;
use crate::row::Query;
use crate::write::Write;
use crate::{Answer, Index};

/// Prepared queries.
#[derive(Debug, Clone, Default)]
pub(crate) struct Queries {
    /// By folded id.
    rows: OrdMap<Arc<str>, Arc<Query>>,
    /// Folded name to folded id, for queries that have a name.
    by_name: OrdMap<Arc<str>, Arc<str>>,
    /// (session, folded id)
    by_session: OrdSet<(Arc<str>, Arc<str>)>,
    /// Of the last change of any.
    changed: Index,
    /// Of the last removal: the index of every query that is not there.
    removed: Index,
}

impl Queries {
    pub(crate) fn rows(&self) -> &OrdMap<Arc<str>, Arc<Query>> {
        &self.rows
    }

    pub(crate) fn changed(&self) -> Index {
        self.changed
    }

    pub(crate) fn removed(&self) -> Index {
        self.removed
    }

    pub(crate) fn raise(&mut self, changed: Index, removed: Index) {
        self.changed = self.changed.max(changed);
        self.removed = self.removed.max(removed);
    }

    pub(crate) fn put(&mut self, query: Arc<Query>) {
        let id = fold_shared(&query.spec.id);
        if let Some(old) = self.rows.get(&*id).cloned() {
            self.unlink(&id, &old);
        }
        if !query.spec.name.is_empty() {
            self.by_name
                .insert(fold_shared(&query.spec.name), id.clone());
        }
        if !query.spec.session.is_empty() {
            self.by_session
                .insert((query.spec.session.clone(), id.clone()));
        }
        self.changed = self.changed.max(query.modify_index);
        self.rows.insert(id, query);
    }

    fn remove(&mut self, id: &Arc<str>, index: Index) -> Option<Arc<Query>> {
        let query = self.rows.remove(&**id)?;
        self.unlink(id, &query);
        self.raise(index, index);
        Some(query)
    }

    fn unlink(&mut self, id: &Arc<str>, query: &Query) {
        if !query.spec.name.is_empty() {
            self.by_name.remove(&*fold_shared(&query.spec.name));
        }
        self.by_session
            .remove(&(query.spec.session.clone(), id.clone()));
    }

    fn of_session(&self, session: &Arc<str>) -> Vec<Arc<str>> {
        let first = (session.clone(), Arc::default());
        self.by_session
            .range(first..)
            .take_while(|(of, _)| of == session)
            .map(|(_, id)| id.clone())
            .collect()
    }

    // === queries ===

    pub(crate) fn list(&self) -> Answer<Vec<Arc<Query>>> {
        Answer::new(self.changed, self.rows.values().cloned().collect())
    }

    pub(crate) fn get(&self, id: &str) -> Answer<Option<Arc<Query>>> {
        let row = self.rows.get(&*fold(id)).cloned();
        Answer::new(row.as_ref().map_or(self.removed, |q| q.modify_index), row)
    }

    pub(crate) fn find(&self, id_or_name: &str) -> Option<Arc<Query>> {
        let asked = fold(id_or_name);
        // The id first: a name that is somebody's id must not take its place.
        let by_name = || self.rows.get(self.by_name.get(&*asked)?);
        self.rows.get(&*asked).or_else(by_name).cloned()
    }
}

impl Write<'_> {
    pub(crate) fn query_set(&mut self, set: &QuerySet) -> Result<(), Refusal> {
        let QuerySet {
            query: spec,
            must_exist,
        } = set;
        let queries = &self.tables.queries;
        let id = fold_shared(&spec.id);
        let old = queries.rows.get(&*id).cloned();
        if *must_exist && old.is_none() {
            return Err(missing(&spec.id));
        }
        if !spec.name.is_empty() {
            let name = fold_shared(&spec.name);
            if queries.by_name.get(&*name).is_some_and(|of| *of != id) {
                let words = format!("name '{}' aliases an existing query name", spec.name);
                return Err(Refusal::Other(words));
            }
            if queries.rows.contains_key(&*name) {
                let words = format!("name '{}' aliases an existing query ID", spec.name);
                return Err(Refusal::Other(words));
            }
        }
        if !spec.session.is_empty() && self.tables.sessions.row(&spec.session).is_none() {
            return Err(Refusal::Other("invalid session".into()));
        }
        if old.as_ref().is_some_and(|old| old.spec == *spec) {
            return Ok(());
        }
        let query = Query {
            spec: spec.clone(),
            create_index: old.map_or(self.index, |old| old.create_index),
            modify_index: self.index,
        };
        self.tables.queries.put(Arc::new(query));
        self.touch_query(id);
        Ok(())
    }

    pub(crate) fn query_delete(&mut self, delete: &QueryDelete) -> Result<(), Refusal> {
        let id = fold_shared(&delete.id);
        match self.tables.queries.remove(&id, self.index) {
            None => Err(missing(&delete.id)),
            Some(_) => {
                self.touch_query(id);
                Ok(())
            }
        }
    }

    /// Deletes the queries that hang on a session.
    pub(crate) fn queries_end_with_session(&mut self, session: &Arc<str>) {
        for id in self.tables.queries.of_session(session) {
            self.tables.queries.remove(&id, self.index);
            self.touch_query(id);
        }
    }

    fn touch_query(&mut self, id: Arc<str>) {
        self.changes.topics.push(Topic::Queries);
        self.changes.topics.push(Topic::Query(id));
    }
}

fn missing(id: &str) -> Refusal {
    Refusal::Other(format!("Cannot modify non-existent prepared query: '{id}'"))
}
