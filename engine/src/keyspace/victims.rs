//! Keys that may go because the data set has reached its limit: drawn at random and judged by the policy; and their going.

use super::{EventClasses, FileKeys, Keyspace};
use crate::eviction::{EvictionPolicy, Victims};
use crate::ord::{KeyHash, SLOT_SHIFT};
use crate::table::{Rec, SlabRef};

impl Keyspace {
    /// Draws up to `samples` keys in memory by `seed`, and offers those that may go to `victims`. `is_going`: says of a key
    /// that it is about to go already.
    pub fn sample_victims(
        &self,
        policy: EvictionPolicy,
        samples: u32,
        seed: u64,
        victims: &mut Victims,
        is_going: &dyn Fn(KeyHash) -> bool,
    ) {
        for n in 0..u64::from(samples) {
            let seed = crate::cmd::op::op_seed(seed, n);
            let picked = match policy.spares_lasting() {
                true => self.wheel.pick(seed).map(SlabRef),
                false => self.table.pick(seed, &mut |rec| !rec.is_absent()),
            };
            let Some(at) = picked else { return };
            let rec = self.table.rec(at);
            let key = self.table.key(rec);
            let hash = self.table.hash(key);
            if !is_going(hash) {
                victims.offer(self.score(policy, hash, rec.expire(), seed), key);
            }
        }
    }

    /// A place in the order of keys, of the slots of this group, that `seed` chooses.
    pub fn any_ord(&self, seed: u64) -> u64 {
        let (first, last) = self.slots;
        let orders = (u128::from(last - first) + 1) << SLOT_SHIFT;
        // Below 2^64, as there are 2^14 slots; a group that was not told its slots is taken to have all of them.
        let within = ((orders * u128::from(seed)) >> 64) as u64;
        (u64::from(first) << SLOT_SHIFT).wrapping_add(within)
    }

    /// Offers keys that lie only in files; returns how many may go.
    pub fn offer_cold_victims(
        &self,
        policy: EvictionPolicy,
        keys: &FileKeys,
        seed: u64,
        victims: &mut Victims,
        is_going: &dyn Fn(KeyHash) -> bool,
    ) -> usize {
        let mut offered = 0;
        for (n, found) in keys.keys.iter().enumerate() {
            let hash = self.table.hash(&found.key);
            let may_go = !policy.spares_lasting() || found.expire_ms.is_some();
            if may_go && self.table.find(hash, &found.key).is_none() && !is_going(hash) {
                let seed = crate::cmd::op::op_seed(seed, n as u64);
                victims.offer(self.score(policy, hash, found.expire_ms, seed), &found.key);
                offered += 1;
            }
        }
        offered
    }

    fn score(&self, policy: EvictionPolicy, hash: KeyHash, expire_ms: Option<u64>, seed: u64) -> u64 {
        match policy {
            EvictionPolicy::VolatileTtl => u64::MAX - expire_ms.unwrap_or(u64::MAX),
            EvictionPolicy::VolatileRandom | EvictionPolicy::AllKeysRandom | EvictionPolicy::NoEviction => seed,
            _ => self.use_score(hash),
        }
    }

    /// Bytes that would be free without `key`, with `cold_record_bytes` for one that lies only in files; `None` when it may
    /// not go any more: it is not there, or not for a limited time where only such keys may.
    pub fn victim_bytes(
        &self,
        policy: EvictionPolicy,
        hash: KeyHash,
        key: &[u8],
        cold_record_bytes: u64,
    ) -> Option<u64> {
        let Some(spot) = self.table.find(hash, key) else {
            return (!self.is_complete()).then_some(cold_record_bytes);
        };
        let rec: Rec = self.table.rec(spot.at);
        let may_go = !rec.is_absent() && (!policy.spares_lasting() || rec.is_volatile());
        may_go.then(|| self.bytes_of(rec, spot.at) as u64)
    }

    /// Removes `key` because the data set has reached its limit. No file is read for it.
    pub(crate) fn give_up(&mut self, key: &[u8]) {
        let hash = self.key_hash(key);
        match self.table.find(hash, key) {
            Some(_) if !self.del(key) => return,
            Some(_) => {}
            None if self.is_complete() => return,
            None => self.remove_unknown(hash, key),
        }
        self.stats.evicted += 1;
        self.note(EventClasses::EVICTED, "evicted", key);
    }
}
