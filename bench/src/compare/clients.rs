//! One workload, once, on one server, by either client; with the server's processor time.

use std::io;
use std::process::Command;
use std::time::Duration;

use clap::ValueEnum;
use slotcore_rt::thread;

use super::field::Contestant;
use super::placement::Placement;
use super::workloads::{Amount, KEYS, VALUE_BYTES, Workload};
use crate::cpu_time::of_children;
use crate::etcd::{self, Puts};
use crate::load;
use crate::load::recorder::Second;
use crate::load::report::Row;
use crate::load::workload::SET_WAIT;
use crate::peer::{Peer, named};

/// Who sends the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Client {
    /// That of Redis, which everybody knows. At pipeline 1 it is slower than the servers.
    RedisBenchmark,
    /// `slotcore-bench load`.
    Load,
}

/// What one run of a workload gave.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Replies per second.
    pub rate: f64,
    /// Median latency in microseconds.
    pub p50_us: f64,
    /// 99 % of latencies were below.
    pub p99_us: f64,
    /// 99.9 % were below, where the client tells.
    pub p999_us: Option<f64>,
    /// The server's processor time for each command, in microseconds.
    pub cpu_us: Option<f64>,
    /// Percent of the time the client had work.
    pub client_busy_percent: f64,
    /// Its work for each request, in microseconds.
    pub client_us: f64,
    /// See [`super::result::Line`].
    pub curve: Vec<(f64, f64)>,
    /// See [`super::result::Line`].
    pub series: Vec<Second>,
    /// See [`super::result::Line`].
    pub background_s: Vec<f64>,
}

impl Client {
    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::RedisBenchmark => "redis-benchmark",
            Self::Load => "slotcore-bench load",
        }
    }

    /// Runs `workload` on `peer`; `scale` times less of it.
    ///
    /// # Errors
    /// The client cannot run, or any reply was an error.
    pub fn measure(
        self,
        peer: &Peer,
        contestant: &Contestant<'_>,
        placement: &Placement,
        workload: &Workload,
        scale: u32,
    ) -> io::Result<Sample> {
        let before = peer.cpu_us()?;
        let sample = match self {
            _ if !contestant.kind.speaks_resp() => by_etcd(peer, placement, workload, scale),
            Self::RedisBenchmark => redis_benchmark(peer, placement, workload, scale),
            Self::Load => by_load(peer, contestant, placement, workload, scale),
        };
        let (mut sample, requests) = sample.map_err(|e| io::Error::other(format!("{}: {e}", workload.name)))?;
        let requests = requests / u64::from(contestant.kind.commands_a_write());
        if peer.is_ours() {
            sample.cpu_us = Some((peer.cpu_us()? - before) / requests.max(1) as f64);
        }
        Ok(sample)
    }
}

/// Fewest requests of a run: below it a client's start is what is measured.
const REQUESTS_MIN: u64 = 1000;
/// How many times shorter a quick run is at most where time is what is given.
const SECONDS_SCALE_MAX: u32 = 20;

/// Sends `request`, with values of so many bytes, for each of the first `keys` keys once.
pub fn fill(
    peer: &Peer,
    contestant: &Contestant<'_>,
    placement: &Placement,
    keys: u64,
    request: (&str, u32),
) -> io::Result<()> {
    let options = load::Options {
        fill: true,
        fill_with: request.0.to_owned(),
        value_bytes: request.1,
        keys,
        command: Vec::new(),
        ..options(peer, contestant, placement)
    };
    pinned(placement, options).map(drop)
}

fn options(peer: &Peer, contestant: &Contestant<'_>, placement: &Placement) -> load::Options {
    let default = load::Options::default();
    load::Options {
        host: peer.addr.ip().to_string(),
        port: peer.addr.port(),
        cluster: contestant.by_nodes,
        value_bytes: VALUE_BYTES,
        // Servers are warm: keys were loaded just before.
        warmup_seconds: 0.0,
        quiet: true,
        spin_us: if placement.spins { default.spin_us } else { 0 },
        ..default
    }
}

fn by_load(
    peer: &Peer,
    contestant: &Contestant<'_>,
    placement: &Placement,
    workload: &Workload,
    scale: u32,
) -> io::Result<(Sample, u64)> {
    let commands = contestant.kind.commands_a_write();
    let command = match (workload.command, commands) {
        ("set", 2) => SET_WAIT,
        (command, 1) => command,
        (command, _) => {
            return Err(io::Error::other(format!(
                "nothing waits for a replica behind {command}"
            )));
        }
    };
    let mut options = load::Options {
        command: vec![command.to_owned()],
        connections: workload.connections,
        pipeline: workload.pipeline * commands,
        keys: KEYS,
        distribution: workload.distribution,
        ..options(peer, contestant, placement)
    };
    match workload.amount {
        Amount::Requests(requests) => options.requests = Some((requests / u64::from(scale)).max(REQUESTS_MIN)),
        Amount::Seconds(seconds) => options.seconds = scaled(seconds, scale).as_secs_f64(),
        Amount::Rate { per_second, seconds } => {
            options.rate = Some(f64::from(per_second));
            options.seconds = scaled(seconds, scale).as_secs_f64();
        }
    }
    let watch = super::background::Watch::start(peer.addr)?;
    let rows = pinned(placement, options);
    let background_s = watch.stop();
    let row = rows?
        .pop()
        .ok_or_else(|| io::Error::other("the load generator measured nothing"))?;
    let mut sample = sample_of(&row, background_s)?;
    // Of writes, not of commands.
    sample.rate /= f64::from(commands);
    sample.client_us *= f64::from(commands);
    Ok((sample, row.requests))
}

/// So many seconds, less of them for a quick run: still enough for an answer.
fn scaled(seconds: u32, scale: u32) -> Duration {
    Duration::from_secs(u64::from(seconds)) / scale.min(SECONDS_SCALE_MAX)
}

fn by_etcd(peer: &Peer, placement: &Placement, workload: &Workload, scale: u32) -> io::Result<(Sample, u64)> {
    let (Amount::Seconds(seconds), "set") = (workload.amount, workload.command) else {
        return Err(io::Error::other("etcd is only asked to set, for some seconds"));
    };
    let puts = Puts {
        clients: workload.connections,
        keys: KEYS,
        value_bytes: VALUE_BYTES as usize,
        time: scaled(seconds, scale),
    };
    let addr = peer.addr;
    let run = thread::spawn("etcd", placement.client, move || {
        Ok::<_, io::Error>(Row::new("set", &etcd::put(addr, &puts)?))
    })?;
    let row = run.join().expect("the client does not panic")?;
    Ok((sample_of(&row, Vec::new())?, row.requests))
}

fn sample_of(row: &Row, background_s: Vec<f64>) -> io::Result<Sample> {
    row.refuse_errors().map_err(io::Error::other)?;
    Ok(Sample {
        rate: row.rate,
        p50_us: row.p50_us,
        p99_us: row.p99_us,
        p999_us: Some(row.p999_us),
        cpu_us: None,
        client_busy_percent: row.client_busy_percent,
        client_us: row.client_us_per_request,
        curve: row.percentiles_us.clone(),
        series: row.series.clone(),
        background_s,
    })
}

/// Runs the load generator on its processor.
fn pinned(placement: &Placement, options: load::Options) -> io::Result<Vec<Row>> {
    let run = thread::spawn("load", placement.client, move || load::measure(&options))?;
    run.join().expect("the load generator does not panic")
}

fn redis_benchmark(peer: &Peer, placement: &Placement, workload: &Workload, scale: u32) -> io::Result<(Sample, u64)> {
    let Amount::Requests(requests) = workload.amount else {
        return Err(io::Error::other(
            "redis-benchmark sends a number of requests, as fast as it can",
        ));
    };
    let requests = (requests / u64::from(scale)).max(REQUESTS_MIN);
    let cpu = placement.client.map_or("0-1023".to_owned(), |cpu| cpu.0.to_string());
    let before = of_children();
    let run = Command::new("taskset")
        .args(["-c", &cpu, "redis-benchmark", "--csv"])
        .args(["-h", &peer.addr.ip().to_string(), "-p", &peer.addr.port().to_string()])
        .args(["-n", &requests.to_string()])
        .args(workload.redis_benchmark_args())
        .output()
        .map_err(|error| named("taskset", &error))?;
    let client_us = (of_children() - before).as_secs_f64() * 1e6 / requests as f64;
    let text = String::from_utf8_lossy(&run.stdout);
    if !run.status.success() || text.contains("ERR") {
        let errors = String::from_utf8_lossy(&run.stderr);
        return Err(io::Error::other(format!("{text}{errors}")));
    }
    // "test","rps","avg","min","p50","p95","p99","max"
    let line = text.lines().last().unwrap_or_default();
    let field = |n: usize| {
        let text = line.split(',').nth(n).map(|text| text.trim_matches('"'));
        text.and_then(|text| text.parse::<f64>().ok())
            .ok_or_else(|| io::Error::other(format!("redis-benchmark printed {line:?}")))
    };
    let rate = field(1)?;
    let sample = Sample {
        rate,
        p50_us: field(4)? * 1e3,
        p99_us: field(6)? * 1e3,
        client_busy_percent: (rate * client_us / 1e4).min(100.0),
        client_us,
        ..Sample::default()
    };
    Ok((sample, requests))
}
