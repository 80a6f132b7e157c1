//! `kill -9` under load: what was acknowledged in mode `always` is there after each restart, and the state read twice is
//! the same state.
//!
//! With `--memory` the data can be many times what the server may keep in memory: then it is killed amid flushes and merges.

mod writer;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use slotcore_rt::rng::SeededRng;

use crate::Place;
use crate::output;
use crate::peer::{Kind, Peer, SERVER_CPU};
use writer::Writer;

/// Connections writing at the same time.
const WRITERS: u64 = 4;
/// A server lives at least so long, in milliseconds.
const LIFE_MS_MIN: u64 = 20;

/// What `kill-loop` is asked to do.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    place: Place,
    /// How often the server is killed.
    #[arg(long, default_value_t = 200)]
    rounds: u64,
    /// Cores of the server.
    #[arg(long, default_value_t = 1)]
    cores: u16,
    /// The server's memory, as its option of this name has it.
    #[arg(long)]
    memory: Option<String>,
    /// Keys.
    #[arg(long, default_value_t = 200)]
    keys: u64,
    /// Bytes of a value on average; they have up to twice as many.
    #[arg(long, default_value_t = 16)]
    value_bytes: usize,
    /// Milliseconds of load before a kill, at most.
    #[arg(long, default_value_t = 150, value_parser = clap::value_parser!(u64).range(LIFE_MS_MIN + 1..))]
    life_ms: u64,
    /// Makes a run repeatable as far as a kill can be.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Lets all writers do the same at once.
fn all(
    writers: Vec<Writer>,
    addr: SocketAddr,
    work: fn(&mut Writer, SocketAddr) -> io::Result<()>,
    meanwhile: impl FnOnce() -> io::Result<()>,
) -> io::Result<Vec<Writer>> {
    thread::scope(|scope| {
        let running: Vec<_> = writers
            .into_iter()
            .map(|mut writer| scope.spawn(move || work(&mut writer, addr).map(|()| writer)))
            .collect();
        meanwhile()?;
        let ended = running.into_iter().map(|writer| match writer.join() {
            Ok(ended) => ended,
            Err(_) => Err(io::Error::other("a writer panicked")),
        });
        ended.collect()
    })
}

fn check(writers: Vec<Writer>, peer: &Peer) -> io::Result<Vec<Writer>> {
    all(writers, peer.addr, Writer::check, || Ok(()))
}

/// What was seen of the server's memory and starts.
#[derive(Default)]
struct Seen {
    rss_bytes_max: u64,
    start_max: Duration,
}

impl Seen {
    fn memory_of(&mut self, peer: &Peer) -> io::Result<()> {
        self.rss_bytes_max = self.rss_bytes_max.max(peer.rss_bytes()?);
        Ok(())
    }
}

/// Kills the server as often as asked.
///
/// # Errors
/// It does not start, refuses a write, or has lost what it acknowledged.
pub fn run(options: &Options) -> io::Result<()> {
    let mut rng = SeededRng::new(options.seed);
    let data = options.place.dir.join("kill-loop");
    let _ = fs::remove_dir_all(&data);
    let kind = Kind::Slotcore {
        durability: "always",
        cores: options.cores,
        memory: options.memory.as_deref(),
    };
    let mut seen = Seen::default();
    let start = |seen: &mut Seen| {
        let began = Instant::now();
        let peer = Peer::start(kind, &options.place.server, &data, &[SERVER_CPU])?;
        seen.start_max = seen.start_max.max(began.elapsed());
        Ok::<_, io::Error>(peer)
    };
    let keys_each = options.keys.div_ceil(WRITERS).max(1);
    let mut writers: Vec<Writer> = (0..WRITERS)
        .map(|number| Writer::new(number, options.seed, keys_each, options.value_bytes))
        .collect();
    let peer = start(&mut seen)?;
    writers = all(writers, peer.addr, Writer::fill, || Ok(()))?;
    seen.memory_of(&peer)?;
    peer.kill()?;
    for round in 1..=options.rounds {
        let in_round = |error: io::Error| io::Error::other(format!("round {round}: {error}"));
        let peer = start(&mut seen).map_err(in_round)?;
        let life = Duration::from_millis(rng.range(LIFE_MS_MIN..options.life_ms));
        let addr = peer.addr;
        let kill = || {
            thread::sleep(life);
            seen.memory_of(&peer)?;
            peer.kill()
        };
        writers = all(writers, addr, Writer::write_until_killed, kill).map_err(in_round)?;
        let peer = start(&mut seen).map_err(in_round)?;
        writers = check(writers, &peer).map_err(in_round)?;
        seen.memory_of(&peer)?;
        // A digest is of what is in memory; of files the values themselves are read again.
        let digest = |peer: &Peer| match options.memory {
            None => peer.ask(&["DEBUG", "DIGEST"]),
            Some(_) => Ok(String::new()),
        };
        let first = digest(&peer)?;
        peer.kill()?;
        let peer = start(&mut seen).map_err(in_round)?;
        let second = digest(&peer)?;
        if first != second {
            return Err(in_round(io::Error::other(format!("digest {first} became {second}"))));
        }
        if options.memory.is_some() {
            writers = check(writers, &peer).map_err(in_round)?;
            seen.memory_of(&peer)?;
        }
        peer.kill()?;
        if round % 20 == 0 || options.memory.is_some() {
            let (rss, start) = (seen.rss_bytes_max >> 20, seen.start_max.as_millis());
            eprintln!(
                "{round} of {} rounds, largest RSS {rss} MiB, longest start {start} ms",
                options.rounds
            );
        }
    }
    let total: u64 = writers.iter().map(|writer| writer.acknowledged_total).sum();
    output::print(&format!(
        "rounds={} acknowledged={total} lost=0 digests=equal rss_max_mib={} start_max_ms={}\n",
        options.rounds,
        seen.rss_bytes_max >> 20,
        seen.start_max.as_millis()
    ))?;
    fs::remove_dir_all(&data)
}
