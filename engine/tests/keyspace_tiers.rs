//! A keyspace of which only a part is in memory answers like one that has everything, whatever is frozen, written, settled
//! and evicted in between; what a flush writes is the state of its cut, and a keyspace that begins with it and repeats what
//! came after is the same again. The files are a `BTreeMap` here.

mod cmd_support;

use cmd_support::collections::COLLECTIONS;
use cmd_support::families::FAMILIES;
use cmd_support::machine::{Machine, pack};
use cmd_support::random::{Random, random_command, random_of_family};
use cmd_support::script;
use cmd_support::seeds::{are_own, seeds};
use cmd_support::wire::Value;
use slotcore_engine::cmd::{Args, Exec, for_each_needed_key, is_rehearsed, rehearse, resolve};
use slotcore_engine::collections::Collection;
use slotcore_engine::database::Counts;
use slotcore_engine::keyspace::{
    FileKey, FileKeys, FrozenSink, FrozenStep, Keyspace, KeyspaceOptions, Kind, Loaded, Missed, Residency,
};
use slotcore_engine::sst::{self, Body, Record, SstKey};
use std::collections::BTreeMap;

const START: u64 = 1_700_000_000_000;

/// A value in the files.
#[derive(Clone, Debug)]
struct Stored {
    kind: sst::Kind,
    bytes: Vec<u8>,
    expire_ms: Option<u64>,
}

type Place = (u64, Vec<u8>);

/// Everything that can be shown in pages is, however small.
fn in_pages(mut machine: Machine) -> Machine {
    machine.ks.take_in_pages_from(0);
    machine
}

/// What a flush has written so far.
#[derive(Default)]
struct Written {
    all: Vec<(Place, Option<Stored>)>,
    parts: Option<Vec<u8>>,
    /// Collections that came in pages.
    paged: u64,
}

impl FrozenSink for Written {
    fn record(&mut self, record: &Record<'_>) {
        assert!(self.parts.is_none(), "nothing comes between the parts of a collection");
        self.all.push(stored(record));
    }

    fn begin(&mut self) {
        assert!(
            self.parts.replace(Vec::new()).is_none(),
            "one collection after the other"
        );
    }

    fn part(&mut self, bytes: &[u8]) {
        self.parts.as_mut().expect("it was begun").extend_from_slice(bytes);
    }

    fn end(&mut self, key: SstKey<'_>, expire_ms: Option<u64>) {
        let bytes = self.parts.take().expect("it was begun");
        let body = Body::Inline(sst::Kind::Packed, &bytes);
        self.all.push(stored(&Record { key, expire_ms, body }));
        self.paged += 1;
    }
}

fn stored(record: &Record<'_>) -> (Place, Option<Stored>) {
    let place = (record.key.ord, record.key.tail.to_vec());
    let value = match record.body {
        Body::Inline(kind, bytes) => Some(Stored {
            kind,
            bytes: bytes.to_vec(),
            expire_ms: record.expire_ms,
        }),
        Body::Tombstone => None,
        other => panic!("a keyspace shows no {other:?}"),
    };
    (place, value)
}

/// A flush under way.
enum Flush {
    Idle,
    Writing(Written),
    Settling,
}

/// A command and what decided its outcome.
#[derive(Clone)]
struct Past {
    words: Vec<Vec<u8>>,
    now: u64,
    executed: u64,
}

struct Tiered {
    machine: Machine,
    /// What the durable files hold, and what of it counts: nothing after a FLUSHALL.
    disk: BTreeMap<Place, Stored>,
    files: BTreeMap<Place, Stored>,
    flush: Flush,
    clears: u64,
    fetches: u64,
    /// Commands since the cut that the files hold, and how many of them are before the cut of the flush under way.
    log: Vec<Past>,
    cut_at: usize,
    /// Clock and number of keys at the last cut that is in the files, and at the one under way.
    in_files: (u64, Counts),
    cut: (u64, Counts),
    now: u64,
}

impl Tiered {
    fn new() -> Self {
        Self {
            machine: in_pages(Machine::new()),
            disk: BTreeMap::new(),
            files: BTreeMap::new(),
            flush: Flush::Idle,
            clears: 0,
            fetches: 0,
            log: Vec::new(),
            cut_at: 0,
            in_files: (START, Counts::default()),
            cut: (START, Counts::default()),
            now: START,
        }
    }

    fn ks(&mut self) -> &mut Keyspace {
        &mut self.machine.ks
    }

    fn fetch(&mut self, key: &[u8]) {
        let hash = self.machine.ks.key_hash(key);
        if self.machine.ks.residency(hash, key) != Residency::Unknown {
            return;
        }
        self.fetches += 1;
        match self.files.get(&(hash.ord(), key.to_vec())) {
            None => self.machine.ks.install_absent(hash, key),
            Some(stored) => {
                let value = Loaded {
                    kind: stored.kind,
                    bytes: &stored.bytes,
                    expire_ms: stored.expire_ms,
                };
                self.machine.ks.install(hash, key, value).expect("as it was encoded");
            }
        }
    }

    /// What the files have from `from_ord` on: `count` keys or more, so that it ends with an order.
    fn range(&self, from_ord: u64, count: usize) -> FileKeys {
        let mut keys: Vec<FileKey> = Vec::new();
        let mut to_ord = None;
        for ((ord, key), stored) in self.files.range((from_ord, Vec::new())..) {
            if keys.len() >= count && keys.last().is_some_and(|last| last.ord != *ord) {
                to_ord = Some(*ord);
                break;
            }
            let kind = match stored.kind {
                sst::Kind::Str => Kind::Str,
                _ => [Kind::List, Kind::Set, Kind::Hash, Kind::ZSet, Kind::Stream][usize::from(stored.bytes[0]) - 1],
            };
            // A hash whose fields have all expired is not there, as whoever reads files knows.
            if kind == Kind::Hash
                && let Ok((Collection::Hash(hash), _)) = Collection::decode(&stored.bytes)
                && hash.is_spent(self.now)
            {
                continue;
            }
            keys.push(FileKey {
                ord: *ord,
                key: key.as_slice().into(),
                kind,
                expire_ms: stored.expire_ms,
            });
        }
        FileKeys { from_ord, to_ord, keys }
    }

    /// Executes a command as the server does: what it needs is fetched first, and a read is repeated when it missed something.
    fn execute(&mut self, words: &[Vec<u8>]) -> Value {
        let (buf, spans) = pack(words);
        let args = Args::new(&buf, &spans);
        let (mut needed, mut pinned) = (Vec::new(), Vec::new());
        let spec = resolve(&args).ok();
        if let Some(spec) = spec {
            for_each_needed_key(spec, &args, |at| needed.push(args.get(at).to_vec()));
        }
        // Before a blind write, filters are asked whether there surely is no such key.
        let members_from = if words.len() > MEMBERS_FROM_WORDS {
            2
        } else {
            words.len()
        };
        for word in &words[1..members_from] {
            let hash = self.ks().key_hash(word);
            if !self.files.contains_key(&(hash.ord(), word.clone())) {
                self.ks().install_absent(hash, word);
            }
        }
        for key in needed {
            let hash = self.ks().key_hash(&key);
            self.ks().pin(hash);
            pinned.push(hash);
            self.fetch(&key);
        }
        while let Some(spec) = spec.filter(|spec| is_rehearsed(spec)) {
            let mut exec = Exec::nested(&mut self.machine.ks, args, 0);
            rehearse(spec, &mut exec);
            let Some(missed) = self.ks().take_missed() else { break };
            self.fetch_missed(missed);
        }
        let executed = self.machine.executed;
        let reply = loop {
            self.machine.executed = executed;
            let reply = self.machine.execute(words);
            let Some(missed) = self.ks().take_missed() else {
                break reply;
            };
            assert!(
                !spec.is_some_and(|spec| spec.is_write()),
                "a write missed {missed:?}: {words:?}"
            );
            self.fetch_missed(missed);
        };
        self.ks().lend_keys(None);
        pinned.into_iter().for_each(|hash| self.ks().unpin(hash));
        if self.ks().clears() != self.clears {
            self.clears = self.ks().clears();
            self.files.clear();
            self.flush = Flush::Idle;
        }
        reply
    }

    fn fetch_missed(&mut self, missed: Missed) {
        match missed {
            Missed::Key(key) => self.fetch(&key),
            Missed::Range { from_ord, count } => {
                // KEYS asks again from the beginning: everything, sooner or later.
                let count = if from_ord == 0 { usize::MAX } else { count };
                let range = self.range(from_ord, count);
                self.ks().lend_keys(Some(range));
            }
        }
    }
}

/// Commands of more words name one key, and then members.
const MEMBERS_FROM_WORDS: usize = 20;

/// A command about a collection that is large enough to be written in pages.
fn large_line(r: &mut Random, step: usize) -> String {
    let key = r.below(2);
    let mut many = |name: char, count: usize, value: &str| -> String {
        let one = |r: &mut Random| match value {
            "" => format!(" {name}{}", r.below(300)),
            "score" => format!(" {} {name}{}", r.below(90), r.below(300)),
            _ => format!(" {name}{} {value}{}", r.below(300), r.below(5)),
        };
        (0..count).map(|_| one(r)).collect()
    };
    match step % 16 {
        0..=2 => format!("sadd bs{key}{}", many('m', 40, "")),
        3 => format!("srem bs{key}{}", many('m', 20, "")),
        4..=5 => format!("zadd bz{key}{}", many('m', 40, "score")),
        6 => format!("zrem bz{key}{}", many('m', 20, "")),
        7..=8 => format!("hset bh{key}{}", many('f', 40, "value")),
        9 => format!("hdel bh{key}{}", many('f', 20, "")),
        10 => format!("rpush bl{key}{}", many('e', 90, "")),
        11 => format!("lpush bl{key}{}", many('e', 90, "")),
        _ => match r.below(16) {
            0 => format!("spop bs{key} {}", r.below(30)),
            1 => format!("ltrim bl{key} {} -{}", r.below(90), 1 + r.below(90)),
            2 => format!("lset bl{key} {} long{step}", r.below(400)),
            3 => format!("linsert bl{key} before e{} {}", r.below(300), "x".repeat(r.below(3000))),
            4 => format!("lrem bl{key} {} e{}", r.below(5), r.below(300)),
            5 => format!("rename b{0}0 b{0}1", ["s", "z", "h", "l"][r.below(4)]),
            6 => format!("copy b{0}1 b{0}0 replace", ["s", "z", "h", "l"][r.below(4)]),
            7 => format!("del b{}{key}", ["s", "z", "h", "l"][r.below(4)]),
            8 => format!("set b{}{key} string", ["s", "z", "h", "l"][r.below(4)]),
            9 => format!("zremrangebyrank bz{key} {} {}", r.below(9), r.below(60)),
            10 => format!("hpexpire bh{key} {} FIELDS 1 f{}", 1 + r.below(2000), r.below(300)),
            11 => format!("lpop bl{key} {}", r.below(200)),
            12 => format!("rpop bl{key} {}", r.below(200)),
            13 => format!("pexpire b{}{key} {}", ["s", "z", "h", "l"][r.below(4)], r.below(3000)),
            14 => format!("sunionstore bs{key} bs0 bs1"),
            _ => format!("zunionstore bz{key} 2 bz0 bs1"),
        },
    }
}

fn line(r: &mut Random, step: usize) -> String {
    match r.below(18) {
        14..=17 => {
            let at = r.below(16);
            large_line(r, at)
        }
        0 => format!("spop k{} {}", r.below(6), r.below(4)),
        1 => format!("sadd k{} m{} m{} {}", r.below(6), r.below(90), r.below(90), r.below(90)),
        2 => format!("pexpire k{} {}", r.below(6), r.below(2000)),
        3 => format!("hpexpire h{} {} FIELDS 1 a", r.below(6), 1 + r.below(2000)),
        4 => format!("hset h{} a {step} b {} c 1", r.below(6), r.below(9)),
        5..=8 => {
            let family = r.below(FAMILIES.len());
            random_of_family(r, &FAMILIES[family])
        }
        9 => {
            let family = r.below(COLLECTIONS.len());
            random_of_family(r, &COLLECTIONS[family])
        }
        10 if r.below(150) == 0 => "flushall".into(),
        _ => random_command(r),
    }
}

#[test]
fn a_part_in_memory_answers_like_the_whole() {
    let (mut flushes, mut fetches, mut evicted, mut paged) = (0, 0, 0, 0);
    for seed in seeds(12) {
        let (mut oracle, mut tiered) = (Machine::new(), Tiered::new());
        let (mut r, mut now, mut digest_at_cut) = (Random::new(seed), START, 0);
        // Without expiries the number of keys is exact.
        let timeless = seed % 3 == 0;
        for step in 0..2500 {
            now += if timeless { 0 } else { r.below(60) as u64 };
            oracle.set_time(now);
            tiered.machine.set_time(now);
            tiered.now = now;
            let line = line(&mut r, step);
            let words = script::words(&line);
            if timeless && line.to_ascii_lowercase().replace("exists", "").contains("ex") {
                continue;
            }
            tiered.log.push(Past {
                words: words.clone(),
                now,
                executed: oracle.executed,
            });
            let reply = oracle.execute(&words);
            assert_eq!(tiered.execute(&words), reply, "seed {seed}, step {step}: {line}");
            if timeless {
                assert_eq!(tiered.ks().len(), oracle.ks.len(), "seed {seed}, step {step}: {line}");
            }
            if r.below(3) == 0 {
                tiered.ks().expire_work(r.below(20));
                tiered.ks().free_work(10);
            }
            let ks = &mut tiered.machine.ks;
            match &mut tiered.flush {
                Flush::Idle if r.below(20) == 0 => {
                    digest_at_cut = oracle.ks.digest();
                    tiered.cut = (now, ks.counts());
                    ks.freeze();
                    tiered.cut_at = tiered.log.len();
                    tiered.flush = Flush::Writing(Written::default());
                }
                Flush::Writing(written) if r.below(2) == 0 => {
                    let budget = 1 + r.below(3);
                    let done = ks.frozen_slice(budget, written);
                    if done == FrozenStep::Done {
                        assert!(
                            written.all.is_sorted_by(|a, b| a.0 < b.0),
                            "seed {seed}: in order, each key once"
                        );
                        paged += written.paged;
                        for (place, value) in std::mem::take(&mut written.all) {
                            match value {
                                Some(value) => drop(tiered.files.insert(place, value)),
                                None => drop(tiered.files.remove(&place)),
                            }
                        }
                        flushes += 1;
                        tiered.flush = Flush::Settling;
                        tiered.in_files = tiered.cut;
                        tiered.log.drain(..tiered.cut_at);
                        tiered.disk = tiered.files.clone();
                        let mut whole = restored(&tiered);
                        assert_eq!(whole.ks().digest(), digest_at_cut, "seed {seed}, step {step}: the cut");
                    }
                }
                Flush::Settling if r.below(2) == 0 && ks.settle_slice(1 + r.below(4)) == FrozenStep::Done => {
                    tiered.flush = Flush::Idle;
                }
                _ => {}
            }
            if r.below(10) == 0 {
                let looks = 1 + r.below(100);
                evicted += tiered.ks().evict(usize::MAX, looks).records;
            }
            if r.below(400) == 0 {
                tiered = restarted(tiered);
            }
            check_use(tiered.ks());
        }
        fetches += tiered.fetches;
        load_all(&mut tiered);
        assert_eq!(tiered.ks().digest(), oracle.ks.digest(), "seed {seed}");
    }
    assert!(
        !are_own() || flushes > 200 && fetches > 1000 && evicted > 1000 && paged > 500,
        "{flushes} {fetches} {evicted} {paged}"
    );
}

fn check_use(ks: &mut Keyspace) {
    let tiers = ks.tier_use();
    assert!(
        tiers.dirty_bytes < 1 << 40 && tiers.clean_bytes < 1 << 40,
        "a count went below zero: {tiers:?}"
    );
}

fn load_all(tiered: &mut Tiered) {
    let keys: Vec<Vec<u8>> = tiered.files.keys().map(|(_, key)| key.clone()).collect();
    keys.iter().for_each(|key| tiered.fetch(key));
}

/// What the files alone hold.
fn restored(tiered: &Tiered) -> Tiered {
    let mut whole = Tiered::new();
    whole.machine.ks = Keyspace::new(KeyspaceOptions::default());
    whole.machine.ks.take_in_pages_from(0);
    whole.machine.ks.resume(tiered.in_files.0, tiered.in_files.1);
    whole.files = tiered.disk.clone();
    load_all(&mut whole);
    whole
}

/// A new process: the files, and the commands since their cut.
fn restarted(old: Tiered) -> Tiered {
    let mut new = Tiered::new();
    if old.in_files.1.total() > 0 || !old.disk.is_empty() {
        new.machine.ks = Keyspace::new(KeyspaceOptions::default());
        new.machine.ks.take_in_pages_from(0);
        new.machine.ks.resume(old.in_files.0, old.in_files.1);
    }
    (new.disk, new.files) = (old.disk.clone(), old.disk);
    for past in &old.log {
        new.machine.set_time(past.now);
        new.machine.executed = past.executed;
        new.execute(&past.words);
    }
    new.machine.set_time(old.now);
    // Also when there was nothing to execute again: what is random depends on it.
    new.machine.executed = old.machine.executed;
    (new.log, new.in_files, new.now) = (old.log, old.in_files, old.now);
    new.fetches += old.fetches;
    new
}
