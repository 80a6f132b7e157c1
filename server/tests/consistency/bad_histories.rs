//! The checker itself: histories that no correct store can give, of every kind that a store has given, and good ones beside
//! them that look alike.

use slotcore_rt::rng::SeededRng;

use crate::support::linearizable::Model;
use crate::support::models::{Call, Count, Counter, List, Listed, Register};
use crate::support::{Op, check};

/// A call sent and answered at these moments; 0: never answered.
fn op<C>(call: C, sent: u64, answered: u64) -> Op<C> {
    Op {
        call,
        sent,
        answered: (answered > 0).then_some(answered),
    }
}

/// Calls one after the other.
fn in_turn<C: Clone>(calls: &[C]) -> Vec<Op<C>> {
    let at = |n: usize| 10 * n as u64 + 1;
    calls
        .iter()
        .cloned()
        .enumerate()
        .map(|(n, call)| op(call, at(n), at(n) + 5))
        .collect()
}

fn good<M: Model>(history: &[Op<M::Call>]) {
    check::<M>(history).unwrap();
}

fn bad<M: Model>(history: &[Op<M::Call>]) {
    check::<M>(history).unwrap_err();
}

#[test]
fn calls_that_overlap_may_have_either_order() {
    let set = op(Call::Set(1), 1, 10);
    good::<Register>(&[set, op(Call::Get(None), 2, 3), op(Call::Get(Some(1)), 4, 5)]);
    bad::<Register>(&[set, op(Call::Get(Some(1)), 2, 3), op(Call::Get(None), 4, 5)]);
    let swapped = |found| {
        [
            op(Call::Set(1), 1, 2),
            op(Call::Swap(Some(found), 2), 3, 9),
            op(Call::Swap(Some(1), 3), 4, 8),
        ]
    };
    good::<Register>(&swapped(3));
    bad::<Register>(&swapped(1));
}

#[test]
fn a_stale_read_is_found() {
    bad::<Register>(&in_turn(&[Call::Set(1), Call::Set(2), Call::Get(Some(1))]));
    bad::<Register>(&in_turn(&[Call::Set(1), Call::Take(Some(1)), Call::Get(Some(1))]));
    bad::<Counter>(&in_turn(&[Count::Incr(1), Count::Incr(2), Count::Get(1)]));
    bad::<List>(&in_turn(&[Listed::Push(1, 1), Listed::Range(vec![])]));
    // A node that was frozen answers long after: what it read was old before it was asked.
    let mut history = in_turn(&[Call::Set(1), Call::Set(2)]);
    history.push(op(Call::Get(Some(1)), 20, 5_000));
    history.extend((0..200).map(|n| op(Call::Get(Some(2)), 30 + n, 31 + n)));
    bad::<Register>(&history);
    // It was asked before: then it may have.
    history[2].sent = 10;
    good::<Register>(&history);
}

#[test]
fn a_lost_write_is_found() {
    bad::<Register>(&in_turn(&[Call::Set(1), Call::Get(None)]));
    bad::<Register>(&in_turn(&[
        Call::Set(1),
        Call::Get(Some(1)),
        Call::Set(2),
        Call::Get(Some(1)),
    ]));
    bad::<Counter>(&in_turn(&[Count::Incr(1), Count::Incr(1)]));
    let pushed = [Listed::Push(1, 1), Listed::Push(2, 2), Listed::Push(3, 3)];
    let then = |list: Vec<u32>| [&pushed[..], &[Listed::Range(list)]].concat();
    good::<List>(&in_turn(&then(vec![1, 2, 3])));
    bad::<List>(&in_turn(&then(vec![1, 3])));
    bad::<List>(&in_turn(&then(vec![1, 2])));
}

#[test]
fn an_increment_that_counts_twice_is_found() {
    bad::<Counter>(&in_turn(&[Count::Incr(1), Count::Incr(3)]));
    bad::<Counter>(&in_turn(&[Count::Incr(1), Count::Get(2)]));
    // Somebody else's, without an answer, may have counted in between, but not twice.
    let unknown = op(Count::Incr(0), 2, 0);
    let told = |answer| [op(Count::Incr(1), 1, 3), unknown, op(Count::Incr(answer), 4, 5)];
    good::<Counter>(&told(2));
    good::<Counter>(&told(3));
    bad::<Counter>(&told(4));
    bad::<List>(&in_turn(&[Listed::Push(1, 1), Listed::Range(vec![1, 1])]));
}

#[test]
fn writes_in_another_order_are_found() {
    let pushed = [Listed::Push(1, 1), Listed::Push(2, 2)];
    bad::<List>(&in_turn(&[&pushed[..], &[Listed::Range(vec![2, 1])]].concat()));
    bad::<List>(&in_turn(&[&pushed[..], &[Listed::Pop(Some(2))]].concat()));
    // Two readers must not see two concurrent writes in two orders.
    let writes = [op(Call::Set(1), 1, 100), op(Call::Set(2), 1, 100)];
    let reads = |first, second| {
        [
            op(Call::Get(Some(first)), 200, 201),
            op(Call::Get(Some(second)), 202, 203),
        ]
    };
    good::<Register>(&[&writes[..], &reads(2, 2)].concat());
    bad::<Register>(&[&writes[..], &reads(2, 1)].concat());
}

#[test]
fn what_nobody_wrote_is_found() {
    bad::<Register>(&in_turn(&[Call::Set(1), Call::Get(Some(2))]));
    bad::<Register>(&[op(Call::Get(Some(2)), 1, 2), op(Call::Set(2), 3, 0)]);
    bad::<List>(&in_turn(&[Listed::Push(1, 1), Listed::Range(vec![1, 2])]));
}

#[test]
fn a_call_without_an_answer_may_have_happened_later_or_never() {
    let (early, lost) = (op(Call::Set(1), 1, 2), op(Call::Set(2), 3, 0));
    let read = |found, at| op(Call::Get(Some(found)), at, at + 1);
    good::<Register>(&[early, lost, read(1, 5)]);
    good::<Register>(&[early, lost, read(1, 5), read(2, 7)]);
    bad::<Register>(&[early, lost, read(2, 5), read(1, 7)]);
    let taken = op(Call::Take(None), 3, 0);
    good::<Register>(&[early, taken, read(1, 5), op(Call::Get(None), 7, 8)]);
    bad::<Register>(&[early, taken, op(Call::Get(None), 5, 6), read(1, 7)]);
}

/// A history as a correct store gives it: each call takes effect at a random moment between its ends, and some answers are
/// lost.
fn drawn<M: Model>(
    rng: &mut SeededRng,
    mut asked: impl FnMut(u64, &M::State, &mut SeededRng) -> M::Call,
) -> Vec<Op<M::Call>> {
    let mut state = M::first();
    let mut history = Vec::new();
    for n in 1..=120 {
        let effect = 100 * n;
        let call = asked(n, &state, rng);
        state = M::after(&state, &call, true).expect("it is answered as it is");
        let answered = (!rng.chance(1, 12)).then(|| effect + 1 + rng.below(500));
        let sent = effect - rng.below(400).min(effect);
        history.push(Op { call, sent, answered });
    }
    history
}

fn some_count(state: &i64, rng: &mut SeededRng) -> Count {
    match rng.chance(1, 2) {
        true => Count::Incr(state + 1),
        false => Count::Get(*state),
    }
}

#[test]
fn what_a_correct_store_answers_passes_and_what_is_changed_in_it_is_found() {
    for seed in 0..60 {
        let mut rng = SeededRng::new(seed);
        let registers = drawn::<Register>(&mut rng, |n, state, rng| match rng.below(6) {
            0 | 1 => Call::Set(n as u32),
            2 => Call::Swap(*state, n as u32),
            3 => Call::Take(*state),
            _ => Call::Get(*state),
        });
        good::<Register>(&registers);
        good::<List>(&drawn::<List>(&mut rng, |n, state, rng| match rng.below(5) {
            0 | 1 => Listed::Push(n as u32, state.len() + 1),
            2 => Listed::Pop(state.first().copied()),
            _ => Listed::Range(state.clone()),
        }));
        let mut counts = drawn::<Counter>(&mut rng, |_, state, rng| some_count(state, rng));
        good::<Counter>(&counts);
        // What was answered once is answered again at the end: a count that goes back.
        let incremented = |op: &Op<Count>| matches!(op.call, Count::Incr(_)) && op.answered.is_some();
        let last = counts
            .iter()
            .rev()
            .find(|op| incremented(op))
            .expect("half of them are increments")
            .call;
        counts.push(op(last, 100_000, 100_001));
        bad::<Counter>(&counts);
    }
}

/// All clients were cut off at once: 12 pushes and 6 pops have no answer. Then a list is shown.
fn cut_off(shown: Vec<u32>) -> Vec<Op<Listed>> {
    let mut calls: Vec<Op<Listed>> = (0..20)
        .map(|n| {
            op(
                Listed::Push(n, n as usize + 1),
                10 * u64::from(n) + 1,
                10 * u64::from(n) + 5,
            )
        })
        .collect();
    calls.extend((20..32).map(|n| op(Listed::Push(n, 0), 1000 + u64::from(n), 0)));
    calls.extend((0..6).map(|n| op(Listed::Pop(None), 1100 + n, 0)));
    calls.push(op(Listed::Range(shown), 2000, 2001));
    calls
}

#[test]
fn many_calls_without_an_answer_hide_nothing() {
    let carried_out = [31, 22, 29, 20, 25, 28, 21];
    let list = |from: u32, skipped: u32| (from..20).filter(|n| *n != skipped).chain(carried_out).collect();
    good::<List>(&cut_off(list(4, 99)));
    // One is lost that was acknowledged; more are gone than were popped.
    bad::<List>(&cut_off(list(4, 12)));
    bad::<List>(&cut_off(list(7, 99)));
}

#[test]
fn pops_behind_many_calls_without_an_answer_are_explained() {
    // Ten are there; nine pops and ten pushes have no answer. Eight of the pops and all of the pushes took effect, as pops and a
    // list show that come later.
    let history = |popped: [u32; 6], shown: [u32; 6]| {
        let mut calls = in_turn(&(0..10).map(|n| Listed::Push(n, n as usize + 1)).collect::<Vec<_>>());
        calls.extend((0..9).map(|n| op(Listed::Pop(None), 1000 + 20 * n, 0)));
        calls.extend((10..20).map(|n| op(Listed::Push(n, 0), 1000 + 17 * u64::from(n), 0)));
        let pops = popped.into_iter().zip(0..);
        calls.extend(pops.map(|(n, at)| op(Listed::Pop(Some(n)), 3000 + 20 * at, 3030 + 20 * at)));
        calls.push(op(Listed::Push(20, 7), 3200, 3210));
        calls.push(op(Listed::Range(shown.into_iter().chain([20]).collect()), 3220, 3230));
        calls
    };
    let shown = [19, 14, 16, 15, 18, 17];
    good::<List>(&history([8, 9, 11, 10, 13, 12], shown));
    // One comes back that was popped; one is popped twice; one is popped behind those that came after it.
    bad::<List>(&history([8, 9, 11, 10, 13, 12], [19, 14, 16, 15, 18, 12]));
    bad::<List>(&history([8, 9, 11, 10, 13, 13], shown));
    bad::<List>(&history([9, 11, 8, 10, 13, 12], shown));
}
