//! [`Replica`]: the keyspace of one group, executing entries as the server's state machine does.

use slotcore_engine::cmd::op::{BATCH_HEADER_BYTES, decode_header, decode_op, op_seed};
use slotcore_engine::cmd::{Args, Exec, Run, by_id, waiting};
use slotcore_engine::collections::Elements as _;
use slotcore_engine::keyspace::{Keyspace, KeyspaceOptions};

use crate::answer::Recorder;
use crate::model::{Model, Value};
use crate::workload::{KEY_COUNT, key};

/// Seed of the key hash; the same for every replica of the group.
const HASH_SEED: u64 = 0x5107_c04e;

/// Keys and values, with what executing an entry needs.
pub struct Replica {
    keyspace: Keyspace,
    spans: Vec<(u32, u32)>,
    answer: Recorder,
}

impl Default for Replica {
    fn default() -> Self {
        let keyspace = Keyspace::new(KeyspaceOptions { hash_seed: HASH_SEED });
        Self {
            keyspace,
            spans: Vec::new(),
            answer: Recorder::default(),
        }
    }
}

impl Replica {
    /// Executes an entry; returns the answers. `local_ms` is given by the planted bug that executes with the machine's
    /// own clock instead of the entry's time.
    ///
    /// # Errors
    /// When the payload is not a batch.
    pub fn apply(&mut self, payload: &[u8], local_ms: Option<u64>) -> Result<Vec<String>, String> {
        let header = decode_header(payload).map_err(|error| error.to_string())?;
        let time_ms = local_ms.unwrap_or(header.time_ms);
        self.keyspace.set_time(time_ms, time_ms);
        self.keyspace.waiters_mut().begin_entry(header.origin, header.batch_seq);
        let (mut at, mut answers) = (BATCH_HEADER_BYTES, Vec::new());
        while at < payload.len() {
            let buf = &payload[at..];
            let (id, used) = decode_op(buf, &mut self.spans).map_err(|error| error.to_string())?;
            let spec = by_id(id).ok_or_else(|| format!("command number {} is not known", id.0))?;
            let Run::Data(run) = spec.run else {
                return Err(format!("{} is no data command", spec.name));
            };
            let number = answers.len() as u32;
            let seed = op_seed(header.seed, u64::from(number));
            let args = Args::new(buf, &self.spans);
            run(
                &mut Exec::logged(&mut self.keyspace, args, seed, number),
                &mut self.answer,
            );
            if self.keyspace.waiters().has_news() {
                waiting::settle(&mut self.keyspace);
            }
            answers.push(self.answer.take());
            at += used;
        }
        Ok(answers)
    }

    /// The state in one number.
    pub fn digest(&mut self) -> u128 {
        self.keyspace.digest()
    }

    /// Removes some of what has expired, as a turn of the core does: no answer may change by it.
    pub fn expire_some(&mut self) {
        self.keyspace.expire_work(4);
    }

    /// Compares every key with the model.
    ///
    /// # Errors
    /// The first key that differs.
    pub fn compare(&mut self, model: &mut Model) -> Result<(), String> {
        for key in (0..KEY_COUNT).map(key) {
            let (expected, found) = (expected(model, &key), self.describe(&key));
            if expected != found {
                return Err(format!("{}: {found}, expected {expected}", key.escape_ascii()));
            }
        }
        Ok(())
    }

    fn describe(&mut self, key: &[u8]) -> String {
        const TYPE_KNOWN: &str = "the type was just asked for";
        let Some(kind) = self.keyspace.kind(key) else {
            return "nothing".into();
        };
        let content = match kind.name() {
            "string" => content(self.keyspace.get_str(key).expect(TYPE_KNOWN).expect(TYPE_KNOWN)),
            "list" => count(self.keyspace.list(key).expect(TYPE_KNOWN).expect(TYPE_KNOWN).len()),
            "set" => count(self.keyspace.set(key).expect(TYPE_KNOWN).expect(TYPE_KNOWN).len()),
            "hash" => count(self.keyspace.hash(key).expect(TYPE_KNOWN).expect(TYPE_KNOWN).len()),
            other => format!("unexpected {other}"),
        };
        let expire_at = self.keyspace.expire_at(key).expect(TYPE_KNOWN);
        format!("{} {content} expiring {expire_at:?}", kind.name())
    }
}

fn expected(model: &mut Model, key: &[u8]) -> String {
    let Some((value, expire_at)) = model.get(key) else {
        return "nothing".into();
    };
    let (kind, content) = match value {
        Value::Str(value) => ("string", content(value)),
        Value::List(list) => ("list", count(list.len())),
        Value::Set(set) => ("set", count(set.len())),
        Value::Hash(hash) => ("hash", count(hash.len())),
    };
    format!("{kind} {content} expiring {expire_at:?}")
}

fn content(bytes: &[u8]) -> String {
    crate::answer::string(bytes)
}

fn count(len: usize) -> String {
    format!("of {len}")
}
