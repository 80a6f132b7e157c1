//! What the simulated clients ask for: batches of random commands, as the leader would put them into one entry.
//!
//! Few keys, so that commands meet each other's values, types and expiries; values that are never used twice, so that a
//! lost or repeated write shows.

use bytes::Bytes;
use slotcore_engine::cmd::op::{BatchHeader, encode_header, encode_op};
use slotcore_engine::cmd::{Args, lookup};
use slotcore_rt::rng::SeededRng;

/// Keys in use.
pub const KEY_COUNT: u64 = 24;
/// Longest string value, in bytes: some batches span several blocks of the log.
const VALUE_BYTES_MAX: u64 = 3_000;
/// Longest expiry, in milliseconds; short enough that most run out within an episode.
const EXPIRE_MS_MAX: u64 = 200;

/// A command with its arguments, the name first.
pub type Command = Vec<Vec<u8>>;

/// What becomes one entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Time and seed everything in it is executed with.
    pub header: BatchHeader,
    /// In order of execution.
    pub commands: Vec<Command>,
}

impl Batch {
    /// The entry's payload.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        encode_header(&mut out, &self.header);
        let (mut flat, mut spans) = (Vec::new(), Vec::new());
        for command in &self.commands {
            flat.clear();
            spans.clear();
            for arg in command {
                spans.push((flat.len() as u32, arg.len() as u32));
                flat.extend_from_slice(arg);
            }
            let spec = lookup(&command[0]).expect("the workload uses commands of the table");
            encode_op(&mut out, spec.id, &Args::new(&flat, &spans));
        }
        out.into()
    }
}

/// A command of the given words.
pub fn command<const N: usize>(words: [&[u8]; N]) -> Command {
    words.map(<[u8]>::to_vec).into()
}

/// Key number `n`.
pub fn key(n: u64) -> Vec<u8> {
    format!("key:{n}").into_bytes()
}

/// A stream of batches.
pub struct Workload {
    rng: SeededRng,
    /// Numbers handed out, one for each value.
    values: u64,
    batches: u64,
}

impl Workload {
    /// The workload of `rng`.
    pub fn new(rng: SeededRng) -> Self {
        Self {
            rng,
            values: 0,
            batches: 0,
        }
    }

    /// The next batch, of a leader whose clock shows `time_ms`.
    pub fn batch(&mut self, time_ms: u64) -> Batch {
        self.batches += 1;
        let header = BatchHeader {
            time_ms,
            seed: self.rng.next_u64(),
            origin: 1,
            batch_seq: self.batches,
        };
        let count = 1 + self.rng.below(8);
        Batch {
            header,
            commands: (0..count).map(|_| self.command()).collect(),
        }
    }

    fn command(&mut self) -> Command {
        let key = self.key();
        let number = |n: u64| n.to_string().into_bytes();
        match self.rng.below(20) {
            0..=3 => command([b"set", &key, &self.value()]),
            4 => command([
                b"set",
                &key,
                &self.value(),
                b"px",
                &number(1 + self.rng.below(EXPIRE_MS_MAX)),
            ]),
            5 => command([b"set", &key, &self.value(), b"keepttl"]),
            6 => command([b"set", &key, &self.value(), b"nx"]),
            7 => command([b"set", &key, &number(self.rng.below(1_000))]),
            8 | 9 => command([b"incrby", &key, &number(self.rng.below(100))]),
            10 => command([b"append", &key, &self.value()]),
            11 => command([b"del", &key, &self.key()]),
            12 => command([b"pexpire", &key, &number(1 + self.rng.below(EXPIRE_MS_MAX))]),
            13 => command([b"persist", &key]),
            14 => command([b"rpush", &key, &self.value(), &self.value()]),
            15 => command([b"lpush", &key, &self.value()]),
            16 => command([if self.rng.chance(1, 2) { b"lpop" } else { b"rpop" }, &key]),
            17 => command([b"sadd", &key, &self.value()]),
            18 => command([b"hset", &key, b"field", &self.value()]),
            _ => command([b"get", &key]),
        }
    }

    fn key(&mut self) -> Vec<u8> {
        key(self.rng.below(KEY_COUNT))
    }

    /// Bytes never handed out before; usually short.
    fn value(&mut self) -> Vec<u8> {
        self.values += 1;
        let mut value = format!("value:{}", self.values).into_bytes();
        if self.rng.chance(1, 8) {
            let longer = value.len() + self.rng.below(VALUE_BYTES_MAX) as usize;
            value.resize(longer, b'.');
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_workload_and_values_never_repeat() {
        let batches = |seed| {
            let mut workload = Workload::new(SeededRng::new(seed));
            (0..50).map(|time| workload.batch(time)).collect::<Vec<_>>()
        };
        assert_eq!(batches(1), batches(1));
        assert_ne!(batches(1), batches(2));
        let mut values: Vec<Vec<u8>> = batches(1)
            .into_iter()
            .flat_map(|batch| batch.commands)
            .flatten()
            .collect();
        values.retain(|word| word.starts_with(b"value:"));
        let count = values.len();
        values.sort_unstable();
        values.dedup();
        assert_eq!(values.len(), count);
    }
}
