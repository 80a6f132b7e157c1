//! `slotcore-bench compare`: named comparisons of Slotcore with its peers: interleaved rounds of the same workloads,
//! medians, spread, and the server's processor time.

mod background;
mod clients;
mod field;
mod footprint;
pub mod placement;
pub mod result;
mod rounds;
mod suites;
pub mod table;
mod workloads;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

use slotcore_rt::thread::allowed_cpus;

use crate::Place;
use crate::machine::Machine;
use crate::machine::stolen::Watch;
use crate::output;
use clients::Client;
use field::Rivals;
use placement::Placement;
use result::Comparison;
use suites::{Field, SUITES, Suite};

/// What `compare` is asked to do.
#[derive(clap::Args)]
pub struct Options {
    /// Comparisons: redis-default, default-set, data-types, one-client, cores, latency, footprint, replicated, clients. All when none is named.
    suites: Vec<String>,
    #[command(flatten)]
    place: Place,
    /// A peer: the program of a Redis or Valkey, or NAME=HOST:PORT of any RESP server that runs already (a million keys
    /// are set on it). Several may be given. Without it: redis-server, valkey-server and etcd, where they are installed.
    #[arg(long)]
    peer: Vec<String>,
    /// Who sends the requests, where both can; several are measured in the same rounds.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "load")]
    client: Vec<Client>,
    /// Rounds; each runs every workload once on every server.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    rounds: u64,
    /// Only workloads whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// One round of a hundredth of the requests: shows that everything runs, measures nothing.
    #[arg(long)]
    quick: bool,
    /// Without our own server: only peers.
    #[arg(long)]
    peers_only: bool,
    /// Directory for the results, one JSON file for each comparison; `slotcore-bench report` reads them.
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Options {
    fn rounds(&self) -> u64 {
        if self.quick { 1 } else { self.rounds }
    }

    /// How many times less is done.
    fn scale(&self) -> u32 {
        if self.quick { 100 } else { 1 }
    }
}

/// Names of all comparisons, in the order they run in.
pub fn names() -> impl Iterator<Item = &'static str> {
    SUITES.iter().map(|suite| suite.name)
}

/// The place of a comparison among them; the last for one that is not known.
pub fn order(suite: &str) -> usize {
    names().position(|name| name == suite).unwrap_or(usize::MAX)
}

/// Runs the comparisons and prints their tables.
///
/// # Errors
/// A program is missing or does not start; any reply was an error; results cannot be written.
pub fn run(options: &Options) -> io::Result<()> {
    let chosen: Vec<&Suite> = match &options.suites[..] {
        [] => SUITES.iter().collect(),
        names => names
            .iter()
            .map(|name| suites::by_name(name))
            .collect::<Result<_, _>>()
            .map_err(io::Error::other)?,
    };
    let rivals = Rivals::find(&options.peer)?;
    if let Some(dir) = &options.out {
        fs::create_dir_all(dir)
            .map_err(|e| io::Error::new(e.kind(), format!("cannot make the directory {}: {e}", dir.display())))?;
    }
    for suite in chosen {
        let began = Instant::now();
        let comparison = compare(options, &rivals, suite)?;
        eprintln!("{}: {:.0} s", suite.name, began.elapsed().as_secs_f64());
        output::print(&table::markdown(&comparison))?;
        if let Some(dir) = &options.out {
            let path = dir.join(format!("compare-{}.json", suite.name));
            output::save(&path, &comparison.to_json())?;
        }
    }
    Ok(())
}

fn compare(options: &Options, rivals: &Rivals, suite: &Suite) -> io::Result<Comparison> {
    let cpus = allowed_cpus()?;
    let of_cores = suite.stages.iter().any(|stage| stage.field == Field::Cores);
    let placement = if of_cores {
        Placement::two_cores(&cpus)
    } else {
        Placement::one_core(&cpus)
    };
    let watch = Watch::begin();
    let mut comparison = Comparison {
        kind: result::KIND.to_owned(),
        format: result::FORMAT,
        suite: suite.name.to_owned(),
        version: suite.version,
        title: suite.title.to_owned(),
        about: suite.about.to_owned(),
        machine: Machine::here(&options.place.dir),
        rounds: options.rounds(),
        quick: options.quick,
        placement: placement.line(),
        servers: Vec::new(),
        notes: rivals.notes.clone(),
        tables: Vec::new(),
    };
    for stage in suite.stages {
        let mut contestants = rivals.of(stage.field);
        contestants.retain(|one| !(options.peers_only && one.is_slotcore()));
        if contestants.is_empty() {
            comparison.notes.push(format!("{}: no server to measure.", stage.title));
            continue;
        }
        let placement = match stage.field.waits_for_device() {
            true => placement.beside_a_device(),
            false => placement.clone(),
        };
        let mut table = if let Field::Footprint(filled) = stage.field {
            footprint::measure(options, filled, &contestants, &placement, &mut comparison.servers)?
        } else {
            rounds::measure(options, suite, stage, &contestants, &placement, &mut comparison.servers)?
        };
        table.title = stage.title.to_owned();
        let baseline = match stage.field {
            Field::Nodes(_) => contestants.last(),
            _ => contestants.iter().find(|one| !one.is_slotcore()),
        };
        table.baseline = baseline.filter(|_| contestants.len() > 1).map(|one| one.name());
        comparison.tables.push(table);
    }
    comparison.machine.stolen = Some(watch.end());
    Ok(comparison)
}
