//! What goes between nodes: every message comes back from its bytes, nothing else passes for one, and a hub puts all
//! groups' messages of a moment into one frame.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use openraft::EntryPayload;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use openraft::vote::RaftLeaderId;
use slotcore_raft_shard::Vouched;
use slotcore_raft_shard::peer::{BadFrame, CallId, FrameBuilder, PeerHub, SnapshotAnswer, SnapshotPart, codec, frame};
use slotcore_raft_shard::runtime::sim::SimRuntime;
use slotcore_raft_shard::sim_wire::{Answer, Message, Request};
use slotcore_raft_shard::types::{
    Entry, LeaderId, LogId, Membership, Payload, RaftTypes, SnapshotMeta, StoredMembership, Vote, log_id,
};
use slotcore_rt::ids::{GroupId, LogIndex, ReplicaId, Term};
use slotcore_rt::rng::SeededRng;
use slotcore_rt::sim::exec::{self, RunEnd};
use slotcore_rt::sim::{NodeId, Sim};

type C = RaftTypes<SimRuntime>;

fn number(rng: &mut SeededRng) -> u64 {
    rng.next_u64() >> rng.below(64)
}

fn vote(rng: &mut SeededRng) -> Vote {
    Vote {
        leader_id: LeaderId::new(number(rng), number(rng)),
        committed: rng.chance(1, 2),
    }
}

fn position(rng: &mut SeededRng) -> Option<LogId> {
    let index = if rng.chance(1, 4) { 0 } else { number(rng) >> 1 };
    log_id(LogIndex(index), Term(number(rng)))
}

fn membership(rng: &mut SeededRng) -> Membership {
    let sets = 1 + rng.below(2);
    let mut set = || (0..rng.below(4)).map(|_| rng.below(9)).collect();
    Membership::new_with_defaults((0..sets).map(|_| set()).collect(), [10, 11])
}

fn bytes(rng: &mut SeededRng) -> Bytes {
    (0..rng.below(40)).map(|_| rng.next_u64() as u8).collect()
}

fn append(rng: &mut SeededRng) -> AppendEntriesRequest<C> {
    let previous = position(rng);
    let first = previous.map_or(1, |id| id.index + 2);
    let entries = (0..rng.below(5))
        .map(|nth| Entry {
            log_id: log_id(LogIndex(first + nth), Term(number(rng))).unwrap(),
            payload: match rng.below(3) {
                0 => EntryPayload::Blank,
                1 => EntryPayload::Normal(Payload::stored(bytes(rng))),
                _ => EntryPayload::Membership(membership(rng)),
            },
        })
        .collect();
    AppendEntriesRequest {
        vote: vote(rng),
        prev_log_id: previous,
        entries,
        leader_commit: position(rng),
    }
}

fn message(rng: &mut SeededRng) -> Message {
    let call = CallId(number(rng));
    let mut ask = VoteRequest::new(vote(rng), position(rng));
    ask.leadership_transfer = rng.chance(1, 2);
    match rng.below(18) {
        0 => Message::Request(call, Request::Append(append(rng))),
        1 => Message::Request(call, Request::Heartbeat(append(rng))),
        2 => Message::Request(call, Request::Vote(ask)),
        3 => Message::Request(call, Request::PreVote(ask)),
        4 => {
            let meta = SnapshotMeta {
                last_log_id: position(rng),
                last_membership: StoredMembership::new(position(rng), membership(rng)),
            };
            let part = SnapshotPart {
                meta,
                total: number(rng),
                crc: number(rng) as u32,
                offset: number(rng),
                bytes: bytes(rng),
            };
            Message::Request(call, Request::Snapshot(vote(rng), part))
        }
        5 => {
            let request = TransferLeaderRequest::new(vote(rng), number(rng), position(rng));
            Message::Request(call, Request::Transfer(request))
        }
        6 => Message::Answer(
            call,
            Answer::Append(match rng.below(4) {
                0 => AppendEntriesResponse::Success,
                1 => AppendEntriesResponse::PartialSuccess(position(rng)),
                2 => AppendEntriesResponse::Conflict,
                _ => AppendEntriesResponse::HigherVote(vote(rng)),
            }),
        ),
        7 => Message::Answer(
            call,
            Answer::Vote(VoteResponse::new(vote(rng), position(rng), rng.chance(1, 2))),
        ),
        8 => {
            let (vote, have) = (vote(rng), number(rng));
            Message::Answer(call, Answer::Snapshot(SnapshotAnswer { vote, have }))
        }
        9 => Message::Carried(bytes(rng)),
        10 => {
            let vouched = [Vouched::ByLease, Vouched::ByQuorum][rng.index(2)];
            Message::Request(call, Request::ReadIndex(vouched))
        }
        11 => {
            let index = rng.chance(1, 2).then(|| LogIndex(number(rng)));
            Message::Answer(call, Answer::ReadIndex(index))
        }
        12 => Message::Request(call, Request::Seen(LogIndex(number(rng)))),
        13 => Message::Request(call, Request::Diverged(LogIndex(number(rng)))),
        14 => Message::Request(call, Request::Rebuild(LogIndex(number(rng)))),
        15 => {
            let digest = u128::from(number(rng)) << 64 | u128::from(number(rng));
            Message::Answer(call, Answer::Seen(rng.chance(1, 2).then_some(digest)))
        }
        16 => Message::Answer(call, Answer::Heard),
        _ => Message::Answer(
            call,
            Answer::Transfer(match rng.below(3) {
                0 => Ok(()),
                1 => Err(TransferLeaderError::VoteChanged {
                    expected: vote(rng),
                    actual: vote(rng),
                }),
                _ => Err(TransferLeaderError::LogNotFlushed {
                    expected: position(rng),
                    actual: position(rng),
                }),
            }),
        ),
    }
}

/// All messages of a frame, as text.
fn read(frame: &Bytes) -> Result<Vec<(GroupId, String)>, BadFrame> {
    let mut at = frame::open(frame)?;
    let mut found = Vec::new();
    while at < frame.len() {
        let (group, message) = codec::decode::<SimRuntime>(frame, &mut at)?;
        found.push((group, text(&message)));
    }
    Ok(found)
}

fn text(message: &Message) -> String {
    match message {
        Message::Request(call, Request::Append(r)) => format!("{call:?} append {r:?}"),
        Message::Request(call, Request::Heartbeat(r)) => format!("{call:?} heartbeat {r:?}"),
        Message::Request(call, Request::Vote(r)) => format!("{call:?} vote {r:?}"),
        Message::Request(call, Request::PreVote(r)) => format!("{call:?} pre-vote {r:?}"),
        Message::Request(call, Request::Snapshot(v, part)) => format!("{call:?} {v:?} {part:?}"),
        Message::Request(call, Request::Transfer(r)) => format!("{call:?} {r:?}"),
        Message::Request(call, Request::ReadIndex(vouched)) => format!("{call:?} read index {vouched:?}"),
        Message::Answer(call, Answer::ReadIndex(index)) => format!("{call:?} read index {index:?}"),
        Message::Request(call, Request::Seen(index)) => format!("{call:?} seen {index:?}"),
        Message::Request(call, Request::Diverged(index)) => format!("{call:?} diverged {index:?}"),
        Message::Request(call, Request::Rebuild(index)) => format!("{call:?} rebuild {index:?}"),
        Message::Answer(call, Answer::Seen(digest)) => format!("{call:?} seen {digest:?}"),
        Message::Answer(call, Answer::Heard) => format!("{call:?} heard"),
        Message::Answer(call, Answer::Append(a)) => format!("{call:?} append {a:?}"),
        Message::Answer(call, Answer::Vote(a)) => format!("{call:?} vote {a:?}"),
        Message::Answer(call, Answer::Snapshot(a)) => format!("{call:?} snapshot {a:?}"),
        Message::Answer(call, Answer::Transfer(a)) => format!("{call:?} transfer {a:?}"),
        Message::Carried(bytes) => format!("carried {bytes:?}"),
    }
}

fn random_frame(rng: &mut SeededRng, messages: u64) -> (Bytes, Vec<(GroupId, String)>) {
    let (mut builder, mut expected) = (FrameBuilder::default(), Vec::new());
    for _ in 0..messages {
        let message = message(rng);
        let group = match message {
            Message::Carried(_) => GroupId(0),
            _ => GroupId(number(rng)),
        };
        expected.push((group, text(&message)));
        builder.push(group, &message);
    }
    (builder.finish(), expected)
}

#[test]
fn every_message_comes_back() {
    for seed in 0..2000 {
        let mut rng = SeededRng::new(seed);
        let (frame, expected) = random_frame(&mut rng, 1 + seed % 5);
        assert_eq!(read(&frame), Ok(expected), "seed {seed}");
    }
}

#[test]
fn damage_is_noticed_wherever_it_is() {
    for seed in 0..100 {
        let mut rng = SeededRng::new(seed);
        let (frame, _) = random_frame(&mut rng, 3);
        for at in 0..frame.len() {
            let mut damaged = frame.to_vec();
            damaged[at] ^= 1 << rng.below(8);
            assert!(read(&damaged.into()).is_err(), "seed {seed}, byte {at}");
            assert!(read(&frame.slice(..at)).is_err(), "seed {seed}, cut at {at}");
        }
    }
}

#[test]
fn wild_bytes_under_a_right_checksum_are_refused_or_understood_and_never_panic() {
    for seed in 0..20_000 {
        let mut rng = SeededRng::new(seed);
        let (frame, _) = random_frame(&mut rng, 2);
        let mut wild = frame.to_vec();
        for _ in 0..=rng.below(4) {
            let at = frame::HEAD_BYTES + rng.below((wild.len() - frame::HEAD_BYTES) as u64) as usize;
            match rng.below(3) {
                0 => wild[at] = rng.next_u64() as u8,
                1 => drop(wild.remove(at)),
                _ => wild.insert(at, 0xff),
            }
            if wild.len() == frame::HEAD_BYTES {
                break;
            }
        }
        let length = (wild.len() - 4) as u32;
        wild[..4].copy_from_slice(&length.to_le_bytes());
        let crc = crc32c::crc32c(&wild[8..]);
        wild[4..8].copy_from_slice(&crc.to_le_bytes());
        let _ = read(&wild.into());
    }
}

#[test]
fn lengths_that_cannot_be_are_refused_before_anything_is_read() {
    assert_eq!(frame::length(&[1, 0, 0]), Ok(None));
    assert_eq!(frame::length(&[5, 0, 0, 0]), Ok(Some(9)));
    assert!(frame::length(&[4, 0, 0, 0]).is_err());
    assert!(frame::length(&[255, 255, 255, 255]).is_err());
}

fn heartbeat() -> Request {
    Request::Heartbeat(AppendEntriesRequest {
        vote: Vote {
            leader_id: LeaderId::new(1, 1),
            committed: true,
        },
        prev_log_id: None,
        entries: Vec::new(),
        leader_commit: None,
    })
}

/// Runs `test` as a task of a simulated node until it is done.
fn on_a_node(test: impl Future<Output = ()> + 'static) {
    let sim = Sim::new(7);
    let done = Rc::new(RefCell::new(false));
    let told = done.clone();
    drop(sim.spawn_on(NodeId(1), async move {
        test.await;
        *told.borrow_mut() = true;
    }));
    let limit = sim.now() + Duration::from_secs(10);
    assert_eq!(sim.run_until(limit, || *done.borrow()), RunEnd::Met);
}

#[test]
fn all_groups_share_one_frame_a_peer_and_answers_find_who_asked() {
    on_a_node(async {
        let hub = PeerHub::<SimRuntime>::new(Duration::from_secs(1), 100);
        let (near, far) = (ReplicaId(2 << 16), ReplicaId(3 << 16 | 1));
        let calls: Vec<_> = (1..=50)
            .map(|group| hub.call(near, GroupId(group), heartbeat()))
            .collect();
        let other = hub.call(far, GroupId(1), heartbeat());
        hub.something_to_send().await;
        let mut frames = Vec::new();
        hub.take_frames(|peer, frame| frames.push((peer, frame)));
        assert_eq!(frames.iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), [near, far]);
        assert!(
            frames[0].1.len() < 50 * 16,
            "{} bytes for 50 heartbeats",
            frames[0].1.len()
        );

        // The peer answers in another order, and somebody answers what nobody asked.
        let mut answers = FrameBuilder::default();
        for call in (100..150).rev().chain([7]) {
            let answer = match call % 2 {
                0 => AppendEntriesResponse::Success,
                _ => AppendEntriesResponse::Conflict,
            };
            answers.push::<SimRuntime>(GroupId(1), &Message::Answer(CallId(call), Answer::Append(answer)));
        }
        hub.on_frame(near, &answers.finish()).unwrap();
        for (call, answer) in (100u64..).zip(calls) {
            let Ok(Answer::Append(answer)) = answer.await else {
                panic!("call {call} was answered")
            };
            assert_eq!(answer.is_success(), call % 2 == 0);
        }
        hub.on_lost(far);
        assert!(other.await.is_err(), "the link is lost");
        let stats = hub.stats();
        assert_eq!((stats.frames_out, stats.messages_out), (2, 51));
        assert_eq!((stats.frames_in, stats.messages_in), (1, 51));
    });
}

#[test]
fn who_is_never_answered_gives_up_and_a_late_answer_is_ignored() {
    on_a_node(async {
        let hub = PeerHub::<SimRuntime>::new(Duration::from_millis(250), 1);
        let peer = ReplicaId(2);
        let began = exec::now();
        assert!(hub.call(peer, GroupId(1), heartbeat()).await.is_err());
        assert!(exec::now().since(began) >= Duration::from_millis(250));
        let mut late = FrameBuilder::default();
        let answer = Answer::Append(AppendEntriesResponse::Success);
        late.push::<SimRuntime>(GroupId(1), &Message::Answer(CallId(1), answer));
        hub.on_frame(peer, &late.finish()).unwrap();
        // A request for a group that is not here is not answered.
        let mut lost = FrameBuilder::default();
        lost.push::<SimRuntime>(GroupId(9), &Message::Request(CallId(5), heartbeat()));
        hub.take_frames(|_, _| ());
        hub.on_frame(peer, &lost.finish()).unwrap();
        hub.take_frames(|_, _| panic!("nobody answers for group 9"));
        assert_eq!(hub.stats().unknown_groups, 1);
    });
}

#[test]
fn nobody_waits_long_for_the_answer_to_what_was_not_sent() {
    on_a_node(async {
        let patience = Duration::from_millis(250);
        let hub = PeerHub::<SimRuntime>::new(patience, 1);
        let (near, far) = (ReplicaId(2), ReplicaId(3));
        let began = exec::now();
        let long = |to| hub.call_within(Duration::from_secs(60), to, GroupId(1), heartbeat());
        let (unsent, short, sent) = (long(far), hub.call(far, GroupId(1), heartbeat()), long(near));
        // There is a link to one of them.
        hub.take_frames(|_, _| ());
        hub.on_unsent(far);
        assert!(unsent.await.is_err());
        assert_eq!(exec::now(), began, "it is known at once");
        assert!(short.await.is_err());
        assert!(exec::now().since(began) >= patience, "as if the message were lost");
        let mut answers = FrameBuilder::default();
        let answer = Answer::Append(AppendEntriesResponse::Success);
        answers.push::<SimRuntime>(GroupId(1), &Message::Answer(CallId(3), answer));
        hub.on_frame(near, &answers.finish()).unwrap();
        assert!(sent.await.is_ok());
    });
}

#[test]
fn a_full_frame_is_closed_and_the_order_is_kept() {
    on_a_node(async {
        let hub = PeerHub::<SimRuntime>::new(Duration::from_secs(1), 1);
        let peer = ReplicaId(2);
        let entry = |index| Entry {
            log_id: log_id(LogIndex(index), Term(1)).unwrap(),
            payload: EntryPayload::Normal(Payload::stored(vec![7; 100_000].into())),
        };
        let mut calls = Vec::new();
        for index in 1..=9 {
            let Request::Heartbeat(mut request) = heartbeat() else {
                unreachable!()
            };
            request.prev_log_id = log_id(LogIndex(index - 1), Term(1));
            request.entries = vec![entry(index)];
            calls.push(hub.call(peer, GroupId(index), Request::Append(request)));
        }
        let mut groups = Vec::new();
        let mut frames = 0;
        hub.take_frames(|_, frame| {
            frames += 1;
            assert!(frame.len() <= frame::FULL_BYTES + 101_000);
            groups.extend(read(&frame).unwrap().into_iter().map(|(group, _)| group.0));
        });
        assert_eq!((frames, groups), (3, (1..=9).collect::<Vec<_>>()));
    });
}

#[test]
fn what_is_carried_for_others_arrives_in_order_and_is_lost_with_the_link() {
    on_a_node(async {
        let hub = PeerHub::<SimRuntime>::new(Duration::from_secs(1), 100);
        let (near, far) = (ReplicaId(2 << 16), ReplicaId(3 << 16 | 1));
        drop(hub.call(near, GroupId(1), heartbeat()));
        hub.carry(near, Bytes::from_static(b"one"));
        hub.carry(far, Bytes::from_static(b"lost"));
        hub.carry(near, Bytes::from(vec![2; frame::FULL_BYTES]));
        hub.carry(near, Bytes::new());
        hub.on_lost(far);
        let mut frames = Vec::new();
        hub.take_frames(|peer, frame| frames.push((peer, frame)));
        assert_eq!(frames.iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), [near, near]);
        let there = PeerHub::<SimRuntime>::new(Duration::from_secs(1), 100);
        for (_, frame) in &frames {
            there.on_frame(far, frame).unwrap();
        }
        let mut found = Vec::new();
        there.take_carried(|from, bytes| found.push((from, bytes.len())));
        assert_eq!(found, [(far, 3), (far, frame::FULL_BYTES), (far, 0)]);
        there.take_carried(|_, _| panic!("it was taken"));
    });
}
