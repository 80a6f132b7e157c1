//! The sessions as bytes, and back: a part of every snapshot of a group's state.
//!
//! Format: `docs/formats/sessions.md`.

use super::{ANSWER_BYTES_MAX, Session, SessionId, Sessions};
use crate::varint::{LengthError, put_bytes, put_len, put_u64, take, take_bytes, take_len, take_u64};

/// The only format version so far.
const VERSION: u8 = 1;

/// Why bytes are not sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadSessions {
    /// Another format version.
    Version(u8),
    /// They end too early, go on too long, or make no sense.
    Malformed,
}

impl std::fmt::Display for BadSessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Version(version) => write!(f, "sessions of format version {version} are not known here"),
            Self::Malformed => f.write_str("the list of sessions makes no sense"),
        }
    }
}

impl std::error::Error for BadSessions {}

impl From<LengthError> for BadSessions {
    fn from(_: LengthError) -> Self {
        Self::Malformed
    }
}

impl Sessions {
    /// Appends everything that later entries depend on.
    pub fn export(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        put_len(out, self.sessions.len());
        for (id, session) in &self.sessions {
            out.extend_from_slice(&id.0.to_le_bytes());
            put_u64(out, session.last_ms);
            put_u64(out, session.floor);
            put_len(out, session.done.len());
            for (serial, answer) in &session.done {
                put_u64(out, *serial);
                out.push(u8::from(answer.is_some()));
                if let Some(answer) = answer {
                    put_bytes(out, answer);
                }
            }
        }
    }

    /// The sessions that [`Sessions::export`] wrote.
    ///
    /// # Errors
    /// The bytes are not what it writes.
    pub fn import(bytes: &[u8]) -> Result<Self, BadSessions> {
        let at = &mut 0;
        let version = take(bytes, at, 1)?[0];
        if version != VERSION {
            return Err(BadSessions::Version(version));
        }
        let mut read = Self::default();
        let mut before = None;
        for _ in 0..take_len(bytes, at)? {
            let id = take(bytes, at, 16)?;
            let id = SessionId(u128::from_le_bytes(id.try_into().expect("sixteen bytes were taken")));
            if before >= Some(id) {
                return Err(BadSessions::Malformed);
            }
            before = Some(id);
            let session = take_session(bytes, at)?;
            read.by_age.insert((session.last_ms, id));
            read.bytes += session.bytes;
            read.sessions.insert(id, session);
        }
        if *at == bytes.len() {
            Ok(read)
        } else {
            Err(BadSessions::Malformed)
        }
    }
}

fn take_session(bytes: &[u8], at: &mut usize) -> Result<Session, BadSessions> {
    let mut session = Session {
        last_ms: take_u64(bytes, at)?,
        floor: take_u64(bytes, at)?,
        ..Session::default()
    };
    let mut next = session.floor;
    for _ in 0..take_len(bytes, at)? {
        let serial = take_u64(bytes, at)?;
        if serial < next {
            return Err(BadSessions::Malformed);
        }
        next = serial.checked_add(1).ok_or(BadSessions::Malformed)?;
        let answer = match take(bytes, at, 1)?[0] {
            0 => None,
            1 => Some(take_bytes(bytes, at)?),
            _ => return Err(BadSessions::Malformed),
        };
        if answer.is_some_and(|answer| answer.len() > ANSWER_BYTES_MAX) {
            return Err(BadSessions::Malformed);
        }
        session.bytes += answer.map_or(0, <[u8]>::len);
        session.done.insert(serial, answer.map(Into::into));
    }
    Ok(session)
}
