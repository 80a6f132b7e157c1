//! A script's result as the client's answer.
//!
//! Numbers lose their fraction, as in Redis. A table is an error, a status, a double, a big number, a verbatim string, a
//! map or a set when it has a field of that name, else an array that ends before its first nil.
//!
//! Tables may lie deep in each other, or in themselves. What is being written of each is kept in a list, not on the thread's
//! stack, of which a build without optimisation takes several KiB a level.

use mlua::{Lua, Table, Value};

use super::limits::RESULT_DEPTH_MAX;
use crate::cmd::Reply;

/// What is left to be written of a table.
struct Open {
    /// The values from 1 to `len`.
    items: Table,
    next: usize,
    len: usize,
}

/// Writes one value. `script_proto`: the version of RESP that the script chose, which decides what truth values are.
pub(super) fn write(lua: &Lua, value: &Value, script_proto: u8, reply: &mut dyn Reply) {
    let mut open: Vec<Open> = begin(lua, value, script_proto, 0, reply).into_iter().collect();
    while let Some(innermost) = open.last_mut() {
        if innermost.next > innermost.len {
            open.pop();
            continue;
        }
        let item = innermost.items.raw_get(innermost.next);
        innermost.next += 1;
        // Only a lack of memory makes a read fail; there is nothing to be said then.
        let item = item.unwrap_or(Value::Nil);
        open.extend(begin(lua, &item, script_proto, open.len(), reply));
    }
}

/// Writes a value, of a table with others in it only the head: what is to follow is given back. `depth`: tables around it.
fn begin(lua: &Lua, value: &Value, proto: u8, depth: usize, reply: &mut dyn Reply) -> Option<Open> {
    if depth > RESULT_DEPTH_MAX {
        reply.error("ERR reached lua stack limit");
        return None;
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
            return begin_table(lua, table, reply).unwrap_or_else(|_| {
                reply.null();
                None
            });
        }
        _ => reply.null(),
    }
    None
}

/// An error or a status is one line: line ends become spaces.
pub(super) fn one_line(text: &[u8]) -> String {
    String::from_utf8_lossy(text).replace(['\r', '\n'], " ")
}

/// Fails only before anything was written.
fn begin_table(lua: &Lua, table: &Table, reply: &mut dyn Reply) -> mlua::Result<Option<Open>> {
    if let Some(text) = text_field(table, "err")? {
        reply.error(&one_line(&text));
        return Ok(None);
    }
    if let Some(text) = text_field(table, "ok")? {
        reply.simple(&one_line(&text));
        return Ok(None);
    }
    match table.raw_get::<Value>("double")? {
        Value::Number(n) => {
            reply.double(n);
            return Ok(None);
        }
        Value::Integer(n) => {
            reply.double(n as f64);
            return Ok(None);
        }
        _ => {}
    }
    if let Some(text) = text_field(table, "big_number")? {
        reply.big_number(&one_line(&text));
        return Ok(None);
    }
    if let Value::Table(parts) = table.raw_get::<Value>("verbatim_string")?
        && let Some(format) = text_field(&parts, "format")?
        && let Some(text) = text_field(&parts, "string")?
    {
        reply.verbatim_as(&String::from_utf8_lossy(&format), &text);
        return Ok(None);
    }
    if let Value::Table(pairs) = table.raw_get::<Value>("map")? {
        let open = listed(lua, &pairs, true)?;
        reply.map(open.len / 2);
        return Ok(Some(open));
    }
    if let Value::Table(members) = table.raw_get::<Value>("set")? {
        let open = listed(lua, &members, false)?;
        reply.set(open.len);
        return Ok(Some(open));
    }
    let mut len = 0;
    while table.raw_get::<Value>(len + 1)? != Value::Nil {
        len += 1;
    }
    reply.array(len);
    let items = table.clone();
    Ok(Some(Open { items, next: 1, len }))
}

/// The keys of a table, each with its value behind it if that is wanted, in a table of their own: values that are kept outside
/// of Lua take places on a small stack.
fn listed(lua: &Lua, table: &Table, with_values: bool) -> mlua::Result<Open> {
    let items = lua.create_table()?;
    let mut len = 0;
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        len += 1;
        items.raw_set(len, key)?;
        if with_values {
            len += 1;
            items.raw_set(len, value)?;
        }
    }
    Ok(Open { items, next: 1, len })
}

fn text_field(table: &Table, name: &str) -> mlua::Result<Option<Vec<u8>>> {
    Ok(match table.raw_get::<Value>(name)? {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kinds of what was written, in order.
    #[derive(Default)]
    struct Kinds(String);

    impl Reply for Kinds {
        fn simple(&mut self, _: &str) {
            self.0.push('+');
        }
        fn bulk(&mut self, _: &[u8]) {
            self.0.push('$');
        }
        fn verbatim(&mut self, _: &[u8]) {
            self.0.push('=');
        }
        fn null(&mut self) {
            self.0.push('_');
        }
        fn null_array(&mut self) {
            self.0.push('_');
        }
        fn int(&mut self, _: i64) {
            self.0.push(':');
        }
        fn double(&mut self, _: f64) {
            self.0.push(',');
        }
        fn double_text(&mut self, _: &str) {
            self.0.push(',');
        }
        fn bool(&mut self, _: bool) {
            self.0.push('#');
        }
        fn array(&mut self, _: usize) {
            self.0.push('*');
        }
        fn map(&mut self, _: usize) {
            self.0.push('%');
        }
        fn set(&mut self, _: usize) {
            self.0.push('~');
        }
        fn error(&mut self, _: &str) {
            self.0.push('-');
        }
        fn proto(&self) -> u8 {
            3
        }
    }

    fn kinds(code: &str) -> String {
        let lua = Lua::new();
        let value = lua.load(code).eval().unwrap();
        let mut kinds = Kinds::default();
        write(&lua, &value, 3, &mut kinds);
        kinds.0
    }

    #[test]
    fn what_lies_in_each_other_is_written_in_order() {
        assert_eq!(
            kinds("return {1, {'a', {}, true}, {map={k={2}}}, {set={[3]=1}}, 4}"),
            "*:*$*#%$*:~::"
        );
    }

    #[test]
    fn what_lies_in_itself_ends_with_an_error() {
        // At the innermost level everything is one.
        let (above, max) = (RESULT_DEPTH_MAX + 1, RESULT_DEPTH_MAX);
        assert_eq!(kinds("local a = {}; a[1] = a; return a"), "*".repeat(above) + "-");
        let maps = "%$".repeat(max) + "%--";
        assert_eq!(kinds("local a = {}; a.map = {k = a}; return a"), maps);
        let behind = format!("{}--{}", "*".repeat(above), ":".repeat(max));
        assert_eq!(kinds("local a = {}; a[1] = a; a[2] = 5; return a"), behind);
    }
}
