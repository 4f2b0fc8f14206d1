//! Datagrams: one task a socket, which answers what it can at once and never waits for a slow question.

use std::net::SocketAddr;
use std::sync::Arc;

use domain::base::Message;
use rollcall_rt as rt;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use crate::limit::{Allowances, Verdict};
use crate::lookup::Lookup;
use crate::reply::truncated;
use crate::respond::Transport;
use crate::serve::{Now, Shared};
use crate::shuffle::Shuffle;

/// Largest question that is read; more is cut by the kernel and then malformed.
const QUESTION_BYTES: usize = 4096;
/// Datagrams answered before other tasks get their turn.
const BURST: usize = 64;

/// Serves a socket until `shutdown`.
pub(crate) async fn serve<L: Lookup>(
    socket: Arc<UdpSocket>,
    shared: Arc<Shared<L>>,
    shutdown: CancellationToken,
) {
    let mut serving = Serving {
        allowances: Allowances::new(shared.responder.config().public_rate, rt::Instant::now()),
        shuffle: Shuffle::new(rt::random_u64()),
        out: Vec::new(),
        socket,
        shared,
    };
    let mut question = vec![0; QUESTION_BYTES];
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            readable = serving.socket.readable() => {
                if let Err(error) = readable {
                    tracing::error!(%error, "a DNS socket failed");
                    return;
                }
            }
        }
        for _ in 0..BURST {
            // An error of a datagram sent before (the client is gone) is reported here; it concerns nobody.
            match serving.socket.try_recv_from(&mut question) {
                Ok((length, source)) => serving.answer(&question[..length], source),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => {}
            }
        }
    }
}

struct Serving<L> {
    socket: Arc<UdpSocket>,
    shared: Arc<Shared<L>>,
    allowances: Allowances,
    shuffle: Shuffle,
    out: Vec<u8>,
}

impl<L: Lookup> Serving<L> {
    fn answer(&mut self, question: &[u8], source: SocketAddr) {
        match self.allowances.take(source.ip(), rt::Instant::now()) {
            Verdict::Answer => {}
            Verdict::Truncated => {
                if let Some(hint) = Message::from_slice(question).ok().and_then(truncated) {
                    let _ = self.socket.try_send_to(&hint, source);
                }
                return;
            }
            Verdict::Nothing => return,
        }
        let now = self
            .shared
            .now(question, Transport::Udp, &mut self.shuffle, &mut self.out);
        match now {
            // A full socket drops, as the network would; the client asks again.
            Now::Reply => drop(self.socket.try_send_to(&self.out, source)),
            Now::Silence => {}
            Now::Later => {
                let (socket, shared) = (Arc::clone(&self.socket), Arc::clone(&self.shared));
                let (question, shuffle) = (question.to_vec(), self.shuffle.clone());
                rt::spawn(async move {
                    if let Some(answer) = shared.later(&question, Transport::Udp, shuffle).await {
                        let _ = socket.send_to(&answer, source).await;
                    }
                });
            }
        }
    }
}
