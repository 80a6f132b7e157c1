//! `cmsgpack`: MessagePack, with the choices of lua-cmsgpack: a table with the keys 1 to n is an array, numbers without
//! a fraction are integers, and what cannot be expressed is nil.

mod decode;
mod encode;

use mlua::{Lua, MultiValue, Table, Value};

use super::budget::Budget;
use super::library::{Library, LibraryResult, as_bytes, as_number, bad_argument, wrong_type};

/// The library, as `prelude.lua` expects it.
pub(super) fn library(lua: &Lua, budget: &Budget) -> mlua::Result<Table> {
    let library = Library::new(lua, budget)?;
    let work = library.budget();
    library.one("pack", move |lua, args: MultiValue| {
        if args.is_empty() {
            return Err(bad_argument(0, "pack", "MessagePack pack needs input."));
        }
        let mut out = Vec::new();
        for value in &args {
            encode::value(value, 0, &mut out)?;
        }
        Library::charge_bytes(&work, out.len())?;
        Ok(Value::String(lua.create_string(&out)?))
    })?;
    let work = library.budget();
    library.many("unpack", move |lua, args, results| {
        unpack(lua, &work, &args, "unpack", None, results)
    })?;
    let work = library.budget();
    library.many("unpack_one", move |lua, args, results| {
        let offset = number(&args, 2, "unpack_one", Some(0))?;
        unpack(lua, &work, &args, "unpack_one", Some((1, offset)), results)
    })?;
    let work = library.budget();
    library.many("unpack_limit", move |lua, args, results| {
        let limit = number(&args, 2, "unpack_limit", None)?;
        let offset = number(&args, 3, "unpack_limit", Some(0))?;
        unpack(lua, &work, &args, "unpack_limit", Some((limit, offset)), results)
    })?;
    library.value("_NAME", "cmsgpack")?;
    library.value("_VERSION", "lua-cmsgpack 0.4.0")?;
    library.value("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo")?;
    library.value("_DESCRIPTION", "MessagePack C implementation for Lua")?;
    library.finish()
}

fn number(args: &MultiValue, number: usize, function: &str, default: Option<i64>) -> LibraryResult<i64> {
    match (args.get(number - 1), default) {
        (None | Some(Value::Nil), Some(default)) => Ok(default),
        (value, _) => match value.and_then(as_number) {
            Some(n) => Ok(n as i64),
            None => Err(wrong_type(number, function, "number", value)),
        },
    }
}

/// Reads values from the first argument into `results`; gives their number. `part`: how many, and from which byte; then
/// the first result is where the next one starts, or -1.
fn unpack(
    lua: &Lua,
    budget: &Budget,
    args: &MultiValue,
    function: &str,
    part: Option<(i64, i64)>,
    results: &Table,
) -> LibraryResult<usize> {
    let first = args.front();
    let text = first.map(|value| as_bytes(lua, value)).transpose()?.flatten();
    let text = text.ok_or_else(|| wrong_type(1, function, "string", first))?;
    Library::charge_bytes(budget, text.len())?;
    // As in lua-cmsgpack, no values from the beginning means all of them.
    let part = part.filter(|part| *part != (0, 0));
    let (limit, offset) = part.unwrap_or((i64::MAX, 0));
    if offset < 0 || limit < 0 {
        let len = text.len();
        return Err(format!("Invalid request to unpack with offset of {offset} and limit of {len}.").into());
    }
    let at = usize::try_from(offset).unwrap_or(usize::MAX);
    if at > text.len() {
        return Err(format!("Start offset {at} greater than input length {}.", text.len()).into());
    }
    let mut reader = decode::Reader::new(lua, &text, at);
    let mut count = usize::from(part.is_some());
    let mut read = 0;
    while !reader.is_at_end() && read < limit {
        count += 1;
        read += 1;
        results.raw_set(count, reader.value(0)?)?;
    }
    if part.is_some() {
        let next = if reader.is_at_end() { -1 } else { reader.offset() as i64 };
        results.raw_set(1, next)?;
    }
    Ok(count)
}
