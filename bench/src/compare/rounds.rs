//! The rounds of a stage: each starts every server in turn on an empty directory, sets all keys, and runs every workload.
//! Interleaved, because a shared machine is faster in one minute than in the next.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::Duration;

use super::Options;
use super::clients::{Client, Sample, fill};
use super::field::Contestant;
use super::placement::Placement;
use super::result::{Figure, Line, Table};
use super::suites::{Filled, Stage, Suite};
use super::workloads::{KEYS, Workload};
use crate::floor::{By, echo};
use crate::machine::ServerFacts;
use crate::peer::Peer;

/// What servers said about themselves, by their names.
pub type Servers = Vec<(String, ServerFacts)>;

/// Runs all rounds of `stage`; adds servers that are new to `servers`.
///
/// # Errors
/// A server does not start, a client fails, any reply was an error.
pub fn measure(
    options: &Options,
    suite: &Suite,
    stage: &Stage,
    contestants: &[Contestant<'_>],
    placement: &Placement,
    servers: &mut Servers,
) -> io::Result<Table> {
    let workloads: Vec<&Workload> = stage
        .workloads
        .iter()
        .filter(|workload| workload.name.contains(&options.only))
        .collect();
    let clients: &[Client] = match (stage.both_clients, workloads.iter().any(|w| w.is_timed())) {
        (true, _) => &[Client::Load, Client::RedisBenchmark],
        // redis-benchmark has no open loop, and no way to core ports that stand on one machine.
        (false, true) => &[Client::Load],
        (false, false) if contestants.iter().any(|one| one.by_nodes || !one.kind.speaks_resp()) => &[Client::Load],
        (false, false) => &options.client[..],
    };
    let floors = floors(options, placement, &workloads)?;
    let cells = workloads.len() * clients.len() * contestants.len();
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); cells];
    for round in 0..options.rounds() {
        for (index, contestant) in contestants.iter().enumerate() {
            let name = contestant.name();
            eprintln!("{}, round {} of {}: {name}", suite.name, round + 1, options.rounds());
            let data = options.place.dir.join("compare");
            // Of a run that was cut short.
            let _ = fs::remove_dir_all(&data);
            let peer = Peer::start(contestant.kind, &options.place.server, &data, &placement.servers)?;
            if contestant.kind.speaks_resp() {
                note(servers, &name, &peer)?;
            }
            if stage.field.has_keys() {
                let keys = KEYS / u64::from(options.scale());
                fill(&peer, contestant, placement, keys, Filled::Keys.request())?;
            }
            for (at, workload) in workloads.iter().enumerate() {
                for (number, client) in clients.iter().enumerate() {
                    let sample = client.measure(&peer, contestant, placement, workload, options.scale())?;
                    samples[(at * clients.len() + number) * contestants.len() + index].push(sample);
                }
            }
            peer.stop()?;
            let _ = fs::remove_dir_all(&data);
        }
    }
    let mut table = Table::default();
    let mut samples = samples.into_iter();
    for workload in &workloads {
        let floor = floors.get(&(workload.connections, workload.pipeline)).copied();
        for client in clients {
            for contestant in contestants {
                let of_cell = samples.next().unwrap_or_default();
                table
                    .lines
                    .extend(line(workload, *client, &contestant.name(), of_cell, floor));
            }
        }
    }
    Ok(table)
}

/// Asks a server what it is, once.
pub fn note(servers: &mut Servers, name: &str, peer: &Peer) -> io::Result<()> {
    if !servers.iter().any(|known| known.0 == name) {
        servers.push((name.to_owned(), ServerFacts::ask(peer.addr, None)?));
    }
    Ok(())
}

/// Echoes per second by connections and pipeline, where servers have a processor of their own as the echo has.
fn floors(options: &Options, placement: &Placement, workloads: &[&Workload]) -> io::Result<BTreeMap<(u32, u32), f64>> {
    let mut floors = BTreeMap::new();
    if placement.shared || placement.servers.len() > 1 {
        return Ok(floors);
    }
    let time = Duration::from_secs(1) / options.scale();
    for workload in workloads.iter().filter(|workload| workload.has_floor()) {
        let shape = (workload.connections, workload.pipeline);
        if let std::collections::btree_map::Entry::Vacant(floor) = floors.entry(shape) {
            floor.insert(echo(By::Ring, shape.0 as usize, shape.1 as usize, time)?.rate);
        }
    }
    Ok(floors)
}

/// The medians of a cell; none when it has no samples.
fn line(
    workload: &Workload,
    client: Client,
    server: &str,
    mut samples: Vec<Sample>,
    floor: Option<f64>,
) -> Option<Line> {
    let of = |get: fn(&Sample) -> Option<f64>| Figure::of(samples.iter().filter_map(get));
    let rate = of(|s| Some(s.rate))?;
    let mut line = Line {
        workload: workload.name.to_owned(),
        command: workload.command.to_owned(),
        connections: workload.connections,
        pipeline: workload.pipeline,
        server: server.to_owned(),
        client: client.name().to_owned(),
        rate,
        p50_us: of(|s| Some(s.p50_us))?,
        p99_us: of(|s| Some(s.p99_us))?,
        p999_us: of(|s| s.p999_us),
        cpu_us: of(|s| s.cpu_us),
        client_busy_percent: of(|s| Some(s.client_busy_percent))?,
        client_us: of(|s| Some(s.client_us))?,
        floor_percent: floor
            .filter(|_| workload.has_floor())
            .map(|floor| 100.0 * rate.median / floor),
        ..Line::default()
    };
    samples.sort_by(|a, b| a.p99_us.total_cmp(&b.p99_us));
    let middle = samples.swap_remove(samples.len() / 2);
    line.curve = middle.curve;
    if workload.is_open() {
        (line.series, line.background_s) = (middle.series, middle.background_s);
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::super::workloads::spread;
    use super::*;

    #[test]
    fn the_median_is_taken_of_each_figure() {
        let sample = |rate, cpu_us: Option<f64>| Sample {
            rate,
            cpu_us,
            p99_us: rate,
            curve: vec![(99.0, rate)],
            ..Sample::default()
        };
        let workload = spread("GET P=1", "get", 1, 1);
        let samples = vec![sample(1.0, Some(9.0)), sample(3.0, Some(8.0)), sample(2.0, None)];
        let line = line(&workload, Client::Load, "x", samples, Some(4.0)).unwrap();
        assert_eq!((line.rate.median, line.cpu_us.unwrap().median), (2.0, 8.5));
        assert_eq!((line.p999_us, line.floor_percent), (None, Some(50.0)));
        assert_eq!(line.curve, [(99.0, 2.0)]);
        assert!(super::line(&workload, Client::Load, "x", Vec::new(), None).is_none());
    }
}
