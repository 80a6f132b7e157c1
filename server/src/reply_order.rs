//! [`ReplyOrder`]: replies of one connection that come from several cores, brought into the order of its commands.
//!
//! Each source (this core, another core, a gathering of parts) answers in the order in which it was asked; only between
//! sources is there no order. So it is enough to remember, run by run, whose turn it is, and to keep what comes before
//! its turn. A connection has one of these only while it waits for somebody other than its own core.

use std::collections::VecDeque;

/// Who answers a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The core of the connection.
    Here,
    /// Another core.
    Core(u16),
    /// Several cores: the gathering with this number.
    Gathering(u32),
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct ReplyOrder {
    /// Whose turn it is, and for how many replies.
    runs: VecDeque<(Source, u32)>,
    /// What came too early; one for each source that did.
    early: Vec<Early>,
}

#[derive(Debug)]
struct Early {
    source: Source,
    bytes: Vec<u8>,
    /// Lengths of the replies in it.
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

    /// A reply has come: it and all whose turn it is now are appended to `out`.
    #[inline]
    pub fn arrive(&mut self, source: Source, reply: &[u8], out: &mut Vec<u8>) {
        match self.runs.front_mut() {
            Some((first, n)) if *first == source => {
                out.extend_from_slice(reply);
                *n -= 1;
                if *n == 0 {
                    self.runs.pop_front();
                    if !self.early.is_empty() {
                        self.catch_up(out);
                    }
                }
            }
            _ => self.keep(source, reply),
        }
    }

    /// True when nothing is waited for.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    fn keep(&mut self, source: Source, reply: &[u8]) {
        let at = match self.early.iter().position(|early| early.source == source) {
            Some(at) => at,
            None => {
                self.early.push(Early {
                    source,
                    bytes: Vec::new(),
                    lengths: VecDeque::new(),
                });
                self.early.len() - 1
            }
        };
        let early = &mut self.early[at];
        early.bytes.extend_from_slice(reply);
        early
            .lengths
            .push_back(u32::try_from(reply.len()).expect("a reply is below 4 GiB"));
    }

    /// Appends early replies whose turn it has become.
    fn catch_up(&mut self, out: &mut Vec<u8>) {
        while let Some((first, n)) = self.runs.front_mut() {
            let Some(at) = self.early.iter().position(|early| early.source == *first) else {
                return;
            };
            let early = &mut self.early[at];
            let ready = early.lengths.len().min(*n as usize);
            let bytes: usize = early.lengths.drain(..ready).map(|len| len as usize).sum();
            out.extend(early.bytes.drain(..bytes));
            *n -= ready as u32;
            if early.lengths.is_empty() {
                self.early.swap_remove(at);
            }
            if *n > 0 {
                return;
            }
            self.runs.pop_front();
        }
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
            assert!(order.is_empty() && order.early.is_empty(), "seed {seed}");
        }
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
