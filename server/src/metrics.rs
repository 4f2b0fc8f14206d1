//! What a server exports besides its edge and its agent: Raft, the state's sizes, the audit log.
//!
//! What Raft and the state know anyway is read when somebody asks. Only durations and changes of leader are counted as they happen.

use std::sync::Arc;

use rollcall_metrics::{Counter, Descriptor, Exposition, INTERVAL, Registry};

use crate::audit::Audit;
use crate::consensus::Consensus;
use crate::raft::RaftHandle;
use crate::rt;

/// Term.
pub const TERM: Descriptor = Descriptor::gauge("raft", "term", "Current term");
/// Last entry.
pub const LAST_INDEX: Descriptor = Descriptor::gauge(
    "raft",
    "last_index",
    "Index of the last entry in this server's log",
);
/// Commit index.
pub const COMMIT_INDEX: Descriptor = Descriptor::gauge(
    "raft",
    "commit_index",
    "Index of the last entry that this server knows to be committed",
);
/// Applied index.
pub const APPLIED_INDEX: Descriptor = Descriptor::gauge(
    "raft",
    "applied_index",
    "Index of the last entry that is applied here",
);
/// Leadership.
pub const IS_LEADER: Descriptor = Descriptor::gauge(
    "raft",
    "is_leader",
    "1 while this server thinks that it leads, else 0",
);
/// Changes of leader.
pub const LEADER_CHANGES: Descriptor = Descriptor::counter(
    "raft",
    "leader_changes",
    "Times this server saw another leader than before, or none",
);
/// The disk.
pub const APPEND_DURATION: Descriptor = Descriptor::histogram(
    "raft",
    "append_duration",
    "How long this server took to make a batch of its log durable",
);
/// A write as a whole.
pub const COMMIT_DURATION: Descriptor = Descriptor::histogram(
    "raft",
    "commit_duration",
    "How long writes took on the leader from their proposal until they were applied",
);
/// Writes that wait.
pub const PENDING_WRITES: Descriptor = Descriptor::gauge(
    "raft",
    "pending_writes",
    "Writes that wait for Raft on this server",
);
/// Index of the state.
pub const INDEX: Descriptor = Descriptor::gauge("state", "index", "Index of the last change");
/// Keys.
pub const KEYS: Descriptor = Descriptor::gauge("state", "keys", "Keys of the key/value store");
/// Sessions.
pub const SESSIONS: Descriptor = Descriptor::gauge("state", "sessions", "Sessions");
/// Nodes.
pub const NODES: Descriptor = Descriptor::gauge("state", "nodes", "Nodes of the catalog");
/// Services.
pub const SERVICES: Descriptor =
    Descriptor::gauge("state", "services", "Names of services in the catalog");
/// Instances.
pub const INSTANCES: Descriptor =
    Descriptor::gauge("state", "instances", "Instances of services in the catalog");
/// Checks.
pub const CHECKS: Descriptor =
    Descriptor::gauge("state", "checks", "Checks of the catalog, by status");
/// Prepared queries.
pub const QUERIES: Descriptor = Descriptor::gauge("state", "prepared_queries", "Prepared queries");
/// The audit log.
pub const LOST_LINES: Descriptor = Descriptor::counter(
    "audit",
    "lost_lines",
    "Lines of the audit log that could not be written",
);

/// Exports a server's numbers.
pub fn export(registry: &Registry, consensus: &Arc<Consensus>, audit: Option<Audit>) {
    registry.add(APPEND_DURATION, consensus.raft.append_duration() as _);
    registry.add(COMMIT_DURATION, Arc::clone(&consensus.commit_duration) as _);
    registry.add(LEADER_CHANGES, Arc::clone(&consensus.leader_changes) as _);
    raft(registry, consensus);
    state(registry, consensus);
    registry.counters(LOST_LINES, move |line| {
        line(&[], audit.as_ref().map_or(0, Audit::lost));
    });
}

fn raft(registry: &Registry, consensus: &Arc<Consensus>) {
    let gauge = |descriptor, read: fn(&RaftHandle) -> u64| {
        let consensus = Arc::clone(consensus);
        registry.gauge(descriptor, move || read(&consensus.raft) as f64);
    };
    gauge(TERM, |raft| raft.progress().term);
    gauge(LAST_INDEX, |raft| raft.progress().last);
    gauge(COMMIT_INDEX, |raft| raft.progress().committed);
    gauge(APPLIED_INDEX, |raft| raft.progress().applied);
    gauge(IS_LEADER, |raft| u64::from(raft.leader() == Some(raft.id)));
    let pending = Arc::clone(consensus);
    registry.gauge(PENDING_WRITES, move || pending.pending_writes() as f64);
}

fn state(registry: &Registry, consensus: &Arc<Consensus>) {
    use rollcall_state::State;
    let gauge = |descriptor, read: fn(&State) -> u64| {
        let consensus = Arc::clone(consensus);
        registry.gauge(descriptor, move || {
            read(&consensus.published.state()) as f64
        });
    };
    gauge(INDEX, |state| state.index());
    gauge(KEYS, |state| state.counts().keys as u64);
    gauge(SESSIONS, |state| state.counts().sessions as u64);
    gauge(NODES, |state| state.counts().nodes as u64);
    gauge(SERVICES, |state| state.counts().services as u64);
    gauge(INSTANCES, |state| state.counts().instances as u64);
    gauge(QUERIES, |state| state.counts().queries as u64);
    let consensus = Arc::clone(consensus);
    registry.gauges(CHECKS, move |line| {
        let state = consensus.published.state();
        for status in ["passing", "warning", "critical"] {
            let checks = state.health_state(status).value.len();
            line(&[("status", status)], checks as f64);
        }
    });
}

/// A registry with what every process says of itself.
pub fn registry() -> Arc<Registry> {
    let registry = Arc::new(Registry::default());
    registry.add_process(env!("CARGO_PKG_VERSION"));
    registry
}

/// What `agent/metrics` answers, and its `Content-Type`.
pub fn render(registry: &Registry, prometheus: bool) -> (String, &'static str) {
    if prometheus {
        let text = Exposition::Text;
        return (registry.text(text), text.content_type());
    }
    let metrics = registry.json(crate::audit::go_time(rt::time_of_day()));
    let json = rollcall_api::json::to_vec(&metrics);
    let json = String::from_utf8(json).expect("JSON must be UTF-8");
    (json, "application/json")
}

/// Ends intervals of the JSON; never ends itself.
pub async fn keep_intervals(registry: Arc<Registry>) {
    let began = rt::Instant::now();
    loop {
        rt::sleep(INTERVAL).await;
        registry.tick(began.elapsed());
    }
}

/// Counts changes of leader; never ends.
pub async fn count_leader_changes(raft: &RaftHandle, changes: &Counter) {
    let mut leader = raft.leader();
    loop {
        raft.metrics_changed().await;
        let now = raft.leader();
        if now != leader {
            changes.increment();
            leader = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use rollcall_agent::metrics as agent;
    use rollcall_edge::metrics as edge;
    use rollcall_metrics::{Kind, process};

    use super::*;

    /// All there is, in the order of `docs/metrics.md`.
    fn all() -> Vec<Descriptor> {
        let server = [
            TERM,
            LAST_INDEX,
            COMMIT_INDEX,
            APPLIED_INDEX,
            IS_LEADER,
            LEADER_CHANGES,
            APPEND_DURATION,
            COMMIT_DURATION,
            PENDING_WRITES,
            INDEX,
            KEYS,
            SESSIONS,
            NODES,
            SERVICES,
            INSTANCES,
            CHECKS,
            QUERIES,
            LOST_LINES,
        ];
        let mut all = vec![
            process::BUILD,
            process::RESIDENT,
            process::CPU,
            process::OPEN_FILES,
        ];
        all.extend([
            edge::REQUESTS,
            edge::REQUEST_DURATION,
            edge::CONNECTIONS,
            edge::PARKED_QUERIES,
        ]);
        all.extend(server);
        all.extend([
            agent::RUNS,
            agent::RUN_DURATION,
            agent::LATENESS,
            agent::SYNCS,
            agent::SYNC_FAILURES,
        ]);
        all
    }

    #[test]
    fn the_documentation_lists_every_metric_as_it_is() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        let page = std::fs::read_to_string(page).expect("docs/metrics.md must be there");
        let documented: Vec<&str> = page
            .lines()
            .filter(|line| line.starts_with("| `"))
            .collect();
        let described: Vec<String> = all()
            .iter()
            .map(|metric| {
                let kind = match metric.kind {
                    Kind::Counter => "counter",
                    Kind::Gauge => "gauge",
                    Kind::Histogram => "histogram",
                };
                format!(
                    "| `{}` | {kind} | {} |",
                    metric.prometheus_name(),
                    metric.help
                )
            })
            .collect();
        assert_eq!(documented, described);
    }
}
