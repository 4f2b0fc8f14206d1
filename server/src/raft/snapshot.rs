//! Snapshot files of the data directory.

use rollcall_state::State;

use super::types::SnapshotMeta;

/// Why a snapshot cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {}

/// A whole, verified snapshot file.
#[derive(Debug, Clone)]
pub struct SnapshotFile {}

/// The snapshots of a data directory.
#[derive(Debug)]
pub struct Snapshots {}

impl Snapshots {
    pub(super) fn current(&self) -> Option<(SnapshotMeta, SnapshotFile)> {
        None
    }

    pub(super) fn build(
        &self,
        _state: &State,
        _meta: &SnapshotMeta,
    ) -> Result<SnapshotFile, SnapshotError> {
        Ok(SnapshotFile {})
    }

    pub(super) fn install(
        &self,
        _meta: &SnapshotMeta,
        _snapshot: SnapshotFile,
    ) -> Result<State, SnapshotError> {
        Ok(State::default())
    }
}
