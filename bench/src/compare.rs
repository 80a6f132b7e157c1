//! Interleaved rounds of the same workloads against `redis-server` and Slotcore, as a table of medians and ratios.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use crate::Place;
use crate::peer::{CLIENT_CPU, Kind, Peer};

/// Keys of the throughput workloads, and what is loaded for the memory figure.
const KEYS: &str = "1000000";

#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    place: Place,
    /// Rounds; each runs every workload once on both servers.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A hundredth of the requests: shows that everything runs, measures nothing.
    #[arg(long)]
    quick: bool,
    /// Where the table goes, besides standard output.
    #[arg(long)]
    out: Option<PathBuf>,
}

struct Workload {
    name: &'static str,
    /// Requests, and arguments of redis-benchmark.
    requests: u64,
    args: &'static [&'static str],
}

const fn workload(name: &'static str, requests: u64, args: &'static [&'static str]) -> Workload {
    Workload { name, requests, args }
}

const MEMORY: &[Workload] = &[
    workload("SET P=1", 200_000, &["-t", "set", "-r", KEYS, "-d", "50", "-P", "1"]),
    workload("GET P=1", 200_000, &["-t", "get", "-r", KEYS, "-d", "50", "-P", "1"]),
    workload(
        "SET P=16",
        1_500_000,
        &["-t", "set", "-r", KEYS, "-d", "50", "-P", "16"],
    ),
    workload(
        "GET P=16",
        1_500_000,
        &["-t", "get", "-r", KEYS, "-d", "50", "-P", "16"],
    ),
    workload(
        "SET P=64",
        3_000_000,
        &["-t", "set", "-r", KEYS, "-d", "50", "-P", "64"],
    ),
    workload(
        "GET P=64",
        3_000_000,
        &["-t", "get", "-r", KEYS, "-d", "50", "-P", "64"],
    ),
    workload(
        "one client SET",
        20_000,
        &["-t", "set", "-r", KEYS, "-d", "50", "-c", "1"],
    ),
    workload(
        "one client GET",
        20_000,
        &["-t", "get", "-r", KEYS, "-d", "50", "-c", "1"],
    ),
    workload("one key SET P=16", 1_000_000, &["-t", "set", "-P", "16"]),
    workload("INCR P=16", 1_000_000, &["-t", "incr", "-P", "16"]),
    workload("LPUSH P=16", 1_000_000, &["-t", "lpush", "-P", "16"]),
    workload("RPOP P=16", 1_000_000, &["-t", "rpop", "-P", "16"]),
    workload("SADD P=16", 1_000_000, &["-t", "sadd", "-P", "16"]),
    workload("HSET P=16", 1_000_000, &["-t", "hset", "-P", "16"]),
    workload("ZADD P=16", 1_000_000, &["-t", "zadd", "-P", "16"]),
    workload("LRANGE_600 P=16", 30_000, &["-t", "lrange_600", "-P", "16"]),
    workload("MSET P=16", 200_000, &["-t", "mset", "-P", "16"]),
];

const ALWAYS: &[Workload] = &[
    workload(
        "always SET P=1",
        100_000,
        &["-t", "set", "-r", KEYS, "-d", "50", "-P", "1"],
    ),
    workload(
        "always SET P=16",
        800_000,
        &["-t", "set", "-r", KEYS, "-d", "50", "-P", "16"],
    ),
    workload(
        "always SET P=64",
        1_500_000,
        &["-t", "set", "-r", KEYS, "-d", "50", "-P", "64"],
    ),
    workload(
        "always one client SET",
        5_000,
        &["-t", "set", "-r", KEYS, "-d", "50", "-c", "1"],
    ),
];

/// What one run of redis-benchmark gave.
#[derive(Clone, Copy, Default)]
struct Sample {
    rate: f64,
    p50_ms: f64,
    p99_ms: f64,
    cpu_us: f64,
}

/// Samples of one workload: ours, theirs.
type Pair = [Vec<Sample>; 2];

pub fn run(options: &Options) -> io::Result<()> {
    if Command::new("redis-server").arg("--version").output().is_err() {
        return Err(io::Error::other(
            "redis-server is not installed: install it (Debian: redis-server) and run again",
        ));
    }
    let scale = if options.quick { 100 } else { 1 };
    let rounds = if options.quick { 1 } else { options.rounds };
    let mut table = String::new();
    let _ = writeln!(
        table,
        "| workload | rate | rate Redis | ratio | p50 ms | Redis | p99 ms | Redis | CPU us/cmd | Redis | ratio |\n\
         |---|---|---|---|---|---|---|---|---|---|---|"
    );
    let mut extra = String::new();
    for (workloads, ours, always) in [(MEMORY, "everysec", false), (ALWAYS, "always", true)] {
        let kinds = [Kind::Slotcore(ours), Kind::Redis { always }];
        let mut pairs: Vec<Pair> = workloads.iter().map(|_| Pair::default()).collect();
        for round in 0..rounds {
            for (side, kind) in kinds.into_iter().enumerate() {
                eprintln!("round {} of {rounds}: {kind:?}", round + 1);
                let data = options.place.dir.join(format!("{side}"));
                let _ = fs::remove_dir_all(&data);
                let peer = Peer::start(kind, &options.place.server, &data)?;
                let empty = peer.rss_bytes()?;
                fill(&peer, scale)?;
                let full = peer.rss_bytes()?;
                for (workload, pair) in workloads.iter().zip(&mut pairs) {
                    pair[side].push(measure(&peer, workload, scale)?);
                }
                if round == 0 {
                    let keys = peer.ask("DBSIZE\r\n")?;
                    let keys: u64 = keys.trim_start_matches(':').trim().parse().unwrap_or(1);
                    let _ = writeln!(
                        extra,
                        "- {kind:?}: {} bytes of memory per key loaded",
                        (full - empty) / keys.max(1)
                    );
                }
                peer.stop()?;
                if round == 0 && always {
                    let began = Instant::now();
                    let peer = Peer::start(kind, &options.place.server, &data)?;
                    while peer.ask("DBSIZE\r\n")?.starts_with('-') {}
                    let _ = writeln!(
                        extra,
                        "- {kind:?}: restart with its log {:.2} s",
                        began.elapsed().as_secs_f64()
                    );
                    peer.kill()?;
                }
                let _ = fs::remove_dir_all(&data);
            }
        }
        for (workload, pair) in workloads.iter().zip(&pairs) {
            let [ours, theirs] = pair.each_ref().map(|samples| median(samples));
            let _ = writeln!(
                table,
                "| {} | {:.0} | {:.0} | **{:.2}** | {:.3} | {:.3} | {:.3} | {:.3} | {:.2} | {:.2} | **{:.2}** |",
                workload.name,
                ours.rate,
                theirs.rate,
                ours.rate / theirs.rate,
                ours.p50_ms,
                theirs.p50_ms,
                ours.p99_ms,
                theirs.p99_ms,
                ours.cpu_us,
                theirs.cpu_us,
                ours.cpu_us / theirs.cpu_us,
            );
        }
    }
    let _ = write!(table, "\n{extra}");
    println!("{table}");
    if let Some(out) = &options.out {
        fs::write(out, table)?;
    }
    Ok(())
}

/// Loads every key there is to be read.
fn fill(peer: &Peer, scale: u64) -> io::Result<()> {
    let load = Workload {
        name: "load",
        requests: 4_000_000,
        args: &["-t", "set", "-r", KEYS, "-d", "50", "-P", "64"],
    };
    measure(peer, &load, scale).map(drop)
}

/// Runs redis-benchmark once. Any error reply ends it with an error.
fn measure(peer: &Peer, workload: &Workload, scale: u64) -> io::Result<Sample> {
    let requests = (workload.requests / scale).max(1000);
    let before = peer.cpu_us()?;
    let run = Command::new("taskset")
        .args([
            "-c",
            &CLIENT_CPU.0.to_string(),
            "redis-benchmark",
            "--csv",
            "-p",
            &peer.port.to_string(),
            "-n",
            &requests.to_string(),
        ])
        .args(workload.args)
        .output()?;
    let cpu_us = (peer.cpu_us()? - before) as f64 / requests as f64;
    let text = String::from_utf8_lossy(&run.stdout);
    let line = text.lines().last().unwrap_or_default();
    if !run.status.success() || text.contains("ERR") {
        return Err(io::Error::other(format!(
            "{}: {text}{}",
            workload.name,
            String::from_utf8_lossy(&run.stderr)
        )));
    }
    // "test","rps","avg","min","p50","p95","p99","max"
    let field = |n: usize| {
        line.split(',')
            .nth(n)
            .and_then(|t| t.trim_matches('"').parse().ok())
            .unwrap_or(0.0)
    };
    Ok(Sample {
        rate: field(1),
        p50_ms: field(4),
        p99_ms: field(6),
        cpu_us,
    })
}

fn median(samples: &[Sample]) -> Sample {
    let of = |get: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(get).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Sample {
        rate: of(|s| s.rate),
        p50_ms: of(|s| s.p50_ms),
        p99_ms: of(|s| s.p99_ms),
        cpu_us: of(|s| s.cpu_us),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_taken_of_each_figure() {
        let sample = |rate, cpu_us| Sample {
            rate,
            cpu_us,
            ..Sample::default()
        };
        let middle = median(&[sample(1.0, 9.0), sample(3.0, 8.0), sample(2.0, 1.0)]);
        assert_eq!((middle.rate, middle.cpu_us), (2.0, 8.0));
    }
}
