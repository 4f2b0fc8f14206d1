//! Peers that misbehave on a connection that stays open.

use std::sync::atomic::{AtomicU64, Ordering};

use openraft::network::{RPCOption, RaftNetworkFactory as _};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::disk::RealDisk;
use crate::door::Boxed;
use crate::rpc;
use crate::rpc::{AddressBook, Handler, Handlers, Identity, StreamHandler};

const RESPONSE_TIMEOUT: Duration = Duration::from_millis(200);
/// There is something to send four times in that time, as from a leader that beats its heart and has writes.
const PACE: Duration = Duration::from_millis(50);

/// Takes everything, answers nothing, and leaves the connection open.
struct Silent;

impl StreamHandler for Silent {
    fn stream(&self, _: ServerId, mut reader: FrameReader, _open: FrameWriter) -> Boxed<'_, ()> {
        Box::pin(async move { while let Ok(Some(_)) = reader.next().await {} })
    }
}

impl Handler for Silent {
    fn call(&self, _: ServerId, _: u16, _: Bytes) -> Boxed<'_, Result<Bytes, String>> {
        Box::pin(std::future::pending())
    }
}

async fn silent_peer(id: ServerId) -> rpc::Server {
    let listener = rt::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let handlers = Handlers {
        call: Arc::new(Silent),
        append: Arc::new(Silent),
        snapshot: Arc::new(Silent),
    };
    let never = CancellationToken::new();
    rpc::serve(
        listener,
        Arc::new(Identity::new(id, None)),
        handlers,
        &never,
    )
    .unwrap()
}

/// 1. A leader replicates to a peer whose connection takes everything; no answer comes.
/// 2. There is always more to send: heartbeats and writes. Each send used to put the deadline off.
/// 3. The stream must fail within a time-out all the same, so that the leader dials anew; else that peer is never served again.
#[tokio::test]
async fn a_peer_that_takes_everything_and_answers_nothing_is_given_up_while_there_is_more_to_send()
{
    let peer = ServerId::from(2);
    let server = silent_peer(peer).await;
    let book = AddressBook::new();
    book.set(peer, server.local_addr());
    let identity = Identity::new(ServerId::from(1), None);
    let directory = tempfile::tempdir().unwrap();
    let (snapshots, _) = Snapshots::open(Arc::new(RealDisk), directory.path()).unwrap();
    let mut factory = NetworkFactory {
        client: Client::new(Arc::new(identity), Arc::new(book)),
        snapshots,
        response_timeout: RESPONSE_TIMEOUT,
    };
    let mut network = factory.new_client(peer, &EmptyNode::new()).await;
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    let requests = futures_util::stream::unfold(counter, |sent| async move {
        if sent.fetch_add(1, Ordering::Relaxed) > 0 {
            rt::sleep(PACE).await;
        }
        let request = AppendEntriesRequest {
            vote: Vote::new_committed(1, ServerId::from(1)),
            prev_log_id: None,
            entries: Vec::new(),
            leader_commit: None,
        };
        Some((request, sent))
    });
    let option = RPCOption::new(RESPONSE_TIMEOUT);
    let answers = network.stream_append(Box::pin(requests), option).await;
    let first = answers.unwrap().next().await;
    assert!(matches!(first, Some(Err(_))), "{first:?}");
    let sent = sent.load(Ordering::Relaxed);
    assert!(
        sent < WINDOW as u64 / 2,
        "{sent} requests before it was given up: it was the window that ended it, not the time"
    );
}
