//! The formats that live for ever, byte for byte: commands in the log, rows in snapshots.
//!
//! A golden file is never rewritten. A new one is made by `UPDATE_GOLDEN=1 cargo test -p rollcall-state --test formats`, which
//! only writes files that do not exist. When a field is added, the sample with it becomes a new file and the old file stays
//! and must still decode.

mod samples;
mod snapshots;

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use rollcall_state::command::*;
use rollcall_state::{CodecError, Command, Include, Proposal, Stamp, State};

use samples::{apply, samples, text};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// The file's bytes; makes it when asked to.
fn read_or_make(name: &str, now: &[u8]) -> Vec<u8> {
    let path = golden(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() && !path.exists() {
        std::fs::write(&path, now).expect("golden file must be writable");
    }
    std::fs::read(&path)
        .unwrap_or_else(|e| panic!("{}: {e}; see the head of this file", path.display()))
}

#[test]
fn commands_are_written_and_read_as_they_ever_were() {
    for (name, command) in samples() {
        let at = Stamp(0x0102_0304_0506_0708);
        let proposal = Proposal { at, command };
        let bytes = proposal.encode();
        let file = read_or_make(&format!("command-{name}.bin"), &bytes);
        assert_eq!(
            bytes, file,
            "{name} is written otherwise than in its golden file"
        );
        assert_eq!(Proposal::decode(&file), Ok(proposal.clone()), "{name}");

        let bare = proposal.command.encode();
        assert_eq!(Command::decode(&bare), Ok(proposal.command), "{name}");
        assert_eq!(bare[0], file[0], "{name}: one version for both frames");
        assert_eq!(
            bare[1..],
            file[9..],
            "{name}: the bare command is the proposal without its stamp"
        );
    }
}

#[test]
fn every_golden_command_has_a_reader() {
    let files = std::fs::read_dir(golden("")).expect("golden files must be there");
    let mut numbers: Vec<u16> = Vec::new();
    for file in files {
        let path = file.expect("golden files must be readable").path();
        let name = path
            .file_name()
            .expect("a file has a name")
            .to_string_lossy()
            .into_owned();
        if name.starts_with("command-") {
            let bytes = std::fs::read(&path).expect("golden file must be readable");
            Proposal::decode(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
            let number = u16::from_le_bytes([bytes[9], bytes[10]]);
            assert!(
                name.starts_with(&format!("command-{number:02}-")),
                "{name} is number {number}"
            );
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(
        numbers,
        (1..=17).collect::<Vec<u16>>(),
        "a command without a golden file"
    );
}

/// A command frame around a hand-made body.
fn frame(number: u16, body: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = vec![1];
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend(rmp_serde::to_vec_named(body).expect("a body must encode"));
    bytes
}

#[test]
fn a_field_of_tomorrow_is_skipped_and_a_field_of_tomorrow_may_be_missing() {
    #[derive(serde::Serialize)]
    struct Tomorrow {
        colour: &'static str,
        key: &'static str,
        #[serde(with = "serde_bytes")]
        value: &'static [u8],
    }
    let body = Tomorrow {
        colour: "blue",
        key: "a",
        value: b"v",
    };
    // `flags` and `mode` are not there, `colour` is not known.
    let expected = KvSet {
        key: text("a"),
        value: Bytes::from_static(b"v"),
        flags: 0,
        mode: KvMode::Set,
    };
    assert_eq!(
        Command::decode(&frame(1, &body)),
        Ok(Command::KvSet(expected))
    );
}

#[test]
fn what_is_unknown_or_cut_off_is_named() {
    let no_fields = BTreeMap::<String, u8>::new();
    assert_eq!(
        Command::decode(&frame(4711, &no_fields)),
        Err(CodecError::UnknownCommand(4711))
    );
    assert_eq!(
        Command::decode(&frame(0, &no_fields)),
        Err(CodecError::UnknownCommand(0))
    );
    assert_eq!(
        Command::decode(&[2, 1, 0]),
        Err(CodecError::UnknownVersion(2))
    );
    assert_eq!(
        Proposal::decode(&[2, 1, 0]),
        Err(CodecError::UnknownVersion(2))
    );
    assert_eq!(Command::decode(&[]), Err(CodecError::Truncated(0)));
    assert_eq!(Proposal::decode(&[1, 0, 0]), Err(CodecError::Truncated(3)));
    let words = Command::decode(&frame(1, &no_fields))
        .expect_err("a set needs a key")
        .to_string();
    assert!(
        words.contains("command number 1") && words.contains("key"),
        "{words}"
    );

    for (name, command) in samples() {
        let whole = command.encode();
        for len in 0..whole.len() {
            assert!(
                Command::decode(&whole[..len]).is_err(),
                "{name} cut to {len} bytes decodes"
            );
        }
    }
}

#[test]
fn values_travel_as_bytes_not_as_lists_of_numbers() {
    let value = Bytes::from(vec![0xff; 100_000]);
    let set = KvSet {
        key: text("a"),
        value: value.clone(),
        flags: 0,
        mode: KvMode::Set,
    };
    assert!(Command::KvSet(set).encode().len() < value.len() + 100);
    let chunk = RestoreChunk {
        id: text("r"),
        sequence: 0,
        rows: value.clone(),
    };
    assert!(Command::RestoreChunk(chunk).encode().len() < value.len() + 100);
    let mut state = State::default();
    let set = KvSet {
        key: text("a"),
        value,
        flags: 0,
        mode: KvMode::Set,
    };
    apply(&mut state, 1, Command::KvSet(set));
    let snapshot: usize = state.chunks(1, Include::LiveOnly).map(|c| c.len()).sum();
    assert!(snapshot < 100_500, "{snapshot}");
}
