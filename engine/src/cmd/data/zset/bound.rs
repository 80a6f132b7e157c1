//! Where a range of a sorted set begins and ends: ranks, scores or members, as arguments give them.

use crate::cmd::error::CmdError;
use crate::cmd::parse::{index_range, integer};
use crate::collections::{Elements, ZSet};
use crate::number::parse_f64_lenient;

/// One end of a range of scores.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScoreBound {
    score: f64,
    exclusive: bool,
}

impl ScoreBound {
    fn parse(text: &[u8]) -> Option<Self> {
        let (exclusive, number) = match text {
            [b'(', rest @ ..] => (true, rest),
            text => (false, text),
        };
        let score = parse_f64_lenient(number)?;
        Some(Self { score, exclusive })
    }
}

/// One end of a range of members.
#[derive(Clone, Copy, Debug)]
pub(super) enum LexBound<'a> {
    /// `-`: before every member.
    First,
    /// `[member`
    At(&'a [u8]),
    /// `(member`
    Beside(&'a [u8]),
    /// `+`: behind every member.
    Last,
}

impl<'a> LexBound<'a> {
    fn parse(text: &'a [u8]) -> Option<Self> {
        match text {
            b"-" => Some(LexBound::First),
            b"+" => Some(LexBound::Last),
            [b'[', member @ ..] => Some(LexBound::At(member)),
            [b'(', member @ ..] => Some(LexBound::Beside(member)),
            _ => None,
        }
    }
}

/// What a range's ends are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Rank,
    Score,
    Lex,
}

/// A range of a sorted set.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bounds<'a> {
    /// First and last rank, negative from the end.
    Rank(i64, i64),
    Score(ScoreBound, ScoreBound),
    Lex(LexBound<'a>, LexBound<'a>),
}

impl<'a> Bounds<'a> {
    /// From the lower and the upper end.
    pub(super) fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Self, CmdError> {
        let bounds = match by {
            By::Rank => Some(Bounds::Rank(integer(min)?, integer(max)?)),
            By::Score => ScoreBound::parse(min)
                .zip(ScoreBound::parse(max))
                .map(|(a, b)| Bounds::Score(a, b)),
            By::Lex => LexBound::parse(min)
                .zip(LexBound::parse(max))
                .map(|(a, b)| Bounds::Lex(a, b)),
        };
        bounds.ok_or(CmdError::Other(match by {
            By::Lex => "ERR min or max not valid string range item",
            By::Score | By::Rank => "ERR min or max is not a float",
        }))
    }

    /// Lowest rank of the range, counted from the lowest score, and number of members. Logarithmic in large sets. Ranks of a
    /// `reverse` range count from the highest score down.
    pub(super) fn resolve(self, zset: &ZSet, reverse: bool) -> (usize, usize) {
        let len = zset.len();
        let (start, end) = match self {
            Bounds::Rank(first, last) => {
                let (start, count) = index_range(first, last, len);
                return (if reverse { len - start - count } else { start }, count);
            }
            Bounds::Score(min, max) => (
                zset.partition_point(|s, _| s < min.score || (min.exclusive && s == min.score)),
                zset.partition_point(|s, _| s < max.score || (!max.exclusive && s == max.score)),
            ),
            Bounds::Lex(min, max) => (
                match min {
                    LexBound::First => 0,
                    LexBound::At(min) => zset.partition_point(|_, m| m < min),
                    LexBound::Beside(min) => zset.partition_point(|_, m| m <= min),
                    LexBound::Last => len,
                },
                match max {
                    LexBound::First => 0,
                    LexBound::At(max) => zset.partition_point(|_, m| m <= max),
                    LexBound::Beside(max) => zset.partition_point(|_, m| m < max),
                    LexBound::Last => len,
                },
            ),
        };
        (start, end.saturating_sub(start))
    }
}
