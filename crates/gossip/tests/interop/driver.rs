//! The smallest driver there can be: threads and blocking sockets around a pool, for tests against the real thing. What a
//! product needs (bounds, one task, the simulated runtime) it has not; that driver is in `crates/agent`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rollcall_gossip::{
    Command, Config, Counters, Effect, Input, Keyring, NetEffect, Pool, Seeded, Status, StreamId,
    Tags, Timer, Timing,
};

enum Told {
    Input(Input),
    Connected(StreamId, TcpStream),
    Stop,
}

/// What a test can look at.
#[derive(Default)]
struct View {
    members: BTreeMap<String, (Status, Tags)>,
    said: Vec<Effect>,
    counters: Counters,
}

/// A running member.
pub(crate) struct Driver {
    pub(crate) address: SocketAddr,
    to: Sender<Told>,
    view: Arc<Mutex<View>>,
    is_deaf: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
}

/// A port that is free for UDP and TCP.
pub(crate) fn sockets() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both UDP and TCP");
}

impl Driver {
    pub(crate) fn start(name: &str, tags: &[(&str, &str)], key: Option<&[u8]>) -> Self {
        let (udp, tcp) = sockets();
        let address = tcp.local_addr().unwrap();
        let mut config = Config::new(name, address, Timing::LAN);
        config.tags = tags
            .iter()
            .map(|(tag, value)| ((*tag).into(), (*value).into()))
            .collect();
        config.keyring = key.map(|key| Keyring::new(&[key.to_vec()]).unwrap());
        let seed = u64::from(address.port());
        let pool = Pool::new(config, Box::new(Seeded::new(seed)), None).unwrap();
        let (to, from) = channel();
        let driver = Self {
            address,
            to: to.clone(),
            view: Arc::default(),
            is_deaf: Arc::default(),
            is_over: Arc::default(),
        };
        read_packets(
            &udp,
            to.clone(),
            driver.is_over.clone(),
            driver.is_deaf.clone(),
        );
        accept(tcp, to.clone(), driver.is_over.clone());
        let is_deaf = driver.is_deaf.clone();
        let view = driver.view.clone();
        thread::spawn(move || Loop::new(pool, udp, to, view, is_deaf).run(&from));
        driver
    }

    pub(crate) fn command(&self, command: Command) {
        let input = Input::Command {
            request: 1,
            command,
        };
        self.to.send(Told::Input(input)).unwrap();
    }

    pub(crate) fn join(&self, address: SocketAddr) {
        self.command(Command::Join {
            addresses: vec![address],
            ignore_old_events: false,
        });
    }

    pub(crate) fn status(&self, name: &str) -> Option<Status> {
        self.view
            .lock()
            .unwrap()
            .members
            .get(name)
            .map(|member| member.0)
    }

    pub(crate) fn tags(&self, name: &str) -> Tags {
        let view = self.view.lock().unwrap();
        view.members
            .get(name)
            .map(|member| member.1.clone())
            .unwrap_or_default()
    }

    pub(crate) fn said(&self) -> Vec<Effect> {
        self.view.lock().unwrap().said.clone()
    }

    pub(crate) fn counters(&self) -> Counters {
        self.view.lock().unwrap().counters.clone()
    }

    /// From now on no UDP gets in or out, or does again.
    pub(crate) fn set_deaf(&self, is_deaf: bool) {
        self.is_deaf.store(is_deaf, Ordering::SeqCst);
    }

    /// As good as kill -9: nothing more is said.
    pub(crate) fn kill(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = self.to.send(Told::Stop);
        // Wakes the listener, which then closes.
        let _ = TcpStream::connect(self.address);
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read_packets(
    udp: &UdpSocket,
    to: Sender<Told>,
    is_over: Arc<AtomicBool>,
    is_deaf: Arc<AtomicBool>,
) {
    let udp = udp.try_clone().unwrap();
    udp.set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    thread::spawn(move || {
        let mut buffer = vec![0; 65536];
        while !is_over.load(Ordering::SeqCst) {
            let Ok((length, from)) = udp.recv_from(&mut buffer) else {
                continue;
            };
            if !is_deaf.load(Ordering::SeqCst) {
                let bytes = Bytes::copy_from_slice(&buffer[..length]);
                let _ = to.send(Told::Input(Input::Packet { from, bytes }));
            }
        }
    });
}

fn accept(tcp: TcpListener, to: Sender<Told>, is_over: Arc<AtomicBool>) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    thread::spawn(move || {
        while let Ok((connection, from)) = tcp.accept() {
            if is_over.load(Ordering::SeqCst) {
                return;
            }
            let stream = StreamId::Accepted(NEXT.fetch_add(1, Ordering::SeqCst));
            let reader = connection.try_clone().unwrap();
            let _ = to.send(Told::Connected(stream, connection));
            let _ = to.send(Told::Input(Input::StreamAccepted { stream, from }));
            read_stream(stream, reader, to.clone());
        }
    });
}

fn read_stream(stream: StreamId, mut connection: TcpStream, to: Sender<Told>) {
    thread::spawn(move || {
        let mut buffer = vec![0; 65536];
        loop {
            let input = match connection.read(&mut buffer) {
                Ok(0) | Err(_) => Input::StreamClosed { stream },
                Ok(length) => Input::StreamData {
                    stream,
                    bytes: Bytes::copy_from_slice(&buffer[..length]),
                },
            };
            let is_end = matches!(input, Input::StreamClosed { .. });
            if to.send(Told::Input(input)).is_err() || is_end {
                return;
            }
        }
    });
}

struct Loop {
    pool: Pool,
    udp: UdpSocket,
    start: Instant,
    timers: BinaryHeap<Reverse<(Duration, Timer)>>,
    streams: BTreeMap<StreamId, TcpStream>,
    to: Sender<Told>,
    view: Arc<Mutex<View>>,
    is_deaf: Arc<AtomicBool>,
}

impl Loop {
    fn new(
        pool: Pool,
        udp: UdpSocket,
        to: Sender<Told>,
        view: Arc<Mutex<View>>,
        is_deaf: Arc<AtomicBool>,
    ) -> Self {
        Self {
            pool,
            udp,
            start: Instant::now(),
            timers: BinaryHeap::new(),
            streams: BTreeMap::new(),
            to,
            view,
            is_deaf,
        }
    }

    fn run(mut self, from: &Receiver<Told>) {
        self.input(Input::Start);
        loop {
            let due = self
                .timers
                .peek()
                .map_or(Duration::from_secs(1), |Reverse((at, _))| {
                    at.saturating_sub(self.start.elapsed())
                });
            match from.recv_timeout(due) {
                Ok(Told::Input(input)) => {
                    self.input(input);
                    continue;
                }
                Ok(Told::Connected(stream, connection)) => {
                    self.streams.insert(stream, connection);
                    continue;
                }
                Ok(Told::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            // Only now, when nothing is waiting to be read.
            let now = self.start.elapsed();
            if self
                .timers
                .peek()
                .is_some_and(|Reverse((at, _))| *at <= now)
                && let Some(Reverse((_, timer))) = self.timers.pop()
            {
                self.input(Input::Timer(timer));
            }
        }
    }

    fn input(&mut self, input: Input) {
        for effect in self.pool.step(self.start.elapsed(), input) {
            match effect {
                Effect::Net(effect) => self.carry_out(effect),
                Effect::RoundTrip { .. } => {}
                effect => self.view.lock().unwrap().said.push(effect),
            }
        }
        let members = self
            .pool
            .members()
            .map(|member| (member.name.to_string(), (member.status, member.tags())));
        let mut view = self.view.lock().unwrap();
        view.members = members.collect();
        view.counters = self.pool.counters().clone();
    }

    fn carry_out(&mut self, effect: NetEffect) {
        match effect {
            NetEffect::SendPacket { to, bytes } => {
                if !self.is_deaf.load(Ordering::SeqCst) {
                    let _ = self.udp.send_to(&bytes, to);
                }
            }
            NetEffect::OpenStream {
                stream,
                to,
                bytes,
                timeout,
            } => open(stream, to, bytes, timeout, self.to.clone()),
            NetEffect::SendStream { stream, bytes } => {
                if let Some(connection) = self.streams.get_mut(&stream) {
                    let _ = connection.write_all(&bytes);
                }
            }
            NetEffect::CloseStream { stream } => {
                if let Some(connection) = self.streams.remove(&stream) {
                    let _ = connection.shutdown(Shutdown::Both);
                }
            }
            NetEffect::SetTimer { at, timer } => self.timers.push(Reverse((at, timer))),
        }
    }
}

fn open(stream: StreamId, to: SocketAddr, bytes: Bytes, timeout: Duration, told: Sender<Told>) {
    thread::spawn(move || {
        let opened = TcpStream::connect_timeout(&to, timeout.max(Duration::from_millis(1)))
            .and_then(|mut connection| connection.write_all(&bytes).map(|()| connection));
        match opened {
            Ok(connection) => {
                let reader = connection.try_clone().unwrap();
                let _ = told.send(Told::Connected(stream, connection));
                read_stream(stream, reader, told);
            }
            Err(_) => {
                let _ = told.send(Told::Input(Input::StreamClosed { stream }));
            }
        }
    });
}
