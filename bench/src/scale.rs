//! `slotcore-bench scale`: what thousands of nodes would cost, worked out from measured constants, and checked by a
//! simulation of placement, heartbeats and failover. `docs/scaling.md` holds what it prints.

mod constants;
mod failover;
mod heartbeats;
mod model;
mod placement;
mod recovery;
mod tables;

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::output;
use crate::report::markers;
use constants::Constants;

/// What `scale` is asked to do.
#[derive(clap::Args)]
pub struct Options {
    /// Directory with results of `compare redis-default footprint --out`: processor time and memory are taken from there.
    /// Without it they are those written in the program.
    #[arg(long)]
    results: Option<PathBuf>,
    /// Nodes of the simulation: two or more in each of three zones.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(6..=10_000))]
    nodes: u32,
    /// Cores of a node in it.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=256))]
    cores: u32,
    /// The same seed gives the same figures.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A page whose tables are replaced, between `<!-- bench: NAME -->` and `<!-- bench: end -->`: `constants`, `model` and
    /// `simulation`.
    #[arg(long)]
    update: Option<PathBuf>,
}

/// Works out the model, runs the simulation, and prints both.
///
/// # Errors
/// Results that cannot be read; a placement or recovery that broke its rules; figures far from the model's.
pub fn run(options: &Options) -> io::Result<()> {
    let constants = match &options.results {
        Some(dir) => Constants::measured(dir)?,
        None => Constants::default(),
    };
    let simulated =
        tables::simulate(&constants, options.nodes, options.cores, options.seed).map_err(io::Error::other)?;
    let table = |name: &str| match name {
        "constants" => Some(tables::constants(&constants)),
        "model" => Some(tables::model(&constants)),
        "simulation" => Some(tables::simulation(&simulated)),
        _ => None,
    };
    let Some(page) = &options.update else {
        let all = ["constants", "model", "simulation"]
            .iter()
            .filter_map(|name| table(name));
        return output::print(&all.collect::<Vec<_>>().join("\n"));
    };
    let before = fs::read_to_string(page)
        .map_err(|e| io::Error::new(e.kind(), format!("cannot read {}: {e}", page.display())))?;
    let after = markers::replace(&before, table).map_err(io::Error::other)?;
    output::save(page, &after.text)
}
