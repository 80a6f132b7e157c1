//! What the libraries of functions for scripts (`cjson`, `cmsgpack`, `bit`, `struct`) have in common.
//!
//! A function here never raises an error of the interpreter: it gives back what went wrong as a text, which `prelude.lua`
//! raises as an error of the script's line, so that scripts catch text as they do in Redis.

use mlua::{FromLuaMulti, Lua, MultiValue, Table, Value};

use super::budget::Budget;
use super::limits::BYTES_PER_WORK;

/// Why a library function failed.
pub(super) enum LibraryError {
    /// With this text.
    Text(String),
    /// The interpreter did: it is out of memory, or the script's budget is spent.
    Interpreter(mlua::Error),
}

impl From<mlua::Error> for LibraryError {
    fn from(error: mlua::Error) -> Self {
        LibraryError::Interpreter(error)
    }
}

impl From<String> for LibraryError {
    fn from(text: String) -> Self {
        LibraryError::Text(text)
    }
}

impl From<&str> for LibraryError {
    fn from(text: &str) -> Self {
        LibraryError::Text(text.into())
    }
}

/// What a library function gives.
pub(super) type LibraryResult<T> = Result<T, LibraryError>;

/// "bad argument", as Lua's own functions say it.
pub(super) fn bad_argument(number: usize, function: &str, what: &str) -> LibraryError {
    LibraryError::Text(format!("bad argument #{number} to '{function}' ({what})"))
}

/// An argument of the wrong type.
pub(super) fn wrong_type(number: usize, function: &str, expected: &str, got: Option<&Value>) -> LibraryError {
    let got = got.map_or("no value", type_name);
    bad_argument(number, function, &format!("{expected} expected, got {got}"))
}

/// The type as Lua 5.1 calls it.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) => "number",
        Value::LightUserData(_) | Value::Error(_) => "userdata",
        other => other.type_name(),
    }
}

/// Numbers, and texts that are one.
pub(super) fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(n) => Some(*n as f64),
        Value::Number(n) => Some(*n),
        Value::String(text) => crate::number::parse_f64(text.as_bytes().trim_ascii()),
        _ => None,
    }
}

/// The bytes of a string, or of a number's text.
pub(super) fn as_bytes(lua: &Lua, value: &Value) -> mlua::Result<Option<Vec<u8>>> {
    Ok(match value {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        Value::Integer(_) | Value::Number(_) => lua.coerce_string(value.clone())?.map(|text| text.as_bytes().to_vec()),
        _ => None,
    })
}

/// A library under construction.
pub(super) struct Library<'a> {
    lua: &'a Lua,
    budget: Budget,
    one: Table,
    many: Table,
    values: Table,
}

impl<'a> Library<'a> {
    /// Without functions.
    pub(super) fn new(lua: &'a Lua, budget: &Budget) -> mlua::Result<Self> {
        Ok(Self {
            lua,
            budget: budget.clone(),
            one: lua.create_table()?,
            many: lua.create_table()?,
            values: lua.create_table()?,
        })
    }

    /// A function with one result.
    pub(super) fn one<A: FromLuaMulti + 'static>(
        &self,
        name: &str,
        f: impl Fn(&Lua, A) -> LibraryResult<Value> + 'static,
    ) -> mlua::Result<()> {
        let function = self.lua.create_function(move |lua, args: A| match f(lua, args) {
            Ok(value) => Ok((true, value)),
            Err(error) => refused(lua, error),
        })?;
        self.one.raw_set(name, function)
    }

    /// A function with as many results as `f` puts into the table; it gives their number.
    pub(super) fn many(
        &self,
        name: &str,
        f: impl Fn(&Lua, MultiValue, &Table) -> LibraryResult<usize> + 'static,
    ) -> mlua::Result<()> {
        let function = self.lua.create_function(move |lua, args: MultiValue| {
            let values = lua.create_table()?;
            Ok(match f(lua, args, &values) {
                Ok(count) => (true, Value::Table(values), Some(count)),
                Err(error) => {
                    let (failed, text) = refused(lua, error)?;
                    (failed, text, None)
                }
            })
        })?;
        self.many.raw_set(name, function)
    }

    /// A value that is no function.
    pub(super) fn value(&self, name: &str, value: impl mlua::IntoLua) -> mlua::Result<()> {
        self.values.raw_set(name, value)
    }

    /// Counts work on so many bytes.
    pub(super) fn charge_bytes(budget: &Budget, bytes: usize) -> mlua::Result<()> {
        budget.spend(bytes as u64 / BYTES_PER_WORK)
    }

    /// The budget that the functions count into.
    pub(super) fn budget(&self) -> Budget {
        self.budget.clone()
    }

    /// As `prelude.lua` expects it.
    pub(super) fn finish(self) -> mlua::Result<Table> {
        let library = self.lua.create_table()?;
        library.raw_set("one", self.one)?;
        library.raw_set("many", self.many)?;
        library.raw_set("values", self.values)?;
        Ok(library)
    }
}

fn refused(lua: &Lua, error: LibraryError) -> mlua::Result<(bool, Value)> {
    match error {
        LibraryError::Text(text) => Ok((false, Value::String(lua.create_string(text)?))),
        LibraryError::Interpreter(error) => Err(error),
    }
}
