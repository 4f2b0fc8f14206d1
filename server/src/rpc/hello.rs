//! The first bytes of a connection, and their answer.
//!
//! They keep a message from a server it was not meant for: an address may have passed on to another server or cluster.
//! `RCR1 | kind u8 | from 16 | to 16 | cluster 16`, answered by `RCR1 | verdict u8 | id 16 | cluster 16`. A nil id or
//! cluster means "not known yet" and matches all.

use std::io;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use uuid::Uuid;

use crate::raft::ServerId;
use crate::rt::Instant;

/// The protocol and its version.
const MAGIC: [u8; 4] = *b"RCR1";
/// Pause between two log lines about the same server's refused connections.
const REFUSAL_LOG_PAUSE: Duration = Duration::from_secs(30);
const HELLO_BYTES: usize = 4 + 1 + 16 * 3;
const ANSWER_BYTES: usize = 4 + 1 + 16 * 2;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Requests and answers, many in flight.
    Call = 1,
    /// Log entries.
    Append = 2,
    /// A snapshot.
    Snapshot = 3,
}

/// Who this server is.
#[derive(Debug)]
pub struct Identity {
    /// Its id.
    pub id: ServerId,
    cluster: Mutex<Option<Uuid>>,
    /// Whom a refusal was last logged of, and when.
    refused: Mutex<Option<(ServerId, Instant)>>,
}

impl Identity {
    /// A server that belongs to a cluster, or to none yet.
    pub fn new(id: ServerId, cluster: Option<Uuid>) -> Self {
        Self {
            id,
            cluster: Mutex::new(cluster),
            refused: Mutex::new(None),
        }
    }

    /// The cluster it belongs to.
    pub fn cluster(&self) -> Option<Uuid> {
        *self.cluster.lock()
    }

    /// Whether a refusal is to be logged: a server that is refused dials again and again.
    fn says_refusal_of(&self, from: ServerId) -> bool {
        let mut refused = self.refused.lock();
        let said = refused.is_some_and(|(who, at)| who == from && at.elapsed() < REFUSAL_LOG_PAUSE);
        if !said {
            *refused = Some((from, Instant::now()));
        }
        !said
    }

    /// Joins a cluster. From now on servers of others are refused.
    pub fn set_cluster(&self, cluster: Uuid) {
        *self.cluster.lock() = Some(cluster);
    }
}

/// Why a connection was not opened. Nothing was sent over it.
#[derive(Debug, thiserror::Error)]
pub(super) enum HelloError {
    /// The socket failed.
    #[error("connection failed: {0}")]
    Io(#[from] io::Error),
    /// The other end does not speak our protocol.
    #[error("the peer does not speak rollcall's server protocol")]
    Magic,
    /// Another server lives there.
    #[error("server {0} answers there")]
    OtherServer(ServerId),
    /// A server of another cluster lives there.
    #[error("server {0} there belongs to cluster {1}")]
    OtherCluster(ServerId, Uuid),
    /// The peer has too many connections, or does not know what was asked for.
    #[error("the peer refused the connection (verdict {0})")]
    Refused(u8),
}

const VERDICT_WELCOME: u8 = 0;
const VERDICT_OTHER_SERVER: u8 = 1;
const VERDICT_OTHER_CLUSTER: u8 = 2;
const VERDICT_UNKNOWN_KIND: u8 = 3;

/// Opens a connection from the dialling side. Returns who answered.
pub(super) async fn open<S>(
    stream: &mut S,
    identity: &Identity,
    kind: Kind,
    to: ServerId,
) -> Result<ServerId, HelloError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut hello = Vec::with_capacity(HELLO_BYTES);
    hello.extend_from_slice(&MAGIC);
    hello.push(kind as u8);
    hello.extend_from_slice(identity.id.0.as_bytes());
    hello.extend_from_slice(to.0.as_bytes());
    hello.extend_from_slice(identity.cluster().unwrap_or_default().as_bytes());
    stream.write_all(&hello).await?;
    stream.flush().await?;
    let mut answer = [0; ANSWER_BYTES];
    stream.read_exact(&mut answer).await?;
    if answer[..4] != MAGIC {
        return Err(HelloError::Magic);
    }
    let peer = ServerId(uuid_at(&answer, 5));
    match answer[4] {
        VERDICT_WELCOME => Ok(peer),
        VERDICT_OTHER_SERVER => Err(HelloError::OtherServer(peer)),
        VERDICT_OTHER_CLUSTER => Err(HelloError::OtherCluster(peer, uuid_at(&answer, 21))),
        other => Err(HelloError::Refused(other)),
    }
}

/// Answers a hello on the listening side. `None`: the connection was refused.
pub(super) async fn answer<S>(
    stream: &mut S,
    identity: &Identity,
) -> Result<Option<(Kind, ServerId)>, HelloError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut hello = [0; HELLO_BYTES];
    stream.read_exact(&mut hello).await?;
    if hello[..4] != MAGIC {
        return Err(HelloError::Magic);
    }
    let from = ServerId(uuid_at(&hello, 5));
    let to = ServerId(uuid_at(&hello, 21));
    let theirs = uuid_at(&hello, 37);
    let ours = identity.cluster().unwrap_or_default();
    let kind = [Kind::Call, Kind::Append, Kind::Snapshot];
    let kind = kind.into_iter().find(|kind| *kind as u8 == hello[4]);
    let verdict = match kind {
        None => VERDICT_UNKNOWN_KIND,
        Some(_) if to != ServerId::ANYONE && to != identity.id => VERDICT_OTHER_SERVER,
        Some(_) if !theirs.is_nil() && !ours.is_nil() && theirs != ours => VERDICT_OTHER_CLUSTER,
        Some(_) => VERDICT_WELCOME,
    };
    let mut answer = Vec::with_capacity(ANSWER_BYTES);
    answer.extend_from_slice(&MAGIC);
    answer.push(verdict);
    answer.extend_from_slice(identity.id.0.as_bytes());
    answer.extend_from_slice(ours.as_bytes());
    stream.write_all(&answer).await?;
    stream.flush().await?;
    if verdict != VERDICT_WELCOME {
        if identity.says_refusal_of(from) {
            tracing::warn!(%from, %to, cluster = %theirs, verdict, "refused a server's connection");
        }
        return Ok(None);
    }
    Ok(kind.map(|kind| (kind, from)))
}

fn uuid_at(bytes: &[u8], at: usize) -> Uuid {
    let slice = bytes.get(at..at + 16).expect("at must leave 16 bytes");
    Uuid::from_slice(slice).expect("16 bytes must make a UUID")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> ServerId {
        ServerId(Uuid::from_u128(n))
    }

    async fn meet(
        client: Identity,
        to: ServerId,
        server: Identity,
    ) -> (
        Result<ServerId, HelloError>,
        Result<Option<(Kind, ServerId)>, HelloError>,
    ) {
        let (mut near, mut far) = tokio::io::duplex(256);
        tokio::join!(
            open(&mut near, &client, Kind::Append, to),
            answer(&mut far, &server)
        )
    }

    #[tokio::test]
    async fn both_ends_learn_who_the_other_is() {
        let (near, far) = meet(
            Identity::new(id(1), None),
            ServerId::ANYONE,
            Identity::new(id(2), Some(Uuid::from_u128(9))),
        )
        .await;
        assert_eq!(near.unwrap(), id(2));
        assert_eq!(far.unwrap(), Some((Kind::Append, id(1))));
    }

    #[tokio::test]
    async fn a_server_at_anothers_address_is_not_spoken_to() {
        let (near, far) = meet(
            Identity::new(id(1), None),
            id(3),
            Identity::new(id(2), None),
        )
        .await;
        assert!(matches!(near, Err(HelloError::OtherServer(other)) if other == id(2)));
        assert_eq!(far.unwrap(), None);
    }

    #[tokio::test]
    async fn a_server_of_another_cluster_is_refused() {
        let (near, far) = meet(
            Identity::new(id(1), Some(Uuid::from_u128(8))),
            id(2),
            Identity::new(id(2), Some(Uuid::from_u128(9))),
        )
        .await;
        assert!(
            matches!(near, Err(HelloError::OtherCluster(_, cluster)) if cluster == Uuid::from_u128(9))
        );
        assert_eq!(far.unwrap(), None);
    }

    #[tokio::test]
    async fn a_stranger_is_not_answered() {
        let (mut near, mut far) = tokio::io::duplex(256);
        let identity = Identity::new(id(2), None);
        let stranger = async {
            let hello = [b"GET / HTTP/1.1\r\n".to_vec(), vec![b'x'; 64]].concat();
            near.write_all(&hello).await.unwrap();
        };
        let (_, answered) = tokio::join!(stranger, answer(&mut far, &identity));
        assert!(matches!(answered, Err(HelloError::Magic)));
    }
}
