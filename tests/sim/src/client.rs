//! One client: a kept-alive HTTP/1.1 connection to one server, over the simulated network.
//!
//! It tells apart what was surely not sent from what has no answer: only the first may be counted as not done.
//! A connection that failed, timed out or was cut is dropped; the next call dials again.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request};
use rollcall_server::rt;

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `X-Consul-Index`, 0 when it is missing.
    pub index: u64,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().to_owned()
    }
}

/// No answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The request never left: no connection.
    NotSent,
    /// It may have arrived, and been done, or may yet be.
    Unknown(&'static str),
}

/// A connection that is dialled when it is needed.
pub struct Client {
    address: SocketAddr,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// A client of the server at `address`.
    pub fn new(address: SocketAddr) -> Client {
        Client {
            address,
            connection: None,
        }
    }

    /// One request. `patience`: until the answer is whole.
    pub async fn call(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<Answer, Failure> {
        let mut connection = self.dial(patience).await.ok_or(Failure::NotSent)?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "server")
            .body(Full::new(body))
            .expect("the workload's paths must be valid");
        match rt::timeout(patience, exchange(&mut connection, request)).await {
            Some(Ok(answer)) => {
                self.connection = Some(connection);
                Ok(answer)
            }
            Some(Err(_)) => Err(Failure::Unknown("the connection broke")),
            None => Err(Failure::Unknown("no answer in time")),
        }
    }

    async fn dial(&mut self, patience: Duration) -> Option<SendRequest<Full<Bytes>>> {
        if let Some(mut connection) = self.connection.take()
            && let Some(Ok(())) = rt::timeout(patience, connection.ready()).await
        {
            return Some(connection);
        }
        let dialled = rt::timeout(patience, rt::net::TcpStream::connect(self.address)).await?;
        let io = hyper_util::rt::TokioIo::new(dialled.ok()?);
        let (sender, driver) = hyper::client::conn::http1::handshake(io).await.ok()?;
        rt::spawn(async move {
            // Its error shows in the request that was under way.
            let _ = driver.await;
        });
        Some(sender)
    }
}

async fn exchange(
    connection: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Answer, hyper::Error> {
    let answer = connection.send_request(request).await?;
    let index = answer
        .headers()
        .get("x-consul-index")
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await?.to_bytes();
    Ok(Answer {
        status,
        index,
        body,
    })
}
