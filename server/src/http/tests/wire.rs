//! A server under test, and a client that sees every byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::door::{MemoryDoor, NODE};
use rollcall_edge::{Edge, EdgeConfig, Limits};

use crate::http::{self, HttpConfig, serve};
use crate::rt;

/// Longest that anything in these tests may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server on a port of its own; ends when dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) door: Arc<MemoryDoor>,
    pub(super) edge: Arc<Edge>,
    pub(super) shutdown: CancellationToken,
    _ends: DropGuard,
}

impl Server {
    pub(super) async fn start() -> Self {
        Self::with(HttpConfig::default()).await
    }

    pub(super) async fn limited(limits: Limits) -> Self {
        let edge = EdgeConfig {
            limits,
            ..EdgeConfig::default()
        };
        Self::of(edge, HttpConfig::default()).await
    }

    pub(super) async fn with(config: HttpConfig) -> Self {
        Self::of(EdgeConfig::default(), config).await
    }

    async fn of(edge: EdgeConfig, config: HttpConfig) -> Self {
        let door = MemoryDoor::new();
        let config = HttpConfig {
            node_name: NODE.to_owned(),
            ..config
        };
        let shutdown = CancellationToken::new();
        let edge = http::edge(edge, config, door.clone(), shutdown.clone());
        let listener = rt::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("must bind");
        let address = listener.local_addr().expect("must have an address");
        rt::spawn(serve(listener.into(), Arc::clone(&edge)));
        Server {
            address,
            door,
            edge,
            _ends: shutdown.clone().drop_guard(),
            shutdown,
        }
    }

    pub(super) async fn connect(&self) -> Raw {
        let socket = TcpStream::connect(self.address)
            .await
            .expect("must connect");
        Raw {
            socket,
            received: Vec::new(),
        }
    }

    /// One request on a connection of its own.
    pub(super) async fn ask(&self, method: &str, path: &str, body: &[u8]) -> Response {
        self.connect().await.ask(method, path, body).await
    }

    /// Waits until something is so; `seen` is reported when it does not become so.
    pub(super) async fn until<T: std::fmt::Debug>(
        &self,
        seen: impl Fn() -> T + Sync,
        so: impl Fn(&T) -> bool + Sync,
    ) {
        let waited = async {
            while !so(&seen()) {
                rt::sleep(Duration::from_millis(1)).await;
            }
        };
        if rt::timeout(PATIENCE, waited).await.is_none() {
            panic!("waited in vain; last seen {:?}", seen());
        }
    }
}

/// A connection.
pub(super) struct Raw {
    pub(super) socket: TcpStream,
    received: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) version: String,
    pub(super) status: u16,
    /// As spelt on the wire.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Response {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        (self.headers.iter().find(|(found, _)| found == name)).map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub(super) fn index(&self) -> u64 {
        let index = self.header("X-Consul-Index").expect("must have an index");
        index.parse().expect("must be a number")
    }
}

impl Raw {
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.expect("must be sent");
    }

    pub(super) async fn request(&mut self, method: &str, path: &str, body: &[u8]) {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.send(head.as_bytes()).await;
        self.send(body).await;
    }

    pub(super) async fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> Response {
        self.request(method, path, body).await;
        self.response(method == "HEAD").await
    }

    /// The next answer; `headless` answers have no body whatever their length says.
    pub(super) async fn response(&mut self, bodiless: bool) -> Response {
        rt::timeout(PATIENCE, self.read_response(bodiless))
            .await
            .expect("must be answered in time")
    }

    async fn read_response(&mut self, bodiless: bool) -> Response {
        let head = self.until(b"\r\n\r\n").await;
        let head = String::from_utf8(head).expect("a head must be text");
        let mut lines = head.trim_end().split("\r\n");
        let mut first = lines.next().expect("must have a first line").split(' ');
        let version = first.next().expect("must have a version").to_owned();
        let status = first
            .next()
            .and_then(|code| code.parse().ok())
            .expect("must have a status");
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap_or((line, ""));
            (name.to_owned(), value.to_owned())
        };
        let mut response = Response {
            version,
            status,
            headers: lines.map(header).collect(),
            body: Vec::new(),
        };
        if !bodiless {
            response.body = self.body(&response).await;
        }
        response
    }

    async fn body(&mut self, response: &Response) -> Vec<u8> {
        if let Some(length) = response.header("Content-Length") {
            return self
                .exactly(length.parse().expect("must be a number"))
                .await;
        }
        if response.header("Transfer-Encoding") == Some("chunked") {
            let mut body = Vec::new();
            loop {
                let size = self.until(b"\r\n").await;
                let size = String::from_utf8(size).expect("a size must be text");
                let size =
                    usize::from_str_radix(size.trim(), 16).expect("a size must be hexadecimal");
                let chunk = self.exactly(size + 2).await;
                body.extend_from_slice(&chunk[..size]);
                if size == 0 {
                    return body;
                }
            }
        }
        self.rest().await
    }

    /// Everything until the server closes.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.received);
        let read = rt::timeout(PATIENCE, self.socket.read_to_end(&mut rest)).await;
        read.expect("must be closed in time").ok();
        rest
    }

    async fn until(&mut self, mark: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self
                .received
                .windows(mark.len())
                .position(|window| window == mark)
            {
                return self.received.drain(..at + mark.len()).collect();
            }
            self.more().await;
        }
    }

    async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.received.len() < length {
            self.more().await;
        }
        self.received.drain(..length).collect()
    }

    async fn more(&mut self) {
        let read = self
            .socket
            .read_buf(&mut self.received)
            .await
            .expect("must be readable");
        let so_far = String::from_utf8_lossy(&self.received);
        assert!(read > 0, "the server closed after {so_far:?}");
    }
}
