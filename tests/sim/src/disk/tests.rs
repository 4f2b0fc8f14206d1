//! What survives a crash of the simulated disk, and that redb lives with it.

use redb::ReadableDatabase as _;

use std::io::{Read as _, Write as _};

use rollcall_server::disk::Disk as _;

use super::*;

fn disk() -> SimDisk {
    let disk = SimDisk::default();
    disk.create_dir_all(Path::new("/data"))
        .expect("a new disk must take directories");
    disk
}

fn content(disk: &SimDisk, path: &str) -> Option<Vec<u8>> {
    let mut file = disk.open(Path::new(path)).ok()?;
    let mut content = Vec::new();
    file.read_to_end(&mut content)
        .expect("an open file must be readable");
    Some(content)
}

#[test]
fn what_was_synced_and_renamed_survives_every_crash() {
    for seed in 0..50 {
        let disk = disk();
        rollcall_server::disk::write_atomically(&disk, Path::new("/data/a"), b"kept")
            .expect("a healthy disk must write");
        disk.freeze();
        disk.crash(seed);
        assert_eq!(content(&disk, "/data/a").as_deref(), Some(&b"kept"[..]));
    }
}

#[test]
fn what_was_not_synced_is_now_kept_now_torn_now_lost() {
    let mut fates = BTreeSet::new();
    for seed in 0..50 {
        let disk = disk();
        let path = Path::new("/data/a");
        let mut file = disk.create(path).expect("a healthy disk must create");
        file.sync().expect("a healthy disk must sync");
        disk.rename(path, path).expect("a healthy disk must rename");
        file.write_all(&[7; 4 * SECTOR])
            .expect("a healthy disk must write");
        disk.freeze();
        drop(file);
        disk.crash(seed);
        let left = content(&disk, "/data/a").unwrap_or_default();
        let sevens = left.iter().filter(|byte| **byte == 7).count();
        assert_eq!(sevens % SECTOR, 0, "sectors are whole");
        fates.insert(match sevens / SECTOR {
            0 => "lost",
            4 => "kept",
            _ => "torn",
        });
    }
    assert_eq!(fates.len(), 3, "{fates:?}");
}

#[test]
fn writes_after_the_freeze_never_count_and_are_errors() {
    let disk = disk();
    let mut file = disk
        .create(Path::new("/data/a"))
        .expect("a healthy disk must create");
    disk.cut_power_in(2);
    file.write_all(b"x").expect("the first is before the cut");
    assert!(file.sync().is_err());
    assert!(disk.is_frozen());
    assert!(
        disk.rename(Path::new("/data/a"), Path::new("/data/b"))
            .is_err()
    );
}

#[test]
fn handles_and_locks_of_a_crashed_server_are_dead() {
    let disk = disk();
    let held = disk.lock(Path::new("/data/lock")).expect("it is free");
    assert!(disk.lock(Path::new("/data/lock")).is_err());
    let mut file = disk
        .create(Path::new("/data/a"))
        .expect("a healthy disk must create");
    disk.crash(1);
    let again = disk.lock(Path::new("/data/lock")).expect("its holder died");
    drop(held);
    assert!(disk.lock(Path::new("/data/lock")).is_err());
    drop(again);
    assert!(file.write_all(b"x").is_err());
}

const TABLE: redb::TableDefinition<'_, u64, u64> = redb::TableDefinition::new("t");

/// Commits numbers until the power goes; then every committed one must be there.
#[test]
fn redb_keeps_every_commit_across_power_cuts() {
    for seed in 0..40 {
        let disk = disk();
        let open = || {
            let backend = disk
                .open_database(Path::new("/data/db"))
                .expect("a healthy disk must open");
            redb::Database::builder().create_with_backend(BoxedBackend(backend))
        };
        let database = open().expect("a new database must open");
        disk.cut_power_in(20 + u32::try_from(seed).expect("small") * 7);
        let mut committed = 0;
        for number in 1..1000u64 {
            let commit = || -> Result<(), redb::Error> {
                let transaction = database.begin_write()?;
                transaction.open_table(TABLE)?.insert(0, number)?;
                Ok(transaction.commit()?)
            };
            if commit().is_err() {
                break;
            }
            committed = number;
        }
        assert!(
            disk.is_frozen(),
            "seed {seed}: the power must have been cut"
        );
        drop(database);
        disk.crash(seed);
        let database = open().expect("redb must recover");
        let transaction = database.begin_read().expect("redb must read");
        let found = match transaction.open_table(TABLE) {
            Ok(table) => table.get(0).expect("redb must read").map(|n| n.value()),
            Err(_) => None,
        };
        let found = found.unwrap_or(0);
        assert!(
            found == committed || found == committed + 1,
            "seed {seed}: {committed} committed, {found} found"
        );
    }
}

#[derive(Debug)]
struct BoxedBackend(Box<dyn redb::StorageBackend>);

impl redb::StorageBackend for BoxedBackend {
    fn len(&self) -> Result<u64, io::Error> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> Result<(), io::Error> {
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.0.write(offset, data)
    }
}
