//! [`names_all_keys`]: whether the text of a script shows that it touches no keys but those that it is given.
//!
//! A hint, for whoever has to decide beforehand where a script runs: nothing that it does depends on it. It is cautious: each
//! key must be plainly an element of `KEYS`, or a local variable that is nothing else. A script that hides what it does from
//! it (`KEYS[1] = 'x'`) is taken for one that names its keys.

use crate::cmd::{CommandSpec, Flags, lookup};

/// A piece of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Name(&'a [u8]),
    Number,
    /// A string, without its quotes.
    Text(&'a [u8]),
    Sign(u8),
}

use Token::{Name, Number, Sign, Text};

/// See the module's text. `code`: of the script, without a line that begins with `#!`.
pub(super) fn names_all_keys(code: &[u8]) -> bool {
    let tokens = tokens(code);
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at] != Name(b"redis") {
            at += 1;
            continue;
        }
        let (Some(Sign(b'.')), Some(Name(function))) = (tokens.get(at + 1), tokens.get(at + 2)) else {
            return false;
        };
        at += 3;
        if !matches!(*function, b"call" | b"pcall") {
            continue;
        }
        let (Some(Sign(b'(')), Some(Text(command))) = (tokens.get(at), tokens.get(at + 1)) else {
            return false;
        };
        let arguments = arguments(&tokens[at + 1..]);
        if let Some(spec) = lookup(command)
            && !keys_are_named(spec, &arguments, &tokens)
        {
            return false;
        }
        at += 2;
    }
    true
}

/// `arguments`: those of a call, the command's name first.
fn keys_are_named(spec: &CommandSpec, arguments: &[&[Token<'_>]], tokens: &[Token<'_>]) -> bool {
    let is_key = |argument: &&[Token<'_>]| is_key(argument, tokens);
    if !spec.subcommands.is_empty() || spec.flags.has(Flags::MOVABLE_KEYS) {
        // Which of them are keys depends on others: all must be, but for numbers.
        let more = arguments.iter().skip(1);
        return more.filter(|argument| ***argument != [Number]).all(is_key);
    }
    let end = match spec.last_key {
        last if last < 0 => arguments.len().saturating_sub(last.unsigned_abs() as usize - 1),
        last => last as usize + 1,
    };
    let mut places = (spec.first_key as usize..end).step_by(spec.key_step.max(1) as usize);
    spec.first_key == 0 || places.all(|at| arguments.get(at).is_some_and(is_key))
}

/// Whether an argument is plainly one of the keys, or all of them.
fn is_key(argument: &[Token<'_>], tokens: &[Token<'_>]) -> bool {
    match argument {
        [Name(b"unpack"), Sign(b'('), Name(b"KEYS"), Sign(b')')] => true,
        [Name(b"KEYS"), Sign(b'['), .., Sign(b']')] => closes_at_end(&argument[1..]),
        [Name(name)] => stands_for_key(name, tokens),
        _ => false,
    }
}

/// Whether the bracket that a piece begins with is closed by its last token, and not before.
fn closes_at_end(piece: &[Token<'_>]) -> bool {
    let mut depth = 0i32;
    let closes = piece.iter().position(|token| {
        depth += match token {
            Sign(b'[') => 1,
            Sign(b']') => -1,
            _ => 0,
        };
        depth == 0
    });
    closes == Some(piece.len() - 1)
}

/// Whether a name is given a key once, and nothing else: `local name = KEYS[1]`, `for _, name in ipairs(KEYS)`.
fn stands_for_key(name: &[u8], tokens: &[Token<'_>]) -> bool {
    let (mut given, mut other) = (0, 0);
    for at in 0..tokens.len() {
        let rest = &tokens[at..];
        match rest {
            [Name(b"local"), Name(to), Sign(b'='), Name(b"KEYS"), Sign(b'['), ..] if *to == name => {
                let end = end_of_key(&rest[4..]);
                match end.and_then(|end| rest.get(4 + end)) {
                    Some(Name(b"and" | b"or")) | Some(Sign(b'.' | b'[' | b':' | b'+' | b'-' | b',')) => other += 1,
                    _ => given += 1,
                }
            }
            [
                Name(b"for"),
                Name(_),
                Sign(b','),
                Name(to),
                Name(b"in"),
                Name(b"ipairs" | b"pairs"),
                Sign(b'('),
                Name(from),
                ..,
            ] if *to == name => {
                if *from == b"KEYS" {
                    given += 1;
                } else {
                    other += 1;
                }
            }
            [Name(b"for" | b"local"), Name(to), ..] if *to == name => other += 1,
            [before, Name(to), Sign(b'='), after, ..]
                if *to == name && *before != Name(b"local") && *after != Sign(b'=') =>
            {
                other += 1;
            }
            [Name(b"function"), ..] => {
                let parameters = rest.iter().take_while(|token| **token != Sign(b')'));
                other += usize::from(parameters.skip(1).any(|token| *token == Name(name)));
            }
            _ => {}
        }
    }
    given == 1 && other == 0
}

/// Where the bracket is closed that a piece begins with, one behind.
fn end_of_key(piece: &[Token<'_>]) -> Option<usize> {
    let closes = (1..=piece.len()).find(|end| closes_at_end(&piece[..*end]));
    closes.filter(|end| *end > 1)
}

/// The arguments of a call, from behind its bracket on.
fn arguments<'a, 't>(tokens: &'t [Token<'a>]) -> Vec<&'t [Token<'a>]> {
    let (mut arguments, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Sign(b'(' | b'[' | b'{') => depth += 1,
            Sign(b')') if depth == 0 => {
                arguments.push(&tokens[from..at]);
                return arguments;
            }
            Sign(b')' | b']' | b'}') => depth -= 1,
            Sign(b',') if depth == 0 => {
                arguments.push(&tokens[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    arguments
}

fn tokens(code: &[u8]) -> Vec<Token<'_>> {
    let (mut tokens, mut at) = (Vec::new(), 0);
    while at < code.len() {
        let rest = &code[at..];
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let word = rest.iter().take_while(|byte| is_word(byte)).count();
        at += match rest {
            [b'-', b'-', comment @ ..] => {
                2 + match long_text(comment) {
                    Some((_, len)) => len,
                    None => comment.iter().take_while(|byte| **byte != b'\n').count(),
                }
            }
            [quote @ (b'\'' | b'"'), ..] => {
                let len = text_len(rest, *quote);
                tokens.push(Text(&rest[1..len.max(2) - 1]));
                len
            }
            [b'[', ..] if long_text(rest).is_some() => {
                let (text, len) = long_text(rest).unwrap_or_default();
                tokens.push(Text(text));
                len
            }
            [b'0'..=b'9', ..] => {
                tokens.push(Number);
                word
            }
            _ if word > 0 => {
                tokens.push(Name(&rest[..word]));
                word
            }
            [byte, ..] => {
                if !byte.is_ascii_whitespace() {
                    tokens.push(Sign(*byte));
                }
                1
            }
            [] => 1,
        };
    }
    tokens
}

/// Bytes of a quoted string, with its quotes; to the end where it is not closed.
fn text_len(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// `[[text]]` or `[==[text]==]`: the text, and the bytes of all of it.
fn long_text(rest: &[u8]) -> Option<(&[u8], usize)> {
    let level = rest
        .strip_prefix(b"[")?
        .iter()
        .take_while(|byte| **byte == b'=')
        .count();
    let text = rest.get(level + 1..)?.strip_prefix(b"[")?;
    let close = [&b"]"[..], &vec![b'='; level], b"]"].concat();
    let len = text.windows(close.len()).position(|bytes| *bytes == close);
    let len = len.unwrap_or(text.len());
    Some((&text[..len], (level + 2 + len + close.len()).min(rest.len())))
}

#[cfg(test)]
mod tests {
    use super::names_all_keys;

    #[test]
    fn scripts_that_name_their_keys_are_known() {
        for code in [
            "return 1",
            "return redis.call('get', KEYS[1])",
            "if redis.call(\"get\",KEYS[1]) == ARGV[1] then return redis.call(\"del\",KEYS[1]) else return 0 end",
            "local key = KEYS[1]\nlocal n = redis.call('INCR', key) -- redis.call('get', 'x')\nif n == 1 then
             redis.call('pexpire', key, ARGV[1]) end return n",
            "local a, n = ARGV[1], tonumber(ARGV[2]) return redis.call('hset', KEYS[n + 1], 'f' .. a, n)",
            "for i, key in ipairs(KEYS) do redis.call('set', key, i) end",
            "return redis.call('mget', unpack(KEYS))",
            "return redis.call('zunionstore', KEYS[1], 2, KEYS[2], KEYS[tonumber(ARGV[1])])",
            "local t = redis.call('TIME') redis.log(redis.LOG_NOTICE, [[redis.call('get', 'x')]]) return redis.sha1hex('x')",
            "redis.call('publish', 'channel', KEYS[1] .. 'x')",
            "redis.call('mset', KEYS[1], 1, KEYS[2], 2) redis.call('lmove', KEYS[1], KEYS[2], 'LEFT', 'RIGHT')",
            "return redis.pcall('sadd', KEYS[KEYS[1] and 2], 'KEYS')",
        ] {
            assert!(names_all_keys(code.as_bytes()), "{code}");
        }
    }

    #[test]
    fn scripts_that_may_touch_others_are_known() {
        for code in [
            "return redis.call('get', ARGV[1])",
            "return redis.call('get', 'literal')",
            "return redis.call('get', KEYS[1] .. ':lock')",
            "local rcall = redis.call return rcall('get', KEYS[1])",
            "local id = redis.call('lpop', KEYS[1]) return redis.call('hget', id, 'f')",
            "local key = KEYS[1] .. 'x' return redis.call('get', key)",
            "local key = KEYS[1] key = 'x' return redis.call('get', key)",
            "local key = KEYS[1] local function f(key) return redis.call('get', key) end return f('x')",
            "for _, key in ipairs(ARGV) do redis.call('set', key, 1) end",
            "for key = 1, 3 do redis.call('set', key, 1) end",
            "return redis.call('del', KEYS[1], ARGV[1])",
            "return redis.call(ARGV[1], KEYS[1])",
            "return redis.call('mget', unpack(ARGV))",
            "return redis['call']('get', KEYS[1])",
            "return redis.call('zunionstore', KEYS[1], 2, KEYS[2], 'x')",
            "redis.call('get', 'x",
        ] {
            assert!(!names_all_keys(code.as_bytes()), "{code}");
        }
    }
}
