//! Random members: SPOP, SRANDMEMBER.

use crate::cmd::data::sample::{draw, sample};
use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::{count, symmetric_integer};
use crate::cmd::{Exec, Reply};
use crate::collections::Elements;
use crate::keyspace::EventClasses;

/// Takes members by the entry's seed: replicas hold the same members in the same order and so take the same ones.
pub(in crate::cmd) fn spop(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        if x.args.len() > 3 {
            return Err(CmdError::Syntax);
        }
        let wanted = x.args.try_get(2).map(count).transpose()?;
        let key = x.args.get(1);
        let Some(set) = x.ks.set_mut(key)? else {
            if wanted.is_some() {
                reply.set(0)
            } else {
                reply.null()
            }
            return Ok(());
        };
        let taken = wanted.unwrap_or(1).min(set.len());
        if wanted.is_some() {
            reply.set(taken);
        }
        if taken > 1 && taken == set.len() {
            // The whole set goes at once; a huge one is freed in slices.
            set.for_each(|member| reply.bulk(member));
            x.ks.del(key);
            x.ks.note(EventClasses::SET, "spop", key);
            x.ks.note(EventClasses::GENERIC, "del", key);
            return Ok(());
        }
        for i in 0..taken {
            let n = draw(x.seed, i as u64, set.len());
            set.take_nth(n, |member| reply.bulk(member));
        }
        let is_empty = set.is_empty();
        if taken > 0 {
            x.ks.note(EventClasses::SET, "spop", key);
        }
        if is_empty {
            x.ks.drop_if_empty(key);
        }
        Ok(())
    });
}

/// Members that SRANDMEMBER gives at most when it may repeat them: what they take must stay small beside the memory.
const REPEATED_MAX: u64 = 1024 * 1024;

/// SRANDMEMBER key [count]: different members; with a negative count members that may be the same.
pub(in crate::cmd) fn srandmember(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let Some(count) = x.args.try_get(2) else {
            match x.ks.set(x.args.get(1))? {
                Some(set) => set.nth(draw(x.seed, 0, set.len()), |member| reply.bulk(member)),
                None => reply.null(),
            }
            return Ok(());
        };
        if x.args.len() > 3 {
            return Err(CmdError::Syntax);
        }
        let count = symmetric_integer(count)?;
        let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        if count < 0 && count.unsigned_abs() > REPEATED_MAX {
            return Err(CmdError::Other("ERR value is out of range"));
        }
        let Some(set) = x.ks.set(x.args.get(1))? else {
            reply.array(0);
            return Ok(());
        };
        let len = set.len();
        if count < 0 {
            reply.array(wanted);
            (0..wanted).for_each(|i| set.nth(draw(x.seed, i as u64, len), |member| reply.bulk(member)));
        } else if wanted >= len {
            reply.array(len);
            set.for_each(|member| reply.bulk(member));
        } else {
            let chosen = sample(x.seed, wanted, len);
            reply.array(chosen.len());
            chosen.into_iter().for_each(|n| set.nth(n, |member| reply.bulk(member)));
        }
        Ok(())
    });
}
