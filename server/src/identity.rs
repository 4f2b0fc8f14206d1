//! Who this server is: `server.json` in the data directory.
//!
//! A server is its id, not its address: every pod may come back with a new IP. The file also holds the cluster it
//! belongs to and the one promise of the bootstrap that a data directory gives in its life. It is written whole, synced
//! and renamed into place before anything that follows from it is said to anyone.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::disk::{SharedDisk, write_atomically};
use crate::rt;

/// Version of the file's format. Another one is refused, never guessed at.
const FORMAT: u32 = 1;
const FILE: &str = "server.json";
const LOCK_FILE: &str = "lock";

/// Content of `server.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Format version.
    pub format: u32,
    /// This server's id, for ever.
    pub id: Uuid,
    /// The cluster this data directory belongs to: set when it joined one, or when the bootstrap it promised to came about.
    #[serde(default)]
    pub cluster: Option<Uuid>,
    /// The promise given to a bootstrap.
    #[serde(default)]
    pub promise: Option<Promise>,
}

/// A promise to form one exact cluster and no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// The cluster's fresh id.
    pub cluster: Uuid,
    /// Its servers, sorted.
    pub ids: Vec<Uuid>,
    /// Who collects the promises: the lowest of `ids`. It aborts by durably forgetting its own promise: a promise that
    /// names a proposer who no longer holds it, and is in no such cluster, is void.
    pub proposer: Uuid,
}

/// Why the data directory cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The directory cannot be made or read.
    #[error("data directory {path}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process runs on it.
    #[error("data directory {path} is in use by another process (lock file {lock})")]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The lock.
        lock: PathBuf,
    },
    /// The file is damaged, or not ours.
    #[error(
        "{path} is damaged or not a Rollcall server file: {reason}; restore it from a copy, or start on an empty data directory to join as a new server"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file was written by another version.
    #[error(
        "{path} has format {found}, this version knows {FORMAT}; use the version that wrote it, or a later one"
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The configuration names another id than the data directory.
    #[error(
        "node_id {configured} differs from {stored} in {path}; drop node_id or use its own data directory"
    )]
    OtherId {
        /// The file.
        path: PathBuf,
        /// In the configuration.
        configured: Uuid,
        /// In the file.
        stored: Uuid,
    },
    /// The log is there but the file that says whose it is is not.
    #[error(
        "{path} is missing but the data directory holds a log; restore it, or start on an empty data directory to join as a new server"
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It could not be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// The data directory, locked for this process.
pub struct DataDir {
    disk: SharedDisk,
    path: PathBuf,
    identity: parking_lot::Mutex<Identity>,
    _lock: Box<dyn Send + Sync>,
}

impl fmt::Debug for DataDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataDir")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl DataDir {
    /// Locks the directory (made if it is not there) and reads who this server is; a new directory gets `node_id`, or a new id.
    ///
    /// `log_file` is the name of the file that must not exist without an identity.
    pub fn open(
        disk: SharedDisk,
        path: &Path,
        node_id: Option<Uuid>,
        log_file: &str,
    ) -> Result<Self, IdentityError> {
        let directory = |source| IdentityError::Directory {
            path: path.to_owned(),
            source,
        };
        disk.create_dir_all(path).map_err(directory)?;
        let lock_path = path.join(LOCK_FILE);
        let lock = disk
            .lock(&lock_path)
            .map_err(|source| match source.kind() {
                io::ErrorKind::WouldBlock => IdentityError::InUse {
                    path: path.to_owned(),
                    lock: lock_path.clone(),
                },
                _ => directory(source),
            })?;
        let file = path.join(FILE);
        let identity = if disk.exists(&file) {
            let identity = read(&disk, &file)?;
            if let Some(configured) = node_id
                && configured != identity.id
            {
                return Err(IdentityError::OtherId {
                    path: file,
                    configured,
                    stored: identity.id,
                });
            }
            identity
        } else {
            if disk.exists(&path.join(log_file)) {
                return Err(IdentityError::Missing { path: file });
            }
            let id = node_id.unwrap_or_else(rt::new_uuid);
            let identity = Identity {
                format: FORMAT,
                id,
                cluster: None,
                promise: None,
            };
            write(&disk, &file, &identity)?;
            identity
        };
        Ok(DataDir {
            disk,
            path: path.to_owned(),
            identity: parking_lot::Mutex::new(identity),
            _lock: lock,
        })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The disk it is on.
    pub fn disk(&self) -> &SharedDisk {
        &self.disk
    }

    /// What the file says.
    pub fn identity(&self) -> Identity {
        self.identity.lock().clone()
    }

    /// Changes the identity, durably, before it returns. `change` may refuse by leaving it as it is.
    pub fn update(&self, change: impl FnOnce(&mut Identity)) -> Result<Identity, IdentityError> {
        let mut current = self.identity.lock();
        let mut next = current.clone();
        change(&mut next);
        if next != *current {
            write(&self.disk, &self.path.join(FILE), &next)?;
            *current = next.clone();
        }
        Ok(next)
    }
}

fn read(disk: &SharedDisk, file: &Path) -> Result<Identity, IdentityError> {
    let damaged = |reason: String| IdentityError::Damaged {
        path: file.to_owned(),
        reason,
    };
    let mut content = Vec::new();
    let mut reader = disk.open(file).map_err(|source| IdentityError::Directory {
        path: file.to_owned(),
        source,
    })?;
    io::Read::read_to_end(&mut reader, &mut content)
        .map_err(|source| damaged(source.to_string()))?;
    let checked: Checked =
        serde_json::from_slice(&content).map_err(|error| damaged(error.to_string()))?;
    let body = checked.server.to_string();
    if crc32fast::hash(body.as_bytes()) != checked.crc32 {
        return Err(damaged("checksum differs".into()));
    }
    let identity: Identity =
        serde_json::from_value(checked.server).map_err(|error| damaged(error.to_string()))?;
    if identity.format != FORMAT {
        return Err(IdentityError::Format {
            path: file.to_owned(),
            found: identity.format,
        });
    }
    Ok(identity)
}

fn write(disk: &SharedDisk, file: &Path, identity: &Identity) -> Result<(), IdentityError> {
    let server = serde_json::to_value(identity).expect("an identity must be JSON");
    let crc32 = crc32fast::hash(server.to_string().as_bytes());
    let content =
        serde_json::to_vec_pretty(&Checked { server, crc32 }).expect("an identity must be JSON");
    write_atomically(disk.as_ref(), file, &content).map_err(|source| IdentityError::Write {
        path: file.to_owned(),
        source,
    })
}

/// The identity with a checksum over its compact JSON, so that a flipped bit in an id is not another server.
#[derive(Serialize, Deserialize)]
struct Checked {
    server: serde_json::Value,
    crc32: u32,
}
