//! `struct`: values as the bytes of C structures and back, after Roberto Ierusalimschy's library of that name.
//!
//! A format is a row of options: `>` `<` byte order, `!n` alignment, `x` a zero byte, `bB hH lL T iIn` integers (small
//! letters are signed), `f` `d` floats, `s` a string that ends with a zero byte, `cn` n bytes, `c0` as many as there are
//! (or, reading, as the number before said).

use mlua::{Lua, MultiValue, Table, Value};

use super::budget::Budget;
use super::library::{Library, LibraryError, LibraryResult, as_bytes, as_number, bad_argument, wrong_type};

/// Longest integer, in bytes.
const INTEGER_BYTES_MAX: u32 = 32;
/// Alignment that `!` alone asks for: that of a double.
const ALIGNMENT_NATIVE: u32 = 8;

/// One option of a format.
struct Item {
    option: u8,
    /// Bytes it takes, as far as the format says.
    size: usize,
    /// Zero bytes before it.
    padding: usize,
    big_endian: bool,
}

struct Format<'a> {
    function: &'static str,
    text: &'a [u8],
    at: usize,
    big_endian: bool,
    alignment: usize,
}

impl<'a> Format<'a> {
    fn new(function: &'static str, text: &'a [u8]) -> Self {
        Self {
            function,
            // The format is C's text: a zero byte ends it.
            text: text.split(|c| *c == 0).next().unwrap_or_default(),
            at: 0,
            big_endian: cfg!(target_endian = "big"),
            alignment: 1,
        }
    }

    fn number(&mut self, default: u32) -> LibraryResult<u32> {
        let digits = self.text[self.at..].iter().take_while(|c| c.is_ascii_digit()).count();
        if digits == 0 {
            return Ok(default);
        }
        let text = &self.text[self.at..self.at + digits];
        self.at += digits;
        let n = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i32>().ok());
        n.and_then(|n| u32::try_from(n).ok())
            .ok_or_else(|| "integral size overflow".into())
    }

    /// The next option that stands for bytes, behind `position` bytes of the structure.
    fn next(&mut self, position: usize) -> LibraryResult<Option<Item>> {
        while let Some(&option) = self.text.get(self.at) {
            self.at += 1;
            let size = match option {
                b'b' | b'B' | b'x' => 1,
                b'h' | b'H' => 2,
                b'l' | b'L' | b'T' | b'd' => 8,
                b'f' => 4,
                b'c' => self.number(1)? as usize,
                b'i' | b'I' => {
                    let size = self.number(4)?;
                    if size > INTEGER_BYTES_MAX {
                        let max = INTEGER_BYTES_MAX;
                        return Err(format!("integral size {size} is larger than limit of {max}").into());
                    }
                    size as usize
                }
                b's' => 0,
                _ => {
                    self.control(option)?;
                    continue;
                }
            };
            let unit = if option == b'c' { 0 } else { size.min(self.alignment) };
            let padding = if unit == 0 {
                0
            } else {
                (unit - (position & (unit - 1))) & (unit - 1)
            };
            return Ok(Some(Item {
                option,
                size,
                padding,
                big_endian: self.big_endian,
            }));
        }
        Ok(None)
    }

    fn control(&mut self, option: u8) -> LibraryResult<()> {
        match option {
            b' ' => {}
            b'>' => self.big_endian = true,
            b'<' => self.big_endian = false,
            b'!' => {
                let alignment = self.number(ALIGNMENT_NATIVE)?;
                if !alignment.is_power_of_two() {
                    return Err(format!("alignment {alignment} is not a power of 2").into());
                }
                self.alignment = alignment as usize;
            }
            other => {
                let what = format!("invalid format option '{}'", char::from(other));
                return Err(bad_argument(1, self.function, &what));
            }
        }
        Ok(())
    }
}

fn text_argument(lua: &Lua, args: &MultiValue, number: usize, function: &str) -> LibraryResult<Vec<u8>> {
    let value = args.get(number - 1);
    let text = value.map(|value| as_bytes(lua, value)).transpose()?.flatten();
    text.ok_or_else(|| wrong_type(number, function, "string", value.or(behind(args, number))))
}

fn number_argument(args: &MultiValue, number: usize, function: &str) -> LibraryResult<f64> {
    let value = args.get(number - 1);
    let n = value.and_then(as_number);
    n.ok_or_else(|| wrong_type(number, function, "number", value.or(behind(args, number))))
}

/// As in the original, what stands directly behind the arguments is nil; further ones do not exist.
fn behind(args: &MultiValue, number: usize) -> Option<&'static Value> {
    (number == args.len() + 1 && number > 2).then_some(&Value::Nil)
}

/// Appends the lowest `size` bytes of a 64-bit integer; bytes beyond those are zero.
fn put_integer(n: f64, item: &Item, out: &mut Vec<u8>) {
    let value = if n < 0.0 { n as i64 as u64 } else { n as u64 };
    let from = out.len();
    out.extend((0..item.size).map(|i| if i < 8 { value.to_le_bytes()[i] } else { 0 }));
    if item.big_endian {
        out[from..].reverse();
    }
}

fn put_float(mut bytes: impl AsMut<[u8]>, item: &Item, out: &mut Vec<u8>) {
    if item.big_endian {
        bytes.as_mut().reverse();
    }
    out.extend_from_slice(bytes.as_mut());
}

fn pack(lua: &Lua, args: &MultiValue) -> LibraryResult<Vec<u8>> {
    let text = text_argument(lua, args, 1, "pack")?;
    let mut format = Format::new("pack", &text);
    let (mut out, mut next) = (Vec::new(), 2);
    while let Some(item) = format.next(out.len())? {
        out.resize(out.len() + item.padding, 0);
        if item.option != b'x' {
            next += 1;
        }
        let number = next - 1;
        match item.option {
            b'x' => out.push(0),
            b'f' => put_float(
                (number_argument(args, number, "pack")? as f32).to_le_bytes(),
                &item,
                &mut out,
            ),
            b'd' => put_float(number_argument(args, number, "pack")?.to_le_bytes(), &item, &mut out),
            b's' => {
                out.extend_from_slice(&text_argument(lua, args, number, "pack")?);
                out.push(0);
            }
            b'c' => {
                let bytes = text_argument(lua, args, number, "pack")?;
                let size = if item.size == 0 { bytes.len() } else { item.size };
                let bytes = bytes.get(..size);
                out.extend_from_slice(bytes.ok_or_else(|| bad_argument(next, "pack", "string too short"))?);
            }
            _ => put_integer(number_argument(args, number, "pack")?, &item, &mut out),
        }
    }
    Ok(out)
}

/// The integer in up to 32 bytes; what does not fit into 64 bits is lost.
fn integer_of(bytes: &[u8], item: &Item) -> f64 {
    let shifted = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    let value = if item.big_endian {
        bytes.iter().fold(0, shifted)
    } else {
        bytes.iter().rev().fold(0, shifted)
    };
    if !item.option.is_ascii_lowercase() {
        return value as f64;
    }
    let unused = 64 - 8 * item.size.clamp(1, 8) as u32;
    ((value << unused) as i64 >> unused) as f64
}

fn float_of<const N: usize>(bytes: &[u8], item: &Item) -> [u8; N] {
    let mut bytes: [u8; N] = bytes.try_into().expect("as many bytes as the option takes");
    if item.big_endian {
        bytes.reverse();
    }
    bytes
}

fn unpack(lua: &Lua, args: &MultiValue, results: &Table) -> LibraryResult<usize> {
    let text = text_argument(lua, args, 1, "unpack")?;
    let data = text_argument(lua, args, 2, "unpack")?;
    let mut at = match args.get(2) {
        None | Some(Value::Nil) => 0,
        Some(_) => match number_argument(args, 3, "unpack")? as i64 {
            0 => return Err(bad_argument(3, "unpack", "offset must be 1 or greater")),
            // A negative one is so large as a position that nothing is there.
            n => usize::try_from(n).unwrap_or(usize::MAX) - 1,
        },
    };
    let too_short = || bad_argument(2, "unpack", "data string too short");
    let mut format = Format::new("unpack", &text);
    let (mut count, mut last) = (0, None);
    while let Some(item) = format.next(at)? {
        let start = at.checked_add(item.padding).ok_or_else(too_short)?;
        let rest = data.get(start..).ok_or_else(too_short)?;
        let bytes = rest.get(..item.size).ok_or_else(too_short)?;
        at = start + item.size;
        let value = match item.option {
            b'x' => continue,
            b'f' => Value::Number(f32::from_le_bytes(float_of(bytes, &item)).into()),
            b'd' => Value::Number(f64::from_le_bytes(float_of(bytes, &item))),
            b'c' if item.size == 0 => {
                let size: f64 = last.take().ok_or("format 'c0' needs a previous size")?;
                count -= 1;
                let bytes = rest.get(..size as usize).ok_or_else(too_short)?;
                at += bytes.len();
                Value::String(lua.create_string(bytes)?)
            }
            b'c' => Value::String(lua.create_string(bytes)?),
            b's' => {
                let len = rest.iter().position(|c| *c == 0);
                let len = len.ok_or_else(|| LibraryError::from("unfinished string in data"))?;
                at += len + 1;
                Value::String(lua.create_string(&rest[..len])?)
            }
            _ => Value::Number(integer_of(bytes, &item)),
        };
        last = if let Value::Number(n) = value { Some(n) } else { None };
        count += 1;
        results.raw_set(count, value)?;
    }
    count += 1;
    results.raw_set(count, at + 1)?;
    Ok(count)
}

fn size(lua: &Lua, args: &MultiValue) -> LibraryResult<usize> {
    let text = text_argument(lua, args, 1, "size")?;
    let mut format = Format::new("size", &text);
    let mut size = 0usize;
    while let Some(item) = format.next(size)? {
        match item.option {
            b's' => return Err(bad_argument(1, "size", "option 's' has no fixed size")),
            b'c' if item.size == 0 => return Err(bad_argument(1, "size", "option 'c0' has no fixed size")),
            _ => {}
        }
        size = size.saturating_add(item.padding).saturating_add(item.size);
    }
    Ok(size)
}

/// The library, as `prelude.lua` expects it.
pub(super) fn library(lua: &Lua, budget: &Budget) -> mlua::Result<Table> {
    let library = Library::new(lua, budget)?;
    let work = library.budget();
    library.one("pack", move |lua, args: MultiValue| {
        let bytes = pack(lua, &args)?;
        Library::charge_bytes(&work, bytes.len())?;
        Ok(Value::String(lua.create_string(bytes)?))
    })?;
    library.many("unpack", |lua, args, results| unpack(lua, &args, results))?;
    library.one("size", |lua, args: MultiValue| {
        Ok(Value::Integer(size(lua, &args)? as i64))
    })?;
    library.finish()
}
