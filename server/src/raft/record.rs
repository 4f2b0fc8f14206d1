//! How entries, votes and log ids are written: in the log, in snapshots, and between servers.
//!
//! These formats live for ever, so they are ours and not openraft's serde output, which may change with its version.
//! Each record opens with a format number; an unknown one is an error, never skipped. All numbers are little endian.
//!
//! entry: `format u8 = 1 | kind u8 | term u64 | node 16 | index u64 | crc32 u32 | payload`; the checksum is over all else.

use std::collections::BTreeSet;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use openraft::{EmptyNode, EntryPayload};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::types::{Entry, LeaderId, LogData, LogId, Membership, ServerId, StoredMembership, Vote};

/// The only format of entries so far.
const ENTRY_FORMAT: u8 = 1;
/// The only format of votes and log ids so far.
const MARK_FORMAT: u8 = 1;
/// Bytes of an entry besides its payload.
pub(crate) const ENTRY_HEAD_BYTES: usize = 2 + 8 + 16 + 8 + 4;
const CHECKSUM_AT: usize = ENTRY_HEAD_BYTES - 4;
const LOG_ID_BYTES: usize = 8 + 16 + 8;

const KIND_BLANK: u8 = 0;
const KIND_NORMAL: u8 = 1;
const KIND_MEMBERSHIP: u8 = 2;

/// Why a record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Cut off.
    #[error("a {what} is cut off after {have} bytes")]
    Short {
        /// Which record.
        what: &'static str,
        /// Bytes there are.
        have: usize,
    },
    /// Damaged.
    #[error("the checksum of a {what} does not match")]
    Checksum {
        /// Which record.
        what: &'static str,
    },
    /// Written by another version.
    #[error("unknown format {format} of a {what}; this version knows 1")]
    Format {
        /// Which record.
        what: &'static str,
        /// What it says.
        format: u8,
    },
    /// Readable, but nonsense.
    #[error("a {what} that makes no sense: {why}")]
    Nonsense {
        /// Which record.
        what: &'static str,
        /// Why.
        why: String,
    },
}

/// The servers that vote and those that learn, as written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MembershipRecord {
    /// One set of voters; two while they change.
    voters: Vec<BTreeSet<Uuid>>,
    /// All members, learners too.
    members: BTreeSet<Uuid>,
}

impl From<&Membership> for MembershipRecord {
    fn from(membership: &Membership) -> Self {
        let configs = membership.get_joint_config().iter();
        Self {
            voters: configs
                .map(|config| config.iter().map(|id| id.0).collect())
                .collect(),
            members: membership.nodes().map(|(id, _)| id.0).collect(),
        }
    }
}

impl TryFrom<MembershipRecord> for Membership {
    type Error = RecordError;

    fn try_from(record: MembershipRecord) -> Result<Self, RecordError> {
        let ids = |set: BTreeSet<Uuid>| set.into_iter().map(ServerId).collect::<BTreeSet<_>>();
        let voters: Vec<_> = record.voters.into_iter().map(ids).collect();
        if voters.is_empty() && record.members.is_empty() {
            return Ok(Membership::default());
        }
        let members = ids(record.members)
            .into_iter()
            .map(|id| (id, EmptyNode::new()))
            .collect::<std::collections::BTreeMap<_, _>>();
        Membership::new(voters, members).map_err(|error| RecordError::Nonsense {
            what: "membership",
            why: error.to_string(),
        })
    }
}

/// A log id as JSON and MessagePack have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogIdRecord {
    term: u64,
    node: Uuid,
    index: u64,
}

impl From<LogId> for LogIdRecord {
    fn from(id: LogId) -> Self {
        Self {
            term: id.leader_id.term,
            node: id.leader_id.node_id.0,
            index: id.index,
        }
    }
}

impl From<LogIdRecord> for LogId {
    fn from(record: LogIdRecord) -> Self {
        let leader = LeaderId {
            term: record.term,
            node_id: ServerId(record.node),
        };
        LogId::new(leader, record.index)
    }
}

/// A membership with its place in the log, as snapshots carry it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredMembershipRecord {
    at: Option<LogIdRecord>,
    membership: MembershipRecord,
}

impl From<&StoredMembership> for StoredMembershipRecord {
    fn from(stored: &StoredMembership) -> Self {
        Self {
            at: stored.log_id().map(LogIdRecord::from),
            membership: stored.membership().into(),
        }
    }
}

impl TryFrom<StoredMembershipRecord> for StoredMembership {
    type Error = RecordError;

    fn try_from(record: StoredMembershipRecord) -> Result<Self, RecordError> {
        let membership = record.membership.try_into()?;
        Ok(StoredMembership::new(
            record.at.map(LogId::from),
            membership,
        ))
    }
}

/// Bytes an entry takes, about: for limits, not for buffers.
pub(crate) fn entry_bytes(entry: &Entry) -> usize {
    ENTRY_HEAD_BYTES
        + match &entry.payload {
            EntryPayload::Blank => 0,
            EntryPayload::Normal(data) => data.0.len(),
            EntryPayload::Membership(membership) => 64 * membership.nodes().count(),
        }
}

/// Writes an entry.
pub(crate) fn put_entry(entry: &Entry, out: &mut BytesMut) {
    let start = out.len();
    let membership;
    let (kind, payload): (u8, &[u8]) = match &entry.payload {
        EntryPayload::Blank => (KIND_BLANK, &[]),
        EntryPayload::Normal(data) => (KIND_NORMAL, &data.0),
        EntryPayload::Membership(new) => {
            membership = rmp_serde::to_vec_named(&MembershipRecord::from(new))
                .expect("sets of ids must encode");
            (KIND_MEMBERSHIP, &membership)
        }
    };
    out.reserve(ENTRY_HEAD_BYTES + payload.len());
    out.put_u8(ENTRY_FORMAT);
    out.put_u8(kind);
    put_log_id(&entry.log_id, out);
    out.put_u32_le(0);
    out.put_slice(payload);
    let checksum = entry_checksum(&out[start..]);
    out[start + CHECKSUM_AT..start + ENTRY_HEAD_BYTES].copy_from_slice(&checksum.to_le_bytes());
}

fn entry_checksum(record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&record[..CHECKSUM_AT]);
    hasher.update(&record[ENTRY_HEAD_BYTES..]);
    hasher.finalize()
}

/// Reads the position of an entry, and that it is whole.
pub(crate) fn check_entry(record: &[u8]) -> Result<LogId, RecordError> {
    let what = "log entry";
    let format = *record.first().ok_or(RecordError::Short { what, have: 0 })?;
    if record.len() < ENTRY_HEAD_BYTES {
        let have = record.len();
        return Err(RecordError::Short { what, have });
    }
    if format != ENTRY_FORMAT {
        return Err(RecordError::Format { what, format });
    }
    let mut head = &record[2..ENTRY_HEAD_BYTES];
    let log_id = take_log_id(&mut head, what)?;
    if head.get_u32_le() != entry_checksum(record) {
        return Err(RecordError::Checksum { what });
    }
    Ok(log_id)
}

/// Reads an entry. Its payload is copied, so that it does not keep a whole page or frame alive.
pub(crate) fn take_entry(record: &[u8]) -> Result<Entry, RecordError> {
    let log_id = check_entry(record)?;
    let payload = &record[ENTRY_HEAD_BYTES..];
    let payload = match record[1] {
        KIND_BLANK => EntryPayload::Blank,
        KIND_NORMAL => EntryPayload::Normal(LogData(Bytes::copy_from_slice(payload))),
        KIND_MEMBERSHIP => {
            let nonsense = |why: String| RecordError::Nonsense {
                what: "membership",
                why,
            };
            let record: MembershipRecord =
                rmp_serde::from_slice(payload).map_err(|error| nonsense(error.to_string()))?;
            EntryPayload::Membership(record.try_into()?)
        }
        format => {
            let what = "log entry's kind";
            return Err(RecordError::Format { what, format });
        }
    };
    Ok(openraft::Entry { log_id, payload })
}

/// Writes a log id without a format number, as part of another record.
pub(crate) fn put_log_id(id: &LogId, out: &mut BytesMut) {
    out.put_u64_le(id.leader_id.term);
    out.put_slice(id.leader_id.node_id.0.as_bytes());
    out.put_u64_le(id.index);
}

/// Reads what [`put_log_id`] wrote.
pub(crate) fn take_log_id(from: &mut impl Buf, what: &'static str) -> Result<LogId, RecordError> {
    need(from, LOG_ID_BYTES, what)?;
    let term = from.get_u64_le();
    let node_id = take_server_id(from);
    let index = from.get_u64_le();
    Ok(LogId::new(LeaderId { term, node_id }, index))
}

/// Writes a log id that may be missing.
pub(crate) fn put_optional_log_id(id: Option<&LogId>, out: &mut BytesMut) {
    out.put_u8(u8::from(id.is_some()));
    if let Some(id) = id {
        put_log_id(id, out);
    }
}

/// Reads what [`put_optional_log_id`] wrote.
pub(crate) fn take_optional_log_id(
    from: &mut impl Buf,
    what: &'static str,
) -> Result<Option<LogId>, RecordError> {
    need(from, 1, what)?;
    match from.get_u8() {
        0 => Ok(None),
        1 => take_log_id(from, what).map(Some),
        format => Err(RecordError::Format { what, format }),
    }
}

/// Writes a vote, as part of another record.
pub(crate) fn put_vote(vote: &Vote, out: &mut BytesMut) {
    out.put_u64_le(vote.leader_id.term);
    out.put_slice(vote.leader_id.node_id.0.as_bytes());
    out.put_u8(u8::from(vote.committed));
}

/// Reads what [`put_vote`] wrote.
pub(crate) fn take_vote(from: &mut impl Buf, what: &'static str) -> Result<Vote, RecordError> {
    need(from, 8 + 16 + 1, what)?;
    let term = from.get_u64_le();
    let node = take_server_id(from);
    Ok(match from.get_u8() {
        0 => Vote::new(term, node),
        _ => Vote::new_committed(term, node),
    })
}

/// Fails unless that many bytes are left.
pub(crate) fn need(from: &impl Buf, bytes: usize, what: &'static str) -> Result<(), RecordError> {
    let have = from.remaining();
    if have < bytes {
        return Err(RecordError::Short { what, have });
    }
    Ok(())
}

fn take_server_id(from: &mut impl Buf) -> ServerId {
    let mut id = [0; 16];
    from.copy_to_slice(&mut id);
    ServerId(Uuid::from_bytes(id))
}

/// A small record of its own (vote, log id) as the metadata table holds it: `format u8 | content | crc32 u32`.
pub(crate) fn seal(content: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(MARK_FORMAT);
    content(&mut out);
    let checksum = crc32fast::hash(&out);
    out.put_u32_le(checksum);
    out.freeze()
}

/// Opens what [`seal`] closed.
pub(crate) fn unseal<'a>(record: &'a [u8], what: &'static str) -> Result<&'a [u8], RecordError> {
    let have = record.len();
    let Some((content, checksum)) = record.split_last_chunk::<4>() else {
        return Err(RecordError::Short { what, have });
    };
    let Some((format, content)) = content.split_first() else {
        return Err(RecordError::Short { what, have });
    };
    if crc32fast::hash(&record[..have - 4]) != u32::from_le_bytes(*checksum) {
        return Err(RecordError::Checksum { what });
    }
    if *format != MARK_FORMAT {
        let format = *format;
        return Err(RecordError::Format { what, format });
    }
    Ok(content)
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
