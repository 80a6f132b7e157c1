//! `slotcore-bench larger`: a data set ten times the memory it may take: how much slower than in memory, what is written
//! and stored for a byte, whether the memory holds, what background work does to latencies, and how long a restart takes.

mod round;
mod shown;
mod site;

use std::io;
use std::path::PathBuf;

use serde::Serialize;

use crate::Place;
use crate::machine::Machine;
use crate::machine::stolen::Watch;
use crate::output;
use crate::report::tables::{self, Tables};
use round::Round;

/// Bytes of a key: `key:` and 12 digits.
const KEY_BYTES: u64 = 16;
/// Bytes in a MiB.
const MIB: u64 = 1 << 20;
/// How much shorter a quick run's measurements are, and how much less is replayed.
const QUICK: u64 = 40;
/// `--memory` of a quick run, in MiB, and by how much its data are less than so many times as much: still too many for it.
const QUICK_MEMORY_MIB: u64 = 32;
const QUICK_DATA: u64 = 4;

/// What `larger` is asked to do.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    place: Place,
    /// `--memory` of the server, in MiB.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(64..))]
    memory_mib: u64,
    /// How many times as much data.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1000))]
    times: u64,
    /// Bytes of a value.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    value_bytes: u32,
    /// Keys of 100 bytes, with their values, whose log a restart replays.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    replayed_keys: u64,
    /// How long each measurement of a rate or of latencies takes.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Rounds; each takes some minutes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    rounds: u64,
    /// One short round with little data: shows that everything runs, measures nothing.
    #[arg(long)]
    quick: bool,
    /// Write the figures to this file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Options {
    fn scale(&self) -> u64 {
        if self.quick { QUICK } else { 1 }
    }

    /// `--memory` of the server, in MiB.
    fn memory_mib(&self) -> u64 {
        if self.quick { QUICK_MEMORY_MIB } else { self.memory_mib }
    }

    /// Keys of the large data set.
    fn keys(&self) -> u64 {
        let less = if self.quick { QUICK_DATA } else { 1 };
        (self.memory_mib() * MIB * self.times / less / (KEY_BYTES + u64::from(self.value_bytes))).max(1)
    }

    /// Bytes of their keys and values.
    fn data_bytes(&self) -> f64 {
        (self.keys() * (KEY_BYTES + u64::from(self.value_bytes))) as f64
    }

    fn seconds(&self) -> f64 {
        self.seconds / self.scale() as f64
    }
}

/// A result file.
#[derive(Serialize)]
struct Larger<'a> {
    #[serde(flatten)]
    shown: Tables,
    machine: Machine,
    rounds: &'a [Round],
}

/// Runs all rounds, prints the tables of medians, and writes them as JSON if asked.
///
/// # Errors
/// The server does not start, answers with an error or has lost a key; the disk is full.
pub fn run(options: &Options) -> io::Result<()> {
    let watch = Watch::begin();
    let mut rounds = Vec::new();
    let count = if options.quick { 1 } else { options.rounds };
    for number in 1..=count {
        rounds.push(round::measure(options, &format!("round {number} of {count}"))?);
    }
    let stolen = watch.end();
    let tables = shown::tables(options, &rounds);
    for table in &tables {
        output::print(&format!("{}\n", table.markdown()))?;
    }
    let Some(path) = &options.json else { return Ok(()) };
    let machine = Machine {
        stolen: Some(stolen),
        ..Machine::here(&options.place.dir)
    };
    let larger = Larger {
        shown: Tables {
            kind: tables::KIND.to_owned(),
            format: tables::FORMAT,
            name: "larger".to_owned(),
            title: "Larger than memory".to_owned(),
            about: format!("{} {}.", shown::about(options), machine.line()),
            commit: machine.commit.clone(),
            quick: options.quick,
            tables,
        },
        machine,
        rounds: &rounds,
    };
    let text = serde_json::to_string_pretty(&larger).map_err(io::Error::other)?;
    output::save(path, &(text + "\n"))
}
