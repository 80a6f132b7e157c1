//! Is a history of one key linearizable? The search of Wing and Gong ("Testing and verifying concurrent objects", 1993)
//! with Lowe's memory of configurations seen ("Testing for linearizability", 2017), for any [`Model`].

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;

/// What a key is and what calls do to it.
pub trait Model {
    /// Its value.
    type State: Clone + Eq + Hash;
    /// What a client asked, and what it was told.
    type Call: Clone + Debug + PartialEq;

    /// The value of a key that nobody has written.
    fn first() -> Self::State;

    /// The value after `call` took effect on `state`; `None` when it could not have been answered as it was. Without an
    /// answer, what it was told means nothing.
    fn after(state: &Self::State, call: &Self::Call, answered: bool) -> Option<Self::State>;

    /// Whether this call shows all of the value.
    fn shows(_call: &Self::Call) -> bool {
        false
    }

    /// Whether this call takes something away.
    fn removes(_call: &Self::Call) -> bool {
        false
    }

    /// Whether `state` may be what a call shows that comes next but for any number of calls that add, and so many that remove.
    fn may_show(_state: &Self::State, _call: &Self::Call, _removals: usize) -> bool {
        true
    }

    /// Whether what `shown` shows has something that `call`, which took effect, has added, and `state` has no longer: added
    /// once, it does not come back.
    fn is_lost(_state: &Self::State, _shown: &Self::Call, _call: &Self::Call) -> bool {
        false
    }

    /// Removes calls without an answer whose effect would show in some answer, and shows in none.
    fn forget_unseen(_answered: &[Op<Self::Call>], _unanswered: &mut Vec<Op<Self::Call>>) {}
}

/// A call with the moments between which it took effect.
#[derive(Clone, Copy, Debug)]
pub struct Op<C> {
    pub call: C,
    /// When it was sent.
    pub sent: u64,
    /// When its reply came. `None`: never; it may have had its effect at any time since, or none.
    pub answered: Option<u64>,
}

/// Configurations that are looked at before the search gives up: some seconds. Histories of a healthy store need about as
/// many as they have calls.
const POINTS_MAX: usize = 3_000_000;

/// A set of small numbers.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Bits(Vec<u64>);

impl Bits {
    fn has(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    fn with(mut self, at: usize) -> Self {
        self.0.resize(self.0.len().max(at / 64 + 1), 0);
        self.0[at / 64] |= 1 << (at % 64);
        self
    }

    /// Removes 0 and makes every other number one less.
    fn shift(&mut self) {
        let mut carry = 0;
        for word in self.0.iter_mut().rev() {
            (*word, carry) = (*word >> 1 | carry << 63, *word & 1);
        }
        // One form for each set, so that equal ones are known to be.
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }
}

/// A point of the search: `first` answered calls, and those of `ahead` counted from there, have taken effect.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Point<S> {
    first: usize,
    ahead: Bits,
    /// Of the calls without an answer.
    unanswered: Bits,
    state: S,
}

/// Whether a value leads to what is shown next. What it leads to otherwise need not be looked at, which is most of it where many
/// calls have no answer.
fn leads_on<M: Model>(at: &Point<M::State>, done: &[Op<M::Call>], open: &[Op<M::Call>]) -> bool {
    let waiting = || (at.first..done.len()).filter(|n| !at.ahead.has(n - at.first));
    // Whatever shows it first was sent before any other that does was answered.
    let (mut shown, mut before) = (Vec::new(), u64::MAX);
    for n in waiting() {
        if done[n].sent > before {
            break;
        }
        if M::shows(&done[n].call) {
            before = before.min(done[n].answered.unwrap_or(u64::MAX));
            shown.push(n);
        }
    }
    if shown.is_empty() {
        return true;
    }
    let removed = waiting().take_while(|&n| done[n].sent <= before);
    let removed = removed.filter(|&n| M::removes(&done[n].call)).count();
    let perhaps = (0..open.len()).filter(|&n| !at.unanswered.has(n) && M::removes(&open[n].call));
    let removals = removed + perhaps.count();
    let perhaps = (0..open.len()).filter(|&n| at.unanswered.has(n)).map(|n| &open[n].call);
    let ahead = (at.first..done.len()).filter(|n| at.ahead.has(n - at.first));
    let took_effect: Vec<_> = perhaps.chain(ahead.map(|n| &done[n].call)).collect();
    shown.iter().map(|&n| &done[n].call).any(|shown| {
        let is_lost = |call: &&M::Call| M::is_lost(&at.state, shown, call);
        M::may_show(&at.state, shown, removals) && !took_effect.iter().any(is_lost)
    })
}

/// Looks for an order of all answered calls, and any of the others, in which each reply is right and each call takes
/// effect between being sent and being answered. Err: how far any order comes.
pub fn check<M: Model>(history: &[Op<M::Call>]) -> Result<(), String> {
    let (mut done, mut open): (Vec<_>, Vec<_>) = history.iter().cloned().partition(|op| op.answered.is_some());
    done.sort_by_key(|op| op.sent);
    open.sort_by_key(|op| op.sent);
    M::forget_unseen(&done, &mut open);
    let mut seen = HashSet::new();
    let mut furthest = 0;
    let mut stack = vec![Point {
        first: 0,
        ahead: Bits::default(),
        unanswered: Bits::default(),
        state: M::first(),
    }];
    while let Some(at) = stack.pop() {
        if at.first == done.len() {
            return Ok(());
        }
        if !seen.insert(at.clone()) || !leads_on::<M>(&at, &done, &open) {
            continue;
        }
        assert!(
            seen.len() < POINTS_MAX,
            "{} calls without an answer leave too much open: no order was found that goes beyond number {furthest}, near {:#?}, \
             without an answer {open:#?}",
            open.len(),
            near(&done, furthest)
        );
        furthest = furthest.max(at.first);
        let waiting = || (at.first..done.len()).filter(|n| !at.ahead.has(n - at.first));
        // Whatever comes next was sent before anything that waits was answered.
        let mut before = u64::MAX;
        for n in waiting() {
            if done[n].sent > before {
                break;
            }
            before = before.min(done[n].answered.unwrap_or(u64::MAX));
        }
        for (n, op) in open.iter().enumerate().take_while(|(_, op)| op.sent < before) {
            // Of equal ones that may come at any time, the first is as good as any.
            let as_good = |m: &usize| !at.unanswered.has(*m) && open[*m].call == op.call;
            if at.unanswered.has(n) || (0..n).any(|m| as_good(&m)) {
                continue;
            }
            if let Some(state) = M::after(&at.state, &op.call, false) {
                stack.push(Point {
                    unanswered: at.unanswered.clone().with(n),
                    state,
                    ..at.clone()
                });
            }
        }
        for n in waiting().take_while(|&n| done[n].sent < before) {
            let Some(state) = M::after(&at.state, &done[n].call, true) else {
                continue;
            };
            let mut next = Point {
                ahead: at.ahead.clone().with(n - at.first),
                unanswered: at.unanswered.clone(),
                state,
                ..at
            };
            while next.ahead.has(0) {
                next.first += 1;
                next.ahead.shift();
            }
            stack.push(next);
        }
    }
    Err(format!(
        "no order explains {} calls; the best one ends at number {furthest}, near {:#?}",
        done.len(),
        near(&done, furthest)
    ))
}

/// The calls where an order ends.
fn near<C>(done: &[Op<C>], furthest: usize) -> &[Op<C>] {
    &done[furthest.saturating_sub(40)..(furthest + 20).min(done.len())]
}
