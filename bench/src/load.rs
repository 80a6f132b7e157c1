//! `slotcore-bench load`: requests to a running server, and how it answered.

pub mod client;
mod greeting;
pub mod keys;
pub mod live;
pub mod pace;
pub mod recorder;
pub mod replies;
pub mod report;
pub mod stream;
#[cfg(test)]
mod tests;
mod topology;
pub mod workload;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as _, FromArgMatches as _};
use serde::Serialize;
use slotcore_rt::rng::SeededRng;
use slotcore_rt::thread::{CpuId, pin_current};

use crate::machine::{Machine, ServerFacts};
use crate::output;
pub use client::Client;
pub use greeting::{Greeting, Resp};
use keys::{Distribution, Keys};
use live::Live;
use pace::{Pace, Stop};
use report::{Report, Row, table};
use stream::{Filling, Stream, Streams};
use topology::Topology;
use workload::Workload;

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
    /// Password of the `default` user.
    #[arg(long)]
    #[serde(skip)]
    pub password: Option<String>,
    /// Version of the protocol.
    #[arg(long, value_enum, default_value_t = Resp::Two)]
    pub resp: Resp,
    /// Asks the server which nodes own which slots, and sends each request to the owner of its key (the second word).
    #[arg(long)]
    pub cluster: bool,
    /// Workloads, one after the other: ping, ping_inline, set, get, mixed, incr, lpush, rpush, lpop, rpop, lrange_100 (300, 500, 600),
    /// sadd, sismember, spop, hset, hget, hset_5, hgetall, zadd, zscore, zrange, zrangebyscore, zpopmin, mset.
    #[arg(long, value_delimiter = ',', default_value = "set,get")]
    pub command: Vec<String>,
    /// A request of your own instead, such as "XADD {key} * f {value}"; {key}, {number} and {value} are filled in.
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
    /// What `--fill` sends for each key, as `--command` names it.
    #[arg(long, default_value = "set")]
    pub fill_with: String,
    /// The same seed gives the same requests.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The processor to run on.
    #[arg(long)]
    pub cpu: Option<u16>,
    /// A file for the results as JSON.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Says nothing while it runs.
    #[arg(long)]
    pub quiet: bool,
    /// Microseconds for which the client looks for replies before it sleeps: 0 where it shares its processor.
    #[arg(long, default_value_t = client::SPIN.as_micros() as u64)]
    pub spin_us: u64,
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
    output::print(&table(&rows))?;
    if let Some(path) = &options.json {
        let report = Report {
            kind: report::KIND.to_owned(),
            format: report::FORMAT,
            // Data of a server on another machine lies elsewhere: then this is only where the result was written.
            machine: Machine::here(path),
            server: ServerFacts::ask(address(options)?, options.password.as_deref())?,
            options,
            rows: rows.clone(),
        };
        output::save(path, &report.to_json())?;
    }
    rows.iter().try_for_each(Row::refuse_errors).map_err(io::Error::other)
}

/// As [`run`], without printing results: the figures of each workload. Error replies are counted in them.
pub fn measure(options: &Options) -> io::Result<Vec<Row>> {
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
    let (warmup, measured) = paces(options)?;
    let mut connected = Connected::open(options)?;
    if options.fill {
        fill(&mut connected, options)?;
    }
    let mut rows = Vec::new();
    for (name, workload) in &workloads {
        let rng = rng.derive(name);
        let mut keys = Keys::new(options.distribution, options.keys, rng.derive("keys"));
        let wanted = options.requests.unwrap_or(u64::MAX).max(1);
        let mut drawn = rng.derive("stream");
        let streams = match &connected.topology {
            None => Streams::one(Stream::generate(workload, &mut keys, wanted, &mut drawn)),
            Some(topology) => Streams::generate(topology, workload, &mut keys, wanted, &mut drawn)
                .map_err(|what| io::Error::other(format!("{name}: {what}")))?,
        };
        let client = connected.client_for(&streams, options)?;
        if options.warmup_seconds > 0.0 {
            client.run(&streams, &warmup, &Live::new("warm-up", true))?;
        }
        let outcome = client.run(&streams, &measured, &Live::new(name, options.quiet))?;
        rows.push(Row::new(name, &outcome));
    }
    Ok(rows)
}

/// The paces of warm-up and measurement.
fn paces(options: &Options) -> io::Result<(Pace, Pace)> {
    if options.rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
        return Err(io::Error::other("a rate is above 0"));
    }
    let pace = |stop| Pace {
        pipeline: options.pipeline as usize,
        rate: options.rate,
        stop,
    };
    let seconds =
        |time: f64| Duration::try_from_secs_f64(time).map_err(|e| io::Error::other(format!("{time} seconds: {e}")));
    let measured = match options.requests {
        Some(requests) => Stop::Requests(requests),
        None => Stop::After(seconds(options.seconds)?),
    };
    Ok((pace(Stop::After(seconds(options.warmup_seconds)?)), pace(measured)))
}

/// The server, or the nodes of a cluster, and the connections to them.
struct Connected {
    topology: Option<Topology>,
    client: Option<Client>,
}

impl Connected {
    fn open(options: &Options) -> io::Result<Self> {
        let addr = address(options)?;
        let topology = if options.cluster {
            Some(Topology::ask(addr, options.password.as_deref())?)
        } else {
            None
        };
        let mut connected = Self { topology, client: None };
        if connected.topology.is_none() {
            // At once, so that a server that is not there is noticed before requests are made.
            let shares = [(addr, options.connections as usize)];
            connected.client = Some(connect(&shares, options)?);
        }
        Ok(connected)
    }

    /// The client for requests spread like `streams`: nodes of a cluster get connections by their share.
    fn client_for(&mut self, streams: &Streams, options: &Options) -> io::Result<&mut Client> {
        if let Some(topology) = &self.topology {
            let shares = streams.share(topology.nodes(), options.connections as usize);
            self.client = Some(connect(&shares, options)?);
        }
        Ok(self.client.as_mut().expect("made at the start or just above"))
    }
}

fn connect(shares: &[(SocketAddr, usize)], options: &Options) -> io::Result<Client> {
    let greeting = Greeting {
        resp: options.resp,
        password: options.password.as_deref(),
        probe: true,
    };
    Client::connect(shares, &greeting, Duration::from_micros(options.spin_us))
}

/// Sets every key once.
fn fill(connected: &mut Connected, options: &Options) -> io::Result<()> {
    let workload = Workload::new(&options.fill_with, 0, options.value_bytes as usize).map_err(io::Error::other)?;
    let mut filling = Filling::with(workload, options.keys, options.seed);
    let topology = connected.topology.clone();
    let live = Live::new("fill", true);
    while let Some(streams) = match &topology {
        None => filling.next().map(Streams::one),
        Some(topology) => filling.next_of(topology),
    } {
        let pace = Pace {
            pipeline: FILL_PIPELINE,
            rate: None,
            stop: Stop::Requests(streams.len()),
        };
        let tally = connected
            .client_for(&streams, options)?
            .run(&streams, &pace, &live)?
            .tally;
        if let Some(error) = tally.first_error {
            return Err(io::Error::other(format!("keys cannot be loaded: {error}")));
        }
    }
    Ok(())
}

fn address(options: &Options) -> io::Result<SocketAddr> {
    let name = (options.host.as_str(), options.port);
    let unknown = |why: String| io::Error::other(format!("{} has no address{why}", options.host));
    name.to_socket_addrs()
        .map_err(|e| unknown(format!(": {e}")))?
        .next()
        .ok_or_else(|| unknown(String::new()))
}
