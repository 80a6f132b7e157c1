//! What it costs to hold keys: memory, bytes written, and the time of a restart with their log.

use std::fs;
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Options;
use super::clients::fill;
use super::field::Contestant;
use super::placement::Placement;
use super::result::{Figure, Footprint, Table};
use super::rounds::{Servers, note};
use super::suites::Filled;
use super::workloads::KEYS;
use crate::peer::Peer;

/// How long a server may be quiet about its data after a restart.
const PATIENCE: Duration = Duration::from_secs(120);
/// Time between two questions after a restart.
const EVERY: Duration = Duration::from_millis(2);

/// What one round gave.
struct Sample {
    memory_per_key: f64,
    written_per_byte: f64,
    restart_s: Option<f64>,
}

/// Loads what is asked for on each of `contestants` in each round, kills it, and starts it again.
///
/// # Errors
/// A server does not start, refuses a key, or has lost one.
pub fn measure(
    options: &Options,
    filled: Filled,
    contestants: &[Contestant<'_>],
    placement: &Placement,
    servers: &mut Servers,
) -> io::Result<Table> {
    let mut samples: Vec<Vec<Sample>> = contestants.iter().map(|_| Vec::new()).collect();
    for round in 0..options.rounds() {
        for (contestant, samples) in contestants.iter().zip(&mut samples) {
            eprintln!(
                "footprint, round {} of {}: {}",
                round + 1,
                options.rounds(),
                contestant.name()
            );
            let data = options.place.dir.join("footprint");
            // Of a run that was cut short.
            let _ = fs::remove_dir_all(&data);
            samples.push(sample(options, filled, contestant, placement, servers, &data)?);
            let _ = fs::remove_dir_all(&data);
        }
    }
    let footprint = |(contestant, samples): (&Contestant<'_>, &Vec<Sample>)| Footprint {
        server: contestant.name(),
        memory_per_key: Figure::of(samples.iter().map(|s| s.memory_per_key)),
        written_per_byte: Figure::of(samples.iter().map(|s| s.written_per_byte)),
        restart_s: Figure::of(samples.iter().filter_map(|s| s.restart_s)),
    };
    Ok(Table {
        footprints: contestants.iter().zip(&samples).map(footprint).collect(),
        ..Table::default()
    })
}

fn sample(
    options: &Options,
    filled: Filled,
    contestant: &Contestant<'_>,
    placement: &Placement,
    servers: &mut Servers,
    data: &Path,
) -> io::Result<Sample> {
    let keys = KEYS / u64::from(options.scale());
    let start = || Peer::start(contestant.kind, &options.place.server, data, &placement.servers);
    let peer = start()?;
    note(servers, &contestant.name(), &peer)?;
    let (memory, written) = (peer.rss_bytes()?, peer.written_bytes()?);
    fill(&peer, contestant, placement, keys, filled.request())?;
    let memory = peer.rss_bytes()?.saturating_sub(memory);
    let written = peer.written_bytes()?.saturating_sub(written);
    let mut sample = Sample {
        memory_per_key: memory as f64 / keys as f64,
        written_per_byte: written as f64 / (keys * filled.bytes()) as f64,
        restart_s: None,
    };
    if !contestant.kind.keeps_data() {
        peer.stop()?;
        return Ok(sample);
    }
    let durable = contestant.kind.is_durable();
    // What is not flushed at every write is given the chance to be.
    if durable { peer.kill() } else { peer.stop() }?;
    let began = Instant::now();
    let peer = start()?;
    let found = loop {
        let reply = peer.ask(&["DBSIZE"])?;
        // Until the data is there it says so in an error.
        match reply.parse::<u64>() {
            Ok(found) => break found,
            Err(_) if began.elapsed() > PATIENCE => {
                return Err(io::Error::other(format!(
                    "{} does not come back: {reply}",
                    contestant.name()
                )));
            }
            Err(_) => sleep(EVERY),
        }
    };
    sample.restart_s = Some(began.elapsed().as_secs_f64());
    peer.kill()?;
    let wanted = filled.keys(keys);
    if found != wanted {
        let what = format!("{} has {found} of {wanted} keys after a restart", contestant.name());
        return Err(io::Error::other(what));
    }
    Ok(sample)
}
