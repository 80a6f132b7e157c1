//! A keyspace with the way a command takes through the server: found by name, coded for the log if it writes, decoded,
//! executed.

use super::wire::{Value, Wire, normalised, parse};
use slotcore_engine::cmd::op::{decode_op, encode_op, op_seed};
use slotcore_engine::cmd::{
    Args, Exec, NoReply, Reply, Run, ServerCmd, Waiting, by_id, introspect, resolve, when_scarce,
};
use slotcore_engine::keyspace::{Keyspace, KeyspaceOptions};

/// Scripts that go on for ever are stopped early here.
const SCRIPT_WORK_MAX: u64 = 2_000_000;

pub struct Machine {
    pub ks: Keyspace,
    pub proto: u8,
    /// Commands so far: the seed of the next one.
    pub executed: u64,
}

/// The words one after the other, and where each lies.
pub fn pack(words: &[Vec<u8>]) -> (Vec<u8>, Vec<(u32, u32)>) {
    let mut at = 0;
    let spans = words.iter().map(|w| {
        at += w.len() as u32;
        (at - w.len() as u32, w.len() as u32)
    });
    let spans = spans.collect();
    (words.concat(), spans)
}

impl Machine {
    pub fn new() -> Self {
        let mut ks = Keyspace::new(KeyspaceOptions::default());
        ks.set_time(1_700_000_000_000, 1_700_000_000_000);
        ks.scripts_mut().limit_work(SCRIPT_WORK_MAX);
        Self {
            ks,
            proto: 2,
            executed: 0,
        }
    }

    pub fn set_time(&mut self, ms: u64) {
        self.ks.set_time(ms, ms);
    }

    /// Executes one command for which nobody waits, as a replica does.
    pub fn apply(&mut self, words: &[Vec<u8>]) {
        let (buf, spans) = pack(words);
        self.run(&Args::new(&buf, &spans), &mut NoReply);
    }

    /// Executes one command; the reply, with what has no order sorted.
    pub fn execute(&mut self, words: &[Vec<u8>]) -> Value {
        let (buf, spans) = pack(words);
        let mut wire = Wire::new(self.proto);
        self.run(&Args::new(&buf, &spans), &mut wire);
        let (value, rest) = parse(&wire.bytes).expect("a whole reply");
        assert!(
            rest.is_empty(),
            "more than one reply: {:?}",
            wire.bytes.escape_ascii().to_string()
        );
        let command = String::from_utf8_lossy(&words[0]).to_ascii_lowercase();
        normalised(&command, value)
    }

    /// Executes a command of this machine alone: nothing is logged, and what is logged later is numbered as if it had not
    /// been.
    pub fn local(&mut self, words: &[Vec<u8>]) {
        let (buf, spans) = pack(words);
        let executed = self.executed;
        self.run(&Args::new(&buf, &spans), &mut NoReply);
        self.executed = executed;
    }

    /// Executes a script as it is logged while memory is exhausted.
    pub fn execute_scarce(&mut self, words: &[Vec<u8>]) -> Value {
        let (buf, spans) = pack(words);
        let args = Args::new(&buf, &spans);
        let hidden = when_scarce(resolve(&args).expect("a command")).expect("a command that runs a script");
        let (mut coded, mut spans) = (Vec::new(), Vec::new());
        encode_op(&mut coded, hidden.id, &args);
        let (id, _) = decode_op(&coded, &mut spans).expect("just coded");
        let Some(Run::Data(f)) = by_id(id).map(|spec| spec.run) else {
            panic!("operation {} is a command on data", id.0)
        };
        let mut wire = Wire::new(self.proto);
        f(&mut Exec::new(&mut self.ks, Args::new(&coded, &spans), 7), &mut wire);
        parse(&wire.bytes).expect("a whole reply").0
    }

    /// Executes one line of a script.
    pub fn text(&mut self, line: &str) -> Value {
        self.execute(&super::script::words(line))
    }

    fn run(&mut self, args: &Args<'_>, reply: &mut dyn Reply) {
        let spec = match resolve(args) {
            Ok(spec) => spec,
            Err(error) => return reply.error(&error),
        };
        self.executed += 1;
        let seed = op_seed(7, self.executed);
        match spec.run {
            Run::Data(f) if spec.is_write() => {
                let (mut coded, mut spans) = (Vec::new(), Vec::new());
                encode_op(&mut coded, spec.id, args);
                let (id, used) = decode_op(&coded, &mut spans).expect("just coded");
                assert_eq!(
                    (by_id(id).map(|s| s.full_name), used),
                    (Some(spec.full_name), coded.len())
                );
                let args = Args::new(&coded, &spans);
                self.ks.waiters_mut().begin_entry(1, self.executed);
                let mut exec = Exec::logged(&mut self.ks, args, seed, 0);
                f(&mut exec, reply);
                if exec.waiting == Waiting::Waits {
                    // Nobody waits here: its time is up at once.
                    let registered = self.ks.waiters_mut().take_registered().expect("it waits");
                    self.ks.waiters_mut().cancel(registered.id);
                    reply.null_array();
                }
            }
            Run::Data(f) => {
                let mut exec = Exec::new(&mut self.ks, *args, seed);
                f(&mut exec, reply);
                if exec.waiting == Waiting::Waits {
                    reply.null_array();
                }
            }
            Run::Server(ServerCmd::CommandGetKeys) => introspect::command_getkeys(&args.tail(2), false, reply),
            Run::Server(ServerCmd::CommandGetKeysAndFlags) => introspect::command_getkeys(&args.tail(2), true, reply),
            Run::Server(_) | Run::Transaction(_) | Run::Container => reply.simple("(not about the keyspace)"),
        }
    }
}
