//! [`Client`]: one connection, blocking, RESP2; nothing between the test and the bytes.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use crate::PATIENCE;

/// See the module's text.
pub struct Client<S> {
    stream: BufReader<S>,
}

/// A reply as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Nil,
    Array(Vec<Reply>),
    /// Keys and values in turn.
    Map(Vec<Reply>),
    Push(Vec<Reply>),
}

impl Reply {
    /// The text of a reply that is one.
    pub fn text(&self) -> String {
        match self {
            Self::Simple(text) | Self::Error(text) => text.clone(),
            Self::Integer(number) => number.to_string(),
            Self::Bulk(bytes) => String::from_utf8(bytes.clone()).unwrap(),
            Self::Nil | Self::Array(_) | Self::Map(_) | Self::Push(_) => panic!("{self:?} is no text"),
        }
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }
}

impl Client<TcpStream> {
    pub fn connect(port: u16) -> Self {
        Self::try_connect(port).unwrap()
    }

    pub fn try_connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self::over(stream))
    }

    /// Whether anything has come that was not read.
    pub fn has_reply(&self) -> bool {
        let stream = self.stream.get_ref();
        stream.set_nonblocking(true).unwrap();
        let came = stream.peek(&mut [0]).is_ok();
        stream.set_nonblocking(false).unwrap();
        came || !self.stream.buffer().is_empty()
    }
}

impl<S: Read + Write> Client<S> {
    pub fn over(stream: S) -> Self {
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// One command and its reply.
    pub fn call(&mut self, words: &[&str]) -> Reply {
        self.send(&request(words)).unwrap();
        self.reply().unwrap()
    }

    /// A command that must not be refused.
    pub fn ok(&mut self, words: &[&str]) -> Reply {
        let reply = self.call(words);
        assert!(!reply.is_error(), "{words:?}: {reply:?}");
        reply
    }

    /// The number behind `field:` in an answer of INFO.
    pub fn info(&mut self, field: &str) -> String {
        let text = self.ok(&["INFO", "everything"]).text();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.unwrap_or_else(|| panic!("no {field} in\n{text}")).to_string()
    }

    /// The next reply.
    pub fn reply(&mut self) -> io::Result<Reply> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        let Some(line) = line.strip_suffix(b"\r\n") else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let text = String::from_utf8_lossy(&line[1..]).into_owned();
        let number = || text.parse::<i64>().map_err(io::Error::other);
        Ok(match line[0] {
            b'+' => Reply::Simple(text),
            b'-' => Reply::Error(text),
            b':' => Reply::Integer(number()?),
            // A double: its text says all.
            b',' => Reply::Bulk(text.into_bytes()),
            b'$' => match usize::try_from(number()?) {
                Ok(len) => {
                    let mut bytes = vec![0; len + 2];
                    self.stream.read_exact(&mut bytes)?;
                    bytes.truncate(len);
                    Reply::Bulk(bytes)
                }
                Err(_) => Reply::Nil,
            },
            b'_' => Reply::Nil,
            b'*' | b'~' => match number()? {
                ..0 => Reply::Nil,
                len => Reply::Array(self.replies(len)?),
            },
            b'%' => Reply::Map(self.replies(2 * number()?)?),
            b'>' => Reply::Push(self.replies(number()?)?),
            other => panic!("a reply that begins with {other:?}: {text}"),
        })
    }

    /// The next `count` replies.
    fn replies(&mut self, count: i64) -> io::Result<Vec<Reply>> {
        (0..count).map(|_| self.reply()).collect()
    }

    /// Everything that comes until the server closes the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Ok(_) => {}
            // The server closed while bytes of ours were unread.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("after {:?}: {error}", String::from_utf8_lossy(&bytes)),
        }
        bytes
    }
}

/// A command in RESP.
pub fn request(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}
