//! Files and directories of settings, the committed page, and how durations are written.

use super::*;

#[test]
fn directories_are_read_in_order_of_names_and_hcl_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, content: &str| {
        std::fs::write(dir.path().join(name), content).expect("writable")
    };
    write("b.json", r#"{"node_name": "b", "data_dir": "/d"}"#);
    write("a.yaml", "node_name: a");
    write("c.yml", "");
    write("notes.txt", "not: [a setting");
    let mut layers = Layers::new();
    layers.add_path(dir.path()).expect("good files");
    assert_eq!(
        Config::from_layers(&layers, &machine())
            .expect("good")
            .config
            .node_name,
        "b"
    );
    write("d.hcl", "node_name = \"x\"");
    let error = Layers::new()
        .add_path(dir.path())
        .expect_err("HCL is not read")
        .to_string();
    assert!(error.contains("d.hcl is HCL"), "{error}");
    let error = Layers::new()
        .add_path(&dir.path().join("none.yaml"))
        .expect_err("no file")
        .to_string();
    assert!(error.contains("none.yaml cannot be read"), "{error}");
    for broken in [
        "a: [1",
        "- a",
        "just words",
        "a: b: c",
        "\u{0}",
        "a: 1\na: 2",
        "a: *x",
    ] {
        write("broken.yaml", broken);
        let error = Layers::new()
            .add_path(&dir.path().join("broken.yaml"))
            .expect_err("broken")
            .to_string();
        assert!(error.contains("broken.yaml"), "{broken:?}: {error}");
    }
}

#[test]
fn the_committed_page_is_made_from_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("CONFIGURATION.md");
    if std::env::var_os("ROLLCALL_REWRITE_GOLDEN").is_some() {
        std::fs::write(&path, document()).expect("writable");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == document(),
        "{} is stale: run this test with ROLLCALL_REWRITE_GOLDEN=1",
        path.display()
    );
}

#[test]
fn go_durations_are_read_as_go_reads_them() {
    for (text, nanos) in [
        ("0", Some(0)),
        ("1h2m3s", Some(3_723_000_000_000)),
        ("1.5h", Some(5_400_000_000_000)),
        (".5s", Some(500_000_000)),
        ("1.s", Some(1_000_000_000)),
        ("15ms", Some(15_000_000)),
        ("3us", Some(3_000)),
        ("3µs", Some(3_000)),
        ("", None),
        ("5", None),
        ("s", None),
        (".s", None),
        ("-1s", None),
        ("1.2.3s", None),
        ("1d", None),
        ("99999999999999999999h", None),
    ] {
        assert_eq!(
            value::parse_duration(text).map(|value| value.as_nanos()),
            nanos,
            "{text:?}"
        );
    }
}
