//! [`Out`]: lines for people or for programs, from one description of each thing.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

/// Bytes of a key or an argument that are shown; how many there are is said.
const SHOWN_BYTES_MAX: usize = 256;

/// One thing: what it is, and its fields in order.
#[derive(Clone, Debug)]
pub struct Line {
    fields: Vec<(&'static str, Value)>,
}

impl Line {
    /// A thing of this type, without fields.
    pub fn new(what: &'static str) -> Self {
        Self {
            fields: vec![("type", what.into())],
        }
    }

    /// One more field.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// One more field, if there is a value.
    #[must_use]
    pub fn with_some(self, name: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// For people: the type, then `name=value` for each field.
    fn text(&self) -> String {
        let mut text = String::new();
        for (at, (name, value)) in self.fields.iter().enumerate() {
            let shown = match value {
                Value::String(text) if at > 0 && (text.is_empty() || text.contains([' ', '"'])) => format!("{text:?}"),
                Value::String(text) => text.clone(),
                value => value.to_string(),
            };
            if at == 0 {
                text = shown;
            } else {
                // Writing to a string cannot fail.
                let _ = write!(text, " {name}={shown}");
            }
        }
        text
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len()))?;
        for (name, value) in &self.fields {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Bytes as text that shows each of them: printable ASCII as it is, `\` doubled, others as `\xNN`.
pub fn show(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in &bytes[..bytes.len().min(SHOWN_BYTES_MAX)] {
        let _ = match byte {
            b'\\' => write!(text, "\\\\"),
            b' '..=b'~' => write!(text, "{}", char::from(byte)),
            _ => write!(text, "\\x{byte:02x}"),
        };
    }
    if bytes.len() > SHOWN_BYTES_MAX {
        let _ = write!(text, "... ({} bytes)", bytes.len());
    }
    text
}

/// See the module's text.
pub struct Out {
    json: bool,
    left: u64,
    /// There was more to print.
    cut: bool,
    /// Standard output is gone.
    failed: Option<io::Error>,
    to: Box<dyn io::Write>,
}

impl Out {
    /// To standard output. `limit`: lines printed at most.
    pub fn new(json: bool, limit: Option<u64>) -> Self {
        Self::to(Box::new(io::BufWriter::new(io::stdout().lock())), json, limit)
    }

    /// To anything.
    pub fn to(to: Box<dyn io::Write>, json: bool, limit: Option<u64>) -> Self {
        Self {
            json,
            left: limit.unwrap_or(u64::MAX),
            cut: false,
            failed: None,
            to,
        }
    }

    /// Nothing more would be printed.
    pub fn is_full(&self) -> bool {
        self.cut || self.failed.is_some()
    }

    /// Prints a line, if there is room.
    pub fn line(&mut self, line: &Line) {
        if self.left == 0 {
            self.cut = true;
        }
        if self.is_full() {
            return;
        }
        self.left -= 1;
        self.write(line);
    }

    /// Prints a line whatever the limit: damage is never left out.
    pub fn line_always(&mut self, line: &Line) {
        if self.failed.is_none() {
            self.write(line);
        }
    }

    fn write(&mut self, line: &Line) {
        let text = if self.json {
            serde_json::to_string(line).expect("texts and numbers are JSON")
        } else {
            line.text()
        };
        if let Err(error) = writeln!(self.to, "{text}") {
            self.failed = Some(error);
        }
    }

    /// Says whether something was left out, and hands everything over.
    ///
    /// # Errors
    /// Standard output could not be written to. A reader that had enough is no error.
    pub fn finish(mut self) -> io::Result<()> {
        if self.cut {
            self.write(&Line::new("limit").with("what", "there is more than --limit lets through"));
        }
        match self.failed.map_or_else(|| self.to.flush(), Err) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Rc<RefCell<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn printed(json: bool, limit: Option<u64>) -> String {
        let kept = Kept::default();
        let mut out = Out::to(Box::new(kept.clone()), json, limit);
        for n in 0..3 {
            out.line(&Line::new("key").with("n", n).with("key", show(b"a b\\\n\xff")));
        }
        out.finish().unwrap();
        let bytes = kept.0.borrow().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn people_and_programs_read_the_same() {
        assert_eq!(
            printed(false, None).lines().next(),
            Some(r#"key n=0 key="a b\\\\\\x0a\\xff""#)
        );
        assert_eq!(
            printed(true, None).lines().next(),
            Some(r#"{"type":"key","n":0,"key":"a b\\\\\\x0a\\xff"}"#)
        );
    }

    #[test]
    fn what_is_left_out_is_said() {
        let text = printed(false, Some(2));
        assert_eq!(text.lines().count(), 3);
        assert!(
            text.ends_with("limit what=\"there is more than --limit lets through\"\n"),
            "{text}"
        );
        assert_eq!(printed(false, Some(3)).lines().count(), 3);
    }
}
