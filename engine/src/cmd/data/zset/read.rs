//! What a sorted set says of single members: ZCARD, ZSCORE, ZMSCORE, ZRANK, ZREVRANK; and ZSCAN, ZRANDMEMBER.

use crate::cmd::data::sample::{draw, sample};
use crate::cmd::data::scan::ElementScan;
use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::{integer, is};
use crate::cmd::{Exec, Reply};
use crate::collections::{Elements, ZSet};
use crate::number::{format_f64, format_f64_stored};

/// Answers with `count` members, with their scores if wanted: RESP3 makes pairs of them.
pub(super) fn reply_members(
    reply: &mut dyn Reply,
    count: usize,
    scores: bool,
    for_each: impl FnOnce(&mut dyn FnMut(&[u8], f64)),
) {
    let nested = scores && reply.proto() == 3;
    reply.array(if scores && !nested { 2 * count } else { count });
    for_each(&mut |member, score| {
        if nested {
            reply.array(2);
        }
        reply.bulk(member);
        if scores {
            reply.double(score);
        }
    });
}

pub(in crate::cmd) fn zcard(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        reply.int(x.ks.zset(x.args.get(1))?.map_or(0, |zset| zset.len()) as i64);
        Ok(())
    });
}

fn reply_score(score: Option<f64>, reply: &mut dyn Reply) {
    match score {
        Some(score) => reply.double(score),
        None => reply.null(),
    }
}

pub(in crate::cmd) fn zscore(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let zset = x.ks.zset(x.args.get(1))?;
        reply_score(zset.and_then(|zset| zset.score(x.args.get(2))), reply);
        Ok(())
    });
}

pub(in crate::cmd) fn zmscore(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let zset = x.ks.zset(x.args.get(1))?;
        reply.array(x.args.len() - 2);
        for member in x.args.iter_from(2) {
            reply_score(zset.and_then(|zset| zset.score(member)), reply);
        }
        Ok(())
    });
}

/// ZRANK key member [WITHSCORE], the option since Redis 7.2.
fn rank(x: &mut Exec<'_>, reply: &mut dyn Reply, reverse: bool) {
    answer(reply, |reply| {
        let with_score = match x.args.try_get(3) {
            None => false,
            Some(word) if x.args.len() == 4 && is(word, "WITHSCORE") => true,
            Some(_) => return Err(CmdError::Syntax),
        };
        let zset = x.ks.zset(x.args.get(1))?;
        let found = zset.and_then(|zset| {
            let (rank, score) = zset.rank(x.args.get(2))?;
            Some((if reverse { zset.len() - 1 - rank } else { rank }, score))
        });
        match found {
            None if with_score => reply.null_array(),
            None => reply.null(),
            Some((rank, score)) => {
                if with_score {
                    reply.array(2);
                }
                reply.int(rank as i64);
                if with_score {
                    reply.double(score);
                }
            }
        }
        Ok(())
    });
}

pub(in crate::cmd) fn zrank(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    rank(x, reply, false);
}

pub(in crate::cmd) fn zrevrank(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    rank(x, reply, true);
}

pub(in crate::cmd) fn zscan(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let mut scan = ElementScan::parse(&x.args)?;
        let mut next = 0;
        if let Some(zset) = x.ks.zset(x.args.get(1))? {
            scan.parse_options(&x.args)?;
            let packed = zset.encoding() == "listpack";
            // What Redis keeps in one piece it hands out in one piece.
            let count = if packed { usize::MAX } else { scan.count };
            next = zset.scan(scan.cursor, count, |member, score| {
                if scan.wants(member) {
                    let text = if packed {
                        format_f64_stored(score)
                    } else {
                        format_f64(score)
                    };
                    scan.found.push(member);
                    scan.found.push(text.as_bytes());
                }
            });
        }
        scan.reply(next, reply);
        Ok(())
    });
}

/// Members that ZRANDMEMBER gives at most when it may repeat them: what they take must stay small beside the memory.
const REPEATED_MAX: u64 = 1024 * 1024;

/// Members at positions that the seed chooses.
fn random_members(zset: &ZSet, seed: u64, count: i64, scores: bool, reply: &mut dyn Reply) {
    let len = zset.len();
    if count < 0 {
        let count = count.unsigned_abs() as usize;
        reply_members(reply, count, scores, |each| {
            (0..count).for_each(|i| zset.nth(draw(seed, i as u64, len), &mut *each));
        });
    } else if count as usize >= len {
        reply_members(reply, len, scores, |each| zset.range(0, len, false, each));
    } else {
        let chosen = sample(seed, count as usize, len);
        reply_members(reply, chosen.len(), scores, |each| {
            chosen.into_iter().for_each(|n| zset.nth(n, &mut *each));
        });
    }
}

pub(in crate::cmd) fn zrandmember(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let Some(count) = x.args.try_get(2) else {
            match x.ks.zset(x.args.get(1))? {
                Some(zset) => zset.nth(draw(x.seed, 0, zset.len()), |member, _| reply.bulk(member)),
                None => reply.null(),
            }
            return Ok(());
        };
        let count = integer(count)?;
        if count == i64::MIN {
            return Err(CmdError::Other(
                "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
            ));
        }
        let scores = match x.args.try_get(3) {
            None => false,
            Some(word) if x.args.len() == 4 && is(word, "WITHSCORES") => true,
            Some(_) => return Err(CmdError::Syntax),
        };
        // A reply has two values per member, and their number must fit.
        if (scores && count > i64::MAX / 2) || (count < 0 && count.unsigned_abs() > REPEATED_MAX) {
            return Err(CmdError::Other("ERR value is out of range"));
        }
        match x.ks.zset(x.args.get(1))? {
            Some(zset) if count != 0 => random_members(zset, x.seed, count, scores, reply),
            _ => reply.array(0),
        }
        Ok(())
    });
}
