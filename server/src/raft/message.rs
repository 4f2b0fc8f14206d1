//! Raft's messages as they travel between servers: one format number, then fields in a fixed order.
//!
//! Entries travel as they stand in the log, each with its own format number and checksum.

use bytes::{Buf as _, BufMut as _, BytesMut};
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderError, VoteRequest,
    VoteResponse,
};
use openraft::raft::{TransferLeaderRequest, TransferLeaderResponse};

use super::record::{
    RecordError, entry_bytes, need, put_entry, put_optional_log_id, put_vote, take_entry,
    take_log_id, take_optional_log_id, take_vote,
};
use super::types::{ServerId, TypeConfig, Vote};

/// The only format so far.
const FORMAT: u8 = 1;

/// Raft's methods of a call connection.
pub(super) mod method {
    pub(in crate::raft) const APPEND: u16 = 1;
    pub(in crate::raft) const VOTE: u16 = 2;
    pub(in crate::raft) const PRE_VOTE: u16 = 3;
    pub(in crate::raft) const TRANSFER_LEADER: u16 = 4;
}

fn open<'a>(message: &'a [u8], what: &'static str) -> Result<&'a [u8], RecordError> {
    match message.split_first() {
        None => Err(RecordError::Short { what, have: 0 }),
        Some((&FORMAT, rest)) => Ok(rest),
        Some((&format, _)) => Err(RecordError::Format { what, format }),
    }
}

pub(super) fn put_append(request: &AppendEntriesRequest<TypeConfig>, out: &mut BytesMut) {
    let bytes: usize = request.entries.iter().map(entry_bytes).sum();
    out.reserve(bytes + 4 * request.entries.len() + 128);
    out.put_u8(FORMAT);
    put_vote(&request.vote, out);
    put_optional_log_id(request.prev_log_id.as_ref(), out);
    put_optional_log_id(request.leader_commit.as_ref(), out);
    out.put_u32_le(request.entries.len() as u32);
    for entry in &request.entries {
        let at = out.len();
        out.put_u32_le(0);
        put_entry(entry, out);
        let length = (out.len() - at - 4) as u32;
        out[at..at + 4].copy_from_slice(&length.to_le_bytes());
    }
}

pub(super) fn take_append(message: &[u8]) -> Result<AppendEntriesRequest<TypeConfig>, RecordError> {
    let what = "append request";
    let mut rest = open(message, what)?;
    let vote = take_vote(&mut rest, what)?;
    let prev_log_id = take_optional_log_id(&mut rest, what)?;
    let leader_commit = take_optional_log_id(&mut rest, what)?;
    need(&rest, 4, what)?;
    let count = rest.get_u32_le();
    let mut entries = Vec::new();
    for _ in 0..count {
        need(&rest, 4, what)?;
        let length = rest.get_u32_le() as usize;
        need(&rest, length, what)?;
        entries.push(take_entry(&rest[..length])?);
        rest.advance(length);
    }
    Ok(AppendEntriesRequest {
        vote,
        prev_log_id,
        entries,
        leader_commit,
    })
}

pub(super) fn put_append_result(result: &StreamAppendResult<TypeConfig>, out: &mut BytesMut) {
    out.put_u8(FORMAT);
    match result {
        Ok(matching) => {
            out.put_u8(0);
            put_optional_log_id(matching.as_ref(), out);
        }
        Err(StreamAppendError::Conflict(at)) => {
            out.put_u8(1);
            put_optional_log_id(Some(at), out);
        }
        Err(StreamAppendError::HigherVote(vote)) => {
            out.put_u8(2);
            put_vote(vote, out);
        }
    }
}

pub(super) fn take_append_result(
    message: &[u8],
) -> Result<StreamAppendResult<TypeConfig>, RecordError> {
    let what = "append answer";
    let mut rest = open(message, what)?;
    need(&rest, 1, what)?;
    match rest.get_u8() {
        0 => Ok(Ok(take_optional_log_id(&mut rest, what)?)),
        1 => {
            need(&rest, 1, what)?;
            rest.advance(1);
            let at = take_log_id(&mut rest, what)?;
            Ok(Err(StreamAppendError::Conflict(at)))
        }
        2 => {
            let vote = take_vote(&mut rest, what)?;
            Ok(Err(StreamAppendError::HigherVote(vote)))
        }
        format => Err(RecordError::Format { what, format }),
    }
}

pub(super) fn put_vote_request(request: &VoteRequest<TypeConfig>, out: &mut BytesMut) {
    out.put_u8(FORMAT);
    put_vote(&request.vote, out);
    put_optional_log_id(request.last_log_id.as_ref(), out);
    out.put_u8(u8::from(request.leadership_transfer));
}

pub(super) fn take_vote_request(message: &[u8]) -> Result<VoteRequest<TypeConfig>, RecordError> {
    let what = "vote request";
    let mut rest = open(message, what)?;
    let vote = take_vote(&mut rest, what)?;
    let last_log_id = take_optional_log_id(&mut rest, what)?;
    need(&rest, 1, what)?;
    let mut request = VoteRequest::new(vote, last_log_id);
    request.leadership_transfer = rest.get_u8() != 0;
    Ok(request)
}

pub(super) fn put_vote_response(response: &VoteResponse<TypeConfig>, out: &mut BytesMut) {
    out.put_u8(FORMAT);
    put_vote(&response.vote, out);
    out.put_u8(u8::from(response.vote_granted));
    put_optional_log_id(response.last_log_id.as_ref(), out);
}

pub(super) fn take_vote_response(message: &[u8]) -> Result<VoteResponse<TypeConfig>, RecordError> {
    let what = "vote answer";
    let mut rest = open(message, what)?;
    let vote = take_vote(&mut rest, what)?;
    need(&rest, 1, what)?;
    let granted = rest.get_u8() != 0;
    let last_log_id = take_optional_log_id(&mut rest, what)?;
    Ok(VoteResponse::new(vote, last_log_id, granted))
}

pub(super) fn put_transfer(request: &TransferLeaderRequest<TypeConfig>, out: &mut BytesMut) {
    out.put_u8(FORMAT);
    put_vote(request.from_leader(), out);
    out.put_slice(request.to_node_id().0.as_bytes());
    put_optional_log_id(request.last_log_id(), out);
}

pub(super) fn take_transfer(
    message: &[u8],
) -> Result<TransferLeaderRequest<TypeConfig>, RecordError> {
    let what = "leader transfer";
    let mut rest = open(message, what)?;
    let from = take_vote(&mut rest, what)?;
    need(&rest, 16, what)?;
    let mut to = [0; 16];
    rest.copy_to_slice(&mut to);
    let to = ServerId(uuid::Uuid::from_bytes(to));
    let last_log_id = take_optional_log_id(&mut rest, what)?;
    Ok(TransferLeaderRequest::new(from, to, last_log_id))
}

pub(super) fn put_transfer_response(
    response: &TransferLeaderResponse<TypeConfig>,
    out: &mut BytesMut,
) {
    out.put_u8(FORMAT);
    match response {
        Ok(()) => out.put_u8(0),
        Err(TransferLeaderError::VoteChanged { expected, actual }) => {
            out.put_u8(1);
            put_vote(expected, out);
            put_vote(actual, out);
        }
        Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
            out.put_u8(2);
            put_optional_log_id(expected.as_ref(), out);
            put_optional_log_id(actual.as_ref(), out);
        }
    }
}

pub(super) fn take_transfer_response(
    message: &[u8],
) -> Result<TransferLeaderResponse<TypeConfig>, RecordError> {
    let what = "leader transfer's answer";
    let mut rest = open(message, what)?;
    need(&rest, 1, what)?;
    match rest.get_u8() {
        0 => Ok(Ok(())),
        1 => Ok(Err(TransferLeaderError::VoteChanged {
            expected: take_vote(&mut rest, what)?,
            actual: take_vote(&mut rest, what)?,
        })),
        2 => Ok(Err(TransferLeaderError::LogNotFlushed {
            expected: take_optional_log_id(&mut rest, what)?,
            actual: take_optional_log_id(&mut rest, what)?,
        })),
        format => Err(RecordError::Format { what, format }),
    }
}

/// A vote alone: before a snapshot, and as its answer.
pub(super) fn put_bare_vote(vote: &Vote, out: &mut BytesMut) {
    out.put_u8(FORMAT);
    put_vote(vote, out);
}

pub(super) fn take_bare_vote(message: &[u8]) -> Result<Vote, RecordError> {
    let what = "vote";
    let mut rest = open(message, what)?;
    take_vote(&mut rest, what)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use openraft::EntryPayload;

    use super::*;
    use crate::raft::types::{Entry, LeaderId, LogData, LogId};

    fn id(index: u64) -> LogId {
        let node_id = ServerId::from(4);
        LogId::new(LeaderId { term: 3, node_id }, index)
    }

    fn written(put: impl FnOnce(&mut BytesMut)) -> BytesMut {
        let mut out = BytesMut::new();
        put(&mut out);
        out
    }

    #[test]
    fn append_requests_come_back_and_a_cut_anywhere_is_an_error() {
        let entry = |index| Entry {
            log_id: id(index),
            payload: EntryPayload::Normal(LogData(Bytes::from_static(b"data"))),
        };
        let request = AppendEntriesRequest {
            vote: Vote::new_committed(3, ServerId::from(4)),
            prev_log_id: Some(id(6)),
            entries: vec![entry(7), entry(8)],
            leader_commit: None,
        };
        let message = written(|out| put_append(&request, out));
        let back = take_append(&message).unwrap();
        assert_eq!(format!("{back:?}"), format!("{request:?}"));
        for length in 0..message.len() {
            assert!(take_append(&message[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn answers_come_back() {
        let vote = Vote::new(9, ServerId::from(1));
        for result in [
            Ok(None),
            Ok(Some(id(3))),
            Err(StreamAppendError::Conflict(id(2))),
            Err(StreamAppendError::HigherVote(vote)),
        ] {
            let message = written(|out| put_append_result(&result, out));
            assert_eq!(take_append_result(&message).unwrap(), result);
        }
        let mut request = VoteRequest::new(vote, Some(id(1)));
        request.leadership_transfer = true;
        let message = written(|out| put_vote_request(&request, out));
        assert_eq!(take_vote_request(&message).unwrap(), request);
        let response = VoteResponse::new(vote, None, true);
        let message = written(|out| put_vote_response(&response, out));
        assert_eq!(take_vote_response(&message).unwrap(), response);
        let transfer = TransferLeaderRequest::new(vote, ServerId::from(2), Some(id(5)));
        let message = written(|out| put_transfer(&transfer, out));
        assert_eq!(take_transfer(&message).unwrap(), transfer);
        for response in [
            Ok(()),
            Err(TransferLeaderError::VoteChanged {
                expected: vote,
                actual: Vote::new_committed(10, ServerId::from(3)),
            }),
            Err(TransferLeaderError::LogNotFlushed {
                expected: Some(id(1)),
                actual: None,
            }),
        ] {
            let message = written(|out| put_transfer_response(&response, out));
            assert_eq!(take_transfer_response(&message).unwrap(), response);
        }
    }
}
