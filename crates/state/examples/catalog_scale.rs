//! How much memory a large catalog takes, and how long its reads and writes last:
//! `cargo run --release -p rollcall-state --example catalog_scale`
//!
//! Bounds are those of the catalog issue, for a release build; a debug build only reports. Commands go through their encoding, as
//! from the log, so that every string comes in fresh and unshared. After each batch a clone is kept, as the server publishes one.

#![allow(clippy::print_stdout)] // its only output are figures for people

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rollcall_state::command::*;
use rollcall_state::{Changes, Command, Context, Include, Loader, Stamp, State, Topic};

/// The server publishes a clone once a batch.
const BATCH: usize = 64;

/// Commands that are made at a time.
const PART: usize = 1_000;

struct Log {
    state: State,
    published: State,
    index: u64,
}

impl Log {
    fn new() -> Self {
        Log {
            state: State::default(),
            published: State::default(),
            index: 0,
        }
    }

    fn write(&mut self, encoded: &[u8]) -> Changes {
        self.index += 1;
        let command = Command::decode(encoded).expect("own bytes must decode");
        let context = Context {
            log_index: self.index,
            term: 1,
            leader: 1,
            at: Stamp(self.index),
        };
        let (reply, changes) = self.state.apply(context, &command);
        assert_eq!(reply, rollcall_state::Reply::Bool(true));
        if self.index.is_multiple_of(BATCH as u64) {
            self.published = self.state.clone();
        }
        changes
    }
}

fn main() {
    // Memory first: what others leave behind would be in its figure.
    fifty_thousand_instances_fit_into_memory();
    a_service_of_ten_is_read_in_microseconds();
    a_node_with_ten_thousand_services_flips_in_linear_time();
}

fn node_id(node: usize) -> String {
    format!("6d1b5d9c-0b0e-4c1e-8b6c-{node:012x}")
}

fn node_spec(node: usize) -> NodeSpec {
    let address = format!("10.{}.{}.1", node / 256, node % 256);
    NodeSpec {
        id: node_id(node).into(),
        node: format!("worker-{node:05}.eu-central-1.compute.internal").into(),
        address: address.as_str().into(),
        tagged_addresses: Some(
            ["lan", "lan_ipv4", "wan", "wan_ipv4"]
                .map(|kind| (kind, address.as_str()))
                .into_iter()
                .collect(),
        ),
        meta: Some(
            [
                ("consul-network-segment", ""),
                ("consul-version", "1.20.1"),
                ("zone", "eu-central-1a"),
            ]
            .into_iter()
            .collect(),
        ),
    }
}

fn node(node: usize) -> Command {
    let spec = node_spec(node);
    Command::Register(Register {
        checks: vec![serf_health(&spec, true)],
        node: spec,
        owner: "gossip".into(),
        ..Register::default()
    })
}

fn serf_health(node: &NodeSpec, alive: bool) -> CheckSpec {
    CheckSpec {
        node: node.node.clone(),
        check_id: "serfHealth".into(),
        name: "Serf Health Status".into(),
        status: if alive {
            Status::Passing
        } else {
            Status::Critical
        },
        output: "Agent alive and reachable".into(),
        ..CheckSpec::default()
    }
}

/// What an agent registers of a pod: tags, six pairs of meta, an HTTP check with its last output.
fn instance(on: usize, service: &str, n: usize) -> Command {
    let id = format!("9f1c6a4e-5f0e-4d53-9d3c-{n:012x}-{service}-8080");
    let address = format!("10.{}.{}.{}", n / 65_536, n / 256 % 256, n % 256);
    let owner = format!("agent:{}", node_id(on));
    let meta = [
        ("rollcall-cluster", "0f2f5b7c-02aa-4b6e-9d3c-1f6f9f1c6a4e"),
        ("rollcall-owner", &*owner),
        ("rollcall-source", "pod"),
        ("namespace", "production"),
        ("pod", &format!("{service}-7d4b9c6f5-{n:05x}")),
        ("version", "2024.11.3"),
    ];
    let tags = ["production", "http", "v2"].map(Arc::from);
    Command::Register(Register {
        node: node_spec(on),
        service: Some(ServiceSpec {
            id: id.as_str().into(),
            service: service.into(),
            tags: Some(Arc::from(tags)),
            address: address.as_str().into(),
            port: 8080,
            meta: Some(meta.into_iter().collect()),
            ..ServiceSpec::default()
        }),
        checks: vec![CheckSpec {
            node: node_spec(on).node,
            check_id: format!("service:{id}").into(),
            name: format!("Service '{service}' check").into(),
            status: Status::Passing,
            output: format!("HTTP GET http://{address}:8080/healthz: 200 OK Output: ok").into(),
            service_id: id.into(),
            check_type: "http".into(),
            interval: "10s".into(),
            timeout: "1s".into(),
            ..CheckSpec::default()
        }],
        skip_node_update: true,
        owner: owner.into(),
    })
}

/// Services with so many instances each, spread over nodes. Returns the mean time of a registration.
fn fill(log: &mut Log, nodes: usize, services: usize, instances: usize) -> Duration {
    for on in 0..nodes {
        log.write(&node(on).encode());
    }
    let all = services * instances;
    let mut busy = Duration::ZERO;
    // In parts, so that the commands themselves take little memory.
    for part in 0..all.div_ceil(PART) {
        let encoded: Vec<_> = (part * PART..all.min((part + 1) * PART))
            .map(|n| {
                let service = format!("shop-service-{:05}", n / instances);
                instance(n * 7919 % nodes, &service, n).encode()
            })
            .collect();
        let begin = on_cpu();
        for command in &encoded {
            log.write(command);
        }
        busy += on_cpu() - begin;
    }
    busy / all as u32
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<usize>().ok())
        .expect("VmRSS must be a number")
        * 1024
}

/// Time that this thread had on a CPU, so that other programs on the machine count little.
fn on_cpu() -> Duration {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells");
    let nanoseconds = times.split_whitespace().next().map(str::parse);
    Duration::from_nanos(
        nanoseconds
            .expect("it has a first field")
            .expect("a number"),
    )
}

/// The mean of many.
fn time(times: u32, mut run: impl FnMut(u32)) -> Duration {
    let begin = on_cpu();
    for n in 0..times {
        run(n);
    }
    (on_cpu() - begin) / times
}

/// Reports, and in a release build insists.
fn at_most<T: PartialOrd + std::fmt::Debug>(what: &str, found: T, bound: T) {
    println!("{what}: {found:?} (bound {bound:?})");
    assert!(
        cfg!(debug_assertions) || found <= bound,
        "{what}: {found:?} is more than {bound:?}"
    );
}

fn fifty_thousand_instances_fit_into_memory() {
    let mut log = Log::new();
    let before = resident_bytes();
    let register = fill(&mut log, 1_000, 10_000, 5);
    let used = resident_bytes() - before;
    println!(
        "{} bytes an instance with its check",
        used / log.state.counts().instances
    );
    at_most("MiB of 50,000 instances", used >> 20, 250);
    at_most("a registration", register, Duration::from_micros(50));

    let chunks: Vec<_> = log.state.chunks(1 << 20, Include::Everything).collect();
    let size: usize = chunks.iter().map(|chunk| chunk.len()).sum();
    let begin = Instant::now();
    let mut loader = Loader::new();
    for chunk in &chunks {
        loader.push(chunk).expect("own snapshot must load");
    }
    let loaded = loader.finish().expect("own snapshot must be whole");
    println!(
        "snapshot of {} MiB loads in {:?}",
        size >> 20,
        begin.elapsed()
    );
    assert_eq!(loaded.digest(), log.state.digest());
    println!(
        "catalog/services: {:?}, all instances: {:?}",
        time(100, |_| drop(black_box(log.state.catalog_services()))),
        time(10, |_| drop(black_box(log.state.catalog_instances()))),
    );
}

fn a_service_of_ten_is_read_in_microseconds() {
    let mut log = Log::new();
    fill(&mut log, 1_000, 1_000, 10);
    let name = |n: u32| format!("shop-service-{:05}", n * 7919 % 1_000);
    let health = time(100_000, |n| {
        let answer = black_box(log.state.health_service(&name(n)));
        assert_eq!(answer.value.len(), 10);
    });
    at_most("health/service of ten", health, Duration::from_micros(20));
    let instances = time(100_000, |n| {
        drop(black_box(log.state.service_instances(&name(n))));
    });
    println!("catalog/service of ten: {instances:?}");

    // A check of an instance that turns from passing to critical and back.
    let turned = |n: u32| {
        let Command::Register(mut register) = instance(0, "shop-service-00000", 0) else {
            unreachable!("an instance is a registration");
        };
        if n.is_multiple_of(2) {
            register.checks[0].status = Status::Critical;
        }
        register.service = None;
        Command::Register(register).encode()
    };
    let turned = [turned(0), turned(1)];
    let write = time(20_000, |n| {
        log.write(&turned[n as usize % 2]);
    });
    at_most("a check that turns", write, Duration::from_micros(50));
}

fn a_node_with_ten_thousand_services_flips_in_linear_time() {
    let mut took = Vec::new();
    for services in [1_000, 10_000] {
        let mut log = Log::new();
        fill(&mut log, 1, services, 1);
        let flips = [false, true].map(|alive| {
            let spec = node_spec(0);
            let register = Register {
                checks: vec![serf_health(&spec, alive)],
                node: spec,
                owner: "gossip".into(),
                ..Register::default()
            };
            Command::Register(register).encode()
        });
        took.push(time(20, |n| {
            let changes = log.write(&flips[n as usize % 2]);
            assert!(changes.topics.len() < services + 10);
            assert!(changes.touches(&Topic::service_health("shop-service-00999")));
        }));
        let begin = Instant::now();
        let gone = Command::Deregister(Deregister {
            node: node_spec(0).node,
            ..Deregister::default()
        });
        log.write(&gone.encode());
        println!(
            "{services} services leave with their node in {:?}",
            begin.elapsed()
        );
        assert_eq!(log.state.counts().instances, 0);
    }
    println!("a flip with 1,000 and with 10,000 services: {took:?}");
    at_most("a flip", took[1], Duration::from_millis(20));
    at_most("ten times the services", took[1], took[0] * 30);
}
