//! The formats that live for ever, byte for byte: commands in the log, rows in snapshots.
//!
//! A golden file is never rewritten. A new one is made by `UPDATE_GOLDEN=1 cargo test -p rollcall-state --test golden`, which
//! only writes files that do not exist. When a field is added, the sample with it becomes a new file and the old file stays
//! and must still decode.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use rollcall_state::command::*;
use rollcall_state::{
    CodecError, Command, Context, Include, Loader, Proposal, SnapshotError, Stamp, State,
};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// The file's bytes; makes it when asked to.
fn read_or_make(name: &str, now: &[u8]) -> Vec<u8> {
    let path = golden(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() && !path.exists() {
        std::fs::write(&path, now).expect("golden file must be writable");
    }
    std::fs::read(&path)
        .unwrap_or_else(|e| panic!("{}: {e}; see the head of this file", path.display()))
}

fn text(s: &str) -> String {
    s.to_owned()
}

fn pairs(key: &str, value: &str) -> Option<BTreeMap<String, String>> {
    Some(BTreeMap::from([(text(key), text(value))]))
}

fn node() -> NodeSpec {
    NodeSpec {
        id: text("6d1b5d9c-0b0e-4c1e-8b6c-0e7f2b6b1a01"),
        node: text("n1"),
        address: text("10.0.0.1"),
        tagged_addresses: pairs("lan", "10.0.0.1"),
        meta: pairs("rack", "7"),
    }
}

fn service() -> ServiceSpec {
    ServiceSpec {
        id: text("web-1"),
        service: text("web"),
        tags: Some(vec![text("blue")]),
        address: text("10.0.0.2"),
        tagged_addresses: Some(BTreeMap::from([(
            text("lan"),
            TaggedAddress {
                address: text("10.0.0.2"),
                port: 80,
            },
        )])),
        meta: pairs("v", "1"),
        port: 8080,
        weights: Weights {
            passing: 10,
            warning: 2,
        },
        enable_tag_override: true,
    }
}

fn check() -> CheckSpec {
    CheckSpec {
        node: text("n1"),
        check_id: text("c1"),
        name: text("alive"),
        status: Status::Warning,
        notes: text("notes"),
        output: text("out"),
        service_id: text("web-1"),
        check_type: text("http"),
    }
}

fn session() -> SessionCreate {
    SessionCreate {
        id: text("9f1c6a4e-5f0e-4d53-9d3c-1f6f5b7f0c02"),
        name: text("lock"),
        node: text("n1"),
        lock_delay_ns: 1_500_000,
        behavior: Behavior::Delete,
        ttl: text("15s"),
        ttl_ms: 15_000,
        node_checks: vec![text("serfHealth")],
        service_checks: Some(vec![ServiceCheckRef {
            id: text("c1"),
            namespace: text("default"),
        }]),
    }
}

fn kv(key: &str, value: &'static [u8], mode: KvMode) -> Command {
    Command::KvSet(KvSet {
        key: text(key),
        value: Bytes::from_static(value),
        flags: 42,
        mode,
    })
}

/// One of each operation that a transaction knows.
fn txn() -> Txn {
    let verbs = [
        KvVerb::Set,
        KvVerb::Cas,
        KvVerb::Lock,
        KvVerb::Unlock,
        KvVerb::Get,
        KvVerb::GetOrEmpty,
        KvVerb::GetTree,
        KvVerb::CheckIndex,
        KvVerb::CheckSession,
        KvVerb::CheckNotExists,
        KvVerb::Delete,
        KvVerb::DeleteCas,
        KvVerb::DeleteTree,
    ];
    let kv = verbs.map(|verb| {
        TxnOp::Kv(TxnKvOp {
            verb,
            key: text("a"),
            value: Bytes::from_static(b"\x00\xff"),
            flags: 1,
            index: 2,
            session: text("s"),
        })
    });
    let catalog = [
        CatalogVerb::Get,
        CatalogVerb::Set,
        CatalogVerb::Cas,
        CatalogVerb::Delete,
        CatalogVerb::DeleteCas,
    ];
    let rest = catalog.into_iter().flat_map(|verb| {
        [
            TxnOp::Node(TxnNodeOp {
                verb,
                node: node(),
                index: 3,
            }),
            TxnOp::Service(TxnServiceOp {
                verb,
                node: text("n1"),
                service: service(),
                index: 4,
            }),
            TxnOp::Check(TxnCheckOp {
                verb,
                check: check(),
                index: 5,
            }),
        ]
    });
    let session = TxnOp::Session(TxnSessionOp { id: text("s") });
    Txn {
        ops: kv.into_iter().chain(rest).chain([session]).collect(),
    }
}

/// A sample of every command, under its file's name.
fn samples() -> Vec<(&'static str, Command)> {
    vec![
        ("01-kv-set", kv("a/ü", b"\x00one\xff", KvMode::Set)),
        ("01-kv-set-cas", kv("a", b"", KvMode::Cas(7))),
        (
            "01-kv-set-acquire",
            kv("a", b"x", KvMode::Acquire(text("s"))),
        ),
        (
            "01-kv-set-release",
            kv("a", b"x", KvMode::Release(text("s"))),
        ),
        (
            "02-kv-delete",
            Command::KvDelete(KvDelete {
                key: text("a"),
                cas: None,
            }),
        ),
        (
            "02-kv-delete-cas",
            Command::KvDelete(KvDelete {
                key: text("a"),
                cas: Some(9),
            }),
        ),
        (
            "03-kv-delete-tree",
            Command::KvDeleteTree(KvDeleteTree { prefix: text("a/") }),
        ),
        ("04-session-create", Command::SessionCreate(session())),
        (
            "05-session-destroy",
            Command::SessionDestroy(SessionDestroy { id: text("s") }),
        ),
        (
            "06-session-expire",
            Command::SessionExpire(SessionExpire {
                ids: vec![text("s"), text("t")],
                term: 3,
                leader: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef,
            }),
        ),
        ("07-txn", Command::Txn(txn())),
        (
            "08-register",
            Command::Register(Register {
                node: node(),
                service: Some(service()),
                checks: vec![check()],
                skip_node_update: true,
                owner: text("api"),
            }),
        ),
        (
            "09-deregister",
            Command::Deregister(Deregister {
                node: text("n1"),
                service_id: text("web-1"),
                check_id: text("c1"),
            }),
        ),
        (
            "10-tombstone-reap",
            Command::TombstoneReap(TombstoneReap { up_to: 1 << 40 }),
        ),
        (
            "11-restore-begin",
            Command::RestoreBegin(RestoreBegin { id: text("r") }),
        ),
        (
            "12-restore-chunk",
            Command::RestoreChunk(RestoreChunk {
                id: text("r"),
                sequence: 1,
                rows: Bytes::from_static(&[1, 2, 200]),
            }),
        ),
        (
            "13-restore-swap",
            Command::RestoreSwap(RestoreSwap {
                id: text("r"),
                chunks: 2,
                checksum: 0xdead_beef,
            }),
        ),
        (
            "14-restore-abort",
            Command::RestoreAbort(RestoreAbort { id: text("r") }),
        ),
        (
            "15-cluster-init",
            Command::ClusterInit(ClusterInit { id: text("c") }),
        ),
    ]
}

#[test]
fn commands_are_written_and_read_as_they_ever_were() {
    for (name, command) in samples() {
        let at = Stamp(0x0102_0304_0506_0708);
        let proposal = Proposal { at, command };
        let bytes = proposal.encode();
        let file = read_or_make(&format!("command-{name}.bin"), &bytes);
        assert_eq!(
            bytes, file,
            "{name} is written otherwise than in its golden file"
        );
        assert_eq!(Proposal::decode(&file), Ok(proposal.clone()), "{name}");

        let bare = proposal.command.encode();
        assert_eq!(Command::decode(&bare), Ok(proposal.command), "{name}");
        assert_eq!(bare[0], file[0], "{name}: one version for both frames");
        assert_eq!(
            bare[1..],
            file[9..],
            "{name}: the bare command is the proposal without its stamp"
        );
    }
}

#[test]
fn every_golden_command_has_a_reader() {
    let files = std::fs::read_dir(golden("")).expect("golden files must be there");
    let mut numbers: Vec<u16> = Vec::new();
    for file in files {
        let path = file.expect("golden files must be readable").path();
        let name = path
            .file_name()
            .expect("a file has a name")
            .to_string_lossy()
            .into_owned();
        if name.starts_with("command-") {
            let bytes = std::fs::read(&path).expect("golden file must be readable");
            Proposal::decode(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
            let number = u16::from_le_bytes([bytes[9], bytes[10]]);
            assert!(
                name.starts_with(&format!("command-{number:02}-")),
                "{name} is number {number}"
            );
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(
        numbers,
        (1..=15).collect::<Vec<u16>>(),
        "a command without a golden file"
    );
}

/// A command frame around a hand-made body.
fn frame(number: u16, body: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = vec![1];
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend(rmp_serde::to_vec_named(body).expect("a body must encode"));
    bytes
}

#[test]
fn a_field_of_tomorrow_is_skipped_and_a_field_of_tomorrow_may_be_missing() {
    #[derive(serde::Serialize)]
    struct Tomorrow {
        colour: &'static str,
        key: &'static str,
        #[serde(with = "serde_bytes")]
        value: &'static [u8],
    }
    let body = Tomorrow {
        colour: "blue",
        key: "a",
        value: b"v",
    };
    // `flags` and `mode` are not there, `colour` is not known.
    let expected = KvSet {
        key: text("a"),
        value: Bytes::from_static(b"v"),
        flags: 0,
        mode: KvMode::Set,
    };
    assert_eq!(
        Command::decode(&frame(1, &body)),
        Ok(Command::KvSet(expected))
    );
}

#[test]
fn what_is_unknown_or_cut_off_is_named() {
    let no_fields = BTreeMap::<String, u8>::new();
    assert_eq!(
        Command::decode(&frame(4711, &no_fields)),
        Err(CodecError::UnknownCommand(4711))
    );
    assert_eq!(
        Command::decode(&frame(0, &no_fields)),
        Err(CodecError::UnknownCommand(0))
    );
    assert_eq!(
        Command::decode(&[2, 1, 0]),
        Err(CodecError::UnknownVersion(2))
    );
    assert_eq!(
        Proposal::decode(&[2, 1, 0]),
        Err(CodecError::UnknownVersion(2))
    );
    assert_eq!(Command::decode(&[]), Err(CodecError::Truncated(0)));
    assert_eq!(Proposal::decode(&[1, 0, 0]), Err(CodecError::Truncated(3)));
    let words = Command::decode(&frame(1, &no_fields))
        .expect_err("a set needs a key")
        .to_string();
    assert!(
        words.contains("command number 1") && words.contains("key"),
        "{words}"
    );

    for (name, command) in samples() {
        let whole = command.encode();
        for len in 0..whole.len() {
            assert!(
                Command::decode(&whole[..len]).is_err(),
                "{name} cut to {len} bytes decodes"
            );
        }
    }
}

#[test]
fn values_travel_as_bytes_not_as_lists_of_numbers() {
    let value = Bytes::from(vec![0xff; 100_000]);
    let set = KvSet {
        key: text("a"),
        value: value.clone(),
        flags: 0,
        mode: KvMode::Set,
    };
    assert!(Command::KvSet(set).encode().len() < value.len() + 100);
    let chunk = RestoreChunk {
        id: text("r"),
        sequence: 0,
        rows: value.clone(),
    };
    assert!(Command::RestoreChunk(chunk).encode().len() < value.len() + 100);
    let mut state = State::default();
    let set = KvSet {
        key: text("a"),
        value,
        flags: 0,
        mode: KvMode::Set,
    };
    apply(&mut state, 1, Command::KvSet(set));
    let snapshot: usize = state.chunks(1, Include::LiveOnly).map(|c| c.len()).sum();
    assert!(snapshot < 100_500, "{snapshot}");
}

fn apply(state: &mut State, log_index: u64, command: Command) {
    let context = Context {
        log_index,
        term: 1,
        leader: 1,
        at: Stamp(log_index * 10),
    };
    state.apply(context, &command);
}

/// A state that has every kind of row, a restore under way among them.
fn full_state() -> State {
    let register = |node: NodeSpec, service, checks| {
        Command::Register(Register {
            node,
            service,
            checks,
            owner: text("api"),
            ..Register::default()
        })
    };
    let named = |name: &str| NodeSpec {
        node: text(name),
        ..NodeSpec::default()
    };
    let serf = CheckSpec {
        check_id: text("serfHealth"),
        service_id: text(""),
        ..check()
    };
    let other_session = SessionCreate {
        id: text("other"),
        behavior: Behavior::Release,
        ..session()
    };
    let held = session().id;
    let mut backup = State::default();
    apply(&mut backup, 1, kv("restored", b"r", KvMode::Set));
    let backup: Vec<u8> = backup
        .chunks(1 << 20, Include::LiveOnly)
        .collect::<Vec<_>>()
        .concat();
    let cut = backup.len() - 5;
    let commands = [
        Command::ClusterInit(ClusterInit {
            id: text("cluster"),
        }),
        register(node(), Some(service()), vec![check(), serf]),
        register(named("n2"), None, vec![]),
        Command::Deregister(Deregister {
            node: text("n2"),
            ..Deregister::default()
        }),
        Command::SessionCreate(session()),
        Command::SessionCreate(other_session),
        kv("live", b"\x00\xff", KvMode::Acquire(held)),
        kv("plain", b"", KvMode::Set),
        kv("pl", b"1", KvMode::Acquire(text("other"))),
        Command::SessionDestroy(SessionDestroy { id: text("other") }),
        kv("plane", b"1", KvMode::Set),
        Command::KvDelete(KvDelete {
            key: text("plane"),
            cas: None,
        }),
        Command::TombstoneReap(TombstoneReap { up_to: 12 }),
        kv("gone", b"1", KvMode::Set),
        Command::KvDelete(KvDelete {
            key: text("gone"),
            cas: None,
        }),
        Command::RestoreBegin(RestoreBegin { id: text("r") }),
        Command::RestoreChunk(RestoreChunk {
            id: text("r"),
            sequence: 0,
            rows: Bytes::copy_from_slice(&backup[..cut]),
        }),
    ];
    let mut state = State::default();
    // The lock-delay of `other` is 2 ms; later commands carry its end's stamp or earlier ones.
    for (i, command) in commands.into_iter().enumerate() {
        let context = Context {
            log_index: i as u64 + 1,
            term: 1,
            leader: 1,
            at: Stamp(10),
        };
        state.apply(context, &command);
    }
    state
}

#[test]
fn snapshots_are_written_and_read_as_they_ever_were() {
    let state = full_state();
    for (include, name) in [
        (Include::Everything, "everything"),
        (Include::LiveOnly, "live"),
    ] {
        let bytes: Vec<u8> = state.chunks(64, include).collect::<Vec<_>>().concat();
        let file = read_or_make(&format!("snapshot-{name}.bin"), &bytes);
        assert_eq!(
            bytes, file,
            "the snapshot of {name} is written otherwise than in its golden file"
        );
        let mut loader = Loader::new();
        loader.push(&file).expect("a golden snapshot must load");
        let loaded = loader.finish().expect("a golden snapshot must be whole");
        assert_eq!(loaded.kv_list("").value, state.kv_list("").value);
        if include == Include::Everything {
            assert_eq!(loaded.digest(), state.digest());
            assert_eq!(loaded.kv_get("gone"), state.kv_get("gone"));
        }
    }
    let numbers =
        row_numbers(&std::fs::read(golden("snapshot-everything.bin")).expect("just read"));
    assert_eq!(
        numbers,
        (1..=14).collect::<Vec<u16>>(),
        "a kind of row is not in the golden snapshot"
    );
}

/// The kinds of rows in a snapshot, each once.
fn row_numbers(mut bytes: &[u8]) -> Vec<u16> {
    let mut numbers = Vec::new();
    while let [a, b, l0, l1, l2, l3, rest @ ..] = bytes {
        numbers.push(u16::from_le_bytes([*a, *b]));
        bytes = &rest[u32::from_le_bytes([*l0, *l1, *l2, *l3]) as usize..];
    }
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

#[test]
fn a_snapshot_cut_anywhere_loads_in_pieces_and_never_when_a_piece_is_missing() {
    let state = full_state();
    let whole: Vec<u8> = state
        .chunks(1 << 20, Include::Everything)
        .collect::<Vec<_>>()
        .concat();
    for cut in 0..whole.len() {
        let mut loader = Loader::new();
        loader
            .push(&whole[..cut])
            .expect("the beginning of a snapshot must load");
        let early = loader.clone().finish().map(|s| s.digest());
        assert!(
            matches!(early, Err(SnapshotError::Truncated { .. })),
            "{cut}: {early:?}"
        );
        loader
            .push(&whole[cut..])
            .expect("the rest of a snapshot must load");
        assert_eq!(loader.finish().expect("all came").digest(), state.digest());
    }
    let mut twice = Loader::new();
    twice.push(&whole).expect("a snapshot must load");
    assert_eq!(
        twice.push(&whole).map(|_| ()),
        Err(SnapshotError::Misplaced)
    );
}

#[test]
fn a_snapshot_of_another_version_or_with_an_unknown_row_is_refused() {
    let state = full_state();
    let whole: Vec<u8> = state
        .chunks(1 << 20, Include::LiveOnly)
        .collect::<Vec<_>>()
        .concat();
    let push = |bytes: &[u8]| {
        Loader::new()
            .push(bytes)
            .map(|_| ())
            .expect_err("must be refused")
    };

    let mut unknown = whole.clone();
    unknown[0] = 99;
    assert_eq!(push(&unknown), SnapshotError::UnknownRow(99));

    let format = whole
        .windows(7)
        .position(|w| w == b"format\x01")
        .expect("the header names it");
    let mut newer = whole.clone();
    newer[format + 6] = 2;
    assert_eq!(push(&newer), SnapshotError::UnknownFormat(2));

    let first_len = 6 + u32::from_le_bytes([whole[2], whole[3], whole[4], whole[5]]) as usize;
    assert_eq!(push(&whole[first_len..]), SnapshotError::NoHeader);
    let huge = [2, 0, 255, 255, 255, 255];
    assert!(matches!(push(&huge), SnapshotError::RowTooLong(_)));
}
