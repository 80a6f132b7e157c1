//! Voters and learners as bytes: the payload of a membership entry, and part of every snapshot's head.
//!
//! ```text
//! tag u8 = 0xF1 | sets u8 | per set: n u16, n x voter u64 | learners n u16, n x learner u64      (little endian)
//! ```
//! More than one set of voters is a joint configuration: a commit needs a majority of each.

use std::collections::BTreeSet;
use std::fmt;

use crate::types::Membership;

/// First byte: tells a membership from what was proposed, and this layout from later ones.
pub const TAG: u8 = 0xF1;

/// The bytes are not a membership this version understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadMembership;

impl fmt::Display for BadMembership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a membership record")
    }
}

impl std::error::Error for BadMembership {}

/// Appends `membership` to `out`.
pub fn encode(membership: &Membership, out: &mut Vec<u8>) {
    let sets = membership.get_joint_config();
    out.push(TAG);
    out.push(u8::try_from(sets.len()).expect("a joint configuration has two sets"));
    for set in sets {
        encode_ids(set.iter().copied(), set.len(), out);
    }
    encode_ids(membership.learner_ids(), membership.learner_ids().count(), out);
}

fn encode_ids(ids: impl Iterator<Item = u64>, count: usize, out: &mut Vec<u8>) {
    let count = u16::try_from(count).expect("a group has a handful of replicas");
    out.extend_from_slice(&count.to_le_bytes());
    ids.for_each(|id| out.extend_from_slice(&id.to_le_bytes()));
}

/// Reads what [`encode`] wrote; all of `bytes` must be used.
pub fn decode(bytes: &[u8]) -> Result<Membership, BadMembership> {
    let rest = &mut &bytes[..];
    if take::<1>(rest)? != [TAG] {
        return Err(BadMembership);
    }
    let [sets] = take::<1>(rest)?;
    let voters = (0..sets).map(|_| decode_ids(rest)).collect::<Result<Vec<_>, _>>()?;
    let learners = decode_ids(rest)?;
    if !rest.is_empty() {
        return Err(BadMembership);
    }
    Ok(Membership::new_with_defaults(voters, learners))
}

fn decode_ids(rest: &mut &[u8]) -> Result<BTreeSet<u64>, BadMembership> {
    let count = u16::from_le_bytes(take(rest)?);
    (0..count).map(|_| Ok(u64::from_le_bytes(take(rest)?))).collect()
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], BadMembership> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(BadMembership)?;
    *rest = tail;
    Ok(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(voters: &[&[u64]], learners: &[u64]) {
        let voters = voters.iter().map(|set| set.iter().copied().collect()).collect();
        let membership = Membership::new_with_defaults(voters, learners.iter().copied());
        let mut bytes = Vec::new();
        encode(&membership, &mut bytes);
        assert_eq!(decode(&bytes), Ok(membership));
        (0..bytes.len()).for_each(|end| assert_eq!(decode(&bytes[..end]), Err(BadMembership), "cut at {end}"));
        bytes.push(0);
        assert_eq!(decode(&bytes), Err(BadMembership), "a byte too many");
    }

    #[test]
    fn every_form_comes_back_and_no_prefix_passes() {
        check(&[], &[]);
        check(&[&[1]], &[]);
        check(&[&[1, 2, 3]], &[9]);
        check(&[&[1, 2, 3], &[3, 4, u64::MAX]], &[5, 6]);
    }
}
