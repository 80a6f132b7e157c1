//! Answers of commands as short texts, so that engine and model can be compared and a difference can be read.
//!
//! `+OK` status, `"abc"` string, `:7` integer, `_` nothing, `*2` header of an array whose values follow, `-WRONGTYPE`
//! the first word of an error.

use slotcore_engine::cmd::Reply;

/// Writes a string value.
pub fn string(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}

/// Writes an integer.
pub fn int(value: i64) -> String {
    format!(":{value}")
}

/// Collects one command's answer.
#[derive(Debug, Default)]
pub struct Recorder {
    text: String,
}

impl Recorder {
    /// The answer; the recorder is then empty again.
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    fn push(&mut self, piece: &str) {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(piece);
    }
}

impl Reply for Recorder {
    fn simple(&mut self, text: &str) {
        self.push(&format!("+{text}"));
    }

    fn bulk(&mut self, bytes: &[u8]) {
        self.push(&string(bytes));
    }

    fn verbatim(&mut self, text: &[u8]) {
        self.push(&string(text));
    }

    fn null(&mut self) {
        self.push("_");
    }

    fn null_array(&mut self) {
        self.push("_");
    }

    fn int(&mut self, value: i64) {
        self.push(&int(value));
    }

    fn double(&mut self, value: f64) {
        self.push(&format!(",{value}"));
    }

    fn double_text(&mut self, text: &str) {
        self.push(&format!(",{text}"));
    }

    fn bool(&mut self, value: bool) {
        self.push(if value { "#t" } else { "#f" });
    }

    fn array(&mut self, len: usize) {
        self.push(&format!("*{len}"));
    }

    fn map(&mut self, len: usize) {
        self.push(&format!("%{len}"));
    }

    fn set(&mut self, len: usize) {
        self.push(&format!("~{len}"));
    }

    fn error(&mut self, text: &str) {
        let code = text.split(' ').next().unwrap_or_default();
        self.push(&format!("-{code}"));
    }

    fn proto(&self) -> u8 {
        2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_read_like_a_transcript() {
        let mut answer = Recorder::default();
        answer.array(3);
        answer.bulk(b"a\0");
        answer.int(-1);
        answer.null();
        assert_eq!(answer.take(), "*3 \"a\\x00\" :-1 _");
        answer.error("WRONGTYPE Operation against a key");
        assert_eq!(answer.take(), "-WRONGTYPE");
    }
}
