//! Ranges of members, by rank, score or member: ZRANGE and its six older forms, ZRANGESTORE, ZCOUNT, ZLEXCOUNT and
//! ZREMRANGEBY*.

use super::bound::{Bounds, By};
use super::read::reply_members;
use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::{integer, is};
use crate::cmd::{Exec, Reply};
use crate::collections::{Elements, ZSet};
use crate::keyspace::EventClasses;

/// A whole call: which members, in which order, how many of them.
struct Query<'a> {
    bounds: Bounds<'a>,
    reverse: bool,
    scores: bool,
    /// Members passed over; negative: all.
    offset: i64,
    /// Members at most; negative: all.
    limit: i64,
}

impl<'a> Query<'a> {
    /// The range starts with argument `at`, options follow. What `by` and `reverse` leave open, options may say.
    fn parse(
        x: &Exec<'a>,
        at: usize,
        by: Option<By>,
        reverse: Option<bool>,
        may_show_scores: bool,
    ) -> Result<Self, CmdError> {
        let (mut chosen, mut backwards, mut scores) = (by, reverse, false);
        let (mut offset, mut limit, mut i) = (0, -1, at + 2);
        while let Some(word) = x.args.try_get(i) {
            i += 1;
            if may_show_scores && is(word, "WITHSCORES") {
                scores = true;
            } else if is(word, "LIMIT") && i + 1 < x.args.len() {
                (offset, limit) = (integer(x.args.get(i))?, integer(x.args.get(i + 1))?);
                i += 2;
            } else if reverse.is_none() && backwards.is_none() && is(word, "REV") {
                backwards = Some(true);
            } else if chosen.is_none() && is(word, "BYLEX") {
                chosen = Some(By::Lex);
            } else if chosen.is_none() && is(word, "BYSCORE") {
                chosen = Some(By::Score);
            } else {
                return Err(CmdError::Syntax);
            }
        }
        let (by, reverse) = (chosen.unwrap_or(By::Rank), backwards.unwrap_or(false));
        if limit != -1 && by == By::Rank {
            return Err(CmdError::Other(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if scores && by == By::Lex {
            return Err(CmdError::Other(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        let (mut min, mut max) = (x.args.get(at), x.args.get(at + 1));
        if reverse && by != By::Rank {
            (min, max) = (max, min);
        }
        Ok(Query {
            bounds: Bounds::parse(by, min, max)?,
            reverse,
            scores,
            offset,
            limit,
        })
    }

    /// What to hand to [`ZSet::range`]: first rank, in the order of the answer, and number of members.
    fn resolve(&self, zset: &ZSet) -> (usize, usize) {
        let (start, count) = self.bounds.resolve(zset, self.reverse);
        let first = if self.reverse {
            zset.len() - start - count
        } else {
            start
        };
        let passed = usize::try_from(self.offset).unwrap_or(usize::MAX).min(count);
        let left = count - passed;
        (
            first + passed,
            usize::try_from(self.limit).map_or(left, |limit| limit.min(left)),
        )
    }
}

fn answer_range(x: &mut Exec<'_>, reply: &mut dyn Reply, by: Option<By>, reverse: Option<bool>, may_show_scores: bool) {
    answer(reply, |reply| {
        let query = Query::parse(x, 2, by, reverse, may_show_scores)?;
        let Some(zset) = x.ks.zset(x.args.get(1))? else {
            reply.array(0);
            return Ok(());
        };
        let (first, count) = query.resolve(zset);
        reply_members(reply, count, query.scores, |each| {
            zset.range(first, count, query.reverse, each)
        });
        Ok(())
    });
}

pub(in crate::cmd) fn zrange(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer_range(x, reply, None, None, true);
}

pub(in crate::cmd) fn zrevrange(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer_range(x, reply, Some(By::Rank), Some(true), true);
}

pub(in crate::cmd) fn zrangebyscore(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer_range(x, reply, Some(By::Score), Some(false), true);
}

pub(in crate::cmd) fn zrevrangebyscore(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer_range(x, reply, Some(By::Score), Some(true), true);
}

pub(in crate::cmd) fn zrangebylex(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer_range(x, reply, Some(By::Lex), Some(false), true);
}

pub(in crate::cmd) fn zrevrangebylex(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer_range(x, reply, Some(By::Lex), Some(true), true);
}

pub(in crate::cmd) fn zrangestore(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let query = Query::parse(x, 3, None, None, false)?;
        let mut copy = ZSet::default();
        if let Some(zset) = x.ks.zset(x.args.get(2))? {
            let (first, count) = query.resolve(zset);
            zset.range(first, count, query.reverse, |member, score| {
                copy.insert(member, score);
            });
        }
        let (target, is_empty) = (x.args.get(1), copy.is_empty());
        reply.int(copy.len() as i64);
        let existed = x.ks.replace_zset(target, copy);
        x.ks.note_stored(EventClasses::ZSET, "zrangestore", target, is_empty, existed);
        Ok(())
    });
}

fn count(x: &mut Exec<'_>, reply: &mut dyn Reply, by: By) {
    answer(reply, |reply| {
        let bounds = Bounds::parse(by, x.args.get(2), x.args.get(3))?;
        let zset = x.ks.zset(x.args.get(1))?;
        reply.int(zset.map_or(0, |zset| bounds.resolve(zset, false).1) as i64);
        Ok(())
    });
}

pub(in crate::cmd) fn zcount(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    count(x, reply, By::Score);
}

pub(in crate::cmd) fn zlexcount(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    count(x, reply, By::Lex);
}

fn remove(x: &mut Exec<'_>, reply: &mut dyn Reply, by: By) {
    answer(reply, |reply| {
        let bounds = Bounds::parse(by, x.args.get(2), x.args.get(3))?;
        let key = x.args.get(1);
        let Some(zset) = x.ks.zset_mut(key)? else {
            reply.int(0);
            return Ok(());
        };
        let (start, count) = bounds.resolve(zset, false);
        let event = match by {
            By::Rank => "zremrangebyrank",
            By::Score => "zremrangebyscore",
            By::Lex => "zremrangebylex",
        };
        if count == zset.len() {
            // A huge set is freed in slices that way.
            x.ks.del(key);
            x.ks.note(EventClasses::ZSET, event, key);
            x.ks.note(EventClasses::GENERIC, "del", key);
        } else if count > 0 {
            zset.remove_range(start, count);
            x.ks.note(EventClasses::ZSET, event, key);
        }
        reply.int(count as i64);
        Ok(())
    });
}

pub(in crate::cmd) fn zremrangebyrank(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    remove(x, reply, By::Rank);
}

pub(in crate::cmd) fn zremrangebyscore(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    remove(x, reply, By::Score);
}

pub(in crate::cmd) fn zremrangebylex(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    remove(x, reply, By::Lex);
}
