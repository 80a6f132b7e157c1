//! `slotcore-bench load`: requests to a running server, and how it answered.

pub mod client;
pub mod keys;
pub mod pace;
mod replies;
pub mod report;
#[cfg(test)]
mod tests;
pub mod workload;

use std::fs;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as _, FromArgMatches as _};
use serde::Serialize;
use slotcore_rt::rng::SeededRng;
use slotcore_rt::thread::{CpuId, pin_current};

use client::Client;
use keys::{Distribution, Keys};
use pace::{Pace, Stop};
use report::{Machine, Report, Row, table};
use workload::{Filling, Stream, Workload};

/// Requests of a connection under way while keys are loaded.
const FILL_PIPELINE: usize = 64;

/// What `load` is asked to do.
#[derive(clap::Args, Clone, Debug, Serialize)]
pub struct Options {
    /// Name or address of the server.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// Its port.
    #[arg(long, default_value_t = 6379)]
    pub port: u16,
    /// Workloads, one after the other: ping, set, get, mixed, incr, lpush, rpush, lpop, rpop, sadd, spop, hset, hget, zadd,
    /// zscore, mset, lrange_600.
    #[arg(long, value_delimiter = ',', default_value = "set,get")]
    pub command: Vec<String>,
    /// A request of your own instead, such as "EXPIRE {key} 100"; {key}, {number} and {value} are filled in.
    #[arg(long, conflicts_with = "command")]
    pub request: Option<String>,
    /// Percent of reads in the workload `mixed`.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub reads: u8,
    /// Connections.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub connections: u32,
    /// Requests of a connection under way at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub pipeline: u32,
    /// Bytes of a value.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=32 << 20))]
    pub value_bytes: u32,
    /// Keys there are.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=999_999_999_999))]
    pub keys: u64,
    /// How requests are spread over them.
    #[arg(long, value_enum, default_value_t = Distribution::Uniform)]
    pub distribution: Distribution,
    /// Requests per second over all connections (open loop): each has its moment, and waiting since then counts. Without
    /// it each connection sends as soon as it has its replies.
    #[arg(long)]
    pub rate: Option<f64>,
    /// How long each workload runs.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// How many requests each workload sends, instead of a time.
    #[arg(long, conflicts_with = "seconds")]
    pub requests: Option<u64>,
    /// Seconds of the same requests before anything is measured.
    #[arg(long, default_value_t = 1.0)]
    pub warmup_seconds: f64,
    /// Sets every key once, before anything else.
    #[arg(long)]
    pub fill: bool,
    /// The same seed gives the same requests.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The processor to run on.
    #[arg(long)]
    pub cpu: Option<u16>,
    /// A file for the results as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

impl Default for Options {
    /// As the command line gives them when it says nothing.
    fn default() -> Self {
        let command = Self::augment_args(clap::Command::new("load").no_binary_name(true));
        let matches = command.get_matches_from(std::iter::empty::<&str>());
        Self::from_arg_matches(&matches).expect("no option is required")
    }
}

/// Runs what `options` ask for and prints it.
///
/// # Errors
/// No server, a wrong option, a broken connection; and any error reply, after the table was printed.
pub fn run(options: &Options) -> io::Result<()> {
    if let Some(cpu) = options.cpu {
        pin_current(CpuId(cpu)).map_err(|e| io::Error::other(format!("processor {cpu} cannot be used: {e}")))?;
    }
    let rows = measure(options)?;
    print!("{}", table(&rows));
    if let Some(path) = &options.json {
        let report = Report {
            machine: Machine::here(),
            options,
            rows: rows.clone(),
        };
        fs::write(path, report.to_json())?;
    }
    match rows.iter().find(|row| row.errors > 0) {
        None => Ok(()),
        Some(row) => Err(io::Error::other(format!(
            "{}: {} of {} requests were answered with an error, the first: {}",
            row.workload,
            row.errors,
            row.requests,
            row.first_error.as_deref().unwrap_or_default()
        ))),
    }
}

/// As [`run`], without printing: the figures of each workload. Error replies are counted in them.
pub fn measure(options: &Options) -> io::Result<Vec<Row>> {
    let addr = address(options)?;
    let rng = SeededRng::new(options.seed);
    let commands = match &options.request {
        Some(request) => std::slice::from_ref(request),
        None => &options.command[..],
    };
    let value_bytes = options.value_bytes as usize;
    let workloads: Vec<(&String, Workload)> = commands
        .iter()
        .map(|command| Ok((command, Workload::new(command, options.reads, value_bytes)?)))
        .collect::<Result<_, String>>()
        .map_err(io::Error::other)?;
    let pace = |stop| -> io::Result<Pace> {
        if options.rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
            return Err(io::Error::other("a rate is above 0"));
        }
        Ok(Pace {
            pipeline: options.pipeline as usize,
            rate: options.rate,
            stop,
        })
    };
    let seconds =
        |time: f64| Duration::try_from_secs_f64(time).map_err(|e| io::Error::other(format!("{time} seconds: {e}")));
    let warmup = pace(Stop::After(seconds(options.warmup_seconds)?))?;
    let measured = pace(match options.requests {
        Some(requests) => Stop::Requests(requests),
        None => Stop::After(seconds(options.seconds)?),
    })?;

    let mut client = Client::connect(addr, options.connections as usize)?;
    if options.fill {
        fill(&mut client, options)?;
    }
    let mut rows = Vec::new();
    for (name, workload) in &workloads {
        let rng = rng.derive(name);
        let mut keys = Keys::new(options.distribution, options.keys, rng.derive("keys"));
        let wanted = options.requests.unwrap_or(u64::MAX).max(1);
        let stream = Stream::generate(workload, &mut keys, wanted, &mut rng.derive("stream"));
        if options.warmup_seconds > 0.0 {
            client.run(&stream, &warmup)?;
        }
        rows.push(Row::new(name, &client.run(&stream, &measured)?));
    }
    Ok(rows)
}

/// Sets every key once.
fn fill(client: &mut Client, options: &Options) -> io::Result<()> {
    for stream in Filling::new(options.keys, options.value_bytes as usize, options.seed) {
        let pace = Pace {
            pipeline: FILL_PIPELINE,
            rate: None,
            stop: Stop::Requests(stream.len() as u64),
        };
        let tally = client.run(&stream, &pace)?.tally;
        if let Some(error) = tally.first_error {
            return Err(io::Error::other(format!("keys cannot be loaded: {error}")));
        }
    }
    Ok(())
}

fn address(options: &Options) -> io::Result<SocketAddr> {
    let name = (options.host.as_str(), options.port);
    name.to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::other(format!("{} has no address", options.host)))
}
