//! [`TlsSession`]: what is between the bytes of a link and those on its socket.
//!
//! Bytes of the socket go through two buffers, which stay: one that a receive fills, one with the records that a send takes. What is to
//! be sent stays where it is, and is counted there, until the records that hold it are sent; so the limits of a link mean what they
//! mean without TLS.

use std::io::{self, BufRead as _, IoSlice, Write as _};

use bytes::BytesMut;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Connection, ServerConnection};

use super::{PeerTls, TlsEnd};
use crate::peer::event::LinkEnd;
use crate::peer::link::{RECV_BYTES, SEND_FRAMES};
use crate::peer::refusal::{REFUSED, Refusal};

/// Most bytes of a link that become records at once, for one send: several long frames, and the time of a core that a turn has.
const SEAL_BYTES_MAX: usize = 256 << 10;

/// See the module's text.
pub(in crate::peer) struct TlsSession {
    conn: Connection,
    /// Not touched while a receive is under way: the kernel writes into it.
    arrived: Box<[u8]>,
    /// To be sent; while a send is under way it is the kernel's.
    records: Vec<u8>,
    /// Of which so many bytes are sent.
    sent: usize,
    /// Bytes of the link that `records` holds.
    held: usize,
    /// Something has come.
    begun: bool,
    /// Nothing more is sent.
    silent: bool,
}

impl TlsSession {
    /// Of a link that is dialed at `host`, which the certificate there has to be good for.
    pub fn dial(tls: &PeerTls, host: &str) -> Result<Self, TlsEnd> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsEnd::Host(host.to_owned()))?;
        let conn = ClientConnection::new(tls.dials.clone(), name).map_err(|error| TlsEnd::of(&error))?;
        Ok(Self::of(conn.into()))
    }

    /// Of a link that was accepted.
    pub fn accept(tls: &PeerTls) -> Result<Self, TlsEnd> {
        let conn = ServerConnection::new(tls.accepts.clone()).map_err(|error| TlsEnd::of(&error))?;
        Ok(Self::of(conn.into()))
    }

    fn of(mut conn: Connection) -> Self {
        // What is handed over has a limit of its own.
        conn.set_buffer_limit(None);
        Self {
            conn,
            arrived: vec![0; RECV_BYTES].into(),
            records: Vec::new(),
            sent: 0,
            held: 0,
            begun: false,
            silent: false,
        }
    }

    /// Where a receive writes.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.arrived
    }

    /// Takes in `n` bytes that a receive has written; what they say is appended to `input`.
    ///
    /// # Errors
    /// Nothing more can come.
    pub fn open(&mut self, n: usize, input: &mut BytesMut) -> Result<(), LinkEnd> {
        let mut rest = &self.arrived[..n];
        // No record begins like what is said without TLS, "SLPR" and "SLNO".
        if !self.begun && rest.first() == REFUSED.first() {
            // Whoever was dialed and speaks so has refused us.
            return Err(LinkEnd::Refused {
                why: Refusal::Tls,
                told: matches!(self.conn, Connection::Client(_)),
            });
        }
        self.begun = true;
        let failed = |error: io::Error| LinkEnd::Tls(TlsEnd::Failed(error.to_string()));
        while !rest.is_empty() {
            if self.conn.read_tls(&mut rest).map_err(failed)? == 0 {
                // The other side has said that nothing more comes; then its socket is closed, too.
                return Ok(());
            }
            let state = self.conn.process_new_packets();
            let state = state.map_err(|error| LinkEnd::Tls(TlsEnd::of(&error)))?;
            let mut left = state.plaintext_bytes_to_read();
            let mut reader = self.conn.reader();
            while left > 0 {
                let bytes = reader.fill_buf().map_err(failed)?;
                let taken = bytes.len();
                input.extend_from_slice(bytes);
                reader.consume(taken);
                left -= taken;
            }
        }
        Ok(())
    }

    /// True once bytes of the link can be sent.
    pub fn is_agreed(&self) -> bool {
        !self.conn.is_handshaking()
    }

    /// Makes records of `parts`, as many as go at once, and of what TLS itself has to say, unless there are some that are not sent yet. Not
    /// while a send is under way.
    pub fn seal<'a>(&mut self, parts: impl Iterator<Item = &'a [u8]>) -> Result<(), TlsEnd> {
        if !self.records.is_empty() || self.silent {
            return Ok(());
        }
        let failed = |error: io::Error| TlsEnd::Failed(error.to_string());
        self.write_out().map_err(failed)?;
        if !self.is_agreed() {
            return Ok(());
        }
        let (mut slices, mut count) = ([IoSlice::new(&[]); SEND_FRAMES], 0);
        let mut room = SEAL_BYTES_MAX;
        for (slice, part) in slices.iter_mut().zip(parts) {
            let part = &part[..part.len().min(room)];
            *slice = IoSlice::new(part);
            (room, count) = (room - part.len(), count + 1);
        }
        if room < SEAL_BYTES_MAX {
            // Short parts share a record.
            self.held = self.conn.writer().write_vectored(&slices[..count]).map_err(failed)?;
            self.write_out().map_err(failed)?;
        }
        Ok(())
    }

    fn write_out(&mut self) -> io::Result<()> {
        while self.conn.wants_write() {
            self.conn.write_tls(&mut self.records)?;
        }
        Ok(())
    }

    /// The records that are still to be sent.
    pub fn unsent(&self) -> &[u8] {
        if self.silent { &[] } else { &self.records[self.sent..] }
    }

    /// Takes note of `n` bytes of the records sent. So many bytes of the link are sent by that.
    pub fn took(&mut self, n: usize) -> usize {
        self.sent += n;
        if self.sent < self.records.len() {
            return 0;
        }
        self.records.clear();
        self.sent = 0;
        std::mem::take(&mut self.held)
    }

    /// True while a link that is closed has something to say nevertheless, having `greeting` to send or not.
    pub fn has_last_word(&self, greeting: bool) -> bool {
        let more = self.conn.wants_write() || greeting && self.is_agreed();
        !self.silent && (!self.records.is_empty() || more)
    }

    /// Nothing more is sent.
    pub fn silence(&mut self) {
        self.silent = true;
    }
}
