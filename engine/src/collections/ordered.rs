//! [`Ordered`]: the order of a large sorted set: a B+ tree of (score, pair number) with a count in every branch.
//!
//! It holds no member's bytes: what comes before what is decided by the caller, who can look them up. Every call takes
//! `cmp`, which says how an entry compares with the one that is meant. Rank to entry and entry to rank are logarithmic.
//!
//! Invariants: all leaves are equally deep; a node other than the root holds at least one entry; a branch's `first` is its
//! smallest entry and its `len` the number of entries below.

use std::cmp::Ordering;

/// Entries of a leaf: 1 KiB with the one that makes it split, what a binary search and a shift by half cost least on.
const LEAF_MAX: usize = 84;
/// Branches of an inner node.
const INNER_MAX: usize = 32;

/// One member in the order: its score, and the number of its pair in the table. Four bytes aligned, so that it takes twelve.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, packed(4))]
pub(super) struct Entry {
    pub(super) score: f64,
    pub(super) pair: u32,
}

#[derive(Clone, Debug)]
enum Node {
    Leaf(Vec<Entry>),
    Inner(Vec<Branch>),
}

#[derive(Clone, Debug)]
struct Branch {
    len: usize,
    first: Entry,
    node: Node,
}

/// See the module's text.
#[derive(Clone, Debug)]
pub(super) struct Ordered {
    root: Node,
    len: usize,
}

impl Default for Ordered {
    fn default() -> Self {
        Ordered {
            root: Node::Leaf(Vec::new()),
            len: 0,
        }
    }
}

impl Node {
    fn branch(self) -> Branch {
        let (len, first) = match &self {
            Node::Leaf(entries) => (entries.len(), entries[0]),
            Node::Inner(branches) => (branches.iter().map(|b| b.len).sum(), branches[0].first),
        };
        Branch { len, first, node: self }
    }

    /// The branch in which an entry that `cmp` means is, or belongs.
    fn pick(branches: &[Branch], cmp: &impl Fn(Entry) -> Ordering) -> usize {
        branches
            .partition_point(|b| cmp(b.first) != Ordering::Greater)
            .saturating_sub(1)
    }

    /// Inserts; the right half when the node had to be split.
    fn insert(&mut self, entry: Entry, cmp: &impl Fn(Entry) -> Ordering) -> Option<Branch> {
        match self {
            Node::Leaf(entries) => {
                let at = entries.partition_point(|e| cmp(*e) == Ordering::Less);
                if entries.capacity() == 0 {
                    entries.reserve_exact(LEAF_MAX + 1);
                }
                entries.insert(at, entry);
                (entries.len() > LEAF_MAX).then(|| {
                    // Mostly ascending scores are common: splitting off little leaves full leaves behind.
                    let keep = if at == LEAF_MAX { LEAF_MAX - 8 } else { LEAF_MAX / 2 };
                    let mut right = Vec::with_capacity(LEAF_MAX + 1);
                    right.extend(entries.drain(keep..));
                    Node::Leaf(right).branch()
                })
            }
            Node::Inner(branches) => {
                let at = Self::pick(branches, cmp);
                let branch = &mut branches[at];
                if cmp(branch.first) == Ordering::Greater {
                    branch.first = entry;
                }
                branch.len += 1;
                let right = branch.node.insert(entry, cmp)?;
                branch.len -= right.len;
                branches.insert(at + 1, right);
                (branches.len() > INNER_MAX).then(|| Node::Inner(branches.split_off(INNER_MAX / 2)).branch())
            }
        }
    }

    /// Removes the entry that `cmp` calls equal; says whether there was one.
    fn remove(&mut self, cmp: &impl Fn(Entry) -> Ordering) -> bool {
        match self {
            Node::Leaf(entries) => match entries.binary_search_by(|e| cmp(*e)) {
                Ok(at) => {
                    entries.remove(at);
                    true
                }
                Err(_) => false,
            },
            Node::Inner(branches) => {
                let at = Self::pick(branches, cmp);
                let branch = &mut branches[at];
                if !branch.node.remove(cmp) {
                    return false;
                }
                branch.len -= 1;
                if branch.len == 0 {
                    branches.remove(at);
                    return true;
                }
                branch.first = match &branch.node {
                    Node::Leaf(entries) => entries[0],
                    Node::Inner(inner) => inner[0].first,
                };
                Self::merge_small(branches, at);
                true
            }
        }
    }

    fn width(&self) -> usize {
        match self {
            Node::Leaf(entries) => entries.len(),
            Node::Inner(branches) => branches.len(),
        }
    }

    /// Joins branch `at` with a neighbour when it became small and both fit into half a node and more.
    fn merge_small(branches: &mut Vec<Branch>, at: usize) {
        let max = match branches[at].node {
            Node::Leaf(_) => LEAF_MAX,
            Node::Inner(_) => INNER_MAX,
        };
        if branches[at].node.width() > max / 4 || branches.len() < 2 {
            return;
        }
        let left = if at + 1 < branches.len() { at } else { at - 1 };
        if branches[left].node.width() + branches[left + 1].node.width() > max * 3 / 4 {
            return;
        }
        let right = branches.remove(left + 1);
        branches[left].len += right.len;
        match (&mut branches[left].node, right.node) {
            (Node::Leaf(a), Node::Leaf(b)) => a.extend(b),
            (Node::Inner(a), Node::Inner(b)) => a.extend(b),
            _ => unreachable!("all leaves are equally deep"),
        }
    }

    fn renumber(&mut self, to: u32, cmp: &impl Fn(Entry) -> Ordering) {
        match self {
            Node::Leaf(entries) => {
                let at = entries
                    .binary_search_by(|e| cmp(*e))
                    .expect("the caller renumbers an entry of the tree");
                entries[at].pair = to;
            }
            Node::Inner(branches) => {
                let at = Self::pick(branches, cmp);
                let branch = &mut branches[at];
                if cmp(branch.first) == Ordering::Equal {
                    branch.first.pair = to;
                }
                branch.node.renumber(to, cmp);
            }
        }
    }

    /// Passes over `skip` entries and hands the following ones to `f` until `left` is 0; from the back if `reverse`.
    fn walk(&self, skip: &mut usize, left: &mut usize, reverse: bool, f: &mut impl FnMut(Entry)) {
        match self {
            Node::Leaf(entries) => {
                let count = (entries.len() - *skip).min(*left);
                let range = *skip..*skip + count;
                if reverse {
                    entries.iter().rev().skip(range.start).take(count).for_each(|e| f(*e));
                } else {
                    entries[range].iter().for_each(|e| f(*e));
                }
                (*skip, *left) = (0, *left - count);
            }
            Node::Inner(branches) => {
                let mut visit = |b: &Branch| {
                    if *left == 0 {
                    } else if *skip >= b.len {
                        *skip -= b.len;
                    } else {
                        b.node.walk(skip, left, reverse, f);
                    }
                };
                if reverse {
                    branches.iter().rev().for_each(&mut visit);
                } else {
                    branches.iter().for_each(&mut visit);
                }
            }
        }
    }

    /// How many entries come before the first one that `before` does not hold for.
    fn partition_point(&self, before: &impl Fn(Entry) -> bool) -> usize {
        match self {
            Node::Leaf(entries) => entries.partition_point(|e| before(*e)),
            Node::Inner(branches) => match branches.partition_point(|b| before(b.first)).checked_sub(1) {
                None => 0,
                Some(at) => {
                    let passed: usize = branches[..at].iter().map(|b| b.len).sum();
                    passed + branches[at].node.partition_point(before)
                }
            },
        }
    }

    /// Drops the last leaf below; says how many entries it had.
    fn drop_last_leaf(&mut self) -> usize {
        match self {
            Node::Leaf(entries) => std::mem::take(entries).len(),
            Node::Inner(branches) => {
                let Some(last) = branches.last_mut() else { return 0 };
                let dropped = last.node.drop_last_leaf();
                last.len -= dropped;
                if last.len == 0 {
                    branches.pop();
                }
                dropped
            }
        }
    }
}

impl Ordered {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes allocated, taking leaves for two thirds full: exact counting would need a walk.
    pub(super) fn memory(&self) -> usize {
        (self.len * 3 / 2).max(LEAF_MAX) * size_of::<Entry>()
    }

    /// Adds an entry; `cmp` tells how others compare with it.
    pub(super) fn insert(&mut self, entry: Entry, cmp: impl Fn(Entry) -> Ordering) {
        self.len += 1;
        if let Some(right) = self.root.insert(entry, &cmp) {
            let left = std::mem::replace(&mut self.root, Node::Inner(Vec::new())).branch();
            self.root = Node::Inner(vec![left, right]);
        }
    }

    /// Removes the entry that `cmp` calls equal; says whether there was one.
    pub(super) fn remove(&mut self, cmp: impl Fn(Entry) -> Ordering) -> bool {
        let removed = self.root.remove(&cmp);
        self.len -= usize::from(removed);
        while let Node::Inner(branches) = &mut self.root {
            match branches.len() {
                0 => self.root = Node::Leaf(Vec::new()),
                1 => self.root = branches.pop().expect("there is one").node,
                _ => break,
            }
        }
        removed
    }

    /// The entry that `cmp` calls equal now names pair `to`. The caller's lookups must still give the old order.
    pub(super) fn renumber(&mut self, to: u32, cmp: impl Fn(Entry) -> Ordering) {
        self.root.renumber(to, &cmp);
    }

    /// Hands entries to `f`, in order: up to `count`, from rank `skip` on; counted from the end if `reverse`.
    pub(super) fn walk(&self, mut skip: usize, mut count: usize, reverse: bool, mut f: impl FnMut(Entry)) {
        if skip < self.len {
            self.root.walk(&mut skip, &mut count, reverse, &mut f);
        }
    }

    /// How many entries come before the first one that `before` does not hold for. It must hold for no entry behind one that
    /// it does not hold for.
    pub(super) fn partition_point(&self, before: impl Fn(Entry) -> bool) -> usize {
        self.root.partition_point(&before)
    }

    /// Drops about `budget` entries; afterwards only this may be called. Returns how many are left.
    pub(super) fn free_some(&mut self, budget: usize) -> usize {
        let mut freed = 0;
        while freed < budget.max(1) && self.len > 0 {
            let dropped = self.root.drop_last_leaf();
            (freed, self.len) = (freed + dropped, self.len - dropped);
        }
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collections::testing::Random;

    impl Node {
        /// Checks the invariants; gives depth and entries.
        fn check(&self) -> (usize, usize) {
            match self {
                Node::Leaf(entries) => (0, entries.len()),
                Node::Inner(branches) => {
                    let below: Vec<_> = branches.iter().map(|b| (b, b.node.check())).collect();
                    for (b, (depth, len)) in &below {
                        let mut first = None;
                        b.node.walk(&mut 0, &mut 1, false, &mut |e| first = Some(e));
                        assert_eq!((*depth, *len, first), (below[0].1.0, b.len, Some(b.first)));
                        assert!(*len > 0);
                    }
                    (below[0].1.0 + 1, below.iter().map(|(_, (_, len))| len).sum())
                }
            }
        }
    }

    #[test]
    fn behaves_like_a_sorted_vector() {
        for seed in 0..8 {
            let mut r = Random(seed);
            let (mut tree, mut model) = (Ordered::default(), Vec::<Entry>::new());
            let cmp = |e: Entry, other: Entry| {
                let (score, pair) = (e.score, e.pair);
                score.total_cmp(&{ other.score }).then(pair.cmp(&other.pair))
            };
            let scores = [5, 100_000][seed as usize % 2];
            for step in 0..20_000u32 {
                let growing = step < 8000 || (12_000..14_000).contains(&step);
                if r.below(4) < if growing { 3 } else { 1 } {
                    let score = if seed % 4 == 3 {
                        f64::from(step)
                    } else {
                        r.below(scores) as f64
                    };
                    let entry = Entry { score, pair: step };
                    tree.insert(entry, |e| cmp(e, entry));
                    let at = model.partition_point(|e| cmp(*e, entry) == Ordering::Less);
                    model.insert(at, entry);
                } else if !model.is_empty() {
                    let entry = model.remove(r.below(model.len() as u64) as usize);
                    assert!(tree.remove(|e| cmp(e, entry)));
                    assert!(!tree.remove(|e| cmp(e, entry)));
                }
                if step % 500 == 0 {
                    assert_eq!(tree.root.check().1, model.len());
                    let limit = Entry {
                        score: r.below(scores) as f64,
                        pair: r.below(u64::from(step) + 1) as u32,
                    };
                    assert_eq!(
                        tree.partition_point(|e| cmp(e, limit) == Ordering::Less),
                        model.partition_point(|e| cmp(*e, limit) == Ordering::Less)
                    );
                    for reverse in [false, true] {
                        let (skip, count) = (r.below(model.len() as u64 + 2) as usize, r.below(300) as usize);
                        let mut seen = Vec::new();
                        tree.walk(skip, count, reverse, |e| seen.push(e));
                        let expected: Vec<_> = if reverse {
                            model.iter().rev().skip(skip).take(count).copied().collect()
                        } else {
                            model.iter().skip(skip).take(count).copied().collect()
                        };
                        assert_eq!(seen, expected);
                    }
                }
            }
            while tree.free_some(100) > 0 {}
        }
    }
}
