//! A Lua value as MessagePack.

use mlua::{Table, Value};

use crate::script::library::LibraryResult;

/// Tables within tables, beyond which nil is written: a table may contain itself.
const DEPTH_MAX: usize = 16;

/// Appends `value`, which lies within `depth` tables.
pub(super) fn value(value: &Value, depth: usize, out: &mut Vec<u8>) -> LibraryResult<()> {
    match value {
        Value::String(text) => bytes(&text.as_bytes(), out),
        Value::Boolean(on) => out.push(if *on { 0xc3 } else { 0xc2 }),
        Value::Integer(n) => integer(*n, out),
        Value::Number(n) => double(*n, out),
        Value::Table(fields) if depth < DEPTH_MAX => table(fields, depth, out)?,
        _ => out.push(0xc0),
    }
    Ok(())
}

fn bytes(text: &[u8], out: &mut Vec<u8>) {
    match text.len() {
        len @ 0..32 => out.push(0xa0 | len as u8),
        len @ 32..=0xff => out.extend_from_slice(&[0xd9, len as u8]),
        len => header(len, 0xda, out),
    }
    out.extend_from_slice(text);
}

/// A length behind one of two kinds: `kind` with two bytes of it, the next one with four.
fn header(len: usize, kind: u8, out: &mut Vec<u8>) {
    match u16::try_from(len) {
        Ok(len) => {
            out.push(kind);
            out.extend_from_slice(&len.to_be_bytes());
        }
        Err(_) => {
            out.push(kind + 1);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
    }
}

/// Four bytes if they say as much as eight.
fn double(n: f64, out: &mut Vec<u8>) {
    let single = n as f32;
    if f64::from(single) == n {
        out.push(0xca);
        out.extend_from_slice(&single.to_be_bytes());
    } else {
        out.push(0xcb);
        out.extend_from_slice(&n.to_be_bytes());
    }
}

fn integer(n: i64, out: &mut Vec<u8>) {
    match n {
        0..=0x7f => out.push(n as u8),
        0x80..=0xff => out.extend_from_slice(&[0xcc, n as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend_from_slice(&(n as u32).to_be_bytes());
        }
        0x1_0000_0000.. => {
            out.push(0xcf);
            out.extend_from_slice(&n.to_be_bytes());
        }
        -32..0 => out.push(n as u8),
        -0x80..-32 => out.extend_from_slice(&[0xd0, n as u8]),
        -0x8000..-0x80 => {
            out.push(0xd1);
            out.extend_from_slice(&(n as i16).to_be_bytes());
        }
        -0x8000_0000..-0x8000 => {
            out.push(0xd2);
            out.extend_from_slice(&(n as i32).to_be_bytes());
        }
        ..-0x8000_0000 => {
            out.push(0xd3);
            out.extend_from_slice(&n.to_be_bytes());
        }
    }
}

fn table(fields: &Table, depth: usize, out: &mut Vec<u8>) -> LibraryResult<()> {
    // With n different keys from 1 to n at most, none is missing.
    let (mut count, mut max, mut is_array) = (0usize, 0i64, true);
    for pair in fields.pairs::<Value, Value>() {
        count += 1;
        match pair?.0 {
            Value::Integer(index) if index >= 1 => max = max.max(index),
            _ => is_array = false,
        }
    }
    if is_array && max == count as i64 {
        match count {
            0..16 => out.push(0x90 | count as u8),
            _ => header(count, 0xdc, out),
        }
        for index in 1..=max {
            value(&fields.raw_get(index)?, depth + 1, out)?;
        }
        return Ok(());
    }
    match count {
        0..16 => out.push(0x80 | count as u8),
        _ => header(count, 0xde, out),
    }
    for pair in fields.pairs::<Value, Value>() {
        let (key, field) = pair?;
        value(&key, depth + 1, out)?;
        value(&field, depth + 1, out)?;
    }
    Ok(())
}
