//! The agent with its anti-entropy over a registry in memory.

use std::sync::atomic::AtomicU64;

use rollcall_rt::disk::RealDisk;

use super::*;
use crate::registry::{Boxed, ReadError, Seen, WriteError};
use crate::rows::{Change, Row, Rows};

const BOUND: Duration = Duration::from_secs(5);

/// A catalog of one node.
#[derive(Default)]
struct Catalog {
    rows: Mutex<Rows>,
    index: watch::Sender<u64>,
    writes: AtomicU64,
    refuses: Mutex<Option<String>>,
    down: AtomicBool,
}

impl Catalog {
    fn edit(&self, run: impl FnOnce(&mut Rows)) {
        run(&mut self.rows.lock());
        self.index.send_modify(|index| *index += 1);
    }

    fn services(&self) -> Vec<String> {
        self.rows.lock().services.keys().cloned().collect()
    }
}

impl Registry for Arc<Catalog> {
    fn rows(&self, seen: Option<Seen>) -> Boxed<'_, Result<(Rows, Seen), ReadError>> {
        Box::pin(async move {
            let mut index = self.index.subscribe();
            if let Some(seen) = seen {
                let _ = index.wait_for(|index| *index > seen.services).await;
            }
            if self.down.load(Ordering::Relaxed) {
                return Err(ReadError("down".into()));
            }
            let seen = *index.borrow();
            let rows = self.rows.lock().clone();
            Ok((
                rows,
                Seen {
                    services: seen,
                    checks: seen,
                    epoch: 0,
                },
            ))
        })
    }

    fn write<'a>(&'a self, changes: &'a [Change]) -> Boxed<'a, Result<(), WriteError>> {
        Box::pin(async move {
            self.writes.fetch_add(1, Ordering::Relaxed);
            if self.down.load(Ordering::Relaxed) {
                return Err(WriteError::Failed("down".into()));
            }
            let refuses = self.refuses.lock().clone();
            let refused = |change: &Change| matches!(change, Change::SetService(spec) if Some(&spec.id) == refuses.as_ref());
            if let Some(at) = changes.iter().position(refused) {
                return Err(WriteError::Refused {
                    at,
                    words: "no".into(),
                });
            }
            self.edit(|rows| changes.iter().for_each(|change| rows.apply(change, OWNER)));
            Ok(())
        })
    }
}

const ID: uuid::Uuid = uuid::Uuid::from_u128(7);
const OWNER: &str = "agent:00000000-0000-0000-0000-000000000007";

struct NoRunners;

impl Runners for NoRunners {
    fn set(&self, _: &Definition) {}
    fn remove(&self, _: &str) {}
}

fn agent(store: Option<Store>) -> Arc<Agent> {
    let config = Config {
        node: "n".into(),
        node_id: ID,
        datacenter: "dc1".into(),
        node_row: None,
        check_update_interval: Duration::from_secs(300),
    };
    Agent::open(config, store, Arc::new(NoRunners), Vec::new(), Vec::new()).unwrap()
}

fn start(agent: &Arc<Agent>, catalog: &Arc<Catalog>) -> mpsc::Sender<CheckResult> {
    let (results, receiver) = mpsc::channel(RESULTS_MAX);
    let registry: Arc<dyn Registry> = Arc::new(Arc::clone(catalog));
    rt::spawn(Arc::clone(agent).run(registry, receiver));
    results
}

fn service(id: &str) -> ServiceSpec {
    ServiceSpec {
        id: id.into(),
        service: "web".into(),
        ..ServiceSpec::default()
    }
}

fn ttl(id: &str, service: &str) -> Definition {
    let json = format!(
        r#"{{"id": "{id}", "name": "{id}", "service_id": "{service}", "kind": {{"ttl": {{"ttl": "1h"}}}}}}"#
    );
    serde_json::from_str(&json).unwrap()
}

/// Waits until something holds of the catalog.
async fn until(
    catalog: &Catalog,
    what: &str,
    holds: impl Fn(&Rows) -> bool + Send + std::marker::Sync,
) {
    let mut index = catalog.index.subscribe();
    let waits = async {
        while !holds(&catalog.rows.lock()) {
            index.changed().await.unwrap();
        }
    };
    if rt::timeout(BOUND, waits).await.is_none() {
        panic!(
            "{what} within {BOUND:?}; last seen: {:?}",
            catalog.rows.lock()
        );
    }
}

#[tokio::test]
async fn the_catalog_has_a_registration_before_its_client_is_answered() {
    let (agent, catalog) = (agent(None), Arc::new(Catalog::default()));
    let _results = start(&agent, &catalog);
    agent
        .register_service(service("a"), vec![ttl("c", "a")], false)
        .await
        .unwrap();
    assert_eq!(catalog.services(), ["a"]);
    agent
        .update_check("c", Status::Passing, "fine")
        .await
        .unwrap();
    assert_eq!(catalog.rows.lock().checks["c"].spec.status, Status::Passing);
    agent.deregister_service("a").await.unwrap();
    assert_eq!(*catalog.rows.lock(), Rows::default());
}

#[tokio::test]
async fn a_row_that_is_lost_or_overwritten_comes_back_and_others_stay() {
    let (agent, catalog) = (agent(None), Arc::new(Catalog::default()));
    let _results = start(&agent, &catalog);
    agent
        .register_service(service("a"), Vec::new(), false)
        .await
        .unwrap();
    let row = |id: &str, owner: &str| Row {
        spec: ServiceSpec {
            port: 9,
            ..service(id)
        },
        owner: owner.into(),
    };
    catalog.edit(|rows| {
        rows.services
            .insert("theirs".into(), row("theirs", "operator:c"));
        rows.services
            .insert("client's".into(), row("client's", "api"));
        rows.services.remove("a");
    });
    until(&catalog, "the lost row", |rows| {
        rows.services.contains_key("a")
    })
    .await;
    catalog.edit(|rows| drop(rows.services.insert("a".into(), row("a", "api"))));
    until(&catalog, "the overwritten row", |rows| {
        rows.services["a"].spec.port == 0
    })
    .await;
    assert_eq!(catalog.services(), ["a", "client's", "theirs"]);
    // Everything at once, as after a restore.
    catalog.edit(|rows| *rows = Rows::default());
    until(&catalog, "the wiped row", |rows| {
        rows.services.contains_key("a")
    })
    .await;
}

#[tokio::test]
async fn a_row_that_is_refused_does_not_hold_up_the_others() {
    let (agent, catalog) = (agent(None), Arc::new(Catalog::default()));
    *catalog.refuses.lock() = Some("bad".into());
    let _results = start(&agent, &catalog);
    for id in ["bad", "good"] {
        agent
            .register_service(service(id), Vec::new(), false)
            .await
            .unwrap();
    }
    until(&catalog, "the good row", |rows| {
        rows.services.contains_key("good")
    })
    .await;
    let writes = catalog.writes.load(Ordering::Relaxed);
    agent
        .register_service(service("other"), Vec::new(), false)
        .await
        .unwrap();
    // One write for the new one: what was refused is not tried with every change.
    assert_eq!(catalog.writes.load(Ordering::Relaxed), writes + 1);
}

#[tokio::test]
async fn a_registration_is_kept_while_no_server_answers_and_follows_later() {
    let (agent, catalog) = (agent(None), Arc::new(Catalog::default()));
    catalog.down.store(true, Ordering::Relaxed);
    let _results = start(&agent, &catalog);
    agent
        .register_service(service("a"), Vec::new(), false)
        .await
        .unwrap();
    assert_eq!(agent.with_local(|local| local.services().len()), 1);
    assert!(catalog.services().is_empty());
    catalog.down.store(false, Ordering::Relaxed);
    until(&catalog, "the row", |rows| rows.services.contains_key("a")).await;
}

#[tokio::test]
async fn registrations_and_the_health_of_ttl_checks_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = || Some(Store::open(Arc::new(RealDisk), directory.path()).unwrap());
    let catalog = Arc::new(Catalog::default());
    {
        let agent = agent(store());
        let _results = start(&agent, &catalog);
        let checks = vec![ttl("c", "a/b"), ttl("gone", "a/b")];
        agent
            .register_service(service("a/b"), checks, false)
            .await
            .unwrap();
        agent
            .register_service(service("z"), vec![ttl("of-z", "z")], false)
            .await
            .unwrap();
        agent.register_check(ttl("node", "")).await.unwrap();
        agent
            .update_check("c", Status::Warning, "hm")
            .await
            .unwrap();
        agent.service_maintenance("a/b", Some("r")).await.unwrap();
        agent.deregister_check("gone").await.unwrap();
        agent.deregister_service("z").await.unwrap();
    }
    let agent = agent(store());
    agent.with_local(|local| {
        let services: Vec<_> = local.services().keys().cloned().collect();
        assert_eq!(services, ["a/b"]);
        let checks: Vec<_> = local.checks().keys().cloned().collect();
        assert_eq!(checks, ["_service_maintenance:a/b", "c", "node"]);
        assert_eq!(local.checks()["c"].status, Status::Warning);
        assert_eq!(local.checks()["c"].output, "hm");
        assert_eq!(
            local.checks()["_service_maintenance:a/b"].definition.notes,
            "r"
        );
    });
}
