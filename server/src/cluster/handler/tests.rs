//! What the server port answers before, and without, Raft.

use super::*;
use crate::disk::RealDisk;
use crate::identity::DataDir;
use crate::rpc::{AddressBook, Handler as _, Identity};

fn handler(directory: &std::path::Path) -> ClusterHandler {
    let data_dir = DataDir::open(Arc::new(RealDisk), directory, None, "raft.redb").unwrap();
    let id = ServerId(data_dir.identity().id);
    let (identity, book) = (
        Arc::new(Identity::new(id, None)),
        Arc::new(AddressBook::new()),
    );
    let rpc = rpc::Client::new(Arc::clone(&identity), Arc::clone(&book));
    let at = "127.0.0.1:8300".parse().unwrap();
    let (name, datacenter) = ("one".to_owned(), "dc1".to_owned());
    let members = Members::new(Arc::new(data_dir), book, identity, name, datacenter, at, 1);
    ClusterHandler::new(Arc::new(members), rpc)
}

/// A refusal of the call itself counts as "the leader is not there", for which the asking server waits seconds.
#[tokio::test]
async fn a_forwarded_write_that_nobody_here_can_read_is_refused_at_once_and_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let handler = handler(directory.path());
    let later_version = Bytes::from_static(b"\xc1 a command of a later version");
    let answer = handler.call(ServerId::ANYONE, Method::Forward as u16, later_version);
    let forwarded: messages::Forwarded = messages::decode(&answer.await.unwrap()).unwrap();
    assert!(
        matches!(forwarded, messages::Forwarded::Refused(_)),
        "{forwarded:?}"
    );
}
