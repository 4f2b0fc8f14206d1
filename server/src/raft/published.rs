//! The applied state, as readers see it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rollcall_state::State;
use tokio::sync::watch;

/// The state after the last applied batch, and how far it is. Readers take a snapshot and hold no lock.
#[derive(Debug)]
pub struct Published {
    state: ArcSwap<State>,
    applied: watch::Sender<u64>,
}

impl Default for Published {
    fn default() -> Self {
        Self::new(State::default(), 0)
    }
}

impl Published {
    /// Starts with a state that holds everything up to a log index.
    pub fn new(state: State, applied: u64) -> Self {
        Self {
            state: ArcSwap::from_pointee(state),
            applied: watch::Sender::new(applied),
        }
    }

    /// The state now.
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// The log index up to which [`Published::state`] is applied, at least.
    pub fn applied(&self) -> u64 {
        *self.applied.borrow()
    }

    /// Follows the applied log index.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Waits until a log index is applied here. Bound it in time: without a leader it may take for ever.
    pub async fn wait_applied(&self, log_index: u64) {
        let mut receiver = self.applied.subscribe();
        let reached = receiver.wait_for(|applied| *applied >= log_index).await;
        reached.expect("the sender lives in self");
    }

    /// Puts a new state in place: the state first, then its index, so that who sees the index finds the state.
    pub(super) fn publish(&self, state: State, applied: u64) {
        self.state.store(Arc::new(state));
        self.applied.send_replace(applied);
    }
}
