//! Edges of openraft that have cut others, each in the smallest situation that shows it.
//!
//! Numbers are those of issues at github.com/databendlabs/openraft. The replica under test is real; what it hears is
//! written down here, so that a version with the edge does the wrong thing each time and not only now and then.

use std::time::Duration;

use crate::support::puppet::{Puppet, append, candidate, leader, log_id, members, snapshot, write};
use bytes::Bytes;
use openraft::raft::{AppendEntriesResponse, VoteRequest};
use slotcore_raft_shard::sim_wire::{Answer, Request};
use slotcore_raft_shard::{Consensus, Role};
use slotcore_rt::ids::LogIndex;
use slotcore_rt::rng::SeededRng;
use slotcore_rt::sim::exec::RunEnd;

const MOMENT: Duration = Duration::from_millis(1);

/// What a peer is asked to append, in order: the call, and the position up to which it would then have the log.
#[derive(Default)]
struct Asked(Vec<(u64, u64)>);

impl Asked {
    /// Takes in new requests. Returns what heartbeats claimed the peer to have; they are answered with yes.
    fn listen(&mut self, puppet: &Puppet, peer: u64) -> Vec<u64> {
        let mut claims = Vec::new();
        for (call, request) in puppet.received(peer) {
            match request {
                Request::Append(request) => {
                    let last = request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id);
                    self.0.push((call, last.map_or(0, |id| id.index + 1)));
                }
                Request::Heartbeat(request) => {
                    claims.push(request.prev_log_id.map_or(0, |id| id.index + 1));
                    puppet.answer(peer, call, Answer::Append(AppendEntriesResponse::Success));
                }
                other => panic!("a leader asks for {}", name(&other)),
            }
        }
        claims
    }
}

fn name(request: &Request) -> &'static str {
    match request {
        Request::Append(_) => "append",
        Request::Heartbeat(_) => "heartbeat",
        Request::Vote(_) => "vote",
        Request::PreVote(_) => "pre-vote",
        Request::Snapshot(..) => "snapshot",
        Request::Transfer(_) => "transfer",
        Request::ReadIndex(_) => "read-index",
        Request::Seen(_) => "seen",
        Request::Diverged(_) => "diverged",
        Request::Rebuild(_) => "rebuild",
    }
}

/// #1802, #1803: the leader kept its voters' positions sorted, forgot to sort when one moved that was ahead already, and
/// took the third of five for what three hold.
#[test]
fn five_voters_commit_only_what_three_of_them_hold() {
    for seed in 0..20 {
        let mut rng = SeededRng::new(seed);
        let puppet = Puppet::new(seed, 5, 5);
        puppet.lead(&[2, 3, 4, 5]);
        let start = puppet.applied().0;
        puppet.hold_disk();

        // What each voter holds: the leader (first) what its disk has, the others what they have answered.
        let mut held = [start; 5];
        let mut asked: [Asked; 5] = Default::default();
        for _ in 0..120 {
            if puppet.applied().0 + 12 > start && rng.chance(1, 2) {
                puppet.propose();
                puppet.run(MOMENT);
            }
            for peer in 2..=5 {
                asked[peer as usize - 1].listen(&puppet, peer);
            }
            let voter = rng.index(5);
            match voter {
                0 => {
                    puppet.flush();
                    held[0] = puppet.log.all_entries().last().unwrap().index.0;
                }
                _ if asked[voter].0.is_empty() => {}
                _ => {
                    let (call, last) = asked[voter].0.remove(0);
                    let upto = rng.range(held[voter].min(last)..last + 1).max(held[voter]);
                    let term = puppet.term();
                    held[voter] = upto;
                    let answer = match upto == last {
                        true => AppendEntriesResponse::Success,
                        false => AppendEntriesResponse::PartialSuccess(Some(log_id(term, upto))),
                    };
                    puppet.answer(voter as u64 + 1, call, Answer::Append(answer));
                }
            }
            puppet.run(MOMENT);
            let mut sorted = held;
            sorted.sort_unstable();
            let applied = puppet.applied().0;
            assert!(applied <= sorted[2], "seed {seed}: executed {applied}, held {held:?}");
        }
        assert!(puppet.applied().0 > start, "seed {seed}: nothing was committed");
    }
}

/// openraft takes an answer for one to every message that claims no more of the log, also to those sent after the one that it
/// answers: here to the empty message that tells the second peer of a commit, and was sent before that peer had answered the
/// entry. The peer may follow somebody else since it gave that answer.
#[test]
fn an_answer_vouches_only_for_the_message_that_it_answers() {
    let puppet = Puppet::new(1, 3, 3);
    puppet.lead(&[2, 3]);
    let start = puppet.applied().0;
    puppet.propose();
    puppet.run(MOMENT);
    let (mut second, mut third) = (Asked::default(), Asked::default());
    for asked in [(2, &mut second), (3, &mut third)] {
        asked.1.listen(&puppet, asked.0);
        asked.1.0.retain(|(_, last)| *last == start + 1);
    }
    let (of_second, of_third) = (second.0[0].0, third.0[0].0);

    // Whatever is asked from now on, only what is sent from now on can confirm.
    puppet.run(MOMENT);
    let then = puppet.sim.now();
    puppet.answer(2, of_second, Answer::Append(AppendEntriesResponse::Success));
    puppet.run(MOMENT);
    assert_eq!(puppet.applied().0, start + 1);
    let told = puppet.received(3);
    assert!(!told.is_empty(), "the commit is told while the entry is not answered");
    puppet.answer(3, of_third, Answer::Append(AppendEntriesResponse::Success));
    puppet.run(MOMENT);
    assert!(
        !puppet.ask(|group| group.may_read_from(then)),
        "nothing sent since was answered"
    );

    for (call, request) in told {
        assert!(matches!(request, Request::Append(_) | Request::Heartbeat(_)));
        puppet.answer(3, call, Answer::Append(AppendEntriesResponse::Success));
    }
    puppet.run(MOMENT);
    assert!(puppet.ask(|group| group.may_read_from(then)));
}

/// An answer that belongs to an earlier leadership of the same replica counts for nothing in the later one.
#[test]
fn a_stale_acknowledgement_counts_for_nothing() {
    let puppet = Puppet::new(1, 3, 3);
    puppet.lead(&[2, 3]);
    let (term, start) = (puppet.term(), puppet.applied().0);
    puppet.propose();
    puppet.propose();
    puppet.run(MOMENT);
    let mut stale = Asked::default();
    stale.listen(&puppet, 2);
    assert!(!stale.0.is_empty(), "peer 2 was asked for nothing");

    // Replica 3 leads in between and replaces what was not committed; then the first leader is elected once more.
    let other = leader(term + 1, 3);
    let replacing = vec![write(term + 1, start + 1, 901)];
    let answer = puppet.request(3, append(other, Some(log_id(term, start)), replacing, None));
    assert!(matches!(answer, Answer::Append(AppendEntriesResponse::Success)));
    assert_eq!(puppet.ask(|group| group.role()), Role::Follower);
    puppet.received(2);
    puppet.received(3);
    for _ in 0..4_000 {
        puppet.run(MOMENT / 2);
        // Votes are given, entries are not acknowledged.
        for peer in [2, 3] {
            for (call, request) in puppet.received(peer) {
                if let Request::Vote(request) | Request::PreVote(request) = request {
                    puppet.answer(peer, call, Answer::Vote(crate::support::puppet::granted(&request)));
                }
            }
        }
        if puppet.ask(|group| group.role()) == Role::Leader {
            break;
        }
    }
    assert_eq!(puppet.ask(|group| group.role()), Role::Leader);
    puppet.propose();
    puppet.run(MOMENT);
    assert_eq!(puppet.applied(), LogIndex(start));
    for (call, _) in stale.0 {
        puppet.answer(2, call, Answer::Append(AppendEntriesResponse::Success));
    }
    puppet.run(20 * MOMENT);
    assert_eq!(
        puppet.applied(),
        LogIndex(start),
        "an answer of term {term} committed an entry of term {}",
        puppet.term()
    );
    assert_eq!(puppet.ask(|group| group.failure()), None);
}

/// #1808: a membership that was never committed outlived the snapshot that covers its position, so that a learner went
/// on as a voter of a group that does not exist, with a quorum of its own.
#[test]
fn a_snapshot_ends_the_membership_it_covers() {
    let puppet = Puppet::new(2, 3, 5);
    let (a, b, c) = (leader(1, 2), leader(2, 3), leader(3, 2));
    let real = vec![write(1, 2, 1), members(1, 3, &[2, 3, 4], &[1])];
    puppet.request(2, append(a, Some(log_id(0, 1)), real, Some(log_id(1, 3))));
    assert_eq!(puppet.ask(|group| group.role()), Role::Learner);
    // Replica 3 thinks otherwise, and is replaced before anybody agrees.
    let never = vec![members(2, 4, &[1, 3, 5], &[])];
    puppet.request(3, append(b, Some(log_id(1, 3)), never, Some(log_id(1, 3))));
    assert_eq!(puppet.ask(|group| group.role()), Role::Follower);

    let at = log_id(3, 6);
    puppet.request(2, snapshot(c, at, log_id(1, 3), &[2, 3, 4], &[1], Bytes::new()));
    puppet.run(10 * MOMENT);
    assert_eq!(puppet.applied(), LogIndex(6));
    assert_eq!(puppet.ask(|group| group.role()), Role::Learner);
    (2..=5).for_each(|peer| drop(puppet.received(peer)));
    puppet.run(Duration::from_secs(5));
    for peer in 2..=5 {
        let asked: Vec<_> = puppet.received(peer).iter().map(|(_, request)| name(request)).collect();
        assert_eq!(asked, [""; 0], "a learner asks {peer}");
    }
}

/// #1892: a snapshot that says otherwise about a position that is committed here was installed, and the contradiction
/// stayed. It can only come from another group or a damaged disk: the replica stops.
#[test]
#[should_panic(expected = "contradicts locally committed logs")]
fn a_snapshot_that_contradicts_what_is_committed_stops_the_replica() {
    let puppet = Puppet::new(3, 3, 3);
    let entries = vec![write(1, 2, 1), write(1, 3, 2), write(1, 4, 3)];
    puppet.request(2, append(leader(1, 2), Some(log_id(0, 1)), entries, Some(log_id(1, 4))));
    puppet.run(MOMENT);
    assert_eq!(puppet.applied(), LogIndex(4));
    let contradiction = snapshot(leader(3, 3), log_id(3, 4), log_id(0, 1), &[1, 2, 3], &[], Bytes::new());
    puppet.request(3, contradiction);
}

/// #1500: a heartbeat claimed that the follower has what is committed. A follower that was behind denied it, and when
/// the denial came after it had caught up, the leader took it for a follower that had lost entries.
#[test]
fn a_heartbeat_claims_only_what_its_follower_has() {
    let puppet = Puppet::new(4, 3, 3);
    puppet.lead(&[2, 3]);
    let start = puppet.applied().0;
    let (mut late, mut claims) = (Asked::default(), Vec::new());
    for round in 0..150 {
        if round < 10 {
            puppet.propose();
        }
        puppet.run(MOMENT);
        puppet.oblige(2);
        claims.extend(late.listen(&puppet, 3));
    }
    assert_eq!(puppet.applied(), LogIndex(start + 10), "two of three hold everything");
    assert!(claims.len() >= 2, "only {} heartbeats", claims.len());
    assert!(
        claims.iter().all(|claim| *claim <= start),
        "heartbeats claim {claims:?}, the follower has {start}"
    );
    for (call, _) in late.0 {
        puppet.answer(3, call, Answer::Append(AppendEntriesResponse::Success));
    }
    puppet.run(10 * MOMENT);
    assert_eq!(puppet.ask(|group| group.failure()), None);
}

/// #1810: a call that is never answered stopped the whole group once its replication was to end.
#[test]
fn a_hung_call_holds_up_nobody_else() {
    let puppet = Puppet::new(5, 3, 3);
    puppet.lead(&[2, 3]);
    let (term, start) = (puppet.term(), puppet.applied().0);
    for _ in 0..5 {
        puppet.propose();
        puppet.run(MOMENT);
        puppet.oblige(2);
    }
    puppet.run(MOMENT);
    assert_eq!(puppet.applied(), LogIndex(start + 5), "one of three stops the group");
    assert!(!puppet.received(3).is_empty(), "replica 3 was asked for nothing");

    // Replication to 3 must end although the call never does: the request below is answered in time.
    let entries = vec![write(term + 1, start + 6, 901)];
    let next = append(leader(term + 1, 2), Some(log_id(term, start + 5)), entries, None);
    assert!(matches!(
        puppet.request(2, next),
        Answer::Append(AppendEntriesResponse::Success)
    ));
    let next = append(
        leader(term + 1, 2),
        Some(log_id(term + 1, start + 6)),
        vec![],
        Some(log_id(term + 1, start + 6)),
    );
    puppet.request(2, next);
    puppet.run(MOMENT);
    assert_eq!(puppet.applied(), LogIndex(start + 6));
}

/// #1545, #1546: a learner receives everything, is part of no quorum and never campaigns.
#[test]
fn a_learner_counts_for_nothing_and_asks_for_nothing() {
    let puppet = Puppet::new(6, 3, 4);
    let entries = vec![members(1, 2, &[2, 3, 4], &[1]), write(1, 3, 1)];
    puppet.request(2, append(leader(1, 2), Some(log_id(0, 1)), entries, Some(log_id(1, 3))));
    puppet.run(MOMENT);
    assert_eq!(
        (puppet.applied(), puppet.ask(|group| group.role())),
        (LogIndex(3), Role::Learner)
    );
    (2..=4).for_each(|peer| drop(puppet.received(peer)));
    puppet.run(Duration::from_secs(5));
    for peer in 2..=4 {
        let asked: Vec<_> = puppet.received(peer).iter().map(|(_, request)| name(request)).collect();
        assert_eq!(asked, [""; 0], "a learner asks {peer}");
    }
    // It may not know that it has become a voter: its vote is given all the same, and written down.
    let request = VoteRequest::new(candidate(7, 3), Some(log_id(1, 3)));
    assert!(matches!(puppet.request(3, Request::Vote(request)), Answer::Vote(answer) if answer.vote_granted));
    let again = VoteRequest::new(candidate(7, 4), Some(log_id(1, 3)));
    assert!(matches!(puppet.request(4, Request::Vote(again)), Answer::Vote(answer) if !answer.vote_granted));
}

/// Of several replicas that found a group together, one is the first to ask for votes. Another that hears of it before
/// it has written down its own first entry may not do so any more, and took that for a failure.
#[test]
fn a_group_that_others_have_founded_already_is_joined() {
    for seed in 0..20 {
        let request = VoteRequest::new(candidate(1, 2), Some(log_id(0, 1)));
        let puppet = Puppet::asked_first(seed, 3, 3, Some(Request::Vote(request)));
        puppet.run(MOMENT);
        assert_eq!(puppet.ask(|group| group.failure()), None, "seed {seed}");
        let entries = vec![members(0, 1, &[1, 2, 3], &[]), write(1, 2, 1)];
        puppet.request(2, append(leader(1, 2), None, entries, Some(log_id(1, 2))));
        puppet.run(MOMENT);
        let became = (puppet.applied(), puppet.ask(|group| group.role()));
        assert_eq!(became, (LogIndex(2), Role::Follower), "seed {seed}");
    }
}

/// DESIGN's third edge: a read through openraft is a message round trip. Ours is a look at a few numbers.
#[test]
fn a_lease_read_sends_no_message_and_wakes_no_task() {
    let puppet = Puppet::new(7, 3, 3);
    puppet.lead(&[2, 3]);
    while puppet.sim.run_until(puppet.sim.now(), || false) == RunEnd::Met {}
    let (now, delivered, tasks) = (puppet.sim.now(), puppet.net.delivered(), puppet.sim.trace_digest());
    (0..1_000).for_each(|_| assert!(puppet.ask(|group| group.may_read(now))));
    puppet.sim.run_until(now, || false);
    assert_eq!(
        (now, delivered, tasks),
        (puppet.sim.now(), puppet.net.delivered(), puppet.sim.trace_digest())
    );
}
