//! The bytes of a message: see `docs/formats/peer.md`.

use bytes::Bytes;
use openraft::EntryPayload;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use openraft::vote::RaftLeaderId;
use slotcore_engine::varint::{put_bytes, put_len, put_u64, take, take_len, take_u64};
use slotcore_rt::ids::{GroupId, LogIndex, Term};

use super::frame::BadFrame;
use super::message::{Answer, CallId, Message, Request, SnapshotAnswer, SnapshotPart};
use crate::freshness::Vouched;
use crate::membership;
use crate::runtime::Runtime;
use crate::types::{
    Entry, LeaderId, LogId, Membership, Payload, RaftTypes, SnapshotMeta, StoredMembership, Vote, log_id, position,
};

/// Kinds of messages; never used again for anything else.
mod kind {
    pub const APPEND: u8 = 1;
    pub const HEARTBEAT: u8 = 2;
    pub const VOTE: u8 = 3;
    pub const PRE_VOTE: u8 = 4;
    // 5 was a snapshot in one piece.
    pub const TRANSFER: u8 = 6;
    pub const SNAPSHOT: u8 = 7;
    pub const READ_INDEX: u8 = 8;
    pub const SEEN: u8 = 9;
    pub const DIVERGED: u8 = 10;
    pub const REBUILD: u8 = 11;
    pub const CARRIED: u8 = 16;
    pub const APPEND_ANSWER: u8 = 0x81;
    pub const VOTE_ANSWER: u8 = 0x83;
    pub const TRANSFER_ANSWER: u8 = 0x86;
    pub const SNAPSHOT_ANSWER: u8 = 0x87;
    pub const READ_INDEX_ANSWER: u8 = 0x88;
    pub const SEEN_ANSWER: u8 = 0x89;
    pub const HEARD_ANSWER: u8 = 0x8a;
}

/// What an entry carries.
mod content {
    pub const BLANK: u8 = 0;
    pub const PROPOSED: u8 = 1;
    pub const MEMBERSHIP: u8 = 2;
}

/// How an append went.
mod append {
    pub const SUCCESS: u8 = 0;
    pub const PARTIAL: u8 = 1;
    pub const CONFLICT: u8 = 2;
    pub const HIGHER_VOTE: u8 = 3;
}

/// How a transfer went.
mod transfer {
    pub const DONE: u8 = 0;
    pub const VOTE_CHANGED: u8 = 1;
    pub const NOT_FLUSHED: u8 = 2;
}

/// Fewest bytes of an entry: its term, its kind.
const ENTRY_BYTES_MIN: usize = 2;

/// Appends a message.
pub fn encode<RT: Runtime>(out: &mut Vec<u8>, group: GroupId, message: &Message<RT>) {
    let of_raft = !matches!(message, Message::Carried(_));
    put_u64(out, if of_raft { group.0 } else { 0 });
    let (kind, call) = match message {
        Message::Request(call, Request::Append(_)) => (kind::APPEND, call),
        Message::Request(call, Request::Heartbeat(_)) => (kind::HEARTBEAT, call),
        Message::Request(call, Request::Vote(_)) => (kind::VOTE, call),
        Message::Request(call, Request::PreVote(_)) => (kind::PRE_VOTE, call),
        Message::Request(call, Request::Snapshot(..)) => (kind::SNAPSHOT, call),
        Message::Request(call, Request::Transfer(_)) => (kind::TRANSFER, call),
        Message::Request(call, Request::ReadIndex(_)) => (kind::READ_INDEX, call),
        Message::Request(call, Request::Seen(_)) => (kind::SEEN, call),
        Message::Request(call, Request::Diverged(_)) => (kind::DIVERGED, call),
        Message::Request(call, Request::Rebuild(_)) => (kind::REBUILD, call),
        Message::Answer(call, Answer::Append(_)) => (kind::APPEND_ANSWER, call),
        Message::Answer(call, Answer::Vote(_)) => (kind::VOTE_ANSWER, call),
        Message::Answer(call, Answer::Snapshot(_)) => (kind::SNAPSHOT_ANSWER, call),
        Message::Answer(call, Answer::Transfer(_)) => (kind::TRANSFER_ANSWER, call),
        Message::Answer(call, Answer::ReadIndex(_)) => (kind::READ_INDEX_ANSWER, call),
        Message::Answer(call, Answer::Seen(_)) => (kind::SEEN_ANSWER, call),
        Message::Answer(call, Answer::Heard) => (kind::HEARD_ANSWER, call),
        Message::Carried(_) => (kind::CARRIED, &CallId(0)),
    };
    out.push(kind);
    put_u64(out, call.0);
    match message {
        Message::Request(_, Request::Append(request) | Request::Heartbeat(request)) => put_append(out, request),
        Message::Request(_, Request::Vote(request) | Request::PreVote(request)) => {
            put_vote(out, &request.vote);
            put_log_id(out, request.last_log_id.as_ref());
            out.push(u8::from(request.leadership_transfer));
        }
        Message::Request(_, Request::Snapshot(vote, part)) => put_part(out, vote, part),
        Message::Request(_, Request::Transfer(request)) => {
            put_vote(out, request.from_leader());
            put_u64(out, *request.to_node_id());
            put_log_id(out, request.last_log_id());
        }
        Message::Request(_, Request::ReadIndex(vouched)) => out.push(u8::from(*vouched == Vouched::ByQuorum)),
        Message::Request(_, Request::Seen(index) | Request::Diverged(index) | Request::Rebuild(index)) => {
            put_u64(out, index.0);
        }
        Message::Answer(_, Answer::Seen(digest)) => {
            out.push(u8::from(digest.is_some()));
            out.extend_from_slice(&digest.unwrap_or(0).to_le_bytes());
        }
        Message::Answer(_, Answer::Heard) => {}
        Message::Answer(_, Answer::ReadIndex(index)) => {
            out.push(u8::from(index.is_some()));
            put_u64(out, index.map_or(0, |index| index.0));
        }
        Message::Answer(_, Answer::Append(answer)) => match answer {
            AppendEntriesResponse::Success => out.push(append::SUCCESS),
            AppendEntriesResponse::PartialSuccess(reached) => {
                out.push(append::PARTIAL);
                put_log_id(out, reached.as_ref());
            }
            AppendEntriesResponse::Conflict => out.push(append::CONFLICT),
            AppendEntriesResponse::HigherVote(vote) => {
                out.push(append::HIGHER_VOTE);
                put_vote(out, vote);
            }
        },
        Message::Answer(_, Answer::Vote(answer)) => {
            put_vote(out, &answer.vote);
            put_log_id(out, answer.last_log_id.as_ref());
            out.push(u8::from(answer.vote_granted));
        }
        Message::Answer(_, Answer::Snapshot(answer)) => {
            put_vote(out, &answer.vote);
            put_u64(out, answer.have);
        }
        Message::Answer(_, Answer::Transfer(answer)) => match answer {
            Ok(()) => out.push(transfer::DONE),
            Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                out.push(transfer::VOTE_CHANGED);
                put_vote(out, expected);
                put_vote(out, actual);
            }
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
                out.push(transfer::NOT_FLUSHED);
                put_log_id(out, expected.as_ref());
                put_log_id(out, actual.as_ref());
            }
        },
        Message::Carried(bytes) => put_bytes(out, bytes),
    }
}

fn put_vote(out: &mut Vec<u8>, vote: &Vote) {
    put_u64(out, vote.leader_id.term);
    put_u64(out, vote.leader_id.voted_for);
    out.push(u8::from(vote.committed));
}

fn put_log_id(out: &mut Vec<u8>, id: Option<&LogId>) {
    let (index, term) = position(id);
    put_u64(out, index.0);
    put_u64(out, term.0);
}

fn put_append<RT: Runtime>(out: &mut Vec<u8>, request: &AppendEntriesRequest<RaftTypes<RT>>) {
    put_vote(out, &request.vote);
    put_log_id(out, request.prev_log_id.as_ref());
    put_log_id(out, request.leader_commit.as_ref());
    put_len(out, request.entries.len());
    let (previous, _) = position(request.prev_log_id.as_ref());
    for (index, entry) in (previous.0 + 1..).zip(&request.entries) {
        let (own, term) = position(Some(&entry.log_id));
        assert_eq!(own.0, index, "entries of a request follow each other");
        put_u64(out, term.0);
        match &entry.payload {
            EntryPayload::Blank => out.push(content::BLANK),
            EntryPayload::Normal(payload) => {
                out.push(content::PROPOSED);
                put_bytes(out, &payload.bytes);
            }
            EntryPayload::Membership(members) => {
                out.push(content::MEMBERSHIP);
                put_membership(out, members);
            }
        }
    }
}

fn put_membership(out: &mut Vec<u8>, members: &Membership) {
    let mut bytes = Vec::new();
    membership::encode(members, &mut bytes);
    put_bytes(out, &bytes);
}

fn put_part(out: &mut Vec<u8>, vote: &Vote, part: &SnapshotPart) {
    put_vote(out, vote);
    put_log_id(out, part.meta.last_log_id.as_ref());
    put_log_id(out, part.meta.last_membership.log_id().as_ref());
    put_membership(out, part.meta.last_membership.membership());
    put_u64(out, part.total);
    put_u64(out, u64::from(part.crc));
    put_u64(out, part.offset);
    put_bytes(out, &part.bytes);
}

/// Reads the message at `at`, which moves behind it. Payloads share the frame's memory.
pub fn decode<RT: Runtime>(frame: &Bytes, at: &mut usize) -> Result<(GroupId, Message<RT>), BadFrame> {
    let mut reader = Reader { frame, at: *at };
    let message = reader.message().ok_or(BadFrame::Malformed(reader.at))?;
    *at = reader.at;
    Ok(message)
}

/// Reads on; `None` when the bytes are not what they should be.
struct Reader<'a> {
    frame: &'a Bytes,
    at: usize,
}

impl Reader<'_> {
    fn message<RT: Runtime>(&mut self) -> Option<(GroupId, Message<RT>)> {
        let group = GroupId(self.number()?);
        let kind = self.byte()?;
        let call = CallId(self.number()?);
        let message = match kind {
            kind::APPEND => Message::Request(call, Request::Append(self.append()?)),
            kind::HEARTBEAT => Message::Request(call, Request::Heartbeat(self.append()?)),
            kind::VOTE => Message::Request(call, Request::Vote(self.vote_request()?)),
            kind::PRE_VOTE => Message::Request(call, Request::PreVote(self.vote_request()?)),
            kind::SNAPSHOT => {
                let (vote, part) = self.part()?;
                Message::Request(call, Request::Snapshot(vote, part))
            }
            kind::TRANSFER => {
                let (from, to) = (self.vote()?, self.number()?);
                let request = TransferLeaderRequest::new(from, to, self.log_id()?);
                Message::Request(call, Request::Transfer(request))
            }
            kind::READ_INDEX => {
                let vouched = match self.flag()? {
                    true => Vouched::ByQuorum,
                    false => Vouched::ByLease,
                };
                Message::Request(call, Request::ReadIndex(vouched))
            }
            kind::READ_INDEX_ANSWER => {
                let (leads, index) = (self.flag()?, LogIndex(self.number()?));
                Message::Answer(call, Answer::ReadIndex(leads.then_some(index)))
            }
            kind::SEEN => Message::Request(call, Request::Seen(LogIndex(self.number()?))),
            kind::DIVERGED => Message::Request(call, Request::Diverged(LogIndex(self.number()?))),
            kind::REBUILD => Message::Request(call, Request::Rebuild(LogIndex(self.number()?))),
            kind::SEEN_ANSWER => {
                let (is_known, digest) = (self.flag()?, self.digest()?);
                Message::Answer(call, Answer::Seen(is_known.then_some(digest)))
            }
            kind::HEARD_ANSWER => Message::Answer(call, Answer::Heard),
            kind::APPEND_ANSWER => Message::Answer(call, Answer::Append(self.append_answer()?)),
            kind::VOTE_ANSWER => {
                let (vote, last) = (self.vote()?, self.log_id()?);
                Message::Answer(call, Answer::Vote(VoteResponse::new(vote, last, self.flag()?)))
            }
            kind::SNAPSHOT_ANSWER => {
                let (vote, have) = (self.vote()?, self.number()?);
                Message::Answer(call, Answer::Snapshot(SnapshotAnswer { vote, have }))
            }
            kind::TRANSFER_ANSWER => Message::Answer(call, Answer::Transfer(self.transfer_answer()?)),
            kind::CARRIED if group.0 == 0 && call.0 == 0 => Message::Carried(self.bytes()?),
            _ => return None,
        };
        Some((group, message))
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.frame.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<u64> {
        take_u64(self.frame, &mut self.at).ok()
    }

    fn bytes(&mut self) -> Option<Bytes> {
        let len = take_len(self.frame, &mut self.at).ok()? as usize;
        let start = self.at;
        take(self.frame, &mut self.at, len).ok()?;
        Some(self.frame.slice(start..self.at))
    }

    fn digest(&mut self) -> Option<u128> {
        let bytes = take(self.frame, &mut self.at, size_of::<u128>()).ok()?;
        Some(u128::from_le_bytes(bytes.try_into().ok()?))
    }

    fn vote(&mut self) -> Option<Vote> {
        let (term, voted_for) = (self.number()?, self.number()?);
        Some(Vote {
            leader_id: LeaderId::new(term, voted_for),
            committed: self.flag()?,
        })
    }

    fn log_id(&mut self) -> Option<Option<LogId>> {
        let (index, term) = (LogIndex(self.number()?), Term(self.number()?));
        Some(log_id(index, term))
    }

    fn append<RT: Runtime>(&mut self) -> Option<AppendEntriesRequest<RaftTypes<RT>>> {
        let (vote, previous, committed) = (self.vote()?, self.log_id()?, self.log_id()?);
        let count = take_len(self.frame, &mut self.at).ok()? as usize;
        if count > (self.frame.len() - self.at) / ENTRY_BYTES_MIN {
            return None;
        }
        let (before, _) = position(previous.as_ref());
        let mut entries = Vec::with_capacity(count);
        for nth in 0..count as u64 {
            let index = LogIndex(before.0.checked_add(1 + nth)?);
            let term = Term(self.number()?);
            let payload = match self.byte()? {
                content::BLANK => EntryPayload::Blank,
                content::PROPOSED => EntryPayload::Normal(Payload::stored(self.bytes()?)),
                content::MEMBERSHIP => EntryPayload::Membership(self.membership()?),
                _ => return None,
            };
            entries.push(Entry {
                log_id: log_id(index, term)?,
                payload,
            });
        }
        Some(AppendEntriesRequest {
            vote,
            prev_log_id: previous,
            entries,
            leader_commit: committed,
        })
    }

    fn membership(&mut self) -> Option<Membership> {
        membership::decode(&self.bytes()?).ok()
    }

    fn vote_request<RT: Runtime>(&mut self) -> Option<VoteRequest<RaftTypes<RT>>> {
        let mut request = VoteRequest::new(self.vote()?, self.log_id()?);
        request.leadership_transfer = self.flag()?;
        Some(request)
    }

    fn part(&mut self) -> Option<(Vote, SnapshotPart)> {
        let (vote, last, members_at) = (self.vote()?, self.log_id()?, self.log_id()?);
        let meta = SnapshotMeta {
            last_log_id: last,
            last_membership: StoredMembership::new(members_at, self.membership()?),
        };
        let part = SnapshotPart {
            meta,
            total: self.number()?,
            crc: self.number()?.try_into().ok()?,
            offset: self.number()?,
            bytes: self.bytes()?,
        };
        Some((vote, part))
    }

    fn append_answer<RT: Runtime>(&mut self) -> Option<AppendEntriesResponse<RaftTypes<RT>>> {
        Some(match self.byte()? {
            append::SUCCESS => AppendEntriesResponse::Success,
            append::PARTIAL => AppendEntriesResponse::PartialSuccess(self.log_id()?),
            append::CONFLICT => AppendEntriesResponse::Conflict,
            append::HIGHER_VOTE => AppendEntriesResponse::HigherVote(self.vote()?),
            _ => return None,
        })
    }

    fn transfer_answer<RT: Runtime>(&mut self) -> Option<TransferLeaderResponse<RaftTypes<RT>>> {
        Some(match self.byte()? {
            transfer::DONE => Ok(()),
            transfer::VOTE_CHANGED => Err(TransferLeaderError::VoteChanged {
                expected: self.vote()?,
                actual: self.vote()?,
            }),
            transfer::NOT_FLUSHED => Err(TransferLeaderError::LogNotFlushed {
                expected: self.log_id()?,
                actual: self.log_id()?,
            }),
            _ => return None,
        })
    }
}
