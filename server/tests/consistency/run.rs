//! A run: clients live while one fault after the other happens; then everything is checked.

use std::thread;
use std::time::{Duration, Instant};

use slotcore_rt::rng::{SeededRng, os_seed};

use crate::clients::{Life, final_check};
use crate::cluster::{Cluster, Follower};
use crate::faults::Fault;
use crate::history::{History, Shared};
use crate::namespaces::Namespaces;

/// Clients of the cores' ports, which follow redirections.
const CORE_CLIENTS: u64 = 3;
/// Clients of one node's port for all keys each: their commands are forwarded.
const ANY_SLOT_CLIENTS: u64 = 3;

/// Ends the clients, also when the test fails meanwhile.
struct Ending<'a>(&'a Shared);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Faults asked for by the environment, or `usual`.
pub fn fault_count(usual: usize) -> usize {
    let asked = std::env::var("SLOTCORE_FAULTS").ok();
    asked.map_or(usual, |count| count.parse().expect("SLOTCORE_FAULTS is a number"))
}

/// The seed of the environment alone, or a fixed and a fresh one.
pub fn seeds() -> Vec<u64> {
    match std::env::var("SLOTCORE_SEED").ok() {
        Some(seed) => vec![seed.parse().expect("SLOTCORE_SEED is a number")],
        None => vec![1, os_seed().expect("a booted system gives entropy") >> 32],
    }
}

/// Runs `count` faults of `draw` over a cluster whose nodes run. `test`: its name, for the line that repeats it.
///
/// Panics with that line when something cannot have been.
pub fn run(
    test: &str,
    seed: u64,
    count: usize,
    cluster: &mut Cluster,
    namespaces: Option<&Namespaces>,
    draw: fn(&mut SeededRng, u16) -> Fault,
) {
    let again =
        format!("SLOTCORE_SEED={seed} SLOTCORE_FAULTS={count} cargo test -p slotcore-server --test consistency {test}");
    println!("{again}");
    let cores = cluster.cores;
    let shared = Shared::new(cores);
    let mut rng = SeededRng::new(seed).derive("faults");
    let (mut failovers, mut history) = (Vec::new(), History::default());
    let any_slot = |node: u64| Follower::to((0..3).map(|n| cluster.address((node as usize + n) % 3)).collect());
    let followers: Vec<Follower> = (0..CORE_CLIENTS)
        .map(|_| cluster.client())
        .chain((0..ANY_SLOT_CLIENTS).map(any_slot))
        .collect();
    let began = Instant::now();
    thread::scope(|scope| {
        let ending = Ending(&shared);
        let running: Vec<_> = (0..)
            .zip(followers)
            .map(|(name, follower)| {
                let life = Life::new(follower, name, cores, &shared);
                let seed = SeededRng::new(seed).derive(&format!("client {name}")).next_u64();
                scope.spawn(move || life.live(seed))
            })
            .collect();
        for number in 1..=count {
            let fault = draw(&mut rng, cores);
            // Before it happens: whoever waits in vain shall know for what.
            let at = began.elapsed().as_secs_f64();
            println!("{at:.1} s: {number} of {count}: {fault:?}");
            let failover = fault.happen(cluster, namespaces, &shared);
            println!(
                "    over after {:.1} s {}",
                began.elapsed().as_secs_f64() - at,
                shown(failover)
            );
            failovers.extend(failover);
        }
        drop(ending);
        for client in running {
            history.take(
                client
                    .join()
                    .unwrap_or_else(|_| panic!("a client was told nonsense; again: {again}")),
            );
        }
    });
    let (calls, unanswered) = history.counts();
    let violations = final_check(cluster.client(), &shared, history);
    println!(
        "{count} faults in {:.0} s, {calls} calls, {unanswered} without an answer, {} violations; {}",
        began.elapsed().as_secs_f64(),
        violations.len(),
        summed_up(failovers)
    );
    assert!(violations.is_empty(), "again: {again}\n{}", violations.join("\n"));
}

fn shown(failover: Option<Duration>) -> String {
    failover.map_or(String::new(), |time| format!("(no write for {} ms)", time.as_millis()))
}

fn summed_up(mut failovers: Vec<Duration>) -> String {
    failovers.sort();
    match failovers.last() {
        None => "no leader was killed".into(),
        Some(max) => format!(
            "{} leaders killed, no write for {} ms (p50), {} ms (max)",
            failovers.len(),
            failovers[failovers.len() / 2].as_millis(),
            max.as_millis()
        ),
    }
}
