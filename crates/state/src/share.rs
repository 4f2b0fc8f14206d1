//! Equal strings of neighbouring rows kept once.
//!
//! Instances of a service are alike: name, tags, most of their meta, and what their checks are called. A row that comes in takes the
//! strings that a sibling has already. No table of strings has to be kept or cleaned: a string lives as long as a row that uses
//! it. It is invisible but for the memory it takes.

use std::sync::Arc;

use rollcall_api::SortedMap;

use crate::catalog::Catalog;
use crate::change::fold_shared;
use crate::command::Texts;
use crate::row::{Check, Service};

/// Takes `known` in the place of `text` where they are equal.
fn share(text: &mut Arc<str>, known: &Arc<str>) {
    if **text == **known {
        *text = known.clone();
    }
}

fn share_list(texts: &mut Option<Texts>, known: &Option<Texts>) {
    if texts == known {
        *texts = known.clone();
    }
}

fn share_map(map: &mut Option<SortedMap>, known: &Option<SortedMap>) {
    if let (Some(map), Some(known)) = (map, known) {
        map.share_with(known);
    }
}

impl Service {
    /// Shares what is equal with another instance.
    fn share_with(&mut self, sibling: &Service) {
        share(&mut self.owner, &sibling.owner);
        let (spec, known) = (&mut self.spec, &sibling.spec);
        share(&mut spec.id, &known.id);
        share(&mut spec.service, &known.service);
        share_list(&mut spec.tags, &known.tags);
        share(&mut spec.address, &known.address);
        share_map(&mut spec.meta, &known.meta);
        share(&mut spec.kind, &known.kind);
        share(&mut spec.socket_path, &known.socket_path);
    }
}

impl Check {
    /// Shares what is equal with another check.
    fn share_with(&mut self, sibling: &Check) {
        share(&mut self.owner, &sibling.owner);
        let (spec, known) = (&mut self.spec, &sibling.spec);
        share(&mut spec.check_id, &known.check_id);
        share(&mut spec.name, &known.name);
        share(&mut spec.notes, &known.notes);
        share(&mut spec.output, &known.output);
        share(&mut spec.check_type, &known.check_type);
        share(&mut spec.interval, &known.interval);
        share(&mut spec.timeout, &known.timeout);
    }
}

impl Catalog {
    /// A folded node's key, shared with its row's.
    pub(crate) fn node_key(&self, node: &Arc<str>) -> Arc<str> {
        let folded = fold_shared(node);
        let known = self.nodes.get_key_value(&*folded);
        known.map_or(folded, |(key, _)| key.clone())
    }

    /// A folded service name, shared with the key that is there.
    pub(crate) fn service_key(&self, name: &Arc<str>) -> Arc<str> {
        let folded = fold_shared(name);
        let known = self.of_service.get_key_value(&*folded);
        known.map_or(folded, |(key, _)| key.clone())
    }

    pub(crate) fn share_service(&self, service: &mut Service, node: &Arc<str>, name: &Arc<str>) {
        if let Some(row) = self.node_row(node) {
            share(&mut service.node, &row.spec.node);
            share(&mut service.owner, &row.owner);
        }
        share(&mut service.spec.service, name);
        let old = (node.clone(), fold_shared(&service.spec.id));
        if let Some(old) = self.services.get(&old) {
            service.share_with(old);
        }
        if let Some((_, sibling)) = Self::under(&self.instances, name).next() {
            service.share_with(&sibling.row);
        }
    }

    pub(crate) fn share_check(&self, check: &mut Check, node: &Arc<str>) {
        if let Some(row) = self.node_row(node) {
            share(&mut check.spec.node, &row.spec.node);
            share(&mut check.owner, &row.owner);
        }
        let old = (node.clone(), fold_shared(&check.spec.check_id));
        if let Some(old) = self.checks.get(&old) {
            check.share_with(old);
        }
        let id = (node.clone(), fold_shared(&check.spec.service_id));
        let Some(service) = self.services.get(&id) else {
            return;
        };
        share(&mut check.spec.service_id, &service.spec.id);
        share(&mut check.service_name, &service.spec.service);
        share(&mut check.owner, &service.owner);
        if check.service_tags == service.spec.tags {
            check.service_tags = service.spec.tags.clone();
        }
        let name = fold_shared(&service.spec.service);
        let sibling = Self::under(&self.instances, &name).next();
        if let Some((_, entry)) = sibling
            && let Some(sibling) = entry.checks.first()
        {
            check.share_with(sibling);
        }
    }
}
