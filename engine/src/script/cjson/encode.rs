//! A Lua value as JSON text.

use mlua::{Table, Value};

use super::{Invalid, Settings};
use crate::script::library::{LibraryResult, type_name};
use crate::script::limits::NESTING_MAX;
use crate::script::number_text::general;

/// Appends `value`, which lies below `depth` tables.
pub(super) fn value(settings: &Settings, value: &Value, depth: usize, out: &mut Vec<u8>) -> LibraryResult<()> {
    match value {
        Value::Nil => out.extend_from_slice(b"null"),
        Value::Boolean(true) => out.extend_from_slice(b"true"),
        Value::Boolean(false) => out.extend_from_slice(b"false"),
        Value::Integer(n) => number(settings, *n as f64, out)?,
        Value::Number(n) => number(settings, *n, out)?,
        Value::String(text) => string(&text.as_bytes(), out),
        Value::Table(fields) => table(settings, fields, depth + 1, out)?,
        Value::LightUserData(pointer) if pointer.0.is_null() => out.extend_from_slice(b"null"),
        other => return Err(format!("Cannot serialise {}: type not supported", type_name(other)).into()),
    }
    Ok(())
}

fn number(settings: &Settings, n: f64, out: &mut Vec<u8>) -> LibraryResult<()> {
    if !n.is_finite() {
        match settings.encode_invalid {
            Invalid::Refuse => return Err("Cannot serialise number: must not be NaN or Inf".into()),
            Invalid::Null => {
                out.extend_from_slice(b"null");
                return Ok(());
            }
            Invalid::Write if n.is_nan() => {
                out.extend_from_slice(b"nan");
                return Ok(());
            }
            Invalid::Write => {}
        }
    }
    out.extend_from_slice(general(n, settings.precision).as_bytes());
    Ok(())
}

fn string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'/' => out.extend_from_slice(b"\\/"),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0..0x20 | 0x7f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

fn table(settings: &Settings, fields: &Table, depth: usize, out: &mut Vec<u8>) -> LibraryResult<()> {
    if depth as i64 > settings.encode_depth_max || depth > NESTING_MAX {
        return Err(format!("Cannot serialise, excessive nesting ({depth})").into());
    }
    match array_len(settings, fields)? {
        Some(len) => array(settings, fields, len, depth, out),
        None => object(settings, fields, depth, out),
    }
}

/// The highest index of a table that is to be an array; `None` for one that is to be an object.
fn array_len(settings: &Settings, fields: &Table) -> LibraryResult<Option<i64>> {
    let (mut max, mut items) = (0i64, 0i64);
    for pair in fields.pairs::<Value, Value>() {
        match pair?.0 {
            Value::Integer(index) if index >= 1 => {
                max = max.max(index);
                items += 1;
            }
            _ => return Ok(None),
        }
    }
    let sparse = settings.sparse_ratio > 0 && max > items.saturating_mul(settings.sparse_ratio);
    if sparse && max > settings.sparse_safe {
        return match settings.sparse_convert {
            true => Ok(None),
            false => Err("Cannot serialise table: excessively sparse array".into()),
        };
    }
    Ok((max > 0).then_some(max))
}

fn array(settings: &Settings, items: &Table, len: i64, depth: usize, out: &mut Vec<u8>) -> LibraryResult<()> {
    out.push(b'[');
    for index in 1..=len {
        if index > 1 {
            out.push(b',');
        }
        value(settings, &items.raw_get(index)?, depth, out)?;
    }
    out.push(b']');
    Ok(())
}

fn object(settings: &Settings, fields: &Table, depth: usize, out: &mut Vec<u8>) -> LibraryResult<()> {
    out.push(b'{');
    for (place, pair) in fields.pairs::<Value, Value>().enumerate() {
        let (key, field) = pair?;
        if place > 0 {
            out.push(b',');
        }
        match key {
            Value::String(text) => string(&text.as_bytes(), out),
            Value::Integer(_) | Value::Number(_) => {
                let n = match key {
                    Value::Integer(n) => n as f64,
                    Value::Number(n) => n,
                    _ => 0.0,
                };
                out.push(b'"');
                number(settings, n, out)?;
                out.push(b'"');
            }
            other => {
                let kind = type_name(&other);
                return Err(format!("Cannot serialise {kind}: table key must be a number or string").into());
            }
        }
        out.push(b':');
        value(settings, &field, depth, out)?;
    }
    out.push(b'}');
    Ok(())
}
