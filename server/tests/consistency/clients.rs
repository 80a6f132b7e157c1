//! The life of a client: one call at a time, sent until somebody answers it or it may have been executed.

use std::collections::BTreeSet;

use slotcore_engine::ord::slot_of;
use slotcore_rt::rng::SeededRng;

use crate::client::Reply;
use crate::cluster::Follower;
use crate::history::{History, Shared};
use crate::support::Op;
use crate::support::models::{Call, Count, Listed};

/// Keys of each kind that are in use at a time.
const KEYS: u64 = 2;

/// One client.
pub struct Life<'a> {
    client: Follower,
    shared: &'a Shared,
    cores: u16,
    /// Its own set, which only grows.
    ledger: String,
    history: History,
}

/// What a call was told, and when.
struct Told {
    sent: u64,
    /// The reply, and when it came; `None`: it may have been executed.
    reply: Option<(Reply, u64)>,
}

impl Told {
    fn op<C>(&self, call: C) -> Op<C> {
        Op {
            call,
            sent: self.sent,
            answered: self.reply.as_ref().map(|(_, at)| *at),
        }
    }

    fn number(&self) -> i64 {
        match &self.reply {
            Some((Reply::Nil, _)) | None => 0,
            Some((reply, _)) => reply.text().parse().expect("numbers only"),
        }
    }

    fn value(&self) -> Option<u32> {
        match &self.reply {
            Some((Reply::Nil, _)) | None => None,
            Some((reply, _)) => Some(reply.text().parse().expect("a value that was written")),
        }
    }

    fn values(&self) -> Vec<u32> {
        match &self.reply {
            Some((Reply::Array(items), _)) => {
                let value = |item: &Reply| item.text().parse().expect("a value that was written");
                items.iter().map(value).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl<'a> Life<'a> {
    /// A client that goes its way by `client`. `name` is its own.
    pub fn new(client: Follower, name: u64, cores: u16, shared: &'a Shared) -> Self {
        Self {
            client,
            shared,
            cores,
            ledger: format!("ledger:{name}"),
            history: History::default(),
        }
    }

    /// Calls until the end.
    pub fn live(mut self, seed: u64) -> History {
        let mut rng = SeededRng::new(seed);
        while !self.shared.has_ended() {
            let key = |kind: &str, rng: &mut SeededRng| format!("{kind}:{}:{}", self.shared.epoch(), rng.below(KEYS));
            match rng.below(8) {
                0..3 => {
                    let key = key("register", &mut rng);
                    self.on_register(&key, &mut rng);
                }
                3 | 4 => {
                    let key = key("counter", &mut rng);
                    self.on_counter(&key, &mut rng);
                }
                5 | 6 => {
                    let key = key("list", &mut rng);
                    self.on_list(&key, &mut rng);
                }
                _ => self.add(),
            }
        }
        self.history
    }

    fn ask(&mut self, words: &[&str], writes: bool) -> Told {
        let mut sent = 0;
        let reply = self.client.try_call_from(words, || sent = self.shared.now()).ok();
        let reply = reply.filter(|reply| match reply {
            Reply::Error(text) => {
                assert!(text.starts_with("TIMEOUT "), "{words:?}: {text}");
                false
            }
            _ => true,
        });
        if reply.is_some() && writes {
            let core = u32::from(slot_of(words[1].as_bytes())) * u32::from(self.cores) / 16_384;
            self.shared.acknowledged(core as u16);
        }
        Told {
            sent,
            reply: reply.map(|reply| (reply, self.shared.now())),
        }
    }

    fn on_register(&mut self, key: &str, rng: &mut SeededRng) {
        let value = self.shared.value();
        let text = value.to_string();
        let op = match rng.below(8) {
            0..3 => self.ask(&["SET", key, &text], true).op(Call::Set(value)),
            3 => {
                let told = self.ask(&["GETSET", key, &text], true);
                told.op(Call::Swap(told.value(), value))
            }
            4 => {
                let told = self.ask(&["GETDEL", key], true);
                told.op(Call::Take(told.value()))
            }
            _ => {
                let told = self.ask(&["GET", key], false);
                told.op(Call::Get(told.value()))
            }
        };
        self.history.registers.entry(key.into()).or_default().push(op);
    }

    fn on_counter(&mut self, key: &str, rng: &mut SeededRng) {
        let op = match rng.chance(2, 3) {
            true => {
                let told = self.ask(&["INCR", key], true);
                told.op(Count::Incr(told.number()))
            }
            false => {
                let told = self.ask(&["GET", key], false);
                told.op(Count::Get(told.number()))
            }
        };
        // A read that was not answered says nothing.
        if op.answered.is_some() || matches!(op.call, Count::Incr(_)) {
            self.history.counters.entry(key.into()).or_default().push(op);
        }
    }

    fn on_list(&mut self, key: &str, rng: &mut SeededRng) {
        let op = match rng.below(8) {
            0..3 => {
                let value = self.shared.value();
                let told = self.ask(&["RPUSH", key, &value.to_string()], true);
                told.op(Listed::Push(value, told.number() as usize))
            }
            3 | 4 => {
                let told = self.ask(&["LPOP", key], true);
                told.op(Listed::Pop(told.value()))
            }
            _ => {
                let told = self.ask(&["LRANGE", key, "0", "-1"], false);
                told.op(Listed::Range(told.values()))
            }
        };
        self.history.lists.entry(key.into()).or_default().push(op);
    }

    fn add(&mut self) {
        let (key, value) = (self.ledger.clone(), self.shared.value());
        let told = self.ask(&["SADD", &key, &value.to_string()], true);
        let sets = match told.reply {
            Some(_) => &mut self.history.added,
            None => &mut self.history.perhaps_added,
        };
        sets.entry(key).or_default().insert(value);
    }
}

/// Reads everything once more, and says what of `history` nothing explains. `client`: not answered is asked again.
pub fn final_check(mut client: Follower, shared: &Shared, mut history: History) -> Vec<String> {
    fn read<C>(calls: &mut Vec<Op<C>>, shared: &Shared, ask: impl FnOnce() -> C) {
        let sent = shared.now();
        let call = ask();
        let answered = Some(shared.now());
        calls.push(Op { call, sent, answered });
    }
    let told = |reply: Reply| Told {
        sent: 0,
        reply: Some((reply, 0)),
    };
    for (key, calls) in &mut history.registers {
        read(calls, shared, || Call::Get(told(client.call(&["GET", key])).value()));
    }
    for (key, calls) in &mut history.counters {
        read(calls, shared, || Count::Get(told(client.call(&["GET", key])).number()));
    }
    for (key, calls) in &mut history.lists {
        read(calls, shared, || {
            Listed::Range(told(client.call(&["LRANGE", key, "0", "-1"])).values())
        });
    }
    let mut violations = history.violations();
    let ledgers: BTreeSet<&String> = history.added.keys().chain(history.perhaps_added.keys()).collect();
    for key in ledgers {
        let there = told(client.call(&["SMEMBERS", key])).values().into_iter().collect();
        violations.extend(history.check_added(key, &there).err());
    }
    violations
}
