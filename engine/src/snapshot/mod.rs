//! A group's whole state as bytes: what a replica is sent that is too far behind for the log.
//!
//! A snapshot stands for the state behind one entry and is made between two entries. It holds all that later entries
//! depend on: the clock, the keys with values in the very form they have in memory (what SPOP picks depends on it), the
//! commands that wait, libraries of functions, and what the server keeps beside the keys. It is a list of sections of about a MiB, each with its
//! checksum, so that it can be sent in pieces and damage is told where it is.
//!
//! Making one walks all keys, in slices between which nothing is executed, and needs all of them in memory. Reading one goes
//! in slices, too.
//!
//! Format: `docs/formats/snapshot.md`.

mod export;
mod import;

pub use export::{Export, export};
pub use import::{Import, SnapshotError, import};

use crate::keyspace::Keyspace;

/// First bytes.
const MAGIC: [u8; 4] = *b"SLSN";
/// The only format version so far.
const VERSION: u8 = 1;
/// Length, checksum, kind.
const SECTION_HEAD_BYTES: usize = 4 + 4 + 1;
/// A section of keys is closed once it is this long, in bytes: it ends with a whole key.
const SECTION_BYTES: usize = 1 << 20;

/// What a section holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Section {
    /// Hash seed and clock.
    Begin = 1,
    /// Keys with their values.
    Keys = 2,
    /// Commands that wait.
    Waiters = 3,
    /// What the server keeps: opaque here.
    Server = 4,
    /// Number and digest of the keys; nothing may follow.
    End = 5,
    /// Libraries of functions; left out where there are none.
    Functions = 6,
}

impl Section {
    fn from_byte(byte: u8) -> Option<Self> {
        [
            Self::Begin,
            Self::Keys,
            Self::Waiters,
            Self::Server,
            Self::End,
            Self::Functions,
        ]
        .into_iter()
        .find(|section| *section as u8 == byte)
    }
}

/// Bits of a key's flags.
mod flag {
    /// An expiry follows.
    pub const EXPIRES: u8 = 1;
    /// The value is an encoded collection; else a string.
    pub const COLLECTION: u8 = 2;
}

/// What [`import`] gives back.
pub struct Imported {
    /// Keys, clock, waiters.
    pub keyspace: Keyspace,
    /// What the server had [`export`] keep.
    pub server: Vec<u8>,
}
