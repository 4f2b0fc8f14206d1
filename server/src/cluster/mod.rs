//! The servers of a cluster to one another: who they are, how a cluster is formed and joined.
//!
//! Until gossip exists the servers named in `retry_join` are asked directly; what they say of themselves (id, address,
//! cluster) goes into the address book, from which every dial takes its address.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::consensus::Consensus;
use crate::identity::{DataDir, IdentityError, Promise};
use crate::raft::ServerId;
use crate::rpc::AddressBook;

pub mod bootstrap;
pub mod forming;
mod handler;
pub mod messages;

pub use handler::ClusterHandler;
use messages::About;

/// What this server is told and tells about servers.
#[derive(Debug)]
pub struct Members {
    /// Its data directory.
    pub data_dir: Arc<DataDir>,
    /// Where servers are.
    pub book: Arc<AddressBook>,
    /// Its node name.
    pub name: String,
    /// Its datacenter.
    pub datacenter: String,
    /// Where others reach it.
    pub advertise: SocketAddr,
    /// `bootstrap_expect`.
    pub expect: u32,
    /// Drawn at the start of this process.
    pub boot: u64,
    /// The cluster every connection must be of, known to `rpc` too.
    pub cluster: Arc<crate::rpc::Identity>,
    consensus: OnceLock<Weak<Consensus>>,
    known: Mutex<BTreeMap<Uuid, About>>,
    /// Told of every address that was not known before.
    found: Notify,
}

impl Members {
    /// Starts with what the configuration says.
    #[allow(clippy::too_many_arguments)] // each is one setting
    pub fn new(
        data_dir: Arc<DataDir>,
        book: Arc<AddressBook>,
        cluster: Arc<crate::rpc::Identity>,
        name: String,
        datacenter: String,
        advertise: SocketAddr,
        expect: u32,
    ) -> Self {
        Members {
            data_dir,
            book,
            name,
            datacenter,
            advertise,
            expect,
            boot: crate::rt::random_u64(),
            cluster,
            consensus: OnceLock::new(),
            known: Mutex::new(BTreeMap::new()),
            found: Notify::new(),
        }
    }

    /// Lets requests of other servers reach Raft.
    pub fn attach(&self, consensus: &Arc<Consensus>) {
        let first = self.consensus.set(Arc::downgrade(consensus)).is_ok();
        assert!(first, "the consensus must be attached once");
    }

    pub(crate) fn consensus(&self) -> Option<Arc<Consensus>> {
        self.consensus.get()?.upgrade()
    }

    /// Who this server is now.
    pub fn about(&self) -> About {
        let identity = self.data_dir.identity();
        let consensus = self.consensus();
        let initialised = consensus
            .as_ref()
            .is_some_and(|consensus| consensus.raft.initialised());
        // With a log, what was promised has come about, also before it is written down as this directory's cluster.
        let promised = identity.promise.as_ref().map(|promise| promise.cluster);
        About {
            id: identity.id,
            name: self.name.clone(),
            datacenter: self.datacenter.clone(),
            address: self.advertise.to_string(),
            boot: self.boot,
            expect: self.expect,
            cluster: identity.cluster.or(promised.filter(|_| initialised)),
            initialised,
            promise: identity.promise,
            leader: consensus
                .and_then(|consensus| consensus.leader())
                .map(|leader| leader.0),
            peers: self
                .book
                .list()
                .into_iter()
                .map(|(id, address)| (id.0, address.to_string()))
                .collect(),
        }
    }

    /// Notes what a server said of itself.
    pub fn learn(&self, about: &About) {
        if about.id == self.data_dir.identity().id {
            return;
        }
        match about.address.parse() {
            Ok(address) => {
                if self.book.set(ServerId(about.id), address) {
                    tracing::info!(id = %about.id, name = %about.name, %address, "server found");
                    self.found.notify_one();
                }
            }
            Err(error) => {
                tracing::warn!(id = %about.id, address = %about.address, %error, "server without an address")
            }
        }
        for (id, address) in &about.peers {
            // Hearsay fills gaps only: what a server says of itself is newer.
            if self.book.get(ServerId(*id)).is_none()
                && let Ok(address) = address.parse()
            {
                self.book.set(ServerId(*id), address);
            }
        }
        self.known.lock().insert(about.id, about.clone());
    }

    /// Resolves when a server was found that was not known, or under another address. For one who waits.
    pub async fn another_found(&self) {
        self.found.notified().await;
    }

    /// What a server last said of itself.
    pub fn known(&self, id: ServerId) -> Option<About> {
        self.known.lock().get(&id.0).cloned()
    }

    /// Its node name, as far as it is known.
    pub fn name_of(&self, id: ServerId) -> String {
        if id.0 == self.data_dir.identity().id {
            return self.name.clone();
        }
        self.known(id).map(|about| about.name).unwrap_or_default()
    }

    /// Gives a promise, durably, or says why not.
    pub fn promise(&self, asked: &Promise) -> Result<(), String> {
        bootstrap::may_promise(&self.about(), asked)?;
        let written = self.data_dir.update(|identity| {
            if identity.promise.is_none() && identity.cluster.is_none() {
                identity.promise = Some(asked.clone());
            }
        });
        let identity = written.map_err(|error| error.to_string())?;
        if identity.promise.as_ref() != Some(asked) {
            return Err("another promise came first".into());
        }
        Ok(())
    }

    /// Frees a promise that its proposer gave up.
    pub fn free(&self, cluster: Uuid, proposer: Uuid) -> Result<(), IdentityError> {
        let identity = self.data_dir.update(|identity| {
            let given = identity.promise.as_ref();
            if identity.cluster.is_none()
                && given.is_some_and(|given| given.cluster == cluster && given.proposer == proposer)
            {
                identity.promise = None;
            }
        })?;
        tracing::info!(%cluster, %proposer, freed = identity.promise.is_none(), "the bootstrap's proposer gave its plan up");
        Ok(())
    }

    /// Writes down, durably, that this data directory belongs to a cluster.
    pub fn belong(&self, cluster: Uuid) -> Result<(), IdentityError> {
        self.data_dir.update(|identity| {
            if identity.cluster.is_none() {
                identity.cluster = Some(cluster);
            }
        })?;
        self.cluster.set_cluster(cluster);
        Ok(())
    }
}
