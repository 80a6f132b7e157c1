//! What clients do to one key, for [`check`](super::linearizable::check): registers, counters and lists. Values written are
//! unique, so that a read says which write it saw.

use std::collections::HashSet;

use super::linearizable::{Model, Op};

/// A string that is set, read and taken away.
pub struct Register;

/// What was asked of a [`Register`], and what was told.
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

impl Model for Register {
    type State = Option<u32>;
    type Call = Call;

    fn first() -> Option<u32> {
        None
    }

    fn after(state: &Option<u32>, call: &Call, answered: bool) -> Option<Option<u32>> {
        let told = |found: Option<u32>| !answered || found == *state;
        match *call {
            Call::Set(new) => Some(Some(new)),
            Call::Get(found) => told(found).then_some(*state),
            Call::Swap(found, new) => told(found).then_some(Some(new)),
            Call::Take(found) => told(found).then_some(None),
        }
    }

    fn forget_unseen(answered: &[Op<Call>], unanswered: &mut Vec<Op<Call>>) {
        let found = |op: &Op<Call>| match op.call {
            Call::Set(_) => None,
            Call::Get(found) | Call::Swap(found, _) | Call::Take(found) => found,
        };
        let seen: HashSet<u32> = answered.iter().filter_map(found).collect();
        unanswered.retain(|op| match op.call {
            Call::Set(new) | Call::Swap(_, new) => seen.contains(&new),
            Call::Get(_) => false,
            Call::Take(_) => true,
        });
    }
}

/// A number that is incremented and read; 0 while there is no key.
pub struct Counter;

/// What was asked of a [`Counter`], and what was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// `INCR` answered this.
    Incr(i64),
    /// `GET` found this.
    Get(i64),
}

impl Model for Counter {
    type State = i64;
    type Call = Count;

    fn first() -> i64 {
        0
    }

    fn after(state: &i64, call: &Count, answered: bool) -> Option<i64> {
        match *call {
            Count::Incr(told) => (!answered || told == state + 1).then_some(state + 1),
            Count::Get(found) => (!answered || found == *state).then_some(*state),
        }
    }
}

/// A list to whose end is pushed, and from whose head is popped.
pub struct List;

/// What was asked of a [`List`], and what was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// `RPUSH element` answered that there are so many.
    Push(u32, usize),
    /// `LPOP` found this.
    Pop(Option<u32>),
    /// `LRANGE 0 -1` found these.
    Range(Vec<u32>),
}

impl Model for List {
    type State = Vec<u32>;
    type Call = Listed;

    fn first() -> Vec<u32> {
        Vec::new()
    }

    fn after(state: &Vec<u32>, call: &Listed, answered: bool) -> Option<Vec<u32>> {
        match call {
            Listed::Push(element, told) => {
                let fits = !answered || *told == state.len() + 1;
                fits.then(|| state.iter().copied().chain([*element]).collect())
            }
            Listed::Pop(found) => {
                let fits = !answered || *found == state.first().copied();
                fits.then(|| state.iter().skip(1).copied().collect())
            }
            Listed::Range(found) => (!answered || found == state).then(|| state.clone()),
        }
    }

    fn shows(call: &Listed) -> bool {
        matches!(call, Listed::Range(_))
    }

    fn removes(call: &Listed) -> bool {
        matches!(call, Listed::Pop(_))
    }

    fn may_show(state: &Vec<u32>, call: &Listed, removals: usize) -> bool {
        let Listed::Range(found) = call else { return true };
        // What is not popped stands before what is pushed.
        let popped = state.iter().take_while(|element| !found.contains(element)).count();
        popped <= removals && found.starts_with(&state[popped..])
    }

    fn is_lost(state: &Vec<u32>, shown: &Listed, call: &Listed) -> bool {
        let (Listed::Range(found), Listed::Push(element, _)) = (shown, call) else {
            return false;
        };
        found.contains(element) && !state.contains(element)
    }

    fn forget_unseen(_answered: &[Op<Listed>], unanswered: &mut Vec<Op<Listed>>) {
        // A push may show in a length alone, so only what reads goes.
        unanswered.retain(|op| !matches!(op.call, Listed::Range(_)));
    }
}
