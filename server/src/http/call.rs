//! One request as a server's endpoints see it: the edge's request, and what a server has to answer it.

use std::ops::Deref;

use rollcall_edge::Error;
use rollcall_state::{Command, Index, Reply};

use super::ServerApi;
use crate::audit::Entry;

/// A request without its body.
pub(super) struct Call<'a> {
    pub(super) call: &'a rollcall_edge::Call<'a>,
    pub(super) api: &'a ServerApi,
}

impl<'a> Deref for Call<'a> {
    type Target = rollcall_edge::Call<'a>;

    fn deref(&self) -> &Self::Target {
        self.call
    }
}

impl Call<'_> {
    /// Proposes a write, and records it when there is an audit log.
    pub(super) async fn propose(&self, command: Command) -> Result<Reply, Error> {
        let committed = self.api.door.propose(command).await?;
        self.record(committed.index).await;
        Ok(committed.reply)
    }

    /// Writes a line of the audit log, when there is one.
    pub(super) async fn record(&self, index: Index) {
        let Some(audit) = &self.api.config.audit else {
            return;
        };
        let client = self.client.to_string();
        audit
            .record(&Entry {
                client: &client,
                accessor: "",
                method: self.head.method.as_str(),
                path: self.head.uri.path(),
                query: self.query,
                index,
            })
            .await;
    }
}
