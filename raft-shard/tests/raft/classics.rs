//! Situations from the literature in which consensus has gone wrong.

use std::time::Duration;

use crate::support::cluster::Cluster;
use crate::support::puppet::{Puppet, append, granted, leader, log_id};
use openraft::raft::AppendEntriesResponse;
use slotcore_raft_shard::options::Planted;
use slotcore_raft_shard::sim_wire::{Answer, Request};
use slotcore_raft_shard::{Consensus, Role};
use slotcore_rt::ids::LogIndex;
use slotcore_rt::rng::os_seed;

const MOMENT: Duration = Duration::from_millis(1);

/// Answers what a leader asks of its peers: votes are given, and what goes beyond `upto` of the log (term and index) is not
/// acknowledged. Calls that bring nothing but that are returned, with the peer: they have no answer yet.
fn answer_all(puppet: &Puppet, peers: &[u64], upto: Option<(u64, u64)>) -> Vec<(u64, u64)> {
    let mut open = Vec::new();
    for &peer in peers {
        for (call, request) in puppet.received(peer) {
            let answer = match (request, upto) {
                (Request::Vote(request) | Request::PreVote(request), _) => Answer::Vote(granted(&request)),
                (Request::Append(request), Some((term, index))) => {
                    let held = log_id(term, index);
                    let last = request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id);
                    if last.is_none_or(|last| last.index <= held.index) {
                        Answer::Append(AppendEntriesResponse::Success)
                    } else if request.prev_log_id.is_none_or(|before| before.index < held.index) {
                        Answer::Append(AppendEntriesResponse::PartialSuccess(Some(held)))
                    } else {
                        open.push((peer, call));
                        continue;
                    }
                }
                (Request::Append(_) | Request::Heartbeat(_) | Request::Snapshot(..), _) => continue,
                (Request::Transfer(_) | Request::ReadIndex(_), _) => continue,
                (Request::Seen(_) | Request::Diverged(_) | Request::Rebuild(_), _) => continue,
            };
            puppet.answer(peer, call, answer);
        }
    }
    open
}

/// Figure 8 of "In Search of an Understandable Consensus Algorithm" (Ongaro, Ousterhout, 2014): an entry of an earlier term
/// comes to be on three of five logs, under a leader whose own entries are not. It is not committed by that: another replica,
/// with an entry of a term in between, may still be elected and replace it.
#[test]
fn figure_8_an_entry_of_an_earlier_term_is_not_committed_by_counting() {
    let puppet = Puppet::new(1, 5, 5);
    puppet.lead(&[2, 3, 4, 5]);
    let (first, start) = (puppet.term(), puppet.applied().0);
    // (a) Two of five hold the write.
    puppet.propose();
    for _ in 0..5 {
        puppet.run(MOMENT);
        answer_all(&puppet, &[2], Some((first, start + 1)));
    }
    assert_eq!(puppet.applied(), LogIndex(start));
    // (b) Another replica leads in between, and nobody else hears of its entry.
    let between = append(leader(first + 1, 5), Some(log_id(first, start)), vec![], None);
    puppet.request(5, between);
    assert_eq!(puppet.ask(|group| group.role()), Role::Follower);
    [2, 3, 4, 5].iter().for_each(|&peer| drop(puppet.received(peer)));
    // (c) The first one is elected again. Now three of five hold the write, and nothing of the new term.
    let mut open = Vec::new();
    for _ in 0..4_000 {
        puppet.run(MOMENT / 2);
        open.extend(answer_all(&puppet, &[2, 3], Some((first, start + 1))));
        answer_all(&puppet, &[4], None);
        if puppet.ask(|group| group.role()) == Role::Leader {
            break;
        }
    }
    assert_eq!(puppet.ask(|group| group.role()), Role::Leader);
    assert!(puppet.term() > first + 1);
    for _ in 0..200 {
        puppet.run(MOMENT);
        open.extend(answer_all(&puppet, &[2, 3], Some((first, start + 1))));
        assert_eq!(puppet.applied(), LogIndex(start), "committed by counting replicas");
    }
    // (e) With an entry of the new term on three of five, both are.
    assert!(
        open.iter().any(|(peer, _)| *peer == 2) && open.iter().any(|(peer, _)| *peer == 3),
        "{open:?}"
    );
    for (peer, call) in open {
        puppet.answer(peer, call, Answer::Append(AppendEntriesResponse::Success));
    }
    puppet.run(20 * MOMENT);
    assert!(puppet.applied() > LogIndex(start), "{:?}", puppet.applied());
    assert_eq!(puppet.ask(|group| group.failure()), None);
}

/// The same story by five real replicas, again and again: each leader reaches one other replica and is lost at any moment.
fn leaders_lost_with_entries_on_few(seed: u64) -> Vec<String> {
    let mut cluster = Cluster::new(seed, 5, Planted::default());
    let mut down = Vec::new();
    for _ in 0..12 {
        let led = cluster.run_until(Duration::from_secs(3), |cluster| cluster.leader().is_some());
        if let Some(leader) = cluster.leader().filter(|_| led) {
            let others: Vec<u64> = cluster.ids().into_iter().filter(|id| *id != leader).collect();
            let reached = others[cluster.rng.index(others.len())];
            let cut: Vec<_> = others
                .iter()
                .filter(|id| **id != reached)
                .map(|id| Cluster::node(*id))
                .collect();
            cluster.net.partition(&[Cluster::node(leader)], &cut);
            for _ in 0..cluster.rng.range(1..4) {
                cluster.propose(leader);
            }
            let pause = Duration::from_micros(cluster.rng.range(10..3_000));
            cluster.run_for(pause);
            cluster.crash(leader);
            down.push(leader);
        }
        cluster.net.heal();
        // At most two of five are down.
        if down.len() > 1 {
            let back = down.remove(0);
            cluster.start(back);
        }
        let pause = Duration::from_micros(cluster.rng.range(10..400_000));
        cluster.run_for(pause);
    }
    cluster.start_all();
    let leader = cluster.elect();
    cluster.propose(leader);
    cluster.settle();
    cluster.violations()
}

#[test]
fn figure_8_leaders_lost_with_entries_on_few_lose_nothing() {
    let check = |seed: u64| {
        let violations = leaders_lost_with_entries_on_few(seed);
        let again = format!("SLOTCORE_SEED={seed} cargo test -p slotcore-raft-shard --test raft classics::few");
        assert!(violations.is_empty(), "{again}: {violations:#?}");
    };
    if let Some(seed) = std::env::var("SLOTCORE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return check(seed);
    }
    (0..12).for_each(check);
    let fresh = os_seed().expect("a booted system gives entropy");
    (0..3).for_each(|i| check(fresh.wrapping_add(i)));
}
