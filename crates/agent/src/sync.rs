//! Anti-entropy: one task that keeps the catalog like this node.
//!
//! ```text
//! what wakes it                        what it does
//! a change here                        plans what is marked, writes it
//! this node's rows changed             compares everything, writes the difference: a loss is repaired at once
//! every minute (and a bit)             reads the rows afresh and compares everything
//! a read or write failed               the same, after a pause that grows
//! ```
//! It owns a copy of the node's rows as it last saw them. Parked reads carry the index of that copy, so nothing that happens
//! between two of them is missed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rollcall_rt as rt;

use crate::agent::Agent;
use crate::plan::{Plan, Scope, Writer, plan};
use crate::registry::{BATCH_MAX, Boxed, ReadError, Registry, Seen, WriteError};
use crate::rows::{Change, Key, Rows};

/// How often everything is compared though nothing seems to have changed. Consul's; a quarter more at most, so that agents that
/// started together do not compare together.
const FULL_EVERY: Duration = Duration::from_secs(60);
/// Pause between two reads of the rows: many changes of one node are seen together.
const READ_PAUSE: Duration = Duration::from_millis(50);
/// First pause after a failure; doubled up to the longest.
const RETRY_MIN: Duration = Duration::from_millis(100);
/// Longest pause after a failure: what a cluster that comes back has to wait for its agents.
const RETRY_MAX: Duration = Duration::from_secs(15);

type Reading = Boxed<'static, Result<(Rows, Seen), ReadError>>;

/// The task's state.
pub(crate) struct Sync {
    agent: Arc<Agent>,
    registry: Arc<dyn Registry>,
    writer: Writer,
    rows: Option<Rows>,
    seen: Option<Seen>,
    retry: Duration,
    /// Changes that were refused: tried again when everything is compared by the clock, not with every change here.
    refused: Vec<Change>,
    /// What was said in the log, so that it is said once.
    said: BTreeSet<(Key, String)>,
}

impl Sync {
    pub(crate) fn new(agent: Arc<Agent>, registry: Arc<dyn Registry>, writer: Writer) -> Self {
        Sync {
            agent,
            registry,
            writer,
            rows: None,
            seen: None,
            retry: RETRY_MIN,
            refused: Vec::new(),
            said: BTreeSet::new(),
        }
    }

    /// Runs for ever; whoever owns the task ends it.
    pub(crate) async fn run(mut self) {
        let mut changed = self.agent.subscribe();
        let mut reading = self.read(None, Duration::ZERO);
        let mut full_at = rt::Instant::now() + jittered(FULL_EVERY);
        loop {
            let outcome = tokio::select! {
                biased;
                read = &mut reading => match read {
                    Ok((rows, seen)) => {
                        self.rows = Some(rows);
                        self.seen = Some(seen);
                        reading = self.read(self.seen, READ_PAUSE);
                        self.act(Scope::Full).await
                    }
                    Err(error) => Err(error.to_string()),
                },
                // The sender lives in the agent, which this task holds.
                _ = changed.changed(), if self.rows.is_some() => self.act(Scope::Marked).await,
                () = rt::sleep_until(full_at) => {
                    full_at = rt::Instant::now() + jittered(FULL_EVERY);
                    self.refused.clear();
                    reading = self.read(None, Duration::ZERO);
                    Ok(())
                }
            };
            match outcome {
                Ok(()) => self.retry = RETRY_MIN,
                Err(error) => {
                    tracing::warn!(%error, pause = ?self.retry, "the catalog is not like this node yet");
                    self.agent.note_sync_failed();
                    self.rows = None;
                    reading = self.read(None, jittered(self.retry));
                    self.retry = (self.retry * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// A read that begins after a pause.
    fn read(&self, seen: Option<Seen>, pause: Duration) -> Reading {
        let registry = Arc::clone(&self.registry);
        Box::pin(async move {
            if !pause.is_zero() {
                rt::sleep(pause).await;
            }
            registry.rows(seen).await
        })
    }

    /// Plans and writes until there is nothing to write.
    async fn act(&mut self, scope: Scope) -> Result<(), String> {
        let Some(rows) = &self.rows else {
            return Ok(());
        };
        let version = self.agent.version();
        let now = self.agent.now();
        let plan = self.agent.with_local(|local| {
            if scope == Scope::Full {
                local.adopt(rows, &self.writer.owner, now);
            }
            local.release_outputs(now);
            let plan = plan(local, rows, &self.writer, scope, now);
            local.note_in_sync(&plan.in_sync);
            plan
        });
        self.say(&plan);
        let mut changes = plan.changes;
        changes.retain(|change| !self.refused.contains(change));
        for batch in changes.chunks(BATCH_MAX) {
            self.write(batch.to_vec()).await?;
        }
        self.agent.note_synced(version);
        Ok(())
    }

    /// Writes a batch; changes that are refused are said and left out, the rest is written.
    async fn write(&mut self, mut batch: Vec<Change>) -> Result<(), String> {
        while !batch.is_empty() {
            match self.registry.write(&batch).await {
                Ok(()) => {
                    let now = self.agent.now();
                    for change in &batch {
                        tracing::debug!(change = %name_of(change), "the catalog has it");
                        if let Some(rows) = &mut self.rows {
                            rows.apply(change, &self.writer.owner);
                        }
                        self.agent
                            .with_local(|local| local.note_written(change, now));
                    }
                    return Ok(());
                }
                Err(WriteError::Refused { at, words }) if at < batch.len() => {
                    let refused = batch.remove(at);
                    let what = name_of(&refused);
                    tracing::error!(change = %what, reason = %words, "the servers refused a row of this node");
                    if matches!(refused, Change::SetNode(_)) {
                        return Err(format!("the node is not registered: {words}"));
                    }
                    self.refused.push(refused);
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    /// Logs, once each, whose rows are taken over and whose stand in the way.
    fn say(&mut self, plan: &Plan) {
        for key in &plan.taken_over {
            if self.said.insert((key.clone(), crate::rows::API.to_owned())) {
                tracing::warn!(row = ?key, "this agent takes over a row that was written through the catalog's API");
            }
        }
        for (key, owner) in &plan.in_the_way {
            if self.said.insert((key.clone(), owner.clone())) {
                tracing::error!(row = ?key, %owner, "this node's registration has the id of a row that another writer owns; it stays theirs");
            }
        }
    }
}

fn name_of(change: &Change) -> String {
    match change {
        Change::SetNode(spec) => format!("node {}", spec.node),
        Change::SetService(spec) => format!("service {}", spec.id),
        Change::SetCheck(spec) => format!("check {}", spec.check_id),
        Change::DeleteService(id) => format!("removal of service {id}"),
        Change::DeleteCheck(id) => format!("removal of check {id}"),
    }
}

/// Up to a quarter more.
fn jittered(duration: Duration) -> Duration {
    let share = u32::try_from(rt::random_u64() % 1024).unwrap_or(0);
    duration + duration / 4096 * share
}
