//! A door without Raft: one state, applied in place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rollcall_state::command::{CheckSpec, NodeSpec, Register, ServiceSpec, Status};
use rollcall_state::{Command, Context, Index, Stamp, State, Topic};
use tokio::sync::Notify;

use crate::door::{
    Boxed, Committed, Consistency, Door, OperatorError, ProposeError, RaftPeer, ReadError, View,
    Watch,
};
use crate::watch::Watchers;

pub(super) const NODE: &str = "dev-node";
pub(super) const SERVER_ID: &str = "a8e2668d-174f-0613-d25e-c48041684c77";

/// The door of the tests.
#[derive(Debug, Default)]
pub(super) struct MemoryDoor {
    state: ArcSwap<State>,
    log_index: Mutex<u64>,
    applied: Notify,
    pub(super) watchers: Arc<Watchers>,
    /// Writes fail with this, if it is set.
    pub(super) failing: Mutex<Option<ProposeError>>,
    pub(super) caught_up: AtomicBool,
}

impl MemoryDoor {
    pub(super) fn new() -> Arc<Self> {
        let door = Arc::new(MemoryDoor::default());
        door.apply(&Command::Register(Register {
            node: NodeSpec {
                id: SERVER_ID.into(),
                node: NODE.into(),
                address: "127.0.0.1".into(),
                ..NodeSpec::default()
            },
            service: Some(ServiceSpec {
                id: "consul".into(),
                service: "consul".into(),
                port: 8300,
                ..ServiceSpec::default()
            }),
            checks: vec![CheckSpec {
                node: NODE.into(),
                check_id: "serfHealth".into(),
                status: Status::Passing,
                ..CheckSpec::default()
            }],
            ..Register::default()
        }));
        door
    }

    pub(super) fn apply(&self, command: &Command) -> Committed {
        let mut log_index = self.log_index.lock();
        *log_index += 1;
        let mut state = State::clone(&self.state.load());
        let context = Context {
            log_index: *log_index,
            term: 1,
            leader: 1,
            at: Stamp(*log_index),
        };
        let (reply, changes) = state.apply(context, command);
        let index = state.index();
        self.state.store(Arc::new(state));
        self.watchers.wake(&changes);
        self.applied.notify_waiters();
        Committed { index, reply }
    }

    pub(super) fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    async fn applied(&self, index: Index) {
        loop {
            let mut notified = std::pin::pin!(self.applied.notified());
            notified.as_mut().enable();
            if self.state.load().index() >= index {
                return;
            }
            notified.await;
        }
    }
}

impl Door for MemoryDoor {
    fn propose(&self, command: Command) -> Boxed<'_, Result<Committed, ProposeError>> {
        Box::pin(async move {
            if let Some(error) = self.failing.lock().clone() {
                return Err(error);
            }
            Ok(self.apply(&command))
        })
    }

    fn read(&self, consistency: Consistency) -> Boxed<'_, Result<View, ReadError>> {
        Box::pin(async move {
            if let Consistency::Stale(Some(index)) = consistency {
                self.applied(index).await;
            }
            Ok(self.local())
        })
    }

    fn local(&self) -> View {
        View {
            state: self.state(),
            known_leader: true,
            last_contact: Duration::ZERO,
        }
    }

    fn watch(&self, topics: Vec<Topic>) -> Box<dyn Watch> {
        Box::new(self.watchers.register(topics))
    }

    fn renew_session(&self, id: String) -> Boxed<'_, Result<bool, ProposeError>> {
        Box::pin(async move { Ok(self.state().session(&id).value.is_some()) })
    }

    fn leader_address(&self) -> Option<String> {
        Some("127.0.0.1:8300".to_owned())
    }

    fn raft_peers(&self) -> Boxed<'_, Result<(Vec<RaftPeer>, Index), ReadError>> {
        let peer = RaftPeer {
            id: SERVER_ID.to_owned(),
            node: NODE.to_owned(),
            address: "127.0.0.1:8300".to_owned(),
            leader: true,
            voter: true,
            last_index: *self.log_index.lock(),
        };
        Box::pin(async move { Ok((vec![peer], 0)) })
    }

    fn transfer_leader(&self, _id: Option<String>) -> Boxed<'_, Result<(), OperatorError>> {
        Box::pin(async { Err(OperatorError::Refused("there is no other voter".to_owned())) })
    }

    fn remove_peer(&self, _id: String) -> Boxed<'_, Result<(), OperatorError>> {
        Box::pin(async { Ok(()) })
    }

    fn caught_up_once(&self) -> bool {
        self.caught_up.load(Ordering::Relaxed)
    }
}
