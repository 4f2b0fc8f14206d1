//! How a check's row goes in and out: it stands by its id, beside the node or instance that it is about, and by its status.

use std::sync::Arc;

use crate::Index;
use crate::catalog::{Catalog, NodeAndId};
use crate::change::fold_shared;
use crate::command::Status;
use crate::row::Check;

impl Catalog {
    /// Puts a row in, new or in the place of another. `index`: of the write.
    pub(crate) fn put_check(&mut self, mut check: Check, index: Index) {
        let node = self.node_key(&check.spec.node);
        self.share_check(&mut check, &node);
        let check = Arc::new(check);
        let key = (node, fold_shared(&check.spec.check_id));
        if let Some(old) = self.checks.insert(key.clone(), check.clone()) {
            self.unlink_check(&key, &old, &check, index);
        }
        let status = self.status_key(&check.spec.status);
        self.link_check(&key, &check);
        self.by_status.insert(
            (status.clone(), key.0.clone(), key.1.clone()),
            check.clone(),
        );
        self.raise_status(status, index);
        self.note_check(&key.0, &check, index);
    }

    /// Takes a row out.
    pub(crate) fn remove_check(&mut self, key: &NodeAndId, index: Index) -> Option<Arc<Check>> {
        let check = self.checks.remove(key)?;
        self.detach_check(key, &check);
        self.leave_status(key, &check.spec.status, index);
        self.note_check(&key.0, &check, index);
        self.indexes.removed = index;
        Some(check)
    }

    /// Puts a row beside the node or the instance that it is about.
    fn link_check(&mut self, (node, id): &NodeAndId, check: &Arc<Check>) {
        if check.spec.service_id.is_empty() {
            if let Some(node) = self.nodes.get_mut(&**node) {
                node.own_checks.insert(id.clone(), check.clone());
            }
            return;
        }
        self.change_instance_checks((node, id), check, |checks, at| match at {
            Ok(at) => checks[at] = check.clone(),
            Err(at) => checks.insert(at, check.clone()),
        });
    }

    /// Takes a row from the node or the instance that it is about.
    fn detach_check(&mut self, (node, id): &NodeAndId, check: &Check) {
        if check.spec.service_id.is_empty() {
            if let Some(node) = self.nodes.get_mut(&**node) {
                node.own_checks.remove(&**id);
            }
            return;
        }
        self.change_instance_checks((node, id), check, |checks, at| {
            if let Ok(at) = at {
                checks.remove(at);
            }
        });
    }

    /// `change` gets the instance's checks, and where the one with this id is or would be.
    fn change_instance_checks(
        &mut self,
        (node, id): (&Arc<str>, &Arc<str>),
        check: &Check,
        change: impl FnOnce(&mut Vec<Arc<Check>>, Result<usize, usize>),
    ) {
        let key = self.instance_key(&(node.clone(), fold_shared(&check.spec.service_id)));
        let Some(entry) = key.and_then(|key| self.instances.get_mut(&key)) else {
            return;
        };
        let mut checks = entry.checks.to_vec();
        let at = checks.binary_search_by(|c| fold_shared(&c.spec.check_id).cmp(id));
        change(&mut checks, at);
        entry.checks = checks.into();
    }

    /// Takes the old row from where the new one does not come.
    fn unlink_check(&mut self, key: &NodeAndId, old: &Check, new: &Check, index: Index) {
        if !old
            .spec
            .service_id
            .eq_ignore_ascii_case(&new.spec.service_id)
        {
            self.detach_check(key, old);
        }
        if old.spec.status != new.spec.status {
            self.leave_status(key, &old.spec.status, index);
        }
        self.note_check(&key.0, old, index);
    }

    fn leave_status(&mut self, (node, id): &NodeAndId, status: &Status, index: Index) {
        let status_key = self.status_key(status);
        let key = (status_key, node.clone(), id.clone());
        self.by_status.remove(&key);
        let (status_key, ..) = key;
        // Words that clients make up must not stay behind for ever.
        let made_up = matches!(Status::parse(&status_key), Status::Other(_));
        if made_up && Self::under(&self.by_status, &status_key).next().is_none() {
            self.of_status.remove(&*status_key);
            self.indexes.states_left = index;
        } else {
            self.raise_status(status_key, index);
        }
    }

    fn note_check(&mut self, node: &str, check: &Check, index: Index) {
        if let Some(node) = self.nodes.get_mut(node) {
            let indexes = &mut node.indexes;
            indexes.checks = indexes.checks.max(index);
            if check.spec.service_id.is_empty() {
                indexes.node_checks = indexes.node_checks.max(index);
            }
        }
        if !check.spec.service_id.is_empty()
            && let Some(of_service) = self.of_service.get_mut(&*fold_shared(&check.service_name))
        {
            of_service.checks = of_service.checks.max(index);
        }
        self.indexes.checks = self.indexes.checks.max(index);
    }

    pub(crate) fn raise_status(&mut self, status: Arc<str>, index: Index) {
        let changed = self.of_status.entry(status).or_default();
        *changed = index.max(*changed);
    }

    /// The key of a status, shared with the one that is there.
    pub(crate) fn status_key(&self, status: &Status) -> Arc<str> {
        let folded = match status {
            Status::Other(other) => return fold_shared(other),
            Status::Passing | Status::Warning | Status::Critical => status.as_str(),
        };
        match self.of_status.get_key_value(folded) {
            Some((key, _)) => key.clone(),
            None => Arc::from(folded),
        }
    }
}
