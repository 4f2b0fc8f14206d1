//! Calls over real sockets: many at once, given up, to the wrong server, and to one that falls silent.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::*;
use crate::rt;
use crate::rt::net::TcpListener;

const LONG: Duration = Duration::from_secs(20);

/// Method 1 echoes, 2 never answers, 3 answers twice the body's length.
struct Methods;

impl Handler for Methods {
    fn call(&self, _from: ServerId, method: u16, body: Bytes) -> Boxed<'_, Result<Bytes, String>> {
        Box::pin(async move {
            match method {
                1 => Ok(body),
                2 => std::future::pending().await,
                _ => Ok([&body[..], &body[..]].concat().into()),
            }
        })
    }
}

struct NoStreams;

impl StreamHandler for NoStreams {
    fn stream(&self, _: ServerId, _: FrameReader, _: FrameWriter) -> Boxed<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

fn id(number: u64) -> ServerId {
    ServerId::from(number)
}

async fn server(identity: Identity) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let handlers = Handlers {
        call: Arc::new(Methods),
        append: Arc::new(NoStreams),
        snapshot: Arc::new(NoStreams),
    };
    let never = CancellationToken::new();
    serve(listener, Arc::new(identity), handlers, &never).unwrap()
}

fn client(cluster: Option<Uuid>, server: &Server) -> Arc<Client> {
    let book = AddressBook::new();
    book.set(id(2), server.local_addr());
    book.set(id(3), server.local_addr());
    Client::new(Arc::new(Identity::new(id(1), cluster)), Arc::new(book))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_calls_gets_its_own_answer() {
    let server = server(Identity::new(id(2), None)).await;
    let client = client(None, &server);
    let calls = (0..2000u32).map(|n| {
        let client = Arc::clone(&client);
        rt::spawn(async move {
            let body = Bytes::from(n.to_le_bytes().repeat(1 + n as usize % 500));
            let answer = client.call(id(2), 1, body.clone(), LONG).await;
            assert_eq!(answer, Ok(body));
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
}

#[tokio::test]
async fn a_large_answer_comes_whole() {
    let server = server(Identity::new(id(2), None)).await;
    let client = client(None, &server);
    let body = Bytes::from(vec![7; 20 << 20]);
    let answer = client.call(id(2), 3, body, LONG).await.unwrap();
    assert_eq!(answer.len(), 40 << 20);
    let too_large = Bytes::from(vec![7; 80 << 20]);
    let refused = client.call(id(2), 1, too_large, LONG).await;
    assert!(matches!(refused, Err(CallError::NotSent(_))), "{refused:?}");
}

#[tokio::test]
async fn a_call_given_up_does_not_disturb_the_others() {
    let server = server(Identity::new(id(2), None)).await;
    let client = client(None, &server);
    for _ in 0..10 {
        let silent = client.call(id(2), 2, Bytes::new(), LONG);
        assert!(
            rt::timeout(Duration::from_millis(5), silent)
                .await
                .is_none()
        );
        let answer = client.call(id(2), 1, Bytes::from_static(b"x"), LONG).await;
        assert_eq!(answer, Ok(Bytes::from_static(b"x")));
    }
}

#[tokio::test]
async fn a_call_without_an_answer_is_unknown_and_the_next_one_dials_anew() {
    let server = server(Identity::new(id(2), None)).await;
    let client = client(None, &server);
    let short = Duration::from_millis(30);
    let silent = client.call(id(2), 2, Bytes::new(), short).await;
    assert!(matches!(silent, Err(CallError::Unknown(_))), "{silent:?}");
    let answer = client.call(id(2), 1, Bytes::new(), LONG).await;
    assert_eq!(answer, Ok(Bytes::new()));
}

#[tokio::test]
async fn a_call_in_flight_when_the_server_goes_is_unknown_and_later_ones_are_not_sent() {
    let server = server(Identity::new(id(2), None)).await;
    let client = client(None, &server);
    let in_flight = {
        let client = Arc::clone(&client);
        rt::spawn(async move { client.call(id(2), 2, Bytes::new(), LONG).await })
    };
    let answer = client.call(id(2), 1, Bytes::new(), LONG).await;
    assert_eq!(answer, Ok(Bytes::new()));
    drop(server);
    let ended = in_flight.await.unwrap();
    assert!(matches!(ended, Err(CallError::Unknown(_))), "{ended:?}");
    let later = client.call(id(2), 1, Bytes::new(), LONG).await;
    assert!(matches!(later, Err(CallError::NotSent(_))), "{later:?}");
}

#[tokio::test]
async fn a_call_is_not_sent_to_another_server_nor_to_another_cluster() {
    let server = server(Identity::new(id(2), Some(Uuid::from_u128(5)))).await;
    let other = client(None, &server)
        .call(id(3), 1, Bytes::new(), LONG)
        .await;
    let words = other.unwrap_err().to_string();
    assert!(words.contains(&id(2).to_string()), "{words}");
    let stranger = client(Some(Uuid::from_u128(6)), &server);
    let refused = stranger.call(id(2), 1, Bytes::new(), LONG).await;
    assert!(matches!(refused, Err(CallError::NotSent(_))), "{refused:?}");
    let friend = client(Some(Uuid::from_u128(5)), &server);
    assert_eq!(
        friend.call(id(2), 1, Bytes::new(), LONG).await,
        Ok(Bytes::new())
    );
}
