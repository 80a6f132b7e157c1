//! Histories of many clients over few keys, checked for linearizability while connections are handed from core to core
//! and the process is killed.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;

use slotcore_engine::ord::slot_of;
use slotcore_rt::rng::SeededRng;

use crate::client::{Client, Reply, request};
use crate::scratch::Scratch;
use crate::server::Server;
use crate::support::models::{Call, Register};
use crate::support::{Op, check};

const CORES: u32 = 3;
const CLIENTS: u64 = 5;
/// Calls of a client on keys of one core, before it goes on with those of another: enough for its connection to move.
const STAY: usize = 500;
const STAYS: usize = 6;

/// Moments and values of a whole history; what is taken from it later is larger.
#[derive(Default)]
struct Counters {
    moment: AtomicU64,
    value: AtomicU32,
}

/// A client's calls, by key.
type Calls = BTreeMap<String, Vec<Op<Call>>>;

fn keys_of(core: u32) -> Vec<String> {
    let owned = |key: &String| u32::from(slot_of(key.as_bytes())) * CORES / 16_384 == core;
    (0..).map(|n| format!("register:{n}")).filter(owned).take(2).collect()
}

fn found(reply: &Reply) -> Option<u32> {
    match reply {
        Reply::Nil => None,
        reply => Some(reply.text().parse().expect("a value that was set")),
    }
}

/// Calls, alone and in pipelines, until all are made or the connection ends.
fn call_on(mut client: Client<TcpStream>, seed: u64, counters: &Counters) -> Calls {
    let mut rng = SeededRng::new(seed);
    let mut calls = Calls::new();
    for stay in 0..STAYS {
        let keys = keys_of((stay as u32 + seed as u32) % CORES);
        let mut made = 0;
        while made < STAY {
            let burst = if rng.chance(1, 2) { 1 } else { 1 + rng.below(6) as usize };
            made += burst;
            let mut bytes = Vec::new();
            let mut asked = Vec::new();
            for _ in 0..burst {
                let key = keys[rng.below(2) as usize].clone();
                let value = counters.value.fetch_add(1, Ordering::SeqCst);
                let call = match rng.below(8) {
                    0 | 1 => Call::Set(value),
                    2 => Call::Swap(None, value),
                    3 => Call::Take(None),
                    _ => Call::Get(None),
                };
                let text = value.to_string();
                bytes.extend(match call {
                    Call::Set(_) => request(&["SET", &key, &text]),
                    Call::Swap(..) => request(&["GETSET", &key, &text]),
                    Call::Take(_) => request(&["GETDEL", &key]),
                    Call::Get(_) => request(&["GET", &key]),
                });
                asked.push((key, call));
            }
            let sent = counters.moment.fetch_add(1, Ordering::SeqCst);
            let mut ended = client.send(&bytes).is_err();
            for (key, call) in asked {
                let reply = if ended { None } else { client.reply().ok() };
                ended |= reply.is_none();
                let call = match (call, &reply) {
                    (call, None) => call,
                    (Call::Set(value), Some(_)) => Call::Set(value),
                    (Call::Swap(_, value), Some(reply)) => Call::Swap(found(reply), value),
                    (Call::Take(_), Some(reply)) => Call::Take(found(reply)),
                    (Call::Get(_), Some(reply)) => Call::Get(found(reply)),
                };
                let answered = reply.map(|_| counters.moment.fetch_add(1, Ordering::SeqCst));
                calls.entry(key).or_default().push(Op { call, sent, answered });
            }
            if ended {
                return calls;
            }
        }
    }
    calls
}

/// All clients at once; `meanwhile` runs beside them.
fn run(server: &Server, seed: u64, counters: &Counters, history: &mut Calls, meanwhile: impl FnOnce()) {
    let clients: Vec<_> = (0..CLIENTS).map(|_| server.client()).collect();
    thread::scope(|scope| {
        let running: Vec<_> = (seed..)
            .zip(clients)
            .map(|(seed, client)| scope.spawn(move || call_on(client, seed, counters)))
            .collect();
        meanwhile();
        for client in running {
            for (key, calls) in client.join().expect("a client's replies are values that were set") {
                history.entry(key).or_default().extend(calls);
            }
        }
    });
}

fn check_all(history: &Calls) {
    assert_eq!(history.len(), 2 * CORES as usize);
    for (key, calls) in history {
        check::<Register>(calls).unwrap_or_else(|why| panic!("{key}: {why}"));
    }
}

fn start(dir: &Scratch) -> Server {
    Server::start(dir.path(), &["--cores", &CORES.to_string()])
}

#[test]
fn histories_are_linearizable_while_connections_are_handed_over() {
    let dir = Scratch::new();
    let server = start(&dir);
    let (counters, mut history) = (Counters::default(), Calls::new());
    run(&server, 100, &counters, &mut history, || ());
    let given: u64 = server.client().info("connections_given").parse().expect("a number");
    assert!(given >= CLIENTS, "{given} connections were handed over");
    server.stop();
    check_all(&history);
}

#[test]
fn histories_are_linearizable_across_a_kill() {
    let dir = Scratch::new();
    let (counters, mut history) = (Counters::default(), Calls::new());
    for round in 0..3 {
        let server = start(&dir);
        run(&server, 200 + 10 * round, &counters, &mut history, || {
            // In the middle of things, wherever that is.
            let until = counters.moment.load(Ordering::SeqCst) + 3000;
            while counters.moment.load(Ordering::SeqCst) < until {
                thread::yield_now();
            }
            server.kill_at_once();
        });
        server.ended();
    }
    let server = start(&dir);
    run(&server, 300, &counters, &mut history, || ());
    server.stop();
    check_all(&history);
}
