//! [`Round`]: everything once: in memory first, then with ten times the memory.

use std::io;
use std::time::Duration;

use serde::Serialize;

use super::site::{Asked, CONNECTIONS, Site};
use super::{KEY_BYTES, MIB, Options};
use crate::floor::reads;
use crate::load::keys::Distribution;
use crate::load::report::Row;

/// Keys that stay in memory while others come and go.
const HOT_KEYS: u64 = 20_000;
/// Requests per second whose latencies are measured: a fifth of what a core takes at pipeline 1.
const RATE: f64 = 20_000.0;
/// How many times as long as others some measurements take.
const LONG: f64 = 4.0;
/// `--memory` that holds everything.
const PLENTY: &str = "12gb";
/// Bytes of the values of keys whose log is replayed: 100 with the key.
const REPLAYED_VALUE_BYTES: u32 = 100 - KEY_BYTES as u32;
/// The size of the file for the device's own reads.
const FLOOR_BYTES: usize = 1 << 30;

/// A rate and the latencies that went with it.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Answers {
    /// Per second.
    pub rate: f64,
    /// Half were below, in microseconds.
    pub p50_us: f64,
    /// 99 % were below.
    pub p99_us: f64,
    /// 99.9 % were below.
    pub p999_us: f64,
}

impl From<Row> for Answers {
    fn from(row: Row) -> Self {
        Self {
            rate: row.rate,
            p50_us: row.p50_us,
            p99_us: row.p99_us,
            p999_us: row.p999_us,
        }
    }
}

/// The figures of one round. Pairs are in memory, and larger than memory.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Round {
    /// GET, zipfian, pipeline 1.
    pub zipfian_1: [Answers; 2],
    /// GET, zipfian, pipeline 16.
    pub zipfian_16: [Answers; 2],
    /// GET of hot keys, pipeline 16.
    pub hot_16: [Answers; 2],
    /// GET, uniform, as many connections as [`reads::DEPTHS`] has depths.
    pub uniform: Vec<Answers>,
    /// The device's own reads of a page at these depths.
    pub device: Vec<f64>,
    /// Reads of files for each key that was found there.
    pub reads_per_found: f64,
    /// GET of keys that are not there.
    pub absent: Answers,
    /// Percent of lookups of absent keys that read nothing.
    pub absent_filtered_percent: f64,
    /// SETs a second of the load.
    pub loaded: [f64; 2],
    /// SETs a second when every key is set again.
    pub overwritten: f64,
    /// Bytes sent to the device for each byte of key and value in that.
    pub written_per_byte: f64,
    /// Bytes of files for each byte of key and value, when settled.
    pub files_per_byte: f64,
    /// Bytes of the directory, log included, for each byte of key and value.
    pub disk_per_byte: f64,
    /// The most memory while it was loaded, set again and read, in parts of `--memory`.
    pub peak: f64,
    /// 90 % GET, 10 % SET of hot keys at a fixed rate: in memory when nothing else is done, and while others set all keys
    /// again; larger than memory the same, and while a backup is made.
    pub at_rate: [Answers; 5],
    /// Seconds of the backup.
    pub backup_s: f64,
    /// Seconds from start to data after a kill.
    pub restart_s: f64,
    /// The same with [`Options::replayed_keys`] in memory, from the log.
    pub replay_s: f64,
}

/// Measures one round; `which` tells the reader of standard error.
///
/// # Errors
/// The server does not start, answers with an error or has lost a key; the disk is full.
pub fn measure(options: &Options, which: &str) -> io::Result<Round> {
    let mut round = Round::default();
    let say = |what: &str| eprintln!("larger, {which}: {what}");
    let floor_bytes = (FLOOR_BYTES / options.scale() as usize).next_multiple_of(MIB as usize);
    say("the device");
    let device = reads::reads(
        &options.place.dir,
        floor_bytes,
        Duration::from_secs_f64(options.seconds()),
    )?;
    round.device = device.iter().map(|reads| reads.rate).collect();
    say("in memory");
    in_memory(options, &mut round)?;
    say("larger than memory");
    larger(options, &mut round, &say)?;
    say("replay");
    round.replay_s = replay(options)?;
    Ok(round)
}

fn in_memory(options: &Options, round: &mut Round) -> io::Result<()> {
    let site = Site::start(&options.place, "larger-memory", PLENTY)?;
    round.loaded[0] = site.fill(options.keys(), options.value_bytes, 1)?;
    site.settle()?;
    round.zipfian_1[0] = site.ask(&zipfian(options, 1))?.into();
    round.zipfian_16[0] = site.ask(&zipfian(options, 16))?.into();
    round.hot_16[0] = site.ask(&hot(options))?.into();
    round.at_rate[0] = site.ask(&long_at_rate(options))?.into();
    round.at_rate[1] = while_others_set(options, &site)?.into();
    site.end()
}

fn larger(options: &Options, round: &mut Round, say: &dyn Fn(&str)) -> io::Result<()> {
    let mut site = Site::start(&options.place, "larger-files", &format!("{}mb", options.memory_mib()))?;
    site.watch_memory()?;
    round.loaded[1] = site.fill(options.keys(), options.value_bytes, 1)?;
    site.settle()?;
    round.zipfian_1[1] = site.ask(&zipfian(options, 1))?.into();
    round.zipfian_16[1] = site.ask(&zipfian(options, 16))?.into();
    round.hot_16[1] = site.ask(&hot(options))?.into();
    cold_reads(options, round, &site)?;

    say("setting every key again");
    let written = site.peer().written_bytes()?;
    round.overwritten = site.fill(options.keys(), options.value_bytes, 2)?;
    site.settle()?;
    round.written_per_byte = (site.peer().written_bytes()? - written) as f64 / options.data_bytes();
    round.files_per_byte = site.info("store", "file_bytes")? / options.data_bytes();
    round.disk_per_byte = site.disk_bytes()? as f64 / options.data_bytes();
    round.peak = site.peak_bytes() as f64 / (options.memory_mib() * MIB) as f64;

    say("latencies");
    round.at_rate[2] = site.ask(&long_at_rate(options))?.into();
    round.at_rate[3] = while_others_set(options, &site)?.into();
    site.settle()?;
    round.at_rate[4] = while_it_is_copied(options, &site, &mut round.backup_s)?.into();

    say("restart");
    round.restart_s = site.restart()?;
    let uniform = Asked {
        distribution: Distribution::Uniform,
        ..zipfian(options, 16)
    };
    let missing = site.ask(&uniform)?.nulls;
    if missing > 0 {
        return Err(io::Error::other(format!(
            "{missing} of the keys asked for are gone after a restart"
        )));
    }
    site.end()
}

/// Uniform reads at the depths of the floor, and what a lookup costs in reads of files.
fn cold_reads(options: &Options, round: &mut Round, site: &Site) -> io::Result<()> {
    let reads_and_found = || {
        let read = site.info("store", "cold_block_reads")? + site.info("store", "cold_blob_reads")?;
        io::Result::Ok((read, site.info("store", "cold_lookups_found")?))
    };
    let before = reads_and_found()?;
    for connections in reads::DEPTHS {
        let asked = Asked {
            connections: connections as u32,
            distribution: Distribution::Uniform,
            ..zipfian(options, 1)
        };
        round.uniform.push(site.ask(&asked)?.into());
    }
    let after = reads_and_found()?;
    round.reads_per_found = (after.0 - before.0) / (after.1 - before.1).max(1.0);

    let lookups_and_filtered = || {
        let lookups = site.info("store", "cold_lookups")?;
        io::Result::Ok((lookups, site.info("store", "cold_lookups_filtered")?))
    };
    let before = lookups_and_filtered()?;
    let absent = Asked {
        request: "GET absent:{number}",
        keys: 1_000_000_000,
        distribution: Distribution::Uniform,
        ..zipfian(options, 16)
    };
    round.absent = site.ask(&absent)?.into();
    let after = lookups_and_filtered()?;
    round.absent_filtered_percent = 100.0 * (after.1 - before.1) / (after.0 - before.0).max(1.0);
    Ok(())
}

/// Latencies of hot keys while all keys are set again, a quarter as fast as the hot ones are asked.
fn while_others_set(options: &Options, site: &Site) -> io::Result<Row> {
    let asked = long_at_rate(options);
    let others = Asked {
        request: "set",
        distribution: Distribution::Uniform,
        keys: options.keys(),
        rate: Some(RATE / 4.0),
        connections: 8,
        ..asked.clone()
    };
    std::thread::scope(|scope| {
        let others = scope.spawn(|| site.ask(&others));
        let row = site.ask(&asked);
        others.join().expect("the load generator does not panic")?;
        row
    })
}

/// Latencies of hot keys from the begin of a backup on; its time goes to `backup_s`.
fn while_it_is_copied(options: &Options, site: &Site, backup_s: &mut f64) -> io::Result<Row> {
    let asked = at_rate(options);
    std::thread::scope(|scope| {
        let backup = scope.spawn(|| site.back_up());
        let row = site.ask(&asked);
        *backup_s = backup.join().expect("waiting does not panic")?;
        row
    })
}

fn replay(options: &Options) -> io::Result<f64> {
    let keys = options.replayed_keys / options.scale();
    let mut site = Site::start(&options.place, "larger-replay", PLENTY)?;
    site.fill(keys, REPLAYED_VALUE_BYTES, 1)?;
    // The last second of what was acknowledged need not survive a kill of the machine; a kill of the process it does.
    let seconds = site.restart()?;
    site.end()?;
    Ok(seconds)
}

fn zipfian(options: &Options, pipeline: u32) -> Asked<'static> {
    Asked {
        request: "get",
        reads: 100,
        distribution: Distribution::Zipfian,
        keys: options.keys(),
        connections: CONNECTIONS,
        pipeline,
        rate: None,
        value_bytes: options.value_bytes,
        seconds: options.seconds(),
    }
}

fn hot(options: &Options) -> Asked<'static> {
    Asked {
        distribution: Distribution::Uniform,
        keys: HOT_KEYS.min(options.keys()),
        ..zipfian(options, 16)
    }
}

/// For so long that memory is flushed within it, which takes some ten seconds of writes.
fn long_at_rate(options: &Options) -> Asked<'static> {
    Asked {
        seconds: options.seconds() * LONG,
        ..at_rate(options)
    }
}

fn at_rate(options: &Options) -> Asked<'static> {
    Asked {
        request: "mixed",
        reads: 90,
        rate: Some(RATE),
        pipeline: 1,
        ..hot(options)
    }
}
