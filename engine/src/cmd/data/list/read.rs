//! Looking into a list: LRANGE, LLEN, LINDEX, LPOS.

use crate::cmd::error::{CmdError, answer};
use crate::cmd::parse::{index_range, integer, is, symmetric_integer};
use crate::cmd::{Exec, Reply};
use crate::collections::Elements;

pub(in crate::cmd) fn lrange(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let (start, end) = (integer(x.args.get(2))?, integer(x.args.get(3))?);
        let Some(list) = x.ks.list(x.args.get(1))? else {
            reply.array(0);
            return Ok(());
        };
        let (first, len) = index_range(start, end, list.len());
        reply.array(len);
        list.range(first, len).for_each(|element| reply.bulk(element));
        Ok(())
    });
}

pub(in crate::cmd) fn llen(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        reply.int(x.ks.list(x.args.get(1))?.map_or(0, |list| list.len()) as i64);
        Ok(())
    });
}

/// The element that `index` means, negative from the end, of `len`.
pub(super) fn element_index(index: i64, len: usize) -> Option<usize> {
    let from_front = if index < 0 {
        index.checked_add(len as i64)?
    } else {
        index
    };
    usize::try_from(from_front).ok().filter(|n| *n < len)
}

pub(in crate::cmd) fn lindex(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let Some(list) = x.ks.list(x.args.get(1))? else {
            reply.null();
            return Ok(());
        };
        let index = element_index(integer(x.args.get(2))?, list.len());
        match index.and_then(|n| list.get(n)) {
            Some(element) => reply.bulk(element),
            None => reply.null(),
        }
        Ok(())
    });
}

/// The options of LPOS.
struct Search {
    /// Matches to pass over; from the back when `backwards`.
    skip: u64,
    backwards: bool,
    /// Answer with an array of so many positions at most, 0 for all; without, with one position.
    count: Option<usize>,
    /// Elements to look at at most, 0 for all.
    compared_max: usize,
}

impl Search {
    fn parse(x: &Exec<'_>) -> Result<Self, CmdError> {
        let mut search = Search {
            skip: 0,
            backwards: false,
            count: None,
            compared_max: 0,
        };
        let not_negative = |value: &[u8], error| {
            let number = integer(value).ok().and_then(|n| usize::try_from(n).ok());
            number.ok_or(CmdError::Other(error))
        };
        for i in (3..x.args.len()).step_by(2) {
            let (option, value) = (x.args.get(i), x.args.try_get(i + 1).ok_or(CmdError::Syntax)?);
            if is(option, "RANK") {
                let rank = symmetric_integer(value)?;
                if rank == 0 {
                    return Err(CmdError::Other(
                        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use \
                         negative to start from the end of the list",
                    ));
                }
                (search.skip, search.backwards) = (rank.unsigned_abs() - 1, rank < 0);
            } else if is(option, "COUNT") {
                search.count = Some(not_negative(value, "ERR COUNT can't be negative")?);
            } else if is(option, "MAXLEN") {
                search.compared_max = not_negative(value, "ERR MAXLEN can't be negative")?;
            } else {
                return Err(CmdError::Syntax);
            }
        }
        Ok(search)
    }

    /// Positions, counted from the front, of the matches wanted.
    fn run<'e>(&self, elements: impl Iterator<Item = &'e [u8]>, wanted: &[u8], len: usize) -> Vec<usize> {
        let positions_max = match self.count {
            None => 1,
            Some(0) => usize::MAX,
            Some(n) => n,
        };
        let compared_max = if self.compared_max == 0 {
            usize::MAX
        } else {
            self.compared_max
        };
        elements
            .take(compared_max)
            .enumerate()
            .filter(|(_, element)| *element == wanted)
            .skip(usize::try_from(self.skip).unwrap_or(usize::MAX))
            .take(positions_max)
            .map(|(n, _)| if self.backwards { len - 1 - n } else { n })
            .collect()
    }
}

/// LPOS key element [RANK rank] [COUNT count] [MAXLEN len]
pub(in crate::cmd) fn lpos(x: &mut Exec<'_>, reply: &mut dyn Reply) {
    answer(reply, |reply| {
        let search = Search::parse(x)?;
        let wanted = x.args.get(2);
        let found = match x.ks.list(x.args.get(1))? {
            None => Vec::new(),
            Some(list) if search.backwards => search.run(list.backwards(), wanted, list.len()),
            Some(list) => search.run(list.range(0, usize::MAX), wanted, list.len()),
        };
        if search.count.is_some() {
            reply.array(found.len());
            found.iter().for_each(|n| reply.int(*n as i64));
        } else {
            match found.first() {
                Some(n) => reply.int(*n as i64),
                None => reply.null(),
            }
        }
        Ok(())
    });
}
