//! Registrations that survive a restart: one small file each, in the data directory.
//!
//! ```text
//! agent/services/<hash of id>.json   {"format": 1, "service": …}
//! agent/checks/<hash of id>.json     {"format": 1, "check": …}
//! agent/health/<hash of id>.json     {"format": 1, "id": …, "status": …, "output": …}   TTL checks only
//! ```
//! Written whole, synced and renamed into place before the client is answered. The health of a TTL check is written when its
//! status changes (and when the agent stops), not with every word of a client. A file that is damaged, or of another format, is an
//! error that names it: what a client registered is never dropped silently. There is no time in the files: after a restart each
//! TTL starts afresh, so a service that died meanwhile is found out one TTL late, and no clock that was set makes it die.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use rollcall_rt::disk::{SharedDisk, write_atomically};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::definition::{Definition, Status};
use crate::rows::ServiceSpec;

/// Version of the files' format. Another one is refused, never guessed at.
const FORMAT: u32 = 1;
/// Bytes of the largest file read: more than the largest body a registration may have.
const FILE_BYTES_MAX: u64 = 8 << 20;

const SERVICES: &str = "services";
const CHECKS: &str = "checks";
const HEALTH: &str = "health";

/// Why files cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file is damaged. Nothing was changed; restore it from a copy, or remove it and register again.
    #[error(
        "{path} is damaged or no registration of an agent: {reason}; restore it from a copy, or remove it and register again"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of another version. Nothing was changed.
    #[error(
        "{path} has format {found}, this version knows {FORMAT}; use the version that wrote it, or a later one"
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The system said no.
    #[error("{path}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Services.
    pub services: Vec<ServiceSpec>,
    /// Checks.
    pub checks: Vec<Definition>,
    /// How TTL checks fared.
    pub health: Vec<Health>,
}

/// How a TTL check fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The check.
    pub id: String,
    /// Its status.
    pub status: Status,
    /// What was said last.
    #[serde(default)]
    pub output: String,
}

#[derive(Serialize, Deserialize)]
struct ServiceFile {
    service: ServiceSpec,
}

#[derive(Serialize, Deserialize)]
struct CheckFile {
    check: Definition,
}

#[derive(Serialize)]
struct Framed<'a, T> {
    format: u32,
    #[serde(flatten)]
    content: &'a T,
}

#[derive(Deserialize)]
struct Frame {
    format: u32,
}

/// Files of registrations. Its calls wait for the disk.
#[derive(Debug, Clone)]
pub struct Store {
    disk: SharedDisk,
    directory: PathBuf,
}

impl Store {
    /// In a directory, made if it is not there.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn open(disk: SharedDisk, directory: &Path) -> Result<Self, StoreError> {
        let store = Store {
            disk,
            directory: directory.to_owned(),
        };
        for kind in [SERVICES, CHECKS, HEALTH] {
            let path = store.directory.join(kind);
            let made = store.disk.create_dir_all(&path);
            made.map_err(|source| StoreError::Io { path, source })?;
        }
        Ok(store)
    }

    /// Everything that was written.
    ///
    /// # Errors
    /// A file cannot be read, is damaged, or of another format.
    pub fn load(&self) -> Result<Loaded, StoreError> {
        let services = self.read_all::<ServiceFile>(SERVICES)?;
        let checks = self.read_all::<CheckFile>(CHECKS)?;
        Ok(Loaded {
            services: services.into_iter().map(|file| file.service).collect(),
            checks: checks.into_iter().map(|file| file.check).collect(),
            health: self.read_all::<Health>(HEALTH)?,
        })
    }

    /// Writes a service.
    ///
    /// # Errors
    /// The file cannot be written; the one before is still there.
    pub fn put_service(&self, service: &ServiceSpec) -> Result<(), StoreError> {
        let content = ServiceFile {
            service: service.clone(),
        };
        self.put(SERVICES, &service.id, &content)
    }

    /// Writes a check.
    ///
    /// # Errors
    /// The file cannot be written; the one before is still there.
    pub fn put_check(&self, check: &Definition) -> Result<(), StoreError> {
        let content = CheckFile {
            check: check.clone(),
        };
        self.put(CHECKS, &check.id, &content)
    }

    /// Writes how a TTL check fares.
    ///
    /// # Errors
    /// The file cannot be written; the one before is still there.
    pub fn put_health(&self, health: &Health) -> Result<(), StoreError> {
        self.put(HEALTH, &health.id, health)
    }

    /// Removes a service, if it is there.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn remove_service(&self, id: &str) -> Result<(), StoreError> {
        self.remove(SERVICES, id)
    }

    /// Removes a check and its health, if they are there.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn remove_check(&self, id: &str) -> Result<(), StoreError> {
        self.remove(HEALTH, id)?;
        self.remove(CHECKS, id)
    }

    fn path(&self, kind: &str, id: &str) -> PathBuf {
        let mut name = String::with_capacity(69);
        for byte in Sha256::digest(id.as_bytes()) {
            write!(name, "{byte:02x}").expect("writing to a string must succeed");
        }
        name.push_str(".json");
        self.directory.join(kind).join(name)
    }

    fn put<T: Serialize>(&self, kind: &str, id: &str, content: &T) -> Result<(), StoreError> {
        let path = self.path(kind, id);
        let framed = Framed {
            format: FORMAT,
            content,
        };
        let bytes = serde_json::to_vec(&framed).expect("our own types must have string keys");
        let written = write_atomically(&*self.disk, &path, &bytes);
        written.map_err(|source| StoreError::Io { path, source })
    }

    fn remove(&self, kind: &str, id: &str) -> Result<(), StoreError> {
        let path = self.path(kind, id);
        if !self.disk.exists(&path) {
            return Ok(());
        }
        let removed = self.disk.remove(&path);
        removed.map_err(|source| StoreError::Io { path, source })
    }

    fn read_all<T: DeserializeOwned>(&self, kind: &str) -> Result<Vec<T>, StoreError> {
        let directory = self.directory.join(kind);
        let names = (self.disk.list(&directory)).map_err(|source| StoreError::Io {
            path: directory.clone(),
            source,
        })?;
        // What was being written when the process died was not acknowledged, and has another ending.
        let files = names.iter().filter(|name| name.ends_with(".json"));
        files.map(|name| self.read(&directory.join(name))).collect()
    }

    fn read<T: DeserializeOwned>(&self, path: &Path) -> Result<T, StoreError> {
        use std::io::Read as _;
        let damaged = |reason: String| StoreError::Damaged {
            path: path.to_owned(),
            reason,
        };
        let mut bytes = Vec::new();
        let read = (self.disk.open(path))
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
        read.map_err(|source| StoreError::Io {
            path: path.to_owned(),
            source,
        })?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(damaged(format!("larger than {FILE_BYTES_MAX} bytes")));
        }
        let frame: Frame =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if frame.format != FORMAT {
            return Err(StoreError::Format {
                path: path.to_owned(),
                found: frame.format,
            });
        }
        serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rollcall_rt::disk::RealDisk;

    use super::*;

    fn store(directory: &Path) -> Store {
        Store::open(Arc::new(RealDisk), directory).unwrap()
    }

    fn service(id: &str) -> ServiceSpec {
        ServiceSpec {
            id: id.into(),
            service: "web".into(),
            ..ServiceSpec::default()
        }
    }

    fn check(id: &str) -> Definition {
        let json = format!(r#"{{"id": "{id}", "name": "n", "kind": {{"ttl": {{"ttl": "10s"}}}}}}"#);
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn what_was_written_is_read_back_whatever_the_ids_are() {
        let directory = tempfile::tempdir().unwrap();
        let ids = [
            "a",
            "scope/name",
            "host:web:80",
            "..",
            "",
            "ä\u{0}",
            &"x".repeat(4000),
        ];
        let before = store(directory.path());
        for id in ids {
            before.put_service(&service(id)).unwrap();
        }
        before.put_check(&check("c")).unwrap();
        before.put_check(&check("gone")).unwrap();
        let health = |status| Health {
            id: "c".into(),
            status,
            output: "o".into(),
        };
        before.put_health(&health(Status::Passing)).unwrap();
        before.put_health(&health(Status::Warning)).unwrap();
        before.remove_check("gone").unwrap();
        before.remove_check("never there").unwrap();
        let loaded = store(directory.path()).load().unwrap();
        let mut found: Vec<_> = loaded.services.iter().map(|s| s.id.as_str()).collect();
        found.sort_unstable();
        let mut expected = ids;
        expected.sort_unstable();
        assert_eq!(found, expected);
        assert_eq!(loaded.checks, [check("c")]);
        assert_eq!(loaded.health, [health(Status::Warning)]);
    }

    #[test]
    fn a_damaged_file_is_named_and_left_alone() {
        for (content, words) in [
            ("", "is damaged"),
            ("{\"format\": 1}", "is damaged"),
            ("{\"format\": 2, \"service\": {}}", "has format 2"),
            ("{\"format\": 1, \"service\": {\"id\": 3}}", "is damaged"),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let store = store(directory.path());
            store.put_service(&service("a")).unwrap();
            let path = store.path(SERVICES, "a");
            std::fs::write(&path, content).unwrap();
            let error = store.load().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
            assert!(error.contains(path.to_str().unwrap()), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
    }

    #[test]
    fn a_file_that_was_being_written_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        std::fs::write(directory.path().join("services/abc.tmp"), "{").unwrap();
        assert_eq!(store.load().unwrap(), Loaded::default());
    }
}
