//! Which indexes move, and which never do.

use crate::*;

#[test]
fn index_is_never_zero() {
    let state = State::default();
    assert_eq!(state.kv_get("a").index, 1);
    assert_eq!(state.kv_list("").index, 1);
    assert_eq!(state.kv_keys("a", None).index, 1);
    assert_eq!(state.session("s").index, 1);
    assert_eq!(state.sessions().index, 1);
    assert_eq!(state.sessions_of_node("n").index, 1);
    assert_eq!(state.catalog_nodes().index, 1);
    assert_eq!(state.node("n").index, 1);
    assert_eq!(state.health_node("n").index, 1);
}

#[test]
fn a_deletion_moves_lists_above_it_and_collecting_it_moves_nothing_that_exists() {
    let mut log = Log::new();
    for key in ["svc/a/1", "svc/a/2", "svc/b", "other"] {
        assert_eq!(log.write(put(key, "1")), TRUE);
    }
    assert_eq!(log.write(delete("svc/a/2")), TRUE);
    let deleted = log.index;
    let indexes = |log: &Log| {
        ["", "svc", "svc/", "svc/a", "svc/a/", "svc/b", "other"].map(|prefix| {
            (
                log.state.kv_list(prefix).index,
                log.state.kv_keys(prefix, None).index,
            )
        })
    };
    let before = indexes(&log);
    assert!(
        before[..5]
            .iter()
            .all(|(list, keys)| (*list, *keys) == (deleted, deleted))
    );
    assert!(before[5..].iter().all(|(list, _)| *list < deleted));
    assert_eq!(log.state.tombstones(), (deleted, 1));
    assert_eq!(
        log.write(Command::TombstoneReap(TombstoneReap { up_to: deleted })),
        Reply::None
    );
    assert_eq!(log.state.tombstones(), (0, 0));
    assert_eq!(indexes(&log), before);
    assert_eq!(log.state.kv_get("svc/a/2").index, deleted);
    assert_eq!(
        log.state.kv_get("never").index,
        deleted,
        "the coarse watermark"
    );
}

#[test]
fn marks_of_a_churning_prefix_stay_few() {
    let mut log = Log::new();
    assert_eq!(log.write(put("locks/", "")), TRUE);
    for n in 0..1_000 {
        let key = format!("locks/{n}");
        assert_eq!(log.write(put(&key, "1")), TRUE);
        assert_eq!(log.write(delete(&key)), TRUE);
        let up_to = log.index;
        assert_eq!(
            log.write(Command::TombstoneReap(TombstoneReap { up_to })),
            Reply::None
        );
    }
    let all: usize = log
        .state
        .chunks(1 << 20, Include::Everything)
        .map(|c| c.len())
        .sum();
    let live: usize = log
        .state
        .chunks(1 << 20, Include::LiveOnly)
        .map(|c| c.len())
        .sum();
    assert!(
        all - live < 400,
        "{} bytes of graves for one live key",
        all - live
    );
}

#[test]
fn names_of_nodes_ignore_case_and_so_do_their_topics() {
    let mut log = Log::new();
    let create = SessionCreate {
        node: "N1".into(),
        ..session("s")
    };
    let (reply, changes) = log.write_with_changes(Command::SessionCreate(create));
    assert_eq!(reply, TRUE);
    assert!(changes.touches(&Topic::sessions_of_node("n1")));
    assert!(changes.touches(&Topic::sessions_of_node("N1")));
    assert!(!changes.touches(&Topic::sessions_of_node("n2")));
    assert_eq!(
        log.state.sessions_of_node("N1"),
        log.state.sessions_of_node("n1")
    );
    assert_eq!(log.state.sessions_of_node("n1").value.len(), 1);
}

#[test]
fn a_reap_of_very_many_tombstones_is_done_in_parts() {
    let mut log = Log::new();
    let count = 12_000;
    for n in 0..count {
        assert_eq!(log.write(put(&format!("k/{n}"), "")), TRUE);
    }
    assert_eq!(log.write(put("l", "")), TRUE);
    let tree = KvDeleteTree {
        prefix: "k/".into(),
    };
    assert_eq!(log.write(Command::KvDeleteTree(tree)), TRUE);
    let up_to = log.index;
    assert_eq!(log.state.tombstones(), (up_to, count));
    let mut reaps = 0;
    while log.state.has_tombstones_up_to(up_to) {
        assert_eq!(
            log.write(Command::TombstoneReap(TombstoneReap { up_to })),
            Reply::None
        );
        reaps += 1;
        assert_eq!(log.state.kv_list("").index, up_to);
    }
    assert_eq!((reaps, log.state.tombstones()), (2, (0, 0)));
}
