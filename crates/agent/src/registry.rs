//! The catalog as anti-entropy needs it: this node's rows, as they change, and batches of changes.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use crate::rows::{Change, CheckSpec, NodeSpec, Rows, ServiceSpec};

/// A boxed future, so that `dyn Registry` is possible.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How far rows have been seen: opaque numbers of whoever gave them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Of the node and its services.
    pub services: u64,
    /// Of its checks.
    pub checks: u64,
    /// Under another one the same indexes may mean other rows.
    pub epoch: u64,
}

/// Why rows could not be read. Always safe to retry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ReadError(pub String);

/// Why a batch was not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Nothing of the batch was written, because of one change; without it the rest may be.
    #[error("{words}")]
    Refused {
        /// Its place in the batch.
        at: usize,
        /// Why.
        words: String,
    },
    /// Some of it may have been written. Safe to retry: each change says the whole row, and this agent is its only writer.
    #[error("{0}")]
    Failed(String),
}

/// Most changes of one batch: what a transaction may have.
pub const BATCH_MAX: usize = 128;

/// Reads and writes the catalog on behalf of one node's agent.
pub trait Registry: Send + Sync + 'static {
    /// The node's rows. With `seen`, once they have changed since, or after a while.
    fn rows(&self, seen: Option<Seen>) -> Boxed<'_, Result<(Rows, Seen), ReadError>>;
    /// Writes at most [`BATCH_MAX`] changes, in their order.
    fn write<'a>(&'a self, changes: &'a [Change]) -> Boxed<'a, Result<(), WriteError>>;
}

/// One write of the catalog: what `catalog/register` or `catalog/deregister` can say at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write<'a> {
    /// The node's row.
    Node(&'a NodeSpec),
    /// A service with checks of it, or checks without.
    Rows(Option<&'a ServiceSpec>, Vec<&'a CheckSpec>),
    /// A check that goes.
    NoCheck(&'a str),
    /// A service that goes.
    NoService(&'a str),
}

/// Writes of a batch, in steps: those of one step may happen in any order. Each has the places in the batch that it stands for.
pub fn steps(changes: &[Change]) -> [Vec<(Write<'_>, Vec<usize>)>; 5] {
    let mut steps: [Vec<(Write<'_>, Vec<usize>)>; 5] = Default::default();
    let mut services: BTreeMap<&str, (&ServiceSpec, Vec<&CheckSpec>, Vec<usize>)> = BTreeMap::new();
    let (mut checks, mut places) = (Vec::new(), Vec::new());
    for (place, change) in changes.iter().enumerate() {
        match change {
            Change::SetNode(spec) => steps[0].push((Write::Node(spec), vec![place])),
            Change::SetService(spec) => {
                services.insert(&spec.id, (spec, Vec::new(), vec![place]));
            }
            Change::SetCheck(spec) => match services.get_mut(spec.service_id.as_str()) {
                Some((_, of_service, its_places)) => {
                    of_service.push(spec);
                    its_places.push(place);
                }
                None => {
                    checks.push(spec);
                    places.push(place);
                }
            },
            Change::DeleteCheck(id) => steps[3].push((Write::NoCheck(id), vec![place])),
            Change::DeleteService(id) => steps[4].push((Write::NoService(id), vec![place])),
        }
    }
    let rows = |(spec, checks, places)| (Write::Rows(Some(spec), checks), places);
    steps[1] = services.into_values().map(rows).collect();
    if !checks.is_empty() {
        steps[2].push((Write::Rows(None, checks), places));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_goes_with_its_checks_and_what_hangs_on_others_comes_after_them() {
        let service = |id: &str| ServiceSpec {
            id: id.into(),
            ..ServiceSpec::default()
        };
        let check = |id: &str, service: &str| CheckSpec {
            check_id: id.into(),
            service_id: service.into(),
            ..CheckSpec::default()
        };
        let changes = [
            Change::SetService(service("a")),
            Change::SetCheck(check("of-a", "a")),
            Change::SetCheck(check("of-old", "old")),
            Change::SetCheck(check("node", "")),
            Change::DeleteCheck("x".into()),
            Change::DeleteService("y".into()),
        ];
        let (a, of_a) = (service("a"), check("of-a", "a"));
        let (of_old, node) = (check("of-old", "old"), check("node", ""));
        let found = steps(&changes);
        assert_eq!(found[0], []);
        assert_eq!(found[1], [(Write::Rows(Some(&a), vec![&of_a]), vec![0, 1])]);
        assert_eq!(
            found[2],
            [(Write::Rows(None, vec![&of_old, &node]), vec![2, 3])]
        );
        assert_eq!(found[3], [(Write::NoCheck("x"), vec![4])]);
        assert_eq!(found[4], [(Write::NoService("y"), vec![5])]);
    }
}
