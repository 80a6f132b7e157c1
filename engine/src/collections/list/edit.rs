//! Changes in the middle of a list. Each costs a walk to its place and moves bytes of one chunk; what leaves chunks rather
//! empty joins them with their neighbours.

use super::chunk::{CHUNK_BYTES, Chunk};
use super::{End, List};
use std::collections::VecDeque;

impl List {
    /// Puts `element` in the place of number `index`; says whether there is such a place.
    pub fn set(&mut self, index: usize, element: &[u8]) -> bool {
        if index >= self.len {
            return false;
        }
        let (chunk, from) = self.locate(index);
        let to = self.chunks[chunk].after(from).1;
        self.splice(chunk, from, to, element);
        true
    }

    /// Puts `element` before number `index`, or behind the last when `index` is the length.
    pub fn insert(&mut self, index: usize, element: &[u8]) {
        if index == 0 || index >= self.len {
            return self.push(element, if index == 0 { End::Front } else { End::Back });
        }
        let (chunk, at) = self.locate(index);
        self.splice(chunk, at, at, element);
        self.len += 1;
    }

    fn splice(&mut self, chunk: usize, from: usize, to: usize, element: &[u8]) {
        self.changing(chunk);
        self.chunk_bytes -= self.chunks[chunk].buf.len();
        self.chunks[chunk].splice(from, to, element);
        self.chunk_bytes += self.chunks[chunk].buf.len();
        // An element larger than a chunk needs two cuts to lie alone.
        let (mut at, mut end) = (chunk, chunk + 1);
        while at < end {
            let part = &mut self.chunks[at];
            if part.used() <= CHUNK_BYTES || part.count == 1 {
                at += 1;
                continue;
            }
            // Chunks behind it get other numbers.
            self.keep_rest();
            let part = &mut self.chunks[at];
            let before = part.buf.len();
            let second = part.split();
            self.chunk_bytes = self.chunk_bytes - before + part.buf.len() + second.buf.len();
            self.chunks.insert(at + 1, second);
            end += 1;
        }
    }

    /// Removes up to `limit` elements equal to `element`, beginning at `end`. Returns how many.
    pub fn remove_equal(&mut self, element: &[u8], limit: usize, end: End) -> usize {
        let (mut removed, mut sparse) = (0, false);
        for n in 0..self.chunks.len() {
            let n = match end {
                End::Front => n,
                End::Back => self.chunks.len() - 1 - n,
            };
            if self.kept.is_active() && self.chunks[n].count_equal(element) > 0 {
                self.changing(n);
            }
            let chunk = &mut self.chunks[n];
            let take = limit - removed;
            let skip = match end {
                End::Front => 0,
                End::Back => chunk.count_equal(element).saturating_sub(take),
            };
            let gone = chunk.retain_others(element, skip, take);
            removed += gone;
            sparse |= gone > 0 && chunk.used() * 4 < chunk.buf.len();
            if removed == limit {
                break;
            }
        }
        self.len -= removed;
        if sparse {
            self.join_chunks();
        }
        removed
    }

    /// Drops empty chunks and joins neighbours that together fill at most half of one.
    fn join_chunks(&mut self) {
        self.keep_rest();
        let mut joined: VecDeque<Chunk> = VecDeque::new();
        for chunk in std::mem::take(&mut self.chunks) {
            match joined.back_mut() {
                _ if chunk.count == 0 => {}
                Some(last) if last.used() + chunk.used() <= CHUNK_BYTES / 2 => {
                    *last = Chunk::of(&[last.bytes(), chunk.bytes()].concat(), last.count + chunk.count);
                }
                _ if chunk.used() * 4 < chunk.buf.len() => joined.push_back(Chunk::of(chunk.bytes(), chunk.count)),
                _ => joined.push_back(chunk),
            }
        }
        self.chunk_bytes = joined.iter().map(|chunk| chunk.buf.len()).sum();
        self.chunks = joined;
    }

    /// Keeps `count` elements from number `start` on, which must exist. Returns the chunks that fell off, so that many of
    /// them can be freed in slices.
    pub fn trim(&mut self, start: usize, count: usize) -> List {
        let mut cut = List::default();
        self.cut_off(End::Back, self.len - start - count, &mut cut);
        self.cut_off(End::Front, start, &mut cut);
        cut
    }

    fn cut_off(&mut self, end: End, mut count: usize, cut: &mut List) {
        while count > 0 {
            let whole = match end {
                End::Front => self.chunks.front(),
                End::Back => self.chunks.back(),
            };
            if whole.is_none_or(|chunk| chunk.count as usize > count) {
                break;
            }
            self.changing_end(end);
            let chunk = self.pop_chunk(end).expect("looked at above");
            count -= chunk.count as usize;
            self.len -= chunk.count as usize;
            self.chunk_bytes -= chunk.buf.len();
            cut.len += chunk.count as usize;
            cut.chunk_bytes += chunk.buf.len();
            cut.chunks.push_back(chunk);
        }
        (0..count).for_each(|_| {
            self.drop_end(end);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collections::{Elements, testing::Random};

    #[test]
    fn behaves_like_a_vector_whatever_is_changed_where() {
        for seed in 0..60 {
            let mut r = Random(seed);
            let (mut list, mut model) = (List::default(), Vec::<Vec<u8>>::new());
            let sizes = [4, 40, 300, 9000][seed as usize % 4];
            for step in 0..700 {
                let element = vec![b'a' + r.below(3) as u8; r.below(sizes) as usize];
                let at = r.below(model.len() as u64 + 1) as usize;
                match r.below(12) {
                    0..=5 => {
                        list.insert(at, &element);
                        model.insert(at, element);
                    }
                    6..=8 => {
                        assert_eq!(list.set(at, &element), at < model.len());
                        if let Some(old) = model.get_mut(at) {
                            *old = element;
                        }
                    }
                    9 | 10 => {
                        let element = model.get(at).cloned().unwrap_or_default();
                        let (limit, end) = (r.below(5) as usize, [End::Front, End::Back][r.below(2) as usize]);
                        let mut left = limit;
                        let mut keep = |e: &Vec<u8>| {
                            let gone = left > 0 && *e == element;
                            left -= usize::from(gone);
                            !gone
                        };
                        let before = model.len();
                        match end {
                            End::Front => model.retain(|e| keep(e)),
                            End::Back => {
                                model.reverse();
                                model.retain(|e| keep(e));
                                model.reverse();
                            }
                        }
                        if limit > 0 {
                            assert_eq!(list.remove_equal(&element, limit, end), before - model.len());
                        }
                    }
                    _ if step % 5 == 0 && !model.is_empty() => {
                        let start = r.below(model.len() as u64 / 3 + 1) as usize;
                        let count = (model.len() - start) * 3 / 4;
                        let cut = list.trim(start, count);
                        assert!(cut.len() <= model.len() - count);
                        assert_eq!(cut.chunk_bytes, cut.chunks.iter().map(|c| c.buf.len()).sum::<usize>());
                        model = model[start..start + count].to_vec();
                    }
                    _ => {}
                }
                assert!(list.range(0, usize::MAX).eq(model.iter()), "seed {seed} step {step}");
                assert!(list.backwards().eq(model.iter().rev()), "seed {seed} step {step}");
                assert_eq!(
                    (list.len(), list.get(at)),
                    (model.len(), model.get(at).map(Vec::as_slice))
                );
                assert_eq!(list.chunk_bytes, list.chunks.iter().map(|c| c.buf.len()).sum::<usize>());
                assert!(
                    list.chunks
                        .iter()
                        .all(|c| c.count > 0 && (c.used() <= CHUNK_BYTES || c.count == 1))
                );
            }
        }
    }

    #[test]
    fn what_is_removed_gives_its_memory_back() {
        let mut list = List::default();
        for n in 0..100_000u32 {
            let element = if n % 500 == 0 { b"kept" } else { b"gone" };
            list.push(element, End::Back);
        }
        assert_eq!(list.remove_equal(b"gone", usize::MAX, End::Back), 99_800);
        assert!(list.len() == 200 && list.chunk_bytes < 8_192, "{}", list.chunk_bytes);
    }
}
