//! The file in which older versions kept the state of a cluster's group: a start begins with it while files have less.
//!
//! It names what the state stands for, and is checked as a whole before anything of it is used. Format:
//! `docs/formats/old-snapshot.md`.

use std::io;

use bytes::Bytes;
use slotcore_engine::keyspace::Keyspace;
use slotcore_engine::sessions::Sessions;
use slotcore_engine::snapshot;
use slotcore_raft_shard::Applied;
use slotcore_rt::disk::SnapshotDir;
use slotcore_rt::ids::{LogIndex, Term};

const MAGIC: [u8; 4] = *b"SLGS";
const VERSION: u8 = 1;
/// Magic, version, index, term, length of the membership.
const HEAD_BYTES: usize = 4 + 1 + 8 + 8 + 4;
/// Checksum of all before it.
const CRC_BYTES: usize = 4;

/// What a file begins with.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// What the state stands for.
    pub at: Applied,
    /// Where the state begins, which goes on to the end.
    pub begin: usize,
    /// The state's checksum.
    crc: u32,
}

/// Reads the head of a file.
fn decode_head(file: &[u8]) -> Option<Head> {
    let head = file.get(..HEAD_BYTES)?;
    if !head.starts_with(&MAGIC) || head[MAGIC.len()] != VERSION {
        return None;
    }
    let eight = |at: usize| Some(u64::from_le_bytes(file.get(at..at + 8)?.try_into().ok()?));
    let four = |at: usize| Some(u32::from_le_bytes(file.get(at..at + 4)?.try_into().ok()?));
    let end = HEAD_BYTES.checked_add(four(HEAD_BYTES - 4)? as usize)?;
    let membership = file.get(HEAD_BYTES..end)?;
    let (len, crc) = (eight(end)?, four(end + 8)?);
    let head_end = end + 8 + 4;
    let begin = head_end + CRC_BYTES;
    if crc32c::crc32c(file.get(..head_end)?) != four(head_end)? || file.get(begin..)?.len() as u64 != len {
        return None;
    }
    let at = Applied::flushed(LogIndex(eight(5)?), Term(eight(13)?), membership).ok()?;
    Some(Head { at, begin, crc })
}

/// Reads the head of a file, all of which is looked at. `None`: it is damaged.
pub fn decode(file: &[u8]) -> Option<Head> {
    decode_head(file).filter(|head| crc32c::crc32c(&file[head.begin..]) == head.crc)
}

/// The file in `dir`, and what it stands for, after all of it was looked at; `None`: there is none.
///
/// # Errors
/// It cannot be read, or is damaged.
pub fn read(dir: &SnapshotDir) -> io::Result<Option<(Applied, Bytes)>> {
    let Some(file) = dir.read().map_err(io::Error::other)? else {
        return Ok(None);
    };
    let file = Bytes::from_owner(file);
    let Some(head) = decode(&file) else {
        let what = format!("{} is damaged", dir.file().display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    };
    Ok(Some((head.at, file.slice(head.begin..))))
}

/// The state that an older version wrote on some replica of the group with this hash seed.
///
/// # Errors
/// In words: damaged, or of another group.
pub fn import(state: &[u8], hash_seed: u64) -> Result<Keyspace, String> {
    let imported = snapshot::import(state).map_err(|error| error.to_string())?;
    let mut keyspace = imported.keyspace;
    if keyspace.hash_seed() != hash_seed {
        return Err("it is of another group".into());
    }
    let (spanning, sessions) = imported
        .server
        .split_first_chunk::<8>()
        .ok_or("what is kept beside the keys is missing")?;
    keyspace.set_last_spanning(u64::from_le_bytes(*spanning));
    *keyspace.sessions_mut() = Sessions::import(sessions).map_err(|error| error.to_string())?;
    Ok(keyspace)
}

#[cfg(test)]
mod tests {
    use slotcore_engine::keyspace::KeyspaceOptions;
    use slotcore_engine::sessions::{Once, SessionId, Verdict};

    use slotcore_engine::snapshot::Export;

    use super::*;

    /// Appends what a file has before the state: `bytes` bytes with this checksum. Always as long, for the same `at`.
    fn encode_head(at: &Applied, bytes: u64, crc: u32, out: &mut Vec<u8>) {
        let membership = at.membership_bytes();
        let begin = out.len();
        out.extend_from_slice(&MAGIC);
        out.push(VERSION);
        out.extend_from_slice(&at.index.0.to_le_bytes());
        out.extend_from_slice(&at.term.0.to_le_bytes());
        let len = u32::try_from(membership.len()).expect("a membership has a few nodes");
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&membership);
        out.extend_from_slice(&bytes.to_le_bytes());
        out.extend_from_slice(&crc.to_le_bytes());
        let crc = crc32c::crc32c(&out[begin..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }

    /// The whole state of a group, to be written a slice at a time.
    fn export(keyspace: &Keyspace) -> Export {
        let mut beside = keyspace.last_spanning().to_le_bytes().to_vec();
        keyspace.sessions().export(&mut beside);
        Export::begin(&beside)
    }

    fn file(state: &[u8]) -> Vec<u8> {
        let at = Applied {
            index: LogIndex(70),
            term: Term(3),
            ..Applied::default()
        };
        let mut file = Vec::new();
        encode_head(&at, state.len() as u64, crc32c::crc32c(state), &mut file);
        file.extend_from_slice(state);
        file
    }

    #[test]
    fn a_file_says_what_it_stands_for_and_no_byte_of_it_may_change() {
        let file = file(b"state");
        let Head { at, begin, .. } = decode(&file).unwrap();
        assert_eq!(
            (at.index, at.term, &file[begin..]),
            (LogIndex(70), Term(3), &b"state"[..])
        );
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 0x10;
            assert_eq!(decode(&changed), None, "byte {at}");
            assert_eq!(decode(&file[..at]), None, "cut at {at}");
        }
        assert_eq!(decode(&[&file[..], b"!"].concat()), None, "longer");
    }

    #[test]
    fn what_counts_once_and_over_cores_comes_along() {
        let new = || Keyspace::new(KeyspaceOptions { hash_seed: 9 });
        let once = Once {
            session: SessionId(5),
            serial: 1,
            ..Once::default()
        };
        let mut keyspace = new();
        keyspace.set_last_spanning(41);
        assert_eq!(keyspace.sessions_mut().admit(&once, 1), Verdict::Execute);
        keyspace.sessions_mut().executed(&once, b"answer");
        let (mut export, mut state) = (export(&keyspace), Vec::new());
        while export.next(&keyspace, 100, &mut state) {}
        let mut read = new();
        read.take_over(import(&state, 9).unwrap());
        assert_eq!(read.last_spanning(), 41);
        assert_ne!(read.sessions_mut().admit(&once, 1), Verdict::Execute);
        assert!(import(&state, 8).is_err());
    }
}
