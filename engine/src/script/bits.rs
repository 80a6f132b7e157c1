//! `bit`: operations on 32-bit integers, as Mike Pall's BitOp: numbers are taken modulo 2^32, results are signed.

use mlua::{Lua, MultiValue, Table, Value};

use super::budget::Budget;
use super::library::{Library, LibraryResult, as_number, wrong_type};

/// Adding this moves the integer part of a number into its lowest bits, rounded.
const TO_INTEGER: f64 = 6_755_399_441_055_744.0;

fn bits(args: &MultiValue, number: usize, function: &str) -> LibraryResult<u32> {
    let value = args.get(number - 1);
    match value.and_then(as_number) {
        Some(n) => Ok((n + TO_INTEGER).to_bits() as u32),
        None => Err(wrong_type(number, function, "number", value)),
    }
}

fn number(bits: u32) -> Value {
    Value::Integer((bits as i32).into())
}

/// The library, as `prelude.lua` expects it.
pub(super) fn library(lua: &Lua, budget: &Budget) -> mlua::Result<Table> {
    let library = Library::new(lua, budget)?;
    type Unary = fn(u32) -> u32;
    let unary: [(&'static str, Unary); 3] = [("tobit", |b| b), ("bnot", |b| !b), ("bswap", u32::swap_bytes)];
    for (name, f) in unary {
        library.one(name, move |_, args: MultiValue| Ok(number(f(bits(&args, 1, name)?))))?;
    }
    type Binary = fn(u32, u32) -> u32;
    let of_all: [(&'static str, Binary); 3] = [("band", |a, b| a & b), ("bor", |a, b| a | b), ("bxor", |a, b| a ^ b)];
    for (name, f) in of_all {
        library.one(name, move |_, args: MultiValue| {
            let mut result = bits(&args, 1, name)?;
            for i in 2..=args.len() {
                result = f(result, bits(&args, i, name)?);
            }
            Ok(number(result))
        })?;
    }
    // Only the lowest five bits of a distance count.
    let shifts: [(&'static str, Binary); 5] = [
        ("lshift", |b, n| b << n),
        ("rshift", |b, n| b >> n),
        ("arshift", |b, n| (b as i32 >> n) as u32),
        ("rol", u32::rotate_left),
        ("ror", u32::rotate_right),
    ];
    for (name, f) in shifts {
        library.one(name, move |_, args: MultiValue| {
            Ok(number(f(bits(&args, 1, name)?, bits(&args, 2, name)? & 31)))
        })?;
    }
    library.one("tohex", |lua, args: MultiValue| {
        let value = bits(&args, 1, "tohex")?;
        let digits = if args.len() < 2 {
            8
        } else {
            bits(&args, 2, "tohex")? as i32
        };
        let text = if digits < 0 {
            format!("{value:08X}")
        } else {
            format!("{value:08x}")
        };
        let kept = digits.unsigned_abs().min(8) as usize;
        Ok(Value::String(lua.create_string(&text[8 - kept..])?))
    })?;
    library.finish()
}
