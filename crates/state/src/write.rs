//! A command at work: the tables it writes, its index and time, and the list of what it changes.
//!
//! The rules stand beside each other in `kv_write`, `session_write` and `catalog_write`, because they call each other: a check that
//! turns critical ends sessions, a session's end frees or deletes keys.

use crate::state::Tables;
use crate::{Changes, Index, Stamp};

/// What a command writes with.
pub(crate) struct Write<'a> {
    pub(crate) tables: &'a mut Tables,
    /// Of the command.
    pub(crate) index: Index,
    /// Cluster time of the command.
    pub(crate) at: Stamp,
    pub(crate) changes: &'a mut Changes,
}
