//! Restores: whole or not at all.

use crate::*;

fn chunk(id: &str, sequence: u64, rows: &[u8]) -> Command {
    let rows = Bytes::copy_from_slice(rows);
    Command::RestoreChunk(RestoreChunk {
        id: id.into(),
        sequence,
        rows,
    })
}

fn begin(id: &str) -> Command {
    Command::RestoreBegin(RestoreBegin { id: id.into() })
}

fn swap(id: &str, chunks: u64, bytes: &[u8]) -> Command {
    let checksum = crc32fast::hash(bytes);
    Command::RestoreSwap(RestoreSwap {
        id: id.into(),
        chunks,
        checksum,
    })
}

fn backup(include: Include) -> Vec<u8> {
    let mut log = Log::new();
    log.index = 5_000;
    log.session("restored", 0, Behavior::Release);
    assert_eq!(log.write(acquire("restored", "1", "restored")), TRUE);
    log.state
        .chunks(1 << 20, include)
        .collect::<Vec<_>>()
        .concat()
}

#[test]
fn a_restore_lifts_the_index_above_both_and_keeps_the_rows_indexes() {
    let mut log = Log::new();
    assert_eq!(
        log.write(Command::ClusterInit(ClusterInit { id: "mine".into() })),
        Reply::None
    );
    log.session("s", 50_000_000, Behavior::Release);
    assert_eq!(log.write(acquire("k", "1", "s")), TRUE);
    assert_eq!(log.write(destroy("s")), TRUE);
    let saved = backup(Include::LiveOnly);
    assert_eq!(log.write(begin("r")), Reply::None);
    assert_eq!(log.write(chunk("r", 0, &saved)), Reply::None);
    assert!(log.state.kv_get("restored").value.is_none());
    let (reply, changes) = log.write_with_changes(swap("r", 1, &saved));
    assert_eq!((reply, changes.everything), (Reply::None, true));

    assert_eq!(
        log.state.index(),
        5_003,
        "the backup's 5,002 is the larger one"
    );
    assert_eq!(log.state.offset(), 5_003 - log.index);
    assert_eq!(log.row("restored").modify_index, 5_002);
    assert_eq!(log.state.kv_get("k").index, 5_003);
    assert_eq!(log.state.cluster_id(), Some("mine"));
    assert_eq!(log.write(put("later", "1")), TRUE);
    assert_eq!(log.row("later").modify_index, 5_004);

    // The lock-delay of this cluster goes on; locks and sessions of the backup work.
    assert_eq!(log.write(acquire("k", "2", "restored")), FALSE);
    log.now += 50;
    assert_eq!(log.write(acquire("k", "2", "restored")), TRUE);
    assert_eq!(log.write(destroy("restored")), TRUE);
    assert_eq!(log.row("restored").session(), None);
}

#[test]
fn a_damaged_or_foreign_restore_changes_nothing() {
    let saved = backup(Include::LiveOnly);
    let (head, tail) = saved.split_at(saved.len() / 2);
    let mut flipped = tail.to_vec();
    flipped[tail.len() / 2] ^= 0x40;
    let server = backup(Include::Everything);
    let begun = |more: Vec<Command>| [vec![begin("r"), chunk("r", 0, head)], more].concat();
    let cases: Vec<(&str, Vec<Command>, &str)> = vec![
        ("no beginning", vec![chunk("r", 0, head)], "not under way"),
        (
            "a gap",
            begun(vec![chunk("r", 2, tail)]),
            "chunk 2 came where chunk 1 was expected",
        ),
        (
            "twice the same",
            begun(vec![chunk("r", 0, head)]),
            "chunk 0 came where chunk 1",
        ),
        (
            "half of it",
            begun(vec![swap("r", 1, head)]),
            "ends too early",
        ),
        (
            "another count",
            begun(vec![chunk("r", 1, tail), swap("r", 3, &saved)]),
            "2 chunks arrived of 3",
        ),
        (
            "another checksum",
            begun(vec![chunk("r", 1, tail), swap("r", 2, head)]),
            "checksum",
        ),
        (
            "another restore",
            begun(vec![swap("q", 1, head)]),
            "not the one under way",
        ),
        (
            "nonsense",
            vec![begin("r"), chunk("r", 0, b"GARBAGE")],
            "row number",
        ),
        (
            "a server's snapshot",
            vec![begin("r"), chunk("r", 0, &server)],
            "not a backup",
        ),
        (
            "an ended one",
            begun(vec![
                Command::RestoreAbort(RestoreAbort { id: "r".into() }),
                swap("r", 1, head),
            ]),
            "not under way",
        ),
    ];
    for (name, commands, words) in cases {
        let mut log = Log::new();
        assert_eq!(log.write(put("live", "1")), TRUE);
        let before = (
            log.state.kv_list(""),
            log.state.sessions(),
            log.state.catalog_nodes(),
        );
        let last = commands.into_iter().map(|c| log.write(c)).last();
        match last {
            Some(Reply::Refused(Refusal::Restore(why))) => {
                assert!(why.contains(words), "{name}: {why}")
            }
            other => panic!("{name}: {other:?}"),
        }
        let after = (
            log.state.kv_list(""),
            log.state.sessions(),
            log.state.catalog_nodes(),
        );
        assert_eq!(before, after, "{name}");
        assert_eq!(log.state.offset(), 0, "{name}");
    }
    // A flipped bit is either seen by the loader or by the checksum.
    let mut log = Log::new();
    let joined = [head, &flipped].concat();
    assert_ne!(crc32fast::hash(&joined), crc32fast::hash(&saved));
    for command in begun(vec![chunk("r", 1, &flipped)]) {
        log.write(command);
    }
    assert!(matches!(
        log.write(swap("r", 2, &saved)),
        Reply::Refused(Refusal::Restore(_))
    ));
}

#[test]
fn a_cluster_is_named_once() {
    let mut log = Log::new();
    let init = |id: &str| Command::ClusterInit(ClusterInit { id: id.into() });
    assert_eq!(log.state.cluster_id(), None);
    assert_eq!(log.write(init("a")), Reply::None);
    assert_eq!(log.write(init("a")), Reply::None);
    assert!(matches!(log.write(init("b")), Reply::Refused(_)));
    assert_eq!(log.state.cluster_id(), Some("a"));
}

#[test]
fn a_blank_entry_moves_the_index_and_nothing_else() {
    let mut log = Log::new();
    let before = (log.state.kv_list(""), log.state.catalog_nodes());
    log.state.advance(77);
    assert_eq!(log.state.index(), 77);
    assert_eq!((log.state.kv_list(""), log.state.catalog_nodes()), before);
}
