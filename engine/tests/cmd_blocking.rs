//! Commands that wait for keys, as several clients see them: stories in `blocking_scripts/`, and random ones, in which
//! replicas that execute the same log agree, whenever a checkpoint was taken of their waiters.
//!
//! In a story each line is `client: command -> what it is told`, followed by what others are told because of it:
//! `; client: reply`. `waits` stands for no answer yet. `time-up client` ends the wait of a client. A line `@time ms` moves
//! the clock.

mod cmd_support;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::path::PathBuf;

use cmd_support::machine::pack;
use cmd_support::random::Random;
use cmd_support::script::{check, words};
use cmd_support::wire::{Wire, parse};
use slotcore_engine::cmd::op::{decode_op, encode_op, op_seed};
use slotcore_engine::cmd::waiting::{id_to_bytes, next_turn, settle};
use slotcore_engine::cmd::{Args, END_WAIT, Exec, NoReply, Run, Waiting, by_id, resolve};
use slotcore_engine::keyspace::{Keyspace, KeyspaceOptions};
use slotcore_engine::waiters::{WaiterId, Waiters};

const ORIGIN: u64 = 7;

/// Who executes the log and answers clients, as a leader does.
struct Leader {
    ks: Keyspace,
    batch: u64,
    waiting: BTreeMap<WaiterId, String>,
    proto: u8,
    /// Every operation executed, as its entry.
    log: Vec<(u64, Vec<u8>)>,
}

fn keyspace() -> Keyspace {
    let mut ks = Keyspace::new(KeyspaceOptions::default());
    ks.set_time(1_700_000_000_000, 1_700_000_000_000);
    ks
}

impl Leader {
    fn new() -> Self {
        Self {
            ks: keyspace(),
            batch: 0,
            waiting: BTreeMap::new(),
            proto: 2,
            log: Vec::new(),
        }
    }

    /// Executes one entry with one operation. What `client` and then others are told.
    fn entry(&mut self, client: &str, op: Vec<u8>) -> Vec<(String, String)> {
        self.batch += 1;
        self.log.push((self.ks.now_ms(), op.clone()));
        self.ks.waiters_mut().begin_entry(ORIGIN, self.batch);
        let mut spans = Vec::new();
        let (id, _) = decode_op(&op, &mut spans).unwrap();
        let Run::Data(run) = by_id(id).unwrap().run else {
            panic!("no data command")
        };
        let mut wire = Wire::new(self.proto);
        let mut exec = Exec::logged(&mut self.ks, Args::new(&op, &spans), op_seed(3, self.batch), 0);
        run(&mut exec, &mut wire);
        let mut told = Vec::new();
        if exec.waiting == Waiting::Waits {
            assert!(wire.bytes.is_empty(), "whoever waits is not answered");
            let registered = self.ks.waiters_mut().take_registered().unwrap();
            self.waiting.insert(registered.id, client.to_string());
            told.push((client.to_string(), "waits".to_string()));
        } else if id != END_WAIT.id {
            told.push((client.to_string(), value(&wire)));
        }
        while let Some(turn) = next_turn(&mut self.ks) {
            let (id, mut wire) = (turn.id(), Wire::new(self.proto));
            if turn.run(&mut self.ks, &mut wire) {
                told.push((self.waiting.remove(&id).unwrap(), value(&wire)));
            } else {
                assert!(wire.bytes.is_empty(), "whoever waits on is not answered");
            }
        }
        assert!(!self.ks.waiters().has_news());
        assert_eq!(self.ks.waiters().len(), self.waiting.len());
        told
    }

    fn command(&mut self, client: &str, line: &str) -> Vec<(String, String)> {
        let (buf, spans) = pack(&words(line));
        let args = Args::new(&buf, &spans);
        let spec = resolve(&args).unwrap();
        let mut op = Vec::new();
        encode_op(&mut op, spec.id, &args);
        self.entry(client, op)
    }

    /// Ends the wait of a client; says whether it waited.
    fn end_wait(&mut self, client: &str) -> bool {
        let found = self.waiting.iter().find(|(_, waits)| *waits == client);
        let Some((&id, _)) = found else { return false };
        self.waiting.remove(&id);
        let (bytes, mut op) = (id_to_bytes(id), Vec::new());
        encode_op(
            &mut op,
            END_WAIT.id,
            &Args::new(&bytes, &[(0, 0), (0, bytes.len() as u32)]),
        );
        assert!(self.entry(client, op).is_empty());
        true
    }
}

fn value(wire: &Wire) -> String {
    let (value, rest) = parse(&wire.bytes).expect("a whole reply");
    assert!(rest.is_empty(), "more than one reply");
    value.to_string()
}

fn line(leader: &mut Leader, source: &str) -> String {
    if let Some(client) = source.strip_prefix("time-up ") {
        return if leader.end_wait(client) {
            "ended"
        } else {
            "does not wait"
        }
        .to_string();
    }
    let (client, command) = source.split_once(": ").expect("client: command");
    let told = leader.command(client, command);
    let (own, others) = told.split_first().expect("the client is told something");
    let mut text = own.1.clone();
    for (client, reply) in others {
        write!(text, "; {client}: {reply}").unwrap();
    }
    text
}

#[test]
fn every_story_goes_as_written() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/blocking_scripts");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 2);
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let (mut leader, mut out) = (Leader::new(), String::new());
        for source in text.lines() {
            if source.is_empty() || source.starts_with('#') {
                // A story begins where the last one has left nothing.
                if source.is_empty() {
                    leader = Leader::new();
                }
                writeln!(out, "{source}").unwrap();
            } else if let Some(proto) = source.strip_prefix("@proto ") {
                leader.proto = proto.parse().unwrap();
                writeln!(out, "{source}").unwrap();
            } else if let Some(ms) = source.strip_prefix("@time ") {
                let ms = ms.parse().unwrap();
                leader.ks.set_time(ms, ms);
                writeln!(out, "{source}").unwrap();
            } else {
                let source = source.split(" -> ").next().unwrap().trim_end();
                let told = line(&mut leader, source);
                writeln!(out, "{source} -> {told}").unwrap();
            }
        }
        check(&path, &text, &out);
    }
}

/// Executes an entry that nobody waits for.
fn replay(ks: &mut Keyspace, batch: u64, time_ms: u64, op: &[u8]) {
    ks.set_time(time_ms, time_ms);
    ks.waiters_mut().begin_entry(ORIGIN, batch);
    let mut spans = Vec::new();
    let (id, _) = decode_op(op, &mut spans).unwrap();
    let Run::Data(run) = by_id(id).unwrap().run else {
        panic!("no data command")
    };
    run(
        &mut Exec::logged(ks, Args::new(op, &spans), op_seed(3, batch), 0),
        &mut NoReply,
    );
    if ks.waiters().has_news() {
        settle(ks);
    }
}

fn export(ks: &Keyspace) -> Vec<u8> {
    let mut bytes = Vec::new();
    ks.waiters().export(&mut bytes);
    bytes
}

/// What every client is told by a list server that is told to be naive: lists, and a queue of clients. Elements never
/// repeat, so the model need only know who may get what.
#[derive(Default)]
struct Model {
    lists: BTreeMap<String, VecDeque<String>>,
    /// In the order they came: client, keys, whether from the front.
    waiting: Vec<(String, Vec<String>, bool)>,
}

impl Model {
    fn pop(&mut self, keys: &[String], front: bool) -> Option<String> {
        let key = keys
            .iter()
            .find(|key| self.lists.get(*key).is_some_and(|list| !list.is_empty()))?;
        let list = self.lists.get_mut(key).unwrap();
        let element = if front { list.pop_front() } else { list.pop_back() }.unwrap();
        Some(format!("[\"{key}\", \"{element}\"]"))
    }

    fn push(&mut self, key: &str, elements: &[String]) -> Vec<(String, String)> {
        self.lists
            .entry(key.to_string())
            .or_default()
            .extend(elements.iter().cloned());
        let mut told = Vec::new();
        let mut at = 0;
        while at < self.waiting.len() {
            let (client, keys, front) = self.waiting[at].clone();
            match self.pop(&keys, front) {
                Some(reply) => {
                    self.waiting.remove(at);
                    told.push((client, reply));
                }
                None => at += 1,
            }
        }
        told
    }
}

#[test]
fn clients_are_served_as_by_a_naive_server_and_replicas_agree() {
    for seed in 0..20 {
        let (mut leader, mut model, mut r) = (Leader::new(), Model::default(), Random::new(seed));
        let (mut replica, mut late) = (keyspace(), None);
        let (mut next_element, mut next_client) = (0, 0);
        for step in 0..1500 {
            let executed = leader.log.len();
            if r.below(20) == 0 {
                let now = leader.ks.now_ms() + 1;
                leader.ks.set_time(now, now);
            }
            match r.below(10) {
                0..=3 => {
                    next_client += 1;
                    let keys: Vec<String> = (0..1 + r.below(3)).map(|_| format!("k{}", r.below(5))).collect();
                    let front = r.below(2) == 0;
                    let client = format!("c{next_client}");
                    let command = format!("{} {} 0", if front { "blpop" } else { "brpop" }, keys.join(" "));
                    let expected = match model.pop(&keys, front) {
                        Some(reply) => reply,
                        None => {
                            model.waiting.push((client.clone(), keys, front));
                            "waits".to_string()
                        }
                    };
                    assert_eq!(
                        leader.command(&client, &command),
                        [(client, expected)],
                        "seed {seed}: {command}"
                    );
                }
                4..=7 => {
                    let elements: Vec<String> = (0..1 + r.below(3))
                        .map(|_| {
                            next_element += 1;
                            format!("e{next_element}")
                        })
                        .collect();
                    let key = format!("k{}", r.below(5));
                    let command = format!("rpush {key} {}", elements.join(" "));
                    let told = leader.command("pusher", &command);
                    assert_eq!(told[1..], model.push(&key, &elements), "seed {seed}: {command}");
                }
                8 => {
                    let key = format!("k{}", r.below(5));
                    leader.command("deleter", &format!("del {key}"));
                    model.lists.remove(&key);
                }
                _ => {
                    if !model.waiting.is_empty() {
                        let (client, ..) = model.waiting.remove(r.below(model.waiting.len()));
                        assert!(leader.end_wait(&client));
                    }
                }
            }
            if leader.log.len() == executed {
                continue;
            }
            let (time_ms, op) = leader.log[executed].clone();
            replay(&mut replica, leader.batch, time_ms, &op);
            if let Some(late) = &mut late {
                replay(late, leader.batch, time_ms, &op);
            } else if step >= 700 {
                // A replica that begins with a checkpoint: the waiters come from their bytes.
                let mut ks = keyspace();
                for (batch, (time_ms, op)) in leader.log.iter().enumerate() {
                    replay(&mut ks, batch as u64 + 1, *time_ms, op);
                }
                *ks.waiters_mut() = Waiters::import(&export(&leader.ks)).unwrap();
                late = Some(ks);
            }
            if step % 50 == 49 {
                for other in [Some(&mut replica), late.as_mut()].into_iter().flatten() {
                    assert_eq!(other.digest(), leader.ks.digest(), "seed {seed}");
                    assert_eq!(export(other), export(&leader.ks), "seed {seed}");
                }
            }
        }
        assert!(leader.log.len() > 700);
    }
}

#[test]
fn nothing_waits_inside_a_transaction_or_before_the_log() {
    let mut ks = keyspace();
    for (line, nothing) in [
        ("blpop a 0", "null-array"),
        ("blmove a b LEFT LEFT 0", "null"),
        ("bzmpop 0 1 a MIN", "null-array"),
    ] {
        let (buf, spans) = pack(&words(line));
        let args = Args::new(&buf, &spans);
        let Run::Data(run) = resolve(&args).unwrap().run else {
            panic!("no data command")
        };
        let mut wire = Wire::new(2);
        run(&mut Exec::nested(&mut ks, args, 0), &mut wire);
        assert_eq!(value(&wire), nothing, "{line}");
        let mut wire = Wire::new(2);
        let mut exec = Exec::new(&mut ks, args, 0);
        run(&mut exec, &mut wire);
        assert_eq!((exec.waiting, wire.bytes.len()), (Waiting::Waits, 0), "{line}");
        assert!(ks.waiters().is_empty() && !ks.waiters().has_news());
    }
}
