//! A connection of a tool to a running server, for the few commands that tools send.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use slotcore_rt::dial::connect;

/// Why something could not be done: one line, with the cause.
type Failure = Box<dyn std::error::Error>;

/// A server that does not answer for so long is taken to be gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest line and text taken from a server, in bytes: what is asked for is short.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// A connection to the server.
pub struct Client {
    stream: BufReader<TcpStream>,
}

/// The server says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaysNo(pub String);

impl fmt::Display for SaysNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server says: {}", self.0)
    }
}

impl std::error::Error for SaysNo {}

/// What the server answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// A line, a number, or a text.
    Text(String),
    /// Several.
    Texts(Vec<String>),
}

impl Client {
    /// Connects to `host:port`, and gives name and password if there is a password.
    ///
    /// # Errors
    /// Nobody is there, or the server wants another password.
    pub fn connect(address: &str, user: Option<&str>, password: Option<&str>) -> Result<Self, Failure> {
        let stream = connect(address, PATIENCE).map_err(|error| format!("cannot connect to {address}: {error}"))?;
        let mut client = Self {
            stream: BufReader::new(stream),
        };
        if let Some(password) = password {
            match user {
                Some(user) => client.ask(&["AUTH", user, password])?,
                None => client.ask(&["AUTH", password])?,
            };
        }
        Ok(client)
    }

    /// Sends a command and waits for its answer.
    ///
    /// # Errors
    /// The connection fails; or [`SaysNo`].
    pub fn ask(&mut self, words: &[&str]) -> Result<Answer, Failure> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.stream.get_mut().write_all(request.as_bytes())?;
        let (kind, text) = self.value()?;
        if kind != '*' {
            return Ok(Answer::Text(text));
        }
        let count: usize = text.parse()?;
        (0..count)
            .map(|_| Ok(self.value()?.1))
            .collect::<Result<_, Failure>>()
            .map(Answer::Texts)
    }

    /// A line or a text; of an array, how many values it has.
    fn value(&mut self) -> Result<(char, String), Failure> {
        let mut line = String::new();
        let mut limited = self.stream.by_ref().take(TEXT_BYTES_MAX as u64);
        if limited.read_line(&mut line)? == 0 {
            return Err(Box::new(io::Error::from(io::ErrorKind::UnexpectedEof)));
        }
        let line = line.trim_end();
        let kind = line.chars().next().ok_or("the server sent an empty line")?;
        let text = line[kind.len_utf8()..].to_string();
        match kind {
            '-' => Err(Box::new(SaysNo(text))),
            '$' => {
                let len: usize = text.parse()?;
                if len > TEXT_BYTES_MAX {
                    return Err(format!("the server sends {len} bytes").into());
                }
                let mut bytes = vec![0; len + 2];
                self.stream.read_exact(&mut bytes)?;
                bytes.truncate(len);
                Ok((kind, String::from_utf8(bytes)?))
            }
            _ => Ok((kind, text)),
        }
    }
}
