//! What is measured of a store, in which order, and the table of it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use slotcore_rt::rng::SeededRng;

use crate::contestant::{Contestant, Failure};

/// Sets of one batch.
const BATCH: usize = 64;
/// Durable batches.
const DURABLE_BATCHES: u64 = 5_000;
/// Keys that hot reads are about: they fit in any memory.
const HOT_KEYS: u64 = 10_000;
/// Reads of each kind, for each key that is loaded, one in so many: as many as a few seconds take.
const HOT_READS_PART: u64 = 2;
const COLD_READS_PART: u64 = 66;
const ABSENT_READS_PART: u64 = 10;
/// Bytes of a key: `key:` and twelve digits.
pub const KEY_BYTES: usize = 16;

/// How much there is.
pub struct Sizes {
    /// Keys.
    pub keys: u64,
    /// Bytes of each value.
    pub value_bytes: usize,
}

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// Of the store, and how it is set up.
    pub name: String,
    /// Keys a second, of the first load, batches of 64, not synced.
    pub load: f64,
    /// Sets of existing keys a second, batches of 64, not synced, all data once.
    pub overwrite: f64,
    /// The same, each batch durable before the next.
    pub durable: f64,
    /// Reads a second of keys in memory.
    pub hot: f64,
    /// Reads a second of keys that mostly are not, one at a time.
    pub cold: f64,
    /// Reads a second of keys that are not there.
    pub absent: f64,
    /// Keys a second of a walk over all.
    pub walk: f64,
    /// Processor time of all threads, in microseconds for each set of `load` and `overwrite`.
    pub set_cpu_us: f64,
    /// The same for each hot read.
    pub hot_cpu_us: f64,
    /// Bytes written to the device for each byte set, over `load` and `overwrite`, settled.
    pub write_amplification: f64,
    /// Bytes of files for each byte stored, settled.
    pub space_amplification: f64,
}

/// Runs everything on an empty store whose files are below `dir`.
pub fn measure(store: &mut dyn Contestant, sizes: &Sizes, dir: &Path) -> Result<Figures, Failure> {
    let mut rng = SeededRng::new(7);
    let (written, cpu) = (written_bytes()?, cpu_time()?);
    let mut order: Vec<u64> = (0..sizes.keys).collect();
    shuffle(&mut order, &mut rng);
    let load = rate(sizes.keys, || sets(store, &order, sizes, 0, false))?;
    shuffle(&mut order, &mut rng);
    let overwrite = rate(sizes.keys, || sets(store, &order, sizes, 1, false))?;
    let set_cpu = cpu_time()? - cpu;
    store.settle()?;
    let user_bytes = sizes.keys * (KEY_BYTES + sizes.value_bytes) as u64;
    let write_amplification = (written_bytes()? - written) as f64 / (2 * user_bytes) as f64;
    let space_amplification = bytes_below(dir)? as f64 / user_bytes as f64;

    let part = |of: u64| (sizes.keys / of).max(1);
    let (hot_reads, cold_reads) = (part(HOT_READS_PART), part(COLD_READS_PART));
    let absent_reads = part(ABSENT_READS_PART);
    let mut value = Vec::new();
    let mut draw = |limit: u64| rng.next_u64() % limit;
    let cold = rate(cold_reads, || {
        (0..cold_reads).try_for_each(|_| expect(store, draw(sizes.keys), sizes, &mut value))
    })?;
    let hot_keys = HOT_KEYS.min(sizes.keys);
    (0..hot_keys).try_for_each(|key| expect(store, key, sizes, &mut value))?;
    let cpu = cpu_time()?;
    let hot = rate(hot_reads, || {
        (0..hot_reads).try_for_each(|_| expect(store, draw(hot_keys), sizes, &mut value))
    })?;
    let hot_cpu = cpu_time()? - cpu;
    let absent = rate(absent_reads, || {
        (0..absent_reads).try_for_each(|n| match store.get(&absent_key(n % sizes.keys), &mut value)? {
            false => Ok(()),
            true => Err("a key was found that nobody set".into()),
        })
    })?;
    let mut walked = 0;
    let walk = rate(sizes.keys, || {
        walked = store.walk()?;
        Ok(())
    })?;
    if walked != sizes.keys {
        return Err(format!("a walk met {walked} keys of {}", sizes.keys).into());
    }
    let few = DURABLE_BATCHES.min(sizes.keys / BATCH as u64).max(1) * BATCH as u64;
    let picked: Vec<u64> = (0..few).map(|_| draw(sizes.keys)).collect();
    let durable = rate(few, || sets(store, &picked, sizes, 2, true))?;
    Ok(Figures {
        name: store.name(),
        load,
        overwrite,
        durable,
        hot,
        cold,
        absent,
        walk,
        set_cpu_us: set_cpu.as_secs_f64() * 1e6 / (2 * sizes.keys) as f64,
        hot_cpu_us: hot_cpu.as_secs_f64() * 1e6 / hot_reads as f64,
        write_amplification,
        space_amplification,
    })
}

fn key_of(number: u64) -> Vec<u8> {
    format!("key:{number:012}").into_bytes()
}

/// A key that is not there, right behind one that is.
fn absent_key(number: u64) -> Vec<u8> {
    [&key_of(number)[..], b"!"].concat()
}

/// The value of a key in a generation: text that tells both.
fn value_of(number: u64, generation: u64, bytes: usize) -> Vec<u8> {
    let mut value = format!("{generation}:{number}:").into_bytes();
    let mut rng = SeededRng::new(number ^ generation << 48);
    value.resize_with(bytes.max(value.len()), || b'a' + (rng.next_u64() % 26) as u8);
    value
}

fn sets(
    store: &mut dyn Contestant,
    order: &[u64],
    sizes: &Sizes,
    generation: u64,
    durable: bool,
) -> Result<(), Failure> {
    let mut pairs = Vec::with_capacity(BATCH);
    for chunk in order.chunks(BATCH) {
        pairs.clear();
        pairs.extend(
            chunk
                .iter()
                .map(|&n| (key_of(n), value_of(n, generation, sizes.value_bytes))),
        );
        store.set(&pairs, durable)?;
    }
    Ok(())
}

/// Reads a key and demands the value of the second generation.
fn expect(store: &mut dyn Contestant, number: u64, sizes: &Sizes, value: &mut Vec<u8>) -> Result<(), Failure> {
    if !store.get(&key_of(number), value)? {
        return Err(format!("key {number} is not there").into());
    }
    match value.starts_with(format!("1:{number}:").as_bytes()) && value.len() >= sizes.value_bytes {
        true => Ok(()),
        false => Err(format!("key {number} has another value").into()),
    }
}

/// Things done a second.
fn rate(count: u64, work: impl FnOnce() -> Result<(), Failure>) -> Result<f64, Failure> {
    let start = Instant::now();
    work()?;
    Ok(count as f64 / start.elapsed().as_secs_f64())
}

fn shuffle(order: &mut [u64], rng: &mut SeededRng) {
    for at in (1..order.len()).rev() {
        order.swap(at, (rng.next_u64() % (at as u64 + 1)) as usize);
    }
}

/// Bytes that this process had written to devices, so far.
fn written_bytes() -> Result<u64, Failure> {
    let text = fs::read_to_string("/proc/self/io")?;
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(line.ok_or("the kernel does not count bytes written")?.parse()?)
}

/// User and system time of this process, ended threads included, so far. In steps of 10 ms.
fn cpu_time() -> Result<Duration, Failure> {
    let text = fs::read_to_string("/proc/self/stat")?;
    // Behind the name in parentheses, which may hold anything, the 12th and 13th fields.
    let (_, fields) = text.rsplit_once(')').ok_or("/proc/self/stat has another form")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let ticks = ticks.sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}

/// Bytes of all files but logs: what is settled does not need them.
fn bytes_below(dir: &Path) -> Result<u64, Failure> {
    let mut sum = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let facts = entry.metadata()?;
        let path = entry.path();
        let is_log = path.ends_with("log")
            || path
                .extension()
                .is_some_and(|ending| ending == "log" || ending == "jnl");
        sum += match facts.is_dir() {
            _ if is_log => 0,
            true => bytes_below(&path)?,
            false => facts.len(),
        };
    }
    Ok(sum)
}

/// Each figure's median over the rounds; of an even number of them the mean of the two in the middle.
pub fn median(rounds: &[Figures]) -> Figures {
    let of = |figure: fn(&Figures) -> f64| {
        let mut all: Vec<f64> = rounds.iter().map(figure).collect();
        all.sort_by(f64::total_cmp);
        f64::midpoint(all[(all.len() - 1) / 2], all[all.len() / 2])
    };
    Figures {
        name: rounds[0].name.clone(),
        load: of(|f| f.load),
        overwrite: of(|f| f.overwrite),
        durable: of(|f| f.durable),
        hot: of(|f| f.hot),
        cold: of(|f| f.cold),
        absent: of(|f| f.absent),
        walk: of(|f| f.walk),
        set_cpu_us: of(|f| f.set_cpu_us),
        hot_cpu_us: of(|f| f.hot_cpu_us),
        write_amplification: of(|f| f.write_amplification),
        space_amplification: of(|f| f.space_amplification),
    }
}

/// The figures of all stores as cells of a table, the ratio of ours to each other one behind its figure.
pub fn rows(all: &[Figures]) -> Vec<Vec<String>> {
    type Row = (&'static str, usize, fn(&Figures) -> f64);
    let rows: [Row; 11] = [
        ("load, keys/s", 0, |f| f.load),
        ("overwrite, keys/s", 0, |f| f.overwrite),
        ("overwrite, each 64 durable, keys/s", 0, |f| f.durable),
        ("reads in memory, keys/s", 0, |f| f.hot),
        ("reads of cold keys, one at a time, keys/s", 0, |f| f.cold),
        ("reads of absent keys, keys/s", 0, |f| f.absent),
        ("walk over all, keys/s", 0, |f| f.walk),
        ("CPU of a set, us", 2, |f| f.set_cpu_us),
        ("CPU of a read in memory, us", 2, |f| f.hot_cpu_us),
        ("bytes written for each byte set", 2, |f| f.write_amplification),
        ("bytes on disk for each byte stored", 2, |f| f.space_amplification),
    ];
    let names = all.iter().map(|figures| figures.name.clone());
    let head = std::iter::once(String::new()).chain(names).collect();
    let cells = rows.iter().map(|(name, digits, figure)| {
        let of = |(number, figures): (usize, &Figures)| {
            let (value, ours, digits) = (figure(figures), figure(&all[0]), *digits);
            match number {
                0 => format!("{value:.digits$}"),
                _ => format!("{value:.digits$} ({:.2}x)", ours / value),
            }
        };
        std::iter::once((*name).to_owned())
            .chain(all.iter().enumerate().map(of))
            .collect()
    });
    std::iter::once(head).chain(cells).collect()
}
