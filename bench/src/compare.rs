//! `slotcore-bench compare`: interleaved rounds of the same workloads against a peer and Slotcore, as a table of medians
//! and ratios.

mod clients;
mod table;
mod workloads;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Place;
use crate::floor::echo;
use crate::machine::Machine;
use crate::peer::{Kind, Peer};
use clients::{Client, fill};
use table::{HEAD, Pair, push_line};
use workloads::{ALWAYS, KEYS, MEMORY, Workload};

/// Fewest requests of a run: below it a client's start is what is measured.
const REQUESTS_MIN: u64 = 1000;

/// What `compare` is asked to do.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    place: Place,
    /// The peer's program, of Redis or Valkey.
    #[arg(long, default_value = "redis-server")]
    peer: String,
    /// Who sends the requests; several give a table each, measured in the same rounds.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "load")]
    client: Vec<Client>,
    /// Rounds; each runs every workload once on both servers.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    rounds: u64,
    /// Only workloads whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// A hundredth of the requests: shows that everything runs, measures nothing.
    #[arg(long)]
    quick: bool,
    /// Where the table goes, besides standard output.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Echoes per second by connections and pipeline.
type Floors = BTreeMap<(u32, u32), f64>;

/// Runs the comparison and prints it.
///
/// # Errors
/// A program is missing or does not start; any reply was an error.
pub fn run(options: &Options) -> io::Result<()> {
    let mut programs = vec![options.peer.as_str()];
    if options.client.contains(&Client::RedisBenchmark) {
        programs.push("redis-benchmark");
    }
    let mut versions = Vec::new();
    for program in programs {
        let run = Command::new(program).arg("--version").output().map_err(|e| {
            io::Error::other(format!(
                "{program} cannot be run ({e}): install it (Debian: redis-server, redis-tools) or name it by --peer"
            ))
        })?;
        versions.push(String::from_utf8_lossy(&run.stdout).trim().to_owned());
    }
    let phases = [(MEMORY, "everysec", false), (ALWAYS, "always", true)];
    let floors = floors(options, phases.iter().flat_map(|phase| phase.0))?;
    let mut tables = vec![String::from(HEAD); options.client.len()];
    let mut notes = String::new();
    for (all, ours, always) in phases {
        let chosen: Vec<Workload> = all.iter().filter(|w| w.name.contains(&options.only)).copied().collect();
        if chosen.is_empty() {
            continue;
        }
        let theirs = Kind::Redis {
            program: &options.peer,
            always,
        };
        let pairs = phase(
            options,
            &chosen,
            Kind::Slotcore {
                durability: ours,
                cores: 1,
            },
            theirs,
            &mut notes,
        )?;
        for (table, pairs) in tables.iter_mut().zip(&pairs) {
            for (workload, pair) in chosen.iter().zip(pairs) {
                let floor = floors.get(&(workload.connections, workload.pipeline)).copied();
                push_line(table, workload.name, pair, floor.filter(|_| workload.has_floor()));
            }
        }
    }
    let machine = Machine::here(&options.place.dir);
    let mut text = format!(
        "Commit {}, Linux {}, {} x {}; peer: {}; {} rounds, medians.\n",
        machine.commit,
        machine.kernel,
        machine.processors,
        machine.processor,
        versions.join("; "),
        rounds(options)
    );
    for (client, table) in options.client.iter().zip(&tables) {
        let _ = writeln!(text, "\nClient: {}\n\n{table}", client.name());
    }
    text += &notes;
    println!("{text}");
    options.out.as_ref().map_or(Ok(()), |out| fs::write(out, &text))
}

fn rounds(options: &Options) -> u64 {
    if options.quick { 1 } else { options.rounds }
}

fn scale(options: &Options) -> u64 {
    if options.quick { 100 } else { 1 }
}

/// The floor of each shape of load that is compared.
fn floors<'a>(options: &Options, workloads: impl Iterator<Item = &'a Workload>) -> io::Result<Floors> {
    let mut floors = Floors::new();
    let time = Duration::from_secs(1) / scale(options) as u32;
    for workload in workloads.filter(|w| w.name.contains(&options.only) && w.has_floor()) {
        let shape = (workload.connections, workload.pipeline);
        if let std::collections::btree_map::Entry::Vacant(floor) = floors.entry(shape) {
            floor.insert(echo(shape.0 as usize, shape.1 as usize, time)?.rate);
        }
    }
    Ok(floors)
}

/// All rounds of `workloads` on both servers. Returns a table of pairs for each client.
fn phase(
    options: &Options,
    workloads: &[Workload],
    ours: Kind<'_>,
    theirs: Kind<'_>,
    notes: &mut String,
) -> io::Result<Vec<Vec<Pair>>> {
    let mut pairs = vec![vec![Pair::default(); workloads.len()]; options.client.len()];
    let keys = KEYS / scale(options);
    for round in 0..rounds(options) {
        for kind in [ours, theirs] {
            eprintln!("round {} of {}: {kind}", round + 1, rounds(options));
            let data = options.place.dir.join("compare");
            let _ = fs::remove_dir_all(&data);
            let peer = Peer::start(kind, &options.place.server, &data)?;
            let empty_bytes = peer.rss_bytes()?;
            fill(&peer, keys)?;
            let key_bytes = peer.rss_bytes()?.saturating_sub(empty_bytes) / keys;
            for (client, pairs) in options.client.iter().zip(&mut pairs) {
                for (workload, pair) in workloads.iter().zip(pairs) {
                    let requests = (workload.requests / scale(options)).max(REQUESTS_MIN);
                    let sample = client.measure(&peer, workload, requests)?;
                    if kind == ours { &mut pair.ours } else { &mut pair.theirs }.push(sample);
                }
            }
            peer.stop()?;
            if round == 0 {
                let _ = writeln!(notes, "- {kind}: {key_bytes} bytes of memory per key loaded");
                if kind.is_durable() {
                    let seconds = restart(kind, options, &data)?;
                    let _ = writeln!(notes, "- {kind}: restart with its log {seconds:.2} s");
                }
            }
            let _ = fs::remove_dir_all(&data);
        }
    }
    Ok(pairs)
}

/// Seconds from start to the first answer about data.
fn restart(kind: Kind<'_>, options: &Options, data: &std::path::Path) -> io::Result<f64> {
    let began = Instant::now();
    let peer = Peer::start(kind, &options.place.server, data)?;
    while peer.ask("DBSIZE\r\n")?.starts_with('-') {}
    let seconds = began.elapsed().as_secs_f64();
    peer.kill()?;
    Ok(seconds)
}
