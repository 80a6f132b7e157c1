//! [`Interpreter`]: Lua 5.1 with what scripts may use, and how one is run in it.
//!
//! One a core, made when the first script comes. What a script leaves behind cannot be seen by the next one: its globals
//! and all libraries are read-only, settings and random numbers begin anew (`prelude.lua`).

use std::cell::Cell;
use std::rc::Rc;

use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, LuaOptions, MultiValue, StdLib, Table, Value};

use super::budget::Budget;
use super::call::World;
use super::caller::Caller;
use super::cjson::Json;
use super::effects::{LogLevel, Outbox};
use super::guard::{self, Work};
use super::limits::{HEAP_BYTES_KEPT, HEAP_BYTES_MAX, REPORT_EVERY, SCRIPT_WORK_MAX};
use super::to_lua::COUNTED;
use super::to_reply;
use super::{REDIS_VERSION, bits, cmsgpack, packing, sha1_hex};
use crate::cmd::Reply;
use crate::database::Database;
use crate::keyspace::Keyspace;

/// Bytes of an error that is no text of Redis's own which are shown: Redis's own limit.
const ERROR_BYTES_MAX: usize = 100;
/// Instructions that `os.clock` takes for a second.
const WORK_PER_SECOND: f64 = 100_000_000.0;

/// The number under which compiled code lies in the interpreter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CodeNumber(u32);

/// What is run, as errors call it, and how.
pub(super) struct Job<'a> {
    /// A script's SHA-1, or the name of a function.
    pub(super) name: &'a str,
    pub(super) database: Database,
    pub(super) seed: u64,
    pub(super) read_only: bool,
    /// Commands that might need memory are refused until it has written.
    pub(super) scarce: bool,
    pub(super) keys: &'a [&'a [u8]],
    pub(super) args: &'a [&'a [u8]],
    /// Work after which it is stopped.
    pub(super) work_max: u64,
    /// Who calls, if he may not do everything.
    pub(super) caller: Option<&'a Rc<Caller>>,
}

/// A function that a library registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Registered {
    pub(super) name: String,
    pub(super) description: Option<Vec<u8>>,
    pub(super) flags: Vec<String>,
}

/// See the module's text.
pub(super) struct Interpreter {
    lua: Lua,
    world: Rc<World>,
    budget: Budget,
    json: Json,
    next_code: u32,
    /// Heap in use when garbage was last collected.
    kept_bytes: Cell<usize>,
    scripts: Table,
    libraries: Table,
    script_environment: Table,
    function_environment: Table,
    run_script: Function,
    run_function: Function,
    load_library: Function,
}

impl Interpreter {
    /// Without scripts. `outbox`: where goes what scripts do besides changing keys.
    pub(super) fn new(outbox: Outbox) -> Self {
        Self::build(outbox).expect("an empty interpreter is far below its memory limit, and its own code is correct")
    }

    fn build(outbox: Outbox) -> mlua::Result<Self> {
        let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH;
        // Panics end the process; mlua's own pcall, which would pass them on, is not needed.
        let lua = Lua::new_with(libraries, LuaOptions::new().catch_rust_panics(false))?;
        lua.set_memory_limit(HEAP_BYTES_MAX)?;
        let (world, budget, json) = (Rc::new(World::new(outbox.clone())), Budget::default(), Json::default());
        budget.begin(&lua, SCRIPT_WORK_MAX)?;
        let host = host(&lua, &world, &budget, &json, &outbox)?;
        let prelude: Table = lua.load(include_str!("prelude.lua")).set_name("=prelude").call(host)?;
        Ok(Self {
            scripts: prelude.raw_get("scripts")?,
            libraries: prelude.raw_get("libraries")?,
            script_environment: prelude.raw_get("script_environment")?,
            function_environment: prelude.raw_get("function_environment")?,
            run_script: prelude.raw_get("run_script")?,
            run_function: prelude.raw_get("run_function")?,
            load_library: prelude.raw_get("load_library")?,
            kept_bytes: Cell::new(lua.used_memory()),
            lua,
            world,
            budget,
            json,
            next_code: 1,
        })
    }

    /// Heap in use, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        self.lua.used_memory()
    }

    /// Compiles a script, its first line left out.
    ///
    /// # Errors
    /// The compiler's words.
    pub(super) fn compile_script(&mut self, code: &[u8]) -> Result<CodeNumber, String> {
        let (into, environment) = (self.scripts.clone(), self.script_environment.clone());
        self.compile(code, "@user_script", environment, into)
    }

    /// Compiles a library.
    ///
    /// # Errors
    /// The compiler's words.
    pub(super) fn compile_library(&mut self, code: &[u8]) -> Result<CodeNumber, String> {
        let (into, environment) = (self.libraries.clone(), self.function_environment.clone());
        self.compile(code, "@user_function", environment, into)
    }

    fn compile(&mut self, code: &[u8], name: &str, environment: Table, into: Table) -> Result<CodeNumber, String> {
        let number = self.next_code;
        let chunk = self.lua.load(code).set_name(name).set_mode(ChunkMode::Text);
        // The compiler loses hold of the chunk's name, which must not be collected meanwhile (CVE-2025-49844).
        self.lua.gc_stop();
        let compiled = chunk.set_environment(environment).into_function();
        self.lua.gc_restart();
        compiled.and_then(|f| into.raw_set(number, f)).map_err(error_text)?;
        self.next_code += 1;
        Ok(CodeNumber(number))
    }

    /// Forgets a compiled script.
    pub(super) fn forget_script(&self, code: CodeNumber) {
        // Only a new field needs memory; should it fail all the same, the code stays until the interpreter goes.
        let _ = self.scripts.raw_set(code.0, Value::Nil);
    }

    /// Forgets a compiled library.
    pub(super) fn forget_library(&self, code: CodeNumber) {
        // See above.
        let _ = self.libraries.raw_set(code.0, Value::Nil);
    }

    /// Runs a script and writes its answer.
    pub(super) fn run_script(&self, ks: &mut Keyspace, code: CodeNumber, job: &Job<'_>, reply: &mut dyn Reply) {
        self.run(ks, job, reply, |keys, args| self.run_script.call((code.0, keys, args)));
    }

    /// Runs a function of a library and writes its answer.
    pub(super) fn run_function(&self, ks: &mut Keyspace, code: CodeNumber, job: &Job<'_>, reply: &mut dyn Reply) {
        self.run(ks, job, reply, |keys, args| {
            self.run_function.call((code.0, job.name, keys, args))
        });
    }

    fn run(
        &self,
        ks: &mut Keyspace,
        job: &Job<'_>,
        reply: &mut dyn Reply,
        call: impl FnOnce(Table, Table) -> mlua::Result<(bool, Value)>,
    ) {
        self.world
            .begin(job.seed, job.read_only, job.scarce, job.caller.cloned());
        self.world.select(job.database);
        self.json.reset();
        self.world.swap(ks);
        let result = self
            .lua
            .create_sequence_from(job.keys.iter().map(mlua::LuaString::wrap))
            .and_then(|keys| {
                let args = self
                    .lua
                    .create_sequence_from(job.args.iter().map(mlua::LuaString::wrap))?;
                // Last, so that counting begins at the same instruction each time.
                self.budget.begin(&self.lua, job.work_max)?;
                call(keys, args)
            });
        self.world.swap(ks);
        self.answer(job, result, reply);
        self.collect_garbage();
    }

    /// Lets a library register its functions.
    ///
    /// # Errors
    /// What it failed with, code included.
    pub(super) fn load_library(&self, code: CodeNumber, work_max: u64) -> Result<Vec<Registered>, String> {
        self.world.begin(0, true, false, None);
        self.json.reset();
        let loaded = self.budget.begin(&self.lua, work_max).and_then(|()| {
            let (ok, value) = self.load_library.call::<(bool, Value)>(code.0)?;
            match value {
                Value::Table(list) if ok => registered(&list).map(Ok),
                other => Ok(Err(text_of(&other))),
            }
        });
        let loaded = match loaded {
            _ if self.budget.is_spent() => Err("ERR FUNCTION LOAD timeout".into()),
            Ok(loaded) => loaded,
            Err(error) => Err(format!("ERR {}", error_text(error))),
        };
        self.collect_garbage();
        loaded
    }

    fn answer(&self, job: &Job<'_>, result: mlua::Result<(bool, Value)>, reply: &mut dyn Reply) {
        let name = job.name;
        if self.budget.is_spent() {
            let place = self.budget.stopped_at();
            let place = place.map_or(String::new(), |(source, line)| format!(", on {source}:{line}."));
            return reply.error(&format!(
                "ERR Script killed after {} instructions. script: {name}{place}",
                job.work_max
            ));
        }
        match result {
            Ok((true, value)) => {
                if let Value::Table(table) = &value {
                    self.note_passed_on(table);
                }
                to_reply::write(&self.lua, &value, self.world.proto(), reply);
            }
            Ok((false, Value::Table(error))) => {
                self.note_passed_on(&error);
                let field = |field: &str| match error.raw_get::<Value>(field) {
                    Ok(Value::Nil) | Err(_) => None,
                    Ok(value) => Some(text_of(&value)),
                };
                let text = field("err").unwrap_or_else(|| "ERR unknown error".into());
                match (field("source"), field("line")) {
                    (Some(source), Some(line)) => {
                        let text = format!("{text} script: {name}, on {source}:{line}.");
                        reply.error(&to_reply::one_line(text.as_bytes()));
                    }
                    _ => reply.error(&to_reply::one_line(text.as_bytes())),
                }
            }
            Ok((false, other)) => self.refuse(name, &text_of(&other), reply),
            Err(error) => self.refuse(name, &error_text(error), reply),
        }
    }

    /// What a script answers with, or fails with, may be an error of a command that it called.
    fn note_passed_on(&self, table: &Table) {
        if let Ok(Value::String(text)) = table.raw_get::<Value>("err")
            && matches!(table.raw_get(COUNTED), Ok(Value::Boolean(true)))
        {
            self.world.pass_error_on(&text.to_string_lossy());
        }
    }

    fn refuse(&self, name: &str, text: &str, reply: &mut dyn Reply) {
        let shown = &text.as_bytes()[..text.len().min(ERROR_BYTES_MAX)];
        let shown = to_reply::one_line(shown);
        reply.error(&format!("ERR Error running script {name}, {}", shown.trim_end()));
    }

    /// Collects what a script has left once that is much, so that the next one begins with little.
    fn collect_garbage(&self) {
        if self.lua.used_memory() > 2 * self.kept_bytes.get() + HEAP_BYTES_KEPT {
            // A finalizer's error is all that can be reported, and there are none.
            let _ = self.lua.gc_collect();
            self.kept_bytes.set(self.lua.used_memory());
        }
    }
}

fn registered(list: &Table) -> mlua::Result<Vec<Registered>> {
    let mut functions = Vec::new();
    for index in 1..=list.raw_len() {
        let given: Table = list.raw_get(index)?;
        let flags: Table = given.raw_get("flags")?;
        let flags = (1..=flags.raw_len())
            .map(|i| flags.raw_get(i))
            .collect::<mlua::Result<_>>()?;
        let description: Option<mlua::LuaString> = given.raw_get("description")?;
        functions.push(Registered {
            name: given.raw_get("function_name")?,
            description: description.map(|text| text.as_bytes().to_vec()),
            flags,
        });
    }
    functions.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(functions)
}

/// What an error of the interpreter says.
fn error_text(error: mlua::Error) -> String {
    match error {
        mlua::Error::SyntaxError { message, .. } | mlua::Error::MemoryError(message) => message,
        mlua::Error::RuntimeError(text) => text.lines().next().unwrap_or_default().into(),
        mlua::Error::CallbackError { cause, .. } => match &*cause {
            mlua::Error::RuntimeError(text) | mlua::Error::MemoryError(text) => text.clone(),
            other => other.to_string(),
        },
        other => other.to_string(),
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_string_lossy(),
        Value::Integer(n) => n.to_string(),
        Value::Number(n) => n.to_string(),
        Value::Error(error) => error_text((**error).clone()),
        _ => "execution failure".into(),
    }
}

/// The functions that `prelude.lua` is made with.
fn host(lua: &Lua, world: &Rc<World>, budget: &Budget, json: &Json, outbox: &Outbox) -> mlua::Result<Table> {
    let host = lua.create_table()?;
    let (w, b) = (world.clone(), budget.clone());
    let call = lua.create_function(move |lua, args: MultiValue| w.call(lua, &b, &args))?;
    host.raw_set("call", call)?;
    let (w, b) = (world.clone(), budget.clone());
    let call = lua.create_function(move |lua, (args, count): (Table, usize)| w.call_table(lua, &b, &args, count))?;
    host.raw_set("call_many", call)?;
    let w = world.clone();
    host.raw_set(
        "may_call",
        lua.create_function(move |_, args: MultiValue| Ok(w.may_call(&args)))?,
    )?;
    let w = world.clone();
    let set_proto = lua.create_function(move |_, proto: u8| {
        w.set_proto(proto);
        Ok(())
    })?;
    host.raw_set("setresp", set_proto)?;
    let w = world.clone();
    host.raw_set("random", lua.create_function(move |_, ()| Ok(w.random()))?)?;
    let w = world.clone();
    let seed = lua.create_function(move |_, seed: f64| {
        w.seed_random(seed as i64);
        Ok(())
    })?;
    host.raw_set("randomseed", seed)?;
    let b = budget.clone();
    host.raw_set("charge", lua.create_function(move |_, work: f64| b.spend(work as u64))?)?;
    let b = budget.clone();
    let clock = lua.create_function(move |_, ()| Ok(b.used() as f64 / WORK_PER_SECOND))?;
    host.raw_set("clock", clock)?;
    let lines = outbox.clone();
    let write = lua.create_function(move |_, (level, text): (u8, mlua::LuaString)| {
        lines.log(LogLevel::of(level), &text.as_bytes());
        Ok(())
    })?;
    host.raw_set("log", write)?;
    host.raw_set(
        "raising",
        lua.create_function(|lua, f: Function| guard::raising(lua, f))?,
    )?;
    let checked = lua.create_function(|lua, (f, check): (Function, Function)| guard::checked(lua, f, check))?;
    host.raw_set("checked", checked)?;
    let charge: Function = host.raw_get("charge")?;
    let charged = lua.create_function(move |lua, (f, by): (Function, String)| {
        let work = match by.as_str() {
            "pattern" => Work::Pattern,
            "times" => Work::Times,
            "sort" => Work::Sort,
            _ => Work::Length,
        };
        guard::charged(lua, f, charge.clone(), work)
    })?;
    host.raw_set("charged", charged)?;
    host.raw_set("sha1hex", lua.create_function(|lua, text: Value| hash(lua, &text))?)?;
    host.raw_set("where", lua.create_function(|lua, ()| Ok(place_of_error(lua)))?)?;
    host.raw_set("null", Value::NULL)?;
    host.raw_set("THREAD_COST", REPORT_EVERY)?;
    host.raw_set("REDIS_VERSION", REDIS_VERSION)?;
    host.raw_set("REDIS_VERSION_NUM", version_number())?;
    let libraries = lua.create_table()?;
    libraries.raw_set("cjson", json.library(lua, budget)?)?;
    libraries.raw_set("cmsgpack", cmsgpack::library(lua, budget)?)?;
    libraries.raw_set("bit", bits::library(lua, budget)?)?;
    libraries.raw_set("struct", packing::library(lua, budget)?)?;
    host.raw_set("libraries", libraries)?;
    Ok(host)
}

/// A byte for each part of the version.
fn version_number() -> i64 {
    let parts = REDIS_VERSION.split('.').filter_map(|part| part.parse::<i64>().ok());
    parts.fold(0, |number, part| number << 8 | part)
}

fn hash(lua: &Lua, text: &Value) -> mlua::Result<String> {
    // What is no text counts as an empty one.
    let text = super::library::as_bytes(lua, text)?;
    Ok(sha1_hex(&text.unwrap_or_default()))
}

/// Where the error was raised that a handler was called for: the innermost line of the script.
fn place_of_error(lua: &Lua) -> (Option<String>, Option<usize>) {
    // This function and the handler come first.
    let mut level = 2;
    loop {
        let found = lua.inspect_stack(level, |frame| {
            let source = frame.source().source.map(|name| name.into_owned()).unwrap_or_default();
            (source, frame.current_line())
        });
        match found {
            Some((source, _)) if ["=[C]", "=prelude", "=(tail call)"].contains(&source.as_str()) => level += 1,
            Some((source, line)) => return (Some(source), line),
            None => return (None, None),
        }
    }
}
