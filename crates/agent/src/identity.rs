//! Which node this is: `agent.json` in the data directory.
//!
//! A node is its id, not its address or name. The directory is locked for one process; a server's is refused, since a server has an
//! agent of its own.

use std::io;
use std::path::{Path, PathBuf};

use rollcall_rt as rt;
use rollcall_rt::disk::{SharedDisk, write_atomically};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::store::StoreError;

const FORMAT: u32 = 1;
const FILE: &str = "agent.json";
const LOCK_FILE: &str = "lock";
/// What a server keeps its identity in.
const SERVER_FILE: &str = "server.json";

#[derive(Serialize, Deserialize)]
struct Content {
    format: u32,
    id: Uuid,
}

/// The data directory of an agent, locked.
pub struct Directory {
    id: Uuid,
    _lock: Box<dyn Send + Sync>,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Directory {
    /// Locks the directory (made if it is not there) and reads which node it is; a new one gets `node_id`, or a new id.
    ///
    /// # Errors
    /// It is in use, a server's, damaged, or of another id than `node_id`. Nothing was changed.
    pub fn open(disk: &SharedDisk, path: &Path, node_id: Option<Uuid>) -> Result<Self, StoreError> {
        let io = |path: PathBuf| move |source: io::Error| StoreError::Io { path, source };
        let damaged = |path: &Path, reason: String| StoreError::Damaged {
            path: path.to_owned(),
            reason,
        };
        disk.create_dir_all(path).map_err(io(path.to_owned()))?;
        let lock_path = path.join(LOCK_FILE);
        let lock = disk.lock(&lock_path).map_err(io(lock_path))?;
        if disk.exists(&path.join(SERVER_FILE)) {
            let reason =
                "the data directory is a server's, which has an agent of its own".to_owned();
            return Err(damaged(&path.join(SERVER_FILE), reason));
        }
        let file = path.join(FILE);
        let id = if disk.exists(&file) {
            let mut text = String::new();
            let mut reader = disk.open(&file).map_err(io(file.clone()))?;
            io::Read::read_to_string(&mut reader, &mut text).map_err(io(file.clone()))?;
            let content: Content =
                serde_json::from_str(&text).map_err(|error| damaged(&file, error.to_string()))?;
            if content.format != FORMAT {
                return Err(StoreError::Format {
                    path: file,
                    found: content.format,
                });
            }
            if node_id.is_some_and(|configured| configured != content.id) {
                let reason = format!("node_id differs from its id {}", content.id);
                return Err(damaged(&file, reason));
            }
            content.id
        } else {
            let id = node_id.unwrap_or_else(rt::new_uuid);
            let content = Content { format: FORMAT, id };
            let bytes = serde_json::to_vec(&content).expect("our own types must have string keys");
            write_atomically(&**disk, &file, &bytes).map_err(io(file))?;
            id
        };
        Ok(Directory { id, _lock: lock })
    }

    /// The node's id.
    pub fn id(&self) -> Uuid {
        self.id
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rollcall_rt::disk::RealDisk;

    use super::*;

    #[test]
    fn a_node_keeps_its_id_and_a_servers_directory_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let disk: SharedDisk = Arc::new(RealDisk);
        let open = |id| Directory::open(&disk, directory.path(), id);
        let first = open(None).unwrap();
        assert!(open(None).is_err(), "it is locked");
        let id = first.id();
        drop(first);
        assert_eq!(open(Some(id)).unwrap().id(), id);
        let error = open(Some(Uuid::from_u128(1))).unwrap_err().to_string();
        assert!(error.contains("agent.json"), "{error}");
        std::fs::write(directory.path().join("agent.json"), "{").unwrap();
        assert!(open(None).unwrap_err().to_string().contains("agent.json"));
        std::fs::write(directory.path().join("server.json"), "{}").unwrap();
        assert!(open(None).unwrap_err().to_string().contains("a server's"));
    }
}
