//! Is a history of one key linearizable? The search of Wing and Gong ("Testing and verifying concurrent objects", 1993)
//! with Lowe's memory of configurations seen ("Testing for linearizability", 2017), for a register that can be taken away.

use std::collections::HashSet;

/// What a client asked of the key, and what it was told. Values are unique, so that a read says which write it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `SET value`.
    Set(u32),
    /// `GET` found this.
    Get(Option<u32>),
    /// `GETSET value` found this.
    Swap(Option<u32>, u32),
    /// `GETDEL` found this.
    Take(Option<u32>),
}

/// A call with the moments between which it took effect.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    pub call: Call,
    /// When it was sent.
    pub sent: u64,
    /// When its reply came. `None`: never; it may have had its effect at any time since, or none.
    pub answered: Option<u64>,
}

/// Calls that one order may be in doubt about at a time: more than there are clients, pipelines included.
const OPEN_MAX: usize = 128;

/// A point of the search: `first` completed calls, and those of `ahead` counted from there, have taken effect.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Point {
    first: usize,
    ahead: u128,
    /// Of the calls without an answer.
    unanswered: u64,
    value: Option<u32>,
}

/// The value after `call` took effect on `value`; `None` when it could not have been answered as it was.
fn after(call: Call, value: Option<u32>, answered: bool) -> Option<Option<u32>> {
    let told = |found: Option<u32>| !answered || found == value;
    match call {
        Call::Set(new) => Some(Some(new)),
        Call::Get(found) => told(found).then_some(value),
        Call::Swap(found, new) => told(found).then_some(Some(new)),
        Call::Take(found) => told(found).then_some(None),
    }
}

/// Looks for an order of all answered calls, and any of the others, in which each reply is right and each call takes
/// effect between being sent and being answered. The key does not exist at first. Err: how far any order comes.
pub fn check(history: &[Op]) -> Result<(), String> {
    let mut done: Vec<Op> = history.iter().copied().filter(|op| op.answered.is_some()).collect();
    let open: Vec<Op> = history.iter().copied().filter(|op| op.answered.is_none()).collect();
    assert!(open.len() <= 64, "{} calls without an answer", open.len());
    done.sort_by_key(|op| op.sent);
    let mut seen = HashSet::new();
    let mut furthest = 0;
    let mut stack = vec![Point {
        first: 0,
        ahead: 0,
        unanswered: 0,
        value: None,
    }];
    while let Some(at) = stack.pop() {
        if at.first == done.len() {
            return Ok(());
        }
        if !seen.insert(at) {
            continue;
        }
        furthest = furthest.max(at.first);
        let waiting =
            || (at.first..done.len()).filter(|&n| n - at.first >= OPEN_MAX || at.ahead >> (n - at.first) & 1 == 0);
        // Whatever comes next was sent before anything that waits was answered.
        let mut before = u64::MAX;
        for n in waiting() {
            if done[n].sent > before {
                break;
            }
            before = before.min(done[n].answered.unwrap_or(u64::MAX));
        }
        for (n, op) in open
            .iter()
            .enumerate()
            .filter(|(n, op)| at.unanswered >> n & 1 == 0 && op.sent < before)
        {
            let value = after(op.call, at.value, false).unwrap_or(at.value);
            stack.push(Point {
                unanswered: at.unanswered | 1 << n,
                value,
                ..at
            });
        }
        for n in waiting().take_while(|&n| done[n].sent < before) {
            let Some(value) = after(done[n].call, at.value, true) else {
                continue;
            };
            assert!(n - at.first < OPEN_MAX, "more calls at a time than can be told apart");
            let mut next = Point {
                ahead: at.ahead | 1 << (n - at.first),
                value,
                ..at
            };
            while next.ahead & 1 == 1 {
                next.first += 1;
                next.ahead >>= 1;
            }
            stack.push(next);
        }
    }
    let near = &done[furthest.saturating_sub(3)..(furthest + 6).min(done.len())];
    Err(format!(
        "no order explains {} calls; the best one ends at number {furthest}, near {near:#?}",
        done.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(call: Call, sent: u64, answered: u64) -> Op {
        Op {
            call,
            sent,
            answered: (answered > 0).then_some(answered),
        }
    }

    #[test]
    fn overlapping_calls_may_have_either_order_and_others_may_not() {
        let overlapping = [
            op(Call::Set(1), 1, 10),
            op(Call::Get(None), 2, 3),
            op(Call::Get(Some(1)), 4, 5),
        ];
        check(&overlapping).unwrap();
        let back_in_time = [
            op(Call::Set(1), 1, 10),
            op(Call::Get(Some(1)), 2, 3),
            op(Call::Get(None), 4, 5),
        ];
        check(&back_in_time).unwrap_err();
        let stale = [
            op(Call::Set(1), 1, 2),
            op(Call::Set(2), 3, 4),
            op(Call::Get(Some(1)), 5, 6),
        ];
        check(&stale).unwrap_err();
        let swapped_twice = [
            op(Call::Set(1), 1, 2),
            op(Call::Swap(Some(1), 2), 3, 9),
            op(Call::Swap(Some(1), 3), 4, 8),
        ];
        check(&swapped_twice).unwrap_err();
        let swapped = [
            op(Call::Set(1), 1, 2),
            op(Call::Swap(Some(3), 2), 3, 9),
            op(Call::Swap(Some(1), 3), 4, 8),
        ];
        check(&swapped).unwrap();
        check(&[
            op(Call::Set(1), 1, 2),
            op(Call::Take(Some(1)), 3, 4),
            op(Call::Get(Some(1)), 5, 6),
        ])
        .unwrap_err();
    }

    #[test]
    fn a_call_without_an_answer_may_have_happened_later_or_never() {
        let lost = op(Call::Set(2), 3, 0);
        let early = op(Call::Set(1), 1, 2);
        check(&[early, lost, op(Call::Get(Some(1)), 5, 6)]).unwrap();
        check(&[early, lost, op(Call::Get(Some(1)), 5, 6), op(Call::Get(Some(2)), 7, 8)]).unwrap();
        check(&[early, lost, op(Call::Get(Some(2)), 5, 6), op(Call::Get(Some(1)), 7, 8)]).unwrap_err();
        check(&[op(Call::Get(Some(2)), 1, 2), op(Call::Set(2), 3, 0)]).unwrap_err();
    }
}
