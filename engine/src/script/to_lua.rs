//! [`LuaReply`]: a command's answer as the Lua value that a script sees.
//!
//! | answer | RESP2 | RESP3 |
//! | --- | --- | --- |
//! | integer | number | number |
//! | bulk string | string | string |
//! | status, error | `{ok=...}`, `{err=..., ignore_error_stats_update=true}` | the same |
//! | null, null array | false | nil |
//! | array | table | table |
//! | double | string | `{double=...}` |
//! | boolean | number | boolean |
//! | map, set | array | `{map={...}}`, `{set={...}}`, the members being keys with the value true |
//! | big number | string | `{big_number=...}` |
//! | verbatim string | string | `{verbatim_string={format="txt", string=...}}` |

use mlua::{Lua, Table, Value};

use crate::cmd::Reply;
use crate::number::format_f64;

/// The field of an error's table, named as in Redis, that says that the error was counted when it was answered.
pub(super) const COUNTED: &str = "ignore_error_stats_update";

enum Shape {
    Array { next: usize },
    Map { key: Option<Value> },
    Set,
}

/// An aggregate that lacks values.
struct Open {
    /// What it is within what surrounds it.
    whole: Value,
    /// Where its values go.
    table: Table,
    shape: Shape,
    missing: usize,
}

/// See the module's text.
pub(super) struct LuaReply<'a> {
    lua: &'a Lua,
    proto: u8,
    open: Vec<Open>,
    done: Option<Value>,
    /// The first word of the error that it is, if it is one.
    failure: Option<String>,
    /// Bytes and values taken in, as a measure of the work.
    taken: usize,
    broken: Option<mlua::Error>,
}

impl<'a> LuaReply<'a> {
    /// For one value, in the shapes of RESP version `proto`.
    pub(super) fn new(lua: &'a Lua, proto: u8) -> Self {
        Self {
            lua,
            proto,
            open: Vec::new(),
            done: None,
            failure: None,
            taken: 0,
            broken: None,
        }
    }

    /// Forgets what was answered so far.
    pub(super) fn begin_anew(&mut self) {
        *self = Self::new(self.lua, self.proto);
    }

    /// Whether the value is no error, and the value.
    pub(super) fn finish(self) -> mlua::Result<(bool, Value)> {
        match self.broken {
            Some(error) => Err(error),
            None => Ok((self.failure.is_none(), self.done.unwrap_or(Value::Nil))),
        }
    }

    /// The first word of the error that the value is, if it is one.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Answers with an error that no command has caused: who passes it on is the first to count it.
    pub(super) fn misuse(&mut self, text: &str) {
        self.failure = Some(text.into());
        self.field("err", text.as_bytes());
    }

    /// How much was answered, in bytes.
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    /// Runs what may fail for lack of memory; once it has, nothing more is taken in.
    fn attempt(&mut self, make: impl FnOnce(&Lua) -> mlua::Result<Value>) {
        if self.broken.is_some() {
            return;
        }
        match make(self.lua) {
            Ok(value) => self.put(value),
            Err(error) => self.broken = Some(error),
        }
    }

    fn put(&mut self, mut value: Value) {
        self.taken += 16;
        loop {
            let Some(open) = self.open.last_mut() else {
                self.done = Some(value);
                return;
            };
            if let Err(error) = open.take(value) {
                self.broken = Some(error);
                return;
            }
            if open.missing > 0 {
                return;
            }
            match self.open.pop() {
                Some(full) => value = full.whole,
                None => return,
            }
        }
    }

    fn begin(&mut self, field: Option<&str>, shape: Shape, missing: usize) {
        if self.broken.is_some() {
            return;
        }
        let made = (|| {
            let table = self.lua.create_table()?;
            let Some(field) = field else {
                return Ok((Value::Table(table.clone()), table));
            };
            let whole = self.lua.create_table()?;
            whole.raw_set(field, &table)?;
            Ok((Value::Table(whole), table))
        })();
        match made {
            Ok((whole, _)) if missing == 0 => self.put(whole),
            Ok((whole, table)) => self.open.push(Open {
                whole,
                table,
                shape,
                missing,
            }),
            Err(error) => self.broken = Some(error),
        }
    }

    fn field(&mut self, name: &str, text: &[u8]) {
        self.taken += text.len();
        self.attempt(|lua| {
            let table = lua.create_table()?;
            table.raw_set(name, lua.create_string(text)?)?;
            Ok(Value::Table(table))
        });
    }
}

impl Open {
    fn take(&mut self, value: Value) -> mlua::Result<()> {
        self.missing -= 1;
        match &mut self.shape {
            Shape::Array { next } => {
                *next += 1;
                self.table.raw_set(*next, value)
            }
            Shape::Set => self.table.raw_set(value, true),
            Shape::Map { key } => match key.take() {
                Some(key) => self.table.raw_set(key, value),
                None => {
                    *key = Some(value);
                    Ok(())
                }
            },
        }
    }
}

impl Reply for LuaReply<'_> {
    fn simple(&mut self, text: &str) {
        self.field("ok", text.as_bytes());
    }
    fn bulk(&mut self, bytes: &[u8]) {
        self.taken += bytes.len();
        self.attempt(|lua| Ok(Value::String(lua.create_string(bytes)?)));
    }
    fn big_number(&mut self, text: &str) {
        match self.proto {
            3 => self.field("big_number", text.as_bytes()),
            _ => self.bulk(text.as_bytes()),
        }
    }
    fn verbatim(&mut self, text: &[u8]) {
        if self.proto < 3 {
            return self.bulk(text);
        }
        self.taken += text.len();
        self.attempt(|lua| {
            let (whole, parts) = (lua.create_table()?, lua.create_table()?);
            parts.raw_set("format", "txt")?;
            parts.raw_set("string", lua.create_string(text)?)?;
            whole.raw_set("verbatim_string", parts)?;
            Ok(Value::Table(whole))
        });
    }
    fn null(&mut self) {
        self.put(if self.proto < 3 {
            Value::Boolean(false)
        } else {
            Value::Nil
        });
    }
    fn null_array(&mut self) {
        self.null();
    }
    fn int(&mut self, value: i64) {
        self.put(Value::Number(value as f64));
    }
    fn double(&mut self, value: f64) {
        if self.proto < 3 {
            return self.bulk(format_f64(value).as_bytes());
        }
        self.attempt(|lua| {
            let table = lua.create_table()?;
            table.raw_set("double", value)?;
            Ok(Value::Table(table))
        });
    }
    fn double_text(&mut self, text: &str) {
        match text.parse() {
            Ok(value) if self.proto >= 3 => self.double(value),
            _ => self.bulk(text.as_bytes()),
        }
    }
    fn bool(&mut self, value: bool) {
        self.put(match self.proto {
            3 => Value::Boolean(value),
            _ => Value::Integer(value.into()),
        });
    }
    fn array(&mut self, len: usize) {
        self.begin(None, Shape::Array { next: 0 }, len);
    }
    fn map(&mut self, len: usize) {
        match self.proto {
            3 => self.begin(Some("map"), Shape::Map { key: None }, 2 * len),
            _ => self.array(2 * len),
        }
    }
    fn set(&mut self, len: usize) {
        match self.proto {
            3 => self.begin(Some("set"), Shape::Set, len),
            _ => self.array(len),
        }
    }
    fn error(&mut self, text: &str) {
        if self.open.is_empty() {
            let word = text.split(' ').next().unwrap_or_default();
            self.failure.get_or_insert_with(|| word.to_string());
        }
        self.taken += text.len();
        self.attempt(|lua| {
            let table = lua.create_table()?;
            table.raw_set("err", lua.create_string(text)?)?;
            table.raw_set(COUNTED, true)?;
            Ok(Value::Table(table))
        });
    }
    fn proto(&self) -> u8 {
        self.proto
    }
}
