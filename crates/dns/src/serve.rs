//! Sockets: binds udp and tcp, and takes one message through to its answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use rollcall_rt as rt;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::lookup::Lookup;
use crate::respond::{Outcome, Responder, Transport};
use crate::shuffle::Shuffle;
use crate::{recursor, tcp, udp};

/// Questions that wait for recursors, or for a fresh state, at a time; more are dropped, as a full socket would drop them.
const WAITING_MAX: usize = 1024;
/// How often a free port is looked for that both udp and tcp have.
const PORT_TRIES: usize = 20;
/// Pending connections of the tcp listener.
const BACKLOG: i32 = 1024;

/// An address that could not be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve DNS on {address} over {protocol}")]
pub struct ServeError {
    /// The address.
    pub address: SocketAddr,
    /// `udp` or `tcp`.
    pub protocol: &'static str,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// What the sockets share.
pub(crate) struct Shared<L> {
    pub(crate) responder: Responder<L>,
    waiting: Semaphore,
}

/// Bound and served sockets, until the token that was given is cancelled.
#[derive(Debug)]
pub struct Serving {
    /// The addresses, as they were bound.
    pub addresses: Vec<SocketAddr>,
}

/// Serves DNS over udp and tcp on every address, `sockets` udp sockets each (SO_REUSEPORT spreads clients over them).
///
/// # Errors
///
/// An address cannot be bound; nothing is served then.
pub async fn serve<L: Lookup>(
    addresses: &[SocketAddr],
    sockets: usize,
    responder: Responder<L>,
    shutdown: &CancellationToken,
) -> Result<Serving, ServeError> {
    let mut bound = Vec::new();
    for address in addresses {
        bound.push(bind(*address, sockets.max(1))?);
    }
    let shared = Arc::new(Shared {
        responder,
        waiting: Semaphore::new(WAITING_MAX),
    });
    let mut served = Vec::new();
    for Bound { udp, tcp, address } in bound {
        for socket in udp {
            rt::spawn(udp::serve(
                Arc::new(socket),
                Arc::clone(&shared),
                shutdown.clone(),
            ));
        }
        rt::spawn(tcp::serve(tcp, Arc::clone(&shared), shutdown.clone()));
        served.push(address);
    }
    tracing::info!(addresses = ?served, "serving DNS");
    Ok(Serving { addresses: served })
}

struct Bound {
    udp: Vec<UdpSocket>,
    tcp: TcpListener,
    address: SocketAddr,
}

fn bind(asked: SocketAddr, sockets: usize) -> Result<Bound, ServeError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let error = |address, protocol| {
            move |source| ServeError {
                address,
                protocol,
                source,
            }
        };
        let first = bind_udp(asked).map_err(error(asked, "udp"))?;
        let address = first.local_addr().map_err(error(asked, "udp"))?;
        let tcp = match bind_tcp(address) {
            Ok(tcp) => tcp,
            // The port was ours to choose: another one, then.
            Err(source)
                if asked.port() == 0
                    && source.kind() == io::ErrorKind::AddrInUse
                    && tries < PORT_TRIES =>
            {
                continue;
            }
            Err(source) => return Err(error(address, "tcp")(source)),
        };
        let mut udp = vec![first];
        while udp.len() < sockets {
            udp.push(bind_udp(address).map_err(error(address, "udp"))?);
        }
        return Ok(Bound { udp, tcp, address });
    }
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

impl<L: Lookup> Shared<L> {
    /// Answers at once, or says that it takes longer: then `later` does it. False: nothing is to be sent.
    pub(crate) fn now(
        &self,
        request: &[u8],
        transport: Transport,
        shuffle: &mut Shuffle,
        out: &mut Vec<u8>,
    ) -> Now {
        if self.responder.lookup().settle().is_some() {
            return Now::Later;
        }
        match self
            .responder
            .respond(request, transport, seconds_since_1970(), None, shuffle, out)
        {
            Outcome::Reply => Now::Reply,
            Outcome::Silence => Now::Silence,
            Outcome::Recurse | Outcome::Follow(..) => Now::Later,
        }
    }

    /// The answer that takes longer. `None`: nothing is to be sent.
    pub(crate) async fn later(
        &self,
        request: &[u8],
        transport: Transport,
        mut shuffle: Shuffle,
    ) -> Option<Vec<u8>> {
        let Ok(_waits) = self.waiting.try_acquire() else {
            tracing::debug!(limit = WAITING_MAX, "too many questions wait; dropped one");
            return None;
        };
        let mut out = Vec::new();
        if let Some(settling) = self.responder.lookup().settle()
            && let Err(error) = settling.await
        {
            tracing::debug!(%error, "not fresh enough to answer");
            let outcome = self.responder.failure(request, &mut out);
            return (outcome == Outcome::Reply).then_some(out);
        }
        let now = seconds_since_1970();
        let config = self.responder.config();
        let (recursors, timeout) = (&config.recursors, config.recursor_timeout);
        match self
            .responder
            .respond(request, transport, now, None, &mut shuffle, &mut out)
        {
            Outcome::Reply => Some(out),
            Outcome::Silence => None,
            Outcome::Recurse => {
                let answer = recursor::ask(recursors, timeout, request, transport).await;
                answer.or_else(|| {
                    let outcome = self.responder.failure(request, &mut out);
                    (outcome == Outcome::Reply).then_some(out)
                })
            }
            Outcome::Follow(name, kind) => {
                let question = recursor::question(&name, kind);
                let Some(answer) = recursor::ask(recursors, timeout, &question, transport).await
                else {
                    // The alias alone is still an answer.
                    return Some(out);
                };
                self.responder.respond(
                    request,
                    transport,
                    now,
                    Some(&answer),
                    &mut shuffle,
                    &mut out,
                );
                Some(out)
            }
        }
    }
}

/// What became of a message at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Now {
    /// The buffer is to be sent.
    Reply,
    /// Nothing is.
    Silence,
    /// It takes longer.
    Later,
}

fn seconds_since_1970() -> u32 {
    let since = rt::time_of_day().duration_since(SystemTime::UNIX_EPOCH);
    u32::try_from(since.unwrap_or_default().as_secs()).unwrap_or(u32::MAX)
}
