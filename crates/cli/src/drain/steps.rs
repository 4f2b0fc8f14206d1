//! The steps of a drain, each of which waits until the catalog shows what the step before did.

use std::time::Duration;

use anyhow::{Context as _, bail};
use indicatif::ProgressBar;
use rollcall_client::{Check, ChecksOf, Client, LongPoll, ReadOptions, Selection};
use tokio::time::Instant;

use super::Target;
use crate::output;

/// The catalog follows its agents within a second; when it has not after this it will not soon.
const CATALOG_BOUND: Duration = Duration::from_secs(30);

/// Steps of the bar that shows the grace.
const TICK: Duration = Duration::from_millis(200);

/// The service that every server has registered, which is not the agent's.
const SERVERS: &str = "consul";

/// A drain of something on one node.
pub(super) struct Drain<'a> {
    pub(super) client: &'a Client,
    pub(super) target: &'a Target,
    pub(super) node: &'a str,
    pub(super) grace: Duration,
}

/// How it ended.
pub(super) enum Ended {
    /// As it should.
    Drained,
    /// Somebody ended the maintenance before the deregistration.
    Cancelled,
    /// By a signal.
    Interrupted,
}

impl Drain<'_> {
    /// All of it. May be begun again at any point: what is done already is done.
    pub(super) async fn run(&self, reason: &str) -> anyhow::Result<Ended> {
        let shown = self.target.shown(self.node);
        self.target.maintain(self.client, Some(reason)).await?;
        let of = ChecksOf::Node(self.node.to_owned());
        let read = ReadOptions::default();
        let health = self.client.health();
        let mut checks = health.watch_checks(&of, &Selection::default(), read.clone());
        let check = self.target.check();
        let there = |checks: &Vec<Check>| checks.iter().any(|one| one.check_id == check);
        if let Err(error) = self.shows("the maintenance", &mut checks, there).await {
            // Ended before the catalog had even shown it.
            return match self.target.maintained(self.client).await {
                Ok(false) => Ok(Ended::Cancelled),
                Ok(true) | Err(_) => Err(error),
            };
        }
        let grace = self.grace;
        output::line(format_args!(
            "Maintenance: {shown} gets no new requests; deregistration in {grace:?}"
        ))?;
        let cancelled = tokio::select! {
            () = countdown(grace) => false,
            () = gone(&mut checks, there) => true,
        };
        // The agent itself knows it better than the catalog.
        if cancelled || !self.target.maintained(self.client).await? {
            return Ok(Ended::Cancelled);
        }
        let ids = self.deregister().await?;
        let catalog = self.client.catalog();
        let mut on_node = catalog.watch_node_services(self.node, read);
        let mut others = Vec::new();
        self.shows("the deregistration", &mut on_node, |left| {
            others = left.services.iter().map(|one| one.id.clone()).collect();
            !others.iter().any(|id| ids.contains(id))
        })
        .await?;
        output::line(format_args!("Drained: {shown}"))?;
        others.retain(|id| id != SERVERS);
        if matches!(self.target, Target::Node) {
            if !others.is_empty() {
                let others = others.join(", ");
                output::line(format_args!(
                    "Still in the catalog, where others registered them: {others}"
                ))?;
            }
            output::line(
                "The node stays under maintenance; rollcall drain --node --cancel ends that",
            )?;
        }
        Ok(Ended::Drained)
    }

    /// Deregisters, and gives the ids.
    async fn deregister(&self) -> anyhow::Result<Vec<String>> {
        let agent = self.client.agent();
        let ids = match self.target {
            Target::Service(id) => vec![id.clone()],
            Target::Node => {
                let services = agent.services(&Selection::default()).await;
                let services = services.context("querying the agent")?;
                let ids = services.into_keys();
                ids.filter(|id| id != SERVERS).collect()
            }
        };
        for id in &ids {
            // One that somebody else deregistered meanwhile is as good.
            let found = agent.deregister_service(id).await;
            if found.with_context(|| format!("deregistering {id}"))? {
                output::line(format_args!("Deregistered service: {id}"))?;
            }
        }
        Ok(ids)
    }

    /// Waits until the catalog shows it.
    async fn shows<T: 'static>(
        &self,
        what: &str,
        poll: &mut LongPoll<T>,
        mut there: impl FnMut(&T) -> bool,
    ) -> anyhow::Result<()> {
        let mut last = None;
        let seen = async {
            loop {
                match poll.next().await {
                    Ok(answer) if there(&answer.value) => return,
                    Ok(_) => last = None,
                    Err(error) => last = Some(error),
                }
            }
        };
        if tokio::time::timeout(CATALOG_BOUND, seen).await.is_ok() {
            return Ok(());
        }
        let node = self.node;
        let flags = self.target.flags();
        let advice = format!(
            "the catalog does not show {what} on node {node} after {CATALOG_BOUND:?}: does the agent reach its servers? The \
             maintenance stays; rollcall drain {flags} goes on, with --cancel it ends that"
        );
        match last {
            Some(error) => Err(error).context(advice),
            None => bail!(advice),
        }
    }
}

/// Until the check is gone. A server that does not answer says nothing about it.
async fn gone(checks: &mut LongPoll<Vec<Check>>, there: impl Fn(&Vec<Check>) -> bool) {
    loop {
        match checks.next().await {
            Ok(answer) if !there(&answer.value) => return,
            Ok(_) | Err(_) => {}
        }
    }
}

/// The grace, with a bar on a terminal.
async fn countdown(grace: Duration) {
    let bar: ProgressBar = output::time_progress("draining", grace);
    let begun = Instant::now();
    loop {
        let passed = begun.elapsed();
        if passed >= grace {
            break;
        }
        bar.set_position(passed.as_millis().try_into().unwrap_or(u64::MAX));
        tokio::time::sleep(TICK.min(grace.saturating_sub(passed))).await;
    }
    bar.finish_and_clear();
}
