//! Saving and restoring: the whole state or nothing.

use rollcall_state::State;
use tokio::io::AsyncWriteExt as _;

use super::blocking::set;
use super::wire::Server;
use crate::disk::RealDisk;
use crate::http::{HttpConfig, Spool};
use std::sync::Arc;

struct Restorable {
    server: Server,
    directory: tempfile::TempDir,
}

async fn restorable(config: HttpConfig) -> Restorable {
    let directory = tempfile::tempdir().expect("must have a temporary directory");
    let spool = Spool {
        disk: Arc::new(RealDisk),
        directory: directory.path().join("uploads"),
    };
    let server = Server::with(HttpConfig {
        spool: Some(spool),
        ..config
    })
    .await;
    Restorable { server, directory }
}

impl Restorable {
    async fn leaves_no_upload(&self) {
        let uploads = self.directory.path().join("uploads");
        let names = || {
            let entries = std::fs::read_dir(&uploads).map(|entries| entries.count());
            entries.unwrap_or(0)
        };
        self.server.until(names, |count| *count == 0).await;
    }
}

fn keys(state: &State) -> Vec<String> {
    state.kv_keys("", None).value
}

async fn saved() -> Vec<u8> {
    let source = Server::start().await;
    for i in 0..3_000 {
        source
            .door
            .apply(&set(&format!("saved/{i:04}"), &"v".repeat(400)));
    }
    let response = source.ask("GET", "/v1/snapshot", b"").await;
    assert_eq!(response.status, 200);
    assert_eq!(response.index(), source.door.state().index());
    assert!(response.body.len() > 3_000 * 400);
    response.body
}

#[tokio::test]
async fn what_was_saved_is_restored_elsewhere() {
    let archive = saved().await;
    let target = restorable(HttpConfig::default()).await;
    target.server.door.apply(&set("before", "1"));
    let before = target.server.door.state().index();
    let restored = target.server.ask("PUT", "/v1/snapshot", &archive).await;
    assert_eq!(restored.status, 200, "{}", restored.text());
    let state = target.server.door.state();
    assert_eq!(keys(&state).len(), 3_000);
    assert_eq!(keys(&state)[0], "saved/0000");
    assert!(state.index() > before);
    target.leaves_no_upload().await;
}

#[tokio::test]
async fn a_foreign_a_damaged_and_half_a_file_change_nothing() {
    let archive = saved().await;
    let target = restorable(HttpConfig::default()).await;
    target.server.door.apply(&set("before", "1"));
    let before = target.server.door.state().digest();
    let mut damaged = archive.clone();
    damaged[archive.len() / 2] ^= 1;
    let half = &archive[..archive.len() / 2];
    let cases: [(&[u8], &str); 4] = [
        (
            b"\x1f\x8b\x08 something else",
            "not a snapshot of rollcall; nothing was changed",
        ),
        (b"", "not a snapshot of rollcall; nothing was changed"),
        (&damaged, "the snapshot is damaged: "),
        (half, "the snapshot ends too early, after "),
    ];
    for (file, words) in cases {
        let refused = target.server.ask("PUT", "/v1/snapshot", file).await;
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert!(refused.text().starts_with(words), "{}", refused.text());
    }
    assert_eq!(target.server.door.state().digest(), before);
    target.leaves_no_upload().await;
}

#[tokio::test]
async fn an_upload_that_stops_half_way_changes_nothing() {
    let archive = saved().await;
    let target = restorable(HttpConfig::default()).await;
    let before = target.server.door.state().digest();
    let mut connection = target.server.connect().await;
    let head = format!(
        "PUT /v1/snapshot HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n",
        archive.len()
    );
    connection.send(head.as_bytes()).await;
    connection.send(&archive[..archive.len() - 1]).await;
    connection
        .socket
        .shutdown()
        .await
        .expect("must close its half");
    let refused = connection.response(false).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert_eq!(target.server.door.state().digest(), before);
    target.leaves_no_upload().await;
}

#[tokio::test]
async fn an_upload_over_the_limit_is_refused() {
    let config = HttpConfig {
        snapshot_bytes: 1_000,
        ..HttpConfig::default()
    };
    let target = restorable(config).await;
    let refused = target.server.ask("PUT", "/v1/snapshot", &[0; 1_001]).await;
    assert_eq!(refused.status, 413);
    target.leaves_no_upload().await;
}

#[tokio::test]
async fn a_restore_that_fails_drops_what_it_staged() {
    use crate::door::ProposeError;

    let archive = saved().await;
    let target = restorable(HttpConfig::default()).await;
    let before = keys(&target.server.door.state());
    *target.server.door.failing.lock() = Some(ProposeError::Unknown("cut".to_owned()));
    let failed = target.server.ask("PUT", "/v1/snapshot", &archive).await;
    assert_eq!(
        (failed.status, failed.text().as_str()),
        (500, "outcome unknown: cut")
    );
    *target.server.door.failing.lock() = None;
    assert_eq!(keys(&target.server.door.state()), before);
    let again = target.server.ask("PUT", "/v1/snapshot", &archive).await;
    assert_eq!(again.status, 200, "{}", again.text());
}
