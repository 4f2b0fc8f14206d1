//! Real sockets: udp, tcp, recursors, shutdown.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use domain::base::iana::{Rcode, Rtype};
use domain::base::record::Ttl;
use domain::base::{Message, MessageBuilder, Name};
use domain::rdata::A;
use rollcall_dns::{
    Boxed, Config, Host, Instance, Lookup, Node, Pointer, Prepared, Responder, Service, Serving,
    Unavailable, serve,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;

/// How long an answer over loopback may take.
const BOUND: Duration = Duration::from_secs(10);

/// One service with an address, one with a name; nothing is known while `stale`.
struct Two {
    stale: bool,
}

fn instance(host: &str) -> Arc<Service> {
    let instance = Instance {
        node: Arc::new(Node::new("n1", "10.0.0.1", [])),
        host: Some(Host::parse(host)),
        port: 80,
        weight: 1,
        passing: true,
        tags: Arc::default(),
    };
    Arc::new(Service {
        instances: vec![instance],
    })
}

impl Lookup for Two {
    fn settle(&self) -> Option<Boxed<'_, Result<(), Unavailable>>> {
        self.stale.then(|| -> Boxed<'_, _> {
            Box::pin(async { Err(Unavailable("no leader".to_owned())) })
        })
    }

    fn service(&self, name: &str) -> Option<Arc<Service>> {
        match name {
            "web" => Some(instance("10.1.1.1")),
            "far" => Some(instance("far.example.org")),
            _ => None,
        }
    }

    fn node(&self, _: &str) -> Option<Arc<Node>> {
        None
    }

    fn query(&self, _: &str) -> Option<Prepared> {
        None
    }

    fn pointer(&self, _: IpAddr) -> Option<Pointer> {
        None
    }

    fn servers(&self) -> Vec<Arc<Node>> {
        Vec::new()
    }
}

async fn start(config: Config, stale: bool, shutdown: &CancellationToken) -> SocketAddr {
    let address: SocketAddr = ([127, 0, 0, 1], 0).into();
    let responder = Responder::new(config, Two { stale });
    let serving: Serving = serve(&[address], 2, responder, shutdown)
        .await
        .expect("must serve");
    serving.addresses[0]
}

fn question(name: &str) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(99);
    builder.header_mut().set_rd(true);
    let mut builder = builder.question();
    let name = Name::<Vec<u8>>::from_str(name).expect("a name");
    builder.push((name, Rtype::A)).expect("room");
    builder.finish()
}

async fn over_udp(server: SocketAddr, question: &[u8]) -> Message<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("must bind");
    socket.send_to(question, server).await.expect("must send");
    let mut answer = vec![0; 4096];
    let received = tokio::time::timeout(BOUND, socket.recv(&mut answer));
    let length = received
        .await
        .expect("an answer in time")
        .expect("an answer");
    answer.truncate(length);
    Message::from_octets(answer).expect("a message")
}

async fn over_tcp(server: SocketAddr, questions: &[Vec<u8>]) -> Vec<Message<Vec<u8>>> {
    let mut socket = TcpStream::connect(server).await.expect("must connect");
    for question in questions {
        let length = u16::try_from(question.len()).expect("short");
        socket.write_u16(length).await.expect("must send");
        socket.write_all(question).await.expect("must send");
    }
    let mut answers = Vec::new();
    for _ in questions {
        let length = tokio::time::timeout(BOUND, socket.read_u16());
        let length = length.await.expect("an answer in time").expect("a length");
        let mut answer = vec![0; usize::from(length)];
        socket.read_exact(&mut answer).await.expect("an answer");
        answers.push(Message::from_octets(answer).expect("a message"));
    }
    answers
}

fn addresses(message: &Message<Vec<u8>>) -> Vec<String> {
    let answers = message.answer().expect("a section").limit_to::<A>();
    answers
        .map(|record| record.expect("a record").data().to_string())
        .collect()
}

/// A recursor that knows one name.
async fn recursor() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("must bind");
    let address = socket.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut request = vec![0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut request).await {
            let message = Message::from_slice(&request[..length]).expect("a message");
            let name = message.sole_question().expect("a question").into_qname();
            let builder = MessageBuilder::new_vec();
            let mut builder = builder.start_answer(message, Rcode::NOERROR).expect("room");
            let record = (name, Ttl::from_secs(30), A::from_octets(192, 0, 2, 7));
            builder.push(record).expect("room");
            let _ = socket.send_to(&builder.finish(), from).await;
        }
    });
    address
}

#[tokio::test]
async fn udp_and_tcp_answer_on_one_port_and_tcp_takes_several_questions_at_once() {
    let shutdown = CancellationToken::new();
    let server = start(Config::default(), false, &shutdown).await;
    let web = question("web.service.consul");
    assert_eq!(addresses(&over_udp(server, &web).await), ["10.1.1.1"]);
    let none = question("none.service.consul");
    let answers = over_tcp(server, &[web, none]).await;
    assert_eq!(addresses(&answers[0]), ["10.1.1.1"]);
    assert_eq!(answers[1].header().rcode(), Rcode::NXDOMAIN);
    shutdown.cancel();
}

#[tokio::test]
async fn recursors_answer_what_is_not_ours_and_complete_aliases() {
    let shutdown = CancellationToken::new();
    let config = Config {
        recursors: vec![recursor().await],
        ..Config::default()
    };
    let server = start(config, false, &shutdown).await;
    let foreign = over_udp(server, &question("example.com")).await;
    assert_eq!(addresses(&foreign), ["192.0.2.7"]);
    assert_eq!(foreign.header().id(), 99);
    let alias = over_udp(server, &question("far.service.consul")).await;
    assert_eq!(
        alias.header_counts().ancount(),
        2,
        "the alias and its address"
    );
    assert_eq!(addresses(&alias), ["192.0.2.7"]);
    shutdown.cancel();
}

#[tokio::test]
async fn a_recursor_that_is_silent_makes_a_failure_and_the_next_one_is_asked() {
    let shutdown = CancellationToken::new();
    let silent = UdpSocket::bind("127.0.0.1:0").await.expect("must bind");
    let silent_address = silent.local_addr().expect("an address");
    let config = |recursors| Config {
        recursors,
        recursor_timeout: Duration::from_millis(50),
        ..Config::default()
    };
    let server = start(config(vec![silent_address]), false, &shutdown).await;
    let failed = over_udp(server, &question("example.com")).await;
    assert_eq!(failed.header().rcode(), Rcode::SERVFAIL);
    let both = vec![silent_address, recursor().await];
    let server = start(config(both), false, &shutdown).await;
    let answered = over_udp(server, &question("example.com")).await;
    assert_eq!(addresses(&answered), ["192.0.2.7"]);
    shutdown.cancel();
}

#[tokio::test]
async fn nothing_fresh_is_a_failure() {
    let shutdown = CancellationToken::new();
    let server = start(Config::default(), true, &shutdown).await;
    let failed = over_udp(server, &question("web.service.consul")).await;
    assert_eq!(failed.header().rcode(), Rcode::SERVFAIL);
    shutdown.cancel();
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("must bind");
    let address = taken.local_addr().expect("an address");
    let responder = Responder::new(Config::default(), Two { stale: false });
    let error = serve(&[address], 1, responder, &CancellationToken::new())
        .await
        .expect_err("the port is taken");
    assert_eq!(
        error.to_string(),
        format!("cannot serve DNS on {address} over tcp")
    );
}
