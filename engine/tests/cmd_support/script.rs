//! Scripts: text files of commands and the replies they gave.
//!
//! A line is `command args -> reply`; `#` starts a comment. Words are separated by spaces; a word in double quotes may
//! hold spaces and `\xNN`, `\n`, `\"`, `\\`. Lines with `@`: `@proto 3` (the protocol), `@time 1000` (the clock, in
//! milliseconds). SLOTCORE_UPDATE=1 writes the replies anew.

use std::fmt::Write;
use std::path::PathBuf;

pub enum Line<'a> {
    /// To be kept as it is.
    Text(&'a str),
    Proto(u8),
    Time(u64),
    Command {
        words: Vec<Vec<u8>>,
        source: &'a str,
        reply: &'a str,
    },
}

pub fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines().map(|line| {
        if line.trim().is_empty() || line.starts_with('#') {
            return Line::Text(line);
        }
        if let Some(proto) = line.strip_prefix("@proto ") {
            return Line::Proto(proto.parse().expect("@proto takes a number"));
        }
        if let Some(ms) = line.strip_prefix("@time ") {
            return Line::Time(ms.parse().expect("@time takes a number"));
        }
        let (source, reply) = line.split_once(" -> ").unwrap_or((line.trim_end(), ""));
        Line::Command {
            words: words(source),
            source: source.trim_end(),
            reply,
        }
    })
}

/// Splits a line into words.
pub fn words(line: &str) -> Vec<Vec<u8>> {
    let (mut words, mut chars) = (Vec::new(), line.bytes().peekable());
    while let Some(c) = chars.next() {
        let mut word = Vec::new();
        match c {
            b' ' => continue,
            b'"' => loop {
                match chars.next().expect("a closing quote") {
                    b'"' => break,
                    b'\\' => word.push(match chars.next().expect("an escaped character") {
                        b'x' => {
                            let hex = [chars.next(), chars.next()].map(|c| c.expect("two digits") as char);
                            u8::from_str_radix(&hex.iter().collect::<String>(), 16).expect("hexadecimal")
                        }
                        b'n' => b'\n',
                        b'r' => b'\r',
                        other => other,
                    }),
                    other => word.push(other),
                }
            },
            c => {
                word.push(c);
                while let Some(c) = chars.next_if(|c| *c != b' ') {
                    word.push(c);
                }
            }
        }
        words.push(word);
    }
    words
}

/// All scripts: path and text.
pub fn all() -> Vec<(PathBuf, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cmd_scripts");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths
        .into_iter()
        .map(|p| (p.clone(), std::fs::read_to_string(p).unwrap()))
        .collect()
}

/// Runs a script; the script with the replies that `execute` gives.
pub fn replay(text: &str, mut execute: impl FnMut(Line<'_>) -> String) -> String {
    let mut out = String::new();
    for line in lines(text) {
        match line {
            Line::Text(text) => writeln!(out, "{text}"),
            Line::Proto(n) => {
                execute(line);
                writeln!(out, "@proto {n}")
            }
            Line::Time(ms) => {
                execute(line);
                writeln!(out, "@time {ms}")
            }
            Line::Command { source, .. } => writeln!(out, "{source} -> {}", execute(line)),
        }
        .expect("writing to a string");
    }
    out
}

/// Compares what a script holds with what came out, or writes it when SLOTCORE_UPDATE=1.
#[allow(clippy::disallowed_methods, reason = "a test that rewrites its own expectations")]
pub fn check(path: &std::path::Path, expected: &str, actual: &str) {
    if std::env::var_os("SLOTCORE_UPDATE").is_some_and(|v| v == "1") {
        return std::fs::write(path, actual).unwrap();
    }
    for (n, (e, a)) in expected.lines().zip(actual.lines()).enumerate() {
        assert_eq!(a, e, "{}:{}", path.display(), n + 1);
    }
    assert_eq!(expected.lines().count(), actual.lines().count());
}
