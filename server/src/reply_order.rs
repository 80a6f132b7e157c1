//! [`ReplyOrder`]: replies of one connection that come from several cores, brought into the order of its commands.
//!
//! Each source (this core, another core, a gathering of parts) answers in the order in which it was asked; only between
//! sources is there no order. So it is enough to remember, run by run, whose turn it is, and to keep what comes before
//! its turn. A connection has one of these only while it waits for somebody other than its own core.

use std::collections::VecDeque;

/// Buffers above this many bytes are given back to the allocator after use.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// Who answers a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The core of the connection.
    Here,
    /// Another core.
    Core(u16),
    /// Several cores: the gathering with this number.
    Gathering(u32),
    /// The core of the connection, for a piece of a transaction's reply: behind what [`Source::Here`] still owes.
    Piece,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct ReplyOrder {
    /// Whose turn it is, and for how many replies.
    runs: VecDeque<(Source, u32)>,
    /// What came too early: one for each source that did. Emptied ones stay, for whoever is early next.
    early: Vec<Early>,
    /// Replies in them.
    kept: u32,
}

#[derive(Debug)]
struct Early {
    source: Source,
    /// Replies back to back; those before `at` are gone.
    bytes: Vec<u8>,
    at: usize,
    /// Their lengths.
    lengths: VecDeque<u32>,
}

impl ReplyOrder {
    /// One more command, which `source` answers.
    #[inline]
    pub fn expect(&mut self, source: Source) {
        self.expect_many(source, 1);
    }

    /// `count` more commands, which `source` answers.
    pub fn expect_many(&mut self, source: Source, count: u32) {
        match self.runs.back_mut() {
            Some((last, n)) if *last == source => *n += count,
            _ if count > 0 => self.runs.push_back((source, count)),
            _ => {}
        }
    }

    /// The reply of [`Source::Here`] that would come next comes from `source` instead.
    pub fn divert(&mut self, source: Source) {
        let early = self.early.iter().find(|early| early.source == Source::Here);
        let mut skip = early.map_or(0, |early| early.lengths.len() as u32);
        for at in 0..self.runs.len() {
            let (who, n) = self.runs[at];
            if who != Source::Here {
                continue;
            }
            if skip >= n {
                skip -= n;
                continue;
            }
            let parts = [(who, skip), (source, 1), (who, n - skip - 1)];
            self.runs.remove(at);
            for part in parts.into_iter().rev().filter(|(_, n)| *n > 0) {
                self.runs.insert(at, part);
            }
            return;
        }
    }

    /// A reply has come: it and all whose turn it is now are appended to `out`.
    #[inline]
    pub fn arrive(&mut self, source: Source, reply: &[u8], out: &mut Vec<u8>) {
        if self.is_turn_of(source) {
            out.extend_from_slice(reply);
            self.went(out);
        } else {
            self.keep(source, reply);
        }
    }

    /// True when the next reply of `source` is the connection's next one: it may be written straight to the output, to be
    /// followed by [`ReplyOrder::went`].
    #[inline]
    pub fn is_turn_of(&self, source: Source) -> bool {
        self.runs.front().is_some_and(|(first, _)| *first == source)
    }

    /// The reply whose turn it was is in `out`; all whose turn it is now are appended.
    #[inline]
    pub fn went(&mut self, out: &mut Vec<u8>) {
        let Some((_, n)) = self.runs.front_mut() else { return };
        *n -= 1;
        if *n == 0 {
            self.runs.pop_front();
            if self.kept > 0 {
                self.catch_up(out);
            }
        }
    }

    /// True when nothing is waited for.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    fn keep(&mut self, source: Source, reply: &[u8]) {
        let free = |early: &Early| early.lengths.is_empty();
        let theirs = self.early.iter().position(|early| early.source == source);
        let at = match theirs.or_else(|| self.early.iter().position(free)) {
            Some(at) => at,
            None => {
                self.early.push(Early {
                    source,
                    bytes: Vec::new(),
                    at: 0,
                    lengths: VecDeque::new(),
                });
                self.early.len() - 1
            }
        };
        let early = &mut self.early[at];
        early.source = source;
        early.bytes.extend_from_slice(reply);
        early
            .lengths
            .push_back(u32::try_from(reply.len()).expect("a reply is below 4 GiB"));
        self.kept += 1;
    }

    /// Appends early replies whose turn it has become.
    fn catch_up(&mut self, out: &mut Vec<u8>) {
        while let Some((first, n)) = self.runs.front_mut() {
            let Some(early) = self.early.iter_mut().find(|early| early.source == *first) else {
                return;
            };
            let ready = early.lengths.len().min(*n as usize);
            let bytes: usize = early.lengths.drain(..ready).map(|len| len as usize).sum();
            out.extend_from_slice(&early.bytes[early.at..early.at + bytes]);
            early.at += bytes;
            *n -= ready as u32;
            self.kept -= ready as u32;
            if early.lengths.is_empty() {
                early.at = 0;
                early.bytes.clear();
            }
            if *n > 0 {
                return;
            }
            self.runs.pop_front();
        }
    }

    /// Gives back the memory of large replies that were kept; called when nothing is waited for, before it is used again.
    pub fn trim(&mut self) {
        debug_assert_eq!((self.kept, self.runs.len()), (0, 0), "somebody is still waited for");
        self.early.retain(|early| early.bytes.capacity() <= KEPT_BYTES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use slotcore_rt::rng::SeededRng;

    use super::*;

    #[test]
    fn replies_come_out_in_the_order_of_the_commands_whatever_order_they_came_in() {
        let sources = [Source::Here, Source::Core(1), Source::Core(2), Source::Gathering(9)];
        for seed in 0..500 {
            let mut rng = SeededRng::new(seed);
            let mut order = ReplyOrder::default();
            let mut pending: [VecDeque<u32>; 4] = Default::default();
            let (mut asked, mut out, mut expected) = (0u32, Vec::new(), Vec::new());
            while asked < 60 || pending.iter().any(|queue| !queue.is_empty()) {
                let which = (rng.next_u64() % 4) as usize;
                if asked < 60 && rng.chance(1, 2) {
                    order.expect(sources[which]);
                    pending[which].push_back(asked);
                    expected.extend(format!("{asked};").bytes());
                    asked += 1;
                } else if let Some(number) = pending[which].pop_front() {
                    order.arrive(sources[which], format!("{number};").as_bytes(), &mut out);
                    assert!(expected.starts_with(&out), "seed {seed}");
                }
            }
            assert_eq!(out, expected, "seed {seed}");
            assert!(order.is_empty() && order.kept == 0, "seed {seed}");
        }
    }

    #[test]
    fn a_command_of_this_core_may_be_answered_by_others_after_all() {
        let (mut order, mut out) = (ReplyOrder::default(), Vec::new());
        order.expect(Source::Core(1));
        order.expect_many(Source::Here, 3);
        order.expect(Source::Core(2));
        order.expect_many(Source::Here, 2);
        order.arrive(Source::Here, b"a", &mut out);
        order.divert(Source::Gathering(7));
        order.arrive(Source::Here, b"c", &mut out);
        order.divert(Source::Gathering(8));
        order.arrive(Source::Here, b"f", &mut out);
        order.arrive(Source::Core(2), b"d", &mut out);
        order.arrive(Source::Gathering(8), b"e", &mut out);
        order.arrive(Source::Gathering(7), b"b", &mut out);
        assert_eq!(out, b"");
        order.arrive(Source::Core(1), b"0", &mut out);
        assert_eq!(out, b"0abcdef");
        assert!(order.is_empty());
    }

    #[test]
    fn a_reply_is_not_kept_longer_than_needed() {
        let (mut order, mut out) = (ReplyOrder::default(), Vec::new());
        order.expect_many(Source::Here, 2);
        order.expect(Source::Core(1));
        order.expect_many(Source::Here, 0);
        order.arrive(Source::Core(1), b"c", &mut out);
        order.arrive(Source::Here, b"a", &mut out);
        assert_eq!(out, b"a");
        order.arrive(Source::Here, b"b", &mut out);
        assert_eq!(out, b"abc");
        assert!(order.is_empty());
    }
}
