//! [`Asker`]: one connection for questions: one command, its reply as a value. For what is not measured.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;

/// How long a server may take to answer a question. Loading a data set can take this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// See the module's text.
pub struct Asker {
    stream: TcpStream,
    addr: SocketAddr,
    bytes: Vec<u8>,
}

impl Asker {
    /// Connects to `addr`.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr).map_err(|e| cannot_connect(addr, &e))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            addr,
            bytes: Vec::new(),
        })
    }

    /// Sends a command and waits for its reply. An error reply is a value as any other.
    ///
    /// # Errors
    /// The connection broke, or what came is no reply.
    pub fn ask(&mut self, words: &[&str]) -> io::Result<OwnedFrame> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
        self.stream.write_all(request.as_bytes())?;
        self.bytes.clear();
        loop {
            match decode(&self.bytes) {
                Ok(Some((reply, _))) => return Ok(reply),
                Ok(None) => {}
                Err(_) => {
                    let beginning = String::from_utf8_lossy(&self.bytes[..self.bytes.len().min(60)]).into_owned();
                    let what = format!("{} is no RESP server: it answered {beginning:?}", self.addr);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                }
            }
            let mut chunk = [0; 16 * 1024];
            let n = match self.stream.read(&mut chunk) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if n == 0 {
                let what = format!("{} closed the connection instead of answering {}", self.addr, words[0]);
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
            }
            self.bytes.extend_from_slice(&chunk[..n]);
        }
    }

    /// As [`Asker::ask`], but an error reply is an error.
    pub fn demand(&mut self, words: &[&str]) -> io::Result<OwnedFrame> {
        match self.ask(words)? {
            OwnedFrame::Error(text) => Err(io::Error::other(format!(
                "{} refused {}: {text}",
                self.addr,
                words.join(" ")
            ))),
            reply => Ok(reply),
        }
    }
}

/// A reply that is a text or a number, as text; empty for any other.
pub fn text(reply: &OwnedFrame) -> String {
    match reply {
        OwnedFrame::BulkString(bytes) | OwnedFrame::SimpleString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        OwnedFrame::Integer(number) => number.to_string(),
        _ => String::new(),
    }
}

/// The error of a connection that could not be made.
pub fn cannot_connect(addr: SocketAddr, error: &io::Error) -> io::Error {
    let hint = match error.kind() {
        io::ErrorKind::ConnectionRefused => ": nobody listens there (is the server running, and on this port?)",
        _ => "",
    };
    io::Error::new(error.kind(), format!("cannot connect to {addr}: {error}{hint}"))
}
