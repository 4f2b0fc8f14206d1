//! The one door to the state: `propose(Command)`, `read(consistency)`, `watch(topics)`.
//!
//! Edges know this trait and nothing of Raft. A write goes to the leader, wherever it is, and is answered when it is applied
//! there; a read is answered from this server's own state, after one read-index round unless it is stale.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rollcall_state::{Command, Index, Reply, Topic};

/// A boxed future, so that `dyn Door` is possible.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// Linearizable (Consul's `default` and `?consistent`): one read-index round.
    Linearizable,
    /// This server's state as it is. With `Some(index)` it waits until the server has applied that much.
    Stale(Option<Index>),
}

/// The state as one read sees it.
#[derive(Debug, Clone)]
pub struct View {
    /// A snapshot; later writes do not change it.
    pub state: Arc<rollcall_state::State>,
    /// Whether a leader is known.
    pub known_leader: bool,
    /// How long ago this server heard of the leader; zero on the leader and on linearizable reads.
    pub last_contact: Duration,
}

/// Why a write was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Surely not proposed; safe to retry.
    #[error("No cluster leader")]
    NoLeader,
    /// Surely not proposed: too many writes wait. Retry later.
    #[error("too many writes in flight (limit {0})")]
    Busy(usize),
    /// It may have been applied, or may yet be. Never retried by us.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// The server is stopping or its storage failed. Surely not proposed.
    #[error("server is stopping: {0}")]
    Stopping(String),
    /// Surely not proposed: the leader, of another version, does not understand it. In vain until it is upgraded.
    #[error("the leader cannot read this write: {0}")]
    Refused(String),
}

/// Why a read was not answered. Always safe to retry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader answered in time.
    #[error("No cluster leader")]
    NoLeader,
    /// Too many reads wait for a read-index round.
    #[error("too many reads wait (limit {0})")]
    Busy(usize),
    /// The server is stopping.
    #[error("server is stopping: {0}")]
    Stopping(String),
}

/// A committed write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The state's index of this write (log index + offset).
    pub index: Index,
    /// Its answer.
    pub reply: Reply,
}

/// A parked query's registration. Register first, then read, then wait: no change can be missed.
pub trait Watch: Send {
    /// Resolves once any of the topics changed after the registration (or since the last `changed` returned).
    fn changed(&mut self) -> Boxed<'_, ()>;
}

/// One server of the Raft configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftPeer {
    /// Its id.
    pub id: String,
    /// Its node name; empty while unknown.
    pub node: String,
    /// `IP:port` of its server port; empty while unknown.
    pub address: String,
    /// Whether it leads.
    pub leader: bool,
    /// Voter or learner.
    pub voter: bool,
    /// Last log index known of it.
    pub last_index: u64,
}

/// Why a membership change or transfer was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperatorError {
    /// Not applied; the words say why.
    #[error("{0}")]
    Refused(String),
    /// No leader.
    #[error("No cluster leader")]
    NoLeader,
    /// It may have happened.
    #[error("outcome unknown: {0}")]
    Unknown(String),
}

/// The one door.
pub trait Door: Send + Sync + 'static {
    /// Writes. Followers forward to the leader. Answered when applied on the leader.
    fn propose(&self, command: Command) -> Boxed<'_, Result<Committed, ProposeError>>;
    /// A snapshot of the state, as fresh as asked for.
    fn read(&self, consistency: Consistency) -> Boxed<'_, Result<View, ReadError>>;
    /// This server's state now, without any round (for a parked query that woke).
    fn local(&self) -> View;
    /// Registers interest in topics.
    fn watch(&self, topics: Vec<Topic>) -> Box<dyn Watch>;
    /// Renews a session, after a quorum confirmed the leader. `Ok(false)`: there is no such session (any more).
    fn renew_session(&self, id: String) -> Boxed<'_, Result<bool, ProposeError>>;
    /// `IP:port` of the leader's server port.
    fn leader_address(&self) -> Option<String>;
    /// The Raft configuration.
    fn raft_peers(&self) -> Boxed<'_, Result<(Vec<RaftPeer>, Index), ReadError>>;
    /// Hands leadership over, to `id` or to the best follower.
    fn transfer_leader(&self, id: Option<String>) -> Boxed<'_, Result<(), OperatorError>>;
    /// Removes a server from the Raft configuration.
    fn remove_peer(&self, id: String) -> Boxed<'_, Result<(), OperatorError>>;
    /// Whether this server has caught up once since it started (ready endpoint).
    fn caught_up_once(&self) -> bool;
}
