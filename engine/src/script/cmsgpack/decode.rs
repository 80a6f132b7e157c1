//! MessagePack as Lua values.

use mlua::{Lua, Value};

use crate::script::library::{LibraryError, LibraryResult};
use crate::script::limits::NESTING_MAX;

/// Reads values one after the other.
pub(super) struct Reader<'a> {
    lua: &'a Lua,
    text: &'a [u8],
    at: usize,
}

fn missing() -> LibraryError {
    "Missing bytes in input.".into()
}

fn bad() -> LibraryError {
    "Bad data format in input.".into()
}

impl<'a> Reader<'a> {
    /// From byte `at` of `text` on, which must not lie beyond its end.
    pub(super) fn new(lua: &'a Lua, text: &'a [u8], at: usize) -> Self {
        Self { lua, text, at }
    }

    /// Nothing is left.
    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    /// Where the next value starts.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    fn take(&mut self, len: usize) -> LibraryResult<&'a [u8]> {
        let end = self.at.checked_add(len).ok_or_else(missing)?;
        let taken = self.text.get(self.at..end).ok_or_else(missing)?;
        self.at = end;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> LibraryResult<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("as many bytes were taken"))
    }

    /// The next value, within `depth` others.
    pub(super) fn value(&mut self, depth: usize) -> LibraryResult<Value> {
        if depth > NESTING_MAX {
            return Err(bad());
        }
        let kind = self.fixed::<1>()?[0];
        Ok(match kind {
            0x00..=0x7f => Value::Integer(kind.into()),
            0xe0..=0xff => Value::Integer((kind as i8).into()),
            0x80..=0x8f => self.map((kind & 0xf).into(), depth)?,
            0x90..=0x9f => self.array((kind & 0xf).into(), depth)?,
            0xa0..=0xbf => self.string((kind & 0x1f).into())?,
            0xc0 => Value::Nil,
            0xc2 => Value::Boolean(false),
            0xc3 => Value::Boolean(true),
            0xca => Value::Number(f32::from_be_bytes(self.fixed()?).into()),
            0xcb => Value::Number(f64::from_be_bytes(self.fixed()?)),
            0xcc => Value::Integer(self.fixed::<1>()?[0].into()),
            0xcd => Value::Integer(u16::from_be_bytes(self.fixed()?).into()),
            0xce => Value::Integer(u32::from_be_bytes(self.fixed()?).into()),
            0xcf => Value::Number(u64::from_be_bytes(self.fixed()?) as f64),
            0xd0 => Value::Integer((self.fixed::<1>()?[0] as i8).into()),
            0xd1 => Value::Integer(i16::from_be_bytes(self.fixed()?).into()),
            0xd2 => Value::Integer(i32::from_be_bytes(self.fixed()?).into()),
            0xd3 => Value::Number(i64::from_be_bytes(self.fixed()?) as f64),
            0xd9 => {
                let len = self.fixed::<1>()?[0].into();
                self.string(len)?
            }
            0xda => {
                let len = u16::from_be_bytes(self.fixed()?).into();
                self.string(len)?
            }
            0xdb => {
                let len = u32::from_be_bytes(self.fixed()?);
                self.string(len)?
            }
            0xdc => {
                let len = u16::from_be_bytes(self.fixed()?).into();
                self.array(len, depth)?
            }
            0xdd => {
                let len = u32::from_be_bytes(self.fixed()?);
                self.array(len, depth)?
            }
            0xde => {
                let len = u16::from_be_bytes(self.fixed()?).into();
                self.map(len, depth)?
            }
            0xdf => {
                let len = u32::from_be_bytes(self.fixed()?);
                self.map(len, depth)?
            }
            _ => return Err(bad()),
        })
    }

    fn string(&mut self, len: u32) -> LibraryResult<Value> {
        let text = self.take(len as usize)?;
        Ok(Value::String(self.lua.create_string(text)?))
    }

    fn array(&mut self, len: u32, depth: usize) -> LibraryResult<Value> {
        let table = self.lua.create_table()?;
        for index in 1..=len {
            table.raw_set(index, self.value(depth + 1)?)?;
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, len: u32, depth: usize) -> LibraryResult<Value> {
        let table = self.lua.create_table()?;
        for _ in 0..len {
            let key = self.value(depth + 1)?;
            let value = self.value(depth + 1)?;
            match key {
                Value::Nil => return Err("table index is nil".into()),
                Value::Number(n) if n.is_nan() => return Err("table index is NaN".into()),
                key => table.raw_set(key, value)?,
            }
        }
        Ok(Value::Table(table))
    }
}
