//! Random commands over few names, so that they meet. Conditions are drawn as "the right one", "none", "a wrong one" and
//! made numbers against the model when their turn comes.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use rollcall_state::Command;
use rollcall_state::command::*;

use crate::naive::Naive;
use crate::naive::catalog::key;

/// Nested names, with characters of one to three bytes whose first bytes agree.
pub(crate) const KEYS: &[&str] = &[
    "a", "a/", "a/b", "a/b/c", "a/b/d", "a/bc", "ab", "a/é", "a/è", "b", "b/x", "c/x/1", "c/x/2",
    "c/y",
];
pub(crate) const PREFIXES: &[&str] = &[
    "", "a", "a/", "a/b", "a/b/", "a/bc", "a/é", "b", "b/x", "c", "c/", "c/x", "c/x/1", "d", "z/z",
];
pub(crate) const NODES: &[&str] = &["n1", "n2", "N2", "ghost"];
pub(crate) const SESSIONS: &[&str] = &["s1", "s2", "s3", "s4"];
/// Of nodes; `ID-1` is `id-1`.
pub(crate) const NODE_IDS: &[&str] = &["id-1", "ID-1", "id-2"];
pub(crate) const CHECKS: &[&str] = &["c1", "c2", "C2", "serfHealth"];
const WRITERS: &[&str] = &[
    "",
    "api",
    "api",
    "api",
    "agent:id-1",
    "agent:id-1",
    "agent:id-2",
    "gossip",
    "operator:k",
];
pub(crate) const SERVICES: &[&str] = &["v1", "v2"];
pub(crate) const QUERIES: &[&str] = &["i1", "i2", "I2"];
pub(crate) const NAMES: &[&str] = &["web", "Web", "db"];
pub(crate) const STATES: &[&str] = &["any", "passing", "warning", "critical", "odd", "even"];

/// What happens next.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // a few dozen live at a time
pub(crate) enum Step {
    Command(Draft),
    /// Reap up to so many indexes before now.
    Reap(u64),
    /// Keep what lives.
    Save,
    /// Restore what was kept, in chunks of so many bytes.
    Restore(usize),
    /// Go on with a state that was written to a snapshot and read again.
    Reload(usize),
}

/// A command whose condition is not a number yet.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // a few dozen live at a time
pub(crate) enum Draft {
    Ready(Command),
    Txn(Vec<(TxnOp, Pick)>, String),
    Cas(KvSet, Pick),
    DeleteCas(String, Pick),
}

/// Which index a condition names.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pick {
    Right,
    Zero,
    Wrong,
}

impl Pick {
    fn number(self, right: Option<u64>) -> u64 {
        match self {
            Pick::Right => right.unwrap_or(0),
            Pick::Zero => 0,
            Pick::Wrong => 999_999,
        }
    }
}

impl Draft {
    pub(crate) fn ready(self, model: &Naive) -> Command {
        let modify = |key: &str| model.keys.get(key).map(|row| row.modify);
        match self {
            Draft::Ready(command) => command,
            Draft::Cas(mut set, pick) => {
                set.mode = KvMode::Cas(pick.number(modify(&set.key)));
                Command::KvSet(set)
            }
            Draft::DeleteCas(key, pick) => {
                let cas = Some(pick.number(modify(&key)));
                Command::KvDelete(KvDelete { key, cas })
            }
            Draft::Txn(ops, owner) => {
                let ops = ops.into_iter().map(|(mut op, pick)| {
                    let index = pick.number(match &op {
                        TxnOp::Kv(op) => modify(&op.key),
                        TxnOp::Node(op) => {
                            let row = model.nodes.get(&op.node.node.to_lowercase());
                            row.map(|row| row.modify_index)
                        }
                        TxnOp::Service(op) => {
                            let row = model.services.get(&key(&op.node, &op.service.id));
                            row.map(|row| row.modify_index)
                        }
                        TxnOp::Check(op) => {
                            let row = model.checks.get(&key(&op.check.node, &op.check.check_id));
                            row.map(|row| row.modify_index)
                        }
                        TxnOp::Session(_) => None,
                    });
                    match &mut op {
                        TxnOp::Kv(op) => op.index = index,
                        TxnOp::Node(op) => op.index = index,
                        TxnOp::Service(op) => op.index = index,
                        TxnOp::Check(op) => op.index = index,
                        TxnOp::Session(_) => {}
                    }
                    op
                });
                Command::Txn(Txn {
                    ops: ops.collect(),
                    owner: owner.into(),
                })
            }
        }
    }
}

fn one_of(names: &'static [&'static str]) -> impl Strategy<Value = String> + Clone {
    prop::sample::select(names).prop_map(str::to_owned)
}

fn pick() -> impl Strategy<Value = Pick> {
    prop_oneof![3 => Just(Pick::Right), 1 => Just(Pick::Zero), 1 => Just(Pick::Wrong)]
}

fn session() -> impl Strategy<Value = String> {
    prop_oneof![9 => one_of(SESSIONS), 1 => Just("unknown".to_owned()), 1 => Just(String::new())]
}

fn value() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec![&b""[..], b"1", b"2"]).prop_map(Bytes::from_static)
}

fn kv_set() -> impl Strategy<Value = KvSet> {
    let mode = prop_oneof![
        4 => Just(KvMode::Set),
        3 => session().prop_map(KvMode::Acquire),
        2 => session().prop_map(KvMode::Release),
    ];
    (one_of(KEYS), value(), 0..2_u64, mode).prop_map(|(key, value, flags, mode)| KvSet {
        key,
        value,
        flags,
        mode,
    })
}

fn node_id() -> impl Strategy<Value = String> {
    prop_oneof![1 => Just(String::new()), 1 => one_of(NODE_IDS)]
}

fn node() -> impl Strategy<Value = NodeSpec> {
    let address = one_of(&["10.0.0.1", "10.0.0.2"]);
    (one_of(&NODES[..3]), address, node_id()).prop_map(|(node, address, id)| NodeSpec {
        id: id.into(),
        node: node.into(),
        address: address.into(),
        ..NodeSpec::default()
    })
}

/// One node under another name and back in one transaction, with what another operation does in between.
fn there_and_back() -> impl Strategy<Value = Draft> {
    let names = (
        one_of(&NODES[..3]),
        one_of(&NODES[..3]),
        one_of(&NODES[..3]),
    );
    (one_of(NODE_IDS), names, txn_op(), one_of(WRITERS)).prop_map(|(id, names, op, owner)| {
        let (first, second, third) = names;
        let named = |name: String| {
            let node = NodeSpec {
                id: id.as_str().into(),
                node: name.into(),
                ..NodeSpec::default()
            };
            let verb = CatalogVerb::Set;
            let op = TxnOp::Node(TxnNodeOp {
                verb,
                node,
                index: 0,
            });
            (op, Pick::Right)
        };
        let ops = vec![named(first), named(second), (op, Pick::Right), named(third)];
        Draft::Txn(ops, owner)
    })
}

fn service() -> impl Strategy<Value = ServiceSpec> {
    let tags = prop::sample::select(vec![None, Some("a"), Some("b"), Some("a b"), Some("b b")]);
    (one_of(SERVICES), one_of(NAMES), 0..2_u16, tags).prop_map(|(id, service, port, tags)| {
        ServiceSpec {
            id: id.into(),
            service: service.into(),
            port,
            tags: tags.map(|tags| tags.split(' ').map(Arc::from).collect()),
            ..ServiceSpec::default()
        }
    })
}

fn check(node: Arc<str>) -> impl Strategy<Value = CheckSpec> {
    let status = prop::sample::select(vec![
        Status::Passing,
        Status::Passing,
        Status::Warning,
        Status::Critical,
        Status::parse("odd"),
        Status::parse("even"),
    ]);
    let service = prop_oneof![2 => Just(String::new()), 1 => one_of(SERVICES)];
    (one_of(CHECKS), status, service).prop_map(move |(check_id, status, service_id)| CheckSpec {
        node: node.clone(),
        check_id: check_id.into(),
        status,
        service_id: service_id.into(),
        ..CheckSpec::default()
    })
}

fn register() -> impl Strategy<Value = Command> {
    let skip_node_update = prop::bool::weighted(0.1);
    (node(), one_of(WRITERS), skip_node_update).prop_flat_map(|(node, owner, skip_node_update)| {
        // Few ids: one is often there twice.
        let checks = prop::collection::vec(check(node.node.clone()), 0..4);
        let service = prop::option::of(service());
        (Just(node), service, checks).prop_map(move |(node, service, checks)| {
            Command::Register(Register {
                node,
                service,
                checks,
                skip_node_update,
                owner: owner.as_str().into(),
            })
        })
    })
}

fn deregister() -> impl Strategy<Value = Command> {
    let what = prop_oneof![
        1 => Just((String::new(), String::new())),
        2 => one_of(SERVICES).prop_map(|id| (id, String::new())),
        2 => one_of(CHECKS).prop_map(|id| (String::new(), id)),
    ];
    (one_of(NODES), what, one_of(WRITERS)).prop_map(|(node, (service_id, check_id), owner)| {
        Command::Deregister(Deregister {
            node: node.into(),
            service_id: service_id.into(),
            check_id: check_id.into(),
            owner: owner.into(),
        })
    })
}

fn query() -> impl Strategy<Value = Command> {
    let session = prop_oneof![2 => Just(String::new()), 1 => session()];
    (
        one_of(QUERIES),
        one_of(&["", "q", "Q", "p", "i1"]),
        session,
        any::<bool>(),
    )
        .prop_map(|(id, name, session, must_exist)| {
            let query = QuerySpec {
                id: id.into(),
                name: name.into(),
                session: session.into(),
                ..QuerySpec::default()
            };
            Command::QuerySet(QuerySet { query, must_exist })
        })
}

fn session_create() -> impl Strategy<Value = Command> {
    let checks = || prop::collection::vec(one_of(CHECKS), 0..2);
    let of_services = prop_oneof![2 => Just(None), 1 => checks().prop_map(Some)];
    let delay = prop::sample::select(vec![0, 1, 1_500_000, 20_000_000]);
    (
        one_of(SESSIONS),
        one_of(NODES),
        checks(),
        of_services,
        delay,
        any::<bool>(),
    )
        .prop_map(
            |(id, node, node_checks, of_services, lock_delay_ns, delete)| {
                let of_service = |id| ServiceCheckRef {
                    id,
                    namespace: String::new(),
                };
                Command::SessionCreate(SessionCreate {
                    id,
                    node,
                    node_checks,
                    lock_delay_ns,
                    behavior: if delete {
                        Behavior::Delete
                    } else {
                        Behavior::Release
                    },
                    name: String::new(),
                    ttl: String::new(),
                    ttl_ms: 0,
                    service_checks: of_services
                        .map(|ids| ids.into_iter().map(of_service).collect()),
                })
            },
        )
}

fn txn_op() -> impl Strategy<Value = TxnOp> {
    let verbs = vec![
        KvVerb::Set,
        KvVerb::Set,
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
    let kv = (
        prop::sample::select(verbs),
        one_of(KEYS),
        value(),
        0..2_u64,
        session(),
    )
        .prop_map(|(verb, key, value, flags, session)| {
            TxnOp::Kv(TxnKvOp {
                verb,
                key,
                value,
                flags,
                index: 0,
                session,
            })
        });
    let catalog = || {
        prop::sample::select(vec![
            CatalogVerb::Get,
            CatalogVerb::Set,
            CatalogVerb::Set,
            CatalogVerb::Cas,
            CatalogVerb::Delete,
            CatalogVerb::DeleteCas,
        ])
    };
    prop_oneof![
        8 => kv,
        1 => (catalog(), node())
            .prop_map(|(verb, node)| TxnOp::Node(TxnNodeOp { verb, node, index: 0 })),
        1 => (catalog(), one_of(&NODES[..3]), service()).prop_map(|(verb, node, service)| {
            TxnOp::Service(TxnServiceOp { verb, node: node.into(), service, index: 0 })
        }),
        1 => (catalog(), one_of(&NODES[..3]).prop_flat_map(|node| check(node.into())))
            .prop_map(|(verb, check)| TxnOp::Check(TxnCheckOp { verb, check, index: 0 })),
        1 => one_of(SESSIONS).prop_map(|id| TxnOp::Session(TxnSessionOp { id })),
    ]
}

fn draft() -> impl Strategy<Value = Draft> {
    let ready = |strategy: BoxedStrategy<Command>| strategy.prop_map(Draft::Ready);
    let delete = one_of(KEYS).prop_map(|key| Command::KvDelete(KvDelete { key, cas: None }));
    let tree = one_of(PREFIXES).prop_map(|prefix| Command::KvDeleteTree(KvDeleteTree { prefix }));
    let end = one_of(SESSIONS).prop_map(|id| Command::SessionDestroy(SessionDestroy { id }));
    let expire = (
        prop::collection::vec(one_of(SESSIONS), 1..3),
        1..3_u64,
        1..3_u128,
    )
        .prop_map(|(ids, term, leader)| {
            Command::SessionExpire(SessionExpire { ids, term, leader })
        });
    let delete_query =
        one_of(QUERIES).prop_map(|id| Command::QueryDelete(QueryDelete { id: id.into() }));
    prop_oneof![
        12 => ready(kv_set().prop_map(Command::KvSet).boxed()),
        2 => (kv_set(), pick()).prop_map(|(set, pick)| Draft::Cas(set, pick)),
        4 => ready(delete.boxed()),
        1 => (one_of(KEYS), pick()).prop_map(|(key, pick)| Draft::DeleteCas(key, pick)),
        1 => ready(tree.boxed()),
        4 => ready(session_create().boxed()),
        1 => ready(end.boxed()),
        1 => ready(expire.boxed()),
        10 => ready(register().boxed()),
        3 => ready(deregister().boxed()),
        1 => there_and_back(),
        2 => ready(query().boxed()),
        1 => ready(delete_query.boxed()),
        4 => (prop::collection::vec((txn_op(), pick()), 1..5), one_of(WRITERS))
            .prop_map(|(ops, owner)| Draft::Txn(ops, owner)),
    ]
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        40 => draft().prop_map(Step::Command),
        4 => (0..12_u64).prop_map(Step::Reap),
        1 => Just(Step::Save),
        1 => (1..400_usize).prop_map(Step::Restore),
        1 => (1..400_usize).prop_map(Step::Reload),
    ];
    let nodes = ["n1", "n2"].map(|node| {
        let node = NodeSpec {
            node: node.into(),
            ..NodeSpec::default()
        };
        Step::Command(Draft::Ready(Command::Register(Register {
            node,
            owner: "api".into(),
            ..Register::default()
        })))
    });
    prop::collection::vec(step, 1..60).prop_map(move |steps| {
        let mut all = nodes.to_vec();
        all.extend(steps);
        all
    })
}
