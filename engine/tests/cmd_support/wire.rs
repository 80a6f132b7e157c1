//! Replies as RESP bytes, and RESP bytes as one line of text.

use slotcore_engine::cmd::Reply;

/// Writes replies as Redis 7.0 does.
pub struct Wire {
    pub bytes: Vec<u8>,
    pub proto: u8,
}

impl Wire {
    pub fn new(proto: u8) -> Self {
        Self {
            bytes: Vec::new(),
            proto,
        }
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        self.bytes.extend_from_slice(format!("{text}\r\n").as_bytes());
    }
}

impl Reply for Wire {
    fn simple(&mut self, text: &str) {
        self.line(format_args!("+{text}"));
    }
    fn bulk(&mut self, bytes: &[u8]) {
        self.line(format_args!("${}", bytes.len()));
        self.bytes.extend_from_slice(bytes);
        self.bytes.extend_from_slice(b"\r\n");
    }
    fn verbatim(&mut self, text: &[u8]) {
        self.bulk(text);
    }
    fn null(&mut self) {
        let text = if self.proto == 3 { "_" } else { "$-1" };
        self.line(format_args!("{text}"));
    }
    fn null_array(&mut self) {
        let text = if self.proto == 3 { "_" } else { "*-1" };
        self.line(format_args!("{text}"));
    }
    fn int(&mut self, value: i64) {
        self.line(format_args!(":{value}"));
    }
    fn double(&mut self, value: f64) {
        self.double_text(&general17(value));
    }
    fn double_text(&mut self, text: &str) {
        if self.proto == 3 {
            self.line(format_args!(",{text}"))
        } else {
            self.bulk(text.as_bytes())
        }
    }
    fn big_number(&mut self, text: &str) {
        if self.proto == 3 {
            self.line(format_args!("({text}"))
        } else {
            self.bulk(text.as_bytes())
        }
    }
    fn bool(&mut self, value: bool) {
        if self.proto == 3 {
            self.line(format_args!("#{}", if value { 't' } else { 'f' }))
        } else {
            self.int(value.into())
        }
    }
    fn array(&mut self, len: usize) {
        self.line(format_args!("*{len}"));
    }
    fn map(&mut self, len: usize) {
        if self.proto == 3 {
            self.line(format_args!("%{len}"))
        } else {
            self.array(2 * len)
        }
    }
    fn set(&mut self, len: usize) {
        if self.proto == 3 {
            self.line(format_args!("~{len}"))
        } else {
            self.array(len)
        }
    }
    fn error(&mut self, text: &str) {
        assert!(!text.contains(['\r', '\n']), "an error is one line");
        self.line(format_args!("-{text}"));
    }
    fn proto(&self) -> u8 {
        self.proto
    }
}

/// C's `%.17g`.
fn general17(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_string();
    }
    let scientific = format!("{value:.16e}");
    let (digits, exponent) = scientific.split_once('e').expect("formatted with an exponent");
    let exponent: i32 = exponent.parse().expect("an integer");
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text.to_string(),
    };
    if (-4..17).contains(&exponent) {
        trim(&format!("{value:.*}", (16 - exponent) as usize))
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}e{sign}{:02}", trim(digits), exponent.abs())
    }
}

/// A reply, parsed.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub enum Value {
    Status(String),
    Error(String),
    Int(i64),
    Bulk(Vec<u8>),
    Null,
    NullArray,
    Double(String),
    Big(String),
    Bool(bool),
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Set(Vec<Value>),
}

/// Parses the value at the start of `bytes`; gives it and what follows, or `None` when bytes are missing.
pub fn parse(bytes: &[u8]) -> Option<(Value, &[u8])> {
    let end = bytes.windows(2).position(|w| w == b"\r\n")?;
    let (line, mut rest) = (std::str::from_utf8(&bytes[1..end]).expect("UTF-8"), &bytes[end + 2..]);
    let number = || line.parse::<i64>().expect("a number");
    let value = match bytes[0] {
        b'+' => Value::Status(line.to_string()),
        b'-' => Value::Error(line.to_string()),
        b':' => Value::Int(number()),
        b',' => Value::Double(line.to_string()),
        b'(' => Value::Big(line.to_string()),
        b'#' => Value::Bool(line == "t"),
        b'_' => Value::Null,
        b'$' if line == "-1" => Value::Null,
        b'*' if line == "-1" => Value::NullArray,
        b'$' => {
            let len = number() as usize;
            let body = rest.get(..len)?.to_vec();
            rest = rest.get(len + 2..)?;
            Value::Bulk(body)
        }
        // The format of a verbatim string is not looked at.
        b'=' => {
            let len = number() as usize;
            let body = rest.get(4..len)?.to_vec();
            rest = rest.get(len + 2..)?;
            Value::Bulk(body)
        }
        kind @ (b'*' | b'~' | b'%') => {
            let mut items = Vec::new();
            for _ in 0..number() * if kind == b'%' { 2 } else { 1 } {
                let (item, after) = parse(rest)?;
                items.push(item);
                rest = after;
            }
            match kind {
                b'*' => Value::Array(items),
                b'~' => Value::Set(items),
                _ => Value::Map(items.chunks(2).map(|kv| (kv[0].clone(), kv[1].clone())).collect()),
            }
        }
        other => panic!("unknown reply type {:?}", other as char),
    };
    Some((value, rest))
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |items: &[Value]| items.iter().map(Value::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Value::Status(text) => f.write_str(text),
            Value::Error(text) => write!(f, "-{text}"),
            Value::Int(n) => write!(f, "{n}"),
            Value::Bulk(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Value::Null => f.write_str("null"),
            Value::NullArray => f.write_str("null-array"),
            Value::Double(text) => write!(f, ",{text}"),
            Value::Big(text) => write!(f, "({text}"),
            Value::Bool(b) => write!(f, "#{b}"),
            Value::Array(items) => write!(f, "[{}]", list(items)),
            Value::Set(items) => write!(f, "~[{}]", list(items)),
            Value::Map(pairs) => {
                let pairs: Vec<_> = pairs.iter().map(|(k, v)| format!("{k}: {v}")).collect();
                write!(f, "%{{{}}}", pairs.join(", "))
            }
        }
    }
}

/// The reply with what has no order sorted, as `command` (lower case) demands.
pub fn normalised(command: &str, value: Value) -> Value {
    let sorted = |mut items: Vec<Value>| {
        items.sort_by(|a, b| a.partial_cmp(b).expect("comparable"));
        items
    };
    match (command, value) {
        (
            "smembers" | "keys" | "spop" | "sinter" | "sunion" | "sdiff" | "srandmember" | "hkeys" | "hvals",
            Value::Array(items),
        ) => Value::Array(sorted(items)),
        ("smembers" | "spop" | "sinter" | "sunion" | "sdiff", Value::Set(items)) => Value::Set(sorted(items)),
        ("hgetall", Value::Array(items)) => {
            let mut pairs: Vec<_> = items.chunks(2).map(|kv| (kv[0].clone(), kv[1].clone())).collect();
            pairs.sort_by(|a, b| a.partial_cmp(b).expect("comparable"));
            Value::Array(pairs.into_iter().flat_map(|(k, v)| [k, v]).collect())
        }
        ("hgetall", Value::Map(mut pairs)) => {
            pairs.sort_by(|a, b| a.partial_cmp(b).expect("comparable"));
            Value::Map(pairs)
        }
        ("scan" | "sscan", Value::Array(mut items)) if items.len() == 2 => {
            if let Value::Array(keys) = &items[1] {
                items[1] = Value::Array(sorted(keys.clone()));
            }
            Value::Array(items)
        }
        ("zscan" | "hscan", Value::Array(mut items)) if items.len() == 2 => {
            if let Value::Array(found) = &items[1] {
                items[1] = Value::Array(found.chunks(2).map(|pair| Value::Array(pair.to_vec())).collect());
                items[1] = normalised("smembers", items[1].clone());
            }
            Value::Array(items)
        }
        ("zrandmember" | "hrandfield", Value::Array(items)) => Value::Array(sorted(items)),
        (_, value) => value,
    }
}
