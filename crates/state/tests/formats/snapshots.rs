//! Snapshots, byte for byte, cut anywhere, and of another version.

use rollcall_state::{Include, Loader, SnapshotError};

use crate::samples::{full_state, fuller_state};
use crate::{golden, read_or_make};

#[test]
fn snapshots_are_written_and_read_as_they_ever_were() {
    for (include, name, state) in [
        (Include::Everything, "everything-3", fuller_state(4)),
        (Include::LiveOnly, "live-3", fuller_state(4)),
        (Include::Everything, "everything-2", fuller_state(3)),
        (Include::LiveOnly, "live-2", fuller_state(3)),
        (Include::LiveOnly, "live", full_state()),
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
        row_numbers(&std::fs::read(golden("snapshot-everything-3.bin")).expect("just read"));
    assert_eq!(
        numbers,
        (1..=20).collect::<Vec<u16>>(),
        "a kind of row is not in the golden snapshot"
    );
}

#[test]
fn snapshots_of_earlier_versions_are_still_read() {
    let state = full_state();
    let file = std::fs::read(golden("snapshot-everything.bin")).expect("it must be there");
    let mut loader = Loader::new();
    loader.push(&file).expect("an earlier snapshot must load");
    let loaded = loader
        .finish()
        .expect("an earlier snapshot must have been whole");
    assert_eq!(loaded.index(), state.index());
    assert_eq!(loaded.kv_list(""), state.kv_list(""));
    assert_eq!(loaded.health_service("web"), state.health_service("web"));
    assert_eq!(loaded.health_node("n1"), state.health_node("n1"));
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
