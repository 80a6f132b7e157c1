//! Nodes are killed and frozen while clients read and write: no acknowledged write is lost, no read is stale. The histories
//! of all clients are checked as one ([`crate::support`]).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;

use slotcore_rt::rng::SeededRng;

use crate::client::Reply;
use crate::cluster::{Cluster, Follower, wait_until};
use crate::support::models::{Call, Register};
use crate::support::{Op, check};

const CLIENTS: u64 = 4;
/// Moments that pass, two for each call, before and after each blow.
const MOMENTS: u64 = 400;

type Calls = BTreeMap<String, Vec<Op<Call>>>;

/// What clients share.
#[derive(Default)]
struct Shared {
    moment: AtomicU64,
    value: AtomicU32,
    ended: AtomicBool,
}

impl Shared {
    fn now(&self) -> u64 {
        self.moment.fetch_add(1, Ordering::SeqCst)
    }

    /// Waits until clients have got on.
    fn let_pass(&self, moments: u64) {
        let until = self.moment.load(Ordering::SeqCst) + moments;
        wait_until("clients get on", || {
            thread::yield_now();
            self.moment.load(Ordering::SeqCst) >= until
        });
    }
}

/// Ends the clients, also when the test fails meanwhile.
struct Ending<'a>(&'a Shared);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::SeqCst);
    }
}

fn found(reply: &Reply) -> Option<u32> {
    match reply {
        Reply::Nil => None,
        reply => Some(reply.text().parse().expect("a value that was set")),
    }
}

/// One client's life, one call at a time.
fn live(mut client: Follower, keys: &[String], seed: u64, shared: &Shared) -> Calls {
    let (mut rng, mut calls) = (SeededRng::new(seed), Calls::new());
    while !shared.ended.load(Ordering::SeqCst) {
        let key = &keys[rng.below(keys.len() as u64) as usize];
        let value = shared.value.fetch_add(1, Ordering::SeqCst);
        let text = value.to_string();
        let (words, call): (&[&str], _) = match rng.below(8) {
            0..3 => (&["SET", key, &text], Call::Set(value)),
            3 => (&["GETSET", key, &text], Call::Swap(None, value)),
            4 => (&["GETDEL", key], Call::Take(None)),
            _ => (&["GET", key], Call::Get(None)),
        };
        let mut sent = 0;
        let reply = client.try_call_from(words, || sent = shared.now());
        let reply = reply.ok().filter(|reply| match reply {
            Reply::Error(text) => {
                assert!(text.starts_with("TIMEOUT "), "{words:?}: {text}");
                false
            }
            _ => true,
        });
        let call = match (call, &reply) {
            (call, None) => call,
            (Call::Set(value), Some(_)) => Call::Set(value),
            (Call::Swap(_, value), Some(reply)) => Call::Swap(found(reply), value),
            (Call::Take(_), Some(reply)) => Call::Take(found(reply)),
            (Call::Get(_), Some(reply)) => Call::Get(found(reply)),
        };
        let answered = reply.map(|_| shared.now());
        // A read that was not answered says nothing.
        if answered.is_some() || !matches!(call, Call::Get(_)) {
            calls.entry(key.clone()).or_default().push(Op { call, sent, answered });
        }
    }
    calls
}

/// A key of each core.
fn keys_of(cluster: &Cluster) -> Vec<String> {
    let of = |core| {
        (0..)
            .map(|n| format!("register:{n}"))
            .find(|key| cluster.core_of(key) == core)
    };
    (0..cluster.cores).map(|core| of(core).unwrap()).collect()
}

/// Runs clients while `blows` fall on the cluster, and checks what they were told, and what is there in the end.
fn check_under(mut cluster: Cluster, seed: u64, blows: impl FnOnce(&mut Cluster, &Shared)) {
    let (keys, shared) = (keys_of(&cluster), Shared::default());
    // From 1: a value that nobody has set is told apart.
    shared.value.store(1, Ordering::SeqCst);
    let clients: Vec<Follower> = (0..CLIENTS).map(|_| cluster.client()).collect();
    let mut history = Calls::new();
    thread::scope(|scope| {
        let (keys, shared) = (&keys, &shared);
        let running: Vec<_> = (seed..)
            .zip(clients)
            .map(|(seed, client)| scope.spawn(move || live(client, keys, seed, shared)))
            .collect();
        let ending = Ending(shared);
        blows(&mut cluster, shared);
        shared.let_pass(MOMENTS);
        drop(ending);
        for client in running {
            for (key, calls) in client.join().expect("a client is told nothing that makes no sense") {
                history.entry(key).or_default().extend(calls);
            }
        }
    });
    let mut client = cluster.client();
    for key in &keys {
        let sent = shared.now();
        let reply = client.call(&["GET", key]);
        let (call, answered) = (Call::Get(found(&reply)), Some(shared.now()));
        history
            .entry(key.clone())
            .or_default()
            .push(Op { call, sent, answered });
    }
    for (key, calls) in &history {
        check::<Register>(calls).unwrap_or_else(|why| panic!("{key}: {why}"));
    }
}

#[test]
fn leaders_are_killed() {
    check_under(Cluster::start(3, 1), 100, |cluster, shared| {
        for _ in 0..3 {
            shared.let_pass(MOMENTS);
            let leader = cluster.leader_of(0);
            cluster.kill_node(leader);
            shared.let_pass(MOMENTS);
            cluster.start_node(leader);
        }
    });
}

#[test]
fn leaders_are_stopped_in_order() {
    check_under(Cluster::start(3, 1), 400, |cluster, shared| {
        for _ in 0..3 {
            shared.let_pass(MOMENTS);
            let leader = cluster.leader_of(0);
            cluster.stop_node(leader);
            shared.let_pass(MOMENTS);
            cluster.start_node(leader);
        }
    });
}

#[test]
fn leaders_are_frozen() {
    check_under(Cluster::start(3, 2), 200, |cluster, shared| {
        for core in [0, 1, 0] {
            shared.let_pass(MOMENTS);
            let leader = cluster.leader_of(core);
            cluster.node(leader).freeze();
            shared.let_pass(MOMENTS);
            cluster.node(leader).thaw();
        }
    });
}

#[test]
fn leaders_that_ask_before_they_read_are_frozen_and_killed() {
    let mut cluster = Cluster::prepare_with(3, 1, &["--read-mode", "read-index"]);
    (0..3).for_each(|node| cluster.start_node(node));
    check_under(cluster, 500, |cluster, shared| {
        for _ in 0..2 {
            shared.let_pass(MOMENTS);
            let leader = cluster.leader_of(0);
            cluster.node(leader).freeze();
            shared.let_pass(MOMENTS);
            cluster.node(leader).thaw();
            shared.let_pass(MOMENTS);
            let leader = cluster.leader_of(0);
            cluster.kill_node(leader);
            shared.let_pass(MOMENTS);
            cluster.start_node(leader);
        }
    });
}

#[test]
fn all_are_killed_and_started_in_another_order() {
    check_under(Cluster::start(3, 2), 300, |cluster, shared| {
        for order in [[2, 0, 1], [1, 2, 0]] {
            shared.let_pass(MOMENTS);
            order.iter().for_each(|&node| drop(cluster.kill_node(node)));
            order.iter().rev().for_each(|&node| cluster.start_node(node));
        }
    });
}
