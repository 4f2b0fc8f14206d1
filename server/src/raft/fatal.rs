//! The first storage error of a server's life, which is also its last.
//!
//! After a failed write or sync nobody knows what the disk holds, so nothing is tried again: whoever meets an error
//! reports it here, the process ends non-zero and says which file.

use std::sync::Arc;

use tokio::sync::watch;

/// Where a storage error that ends the server is reported and awaited.
#[derive(Debug, Clone)]
pub struct Fatal {
    first: Arc<watch::Sender<Option<String>>>,
}

impl Default for Fatal {
    fn default() -> Self {
        Self::new()
    }
}

impl Fatal {
    /// Nothing has happened yet.
    pub fn new() -> Self {
        Self {
            first: Arc::new(watch::Sender::new(None)),
        }
    }

    /// Reports why the server cannot go on. The first report stays.
    pub fn report(&self, why: String) {
        self.first.send_if_modified(|first| {
            if first.is_some() {
                return false;
            }
            tracing::error!(error = %why, "stopping for good");
            *first = Some(why);
            true
        });
    }

    /// Why the server stopped, if it did.
    pub fn reason(&self) -> Option<String> {
        self.first.borrow().clone()
    }

    /// Resolves when something was reported.
    pub async fn wait(&self) -> String {
        let mut receiver = self.first.subscribe();
        let reported = receiver.wait_for(Option::is_some).await;
        let why = reported.ok().and_then(|first| first.clone());
        why.expect("the sender lives in self")
    }
}
