//! What clients try once all faults are over: every server must serve, and a snapshot must come back whole.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use rollcall_server::rt;

use crate::client::{Answer, Client};

/// Answers are due this soon once all is well.
const PATIENCE: Duration = Duration::from_secs(3);
/// And this soon when a leader may die meanwhile.
const PATIENCE_IN_TROUBLE: Duration = Duration::from_secs(10);
/// A server that died is back by then.
const BACK_WITHIN: Duration = Duration::from_millis(500);
/// Restores tried while a leader dies: one more than leaders die.
const RESTORES_MAX: usize = 2;
/// Keys that a restore must bring back together.
const KEYS: usize = 5;
/// "old" and "new" as answers show them.
const OLD: &str = "b2xk";
const NEW: &str = "bmV3";

/// Every server takes a write, shows everybody's, and wakes those who wait.
pub(crate) async fn probe(addresses: &[SocketAddr]) -> Result<(), String> {
    let mut clients: Vec<Client> = addresses.iter().map(|at| Client::new(*at)).collect();
    for number in 0..clients.len() {
        let put = format!("/v1/kv/p/{number}");
        ask(&mut clients[number], Method::PUT, &put, "x", PATIENCE).await?;
        for client in &mut clients {
            ask(client, Method::GET, &put, "", PATIENCE).await?;
        }
    }
    let first = ask(&mut clients[0], Method::GET, "/v1/kv/p/0", "", PATIENCE).await?;
    let parked: Vec<_> = addresses
        .iter()
        .map(|address| {
            let mut client = Client::new(*address);
            let path = format!("/v1/kv/p/0?index={}&wait=20s", first.index);
            rt::spawn(async move { ask(&mut client, Method::GET, &path, "", PATIENCE).await })
        })
        .collect();
    rt::sleep(Duration::from_millis(200)).await;
    ask(
        &mut clients[1],
        Method::PUT,
        "/v1/kv/p/0",
        "woken",
        PATIENCE,
    )
    .await?;
    for parked in parked {
        let answer = parked.await.map_err(|error| error.to_string())??;
        if answer.index <= first.index {
            return Err(format!("a parked query woke at {}", answer.index));
        }
    }
    Ok(())
}

/// Saves, changes everything, and restores through another server. Half a file changes nothing; a whole one changes all or
/// nothing, whatever dies meanwhile, and the index moves with the answer. `begun` is set when the restore is sent.
pub(crate) async fn restore(
    addresses: &[SocketAddr],
    in_trouble: bool,
    begun: &AtomicBool,
) -> Result<(), String> {
    let mut clients: Vec<Client> = addresses.iter().map(|at| Client::new(*at)).collect();
    write_all(&mut clients, "old").await?;
    let saved = ask(&mut clients[0], Method::GET, "/v1/snapshot", "", PATIENCE).await?;
    write_all(&mut clients, "new").await?;
    let half = saved.body.slice(..saved.body.len() / 2);
    let answer = put_snapshot(&mut clients[1], half).await?;
    if answer.status != 400 {
        return Err(format!(
            "half a snapshot: {} {}",
            answer.status,
            answer.text()
        ));
    }
    let before = ask(
        &mut clients[0],
        Method::GET,
        "/v1/kv/x/?recurse",
        "",
        PATIENCE,
    )
    .await?;
    if shown(&before)? != NEW {
        return Err("half a snapshot was restored".to_owned());
    }
    begun.store(true, Ordering::Relaxed);
    for _ in 0..RESTORES_MAX {
        // The one that is asked may be the one that dies.
        let answer = put_snapshot(&mut clients[1], saved.body.clone()).await;
        let done = matches!(&answer, Ok(answer) if answer.status == 200);
        let patience = PATIENCE_IN_TROUBLE;
        for client in &mut clients {
            let path = "/v1/kv/x/?recurse";
            let mut now = ask(client, Method::GET, path, "", patience).await;
            if in_trouble && now.is_err() {
                rt::sleep(BACK_WITHIN).await;
                now = ask(client, Method::GET, path, "", patience).await;
            }
            let now = now?;
            let found = shown(&now)?;
            if done && (found != OLD || now.index == before.index) {
                return Err(format!("restored, and found {found} at {}", now.index));
            }
        }
        if done {
            return Ok(());
        }
        if !in_trouble {
            return Err(format!("the restore failed: {answer:?}"));
        }
    }
    Err("no restore came through".to_owned())
}

async fn write_all(clients: &mut [Client], value: &str) -> Result<(), String> {
    for number in 0..KEYS {
        let client = number % clients.len();
        let path = format!("/v1/kv/x/{number}");
        ask(&mut clients[client], Method::PUT, &path, value, PATIENCE).await?;
    }
    Ok(())
}

/// Which of the two values all keys have.
fn shown(answer: &Answer) -> Result<&'static str, String> {
    let text = answer.text();
    let count = |value: &str| text.matches(&format!("\"{value}\"")).count();
    match (count(OLD), count(NEW)) {
        (KEYS, 0) => Ok(OLD),
        (0, KEYS) => Ok(NEW),
        mixed => Err(format!(
            "old and new together, or lost: {mixed:?} of {KEYS} in {text}"
        )),
    }
}

async fn put_snapshot(client: &mut Client, body: Bytes) -> Result<Answer, String> {
    let path = "/v1/snapshot";
    let answer = client.call(Method::PUT, path, body, PATIENCE_IN_TROUBLE);
    answer
        .await
        .map_err(|failure| format!("PUT {path}: {failure:?}"))
}

/// A request that must be answered with 200.
async fn ask(
    client: &mut Client,
    method: Method,
    path: &str,
    body: &str,
    patience: Duration,
) -> Result<Answer, String> {
    let body = Bytes::from(body.to_owned());
    let answer = client.call(method.clone(), path, body, patience);
    let answer = answer
        .await
        .map_err(|failure| format!("{method} {path}: {failure:?}"))?;
    if answer.status != 200 {
        let text = answer.text();
        return Err(format!("{method} {path}: {} {text}", answer.status));
    }
    Ok(answer)
}
