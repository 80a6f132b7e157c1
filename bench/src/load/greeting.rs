//! [`Greeting`]: what is said on a new connection before any request, and what it means when the answer is wrong.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::replies::Scanner;
use super::topology::Password;
use crate::ask::cannot_connect;

/// How long a server may take to answer a greeting.
const PATIENCE: Duration = Duration::from_secs(5);

/// Version of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum Resp {
    /// RESP2: what a connection speaks that says nothing.
    #[default]
    #[value(name = "2")]
    Two,
    /// RESP3, after `HELLO 3`.
    #[value(name = "3")]
    Three,
}

/// See the module's text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Greeting<'a> {
    /// Protocol asked for.
    pub resp: Resp,
    /// Said first, where there is one.
    pub password: Password<'a>,
    /// Asks `PING` too, so that a server of another kind is noticed although nothing else is said.
    pub probe: bool,
}

impl Greeting<'_> {
    /// Connects to `addr` and says it.
    ///
    /// # Errors
    /// A text for the user: nobody there, no RESP server, a password is wanted or wrong, no RESP3.
    pub fn connect(&self, addr: SocketAddr) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(addr).map_err(|e| cannot_connect(addr, &e))?;
        stream.set_nodelay(true)?;
        let mut words = Vec::new();
        if let Some(password) = self.password {
            words.push(format!("*2\r\n$4\r\nAUTH\r\n${}\r\n{password}\r\n", password.len()));
        }
        if self.resp == Resp::Three {
            words.push("*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n".to_owned());
        }
        if self.probe {
            words.push("*1\r\n$4\r\nPING\r\n".to_owned());
        }
        if !words.is_empty() {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(words.concat().as_bytes())?;
            listen(&mut stream, addr, words.len() as u64)?;
            stream.set_read_timeout(None)?;
        }
        Ok(stream)
    }
}

/// Waits for as many replies.
fn listen(stream: &mut TcpStream, addr: SocketAddr, replies: u64) -> io::Result<()> {
    let fail = |kind, what: String| Err(io::Error::new(kind, what));
    let (mut scanner, mut found, mut chunk) = (Scanner::default(), 0, [0; 4096]);
    while found < replies {
        let n = match stream.read(&mut chunk) {
            Ok(0) => {
                let what = format!("{addr} closed the connection without an answer: is it a RESP server, without TLS?");
                return fail(io::ErrorKind::UnexpectedEof, what);
            }
            Ok(n) => n,
            // A ring of ours that has just been closed sends signals for a while.
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                let what = format!(
                    "{addr} took the connection but did not answer for {} s: is it a RESP server, without TLS?",
                    PATIENCE.as_secs()
                );
                return fail(io::ErrorKind::TimedOut, what);
            }
            Err(e) => return fail(e.kind(), format!("{addr}: {e}")),
        };
        match scanner.scan(&chunk[..n]) {
            Ok(more) => found += more,
            Err(malformed) => {
                return fail(
                    io::ErrorKind::InvalidData,
                    format!("{addr} is no RESP server: {malformed}"),
                );
            }
        }
        if let Some(error) = &scanner.tally.first_error {
            let hint = if error.starts_with("NOAUTH") {
                " (--password)"
            } else {
                ""
            };
            return fail(
                io::ErrorKind::PermissionDenied,
                format!("{addr} refuses us: {error}{hint}"),
            );
        }
    }
    Ok(())
}
