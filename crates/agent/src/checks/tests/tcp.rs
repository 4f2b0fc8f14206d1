//! TCP checks.

use super::*;
use server::{Canned, Then, refusing};

fn tcp(address: impl ToString, timeout: Duration) -> Kind {
    Kind::Tcp {
        every: every(Duration::from_secs(1), timeout),
        address: address.to_string(),
        tls: None,
    }
}

#[tokio::test]
async fn a_connection_that_is_accepted_passes() {
    let server = Canned::answering("", Then::Close).await;
    let words = format!("TCP connect {}: Success", server.address);
    assert_eq!(
        run(tcp(server.address, PATIENCE)).await,
        Outcome::passing(words)
    );
}

#[tokio::test]
async fn a_connection_that_is_refused_is_critical() {
    let address = refusing().await;
    let words = format!("dial tcp {address}: connect: connection refused");
    assert_eq!(run(tcp(address, PATIENCE)).await, Outcome::critical(words));
    let outcome = run(tcp("db-without-port", PATIENCE)).await;
    assert_outcome(&outcome, Status::Critical, "missing port in address");
}

/// A listener whose queue is full answers no SYN: a black hole on loopback.
#[tokio::test]
async fn a_black_hole_is_critical_when_the_time_is_over() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut filling = Vec::new();
    let silent = loop {
        let stream = tokio::net::TcpStream::connect(address);
        match tokio::time::timeout(Duration::from_millis(200), stream).await {
            Ok(stream) => filling.push(stream.unwrap()),
            Err(_) => break true,
        }
        if filling.len() > 64 {
            break false;
        }
    };
    assert!(silent, "the queue of a listener does not fill");
    let started = std::time::Instant::now();
    let outcome = run(tcp(address, SHORT)).await;
    assert_eq!(
        outcome,
        Outcome::critical(format!("dial tcp {address}: i/o timeout"))
    );
    assert!(started.elapsed() >= SHORT, "{:?}", started.elapsed());
    let outcome = run(http_kind(get(format!("http://{address}/")), SHORT)).await;
    assert_eq!(outcome.status, Status::Critical);
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
}
