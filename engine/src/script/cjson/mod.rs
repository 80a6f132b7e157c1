//! `cjson`: JSON, to the letter as lua-cjson 2.1 with Redis's settings.
//!
//! A table becomes an array when all its keys are integers from 1, else an object; null is a light userdata. The settings
//! a script may change are its own: they are back at their defaults when the next one runs.

mod decode;
mod encode;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value};

use super::budget::Budget;
use super::library::{Library, LibraryResult, as_number, bad_argument, wrong_type};

/// What to do with numbers that JSON cannot express.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Invalid {
    /// An error.
    Refuse,
    /// As C writes them.
    Write,
    /// Written as null.
    Null,
}

/// What a script can set.
#[derive(Clone, Copy, Debug)]
struct Settings {
    sparse_convert: bool,
    sparse_ratio: i64,
    sparse_safe: i64,
    encode_depth_max: i64,
    decode_depth_max: i64,
    precision: usize,
    keep_buffer: bool,
    encode_invalid: Invalid,
    decode_invalid: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sparse_convert: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth_max: 1000,
            decode_depth_max: 1000,
            precision: 14,
            keep_buffer: true,
            encode_invalid: Invalid::Refuse,
            decode_invalid: true,
        }
    }
}

/// The settings of the script that runs, and a buffer. Copies are the same one.
#[derive(Clone, Default)]
pub(super) struct Json {
    settings: Rc<Cell<Settings>>,
    buffer: Rc<RefCell<Vec<u8>>>,
}

impl Json {
    /// A script begins.
    pub(super) fn reset(&self) {
        self.settings.set(Settings::default());
    }

    /// The library, as `prelude.lua` expects it.
    pub(super) fn library(&self, lua: &Lua, budget: &Budget) -> mlua::Result<Table> {
        let library = Library::new(lua, budget)?;
        let (json, work) = (self.clone(), library.budget());
        library.one("encode", move |lua, args: MultiValue| {
            let mut args = args.into_iter();
            let (Some(value), None) = (args.next(), args.next()) else {
                return Err(bad_argument(1, "encode", "expected 1 argument"));
            };
            let mut out = json.buffer.borrow_mut();
            out.clear();
            encode::value(&json.settings.get(), &value, 0, &mut out)?;
            Library::charge_bytes(&work, out.len())?;
            Ok(Value::String(lua.create_string(&*out)?))
        })?;
        let (json, work) = (self.clone(), library.budget());
        library.one("decode", move |lua, args: MultiValue| {
            if args.len() != 1 {
                return Err(bad_argument(1, "decode", "expected 1 argument"));
            }
            let text = match args.front() {
                Some(Value::String(text)) => text.as_bytes().to_vec(),
                Some(number @ (Value::Integer(_) | Value::Number(_))) => lua
                    .coerce_string(number.clone())?
                    .map_or_else(Vec::new, |text| text.as_bytes().to_vec()),
                other => return Err(wrong_type(1, "decode", "string", other)),
            };
            Library::charge_bytes(&work, text.len())?;
            decode::text(lua, &json.settings.get(), &text)
        })?;
        self.add_settings(&library)?;
        library.value("null", Value::NULL)?;
        library.value("_NAME", "cjson")?;
        library.value("_VERSION", "2.1.0")?;
        library.finish()
    }

    fn add_settings(&self, library: &Library<'_>) -> mlua::Result<()> {
        let json = self.clone();
        library.many("encode_sparse_array", move |_, args, results| {
            let name = "encode_sparse_array";
            let mut settings = json.settings.get();
            settings.sparse_convert = switch(&args, name, settings.sparse_convert)?;
            settings.sparse_ratio = integer(&args, 2, name, 0, settings.sparse_ratio)?;
            settings.sparse_safe = integer(&args, 3, name, 0, settings.sparse_safe)?;
            json.settings.set(settings);
            results.raw_set(1, settings.sparse_convert)?;
            results.raw_set(2, settings.sparse_ratio)?;
            results.raw_set(3, settings.sparse_safe)?;
            Ok(3)
        })?;
        self.add_number(library, "encode_max_depth", |settings| &mut settings.encode_depth_max)?;
        self.add_number(library, "decode_max_depth", |settings| &mut settings.decode_depth_max)?;
        self.add_switch(library, "encode_keep_buffer", |settings| &mut settings.keep_buffer)?;
        self.add_switch(library, "decode_invalid_numbers", |settings| {
            &mut settings.decode_invalid
        })?;
        let json = self.clone();
        library.one("encode_number_precision", move |_, args: MultiValue| {
            let mut settings = json.settings.get();
            let precision = integer(&args, 1, "encode_number_precision", 1, settings.precision as i64)?;
            if precision > 14 {
                return Err(bad_argument(
                    1,
                    "encode_number_precision",
                    "expected integer between 1 and 14",
                ));
            }
            settings.precision = precision as usize;
            json.settings.set(settings);
            Ok(Value::Integer(precision))
        })?;
        let json = self.clone();
        library.one("encode_invalid_numbers", move |lua, args: MultiValue| {
            let mut settings = json.settings.get();
            settings.encode_invalid = match args.front() {
                Some(Value::String(word)) if *word.as_bytes() == *b"null" => Invalid::Null,
                Some(_) => match switch(&args, "encode_invalid_numbers", false)? {
                    true => Invalid::Write,
                    false => Invalid::Refuse,
                },
                None => settings.encode_invalid,
            };
            json.settings.set(settings);
            Ok(match settings.encode_invalid {
                Invalid::Null => Value::String(lua.create_string("null")?),
                other => Value::Boolean(other == Invalid::Write),
            })
        })
    }

    fn add_number(
        &self,
        library: &Library<'_>,
        name: &'static str,
        field: fn(&mut Settings) -> &mut i64,
    ) -> mlua::Result<()> {
        let json = self.clone();
        library.one(name, move |_, args: MultiValue| {
            let mut settings = json.settings.get();
            let value = integer(&args, 1, name, 1, *field(&mut settings))?;
            *field(&mut settings) = value;
            json.settings.set(settings);
            Ok(Value::Integer(value))
        })
    }

    fn add_switch(
        &self,
        library: &Library<'_>,
        name: &'static str,
        field: fn(&mut Settings) -> &mut bool,
    ) -> mlua::Result<()> {
        let json = self.clone();
        library.one(name, move |_, args: MultiValue| {
            let mut settings = json.settings.get();
            let value = switch(&args, name, *field(&mut settings))?;
            *field(&mut settings) = value;
            json.settings.set(settings);
            Ok(Value::Boolean(value))
        })
    }
}

/// A number among the arguments, or what was set already.
fn integer(args: &MultiValue, number: usize, function: &str, min: i64, old: i64) -> LibraryResult<i64> {
    let max = i64::from(i32::MAX);
    match args.get(number - 1) {
        None | Some(Value::Nil) => Ok(old),
        Some(value) => {
            let n = as_number(value).ok_or_else(|| wrong_type(number, function, "number", Some(value)))? as i64;
            if (min..=max).contains(&n) {
                Ok(n)
            } else {
                let expected = format!("expected integer between {min} and {max}");
                Err(bad_argument(1, function, &expected))
            }
        }
    }
}

/// The first argument as a truth value, or what was set already.
fn switch(args: &MultiValue, function: &str, old: bool) -> LibraryResult<bool> {
    match args.front() {
        None | Some(Value::Nil) => Ok(old),
        Some(Value::Boolean(on)) => Ok(*on),
        Some(Value::String(word)) if *word.as_bytes() == *b"on" => Ok(true),
        Some(Value::String(word)) if *word.as_bytes() == *b"off" => Ok(false),
        Some(Value::String(word)) => {
            let expected = format!("invalid option '{}'", word.to_string_lossy());
            Err(bad_argument(1, function, &expected))
        }
        other => Err(wrong_type(1, function, "string", other)),
    }
}
