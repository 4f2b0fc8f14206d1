//! Consul's key/value API over one kept-alive HTTP/1.1 connection: requests written by hand, of answers only status and body read.
//!
//! hyper costs a load generator a third of its processor time here, and what it burns the servers on the same cores lack. It is
//! no HTTP client for anything else: no redirects, no TLS, no pipelining.

use std::net::SocketAddr;
use std::rc::Rc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::driver::{Connection, Failure, Store};

/// Longest answer head; ours and Consul's have a few hundred bytes.
const HEAD_MAX: usize = 16 * 1024;
/// Longest answer body: 128 operations echoed by a transaction stay far below.
const BODY_MAX: usize = 8 * 1024 * 1024;

/// Servers that speak Consul's API.
#[derive(Debug, Clone)]
pub(super) struct ConsulStore {
    servers: Rc<Vec<Server>>,
    token: Rc<str>,
}

#[derive(Debug)]
struct Server {
    authority: String,
    address: SocketAddr,
}

impl ConsulStore {
    /// Resolves the URLs (`http://HOST:PORT`); `token` may be empty.
    pub(super) async fn resolve(urls: &[String], token: &str) -> Result<Self, Failure> {
        let mut servers = Vec::new();
        for url in urls {
            let authority = url
                .strip_prefix("http://")
                .unwrap_or(url)
                .trim_end_matches('/');
            if authority.contains('/') {
                return Err(Failure(format!(
                    "target {url}: only http://HOST:PORT is measured"
                )));
            }
            let failed = |error: std::io::Error| Failure(format!("target {url}: {error}"));
            let mut addresses = tokio::net::lookup_host(authority).await.map_err(failed)?;
            let address = addresses
                .next()
                .ok_or_else(|| Failure(format!("target {url}: no address")))?;
            servers.push(Server {
                authority: authority.to_owned(),
                address,
            });
        }
        Ok(Self {
            servers: Rc::new(servers),
            token: token.into(),
        })
    }
}

impl ConsulStore {
    /// A connection from the loopback address of this number, so that a server that bounds the connections of one client sees many.
    /// To servers elsewhere it comes from where it must.
    pub(super) async fn connect_from(
        &self,
        client: u64,
        from: u32,
    ) -> Result<ConsulConnection, Failure> {
        let server = self.server(client);
        let stream = match server.address {
            SocketAddr::V4(address) if address.ip().is_loopback() => {
                let socket = TcpSocket::new_v4().map_err(broken("connect"))?;
                let [_, _, high, low] = (from + 2).to_be_bytes();
                let local = SocketAddr::from(([127, 77, high, low], 0));
                socket.bind(local).map_err(broken("bind"))?;
                socket.connect(server.address).await
            }
            address => TcpStream::connect(address).await,
        };
        self.on(server, stream.map_err(broken("connect"))?)
    }

    fn server(&self, client: u64) -> &Server {
        let count = self.servers.len() as u64;
        let index = usize::try_from(client % count).expect("a remainder of a length must fit");
        &self.servers[index]
    }

    fn on(&self, server: &Server, stream: TcpStream) -> Result<ConsulConnection, Failure> {
        stream.set_nodelay(true).map_err(broken("connect"))?;
        let token = match &*self.token {
            "" => String::new(),
            token => format!("X-Consul-Token: {token}\r\n"),
        };
        Ok(ConsulConnection {
            stream,
            fixed_headers: format!(" HTTP/1.1\r\nHost: {}\r\n{token}", server.authority),
            out: Vec::new(),
            received: Vec::with_capacity(4096),
            index: 0,
        })
    }
}

impl Store for ConsulStore {
    type Connection = ConsulConnection;

    async fn connect(&self, client: u64) -> Result<ConsulConnection, Failure> {
        let server = self.server(client);
        let stream = TcpStream::connect(server.address).await;
        self.on(server, stream.map_err(broken("connect"))?)
    }
}

/// One connection. After a failure it must be dropped: what is left unread belongs to no request.
#[derive(Debug)]
pub(super) struct ConsulConnection {
    stream: TcpStream,
    fixed_headers: String,
    out: Vec<u8>,
    received: Vec<u8>,
    index: u64,
}

impl Connection for ConsulConnection {
    async fn put(&mut self, key: &str, value: &[u8]) -> Result<(), Failure> {
        let (status, body) = self.exchange("PUT", "/v1/kv/", key, "", value).await?;
        match (status, body.trim_ascii()) {
            (200, b"true") => Ok(()),
            _ => Err(refused(status, &body)),
        }
    }

    async fn get(&mut self, key: &str, stale: bool) -> Result<bool, Failure> {
        let query = if stale { "?stale" } else { "" };
        let (status, body) = self.exchange("GET", "/v1/kv/", key, query, &[]).await?;
        match status {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(refused(status, &body)),
        }
    }

    async fn put_many(&mut self, entries: &[(String, Vec<u8>)]) -> Result<(), Failure> {
        let operations: Vec<_> = entries
            .iter()
            .map(|(key, value)| {
                let value = BASE64_STANDARD.encode(value);
                serde_json::json!({"KV": {"Verb": "set", "Key": key, "Value": value}})
            })
            .collect();
        let body = serde_json::Value::from(operations).to_string();
        let (status, body) = self
            .exchange("PUT", "/v1/txn", "", "", body.as_bytes())
            .await?;
        match status {
            200 => Ok(()),
            _ => Err(refused(status, &body)),
        }
    }
}

impl ConsulConnection {
    /// `X-Consul-Index` of the last answer; 0 when it had none.
    pub(super) fn index(&self) -> u64 {
        self.index
    }

    /// One request and its whole answer.
    pub(super) async fn exchange(
        &mut self,
        method: &str,
        path: &str,
        key: &str,
        query: &str,
        body: &[u8],
    ) -> Result<(u16, Vec<u8>), Failure> {
        self.out.clear();
        for part in [method, " ", path, key, query, self.fixed_headers.as_str()] {
            self.out.extend_from_slice(part.as_bytes());
        }
        if method == "PUT" {
            let length = format!("Content-Length: {}\r\n", body.len());
            self.out.extend_from_slice(length.as_bytes());
        }
        self.out.extend_from_slice(b"\r\n");
        self.out.extend_from_slice(body);
        self.stream
            .write_all(&self.out)
            .await
            .map_err(broken("send"))?;
        self.answer().await
    }

    async fn answer(&mut self) -> Result<(u16, Vec<u8>), Failure> {
        let head_end = loop {
            if let Some(at) = find(&self.received, b"\r\n\r\n") {
                break at + 4;
            }
            if self.received.len() > HEAD_MAX {
                return Err(Failure("answer head too long".to_owned()));
            }
            self.receive().await?;
        };
        let head = Head::parse(&self.received[..head_end])?;
        self.index = head.index;
        self.received.drain(..head_end);
        let body = match head.body {
            BodyLength::Known(length) => self.take(length).await?,
            BodyLength::Chunked => self.take_chunks().await?,
        };
        Ok((head.status, body))
    }

    async fn take(&mut self, length: usize) -> Result<Vec<u8>, Failure> {
        if length > BODY_MAX {
            return Err(Failure("answer body too long".to_owned()));
        }
        while self.received.len() < length {
            self.receive().await?;
        }
        Ok(self.received.drain(..length).collect())
    }

    /// Go's server sends longer answers in chunks.
    async fn take_chunks(&mut self) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        loop {
            let line_end = loop {
                if let Some(at) = find(&self.received, b"\r\n") {
                    break at;
                }
                self.receive().await?;
            };
            let size = std::str::from_utf8(&self.received[..line_end])
                .ok()
                .and_then(|size| usize::from_str_radix(size.trim(), 16).ok())
                .ok_or_else(|| Failure("answer with a chunk of unknown size".to_owned()))?;
            self.received.drain(..line_end + 2);
            let chunk = self.take(size.saturating_add(2)).await?;
            if size == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    async fn receive(&mut self) -> Result<(), Failure> {
        match self.stream.read_buf(&mut self.received).await {
            Ok(0) => Err(Failure("connection closed by the server".to_owned())),
            Ok(_) => Ok(()),
            Err(error) => Err(broken("receive")(error)),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum BodyLength {
    Known(usize),
    Chunked,
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    body: BodyLength,
    index: u64,
}

impl Head {
    fn parse(head: &[u8]) -> Result<Self, Failure> {
        let text =
            std::str::from_utf8(head).map_err(|_| Failure("answer head is not text".to_owned()))?;
        let mut lines = text.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1."))
            .and_then(|line| line.get(2..5)?.parse().ok())
            .ok_or_else(|| Failure("answer is not HTTP/1".to_owned()))?;
        let mut body = BodyLength::Known(0);
        let mut index = 0;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                let length = value.trim().parse();
                body = BodyLength::Known(
                    length.map_err(|_| Failure("answer with a bad length".to_owned()))?,
                );
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                body = BodyLength::Chunked;
            } else if name.eq_ignore_ascii_case("x-consul-index") {
                index = value.trim().parse().unwrap_or(0);
            }
        }
        Ok(Self {
            status,
            body,
            index,
        })
    }
}

pub(super) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

fn broken(step: &'static str) -> impl Fn(std::io::Error) -> Failure {
    move |error| Failure(format!("{step}: {}", error.kind()))
}

/// The status with the first words of the body, so that equal causes count together.
pub(super) fn refused(status: u16, body: &[u8]) -> Failure {
    let words: String = String::from_utf8_lossy(body).chars().take(60).collect();
    Failure(format!("status {status}: {}", words.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_gives_its_status_and_the_length_of_its_body_in_any_case() {
        let head = Head::parse(
            b"HTTP/1.1 404 Not Found\r\nX-Consul-Index: 7\r\ncontent-LENGTH: 12\r\n\r\n",
        )
        .unwrap();
        assert_eq!((head.status, head.index), (404, 7));
        assert_eq!(head.body, BodyLength::Known(12));
        let head = Head::parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        assert_eq!((head.status, head.body), (200, BodyLength::Chunked));
        assert!(Head::parse(b"SSH-2.0-OpenSSH\r\n\r\n").is_err());
    }

    #[tokio::test]
    async fn answers_cut_anywhere_and_sent_in_chunks_are_put_together() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue\
            HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n[{\"K\r\n3\r\n\"}]\r\n0\r\n\r\n\
            HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for byte in answers {
                stream.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
            stream
        });
        let store = ConsulStore::resolve(&[url], "").await.unwrap();
        let mut connection = store.connect(5).await.unwrap();
        assert_eq!(connection.put("k", b"v").await, Ok(()));
        assert_eq!(connection.get("k", true).await, Ok(true));
        assert_eq!(connection.get("k", false).await, Ok(false));
        drop(server.await.unwrap());
        let closed = connection.get("k", false).await.unwrap_err();
        assert!(
            closed.0.contains("clos") || closed.0.contains("reset"),
            "{closed}"
        );
    }
}
