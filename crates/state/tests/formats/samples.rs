//! One of every command, and a state that has every kind of row.

use std::collections::BTreeMap;

use bytes::Bytes;
use rollcall_state::command::*;
use rollcall_state::{Command, Context, Include, Stamp, State};

pub(crate) fn text(s: &str) -> String {
    s.to_owned()
}

pub(crate) fn pairs(key: &str, value: &str) -> Option<BTreeMap<String, String>> {
    Some(BTreeMap::from([(text(key), text(value))]))
}

pub(crate) fn node() -> NodeSpec {
    NodeSpec {
        id: text("6d1b5d9c-0b0e-4c1e-8b6c-0e7f2b6b1a01"),
        node: text("n1"),
        address: text("10.0.0.1"),
        tagged_addresses: pairs("lan", "10.0.0.1"),
        meta: pairs("rack", "7"),
    }
}

pub(crate) fn service() -> ServiceSpec {
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

pub(crate) fn check() -> CheckSpec {
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

pub(crate) fn session() -> SessionCreate {
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

pub(crate) fn kv(key: &str, value: &'static [u8], mode: KvMode) -> Command {
    Command::KvSet(KvSet {
        key: text(key),
        value: Bytes::from_static(value),
        flags: 42,
        mode,
    })
}

/// One of each operation that a transaction knows.
pub(crate) fn txn() -> Txn {
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
pub(crate) fn samples() -> Vec<(&'static str, Command)> {
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

pub(crate) fn apply(state: &mut State, log_index: u64, command: Command) {
    let context = Context {
        log_index,
        term: 1,
        leader: 1,
        at: Stamp(log_index * 10),
    };
    state.apply(context, &command);
}

/// A state that has every kind of row, a restore under way among them.
pub(crate) fn full_state() -> State {
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
