//! [`Site`]: a server of ours with a memory of its own, and what is asked of it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use slotcore_rt::thread::{self, allowed_cpus};

use crate::Place;
use crate::compare::placement::Placement;
use crate::load;
use crate::load::keys::Distribution;
use crate::load::report::Row;
use crate::peer::{Kind, Peer};

/// Connections, where nothing else is said.
pub const CONNECTIONS: u32 = 50;
/// Time between two looks at the server's memory.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Time between two questions of one who waits for the server.
const ASK_EVERY: Duration = Duration::from_millis(2);
/// The server is settled when it has written nothing in the background for this long: it rewrites more of what has garbage
/// when nothing was flushed for five seconds.
const QUIET: Duration = Duration::from_secs(8);
/// `DBSIZE` may be wrong by one in so many.
const DBSIZE_ERROR_PARTS: u64 = 20;
/// Longest wait for a server: to be settled, or to have its data after a start.
const PATIENCE: Duration = Duration::from_secs(300);

/// See the module's text.
pub struct Site {
    peer: Option<Peer>,
    program: PathBuf,
    data: PathBuf,
    memory: String,
    placement: Placement,
    peak: Peak,
}

/// One measurement.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// A workload of `load`, or a request.
    pub request: &'a str,
    /// Of `mixed`.
    pub reads: u8,
    /// How requests are spread over the first `keys` keys.
    pub distribution: Distribution,
    /// See `distribution`.
    pub keys: u64,
    /// Connections.
    pub connections: u32,
    /// Requests of each under way.
    pub pipeline: u32,
    /// Requests per second; as many as the server takes if none.
    pub rate: Option<f64>,
    /// Bytes of a value.
    pub value_bytes: u32,
    /// How long.
    pub seconds: f64,
}

impl Site {
    /// Starts a server with this `--memory` on an empty directory `name`.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(place: &Place, name: &str, memory: &str) -> io::Result<Self> {
        let data = place.dir.join(name);
        // Of a run that was cut short.
        for old in [&data, &data.with_extension("backup")] {
            let _ = fs::remove_dir_all(old);
        }
        // The server waits for the device: see there.
        let placement = Placement::one_core(&allowed_cpus()?).beside_a_device();
        let mut site = Self {
            peer: None,
            program: place.server.clone(),
            data,
            memory: memory.to_owned(),
            placement,
            peak: Peak::default(),
        };
        site.open()?;
        Ok(site)
    }

    fn open(&mut self) -> io::Result<()> {
        let kind = Kind::Slotcore {
            durability: "everysec",
            cores: 1,
            memory: Some(&self.memory),
        };
        self.peer = Some(Peer::start(kind, &self.program, &self.data, &self.placement.servers)?);
        Ok(())
    }

    /// The server.
    pub fn peer(&self) -> &Peer {
        self.peer.as_ref().expect("it is only away within a restart")
    }

    /// Sets the keys of `keys` once each, and says how many in a second. Each call with another seed sets other values.
    pub fn fill(&self, keys: u64, value_bytes: u32, seed: u64) -> io::Result<f64> {
        let began = Instant::now();
        self.load(load::Options {
            fill: true,
            command: Vec::new(),
            keys,
            value_bytes,
            seed,
            ..load::Options::default()
        })?;
        Ok(keys as f64 / began.elapsed().as_secs_f64())
    }

    /// Requests, from the client's processor.
    ///
    /// # Errors
    /// Any error reply.
    pub fn ask(&self, asked: &Asked<'_>) -> io::Result<Row> {
        let is_request = asked.request.contains(' ');
        let mut rows = self.load(load::Options {
            command: vec![asked.request.to_owned()],
            request: is_request.then(|| asked.request.to_owned()),
            reads: asked.reads,
            distribution: asked.distribution,
            keys: asked.keys,
            connections: asked.connections,
            pipeline: asked.pipeline,
            rate: asked.rate,
            value_bytes: asked.value_bytes,
            seconds: asked.seconds,
            warmup_seconds: asked.seconds / 2.0,
            ..load::Options::default()
        })?;
        let row = rows.pop().ok_or_else(|| io::Error::other("nothing was measured"))?;
        row.refuse_errors().map_err(io::Error::other)?;
        Ok(row)
    }

    fn load(&self, options: load::Options) -> io::Result<Vec<Row>> {
        let addr = self.peer().addr;
        let options = load::Options {
            host: addr.ip().to_string(),
            port: addr.port(),
            quiet: true,
            spin_us: if self.placement.spins { options.spin_us } else { 0 },
            ..options
        };
        let run = thread::spawn("load", self.placement.client, move || load::measure(&options))?;
        run.join().expect("the load generator does not panic")
    }

    /// A figure of `INFO section`.
    ///
    /// # Errors
    /// There is no such figure.
    pub fn info(&self, section: &str, name: &str) -> io::Result<f64> {
        let page = self.peer().ask(&["INFO", section])?;
        let line = page
            .lines()
            .find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|value| value.parse().ok())
            .ok_or_else(|| io::Error::other(format!("INFO {section} has no {name}: {page}")))
    }

    /// Waits until nothing is written in the background any more.
    pub fn settle(&self) -> io::Result<()> {
        let began = Instant::now();
        let (mut before, mut since) = (self.peer().written_bytes()?, Instant::now());
        while since.elapsed() < QUIET {
            if began.elapsed() > PATIENCE {
                return Err(io::Error::other("the server does not stop writing in the background"));
            }
            sleep(LOOK_EVERY);
            let now = self.peer().written_bytes()?;
            if now != before {
                (before, since) = (now, Instant::now());
            }
        }
        Ok(())
    }

    /// Kills the server and starts it again; seconds until it answers how many keys it has, which must be about as many
    /// as before: `DBSIZE` is not exact while keys are only in files.
    pub fn restart(&mut self) -> io::Result<f64> {
        let before = self.keys()?.map_err(io::Error::other)?;
        if let Some(peer) = self.peer.take() {
            peer.kill()?;
        }
        let began = Instant::now();
        self.open()?;
        loop {
            match self.keys()? {
                Ok(found) if found.abs_diff(before) <= before / DBSIZE_ERROR_PARTS => {
                    return Ok(began.elapsed().as_secs_f64());
                }
                Ok(found) => {
                    return Err(io::Error::other(format!(
                        "{found} of {before} keys are there after a restart"
                    )));
                }
                // Until the data is there it says so in an error.
                Err(reply) if began.elapsed() > PATIENCE => {
                    return Err(io::Error::other(format!("the server does not come back: {reply}")));
                }
                Err(_) => sleep(ASK_EVERY),
            }
        }
    }

    /// What `DBSIZE` answers, or the error it is answered with.
    fn keys(&self) -> io::Result<Result<u64, String>> {
        let reply = self.peer().ask(&["DBSIZE"])?;
        Ok(reply.parse().map_err(|_| reply))
    }

    /// Copies its files by `slotcore backup`, and removes the copy; seconds of the copying.
    pub fn back_up(&self) -> io::Result<f64> {
        let copy = self.data.with_extension("backup");
        let began = Instant::now();
        let run = Command::new(&self.program)
            .args(["backup", "--json", "--from", &self.peer().addr.to_string(), "--to"])
            .arg(&copy)
            .output()?;
        let seconds = began.elapsed().as_secs_f64();
        if !run.status.success() {
            let errors = String::from_utf8_lossy(&run.stderr);
            return Err(io::Error::other(format!("the backup failed: {errors}")));
        }
        fs::remove_dir_all(&copy)?;
        Ok(seconds)
    }

    /// Bytes that its directory takes on the disk.
    pub fn disk_bytes(&self) -> io::Result<u64> {
        disk_bytes(&self.data)
    }

    /// Begins to look at how much memory it takes.
    pub fn watch_memory(&mut self) -> io::Result<()> {
        self.peak = Peak::watch(self.peer().pid())?;
        Ok(())
    }

    /// The most memory it took since then.
    pub fn peak_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.peak).end()
    }

    /// Ends it and removes its directory.
    pub fn end(mut self) -> io::Result<()> {
        if let Some(peer) = self.peer.take() {
            peer.kill()?;
        }
        fs::remove_dir_all(&self.data)
    }
}

fn disk_bytes(path: &Path) -> io::Result<u64> {
    let about = fs::symlink_metadata(path)?;
    let mut bytes = about.blocks() * 512;
    if about.is_dir() {
        for entry in fs::read_dir(path)? {
            bytes += match disk_bytes(&entry?.path()) {
                // Files go while the server merges.
                Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
                found => found?,
            };
        }
    }
    Ok(bytes)
}

/// The largest memory of a process, looked at again and again.
#[derive(Default)]
struct Peak {
    thread: Option<JoinHandle<()>>,
    ended: Arc<AtomicBool>,
    bytes: Arc<AtomicU64>,
}

impl Peak {
    fn watch(pid: u32) -> io::Result<Self> {
        let peak = Self::default();
        let (ended, bytes) = (Arc::clone(&peak.ended), Arc::clone(&peak.bytes));
        let thread = thread::spawn("memory", None, move || {
            while !ended.load(Ordering::Relaxed) {
                let Ok(text) = fs::read_to_string(format!("/proc/{pid}/statm")) else {
                    return;
                };
                let pages = text
                    .split_whitespace()
                    .nth(1)
                    .and_then(|field| field.parse::<u64>().ok());
                bytes.fetch_max(pages.unwrap_or(0) * 4096, Ordering::Relaxed);
                sleep(LOOK_EVERY);
            }
        })?;
        Ok(Self {
            thread: Some(thread),
            ..peak
        })
    }

    fn end(mut self) -> u64 {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("looking does not panic");
        }
        self.bytes.load(Ordering::Relaxed)
    }
}
