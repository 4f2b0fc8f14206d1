//! Equal strings of neighbouring rows kept once.
//!
//! Instances of a service are alike: name, tags, most of their meta, and what their checks are called. A row that comes in takes the
//! strings that a sibling has already. No table of strings has to be kept or cleaned: a string lives as long as a row that uses
//! it. It is invisible but for the memory it takes.

use std::sync::Arc;

use rollcall_api::SortedMap;

use crate::command::Texts;
use crate::row::{Check, Service};

/// Takes `known` in the place of `text` where they are equal.
pub(crate) fn share(text: &mut Arc<str>, known: &Arc<str>) {
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
    pub(crate) fn share_with(&mut self, sibling: &Service) {
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
    pub(crate) fn share_with(&mut self, sibling: &Check) {
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
