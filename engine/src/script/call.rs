//! `redis.call` and `redis.pcall`: commands that a script carries out.
//!
//! While a script runs the keyspace lies in the [`World`] of its interpreter, so that its functions can reach it; before and
//! after, an empty one lies there in its place.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value};

use super::budget::Budget;
use super::caller::{Caller, Denial, Denied};
use super::effects::Outbox;
use super::library::Library;
use super::limits::CALL_WORK;
use super::to_lua::LuaReply;
use crate::cmd::op::op_seed;
use crate::cmd::stored::{is_stored_form, selected, store, swaps_databases};
use crate::cmd::together::sorts_by_other_keys;
use crate::cmd::{
    Args, CommandSpec, Exec, Flags, Reply, Run, ServerCmd, debug_protocol, for_each_key, lookup, prepare,
};
use crate::database::Database;
use crate::keyspace::{Keyspace, KeyspaceOptions};
use crate::number::format_f64;
use crate::ord::slot_of;

/// What the functions of an interpreter share.
pub(super) struct World {
    keyspace: RefCell<Keyspace>,
    /// Arguments of the call that is being made.
    words: RefCell<Words>,
    /// The same in its stored form, where that is another.
    stored: RefCell<Words>,
    /// What the script has selected.
    database: Cell<Database>,
    seed: Cell<u64>,
    calls: Cell<u64>,
    read_only: Cell<bool>,
    scarce: Cell<bool>,
    proto: Cell<u8>,
    /// State of the script's random numbers.
    random: Cell<u64>,
    outbox: Outbox,
    /// Who calls, if he may not do everything.
    caller: RefCell<Option<Rc<Caller>>>,
}

#[derive(Default)]
struct Words {
    bytes: Vec<u8>,
    spans: Vec<(u32, u32)>,
}

/// Multiplier, increment and bits of the generator behind `math.random`: that of C's `lrand48`, as in Redis.
const RANDOM_MULTIPLIER: u64 = 0x5_deec_e66d;
const RANDOM_INCREMENT: u64 = 0xb;
const RANDOM_MASK: u64 = (1 << 48) - 1;

impl World {
    pub(super) fn new(outbox: Outbox) -> Self {
        Self {
            keyspace: RefCell::new(Keyspace::new(KeyspaceOptions::default())),
            words: RefCell::default(),
            stored: RefCell::default(),
            database: Cell::default(),
            seed: Cell::new(0),
            calls: Cell::new(0),
            read_only: Cell::new(true),
            scarce: Cell::new(false),
            proto: Cell::new(2),
            random: Cell::new(0),
            outbox,
            caller: RefCell::default(),
        }
    }

    /// A script begins, whose random choices `seed` decides.
    pub(super) fn begin(&self, seed: u64, read_only: bool, scarce: bool, caller: Option<Rc<Caller>>) {
        *self.caller.borrow_mut() = caller;
        self.seed.set(seed);
        self.calls.set(0);
        self.read_only.set(read_only);
        self.scarce.set(scarce);
        self.proto.set(2);
        self.random.set(seed & RANDOM_MASK);
    }

    /// Commands work in this database from now on.
    pub(super) fn select(&self, database: Database) {
        self.database.set(database);
    }

    /// Takes the keyspace in, or gives it back.
    pub(super) fn swap(&self, keyspace: &mut Keyspace) {
        let inside = &mut *self.keyspace.borrow_mut();
        std::mem::swap(keyspace, inside);
        keyspace.swap_encodings(inside);
        // Whichever of the two is real: nothing is noted in the other.
        inside.hide_uses(true);
        keyspace.hide_uses(false);
    }

    /// The version of RESP in which the script sees answers.
    pub(super) fn proto(&self) -> u8 {
        self.proto.get()
    }

    /// Chooses it.
    pub(super) fn set_proto(&self, proto: u8) {
        self.proto.set(proto);
    }

    /// A number from 0 to below 1.
    pub(super) fn random(&self) -> f64 {
        let next = self
            .random
            .get()
            .wrapping_mul(RANDOM_MULTIPLIER)
            .wrapping_add(RANDOM_INCREMENT)
            & RANDOM_MASK;
        self.random.set(next);
        // 31 bits of it are a number below the largest such.
        let max = (1u64 << 31) - 1;
        ((next >> 17) % max) as f64 / max as f64
    }

    /// Begins the random numbers anew.
    pub(super) fn seed_random(&self, seed: i64) {
        self.random.set(((seed as u64) << 16 | 0x330e) & RANDOM_MASK);
    }

    /// Whether the caller may run the command that the arguments call; `None`: they call none.
    pub(super) fn may_call(&self, args: &MultiValue) -> Option<bool> {
        let mut words = self.words.borrow_mut();
        words.clear();
        let understood = args.iter().all(|value| words.push(value));
        let args = words.args();
        let spec = find(&args).filter(|spec| understood && spec.accepts(args.len()))?;
        Some(self.denial(spec, &args).is_none())
    }

    /// Why the caller may not do that, if so.
    fn denial(&self, spec: &CommandSpec, args: &Args<'_>) -> Option<Denial> {
        let caller = self.caller.borrow();
        caller.as_ref().and_then(|caller| caller.rights.denial(spec, args))
    }

    /// Tells the server of a denial.
    #[cold]
    fn note_denial(&self, what: Denial, spec: &CommandSpec, args: &Args<'_>) {
        let object = match what {
            Denial::Command => spec.full_name.as_bytes(),
            Denial::Key(at) | Denial::Channel(at) => args.get(at),
        };
        if let Some(caller) = &*self.caller.borrow() {
            self.outbox.deny(Denied {
                user: caller.user.clone(),
                client: caller.client,
                what,
                object: object.to_vec(),
            });
        }
    }

    /// Carries out the command that `args` call: whether it succeeded, and its answer.
    pub(super) fn call(&self, lua: &Lua, budget: &Budget, args: &MultiValue) -> mlua::Result<(bool, Value)> {
        let mut words = self.words.borrow_mut();
        words.clear();
        let understood = args.iter().all(|value| words.push(value));
        self.call_words(lua, budget, &words, understood)
    }

    /// The same with `count` arguments in a table.
    pub(super) fn call_table(
        &self,
        lua: &Lua,
        budget: &Budget,
        args: &Table,
        count: usize,
    ) -> mlua::Result<(bool, Value)> {
        let mut words = self.words.borrow_mut();
        words.clear();
        let mut understood = true;
        for index in 1..=count {
            understood &= words.push(&args.raw_get(index)?);
        }
        self.call_words(lua, budget, &words, understood)
    }

    /// The script answers with an error that one of its calls was answered with.
    pub(super) fn pass_error_on(&self, text: &str) {
        self.outbox.pass_error_on(text);
    }

    fn call_words(&self, lua: &Lua, budget: &Budget, words: &Words, understood: bool) -> mlua::Result<(bool, Value)> {
        budget.spend(CALL_WORK)?;
        Library::charge_bytes(budget, words.bytes.len())?;
        let mut reply = LuaReply::new(lua, self.proto.get());
        if !understood {
            reply.misuse("ERR Lua redis lib command arguments must be strings or integers");
        } else if words.spans.is_empty() {
            reply.misuse("ERR Please specify at least one argument for this redis lib call");
        } else {
            self.carry_out(words.args(), &mut reply);
        }
        Library::charge_bytes(budget, reply.taken())?;
        reply.finish()
    }

    fn carry_out(&self, args: Args<'_>, reply: &mut LuaReply<'_>) {
        let Some(spec) = find(&args) else {
            reply.error("ERR Unknown Redis command called from script");
            return self.outbox.count_error("ERR");
        };
        let ran = match self.refusal(spec, &args) {
            Some(text) => {
                reply.error(&text);
                false
            }
            None => self.run_stored(spec, args, reply),
        };
        self.outbox.count(spec, ran, reply.failure().is_some());
        if let Some(kind) = reply.failure() {
            self.outbox.count_error(kind);
        }
    }

    /// Why a script may not call that, if so.
    fn refusal(&self, spec: &'static CommandSpec, args: &Args<'_>) -> Option<Cow<'static, str>> {
        if !spec.accepts(args.len()) {
            return Some("ERR Wrong number of args calling Redis command from script".into());
        }
        // Every core would have to do the other at the same moment.
        let is_forbidden = spec.flags.has(Flags::NOSCRIPT) || swaps_databases(spec);
        if is_forbidden && !is_debug_protocol(spec, args) {
            return Some(NOT_FROM_SCRIPTS.into());
        }
        if let Some(what) = self.denial(spec, args) {
            self.note_denial(what, spec, args);
            return Some(what.text().into());
        }
        if self.read_only.get() && (spec.is_write() || publishes(spec)) {
            return Some("ERR Write commands are not allowed from read-only scripts.".into());
        }
        if spec.flags.has(Flags::BLOCKING) && asks_to_wait(args) {
            let name = String::from_utf8_lossy(args.get(0));
            return Some(format!("ERR {name} command is not allowed with BLOCK option from scripts").into());
        }
        if self.scarce.get() && spec.flags.has(Flags::DENYOOM) {
            return Some("OOM command not allowed when used memory > 'maxmemory'.".into());
        }
        None
    }

    /// Why a script may not touch that on this core, if so. `args`: in their stored form.
    fn out_of_reach(&self, spec: &'static CommandSpec, args: &Args<'_>) -> Option<&'static str> {
        let (ks, mut is_local) = (&mut *self.keyspace.borrow_mut(), true);
        if ks.holds_copies() && looks_at_unnamed(spec, args) {
            return Some(UNNAMED);
        }
        for_each_key(spec, args, |_, at| {
            let key = args.get(at);
            is_local &= ks.serves(slot_of(key)) && ks.may_touch(key);
        });
        (!is_local).then_some("ERR Script attempted to access a non local key in a cluster node")
    }

    /// Carries out a command that is not refused, in its stored form; false when what it touches is out of reach.
    fn run_stored(&self, spec: &'static CommandSpec, args: Args<'_>, reply: &mut LuaReply<'_>) -> bool {
        let database = self.database.get();
        self.outbox.show(database, spec, &args);
        let stored = &mut *self.stored.borrow_mut();
        let (spec, args) = if database == Database::ZERO && is_stored_form(spec, &args) {
            (spec, args)
        } else {
            stored.clear();
            let spec = store(spec, &args, database, &mut stored.bytes, &mut stored.spans);
            (spec, stored.args())
        };
        if let Some(text) = self.out_of_reach(spec, &args) {
            reply.error(text);
            return false;
        }
        self.run(spec, args, reply);
        true
    }

    fn run(&self, spec: &'static CommandSpec, args: Args<'_>, reply: &mut LuaReply<'_>) {
        if spec.is_write() {
            // What has begun to write may go on: half of it would be worse.
            self.scarce.set(false);
        }
        let call = self.calls.get();
        self.calls.set(call + 1);
        let ks = &mut *self.keyspace.borrow_mut();
        match spec.run {
            Run::Data(f) => {
                let seed = op_seed(self.seed.get(), call);
                if !ks.is_complete() {
                    prepare(ks, spec, &args, seed);
                }
                f(&mut Exec::nested(ks, args, seed), reply);
                if ks.has_missed() {
                    // It looks at more than it names, and only reads.
                    while ks.supply_missed() {
                        reply.begin_anew();
                        f(&mut Exec::nested(ks, args, seed), reply);
                    }
                    ks.lend_keys(None);
                }
            }
            // Who hears it is each node's own affair, so nobody is counted.
            Run::Server(cmd) if publishes(spec) => {
                let sharded = cmd == ServerCmd::SPublish;
                self.outbox.publish(sharded, args.get(1), args.get(2));
                reply.int(0);
            }
            Run::Server(ServerCmd::Select) => match selected(args.get(1)) {
                Ok(database) => {
                    self.select(database);
                    reply.ok();
                }
                Err(text) => reply.error(text),
            },
            Run::Server(cmd) => about_the_server(cmd, ks, args, reply),
            _ => reply.error(NOT_FROM_SCRIPTS),
        }
    }
}

fn publishes(spec: &CommandSpec) -> bool {
    matches!(spec.run, Run::Server(ServerCmd::Publish | ServerCmd::SPublish))
}

/// DEBUG PROTOCOL says the same everywhere and does nothing: the one thing of DEBUG that scripts may call.
fn is_debug_protocol(spec: &CommandSpec, args: &Args<'_>) -> bool {
    matches!(spec.run, Run::Server(ServerCmd::Debug))
        && args.len() == 3
        && args.get(1).eq_ignore_ascii_case(b"protocol")
}

/// True for a command that looks at keys which none of its arguments names.
fn looks_at_unnamed(spec: &CommandSpec, args: &Args<'_>) -> bool {
    let names_none = spec.first_key == 0 && spec.key_specs.is_empty();
    matches!(spec.run, Run::Data(_)) && (names_none || sorts_by_other_keys(spec, args))
}

const UNNAMED: &str = "ERR Script with keys of several cores attempted to access keys that its command does not name";
const NOT_FROM_SCRIPTS: &str = "ERR This Redis command is not allowed from script";

/// The command that `args` call. A container with an unknown subcommand is no command.
fn find(args: &Args<'_>) -> Option<&'static CommandSpec> {
    let spec = lookup(args.try_get(0)?)?;
    match args.try_get(1) {
        Some(name) if !spec.subcommands.is_empty() => spec.subcommand(name),
        _ => Some(spec),
    }
}

/// Whether XREAD or XREADGROUP, of those that may wait the only ones that scripts may call, is asked to.
fn asks_to_wait(args: &Args<'_>) -> bool {
    let options = args
        .iter_from(1)
        .take_while(|word| !word.eq_ignore_ascii_case(b"streams"));
    options.into_iter().any(|word| word.eq_ignore_ascii_case(b"block"))
}

/// Those commands about connection and server whose answer is the same on every replica.
fn about_the_server(cmd: ServerCmd, ks: &Keyspace, args: Args<'_>, reply: &mut dyn Reply) {
    match cmd {
        ServerCmd::Ping => match args.len() {
            1 => reply.simple("PONG"),
            2 => reply.bulk(args.get(1)),
            _ => reply.error("ERR wrong number of arguments for 'ping' command"),
        },
        ServerCmd::Echo => reply.bulk(args.get(1)),
        ServerCmd::Debug => debug_protocol(args.get(2), reply),
        ServerCmd::Time => {
            let now_ms = ks.wall_ms();
            reply.array(2);
            reply.bulk((now_ms / 1000).to_string().as_bytes());
            reply.bulk((now_ms % 1000 * 1000).to_string().as_bytes());
        }
        _ => reply.error(NOT_FROM_SCRIPTS),
    }
}

impl Words {
    fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
    }

    fn args(&self) -> Args<'_> {
        Args::new(&self.bytes, &self.spans)
    }

    /// Appends an argument; false when it is no text and no number.
    fn push(&mut self, value: &Value) -> bool {
        let from = self.bytes.len();
        match value {
            Value::String(text) => self.bytes.extend_from_slice(&text.as_bytes()),
            // As a number of C, with as many digits as it has.
            Value::Integer(n) if n.unsigned_abs() < 100_000_000_000_000_000 => {
                self.bytes.extend_from_slice(itoa::Buffer::new().format(*n).as_bytes());
            }
            Value::Integer(n) => self.bytes.extend_from_slice(format_f64(*n as f64).as_bytes()),
            Value::Number(n) if n.is_nan() => {
                let text: &[u8] = if n.is_sign_negative() { b"-nan" } else { b"nan" };
                self.bytes.extend_from_slice(text);
            }
            Value::Number(n) => self.bytes.extend_from_slice(format_f64(*n).as_bytes()),
            _ => return false,
        }
        // A script's arguments are bounded by its heap, far below 4 GiB.
        self.spans.push((from as u32, (self.bytes.len() - from) as u32));
        true
    }
}
