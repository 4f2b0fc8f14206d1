//! Tables and properties of the configuration.

use std::collections::BTreeSet;
use std::path::Path;

use super::reader::Reader;
use super::*;

mod files;
mod properties;

fn machine() -> Machine {
    Machine {
        host_name: Some("host-1".into()),
        address: Some("10.1.2.3".parse().expect("an address")),
        current_dir: "/here".into(),
    }
}

fn read(yaml: &str) -> Result<Checked, ConfigError> {
    Config::from_yaml(yaml, &machine())
}

/// With the one setting that has neither a default nor a source in the machine.
fn good(yaml: &str) -> Checked {
    read(&format!("data_dir: /data\n{yaml}")).unwrap_or_else(|error| panic!("{yaml:?}: {error}"))
}

fn error_of(yaml: &str) -> String {
    match read(&format!("data_dir: /data\n{yaml}")) {
        Ok(checked) => panic!("{yaml:?} was accepted: {:?}", checked.config),
        Err(error) => error.to_string(),
    }
}

#[test]
fn defaults_are_consuls_where_consul_has_the_setting() {
    let Checked { config, warnings } = good("");
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(config.node_name, "host-1");
    assert_eq!(config.datacenter, "dc1");
    assert_eq!(config.data_dir, Path::new("/data"));
    assert_eq!(config.bind_addr.to_string(), "0.0.0.0");
    assert_eq!(config.advertise_addr.to_string(), "10.1.2.3");
    assert_eq!(
        config.http,
        vec![HttpListen::Tcp(
            "127.0.0.1:8500".parse().expect("an address")
        )]
    );
    assert_eq!(config.ports.server, 8300);
    assert_eq!(config.bootstrap_expect, 0);
    assert_eq!(config.session_ttl_min, Duration::from_secs(10));
    assert_eq!(config.limits.kv_max_value_size, 512 * 1024);
    assert_eq!(config.audit_path, None);
    assert_eq!(config.worker_threads, None);
}

#[test]
fn every_setting_that_is_built_reaches_the_configuration() {
    let mut layers = Layers::new();
    layers
        .add_yaml(Path::new("f"), b"data_dir: /data")
        .expect("a good file");
    let reader = Reader::new(&layers);
    Config::read(&reader, &machine()).expect("a good configuration");
    let seen = reader.seen();
    for setting in SETTINGS
        .iter()
        .filter(|setting| setting.stage == Stage::Built)
    {
        assert!(seen.contains(setting.key), "{} is never read", setting.key);
    }
}

#[test]
fn the_table_is_free_of_doubles_and_its_defaults_are_within_their_bounds() {
    let mut keys = BTreeSet::new();
    let mut flags = BTreeSet::new();
    let mut variables = BTreeSet::new();
    for setting in SETTINGS {
        assert!(keys.insert(setting.key), "key {} stands twice", setting.key);
        assert!(
            !setting.doc.is_empty() && setting.doc.ends_with('.'),
            "{} has no sentence",
            setting.key
        );
        layers::default_of(setting);
        if setting.has_flag() {
            assert!(
                variables.insert(setting.variable()),
                "variable {} stands twice",
                setting.variable()
            );
            for flag in [Some(setting.flag()), setting.alias.map(str::to_owned)]
                .into_iter()
                .flatten()
            {
                assert!(flags.insert(flag.clone()), "flag {flag} stands twice");
            }
        }
    }
    for setting in SETTINGS {
        let same: Vec<&str> = SETTINGS
            .iter()
            .filter(|other| other.covers(setting.key))
            .map(|other| other.key)
            .collect();
        assert_eq!(same, [setting.key], "covered by more than one entry");
    }
}

#[test]
fn flag_and_variable_follow_from_the_key() {
    let setting = find("performance.raft_multiplier").expect("it is in the table");
    assert_eq!(setting.flag(), "performance-raft-multiplier");
    assert_eq!(setting.variable(), "ROLLCALL_PERFORMANCE_RAFT_MULTIPLIER");
}

#[test]
fn a_flag_wins_over_a_variable_over_a_later_file_over_an_earlier_one() {
    let mut layers = Layers::new();
    let name = |layers: &Layers| {
        Config::from_layers(layers, &machine())
            .expect("good")
            .config
            .node_name
    };
    layers
        .add_yaml(
            Path::new("one"),
            b"data_dir: /data\nnode_name: one\nretry_join: [a, b]",
        )
        .expect("good");
    assert_eq!(name(&layers), "one");
    layers
        .add_yaml(
            Path::new("two"),
            b"{\"node_name\": \"two\", \"retry_join\": [\"c\"]}",
        )
        .expect("good");
    assert_eq!(name(&layers), "two");
    let joined = Config::from_layers(&layers, &machine())
        .expect("good")
        .config
        .retry_join;
    assert_eq!(
        joined.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["a:8300", "b:8300", "c:8300"]
    );
    let variables = [
        ("ROLLCALL_NODE_NAME", "three"),
        ("ROLLCALL_RETRY_JOIN", "d,e:1"),
        ("ROLLCALL_DATACENTER", ""),
        ("ROLLCALL_SERVICE_HOST", "10.0.0.1"),
    ];
    layers
        .add_environment(variables.map(|(name, value)| (name.to_owned(), value.to_owned())))
        .expect("good");
    assert_eq!(name(&layers), "three");
    layers
        .add_flag("node_name", &["four".into()])
        .expect("good");
    layers
        .add_flag("retry_join", &["f".into(), "[::1]:7".into()])
        .expect("good");
    let config = Config::from_layers(&layers, &machine())
        .expect("good")
        .config;
    assert_eq!(config.node_name, "four");
    assert_eq!(config.datacenter, "dc1");
    assert_eq!(
        config
            .retry_join
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["f:8300", "[::1]:7"]
    );
}

#[test]
fn good_values_are_read() {
    assert_eq!(good("ports: {http: -1, server: 0}").config.http, []);
    let config = good("client_addr: '127.0.0.1 ::1 127.0.0.1'\nports: {http: '0'}").config;
    assert_eq!(config.http.len(), 2);
    let config =
        good("addresses: {http: 'unix://run/a.sock 127.0.0.2'}\nunix_sockets: {mode: '660'}")
            .config;
    let socket = HttpListen::Unix {
        path: "/here/run/a.sock".into(),
        mode: 0o660,
    };
    assert_eq!(
        config.http,
        [
            socket,
            HttpListen::Tcp("127.0.0.2:8500".parse().expect("an address"))
        ]
    );
    assert_eq!(good("bootstrap: true").config.bootstrap_expect, 1);
    assert_eq!(good("log_level: WARN").config.log_level, LogLevel::Warn);
    assert_eq!(
        good("max_query_time: 1h\ndefault_query_time: 1m30.5s")
            .config
            .default_query_time,
        Duration::from_millis(90_500)
    );
    assert_eq!(
        good("audit: {enabled: true}").config.audit_path.as_deref(),
        Some(Path::new("/data/audit.log"))
    );
    assert_eq!(
        good("bind_addr: 127.0.0.5")
            .config
            .advertise_addr
            .to_string(),
        "127.0.0.5"
    );
    assert!(good("limits:\nlog_json: true").config.log_json);
    assert_eq!(
        good("acl: {enabled: false, default_policy: allow, tokens: {agent: x}}")
            .warnings
            .len(),
        0
    );
    assert_eq!(
        good("tls: {defaults: {verify_incoming: false, ca_file: ''}}\nencrypt: ''")
            .warnings
            .len(),
        0
    );
}

#[test]
fn bad_values_are_named_with_field_value_and_bound() {
    for (yaml, words) in [
        (
            "performance: {raft_multiplier: 11}",
            "performance.raft_multiplier = \"11\" (file (text)): expected a whole number from 1 to 10",
        ),
        (
            "ports: {http: 65536}",
            "ports.http = \"65536\" (file (text)): expected a whole number from -1 to 65535",
        ),
        (
            "ports: {server: -1}",
            "ports.server = \"-1\" (file (text)): expected a port",
        ),
        (
            "ports: {http: 8300}",
            "ports.http = \"8300\" (file (text)): expected a port of its own, ports.server",
        ),
        (
            "ports: [1]",
            "ports = \"[1]\" (file (text)): expected a mapping",
        ),
        (
            "ports: 1",
            "ports = \"1\" (file (text)): expected a mapping",
        ),
        (
            "bootstrap: yes",
            "bootstrap = \"yes\" (file (text)): expected true or false",
        ),
        (
            "bootstrap: true\nbootstrap_expect: 3",
            "bootstrap_expect = \"3\" (file (text)): expected 1 or nothing",
        ),
        (
            "retry_interval: 10",
            "retry_interval = \"10\" (file (text)): expected a duration with its unit",
        ),
        (
            "retry_interval: 1ms",
            "expected a duration from 100ms to 1h",
        ),
        ("session_ttl_min: 25h", "expected a duration from 1s to 24h"),
        (
            "default_query_time: 700s",
            "default_query_time = \"700s\" (file (text)): expected no more than max_query_time",
        ),
        (
            "node_id: nonsense",
            "node_id = \"nonsense\" (file (text)): expected a UUID",
        ),
        (
            "node_name: 'a b'",
            "node_name = \"a b\" (file (text)): expected 1 to 253",
        ),
        (
            "datacenter: a.b",
            "datacenter = \"a.b\" (file (text)): expected 1 to 63",
        ),
        (
            "bind_addr: '{{ GetPrivateIP }}'",
            "bind_addr = \"{{ GetPrivateIP }}\" (file (text)): expected an IP address",
        ),
        (
            "advertise_addr: 0.0.0.0",
            "advertise_addr = \"0.0.0.0\" (file (text)): expected an address that others",
        ),
        (
            "client_addr: localhost",
            "client_addr = \"localhost\" (file (text)): expected IP addresses or unix",
        ),
        (
            "client_addr: ' '",
            "client_addr = \" \" (file (text)): expected at least one",
        ),
        (
            "addresses: {http: 'unix://'}",
            "addresses.http = \"unix://\" (file (text)): expected a path",
        ),
        (
            "unix_sockets: {mode: '0888'}",
            "unix_sockets.mode = \"0888\" (file (text)): expected octal",
        ),
        (
            "retry_join: ['a:b']",
            "retry_join = \"a:b\" (file (text)): expected HOST",
        ),
        (
            "retry_join: ['provider=aws tag_key=x']",
            "cloud provider is left out",
        ),
        (
            "retry_join: [[a]]",
            "retry_join = \"[[\\\"a\\\"]]\" (file (text)): expected a list of words",
        ),
        (
            "log_level: loud",
            "log_level = \"loud\" (file (text)): expected one of trace, debug, info, warn, error",
        ),
        ("data_dir: [x]", "found a list"),
        (
            "limits: {kv_max_value_size: 0}",
            "expected a whole number from 1 to 67108864 bytes",
        ),
    ] {
        // YAML forbids a key twice; the one about data_dir stands alone.
        let error = if yaml.starts_with("data_dir") {
            read(yaml).expect_err("it is wrong").to_string()
        } else {
            error_of(yaml)
        };
        assert!(
            error.contains(words),
            "{yaml:?}\n  gave     {error}\n  expected {words}"
        );
    }
    let error = read("node_name: a")
        .expect_err("a server needs a directory")
        .to_string();
    assert!(
        error.contains("data_dir = \"\" (the default): expected a directory"),
        "{error}"
    );
}

#[test]
fn an_unknown_key_is_an_error_that_names_it_and_its_neighbour() {
    for (yaml, words) in [
        (
            "node_nam: x",
            "configuration (text): unknown key node_nam (did you mean node_name?)",
        ),
        (
            "ports: {htpp: 1}",
            "configuration (text): unknown key ports.htpp (did you mean ports.http?)",
        ),
        (
            "raft_multiplier: 1",
            "unknown key raft_multiplier (did you mean performance.raft_multiplier?)",
        ),
        (
            "performance: {log_level: info}",
            "unknown key performance.log_level (did you mean log_level?)",
        ),
        ("zzzzzzzzzzzzzzzz: {a: 1}", "unknown key zzzzzzzzzzzzzzzz"),
        ("ports.http: 1", "unknown key ports.http"),
        ("acl: {nonsense_here: 1}", "unknown key acl.nonsense_here"),
        ("1: 2", "configuration (text): 1 is no name"),
    ] {
        let error = error_of(yaml);
        assert!(error.contains(words), "{yaml:?} gave {error}");
    }
    assert!(!error_of("zzzzzzzzzzzzzzzz: {a: 1}").contains("did you mean"));
}

#[test]
fn what_is_not_built_is_refused_when_it_would_be_switched_on() {
    for (yaml, key) in [
        ("acl: {enabled: true}", "acl.enabled (file (text))"),
        ("encrypt: c2VjcmV0", "encrypt (file (text))"),
        (
            "tls: {defaults: {ca_file: /ca.pem}}",
            "tls.defaults.ca_file",
        ),
        (
            "tls: {internal_rpc: {verify_server_hostname: true}}",
            "tls.internal_rpc.verify_server_hostname",
        ),
        ("ports: {https: 8501}", "ports.https"),
        ("service: {name: web}", "service"),
    ] {
        let error = error_of(yaml);
        assert!(
            error.starts_with(key)
                && error.contains("would switch on what this version does not have"),
            "{error}"
        );
        assert!(!error.contains("c2VjcmV0"), "a secret must not be printed");
    }
}

#[test]
fn what_consul_has_and_we_leave_out_gives_one_warning_that_names_all() {
    let warnings = good(
        "connect: {enabled: true}\npeering: {enabled: false}\nports: {grpc: 8502, grpc_tls: -1, proxy_min_port: 1}\nsegments: []\n\
         disable_update_check: true\nui_config: {enabled: true}\nraft_protocol: 3\nenable_debug: true\nlocality: {region: x}\n\
         enable_local_script_checks: true\n",
    )
    .warnings;
    assert_eq!(
        warnings,
        [
            "settings of Consul that have no effect here: connect, disable_update_check, enable_debug, locality, peering, ports.grpc, \
             ports.grpc_tls, ports.proxy_min_port, raft_protocol, segments, ui_config",
            "settings that have no effect in this version yet: enable_local_script_checks",
        ]
    );
}

#[test]
fn an_even_number_of_servers_is_told() {
    let warnings = good("bootstrap_expect: 4").warnings;
    assert!(
        warnings.len() == 1 && warnings[0].contains("even number"),
        "{warnings:?}"
    );
}
