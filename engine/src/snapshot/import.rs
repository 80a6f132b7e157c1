//! A snapshot is read.

use super::{Imported, MAGIC, SECTION_HEAD_BYTES, Section, VERSION, flag};
use crate::collections::DecodeError;
use crate::digest::combine;
use crate::keyspace::{Keyspace, KeyspaceOptions, Loaded};
use crate::sst;
use crate::varint::{LengthError, take, take_bytes, take_u64};
use crate::waiters::Waiters;
use crate::waiters::codec::BadWaiters;
use std::fmt;

/// Why bytes are no snapshot. Offsets are from its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// These are not the first bytes of one.
    Magic,
    /// A later version wrote it.
    Version(u8),
    /// It ends in the middle of a section.
    Truncated {
        /// Where the section begins.
        offset: usize,
    },
    /// The bytes of a section are not those that were written.
    Checksum {
        /// Where the section begins.
        offset: usize,
    },
    /// A section of this kind is not known, or not expected here.
    Section {
        /// Its kind.
        kind: u8,
        /// Where it begins.
        offset: usize,
    },
    /// A section's checksum is right and its contents make no sense: a bug wrote it.
    Contents {
        /// Where the section begins.
        offset: usize,
        /// What is wrong.
        what: String,
    },
    /// It has fewer or more keys than were written, or others.
    Incomplete,
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("these bytes are no snapshot"),
            Self::Version(version) => write!(f, "snapshots of format version {version} are not known here"),
            Self::Truncated { offset } => write!(f, "the section at {offset} ends too early"),
            Self::Checksum { offset } => write!(f, "the section at {offset} is damaged"),
            Self::Section { kind, offset } => write!(f, "no section of kind {kind} may stand at {offset}"),
            Self::Contents { offset, what } => write!(f, "the section at {offset} makes no sense: {what}"),
            Self::Incomplete => f.write_str("the keys are not those that were written"),
        }
    }
}

impl std::error::Error for SnapshotError {}

/// Why the body of a section makes no sense.
struct Nonsense(String);

impl From<LengthError> for Nonsense {
    fn from(_: LengthError) -> Self {
        Self("a length does not fit".into())
    }
}

impl From<DecodeError> for Nonsense {
    fn from(error: DecodeError) -> Self {
        Self(error.to_string())
    }
}

impl From<BadWaiters> for Nonsense {
    fn from(error: BadWaiters) -> Self {
        Self(error.to_string())
    }
}

/// The state that `bytes`, and nothing but them, hold.
///
/// # Errors
/// [`SnapshotError`]; whatever was read is dropped.
pub fn import(bytes: &[u8]) -> Result<Imported, SnapshotError> {
    let mut import = Import::default();
    loop {
        if let Some(imported) = import.next(bytes, usize::MAX)? {
            return Ok(imported);
        }
    }
}

/// A snapshot that is read a slice at a time.
#[derive(Default)]
pub struct Import {
    /// How far, to a section's beginning.
    offset: usize,
    /// Within a section of keys.
    within: Option<Body>,
    state: Option<Imported>,
    keys: u64,
    digest: u128,
}

/// What is left of the body of a section of keys.
struct Body {
    at: usize,
    end: usize,
}

impl Import {
    /// Goes on reading `bytes`, the same in each call: about `upto` bytes of them. `None`: to be called again.
    ///
    /// # Errors
    /// [`SnapshotError`]; it is not to be called again.
    pub fn next(&mut self, bytes: &[u8], upto: usize) -> Result<Option<Imported>, SnapshotError> {
        let offset = self.offset;
        if let Some(Body { at, end }) = self.within.take() {
            let left = &bytes[at..end];
            let taken = self.take_keys(left, upto);
            let taken = taken.map_err(|Nonsense(what)| SnapshotError::Contents { offset, what })?;
            match taken == left.len() {
                true => self.offset = end,
                false => self.within = Some(Body { at: at + taken, end }),
            }
            return Ok(None);
        }
        let begin = match offset {
            0 => check_head(bytes)?,
            offset => offset,
        };
        let mut rest = &bytes[begin..];
        let (kind, body) = next_section(&mut rest, begin)?;
        let end = bytes.len() - rest.len();
        let nonsense = |Nonsense(what): Nonsense| SnapshotError::Contents { offset: begin, what };
        match (Section::from_byte(kind), &mut self.state) {
            (Some(Section::Begin), None) => self.state = Some(self::begin(body).map_err(nonsense)?),
            (Some(Section::Keys), Some(_)) => {
                self.offset = begin;
                self.within = Some(Body {
                    at: end - body.len(),
                    end,
                });
                return Ok(None);
            }
            (Some(Section::Waiters), Some(state)) => {
                *state.keyspace.waiters_mut() = Waiters::import(body).map_err(|bad| nonsense(bad.into()))?;
            }
            (Some(Section::Functions), Some(state)) => {
                let taken = state.keyspace.import_functions(body);
                taken.map_err(|bad| nonsense(Nonsense(bad.0)))?;
            }
            (Some(Section::Server), Some(state)) => state.server = body.to_vec(),
            (Some(Section::End), Some(found)) => {
                let (wanted, digest) = self::end(body).map_err(nonsense)?;
                let is_digest = found.keyspace.digest_with_libraries(self.digest) == digest;
                let whole = self.keys == wanted && is_digest && rest.is_empty();
                let state = self.state.take().filter(|_| whole);
                return state.map(Some).ok_or(SnapshotError::Incomplete);
            }
            _ => return Err(SnapshotError::Section { kind, offset: begin }),
        }
        self.offset = end;
        Ok(None)
    }

    /// Takes keys of about `upto` bytes off the front of `body`. Returns how long they are.
    fn take_keys(&mut self, body: &[u8], upto: usize) -> Result<usize, Nonsense> {
        let state = self
            .state
            .as_mut()
            .ok_or_else(|| Nonsense("there is no state yet".into()))?;
        let at = &mut 0;
        while *at < body.len().min(upto) {
            let digest = take_key(&mut state.keyspace, body, at)?;
            self.digest = combine(self.digest, digest);
            self.keys += 1;
        }
        Ok(*at)
    }
}

/// Returns where the first section begins.
fn check_head(bytes: &[u8]) -> Result<usize, SnapshotError> {
    let head = bytes.get(..=MAGIC.len()).ok_or(SnapshotError::Magic)?;
    if !head.starts_with(&MAGIC) {
        return Err(SnapshotError::Magic);
    }
    match head[MAGIC.len()] {
        VERSION => Ok(head.len()),
        version => Err(SnapshotError::Version(version)),
    }
}

/// Takes the section at the front of `rest`, which is at `offset`.
fn next_section<'a>(rest: &mut &'a [u8], offset: usize) -> Result<(u8, &'a [u8]), SnapshotError> {
    let truncated = SnapshotError::Truncated { offset };
    let Some((head, behind)) = rest.split_first_chunk::<{ SECTION_HEAD_BYTES - 1 }>() else {
        return Err(truncated);
    };
    let [l0, l1, l2, l3, c0, c1, c2, c3] = *head;
    let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    let Some((section, behind)) = behind.split_at_checked(len) else {
        return Err(truncated);
    };
    if crc32c::crc32c(section) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err(SnapshotError::Checksum { offset });
    }
    let (&kind, body) = section.split_first().ok_or(truncated)?;
    *rest = behind;
    Ok((kind, body))
}

fn begin(body: &[u8]) -> Result<Imported, Nonsense> {
    let at = &mut 0;
    let hash_seed = eight(body, at)?;
    let clock_ms = take_u64(body, at)?;
    ends(body, *at)?;
    let mut keyspace = Keyspace::new(KeyspaceOptions { hash_seed });
    keyspace.set_time(clock_ms, clock_ms);
    Ok(Imported {
        keyspace,
        server: Vec::new(),
    })
}

/// Takes the key at `at`, which moves behind it. Returns its share of the digest.
fn take_key(ks: &mut Keyspace, body: &[u8], at: &mut usize) -> Result<u128, Nonsense> {
    let flags = take(body, at, 1)?[0];
    if flags & !(flag::EXPIRES | flag::COLLECTION) != 0 {
        return Err(Nonsense(format!("a key has flags {flags:#x}")));
    }
    let expire_ms = match flags & flag::EXPIRES {
        0 => None,
        _ => Some(take_u64(body, at)?),
    };
    let kind = match flags & flag::COLLECTION {
        0 => sst::Kind::Str,
        _ => sst::Kind::Packed,
    };
    let key = take_bytes(body, at)?;
    let bytes = take_bytes(body, at)?;
    Ok(ks.put_value(key, Loaded { kind, bytes, expire_ms })?)
}

fn end(body: &[u8]) -> Result<(u64, u128), Nonsense> {
    let at = &mut 0;
    let keys = take_u64(body, at)?;
    let (low, high) = (eight(body, at)?, eight(body, at)?);
    ends(body, *at)?;
    Ok((keys, u128::from(high) << 64 | u128::from(low)))
}

fn eight(body: &[u8], at: &mut usize) -> Result<u64, Nonsense> {
    let bytes = take(body, at, 8)?;
    Ok(u64::from_le_bytes(bytes.try_into().expect("eight bytes were taken")))
}

fn ends(body: &[u8], at: usize) -> Result<(), Nonsense> {
    match at == body.len() {
        true => Ok(()),
        false => Err(Nonsense("something follows its last field".into())),
    }
}
