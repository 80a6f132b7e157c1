//! Pending entries that change hands: XCLAIM, XAUTOCLAIM.

use super::groups::{knows, note_if_met};
use super::ids::{id, range_start};
use super::reply::{no_key_or_group, put_entry, put_id};
use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::is;
use crate::cmd::resolve::one_line;
use crate::cmd::{Exec, Reply};
use crate::collections::stream::{Group, Pending, Reading, StreamId};
use crate::number::parse_i64;

/// Pending entries that XAUTOCLAIM looks at for each one that it may claim.
const LOOKS_PER_CLAIM: u64 = 10;
/// Entries that XAUTOCLAIM claims where no COUNT is given.
const CLAIMS_DEFAULT: u64 = 100;
/// Largest COUNT of XAUTOCLAIM: Redis's, which reserves 16 bytes for each.
const CLAIMS_MAX: u64 = i64::MAX as u64 / 16;

fn number(arg: &[u8], error: &'static str) -> Result<i64, CmdError> {
    parse_i64(arg).ok_or(CmdError::Other(error))
}

/// Whether a pending entry was last delivered at least `idle_min` milliseconds ago.
fn is_idle(pending: &Pending, idle_min: i64, now_ms: u64) -> bool {
    idle_min == 0 || (now_ms as i64).saturating_sub(pending.delivered_ms as i64) >= idle_min
}

/// What XCLAIM was told.
struct Claim {
    ids: Vec<StreamId>,
    idle_min: i64,
    /// When the entries shall count as delivered, if not now.
    delivered_ms: Option<u64>,
    deliveries: Option<u64>,
    force: bool,
    just_ids: bool,
    last_id: StreamId,
}

impl Claim {
    /// `Err(None)` when a word is no option, which was answered.
    fn parse(x: &Exec<'_>, reply: &mut dyn Reply) -> Result<Option<Self>, CmdError> {
        let args = x.args;
        let idle_min = number(args.get(4), "ERR Invalid min-idle-time argument for XCLAIM")?;
        let ids: Vec<_> = args.iter_from(5).map_while(|arg| id(arg).ok()).collect();
        let mut at = 5 + ids.len();
        let mut claim = Claim {
            ids,
            idle_min: idle_min.max(0),
            delivered_ms: None,
            deliveries: None,
            force: false,
            just_ids: false,
            last_id: StreamId::MIN,
        };
        let now_ms = x.ks.now_ms();
        while let Some(word) = args.try_get(at) {
            at += 2;
            // A moment before 1970 or in the future makes no sense, nor does -1, which Redis takes for none.
            let moment = |ms: i64| u64::try_from(ms).ok().filter(|ms| *ms <= now_ms);
            match args.try_get(at - 1) {
                _ if is(word, "FORCE") => (claim.force, at) = (true, at - 1),
                _ if is(word, "JUSTID") => (claim.just_ids, at) = (true, at - 1),
                Some(arg) if is(word, "IDLE") => {
                    let idle = number(arg, "ERR Invalid IDLE option argument for XCLAIM")?;
                    claim.delivered_ms = moment((now_ms as i64).wrapping_sub(idle));
                }
                Some(arg) if is(word, "TIME") => {
                    claim.delivered_ms = moment(number(arg, "ERR Invalid TIME option argument for XCLAIM")?);
                }
                Some(arg) if is(word, "RETRYCOUNT") => {
                    let count = number(arg, "ERR Invalid RETRYCOUNT option argument for XCLAIM")?;
                    claim.deliveries = u64::try_from(count).ok();
                }
                Some(arg) if is(word, "LASTID") => claim.last_id = id(arg)?,
                _ => {
                    reply.error(&format!("ERR Unrecognized XCLAIM option '{}'", one_line(word)));
                    return Ok(None);
                }
            }
        }
        Ok(Some(claim))
    }

    /// Claims; returns the ids that changed hands.
    fn carry_out(&self, group: &mut Group, reading: &Reading<'_>, consumer: &[u8], now_ms: u64) -> Vec<StreamId> {
        group.last_id = group.last_id.max(self.last_id);
        let mut claimed = Vec::new();
        for &id in &self.ids {
            if reading.entries.get(id).is_none() {
                // The entry was deleted: nobody can do anything with it any more.
                group.acknowledge(id);
                continue;
            }
            let deliveries = match group.pending_entry(id) {
                Some(old) if !is_idle(&old, self.idle_min, now_ms) => continue,
                Some(old) => old.deliveries.wrapping_add(u64::from(!self.just_ids)),
                // As if it had been delivered once and were claimed now.
                None if self.force => 1 + u64::from(!self.just_ids),
                None => continue,
            };
            let pending = Pending {
                consumer: group.meet(consumer, now_ms),
                delivered_ms: self.delivered_ms.unwrap_or(now_ms),
                deliveries: self.deliveries.unwrap_or(deliveries),
            };
            group.set_pending(id, pending);
            claimed.push(id);
        }
        claimed
    }
}

/// An array of the entries that were claimed, or of their ids.
fn put_claimed(claimed: &[StreamId], just_ids: bool, reading: &Reading<'_>, reply: &mut dyn Reply) {
    reply.array(claimed.len());
    for &id in claimed {
        match reading.entries.get(id) {
            Some(fields) if !just_ids => put_entry(id, fields, reply),
            _ => put_id(id, reply),
        }
    }
}

/// XCLAIM key group consumer min-idle-ms id ... [IDLE ms] [TIME ms] [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID id]
pub(in crate::cmd) fn xclaim(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let (key, name, now_ms) = (x.args.get(1), x.args.get(2), x.ks.now_ms());
        if x.ks.stream(key)?.and_then(|stream| stream.group(name)).is_none() {
            no_key_or_group(key, name, "", reply);
            return Ok(());
        }
        let Some(claim) = Claim::parse(x, reply)? else {
            return Ok(());
        };
        let consumer = x.args.get(3);
        let was_known = knows(x.ks, key, name, consumer)?;
        let stream = x.ks.stream_mut(key)?.expect("it was there above");
        stream.with_group(name, |group, reading| {
            let claimed = claim.carry_out(group, reading, consumer, now_ms);
            put_claimed(&claimed, claim.just_ids, reading, reply);
        });
        if !was_known {
            note_if_met(x.ks, key, name, consumer)?;
        }
        Ok(())
    });
}

/// XAUTOCLAIM key group consumer min-idle-ms start [COUNT count] [JUSTID]
pub(in crate::cmd) fn xautoclaim(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let args = x.args;
        let idle_min = number(args.get(4), "ERR Invalid min-idle-time argument for XAUTOCLAIM")?.max(0);
        let start = range_start(args.get(5))?;
        let (mut count, mut just_ids, mut at) = (CLAIMS_DEFAULT, false, 6);
        while let Some(word) = args.try_get(at) {
            match args.try_get(at + 1) {
                Some(arg) if is(word, "COUNT") => {
                    count = parse_i64(arg)
                        .and_then(|count| u64::try_from(count).ok())
                        .filter(|count| (1..=CLAIMS_MAX).contains(count))
                        .ok_or(CmdError::Other("ERR COUNT must be > 0"))?;
                    at += 2;
                }
                _ if is(word, "JUSTID") => {
                    just_ids = true;
                    at += 1;
                }
                _ => return Err(CmdError::Syntax),
            }
        }
        let (key, name, now_ms) = (args.get(1), args.get(2), x.ks.now_ms());
        let was_known = knows(x.ks, key, name, args.get(3))?;
        let stream = x.ks.stream_mut(key)?;
        let claimed = stream.and_then(|stream| {
            stream.with_group(name, |group, reading| {
                let claimed = auto_claim(
                    group,
                    reading,
                    (args.get(3), now_ms),
                    (idle_min, just_ids),
                    start,
                    count,
                );
                reply.array(3);
                put_id(claimed.next.unwrap_or_default(), reply);
                put_claimed(&claimed.ids, just_ids, reading, reply);
                reply.array(claimed.deleted.len());
                claimed.deleted.iter().for_each(|id| put_id(*id, reply));
            })
        });
        if claimed.is_none() {
            no_key_or_group(key, name, "", reply);
        } else if !was_known {
            note_if_met(x.ks, key, name, args.get(3))?;
        }
        Ok(())
    });
}

struct AutoClaimed {
    ids: Vec<StreamId>,
    /// Pending entries that are no more in the stream, and now not pending either.
    deleted: Vec<StreamId>,
    /// Where to go on.
    next: Option<StreamId>,
}

fn auto_claim(
    group: &mut Group,
    reading: &Reading<'_>,
    (consumer, now_ms): (&[u8], u64),
    (idle_min, just_ids): (i64, bool),
    start: StreamId,
    count: u64,
) -> AutoClaimed {
    let mut result = AutoClaimed {
        ids: Vec::new(),
        deleted: Vec::new(),
        next: Some(start),
    };
    let (mut left, mut looks) = (count, count.saturating_mul(LOOKS_PER_CLAIM));
    loop {
        let next = result.next.and_then(|from| group.pending(from..=StreamId::MAX).next());
        let Some((id, old)) = next else {
            result.next = None;
            return result;
        };
        result.next = Some(id);
        if left == 0 || looks == 0 {
            return result;
        }
        (looks, result.next) = (looks - 1, id.next());
        if reading.entries.get(id).is_none() {
            group.acknowledge(id);
            result.deleted.push(id);
            left -= 1;
        } else if is_idle(&old, idle_min, now_ms) {
            let pending = Pending {
                consumer: group.meet(consumer, now_ms),
                delivered_ms: now_ms,
                deliveries: old.deliveries.wrapping_add(u64::from(!just_ids)),
            };
            group.set_pending(id, pending);
            result.ids.push(id);
            left -= 1;
        }
    }
}
