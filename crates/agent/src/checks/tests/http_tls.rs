//! HTTPS and TLS over TCP against certificates of all sorts.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::definition::Tls;
use server::{Authority, Canned, Then};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const FAR: i32 = 2100;
const PAST: i32 = 2021;

/// A check of a server with such a certificate, and what it says.
async fn ask(
    authority: &Authority,
    believed: Authorities,
    names: &[&str],
    until: i32,
    tls: Tls,
) -> Outcome {
    let acceptor = authority.acceptor(names, until, &["http/1.1"]);
    let server = Canned::on("127.0.0.1:0", Some(acceptor), vec![OK.into()], Then::Close).await;
    let mut http = get(format!("https://{}/", server.address));
    http.tls = tls;
    run_with(http_kind(http, PATIENCE), believed).await
}

fn named(server_name: &str) -> Tls {
    Tls {
        server_name: server_name.to_owned(),
        skip_verify: false,
    }
}

fn unverified() -> Tls {
    Tls {
        server_name: String::new(),
        skip_verify: true,
    }
}

#[tokio::test]
async fn a_certificate_must_bear_the_name_and_be_in_time() {
    let authority = Authority::named("one");
    let believed = || authority.believed();
    let prefix = "tls: failed to verify certificate: x509: ";
    for (names, until, tls, status, words) in [
        (
            ["127.0.0.1"],
            FAR,
            Tls::default(),
            Status::Passing,
            "200 OK",
        ),
        (
            ["web.example"],
            FAR,
            named("web.example"),
            Status::Passing,
            "200 OK",
        ),
        (
            ["web.example"],
            FAR,
            named("db.example"),
            Status::Critical,
            "certificate is valid for",
        ),
        (
            ["web.example"],
            FAR,
            Tls::default(),
            Status::Critical,
            prefix,
        ),
        (
            ["127.0.0.1"],
            PAST,
            Tls::default(),
            Status::Critical,
            "has expired or is not yet valid",
        ),
        (["127.0.0.1"], PAST, unverified(), Status::Passing, "200 OK"),
        (
            ["web.example"],
            PAST,
            unverified(),
            Status::Passing,
            "200 OK",
        ),
    ] {
        let outcome = ask(&authority, believed(), &names, until, tls.clone()).await;
        assert_eq!(
            outcome.status, status,
            "{names:?} {until} {tls:?}: {outcome:?}"
        );
        assert!(
            outcome.output.contains(words),
            "{names:?} {until} {tls:?}: {outcome:?}"
        );
        assert_eq!(
            outcome.output.contains(prefix),
            status == Status::Critical,
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn an_authority_that_nobody_knows_is_not_believed() {
    let (authority, other) = (Authority::named("one"), Authority::named("another"));
    let outcome = ask(
        &authority,
        other.believed(),
        &["127.0.0.1"],
        FAR,
        Tls::default(),
    )
    .await;
    assert_outcome(
        &outcome,
        Status::Critical,
        "x509: certificate signed by unknown authority",
    );
    let system = ask(
        &authority,
        Authorities::System,
        &["127.0.0.1"],
        FAR,
        Tls::default(),
    )
    .await;
    assert_outcome(
        &system,
        Status::Critical,
        "x509: certificate signed by unknown authority",
    );
    let skipped = ask(
        &authority,
        other.believed(),
        &["127.0.0.1"],
        FAR,
        unverified(),
    )
    .await;
    assert_outcome(&skipped, Status::Passing, "200 OK");
}

#[tokio::test]
async fn a_server_without_tls_is_told_as_such() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = [0; 1];
        stream.read_exact(&mut hello).await.unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        std::future::pending::<()>().await;
    });
    let outcome = run_http(get(format!("https://{address}/"))).await;
    let words = "tls: first record does not look like a TLS handshake";
    assert_outcome(&outcome, Status::Critical, words);
}

#[tokio::test]
async fn tls_over_tcp_is_checked_as_a_whole() {
    let authority = Authority::named("one");
    let acceptor = authority.acceptor(&["127.0.0.1"], FAR, &[]);
    let server = Canned::on("127.0.0.1:0", Some(acceptor), vec![Vec::new()], Then::Close).await;
    let kind = |tls| Kind::Tcp {
        every: every(PATIENCE, PATIENCE),
        address: server.address.to_string(),
        tls,
    };
    let outcome = run_with(kind(Some(Tls::default())), authority.believed()).await;
    let words = format!("TCP+TLS connect {}: Success", server.address);
    assert_eq!(outcome, Outcome::passing(words));
    let outcome = run_with(kind(Some(named("other"))), authority.believed()).await;
    assert_outcome(&outcome, Status::Critical, "x509: certificate is valid for");
    assert_outcome(&run(kind(None)).await, Status::Passing, "TCP connect");
}

#[tokio::test]
async fn http_2_is_spoken_where_the_server_chooses_it() {
    let authority = Authority::named("one");
    let acceptor = authority.acceptor(&["127.0.0.1"], FAR, &["h2"]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(acceptor.accept(stream).await.unwrap())
            .await
            .unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        let answer = hyper::Response::builder().status(429).body(()).unwrap();
        let mut body = respond.send_response(answer, false).unwrap();
        body.send_data("slow down".into(), true).unwrap();
        while connection.accept().await.is_some() {}
        request
    });
    let mut http = get(format!("https://{address}/health"));
    http.headers = [("Host".to_owned(), vec!["web.example".to_owned()])].into();
    let outcome = run_with(http_kind(http, PATIENCE), authority.believed()).await;
    assert_outcome(
        &outcome,
        Status::Warning,
        "429 Too Many Requests Output: slow down",
    );
    let request = server.await.unwrap();
    assert_eq!(request.uri().to_string(), "https://web.example/health");
    assert_eq!(request.headers()["user-agent"], "Consul Health Check");
}
