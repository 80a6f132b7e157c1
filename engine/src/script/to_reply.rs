//! A script's result as the client's answer.
//!
//! Numbers lose their fraction, as in Redis. A table is an error, a status, a double, a big number, a verbatim string, a
//! map or a set when it has a field of that name, else an array that ends before its first nil.

use mlua::{Table, Value};

use super::limits::RESULT_DEPTH_MAX;
use crate::cmd::Reply;

/// Writes one value. `script_proto`: the version of RESP that the script chose, which decides what truth values are.
pub(super) fn write(value: &Value, script_proto: u8, reply: &mut dyn Reply) {
    write_at(value, script_proto, 0, reply);
}

fn write_at(value: &Value, proto: u8, depth: usize, reply: &mut dyn Reply) {
    if depth > RESULT_DEPTH_MAX {
        return reply.error("ERR reached lua stack limit");
    }
    match value {
        Value::String(text) => reply.bulk(&text.as_bytes()),
        Value::Integer(n) => reply.int(*n),
        // As a C cast on this machine's kind: what does not fit, NaN too, is the lowest integer.
        Value::Number(n) if *n >= -9.3e18 && *n < 9_223_372_036_854_775_808.0 => reply.int(*n as i64),
        Value::Number(_) => reply.int(i64::MIN),
        Value::Boolean(on) if proto == 3 => reply.bool(*on),
        Value::Boolean(true) => reply.int(1),
        Value::Table(table) => {
            // Only a lack of memory makes a read fail; there is nothing to be said then.
            if write_table(table, proto, depth, reply).is_err() {
                reply.null();
            }
        }
        _ => reply.null(),
    }
}

/// An error or a status is one line: line ends become spaces.
pub(super) fn one_line(text: &[u8]) -> String {
    String::from_utf8_lossy(text).replace(['\r', '\n'], " ")
}

/// Fails only before anything was written, or in the middle of what then is cut short.
fn write_table(table: &Table, proto: u8, depth: usize, reply: &mut dyn Reply) -> mlua::Result<()> {
    if let Some(text) = text_field(table, "err")? {
        reply.error(&one_line(&text));
        return Ok(());
    }
    if let Some(text) = text_field(table, "ok")? {
        reply.simple(&one_line(&text));
        return Ok(());
    }
    match table.raw_get::<Value>("double")? {
        Value::Number(n) => {
            reply.double(n);
            return Ok(());
        }
        Value::Integer(n) => {
            reply.double(n as f64);
            return Ok(());
        }
        _ => {}
    }
    if let Some(text) = text_field(table, "big_number")? {
        reply.big_number(&one_line(&text));
        return Ok(());
    }
    if let Value::Table(parts) = table.raw_get::<Value>("verbatim_string")?
        && let Some(format) = text_field(&parts, "format")?
        && let Some(text) = text_field(&parts, "string")?
    {
        reply.verbatim_as(&String::from_utf8_lossy(&format), &text);
        return Ok(());
    }
    if let Value::Table(pairs) = table.raw_get::<Value>("map")? {
        reply.map(pairs.pairs::<Value, Value>().count());
        for pair in pairs.pairs::<Value, Value>() {
            let (key, value) = pair?;
            write_at(&key, proto, depth + 1, reply);
            write_at(&value, proto, depth + 1, reply);
        }
        return Ok(());
    }
    if let Value::Table(members) = table.raw_get::<Value>("set")? {
        reply.set(members.pairs::<Value, Value>().count());
        for pair in members.pairs::<Value, Value>() {
            write_at(&pair?.0, proto, depth + 1, reply);
        }
        return Ok(());
    }
    write_array(table, proto, depth, reply)
}

fn write_array(table: &Table, proto: u8, depth: usize, reply: &mut dyn Reply) -> mlua::Result<()> {
    // Values are looked at twice rather than kept: those that are kept take places on a small stack.
    let mut len = 0;
    while table.raw_get::<Value>(len + 1)? != Value::Nil {
        len += 1;
    }
    reply.array(len);
    for index in 1..=len {
        write_at(&table.raw_get(index)?, proto, depth + 1, reply);
    }
    Ok(())
}

fn text_field(table: &Table, name: &str) -> mlua::Result<Option<Vec<u8>>> {
    Ok(match table.raw_get::<Value>(name)? {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        _ => None,
    })
}
