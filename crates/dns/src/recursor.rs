//! Names that are not ours: asked of others, in order, each for a while.
//!
//! The client's message goes on as it came, with an id of our own from a socket of its own, so that nobody who does not see our packets
//! can answer instead. An answer that was cut over udp is asked for again over tcp when the client came that way.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use domain::base::iana::Rtype;
use domain::base::{Message, MessageBuilder, Name};
use rollcall_rt as rt;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use crate::respond::Transport;

/// Bytes of the largest answer taken over udp.
const UDP_BYTES: usize = 8 * 1024;
/// Bytes of a message's id.
const ID_BYTES: usize = 2;

/// Asks the recursors until one answers. `None`: none did.
pub(crate) async fn ask(
    recursors: &[SocketAddr],
    timeout: Duration,
    request: &[u8],
    transport: Transport,
) -> Option<Vec<u8>> {
    for recursor in recursors {
        let asked = ask_one(*recursor, request, transport);
        match rt::timeout(timeout, asked).await {
            Some(Ok(answer)) => return Some(answer),
            Some(Err(error)) => tracing::debug!(%recursor, %error, "recursor failed"),
            None => tracing::debug!(%recursor, ?timeout, "recursor did not answer"),
        }
    }
    None
}

async fn ask_one(
    recursor: SocketAddr,
    request: &[u8],
    transport: Transport,
) -> io::Result<Vec<u8>> {
    let id = u16::try_from(rt::random_u64() & 0xffff).unwrap_or_default();
    let mut question = request.to_vec();
    question[..ID_BYTES].copy_from_slice(&id.to_be_bytes());
    let mut answer = match transport {
        Transport::Udp => over_udp(recursor, &question).await?,
        Transport::Tcp => over_tcp(recursor, &question).await?,
    };
    answer[..ID_BYTES].copy_from_slice(&request[..ID_BYTES]);
    Ok(answer)
}

async fn over_udp(recursor: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: SocketAddr = match recursor {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(recursor).await?;
    socket.send(question).await?;
    let mut answer = vec![0; UDP_BYTES];
    loop {
        let length = socket.recv(&mut answer).await?;
        if answers(question, &answer[..length]) {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

async fn over_tcp(recursor: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut socket = TcpStream::connect(recursor).await?;
    let length = u16::try_from(question.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the question is too long"))?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(question);
    socket.write_all(&framed).await?;
    let length = socket.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    socket.read_exact(&mut answer).await?;
    match answers(question, &answer) {
        true => Ok(answer),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the answer is to another question",
        )),
    }
}

/// Whether a message answers another: same id, same question.
fn answers(question: &[u8], answer: &[u8]) -> bool {
    let (Ok(question), Ok(answer)) = (Message::from_slice(question), Message::from_slice(answer))
    else {
        return false;
    };
    answer.header().qr()
        && answer.header().id() == question.header().id()
        && match (answer.sole_question(), question.sole_question()) {
            (Ok(answered), Ok(asked)) => answered == asked,
            _ => false,
        }
}

/// A question of our own: an alias's addresses.
pub(crate) fn question(name: &Name<Vec<u8>>, kind: Rtype) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_rd(true);
    let mut builder = builder.question();
    builder
        .push((name, kind))
        .expect("a vector must take a question");
    builder.finish()
}
