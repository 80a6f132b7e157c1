//! One workload, once, on one server, by either client; with the server's processor time.

use std::io;
use std::process::Command;

use clap::ValueEnum;
use slotcore_rt::thread;

use super::table::Sample;
use super::workloads::{KEYS, VALUE_BYTES, Workload};
use crate::load;
use crate::load::keys::Distribution;
use crate::peer::{CLIENT_CPU, Peer, if_there};

/// Who sends the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Client {
    /// That of Redis, which everybody knows. At pipeline 1 it is slower than the servers.
    RedisBenchmark,
    /// `slotcore-bench load`.
    Load,
}

impl Client {
    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::RedisBenchmark => "redis-benchmark",
            Self::Load => "slotcore-bench load",
        }
    }

    /// Runs `workload` with `requests` on `peer`.
    ///
    /// # Errors
    /// The client cannot run, or any reply was an error.
    pub fn measure(self, peer: &Peer, workload: &Workload, requests: u64) -> io::Result<Sample> {
        let before = peer.cpu_us()?;
        let sample = match self {
            Self::RedisBenchmark => redis_benchmark(peer, workload, requests),
            Self::Load => by_load(peer, workload, requests),
        };
        let mut sample = sample.map_err(|e| io::Error::other(format!("{}: {e}", workload.name)))?;
        sample.cpu_us = (peer.cpu_us()? - before) / requests as f64;
        Ok(sample)
    }
}

/// Sets each of the first `keys` keys once.
pub fn fill(peer: &Peer, keys: u64) -> io::Result<()> {
    let options = load::Options {
        fill: true,
        keys,
        command: Vec::new(),
        ..options(peer)
    };
    pinned(options).map(drop)
}

fn options(peer: &Peer) -> load::Options {
    load::Options {
        port: peer.port,
        value_bytes: VALUE_BYTES,
        // Servers are warm: keys were loaded just before.
        warmup_seconds: 0.0,
        quiet: true,
        ..load::Options::default()
    }
}

fn by_load(peer: &Peer, workload: &Workload, requests: u64) -> io::Result<Sample> {
    let options = load::Options {
        command: vec![workload.command.to_owned()],
        connections: workload.connections,
        pipeline: workload.pipeline,
        keys: KEYS,
        distribution: if workload.spread {
            Distribution::Uniform
        } else {
            Distribution::Single
        },
        requests: Some(requests),
        ..options(peer)
    };
    let rows = pinned(options)?;
    let row = rows
        .first()
        .ok_or_else(|| io::Error::other("the load generator measured nothing"))?;
    if let Some(error) = &row.first_error {
        return Err(io::Error::other(error.clone()));
    }
    Ok(Sample {
        rate: row.rate,
        p50_ms: row.p50_us / 1e3,
        p99_ms: row.p99_us / 1e3,
        cpu_us: 0.0,
        client_busy_percent: row.client_busy_percent,
    })
}

/// Runs the load generator on its processor.
fn pinned(options: load::Options) -> io::Result<Vec<load::report::Row>> {
    let run = thread::spawn("load", if_there(CLIENT_CPU), move || load::measure(&options))?;
    run.join().expect("the load generator does not panic")
}

fn redis_benchmark(peer: &Peer, workload: &Workload, requests: u64) -> io::Result<Sample> {
    let run = Command::new("taskset")
        .args(["-c", &CLIENT_CPU.0.to_string(), "redis-benchmark", "--csv"])
        .args(["-p", &peer.port.to_string(), "-n", &requests.to_string()])
        .args(workload.redis_benchmark_args())
        .output()?;
    let text = String::from_utf8_lossy(&run.stdout);
    if !run.status.success() || text.contains("ERR") {
        let errors = String::from_utf8_lossy(&run.stderr);
        return Err(io::Error::other(format!("{text}{errors}")));
    }
    // "test","rps","avg","min","p50","p95","p99","max"
    let line = text.lines().last().unwrap_or_default();
    let field = |n: usize| {
        let text = line.split(',').nth(n).map(|text| text.trim_matches('"'));
        text.and_then(|text| text.parse().ok())
            .ok_or_else(|| io::Error::other(format!("redis-benchmark printed {line:?}")))
    };
    Ok(Sample {
        rate: field(1)?,
        p50_ms: field(4)?,
        p99_ms: field(6)?,
        cpu_us: 0.0,
        client_busy_percent: f64::NAN,
    })
}
