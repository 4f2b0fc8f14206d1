//! The runners as a whole: checks set, changed and removed while they run.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::*;
use crate::checks::{Bounds, Checks, Config};
use crate::definition::CheckResult;
use alias::{Registry, health};
use server::{Canned, Then, refusing};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

struct Running {
    checks: Checks,
    results: mpsc::Receiver<CheckResult>,
    registry: Arc<Registry>,
}

fn start(bounds: Bounds) -> Running {
    let (sender, results) = mpsc::channel(4);
    let registry = Arc::new(Registry::default());
    let config = Config {
        bounds,
        ..Config::default()
    };
    Running {
        checks: Checks::start(config, Arc::clone(&registry) as _, sender),
        results,
        registry,
    }
}

impl Running {
    async fn next(&mut self) -> CheckResult {
        let next = tokio::time::timeout(PATIENCE, self.results.recv()).await;
        next.expect("a result must come")
            .expect("the runners must live")
    }
}

fn check(id: &str, url: String) -> Definition {
    definition(id, http_kind(get(url), PATIENCE))
}

#[tokio::test]
async fn each_check_is_told_once_and_again_when_it_changes() {
    let server = Canned::in_turn(vec![
        OK.to_owned(),
        OK.to_owned(),
        "HTTP/1.1 500 No\r\n\r\n".to_owned(),
    ])
    .await;
    let mut running = start(Config::default().bounds);
    running.checks.set(&check("web", server.url("/")));
    let first = running.next().await;
    assert_eq!((first.id.as_str(), first.status), ("web", Status::Passing));
    let second = running.next().await;
    assert_eq!(second.status, Status::Critical, "{second:?}");
    assert_eq!(
        server.requests().len(),
        3,
        "the second run said nothing new"
    );
}

#[tokio::test]
async fn a_check_that_hangs_holds_up_no_other_and_one_place_is_shared_in_turn() {
    let silent = Canned::answering("", Then::Hang).await;
    let server = Canned::answering(OK, Then::Close).await;
    let mut running = start(Bounds {
        network: 2,
        process: 1,
    });
    running.checks.set(&check("silent", silent.url("/")));
    for number in 0..20 {
        running
            .checks
            .set(&check(&format!("web{number}"), server.url("/")));
    }
    let mut told = BTreeMap::new();
    while told.len() < 20 {
        let result = running.next().await;
        told.insert(result.id, result.status);
    }
    assert!(
        told.values().all(|status| *status == Status::Passing),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_check_that_is_removed_or_replaced_is_not_told_any_more() {
    let server = Canned::answering(OK, Then::Close).await;
    let refused = refusing().await;
    let mut running = start(Config::default().bounds);
    running.checks.set(&check("gone", server.url("/")));
    running
        .checks
        .set(&check("web", format!("http://{refused}/")));
    running.checks.remove("gone");
    assert_eq!(running.checks.len(), 1);
    let result = running.next().await;
    assert_eq!(
        (result.id.as_str(), result.status),
        ("web", Status::Critical)
    );
    running.checks.set(&check("web", server.url("/")));
    let result = running.next().await;
    assert_eq!(
        (result.id.as_str(), result.status),
        ("web", Status::Passing)
    );
    running.checks.remove("web");
    assert!(running.checks.is_empty());
}

#[tokio::test]
async fn an_alias_elsewhere_is_followed_until_it_is_removed() {
    let mut running = start(Config::default().bounds);
    let alias = Kind::Alias {
        node: "n2".to_owned(),
        service_id: "db".to_owned(),
    };
    running.checks.set(&definition("alias", alias));
    running.registry.say(Ok(health(1, Status::Warning)));
    let result = running.next().await;
    assert_eq!(
        (result.id.as_str(), result.status),
        ("alias", Status::Warning)
    );
    running.checks.remove("alias");
    let server = Canned::answering(OK, Then::Close).await;
    running.registry.say(Ok(health(2, Status::Critical)));
    running.checks.set(&check("web", server.url("/")));
    assert_eq!(running.next().await.id, "web");
}

#[tokio::test]
async fn when_the_handle_is_dropped_all_ends() {
    let server = Canned::answering(OK, Then::Close).await;
    let mut running = start(Config::default().bounds);
    running.checks.set(&check("web", server.url("/")));
    let alias = Kind::Alias {
        node: "n2".to_owned(),
        service_id: String::new(),
    };
    running.checks.set(&definition("alias", alias));
    running.next().await;
    drop(running.checks);
    let end = tokio::time::timeout(PATIENCE, async {
        while running.results.recv().await.is_some() {}
    });
    end.await
        .expect("every task must drop its end of the channel");
}
