//! How keys are written, locked and freed.

use crate::*;

#[test]
fn a_lock_goes_through_its_life_as_recorded() {
    let mut log = Log::new();
    log.session("s", 0, Behavior::Release);
    assert_eq!(log.write(acquire("lock", "held", "s")), TRUE);
    let held = log.row("lock");
    assert_eq!(
        (held.lock_index(), held.session().map(|s| &**s)),
        (1, Some("s"))
    );

    assert_eq!(log.write(acquire("lock", "again", "s")), TRUE);
    let again = log.row("lock");
    assert_eq!((again.lock_index(), again.value()), (1, &b"again"[..]));
    assert!(again.modify_index > held.modify_index);

    // A plain put keeps the holder and, as recorded, sets LockIndex back.
    assert_eq!(log.write(put("lock", "steal")), TRUE);
    let stolen = log.row("lock");
    assert_eq!(
        (stolen.lock_index(), stolen.session().map(|s| &**s)),
        (0, Some("s"))
    );

    assert_eq!(log.write(release("lock", "freed", "s")), TRUE);
    let freed = log.row("lock");
    assert_eq!((freed.lock_index(), freed.session()), (0, None));
    assert_eq!(
        (freed.value(), freed.create_index),
        (&b"freed"[..], held.create_index)
    );

    assert_eq!(log.write(acquire("lock", "held2", "s")), TRUE);
    assert_eq!(log.write(destroy("s")), TRUE);
    let ended = log.row("lock");
    assert_eq!(
        (ended.lock_index(), ended.session(), ended.value()),
        (1, None, &b"held2"[..])
    );
    assert_eq!(
        log.write(destroy("s")),
        TRUE,
        "a session that is gone can be destroyed again"
    );
}

#[test]
fn a_lock_has_one_holder() {
    let mut log = Log::new();
    log.session("s", 0, Behavior::Release);
    log.session("t", 0, Behavior::Release);
    assert_eq!(log.write(acquire("k", "1", "s")), TRUE);
    assert_eq!(log.write(acquire("k", "2", "t")), FALSE);
    assert_eq!(log.write(release("k", "2", "t")), FALSE);
    assert_eq!(log.write(release("absent", "2", "t")), FALSE);
    assert_eq!(log.row("k").value(), b"1");
    let refused = Reply::Refused(Refusal::InvalidSession("bogus".into()));
    assert_eq!(log.write(acquire("k", "x", "bogus")), refused);
    assert_eq!(
        Refusal::InvalidSession("bogus".into()).to_string(),
        "invalid session \"bogus\""
    );
    let refused = Reply::Refused(Refusal::Other("missing session".into()));
    assert_eq!(log.write(acquire("k", "x", "")), refused);
    assert_eq!(log.write(release("k", "x", "")), refused);
}

#[test]
fn a_held_key_can_be_deleted_and_is_then_held_by_nobody() {
    let mut log = Log::new();
    log.session("s", 60_000_000_000, Behavior::Delete);
    assert_eq!(log.write(acquire("k", "1", "s")), TRUE);
    assert_eq!(log.write(delete("k")), TRUE);
    assert_eq!(log.write(put("k", "2")), TRUE);
    assert_eq!(log.row("k").lock_index(), 0, "a new key starts afresh");
    assert_eq!(log.write(destroy("s")), TRUE);
    assert_eq!(log.row("k").value(), b"2", "the session held it no more");
}

#[test]
fn a_write_that_changes_nothing_moves_nothing() {
    let mut log = Log::new();
    log.session("s", 0, Behavior::Release);
    assert_eq!(log.write(acquire("k", "1", "s")), TRUE);
    let before = log.state.kv_get("k");
    let (reply, changes) = log.write_with_changes(acquire("k", "1", "s"));
    assert_eq!((reply, changes.is_empty()), (TRUE, true));
    assert_eq!(log.state.kv_get("k"), before);

    assert_eq!(log.write(put("p", "1")), TRUE);
    let cas = KvMode::Cas(log.row("p").modify_index);
    let (reply, changes) = log.write_with_changes(set("p", "1", cas.clone()));
    assert_eq!((reply, changes.is_empty()), (TRUE, true));
    assert_eq!(
        log.write(set("p", "2", cas)),
        TRUE,
        "the index did not move, so it still holds"
    );
}

#[test]
fn conditions_hold_as_recorded() {
    let mut log = Log::new();
    assert_eq!(log.write(put("a", "one")), TRUE);
    assert_eq!(log.write(set("a", "three", KvMode::Cas(0))), FALSE);
    assert_eq!(log.write(set("new", "created", KvMode::Cas(0))), TRUE);
    assert_eq!(log.write(set("a", "no", KvMode::Cas(999_999))), FALSE);
    assert_eq!(log.write(set("absent", "no", KvMode::Cas(1))), FALSE);
    let delete_cas = |key: &str, cas| {
        Command::KvDelete(KvDelete {
            key: key.into(),
            cas: Some(cas),
        })
    };
    assert_eq!(log.write(delete_cas("a", 1)), FALSE);
    assert_eq!(log.write(delete_cas("a", 0)), FALSE);
    assert_eq!(log.write(delete_cas("absent", 5)), TRUE);
    assert_eq!(log.row("a").value(), b"one");
    assert_eq!(log.write(delete("a")), TRUE);
    assert_eq!(log.write(delete("a")), TRUE);
}

#[test]
fn lists_are_ordered_and_cut_as_recorded() {
    let mut log = Log::new();
    for key in ["a", "empty", "new", "dir/x", "dir/y", "dir/sub/z", "dir/"] {
        assert_eq!(log.write(put(key, "1")), TRUE);
    }
    let keys = |prefix, separator| log.state.kv_keys(prefix, separator).value;
    assert_eq!(keys("dir/", None), ["dir/", "dir/sub/z", "dir/x", "dir/y"]);
    assert_eq!(
        keys("dir/", Some("/")),
        ["dir/", "dir/sub/", "dir/x", "dir/y"]
    );
    assert_eq!(keys("", Some("/")), ["a", "dir/", "empty", "new"]);
    let list = log.state.kv_list("dir");
    assert_eq!((list.value.len(), list.index), (4, log.index));
}
