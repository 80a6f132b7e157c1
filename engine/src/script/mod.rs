//! Scripts and functions in Lua 5.1: [`Scripts`], what one group knows of them and the interpreter that runs them.
//!
//! A script is deterministic: what it does depends on its text, keys and arguments, on the keyspace, and on the time and
//! seed of the entry it came in. So the entry holds the script, every replica runs it, and a replay runs it again. Bounds
//! are counted in instructions, not in time ([`limits`]). While it runs nobody else is served: it is atomic.
//!
//! Replicated are the libraries of functions. Local, and lost with the process, are the cache of scripts and the
//! interpreter, which is made when the first script comes: who runs none pays nothing.

mod bits;
mod budget;
mod cache;
mod call;
mod caller;
mod cjson;
mod cmsgpack;
mod effects;
mod guard;
mod interpreter;
mod key_use;
mod libraries;
mod library;
pub mod limits;
mod number_text;
mod packing;
mod shebang;
mod to_lua;
mod to_reply;

use std::rc::Rc;

use cache::ScriptCache;
pub(crate) use caller::NoRights;
pub use caller::{Caller, Denial, Denied, ReadRights, Rights};
use effects::Outbox;
pub use effects::{Called, Calls, Effects, LogLevel, Published};
use interpreter::{Interpreter, Job};
pub use libraries::{BadLibraries, Function, Libraries, Library};
pub use shebang::{ScriptFlags, script_flags};

use crate::cmd::Reply;
use crate::database::Database;
use crate::keyspace::Keyspace;
use crate::rdb::{PayloadError, dump_libraries, restore_libraries};

/// The Redis version whose scripts these are.
pub const REDIS_VERSION: &str = "7.2.4";

/// What is answered when there is no script with the SHA-1 that was given.
pub const NOSCRIPT: &str = "NOSCRIPT No matching script. Please use EVAL.";

/// SHA-1 in hexadecimal, as scripts are called by.
pub fn sha1_hex(text: &[u8]) -> String {
    sha1_smol::Sha1::from(text).digest().to_string()
}

/// Keys and arguments of one run, and how it runs.
pub struct Call<'a> {
    /// The keys that were named.
    pub keys: &'a [&'a [u8]],
    /// Further arguments.
    pub args: &'a [&'a [u8]],
    /// The database that the commands of the script work in, until it selects another.
    pub database: Database,
    /// Decides all random choices.
    pub seed: u64,
    /// By a command that may not write.
    pub read_only: bool,
    /// The leader has reached its memory limit: what might need more is refused, unless the script says that it may.
    pub scarce: bool,
}

/// What becomes of libraries that are there when others are restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestorePolicy {
    /// They stay; one of the same name is an error.
    Append,
    /// They stay unless there is one of the same name.
    Replace,
    /// They go.
    Flush,
}

/// See the module's text.
pub struct Scripts {
    interpreter: Option<Interpreter>,
    cache: ScriptCache,
    libraries: Libraries,
    outbox: Outbox,
    work_max: u64,
    /// Who calls, if he may not do everything.
    caller: Option<Rc<Caller>>,
}

impl Default for Scripts {
    fn default() -> Self {
        Self {
            interpreter: None,
            cache: ScriptCache::default(),
            libraries: Libraries::default(),
            outbox: Outbox::default(),
            work_max: limits::SCRIPT_WORK_MAX,
            caller: None,
        }
    }
}

/// What is answered to a script that does not say that it may run without memory.
const OOM_REFUSED: &str = "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'";
const READ_ONLY_REFUSED: &str = "ERR Can not execute a script with write flag using *_ro command.";

/// The interpreter, made if there is none.
fn ready<'a>(interpreter: &'a mut Option<Interpreter>, outbox: &Outbox) -> &'a mut Interpreter {
    interpreter.get_or_insert_with(|| Interpreter::new(outbox.clone()))
}

impl Scripts {
    /// Stops scripts earlier than after [`limits::SCRIPT_WORK_MAX`], so that tests need not wait for that. What a script
    /// does depends on it: the same on every replica.
    pub fn limit_work(&mut self, work_max: u64) {
        self.work_max = work_max;
    }

    /// The scripts that run from now on are this caller's; `None`: of one who may do everything.
    pub(crate) fn call_as(&mut self, caller: Option<Rc<Caller>>) {
        self.caller = caller;
    }

    /// The libraries of functions.
    pub fn libraries(&self) -> &Libraries {
        &self.libraries
    }

    /// Number of cached scripts.
    pub fn cached_len(&self) -> usize {
        self.cache.len()
    }

    /// Bytes of cached scripts' texts.
    pub fn cached_bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// Heap of the interpreter, in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.interpreter.as_ref().map_or(0, Interpreter::heap_bytes)
    }

    /// What scripts did since the last call, besides changing keys.
    pub fn take_effects(&mut self) -> Effects {
        self.outbox.take()
    }

    /// Whether the effects are to name the commands that scripts call, from now on.
    pub fn show_calls(&mut self, on: bool) {
        self.outbox.show_calls(on);
    }

    /// The text with this SHA-1, if it is cached.
    pub fn by_sha(&self, sha: &[u8]) -> Option<&Rc<[u8]>> {
        self.cache.by_sha(sha)
    }

    /// What a cached or new script says of itself; `None` without, or if that makes no sense.
    pub fn flags_of(&self, body: &[u8]) -> Option<ScriptFlags> {
        match self.cache.find(body) {
            Some(script) => script.flags,
            None => script_flags(body).ok()?.0,
        }
    }

    /// Whether the text of a cached or new script shows that it touches no keys but those it is given.
    pub fn names_all_keys(&self, body: &[u8]) -> bool {
        match self.cache.find(body) {
            Some(script) => script.names_all_keys,
            None => script_flags(body).is_ok_and(|(_, code_at)| key_use::names_all_keys(&body[code_at..])),
        }
    }

    /// Takes a script into the cache before it runs, so that it can be called by its SHA-1 from now on. One that makes no
    /// sense is left out; it fails when it runs. True when it was not there.
    pub fn note(&mut self, body: &[u8]) -> bool {
        if self.cache.find(body).is_some() {
            return false;
        }
        let Ok(gone) = self.cache.add(body, false) else {
            return false;
        };
        if let (Some(gone), Some(interpreter)) = (gone, &self.interpreter) {
            interpreter.forget_script(gone);
        }
        true
    }

    /// Takes a script into the cache for good; gives its SHA-1.
    ///
    /// # Errors
    /// The error to answer: it cannot be compiled.
    pub fn load(&mut self, body: &[u8]) -> Result<String, String> {
        self.compile(body, true)?;
        let script = self.cache.find(body);
        Ok(script.map_or_else(|| sha1_hex(body), |script| script.sha.to_string()))
    }

    fn compile(&mut self, body: &[u8], loaded: bool) -> Result<interpreter::CodeNumber, String> {
        let gone = self.cache.add(body, loaded).map_err(|text| format!("ERR {text}"))?;
        if let (Some(gone), Some(interpreter)) = (gone, &self.interpreter) {
            interpreter.forget_script(gone);
        }
        let script = self.cache.find(body).expect("it was just added");
        if let Some(code) = script.code {
            return Ok(code);
        }
        let code_at = script.code_at;
        match ready(&mut self.interpreter, &self.outbox).compile_script(&body[code_at..]) {
            Ok(code) => {
                self.cache.set_code(body, code);
                Ok(code)
            }
            Err(error) => {
                self.cache.remove(body);
                Err(format!("ERR Error compiling script (new function): {error}"))
            }
        }
    }

    /// Forgets all cached scripts. The interpreter begins anew, too.
    pub fn flush(&mut self) {
        self.cache = ScriptCache::default();
        self.interpreter = None;
        self.libraries.forget_compiled();
    }

    /// Runs a script and writes its answer.
    pub fn eval(&mut self, ks: &mut Keyspace, body: &[u8], call: &Call<'_>, reply: &mut dyn Reply) {
        let code = match self.compile(body, false) {
            Ok(code) => code,
            Err(error) => return reply.error(&error.replace(['\r', '\n'], " ")),
        };
        let script = self.cache.find(body).expect("it was just compiled");
        let (flags, sha) = (script.flags, script.sha.clone());
        let says = |flag| flags.is_some_and(|flags| flags.has(flag));
        let no_writes = says(ScriptFlags::NO_WRITES);
        if call.read_only && flags.is_some() && !no_writes {
            return reply.error(READ_ONLY_REFUSED);
        }
        let scarce = call.scarce && !says(ScriptFlags::ALLOW_OOM);
        if scarce && flags.is_some() && !no_writes {
            return reply.error(OOM_REFUSED);
        }
        let job = Job {
            name: &sha,
            database: call.database,
            seed: call.seed,
            read_only: call.read_only || no_writes,
            scarce,
            keys: call.keys,
            args: call.args,
            work_max: self.work_max,
            caller: self.caller.as_ref(),
        };
        ready(&mut self.interpreter, &self.outbox).run_script(ks, code, &job, reply);
    }

    /// Calls a function and writes its answer.
    pub fn call_function(&mut self, ks: &mut Keyspace, name: &[u8], call: &Call<'_>, reply: &mut dyn Reply) {
        let Some(function) = self.libraries.function(name) else {
            return reply.error("ERR Function not found");
        };
        let (name, no_writes) = (function.name.clone(), function.flags.has(ScriptFlags::NO_WRITES));
        if call.read_only && !no_writes {
            return reply.error(READ_ONLY_REFUSED);
        }
        let scarce = call.scarce && !function.flags.has(ScriptFlags::ALLOW_OOM);
        if scarce && !no_writes {
            return reply.error(OOM_REFUSED);
        }
        let interpreter = ready(&mut self.interpreter, &self.outbox);
        match self.libraries.compiled(interpreter, &name) {
            Ok(code) => {
                let job = Job {
                    name: &name,
                    database: call.database,
                    seed: call.seed,
                    read_only: call.read_only || no_writes,
                    scarce,
                    keys: call.keys,
                    args: call.args,
                    work_max: self.work_max,
                    caller: self.caller.as_ref(),
                };
                interpreter.run_function(ks, code, &job, reply);
            }
            Err(error) => reply.error(&format!("ERR {error}").replace(['\r', '\n'], " ")),
        }
    }

    /// Loads a library; gives its name.
    ///
    /// # Errors
    /// The text of the error, without its code; nothing has changed.
    pub fn load_library(&mut self, code: &[u8], replace: bool) -> Result<String, String> {
        let interpreter = ready(&mut self.interpreter, &self.outbox);
        self.libraries.load(interpreter, code, replace)
    }

    /// Deletes a library; says whether there was one of that name.
    pub fn delete_library(&mut self, name: &[u8]) -> bool {
        std::str::from_utf8(name).is_ok_and(|name| self.libraries.remove(self.interpreter.as_ref(), name))
    }

    /// Deletes all libraries.
    pub fn flush_libraries(&mut self) {
        let names: Vec<String> = self.libraries.iter().map(|(name, _)| name.to_string()).collect();
        for name in names {
            self.libraries.remove(self.interpreter.as_ref(), &name);
        }
    }

    /// All libraries as Redis dumps them.
    pub fn dump_libraries(&self) -> Vec<u8> {
        dump_libraries(self.libraries.iter().map(|(_, library)| &*library.code))
    }

    /// Takes in libraries that were dumped.
    ///
    /// # Errors
    /// The text of the error, without its code; nothing has changed.
    pub fn restore_libraries(&mut self, payload: &[u8], policy: RestorePolicy) -> Result<(), String> {
        let codes = restore_libraries(payload).map_err(|error| match error {
            PayloadError::Footer => "DUMP payload version or checksum are wrong",
            PayloadError::Value => "given type is not a function",
        })?;
        let mut others = Libraries::default();
        for code in codes {
            let interpreter = ready(&mut self.interpreter, &self.outbox);
            others.load(interpreter, &code, false)?;
        }
        match policy {
            RestorePolicy::Flush => self.libraries = others,
            RestorePolicy::Append | RestorePolicy::Replace => {
                self.libraries.join(others, policy == RestorePolicy::Replace)?;
            }
        }
        Ok(())
    }

    /// The state of this group's functions takes the place of what is here: bytes of [`Libraries::export`].
    ///
    /// # Errors
    /// The bytes are damaged; nothing has changed.
    pub fn import(&mut self, bytes: &[u8]) -> Result<(), BadLibraries> {
        let interpreter = ready(&mut self.interpreter, &self.outbox);
        self.libraries = Libraries::import(interpreter, bytes)?;
        Ok(())
    }
}
