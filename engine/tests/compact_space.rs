//! The choice of compactions at work: a tree of bare orders takes writes, merges run at the rate that is allowed, and the
//! room and the bytes written are counted. `cargo test --test compact_space -- --nocapture` prints them.

mod sst_support;

use slotcore_engine::compact::{
    FileShape, PaceInput, PaceOptions, Pick, PickOptions, RunShape, TreeShape, pace, pick, pressure,
};
use slotcore_engine::sst::FileId;
use sst_support::Rng;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a record, of whatever kind.
const RECORD: u64 = 100;
/// Keys of the data set.
const KEYS: u64 = 40_000;
/// Records of one flush: a fortieth of the data, as when a quarter of the memory is dirty and the data has ten times its
/// size.
const FLUSH: usize = 1_000;
/// Records of one file.
const FILE: usize = 600;
/// Records written in one tick, when nothing slows them down.
const TICK: u64 = 50;
/// What the device writes in one tick, in bytes: twenty times the load.
const DEVICE: u64 = 20 * TICK * RECORD;

/// Orders with the write that stands there; `None`: a deletion.
type Records = BTreeMap<u64, Option<u64>>;

struct File {
    records: Records,
    /// First order in use.
    from: u64,
    /// Records in use.
    in_use: u64,
}

impl File {
    fn shape(&self) -> FileShape {
        FileShape {
            file: FileId(0),
            bytes: self.in_use * RECORD,
            dead_bytes: 0,
            ord_min: self.from.max(*self.records.keys().next().unwrap()),
            ord_max: *self.records.keys().next_back().unwrap(),
        }
    }

    fn trim(&mut self, from: u64) {
        self.from = from;
        self.in_use = self.records.range(from..).count() as u64;
    }
}

fn files(records: Records) -> Vec<File> {
    let mut files: Vec<File> = Vec::new();
    for (at, record) in records.into_iter().enumerate() {
        if at % FILE == 0 {
            let (records, from, in_use) = (Records::new(), 0, 0);
            files.push(File { records, from, in_use });
        }
        let file = files.last_mut().unwrap();
        file.records.extend([record]);
        file.in_use += 1;
    }
    files
}

struct UpperRun {
    level: u8,
    live_from: u64,
    files: Vec<File>,
}

/// A merge that has its result but may not have written it all.
struct Work {
    pick: Pick,
    result: Records,
    written: u64,
}

struct Tree {
    upper: Vec<UpperRun>,
    bottom: Vec<File>,
    /// Keys that could be seen when the last run was flushed.
    keys: u64,
    memtable: Records,
    truth: BTreeMap<u64, u64>,
    work: Option<Work>,
    options: PickOptions,
    /// Bytes that came in, that were flushed, and that merges wrote.
    user: u64,
    flushed: u64,
    merged: u64,
    space_max: f64,
    upper_runs_max: usize,
    slowed_ticks: u64,
    debt: f64,
}

impl Tree {
    fn new() -> Self {
        Self {
            upper: Vec::new(),
            bottom: Vec::new(),
            keys: 0,
            memtable: Records::new(),
            truth: BTreeMap::new(),
            work: None,
            options: PickOptions {
                piece_bytes: 4 * FILE as u64 * RECORD,
                ..PickOptions::default()
            },
            user: 0,
            flushed: 0,
            merged: 0,
            space_max: 0.0,
            upper_runs_max: 0,
            slowed_ticks: 0,
            debt: 0.0,
        }
    }

    fn shape(&self) -> TreeShape {
        let upper = self.upper.iter().map(|run| RunShape {
            level: run.level,
            live_from: run.live_from,
            files: run.files.iter().map(File::shape).collect(),
        });
        TreeShape {
            upper: upper.collect(),
            bottom: self.bottom.iter().map(File::shape).collect(),
            replaced_bytes: self.replaced_bytes(),
        }
    }

    /// All that merges to the lowest level would leave out: here records are of one size.
    fn replaced_bytes(&self) -> u64 {
        let upper = self.upper.iter().flat_map(|run| &run.files);
        let in_use: u64 = upper.chain(&self.bottom).map(|file| file.in_use).sum();
        (in_use - self.keys) * RECORD
    }

    fn write(&mut self, key: u64, value: Option<u64>) {
        // Keys spread over the orders as a hash spreads them.
        let ord = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.user += RECORD;
        match value {
            Some(value) => self.truth.insert(ord, value),
            None => self.truth.remove(&ord),
        };
        self.memtable.insert(ord, value);
        if self.memtable.len() >= FLUSH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let records = std::mem::take(&mut self.memtable);
        if records.is_empty() {
            return;
        }
        self.keys = self.truth.len() as u64;
        self.flushed += records.len() as u64 * RECORD;
        let (level, live_from) = (0, 0);
        let files = files(records);
        // A merge under way names runs by their place.
        if let Some(work) = &mut self.work
            && let Pick::Tier { runs, .. } | Pick::Sink { runs, .. } = &mut work.pick
        {
            *runs = runs.start + 1..runs.end + 1;
        }
        let run = UpperRun {
            level,
            live_from,
            files,
        };
        self.upper.insert(0, run);
    }

    /// Lets merges write so many bytes.
    fn merge(&mut self, mut bytes: u64) {
        while bytes > 0 {
            if self.work.is_none() {
                let Some(pick) = pick(&self.shape(), &self.options) else {
                    return;
                };
                self.work = Some(self.start(pick));
            }
            let work = self.work.as_mut().unwrap();
            let left = work.result.len() as u64 * RECORD - work.written;
            let now = left.min(bytes);
            work.written += now;
            self.merged += now;
            bytes -= now;
            self.note_space();
            if now == left {
                self.finish();
            }
        }
    }

    fn start(&self, pick: Pick) -> Work {
        let mut result = Records::new();
        let mut take = |files: &[File], from: u64, to: Option<u64>| {
            for file in files {
                for (&ord, &value) in file.records.range(from.max(file.from)..) {
                    if to.is_none_or(|to| ord < to) {
                        result.insert(ord, value);
                    }
                }
            }
        };
        match &pick {
            Pick::Tier { runs, .. } => {
                for run in self.upper[runs.clone()].iter().rev() {
                    assert_eq!(run.live_from, 0, "runs that sink are not merged with each other");
                    take(&run.files, 0, None);
                }
            }
            Pick::Sink {
                runs,
                from_ord,
                to_ord,
                bottom,
            } => {
                assert_eq!(runs.end, self.upper.len(), "the oldest runs sink");
                take(&self.bottom[bottom.clone()], *from_ord, *to_ord);
                let mut above = Records::new();
                for run in self.upper[runs.clone()].iter().rev() {
                    assert!(run.live_from == *from_ord, "a sink goes on where it was");
                    for file in &run.files {
                        let range = file
                            .records
                            .range(*from_ord..)
                            .filter(|(o, _)| to_ord.is_none_or(|to| **o < to));
                        above.extend(range.map(|(&o, &v)| (o, v)));
                    }
                }
                result.extend(above);
                result.retain(|_, value| value.is_some());
            }
            Pick::Clean { .. } => unreachable!("nothing expires here"),
        }
        Work {
            pick,
            result,
            written: 0,
        }
    }

    fn finish(&mut self) {
        let work = self.work.take().unwrap();
        match work.pick {
            Pick::Tier { runs, level } => {
                let run = UpperRun {
                    level,
                    live_from: 0,
                    files: files(work.result),
                };
                self.upper.splice(runs, [run]);
            }
            Pick::Sink {
                runs,
                from_ord,
                to_ord,
                bottom,
            } => {
                // What a file had before the piece was rewritten by an earlier one, or stays in front of it.
                let mut old: Vec<File> = self.bottom.splice(bottom.clone(), []).collect();
                let rest = to_ord.and_then(|to| {
                    let mut last = old.pop()?;
                    last.trim(to);
                    (last.in_use > 0).then_some(last)
                });
                assert!(
                    old.iter()
                        .all(|f| f.from >= from_ord || *f.records.keys().next().unwrap() >= from_ord)
                );
                self.bottom
                    .splice(bottom.start..bottom.start, files(work.result).into_iter().chain(rest));
                for run in &mut self.upper[runs.clone()] {
                    run.live_from = to_ord.unwrap_or(u64::MAX);
                    for file in &mut run.files {
                        file.trim(run.live_from);
                    }
                    run.files.retain(|f| to_ord.is_some() && f.in_use > 0);
                }
                if to_ord.is_none() {
                    self.upper.drain(runs);
                }
            }
            Pick::Clean { .. } => unreachable!("nothing expires here"),
        }
        let ends: Vec<_> = self.bottom.iter().map(File::shape).collect();
        assert!(
            ends.windows(2).all(|w| w[0].ord_max < w[1].ord_min),
            "the lowest level is one run"
        );
    }

    /// Bytes of all files, whole ones as long as a record is in use, for each byte that can be seen.
    fn space(&self) -> f64 {
        let upper = self.upper.iter().flat_map(|run| &run.files);
        let stored: u64 = upper.chain(&self.bottom).map(|f| f.records.len() as u64 * RECORD).sum();
        let under_way = self.work.as_ref().map_or(0, |w| w.written);
        (stored + under_way) as f64 / (self.truth.len() as u64 * RECORD).max(1) as f64
    }

    fn note_space(&mut self) {
        // A nearly empty store has no meaningful ratio.
        if self.truth.len() as u64 > KEYS / 4 {
            self.space_max = self.space_max.max(self.space());
        }
        self.upper_runs_max = self.upper_runs_max.max(self.upper.len());
    }

    /// One tick: as many writes as are allowed, and merges at the allowed rate.
    fn tick(&mut self, mut next: impl FnMut() -> (u64, Option<u64>)) -> u64 {
        let input = PaceInput {
            pressure: pressure(&self.shape(), &self.options),
            flush_bytes_per_s: TICK * RECORD,
        };
        let pace = pace(&input, &PaceOptions::new(DEVICE));
        let allowed = pace
            .write_bytes_per_s_max
            .map_or(TICK as f64, |b| b as f64 / RECORD as f64);
        self.debt = (self.debt + allowed.min(TICK as f64)).min(TICK as f64 + 1.0);
        let writes = self.debt as u64;
        self.slowed_ticks += u64::from(allowed < TICK as f64);
        self.debt -= writes as f64;
        for _ in 0..writes {
            let (key, value) = next();
            self.write(key, value);
        }
        self.merge(pace.merge_bytes_per_s);
        writes
    }

    fn run(&mut self, mut writes: u64, mut next: impl FnMut() -> (u64, Option<u64>)) {
        let mut ticks = 0u64;
        while writes > 0 {
            writes = writes.saturating_sub(self.tick(&mut next));
            ticks += 1;
            assert!(ticks < 1_000_000, "writes do not get on");
        }
    }

    /// Nobody writes: merges come to rest, and everything is there.
    fn settle(&mut self) {
        self.flush();
        for _ in 0..1_000_000 {
            if self.work.is_none() && pick(&self.shape(), &self.options).is_none() {
                break;
            }
            self.merge(DEVICE / 16);
        }
        assert!(self.work.is_none(), "merges do not come to rest");
        let mut seen = Records::new();
        let upper = self.upper.iter().rev().flat_map(|run| &run.files);
        for file in self.bottom.iter().chain(upper) {
            seen.extend(file.records.range(file.from..).map(|(&o, &v)| (o, v)));
        }
        seen.retain(|_, value| value.is_some());
        assert!(
            seen.into_iter().map(|(o, v)| (o, v.unwrap())).eq(self.truth.clone()),
            "a record was lost or revived"
        );
    }

    /// Bytes written to the device for each byte that came in: the log, flushes, merges.
    fn write_amplification(&self) -> f64 {
        (self.user + self.flushed + self.merged) as f64 / self.user as f64
    }

    fn report(&self, name: &str) {
        println!(
            "{name}: writes {:.2}x, space at most {:.2}x and settled {:.2}x, at most {} upper runs, {} ticks slowed",
            self.write_amplification(),
            self.space_max,
            self.space(),
            self.upper_runs_max,
            self.slowed_ticks
        );
    }
}

/// Inserts of all keys in random order.
fn loaded(rng: &mut Rng) -> Tree {
    let mut tree = Tree::new();
    let mut keys: Vec<u64> = (0..KEYS).collect();
    for n in (1..keys.len()).rev() {
        keys.swap(n, rng.below(n as u64 + 1) as usize);
    }
    let mut keys = keys.into_iter();
    tree.run(KEYS, || {
        let key = keys.next().unwrap_or(0);
        (key, Some(key))
    });
    tree
}

#[test]
fn loading_costs_few_writes_and_no_room() {
    let mut tree = loaded(&mut Rng(41));
    tree.settle();
    tree.report("load");
    assert!(tree.write_amplification() < 7.0 && tree.space() < 1.3 && tree.space_max < 1.5);
    assert!(tree.upper_runs_max <= 24 && tree.slowed_ticks == 0);
}

#[test]
fn uniform_overwrites_stay_within_the_bounds() {
    let mut rng = Rng(42);
    let mut tree = loaded(&mut rng);
    (tree.user, tree.flushed, tree.merged, tree.space_max) = (0, 0, 0, 0.0);
    tree.run(6 * KEYS, || (rng.below(KEYS), Some(rng.next())));
    tree.settle();
    tree.report("uniform overwrite");
    assert!(tree.write_amplification() < 8.0, "{}", tree.write_amplification());
    assert!(
        tree.space() < 1.3 && tree.space_max < 1.6,
        "{} {}",
        tree.space(),
        tree.space_max
    );
    assert!(tree.upper_runs_max <= 24 && tree.slowed_ticks == 0);
}

#[test]
fn a_load_that_is_overwritten_once_comes_to_rest_without_garbage() {
    let mut rng = Rng(46);
    let mut tree = loaded(&mut rng);
    // No merge to the lowest level has met an overwrite yet when this begins.
    for part in [KEYS / 2, KEYS] {
        let mut key = 0;
        tree.run(part, || {
            key += 1;
            (key % KEYS, Some(rng.next()))
        });
        tree.settle();
        tree.report("overwritten once");
        assert!(tree.space() < 1.3, "{}", tree.space());
    }
}

#[test]
fn skewed_overwrites_cost_less() {
    let mut rng = Rng(43);
    let mut tree = loaded(&mut rng);
    (tree.user, tree.flushed, tree.merged, tree.space_max) = (0, 0, 0, 0.0);
    tree.run(6 * KEYS, || {
        // Nine of ten writes to a fiftieth of the keys.
        let among = if rng.below(10) < 9 { KEYS / 50 } else { KEYS };
        (rng.below(among), Some(rng.next()))
    });
    tree.settle();
    tree.report("skewed overwrite");
    assert!(tree.write_amplification() < 5.0 && tree.space() < 1.3 && tree.space_max < 1.6);
}

#[test]
fn a_queue_of_inserts_and_deletions_does_not_grow() {
    let mut tree = Tree::new();
    let mut n = 0;
    tree.run(8 * KEYS, || {
        n += 1;
        // Each key is deleted when half as many keys as the others have are behind it.
        match n % 2 {
            0 if n >= KEYS => ((n - KEYS) / 2, None),
            _ => (n / 2, Some(n)),
        }
    });
    tree.settle();
    tree.report("queue");
    assert!(tree.space() < 1.6 && tree.space_max < 2.6 && tree.upper_runs_max <= 24);
}

#[test]
fn what_is_deleted_gives_its_room_back() {
    let mut rng = Rng(44);
    let mut tree = loaded(&mut rng);
    let mut keys: BTreeSet<u64> = (0..KEYS).collect();
    tree.run(KEYS, || (keys.pop_first().unwrap_or(0), None));
    tree.settle();
    tree.report("all deleted");
    let left: usize = tree.bottom.iter().map(|f| f.records.len()).sum();
    assert!(
        tree.truth.is_empty() && left as u64 <= KEYS / 4,
        "{left} records are left"
    );
}

#[test]
fn a_flood_of_writes_is_slowed_and_never_stopped() {
    let mut rng = Rng(45);
    let mut tree = loaded(&mut rng);
    // The device is suddenly twenty times slower than merges would need.
    for _ in 0..4_000 {
        let shape = tree.shape();
        let input = PaceInput {
            pressure: pressure(&shape, &tree.options),
            flush_bytes_per_s: TICK * RECORD,
        };
        let decision = pace(&input, &PaceOptions::new(DEVICE / 20));
        let writes = decision.write_bytes_per_s_max.map_or(TICK, |b| (b / RECORD).min(TICK));
        assert!(decision.write_bytes_per_s_max.is_none_or(|b| b > 0));
        tree.slowed_ticks += u64::from(writes < TICK);
        for _ in 0..writes {
            let key = rng.below(KEYS);
            tree.write(key, Some(rng.next()));
        }
        tree.merge(decision.merge_bytes_per_s);
    }
    let flooded = tree.space_max;
    tree.settle();
    tree.report("flood");
    assert!(
        tree.slowed_ticks > 0 && tree.upper_runs_max <= 30,
        "{} runs",
        tree.upper_runs_max
    );
    assert!(flooded < 2.5 && tree.space() < 1.3, "{flooded}, {}", tree.space());
}
