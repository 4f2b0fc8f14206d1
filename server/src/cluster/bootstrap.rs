//! How servers without data become one cluster, and never two: the decision, pure.
//!
//! The lowest id collects a promise, synced to disk, from all expected servers for one exact list of ids and a fresh
//! cluster id; a data directory promises once in its life, freed only when the proposer has durably given the plan up. Only
//! with every promise in hand does the proposer write the cluster's id to its own disk and initialise. An empty
//! server that sees any server with data joins it and never initialises.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::messages::About;
use crate::identity::Promise;

/// What a server without a log does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Look again later; the reason is for the log.
    Wait(String),
    /// Ask the servers of this cluster to be let in.
    Join(Uuid),
    /// Promise to oneself a fresh cluster of these servers, then collect.
    Propose(Vec<Uuid>),
    /// Ask every server of the list for its promise; initialise when all have given it.
    Collect(Promise),
    /// Durably forget one's own plan.
    GiveUp(Promise),
}

/// Promises of others that this server, their proposer, has given up: each is to be freed.
pub fn promises_to_free(me: &About, others: &[About]) -> Vec<(Uuid, Promise)> {
    others
        .iter()
        .filter_map(|other| {
            let promise = other.promise.as_ref()?;
            let void = promise.proposer == me.id
                && me.promise.as_ref().map(|own| own.cluster) != Some(promise.cluster)
                && me.cluster != Some(promise.cluster);
            void.then(|| (other.id, promise.clone()))
        })
        .collect()
}

/// Decides what `me`, whose log is empty, does next. `missing_long`: some server of its own plan has not answered for so
/// long that the plan may be given up.
pub fn decide(me: &About, others: &[About], missing_long: bool) -> Step {
    if let Some(cluster) = me.cluster {
        return match &me.promise {
            // The promises are in hand; what is left is to initialise, and to ask again does no harm.
            Some(promise) if promise.cluster == cluster && promise.proposer == me.id => {
                Step::Collect(promise.clone())
            }
            Some(promise) if promise.cluster == cluster => {
                Step::Wait(format!("waiting for the leader of cluster {cluster}"))
            }
            _ => Step::Join(cluster),
        };
    }
    if let Some(found) = others.iter().find(|other| other.has_data()) {
        return beside_data(me, found, others);
    }
    match &me.promise {
        Some(promise) if promise.proposer == me.id => own_plan(me, promise, others, missing_long),
        Some(promise) => Step::Wait(format!(
            "promised cluster {} to server {}; waiting for it",
            promise.cluster, promise.proposer
        )),
        None => without_promise(me, others),
    }
}

/// There is a server with data: never initialise.
fn beside_data(me: &About, found: &About, others: &[About]) -> Step {
    let Some(cluster) = found.cluster else {
        return Step::Wait(format!(
            "server {} at {} holds data but does not say of which cluster",
            found.id, found.address
        ));
    };
    match &me.promise {
        Some(promise) if promise.cluster == cluster => Step::Wait(format!(
            "cluster {cluster} has formed; waiting for its leader"
        )),
        Some(promise) => Step::Wait(format!(
            "this data directory promised cluster {} to server {} at the bootstrap, but cluster {cluster} exists: \
             if the promised one was never formed, empty this data directory to join",
            promise.cluster, promise.proposer
        )),
        None => {
            let with_data = others.iter().filter(|other| other.has_data()).count();
            let quorum = me.expect as usize / 2 + 1;
            if with_data < quorum && others.iter().all(|other| other.leader.is_none()) {
                return Step::Wait(format!(
                    "only {with_data} of {} servers hold data of cluster {cluster}, fewer than a quorum, and none leads: bring \
                     the others back with their data directories, or form a new cluster and restore a snapshot \
                     (rollcall snapshot restore)",
                    me.expect
                ));
            }
            Step::Join(cluster)
        }
    }
}

fn own_plan(me: &About, promise: &Promise, others: &[About], missing_long: bool) -> Step {
    let seen: BTreeSet<Uuid> = others.iter().map(|other| other.id).chain([me.id]).collect();
    let missing: Vec<_> = promise.ids.iter().filter(|id| !seen.contains(id)).collect();
    if missing.is_empty() {
        return Step::Collect(promise.clone());
    }
    // Giving up costs nothing, but only makes sense when others could take the place of those who are missing.
    if missing_long && seen.len() >= me.expect as usize {
        return Step::GiveUp(promise.clone());
    }
    Step::Wait(format!(
        "waiting for servers {missing:?} of the cluster to be formed"
    ))
}

fn without_promise(me: &About, others: &[About]) -> Step {
    if me.expect == 0 {
        return Step::Wait("no bootstrap_expect here and no server with data in sight".into());
    }
    let expect = me.expect as usize;
    let mut free: BTreeSet<Uuid> = others
        .iter()
        .filter(|other| other.promise.is_none())
        .map(|other| other.id)
        .collect();
    free.insert(me.id);
    if free.len() < expect {
        let promised = others
            .iter()
            .filter(|other| other.promise.is_some())
            .count();
        return Step::Wait(format!(
            "{} of {expect} expected servers in sight without a promise, {promised} with one",
            free.len()
        ));
    }
    if let Some(other) = others
        .iter()
        .find(|other| other.expect != 0 && other.expect != me.expect)
    {
        return Step::Wait(format!(
            "bootstrap_expect is {} here and {} at server {} ({}): make them equal",
            me.expect, other.expect, other.id, other.address
        ));
    }
    let list: Vec<Uuid> = free.into_iter().take(expect).collect();
    match list.first() {
        Some(lowest) if *lowest == me.id => Step::Propose(list),
        Some(lowest) => Step::Wait(format!(
            "server {lowest} has the lowest id and forms the cluster"
        )),
        None => Step::Wait("no server in sight".into()),
    }
}

/// Whether `me` may give a promise. `Ok` means: it is to be synced to disk (if it is not there yet), then granted.
pub fn may_promise(me: &About, asked: &Promise) -> Result<(), String> {
    if !asked.ids.contains(&me.id) {
        return Err(format!("server {} is not on the list", me.id));
    }
    if asked.ids.iter().min() != Some(&asked.proposer) {
        return Err("the proposer must have the lowest id of the list".into());
    }
    match (&me.promise, me.cluster) {
        (Some(given), _) if given == asked => Ok(()),
        (_, Some(cluster)) => Err(format!("server {} belongs to cluster {cluster}", me.id)),
        (Some(given), None) => Err(format!(
            "server {} promised cluster {} to server {}",
            me.id, given.cluster, given.proposer
        )),
        (None, None) if me.initialised => Err(format!("server {} holds data", me.id)),
        (None, None) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
