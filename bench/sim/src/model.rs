//! [`Model`]: what the commands of the workload mean, in the plainest words: a map and a clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::answer::{int, string};
use crate::workload::{Batch, Command};

/// A value of one of the types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A string.
    Str(Vec<u8>),
    /// A list.
    List(VecDeque<Vec<u8>>),
    /// A set.
    Set(BTreeSet<Vec<u8>>),
    /// A hash.
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
}

#[derive(Clone, Debug)]
struct Held {
    value: Value,
    expire_at: Option<u64>,
}

/// The expected state.
#[derive(Clone, Debug, Default)]
pub struct Model {
    keys: BTreeMap<Vec<u8>, Held>,
    clock_ms: u64,
}

const OK: &str = "+OK";
const NULL: &str = "_";
const WRONG_TYPE: &str = "-WRONGTYPE";

impl Model {
    /// Carries out a batch; returns the answers.
    pub fn apply(&mut self, batch: &Batch) -> Vec<String> {
        self.clock_ms = self.clock_ms.max(batch.header.time_ms);
        batch.commands.iter().map(|command| self.run(command)).collect()
    }

    /// The value of a key, and when it expires.
    pub fn get(&mut self, key: &[u8]) -> Option<(&Value, Option<u64>)> {
        self.expire(key);
        self.keys.get(key).map(|held| (&held.value, held.expire_at))
    }

    /// Keys that have not expired.
    pub fn len(&self) -> u64 {
        let alive = |held: &&Held| held.expire_at.is_none_or(|at| at > self.clock_ms);
        self.keys.values().filter(alive).count() as u64
    }

    /// True when every key has expired.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn expire(&mut self, key: &[u8]) {
        if self
            .keys
            .get(key)
            .is_some_and(|held| held.expire_at.is_some_and(|at| at <= self.clock_ms))
        {
            self.keys.remove(key);
        }
    }

    fn run(&mut self, command: &Command) -> String {
        let words: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
        self.expire(words[1]);
        match words[..] {
            [b"set", key, value, ref options @ ..] => self.set(key, value, options),
            [b"get", key] => match self.keys.get(key).map(|held| &held.value) {
                Some(Value::Str(value)) => string(value),
                Some(_) => WRONG_TYPE.into(),
                None => NULL.into(),
            },
            [b"incrby", key, by] => self.incr_by(key, number(by)),
            [b"append", key, tail] => match self.entry(key, || Value::Str(Vec::new())) {
                Value::Str(value) => {
                    value.extend_from_slice(tail);
                    int(value.len() as i64)
                }
                _ => WRONG_TYPE.into(),
            },
            [b"del", ref keys @ ..] => int(keys.iter().map(|key| i64::from(self.del(key))).sum()),
            [b"pexpire", key, by] => {
                let at = self.clock_ms + number(by) as u64;
                match self.keys.get_mut(key) {
                    Some(held) => {
                        held.expire_at = Some(at);
                        int(1)
                    }
                    None => int(0),
                }
            }
            [b"persist", key] => int(i64::from(
                self.keys
                    .get_mut(key)
                    .is_some_and(|held| held.expire_at.take().is_some()),
            )),
            [b"rpush", key, ref values @ ..] => self.push(key, values, VecDeque::push_back),
            [b"lpush", key, ref values @ ..] => self.push(key, values, VecDeque::push_front),
            [b"lpop", key] => self.pop(key, VecDeque::pop_front),
            [b"rpop", key] => self.pop(key, VecDeque::pop_back),
            [b"sadd", key, member] => match self.entry(key, || Value::Set(BTreeSet::new())) {
                Value::Set(set) => int(i64::from(set.insert(member.to_vec()))),
                _ => WRONG_TYPE.into(),
            },
            [b"hset", key, field, value] => match self.entry(key, || Value::Hash(BTreeMap::new())) {
                Value::Hash(hash) => int(i64::from(hash.insert(field.to_vec(), value.to_vec()).is_none())),
                _ => WRONG_TYPE.into(),
            },
            _ => panic!("the model does not know {:?}", command[0].escape_ascii().to_string()),
        }
    }

    fn set(&mut self, key: &[u8], value: &[u8], options: &[&[u8]]) -> String {
        let old = self.keys.get(key);
        let expire_at = match *options {
            [b"px", by] => Some(self.clock_ms + number(by) as u64),
            [b"keepttl"] => old.and_then(|held| held.expire_at),
            [b"nx"] if old.is_some() => return NULL.into(),
            _ => None,
        };
        self.keys.insert(
            key.to_vec(),
            Held {
                value: Value::Str(value.to_vec()),
                expire_at,
            },
        );
        OK.into()
    }

    fn incr_by(&mut self, key: &[u8], by: i64) -> String {
        let Value::Str(value) = self.entry(key, || Value::Str(b"0".to_vec())) else {
            return WRONG_TYPE.into();
        };
        match std::str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse::<i64>().ok())
        {
            Some(old) => {
                *value = (old + by).to_string().into_bytes();
                int(old + by)
            }
            None => "-ERR".into(),
        }
    }

    fn push(&mut self, key: &[u8], values: &[&[u8]], push: fn(&mut VecDeque<Vec<u8>>, Vec<u8>)) -> String {
        let Value::List(list) = self.entry(key, || Value::List(VecDeque::new())) else {
            return WRONG_TYPE.into();
        };
        values.iter().for_each(|value| push(list, value.to_vec()));
        int(list.len() as i64)
    }

    fn pop(&mut self, key: &[u8], pop: fn(&mut VecDeque<Vec<u8>>) -> Option<Vec<u8>>) -> String {
        let Some(held) = self.keys.get_mut(key) else {
            return NULL.into();
        };
        let Value::List(list) = &mut held.value else {
            return WRONG_TYPE.into();
        };
        let value = pop(list).expect("an empty list is removed at once");
        if list.is_empty() {
            self.keys.remove(key);
        }
        string(&value)
    }

    fn del(&mut self, key: &[u8]) -> bool {
        self.expire(key);
        self.keys.remove(key).is_some()
    }

    fn entry(&mut self, key: &[u8], new: fn() -> Value) -> &mut Value {
        &mut self
            .keys
            .entry(key.to_vec())
            .or_insert_with(|| Held {
                value: new(),
                expire_at: None,
            })
            .value
    }
}

fn number(word: &[u8]) -> i64 {
    std::str::from_utf8(word)
        .ok()
        .and_then(|text| text.parse().ok())
        .expect("the workload writes numbers here")
}

#[cfg(test)]
mod tests {
    use slotcore_engine::cmd::op::BatchHeader;

    use super::*;
    use crate::workload::command;

    fn run(model: &mut Model, time_ms: u64, words: Command) -> String {
        let header = BatchHeader {
            time_ms,
            ..BatchHeader::default()
        };
        model
            .apply(&Batch {
                header,
                commands: vec![words],
            })
            .remove(0)
    }

    #[test]
    fn keys_expire_with_the_batches_clock_which_never_goes_back() {
        let mut model = Model::default();
        assert_eq!(run(&mut model, 100, command([b"set", b"a", b"1", b"px", b"10"])), "+OK");
        assert_eq!(run(&mut model, 109, command([b"incrby", b"a", b"2"])), ":3");
        assert_eq!(run(&mut model, 110, command([b"get", b"a"])), "_");
        assert_eq!(run(&mut model, 50, command([b"set", b"b", b"1", b"px", b"10"])), "+OK");
        assert_eq!(model.get(b"b").unwrap().1, Some(120));
    }

    #[test]
    fn types_do_not_mix() {
        let mut model = Model::default();
        assert_eq!(run(&mut model, 0, command([b"rpush", b"a", b"1", b"2"])), ":2");
        assert_eq!(run(&mut model, 0, command([b"append", b"a", b"x"])), "-WRONGTYPE");
        assert_eq!(run(&mut model, 0, command([b"rpop", b"a"])), "\"2\"");
        assert_eq!(run(&mut model, 0, command([b"rpop", b"a"])), "\"1\"");
        assert_eq!(run(&mut model, 0, command([b"rpop", b"a"])), "_");
        assert!(model.is_empty());
    }
}
