//! JSON text as a Lua value.
//!
//! What is no JSON but is understood all the same, unless a script forbids it: infinities, NaN and hexadecimal numbers. A
//! zero byte ends the text.

use mlua::{Lua, Value};

use super::Settings;
use crate::script::library::{LibraryError, LibraryResult};
use crate::script::limits::NESTING_MAX;

#[derive(Debug)]
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    Colon,
    Comma,
    End,
    Null,
    Boolean(bool),
    Number(f64),
    String(Vec<u8>),
    /// What is wrong.
    Bad(&'static str),
}

impl Token {
    /// As error texts call it.
    fn name(&self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Null => "T_NULL",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Number(_) => "T_NUMBER",
            Token::String(_) => "T_STRING",
            Token::Bad(what) => what,
        }
    }
}

struct Parser<'a> {
    lua: &'a Lua,
    settings: &'a Settings,
    text: &'a [u8],
    at: usize,
    /// Where the last token began, or what is wrong with it lies.
    token_at: usize,
    depth: usize,
}

/// The value that `text` is.
pub(super) fn text(lua: &Lua, settings: &Settings, text: &[u8]) -> LibraryResult<Value> {
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        return Err("JSON parser does not support UTF-16 or UTF-32".into());
    }
    let mut parser = Parser {
        lua,
        settings,
        text,
        at: 0,
        token_at: 0,
        depth: 0,
    };
    let first = parser.token();
    let value = parser.value(first)?;
    match parser.token() {
        Token::End => Ok(value),
        other => Err(parser.unexpected("the end", &other)),
    }
}

impl Parser<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn unexpected(&self, expected: &str, found: &Token) -> LibraryError {
        let at = self.token_at + 1;
        format!("Expected {expected} but found {} at character {at}", found.name()).into()
    }

    fn value(&mut self, token: Token) -> LibraryResult<Value> {
        Ok(match token {
            Token::String(text) => Value::String(self.lua.create_string(text)?),
            Token::Number(n) => Value::Number(n),
            Token::Boolean(b) => Value::Boolean(b),
            Token::Null => Value::NULL,
            Token::ObjectBegin => self.object()?,
            Token::ArrayBegin => self.array()?,
            other => return Err(self.unexpected("value", &other)),
        })
    }

    fn descend(&mut self) -> LibraryResult<()> {
        self.depth += 1;
        if self.depth as i64 > self.settings.decode_depth_max || self.depth > NESTING_MAX {
            let (depth, at) = (self.depth, self.at);
            return Err(format!("Found too many nested data structures ({depth}) at character {at}").into());
        }
        Ok(())
    }

    fn object(&mut self) -> LibraryResult<Value> {
        self.descend()?;
        let table = self.lua.create_table()?;
        let mut token = self.token();
        if !matches!(token, Token::ObjectEnd) {
            loop {
                let key = match token {
                    Token::String(key) => key,
                    other => return Err(self.unexpected("object key string", &other)),
                };
                match self.token() {
                    Token::Colon => {}
                    other => return Err(self.unexpected("colon", &other)),
                }
                let first = self.token();
                let value = self.value(first)?;
                table.raw_set(self.lua.create_string(key)?, value)?;
                match self.token() {
                    Token::ObjectEnd => break,
                    Token::Comma => token = self.token(),
                    other => return Err(self.unexpected("comma or object end", &other)),
                }
            }
        }
        self.depth -= 1;
        Ok(Value::Table(table))
    }

    fn array(&mut self) -> LibraryResult<Value> {
        self.descend()?;
        let table = self.lua.create_table()?;
        let mut token = self.token();
        if !matches!(token, Token::ArrayEnd) {
            for index in 1.. {
                let value = self.value(token)?;
                table.raw_set(index, value)?;
                match self.token() {
                    Token::ArrayEnd => break,
                    Token::Comma => token = self.token(),
                    other => return Err(self.unexpected("comma or array end", &other)),
                }
            }
        }
        self.depth -= 1;
        Ok(Value::Table(table))
    }

    fn token(&mut self) -> Token {
        while matches!(self.peek(0), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.token_at = self.at;
        let single = match self.peek(0) {
            0 => return Token::End,
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b':' => Token::Colon,
            b',' => Token::Comma,
            b'"' => return self.string(),
            b'-' | b'0'..=b'9' => {
                if !self.settings.decode_invalid && self.is_no_json_number() {
                    return Token::Bad("invalid number");
                }
                return self.number();
            }
            _ => return self.word(),
        };
        self.at += 1;
        single
    }

    fn word(&mut self) -> Token {
        let rest = &self.text[self.at..];
        let (len, token) = if rest.starts_with(b"true") {
            (4, Token::Boolean(true))
        } else if rest.starts_with(b"false") {
            (5, Token::Boolean(false))
        } else if rest.starts_with(b"null") {
            (4, Token::Null)
        } else if self.settings.decode_invalid
            && matches!(rest[0], b'f' | b'i' | b'I' | b'n' | b'N' | b't' | b'+')
            && self.is_no_json_number()
        {
            return self.number();
        } else {
            return Token::Bad("invalid token");
        };
        self.at += len;
        token
    }

    /// Whether C would read a number here where JSON allows none: a plus sign, leading zeros, hexadecimal, infinite.
    fn is_no_json_number(&self) -> bool {
        if self.peek(0) == b'+' {
            return true;
        }
        let sign = usize::from(self.peek(0) == b'-');
        match self.peek(sign) {
            b'0' => matches!(self.peek(sign + 1), b'x' | b'X' | b'0'..=b'9'),
            first if first <= b'9' => false,
            _ => {
                let rest = self.text.get(self.at + sign..self.at + sign + 3).unwrap_or_default();
                rest.eq_ignore_ascii_case(b"inf") || rest.eq_ignore_ascii_case(b"nan")
            }
        }
    }

    fn number(&mut self) -> Token {
        match c_number(&self.text[self.at..]) {
            Some((n, len)) => {
                self.at += len;
                Token::Number(n)
            }
            None => Token::Bad("invalid number"),
        }
    }

    fn string(&mut self) -> Token {
        self.at += 1;
        let mut out = Vec::new();
        loop {
            let plain = self.text[self.at..]
                .iter()
                .take_while(|c| !matches!(c, b'"' | b'\\' | 0))
                .count();
            out.extend_from_slice(&self.text[self.at..self.at + plain]);
            self.at += plain;
            match self.peek(0) {
                b'"' => {
                    self.at += 1;
                    return Token::String(out);
                }
                b'\\' => {
                    if let Err(what) = self.escape(&mut out) {
                        self.token_at = self.at;
                        return Token::Bad(what);
                    }
                }
                _ => {
                    self.token_at = self.at;
                    return Token::Bad("unexpected end of string");
                }
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), &'static str> {
        let plain = match self.peek(1) {
            b'u' => {
                let (c, len) = self.unicode().ok_or("invalid unicode escape code")?;
                // Half of a pair alone never gets here, so this is a character.
                let c = char::from_u32(c).ok_or("invalid unicode escape code")?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                self.at += len;
                return Ok(());
            }
            b'b' => 0x08,
            b't' => b'\t',
            b'n' => b'\n',
            b'f' => 0x0c,
            b'r' => b'\r',
            c @ (b'"' | b'\\' | b'/') => c,
            _ => return Err("invalid escape code"),
        };
        out.push(plain);
        self.at += 2;
        Ok(())
    }

    /// The character of `\uXXXX`, or of two such, and how long that is.
    fn unicode(&self) -> Option<(u32, usize)> {
        let unit = |from: usize| {
            let digits = self.text.get(self.at + from..self.at + from + 4)?;
            digits
                .iter()
                .try_fold(0, |n, c| Some(n * 16 + char::from(*c).to_digit(16)?))
        };
        let high = unit(2)?;
        if high & 0xf800 != 0xd800 {
            return Some((high, 6));
        }
        if high & 0x400 != 0 || self.peek(6) != b'\\' || self.peek(7) != b'u' {
            return None;
        }
        let low = unit(8)?;
        (low & 0xfc00 == 0xdc00).then_some((0x1_0000 + ((high & 0x3ff) << 10 | low & 0x3ff), 12))
    }
}

/// The number that C's `strtod` reads at the start of `text`, and how long it is.
fn c_number(text: &[u8]) -> Option<(f64, usize)> {
    let sign = usize::from(matches!(text.first(), Some(b'+' | b'-')));
    let negative = text.first() == Some(&b'-');
    let rest = &text[sign..];
    let begins = |word: &[u8]| {
        rest.get(..word.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    let (magnitude, len) = if begins(b"infinity") {
        (f64::INFINITY, 8)
    } else if begins(b"inf") {
        (f64::INFINITY, 3)
    } else if begins(b"nan") {
        (f64::NAN, 3)
    } else if begins(b"0x") && rest.get(2).is_some_and(u8::is_ascii_hexdigit) {
        let digits = rest[2..].iter().take_while(|c| c.is_ascii_hexdigit());
        let n = digits.clone().fold(0.0, |n, c| {
            n * 16.0 + f64::from(char::from(*c).to_digit(16).unwrap_or(0))
        });
        (n, 2 + digits.count())
    } else {
        let len = decimal_len(rest)?;
        let digits = std::str::from_utf8(&rest[..len]).ok()?;
        (digits.parse().ok()?, len)
    };
    Some((if negative { -magnitude } else { magnitude }, sign + len))
}

/// Bytes of the decimal number, without a sign, at the start of `text`.
fn decimal_len(text: &[u8]) -> Option<usize> {
    let digits = |from: usize| text[from..].iter().take_while(|c| c.is_ascii_digit()).count();
    let whole = digits(0);
    let mut len = whole;
    let mut any = whole > 0;
    if text.get(len) == Some(&b'.') {
        let fraction = digits(len + 1);
        any |= fraction > 0;
        len += 1 + fraction;
    }
    if !any {
        return None;
    }
    if matches!(text.get(len), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(len + 1), Some(b'+' | b'-')));
        let from = (len + 1 + sign).min(text.len());
        let exponent = digits(from);
        if exponent > 0 {
            len = from + exponent;
        }
    }
    Some(len)
}
