//! One of every command, and a state that has every kind of row.

use std::sync::Arc;

use bytes::Bytes;
use rollcall_state::command::*;
use rollcall_state::{Command, Context, Include, SortedMap, Stamp, State};

pub(crate) fn text(s: &str) -> String {
    s.to_owned()
}

pub(crate) fn pairs(key: &str, value: &str) -> Option<SortedMap> {
    Some([(key, value)].into_iter().collect())
}

pub(crate) fn node() -> NodeSpec {
    NodeSpec {
        id: "6d1b5d9c-0b0e-4c1e-8b6c-0e7f2b6b1a01".into(),
        node: "n1".into(),
        address: "10.0.0.1".into(),
        tagged_addresses: pairs("lan", "10.0.0.1"),
        meta: pairs("rack", "7"),
    }
}

pub(crate) fn service() -> ServiceSpec {
    ServiceSpec {
        id: "web-1".into(),
        service: "web".into(),
        tags: Some(["blue".into()].into()),
        address: "10.0.0.2".into(),
        tagged_addresses: Some(
            [(
                "lan",
                TaggedAddress {
                    address: "10.0.0.2".into(),
                    port: 80,
                },
            )]
            .into_iter()
            .collect(),
        ),
        meta: pairs("v", "1"),
        port: 8080,
        weights: Weights {
            passing: 10,
            warning: 2,
        },
        enable_tag_override: true,
        ..ServiceSpec::default()
    }
}

pub(crate) fn check() -> CheckSpec {
    CheckSpec {
        node: "n1".into(),
        check_id: "c1".into(),
        name: "alive".into(),
        status: Status::Warning,
        notes: "notes".into(),
        output: "out".into(),
        service_id: "web-1".into(),
        check_type: "http".into(),
        ..CheckSpec::default()
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
                node: "n1".into(),
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
        ..Txn::default()
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
                owner: "api".into(),
            }),
        ),
        (
            "08-register-whole",
            Command::Register(Register {
                node: node(),
                service: Some(whole_service()),
                checks: vec![whole_check()],
                skip_node_update: true,
                owner: "agent:n1".into(),
            }),
        ),
        (
            "09-deregister",
            Command::Deregister(Deregister {
                node: "n1".into(),
                service_id: "web-1".into(),
                check_id: "c1".into(),
                owner: Arc::default(),
            }),
        ),
        (
            "09-deregister-owner",
            Command::Deregister(Deregister {
                node: "n1".into(),
                service_id: "web-1".into(),
                check_id: "c1".into(),
                owner: "agent:n1".into(),
            }),
        ),
        (
            "07-txn-owner",
            Command::Txn(Txn {
                owner: "agent:n1".into(),
                ..txn()
            }),
        ),
        (
            "16-query-set",
            Command::QuerySet(QuerySet {
                query: query(),
                must_exist: true,
            }),
        ),
        (
            "17-query-delete",
            Command::QueryDelete(QueryDelete { id: "q".into() }),
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

/// A service with every field.
pub(crate) fn whole_service() -> ServiceSpec {
    ServiceSpec {
        kind: "ordinary".into(),
        socket_path: "/run/web.sock".into(),
        ..service()
    }
}

/// A check with every field.
pub(crate) fn whole_check() -> CheckSpec {
    let texts = |all: &[&str]| all.iter().copied().map(Arc::from).collect();
    CheckSpec {
        status: Status::parse("odd"),
        interval: "10s".into(),
        timeout: "1s".into(),
        exposed_port: 8081,
        definition: Some(Box::new(CheckDefinition {
            http: "https://10.0.0.2/".into(),
            tls_server_name: "web".into(),
            tls_skip_verify: true,
            header: [("Accept", texts(&["a", "b"]))].into_iter().collect(),
            method: "GET".into(),
            body: "{}".into(),
            disable_redirects: true,
            tcp: "10.0.0.2:80".into(),
            tcp_use_tls: true,
            udp: "10.0.0.2:53".into(),
            h2ping: "10.0.0.2:443".into(),
            h2ping_use_tls: true,
            os_service: "web".into(),
            interval_ns: 10_000_000_000,
            output_max_size: 4096,
            timeout_ns: 1_000_000_000,
            deregister_critical_service_after_ns: 60_000_000_000,
            script_args: texts(&["/bin/true", "-x"]),
            docker_container_id: "c".into(),
            shell: "/bin/sh".into(),
            grpc: "10.0.0.2:90".into(),
            grpc_use_tls: true,
            alias_node: "n2".into(),
            alias_service: "web".into(),
            ttl_ns: 5_000_000_000,
        })),
        ..check()
    }
}

/// A prepared query with every field.
pub(crate) fn query() -> QuerySpec {
    let texts = |all: &[&str]| Some(all.iter().copied().map(Arc::from).collect());
    QuerySpec {
        id: "6d1b5d9c-0b0e-4c1e-8b6c-0e7f2b6b1a03".into(),
        name: "web-q".into(),
        session: session().id.into(),
        token: "t".into(),
        service: QueryService {
            service: "web".into(),
            only_passing: true,
            ignore_check_ids: texts(&["c1"]),
            near: "_agent".into(),
            tags: texts(&["v1", "!old"]),
            node_meta: pairs("rack", "7"),
            service_meta: pairs("v", "1"),
            connect: true,
            failover: QueryFailover {
                nearest_n: 2,
                datacenters: texts(&["dc2"]),
            },
        },
        dns_ttl: "10s".into(),
    }
}

/// [`full_state`] with what later versions added: the catalog with three commands, prepared queries with four.
pub(crate) fn fuller_state(commands_max: usize) -> State {
    let mut state = full_state();
    let register = |node: &str, service: &str| Register {
        node: NodeSpec {
            node: node.into(),
            ..NodeSpec::default()
        },
        service: Some(ServiceSpec {
            service: service.into(),
            ..whole_service()
        }),
        checks: vec![CheckSpec {
            node: node.into(),
            ..whole_check()
        }],
        owner: "agent:n3".into(),
        ..Register::default()
    };
    let commands = [
        Command::Register(register("n3", "web")),
        Command::Register(register("n4", "gone")),
        Command::Deregister(Deregister {
            node: "n4".into(),
            ..Deregister::default()
        }),
        Command::QuerySet(QuerySet {
            query: query(),
            must_exist: false,
        }),
    ];
    for command in commands.into_iter().take(commands_max) {
        // As in `full_state`, before the lock-delay ends.
        let context = Context {
            log_index: state.index() + 1,
            term: 1,
            leader: 1,
            at: Stamp(10),
        };
        state.apply(context, &command);
    }
    state
}

/// A state that has every kind of row, a restore under way among them.
pub(crate) fn full_state() -> State {
    let register = |node: NodeSpec, service, checks| {
        Command::Register(Register {
            node,
            service,
            checks,
            owner: "api".into(),
            ..Register::default()
        })
    };
    let named = |name: &str| NodeSpec {
        node: name.into(),
        ..NodeSpec::default()
    };
    let serf = CheckSpec {
        check_id: "serfHealth".into(),
        service_id: "".into(),
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
            node: "n2".into(),
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
