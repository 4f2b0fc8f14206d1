//! What a command answers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::row::{Check, KvEntry, Node, Service};

/// The answer of one applied command. It crosses the wire when a follower forwards a write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Nothing to say: a blank entry, a membership change, a command without an answer.
    None,
    /// KV writes: whether it was done.
    Bool(bool),
    /// A transaction's results, in order, or why nothing was done.
    Txn(Result<Vec<TxnResult>, Vec<TxnError>>),
    /// The command was refused; state is unchanged.
    Refused(Refusal),
}

/// Why a command was refused. The words are Consul's, where Consul has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// `acquire` by a session that does not exist.
    #[error("invalid session {}", crate::quote::quote(.0))]
    InvalidSession(String),
    /// A session bound to a node that is not registered.
    #[error("Missing node registration")]
    MissingNode,
    /// A session bound to a check that is not registered.
    #[error("Missing check '{0}' registration")]
    MissingCheck(String),
    /// A session bound to a check that is critical.
    #[error("Check '{0}' is in critical state")]
    CriticalCheck(String),
    /// A service of a check that is not registered.
    #[error("Missing service registration")]
    MissingService,
    /// A restore that cannot go on; what was staged is dropped.
    #[error("restore: {0}")]
    Restore(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// One result of a transaction. Operations without a result (deletes, checks) leave none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnResult {
    /// A key. `with_value`: reads show the value, writes `null`.
    Kv {
        /// The key as stored.
        entry: Arc<KvEntry>,
        /// Whether its value is shown.
        with_value: bool,
    },
    /// A node.
    Node(Arc<Node>),
    /// A service.
    Service(Arc<Service>),
    /// A check.
    Check(Arc<Check>),
}

/// One operation that stood in the way of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnError {
    /// Position of the operation, from 0.
    pub op_index: usize,
    /// Consul's words.
    pub what: String,
}
