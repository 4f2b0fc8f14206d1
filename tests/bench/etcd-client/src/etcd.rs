//! etcd's v3 API: gRPC calls written onto `h2` directly, several clients to a connection.
//!
//! gRPC, not etcd's JSON gateway, because that is what its clients speak and what serves it best; without a gRPC framework, so that the
//! load takes less of the cores that the servers share with it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use http::{Method, Request};
use tokio::net::TcpStream;

use crate::driver::{Connection, Failure, Store};
use crate::protobuf;

/// Bytes a server may send before we make room: more than all clients of a connection ask for at once.
const WINDOW: u32 = 16 * 1024 * 1024;

/// etcd servers and the connections to them.
#[derive(Debug, Clone)]
pub(crate) struct EtcdStore {
    servers: Rc<Vec<String>>,
    clients_per_connection: u64,
    open: Rc<RefCell<BTreeMap<u64, SendRequest<Bytes>>>>,
}

impl EtcdStore {
    /// `servers` are HOST:PORT.
    pub(crate) fn new(servers: Vec<String>, clients_per_connection: u64) -> Self {
        Self {
            servers: Rc::new(servers),
            clients_per_connection,
            open: Rc::default(),
        }
    }

    async fn dial(&self, server: &str) -> Result<SendRequest<Bytes>, Failure> {
        let stream = TcpStream::connect(server)
            .await
            .map_err(|error| Failure(format!("connect: {}", error.kind())))?;
        stream
            .set_nodelay(true)
            .map_err(|error| Failure(format!("connect: {}", error.kind())))?;
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .handshake(stream)
            .await
            .map_err(|error| Failure(format!("handshake: {error}")))?;
        tokio::task::spawn_local(async move {
            // Its requests fail with the reason.
            let _ = connection.await;
        });
        Ok(sender)
    }
}

impl Store for EtcdStore {
    type Connection = EtcdConnection;

    async fn connect(&self, client: u64) -> Result<EtcdConnection, Failure> {
        // Neighbours go to different servers, so that few clients use all servers too.
        let servers = self.servers.len() as u64;
        let server = client % servers;
        let slot = client / servers / self.clients_per_connection * servers + server;
        let authority = self.servers
            [usize::try_from(server).expect("a remainder of a length must fit")]
        .clone();
        let known = self.open.borrow().get(&slot).cloned();
        let alive = match known {
            Some(sender) => sender.ready().await.ok(),
            None => None,
        };
        let sender = match alive {
            Some(sender) => sender,
            None => self.dial(&authority).await?,
        };
        self.open.borrow_mut().insert(slot, sender.clone());
        Ok(EtcdConnection {
            sender,
            base: format!("http://{authority}/etcdserverpb.KV/"),
        })
    }
}

/// One client's share of a connection.
#[derive(Debug)]
pub(crate) struct EtcdConnection {
    sender: SendRequest<Bytes>,
    base: String,
}

impl Connection for EtcdConnection {
    async fn put(&mut self, key: &str, value: &[u8]) -> Result<(), Failure> {
        self.call("Put", &protobuf::put_request(key, value)).await?;
        Ok(())
    }

    async fn get(&mut self, key: &str, stale: bool) -> Result<bool, Failure> {
        let answer = self
            .call("Range", &protobuf::range_request(key, stale))
            .await?;
        protobuf::has_field(&answer, 2).ok_or_else(|| Failure("answer is not protobuf".to_owned()))
    }

    async fn put_many(&mut self, entries: &[(String, Vec<u8>)]) -> Result<(), Failure> {
        self.call("Txn", &protobuf::put_all_request(entries))
            .await?;
        Ok(())
    }
}

impl EtcdConnection {
    /// A unary gRPC call: one message out, one back.
    async fn call(&mut self, method: &str, message: &[u8]) -> Result<Bytes, Failure> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{method}", self.base))
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .body(())
            .expect("the request must be well-formed");
        let mut sender = self.sender.clone().ready().await.map_err(broken)?;
        let (response, mut stream) = sender.send_request(request, false).map_err(broken)?;
        let mut framed = BytesMut::with_capacity(message.len() + 5);
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.len()).expect("a message must be shorter than 4 GiB"));
        framed.extend_from_slice(message);
        stream.send_data(framed.freeze(), true).map_err(broken)?;
        answer(response).await
    }
}

/// Reads the one message and the trailers that say whether the call succeeded.
async fn answer(response: ResponseFuture) -> Result<Bytes, Failure> {
    let (head, mut body) = response.await.map_err(broken)?.into_parts();
    let mut framed = Bytes::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.map_err(broken)?;
        let _ = body.flow_control().release_capacity(chunk.len());
        framed = match framed.is_empty() {
            true => chunk,
            false => [framed, chunk].concat().into(),
        };
    }
    let trailers = body.trailers().await.map_err(broken)?;
    let field = |name: &str| {
        let value = trailers.as_ref().and_then(|trailers| trailers.get(name));
        value.or_else(|| head.headers.get(name)).cloned()
    };
    match field("grpc-status") {
        Some(status) if status == "0" && framed.len() >= 5 => Ok(framed.slice(5..)),
        Some(status) => {
            let words = field("grpc-message");
            Err(Failure(format!("grpc status {status:?}: {words:?}")))
        }
        None => Err(Failure(format!("http status {}", head.status))),
    }
}

fn broken(error: h2::Error) -> Failure {
    Failure(format!("http2: {error}"))
}
