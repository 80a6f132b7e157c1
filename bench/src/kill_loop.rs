//! `kill -9` under load: what was acknowledged in mode `always` is there after each restart, and the state read twice is
//! the same state.

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use slotcore_rt::rng::SeededRng;

use crate::Place;
use crate::peer::{Kind, Peer, SERVER_CPU};

/// Connections writing at the same time.
const WRITERS: u64 = 4;
/// Commands a writer sends before it reads the replies.
const PIPELINE: u64 = 16;
/// Keys of each writer.
const KEYS: u64 = 50;

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
    /// Makes a run repeatable as far as a kill can be.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What one writer knows of its keys: the last value acknowledged, and the last one sent. Values only rise.
#[derive(Default, Clone)]
struct Writer {
    number: u64,
    next: u64,
    acknowledged: HashMap<u64, u64>,
    sent: HashMap<u64, u64>,
    /// `INCR`s of the writer's counter: acknowledged and sent.
    counted: (u64, u64),
    acknowledged_total: u64,
}

impl Writer {
    /// Writes until the connection breaks.
    fn write_until_killed(&mut self, addr: SocketAddr) {
        let Ok(stream) = TcpStream::connect(addr) else {
            return;
        };
        let Ok(mut out) = stream.try_clone() else { return };
        let mut replies = BufReader::new(stream).lines();
        loop {
            let mut request = String::new();
            let mut batch = Vec::new();
            for _ in 0..PIPELINE {
                self.next += 1;
                let key = self.next % KEYS;
                request += &format!("SET w{}:{key} {}\r\nINCR c{}\r\n", self.number, self.next, self.number);
                batch.push((key, self.next));
                self.sent.insert(key, self.next);
            }
            self.counted.1 += PIPELINE;
            if out.write_all(request.as_bytes()).is_err() {
                return;
            }
            for (key, value) in batch {
                match replies.next() {
                    Some(Ok(line)) if line == "+OK" => self.acknowledged.insert(key, value),
                    Some(Ok(line)) => panic!("SET was answered {line}"),
                    _ => return,
                };
                match replies.next() {
                    Some(Ok(line)) if line.starts_with(':') => self.counted.0 += 1,
                    Some(Ok(line)) => panic!("INCR was answered {line}"),
                    _ => return,
                }
                self.acknowledged_total += 2;
            }
        }
    }

    /// Compares with what the server holds now, and goes on from there.
    fn check(&mut self, peer: &Peer) -> io::Result<()> {
        for key in 0..KEYS {
            let (low, high) = (
                self.acknowledged.get(&key).copied().unwrap_or(0),
                self.sent.get(&key).copied().unwrap_or(0),
            );
            let found = number(&peer.ask(&["GET", &format!("w{}:{key}", self.number)])?);
            if found < low || found > high {
                let what = format!("w{}:{key} is {found}, acknowledged {low}, sent {high}", self.number);
                return Err(io::Error::other(what));
            }
            self.acknowledged.insert(key, found);
        }
        let found = number(&peer.ask(&["GET", &format!("c{}", self.number)])?);
        let (low, high) = self.counted;
        if found < low || found > high {
            return Err(io::Error::other(format!(
                "c{} is {found}, acknowledged {low}, sent {high}",
                self.number
            )));
        }
        self.counted = (found, found);
        Ok(())
    }
}

/// The number in a reply; 0 for none.
fn number(reply: &str) -> u64 {
    reply.parse().unwrap_or(0)
}

pub fn run(options: &Options) -> io::Result<()> {
    let mut rng = SeededRng::new(options.seed);
    let data = options.place.dir.join("kill-loop");
    let _ = fs::remove_dir_all(&data);
    let kind = Kind::Slotcore {
        durability: "always",
        cores: options.cores,
    };
    let start = || Peer::start(kind, &options.place.server, &data, &[SERVER_CPU]);
    let mut writers: Vec<Writer> = (0..WRITERS)
        .map(|number| Writer {
            number,
            ..Writer::default()
        })
        .collect();
    for round in 1..=options.rounds {
        let peer = start()?;
        let addr = peer.addr;
        writers = thread::scope(|scope| {
            let running: Vec<_> = writers
                .into_iter()
                .map(|mut writer| {
                    scope.spawn(move || {
                        writer.write_until_killed(addr);
                        writer
                    })
                })
                .collect();
            thread::sleep(Duration::from_millis(rng.range(20..150)));
            peer.kill()?;
            let ended = running
                .into_iter()
                .map(|w| w.join().map_err(|_| io::Error::other("a writer met an error reply")));
            ended.collect::<io::Result<Vec<_>>>()
        })?;
        let peer = start()?;
        for writer in &mut writers {
            writer.check(&peer)?;
        }
        let first = peer.ask(&["DEBUG", "DIGEST"])?;
        peer.kill()?;
        let peer = start()?;
        let second = peer.ask(&["DEBUG", "DIGEST"])?;
        if first != second {
            return Err(io::Error::other(format!(
                "round {round}: digest {first} became {second}"
            )));
        }
        peer.kill()?;
        if round % 20 == 0 {
            eprintln!("{round} of {} rounds", options.rounds);
        }
    }
    let total: u64 = writers.iter().map(|writer| writer.acknowledged_total).sum();
    println!("rounds={} acknowledged={total} lost=0 digests=equal", options.rounds);
    fs::remove_dir_all(&data)
}
