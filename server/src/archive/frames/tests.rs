//! Both layouts byte by byte: what is written today is what lies on disks already, and no damage goes unseen.

use super::*;

const LAYOUTS: [Layout; 2] = [Layout::Saved, Layout::Raft];
const SAVED_HEADER: &[u8] = br#"{"index":42,"cluster":"c","datacenter":"dc1","version":"0.1.0"}"#;
const RAFT_HEADER: &[u8] = br#"{"a":1}"#;

fn written(layout: Layout, header: &[u8], frames: &[&[u8]]) -> Vec<u8> {
    let mut writer = FrameWriter::begin(layout, Vec::new(), header).unwrap();
    for frame in frames {
        writer.frame(frame).unwrap();
    }
    writer.end().unwrap()
}

fn read(layout: Layout, bytes: &[u8]) -> Result<(Vec<u8>, Vec<Bytes>), ArchiveError> {
    let (header, mut reader) = FrameReader::open(layout, bytes)?;
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame()? {
        frames.push(frame);
    }
    assert!(reader.next_frame()?.is_none(), "the end stays the end");
    Ok((header, frames))
}

/// The files were made from the layouts' description by another program, and read by the versions before this container.
#[test]
fn files_of_the_first_version_are_written_and_read_byte_by_byte() {
    let saved = include_bytes!("../golden/saved-1.snap");
    same(Layout::Saved, saved, SAVED_HEADER, &[b"one", b"two"]);
    let raft = include_bytes!("../golden/raft-1.rcs");
    same(
        Layout::Raft,
        raft,
        RAFT_HEADER,
        &[b"first", b"", b"third chunk"],
    );
}

fn same(layout: Layout, golden: &[u8], header: &[u8], frames: &[&[u8]]) {
    assert_eq!(written(layout, header, frames), golden, "{layout:?}");
    let (found, content) = read(layout, golden).unwrap();
    assert_eq!(found, header);
    assert_eq!(content, frames);
}

#[test]
fn a_file_without_frames_is_whole() {
    for layout in LAYOUTS {
        let (header, frames) = read(layout, &written(layout, b"{}", &[])).unwrap();
        assert_eq!((header.as_slice(), frames.len()), (b"{}".as_slice(), 0));
    }
}

#[test]
fn every_half_every_flipped_bit_and_one_byte_too_many_is_found() {
    for layout in LAYOUTS {
        let whole = written(layout, b"{\"a\":1}", &[b"first", b"second frame"]);
        for length in 0..whole.len() {
            let error = read(layout, &whole[..length]).unwrap_err();
            let expected = match length {
                0 => matches!(error, ArchiveError::Foreign),
                _ => matches!(error, ArchiveError::Truncated(_)),
            };
            assert!(expected, "{layout:?} {length} bytes: {error}");
        }
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(read(layout, &damaged).is_err(), "{layout:?} bit {bit}");
        }
        let longer = [&whole[..], b"x"].concat();
        assert!(matches!(read(layout, &longer), Err(ArchiveError::TooLong)));
    }
}

#[test]
fn a_damaged_length_takes_no_memory() {
    for (layout, at) in [(Layout::Saved, 20), (Layout::Raft, 17)] {
        let mut damaged = written(layout, b"{}", &[b"x"]);
        let place = at + 2..at + 6;
        damaged[place].copy_from_slice(&u32::MAX.to_le_bytes());
        let error = read(layout, &damaged).unwrap_err();
        assert!(matches!(error, ArchiveError::Damaged(_)), "{error}");
    }
}

#[test]
fn a_foreign_file_a_later_version_and_the_other_layout_are_told_apart() {
    for layout in LAYOUTS {
        for foreign in [b"\x1f\x8b\x08 of another program".as_slice(), b""] {
            assert!(matches!(read(layout, foreign), Err(ArchiveError::Foreign)));
        }
    }
    let later = read(Layout::Saved, b"rollcall-snap\r\n\x02");
    assert!(matches!(later, Err(ArchiveError::Version(2))));
    let (saved, raft) = (
        written(Layout::Saved, b"{}", &[]),
        written(Layout::Raft, b"{}", &[]),
    );
    assert!(matches!(
        read(Layout::Raft, &saved),
        Err(ArchiveError::Foreign)
    ));
    assert!(matches!(
        read(Layout::Saved, &raft),
        Err(ArchiveError::Foreign)
    ));
}
