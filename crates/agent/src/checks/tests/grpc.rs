//! gRPC checks against a server over h2.

use std::net::SocketAddr;

use bytes::Bytes;
use hyper::{HeaderMap, Response};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::definition::Tls;
use server::{Authority, Canned, Then, refusing};

/// What the server says: a message and lines after it, or lines only.
#[derive(Clone)]
struct Reply {
    message: Option<&'static [u8]>,
    code: &'static str,
    words: &'static str,
}

const SERVING: Reply = Reply {
    message: Some(b"\0\0\0\0\x02\x08\x01"),
    code: "0",
    words: "",
};

/// Answers every request alike; the path and message of each are checked, the service is asked for by name `db`.
async fn serving(reply: Reply, tls: Option<TlsAcceptor>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        match tls {
            None => answer(h2::server::handshake(stream).await.unwrap(), reply).await,
            Some(tls) => {
                let Ok(stream) = tls.accept(stream).await else {
                    return;
                };
                answer(h2::server::handshake(stream).await.unwrap(), reply).await;
            }
        }
    });
    address
}

async fn answer<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    mut connection: h2::server::Connection<S, Bytes>,
    reply: Reply,
) {
    let (request, mut respond) = connection.accept().await.unwrap().unwrap();
    let serve = async move {
        assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
        assert_eq!(request.headers()["content-type"], "application/grpc");
        assert_eq!(request.headers()["te"], "trailers");
        let message = request.into_body().data().await.unwrap().unwrap();
        assert_eq!(message.as_ref(), b"\0\0\0\0\x04\x0a\x02db");
        let mut lines = HeaderMap::new();
        lines.insert("grpc-status", reply.code.parse().unwrap());
        lines.insert("grpc-message", reply.words.parse().unwrap());
        let head = Response::builder().header("content-type", "application/grpc");
        match reply.message {
            None => {
                let mut head = head.body(()).unwrap();
                head.headers_mut().extend(lines);
                respond.send_response(head, true).unwrap();
            }
            Some(message) => {
                let mut body = respond
                    .send_response(head.body(()).unwrap(), false)
                    .unwrap();
                body.send_data(Bytes::from_static(message), false).unwrap();
                body.send_trailers(lines).unwrap();
            }
        }
    };
    tokio::join!(serve, async {
        while connection.accept().await.is_some() {}
    });
}

fn grpc(target: impl ToString, tls: Option<Tls>, timeout: Duration) -> Kind {
    Kind::Grpc {
        every: every(Duration::from_secs(1), timeout),
        target: target.to_string(),
        tls,
    }
}

#[tokio::test]
async fn a_service_that_serves_passes() {
    let target = format!("{}/db", serving(SERVING, None).await);
    let outcome = run(grpc(&target, None, PATIENCE)).await;
    assert_eq!(
        outcome,
        Outcome::passing(format!("gRPC check {target}: success"))
    );
}

#[tokio::test]
async fn every_other_answer_is_critical_and_says_why() {
    let not_serving = Reply {
        message: Some(b"\0\0\0\0\x02\x08\x02"),
        ..SERVING
    };
    let unknown = Reply {
        message: None,
        code: "5",
        words: "unknown service",
    };
    let odd = Reply {
        message: None,
        code: "99",
        words: "",
    };
    let empty = Reply {
        message: Some(b""),
        ..SERVING
    };
    for (reply, words) in [
        (not_serving, "serving status: NOT_SERVING"),
        (unknown, "rpc error: code = NotFound desc = unknown service"),
        (odd, "rpc error: code = Code(99) desc = "),
        (empty, "rpc error: code = Internal desc = the answer is no"),
    ] {
        let target = format!("{}/db", serving(reply, None).await);
        let outcome = run(grpc(target, None, PATIENCE)).await;
        assert_outcome(&outcome, Status::Critical, words);
    }
}

#[tokio::test]
async fn what_is_no_grpc_server_is_critical() {
    let address = refusing().await;
    let outcome = run(grpc(address, None, PATIENCE)).await;
    let words = format!(
        "rpc error: code = Unavailable desc = connection error: desc = \
         \"transport: Error while dialing: dial tcp {address}: connect: connection refused\""
    );
    assert_eq!(outcome, Outcome::critical(words));

    let server = Canned::answering("HTTP/1.1 400 Bad Request\r\n\r\n", Then::Close).await;
    let outcome = run(grpc(server.address, None, PATIENCE)).await;
    assert_outcome(&outcome, Status::Critical, "rpc error: code = ");

    let silent = Canned::answering("", Then::Hang).await;
    let outcome = run(grpc(silent.address, None, SHORT)).await;
    assert_outcome(
        &outcome,
        Status::Critical,
        "code = DeadlineExceeded desc = context deadline exceeded",
    );
}

#[tokio::test]
async fn tls_is_spoken_where_asked_for() {
    let authority = Authority::named("one");
    let acceptor = authority.acceptor(&["127.0.0.1"], 2100, &["h2"]);
    let target = format!("{}/db", serving(SERVING, Some(acceptor.clone())).await);
    let kind = grpc(&target, Some(Tls::default()), PATIENCE);
    let outcome = run_with(kind, authority.believed()).await;
    assert_eq!(
        outcome,
        Outcome::passing(format!("gRPC check {target}: success"))
    );

    let target = format!("{}/db", serving(SERVING, Some(acceptor)).await);
    let outcome = run(grpc(target, Some(Tls::default()), PATIENCE)).await;
    assert_outcome(
        &outcome,
        Status::Critical,
        "certificate signed by unknown authority",
    );
}
