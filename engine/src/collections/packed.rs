//! [`Packed`]: a few pairs of byte strings in one piece of memory, searched from the front.
//!
//! ```text
//! pair:   | length | key | length | value |        length: one byte below 255, else 255 and a u32
//! ```
//!
//! Small collections are this: one allocation, two bytes of overhead per element, and for some tens of elements a search
//! faster than a hash table. Order is whatever the owner keeps.

/// Lengths from here on take five bytes.
const LONG: u8 = 255;

/// Pairs of byte strings, one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Packed {
    buf: Vec<u8>,
    len: u32,
}

/// Where a pair lies, as offsets into the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    start: usize,
    key: (usize, usize),
    value: usize,
    end: usize,
}

impl Place {
    /// Where the pair starts, for [`Packed::insert`].
    pub(super) fn start(self) -> usize {
        self.start
    }
}

impl Packed {
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    /// Bytes of the pairs.
    pub(super) fn bytes(&self) -> usize {
        self.buf.len()
    }

    /// Bytes allocated.
    pub(super) fn capacity(&self) -> usize {
        self.buf.capacity()
    }

    pub(super) fn clear(&mut self) {
        *self = Packed::default();
    }

    #[inline]
    fn length_at(&self, at: usize) -> (usize, usize) {
        match self.buf[at] {
            LONG => {
                let len = self.buf[at + 1..at + 5].try_into().expect("four bytes were cut");
                (at + 5, u32::from_le_bytes(len) as usize)
            }
            len => (at + 1, usize::from(len)),
        }
    }

    /// The pair that starts at `start`, `None` at the end.
    #[inline]
    pub(super) fn at(&self, start: usize) -> Option<Place> {
        if start >= self.buf.len() {
            return None;
        }
        let (key, key_len) = self.length_at(start);
        let (value, value_len) = self.length_at(key + key_len);
        Some(Place {
            start,
            key: (key, key + key_len),
            value,
            end: value + value_len,
        })
    }

    #[inline]
    pub(super) fn key(&self, p: Place) -> &[u8] {
        &self.buf[p.key.0..p.key.1]
    }

    #[inline]
    pub(super) fn value(&self, p: Place) -> &[u8] {
        &self.buf[p.value..p.end]
    }

    #[inline]
    pub(super) fn places(&self) -> impl Iterator<Item = Place> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let place = self.at(at)?;
            at = place.end;
            Some(place)
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.places().map(|p| (self.key(p), self.value(p)))
    }

    #[inline]
    pub(super) fn find(&self, key: &[u8]) -> Option<Place> {
        self.places().find(|p| self.key(*p) == key)
    }

    pub(super) fn nth(&self, n: usize) -> Option<Place> {
        self.places().nth(n)
    }

    fn put_length(out: &mut Vec<u8>, len: usize) {
        if len < usize::from(LONG) {
            out.push(len as u8);
        } else {
            out.push(LONG);
            out.extend_from_slice(&(len as u32).to_le_bytes());
        }
    }

    /// Makes room for so many bytes more. Beyond them comes an eighth of what is there: most collections are small, many, and
    /// filled once, and to move one now and then costs less than twice its memory for good.
    fn make_room(&mut self, more: usize) {
        if self.buf.capacity() - self.buf.len() < more {
            self.buf.reserve_exact(more + self.buf.len() / 8);
        }
    }

    /// Makes room for `len` pairs of so many bytes together, which are about to be added to none.
    pub(super) fn expect(&mut self, len: usize, bytes: usize) {
        if self.buf.is_empty() {
            self.buf.reserve_exact(bytes + 2 * len);
        }
    }

    fn length_bytes(len: usize) -> usize {
        if len < usize::from(LONG) { 1 } else { 5 }
    }

    /// Adds a pair behind the last.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) {
        let lengths = Self::length_bytes(key.len()) + Self::length_bytes(value.len());
        self.make_room(key.len() + value.len() + lengths);
        for part in [key, value] {
            Self::put_length(&mut self.buf, part.len());
            self.buf.extend_from_slice(part);
        }
        self.len += 1;
    }

    /// Adds a pair so that it starts at `start`, which must be where a pair starts or the end.
    pub(super) fn insert(&mut self, start: usize, key: &[u8], value: &[u8]) {
        let old_end = self.buf.len();
        self.push(key, value);
        let added = self.buf.len() - old_end;
        self.buf[start..].rotate_right(added);
    }

    pub(super) fn remove(&mut self, p: Place) {
        self.buf.drain(p.start..p.end);
        self.len -= 1;
    }

    /// Gives a pair another value, at the same position.
    pub(super) fn set_value(&mut self, p: Place, value: &[u8]) {
        if value.len() == p.end - p.value {
            self.buf[p.value..p.end].copy_from_slice(value);
            return;
        }
        let (old, new) = (p.end - p.key.1, Self::length_bytes(value.len()) + value.len());
        self.make_room(new.saturating_sub(old));
        let mut with_length = Vec::with_capacity(new);
        Self::put_length(&mut with_length, value.len());
        with_length.extend_from_slice(value);
        self.buf.splice(p.key.1..p.end, with_length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_once_takes_what_it_needs_and_the_rest_little_more() {
        let (mut known, mut grown) = (Packed::default(), Packed::default());
        known.expect(10, 160);
        for n in 0..10 {
            for packed in [&mut known, &mut grown] {
                packed.push(format!("field{n}").as_bytes(), b"0123456789");
            }
        }
        assert_eq!((known.bytes(), known.capacity()), (180, 180));
        assert!(grown.capacity() <= 180 + 180 / 8, "{}", grown.capacity());
        let at = grown.nth(3).unwrap();
        grown.set_value(at, &[b'x'; 300]);
        assert_eq!(grown.bytes(), 180 + 290 + 4);
        assert!(grown.capacity() <= grown.bytes() + 180 / 8, "{}", grown.capacity());
    }

    #[test]
    fn pairs_of_any_length_are_found_changed_and_removed() {
        let long = vec![b'x'; 700];
        let mut p = Packed::default();
        p.push(b"a", b"1");
        p.push(&long, &long);
        p.push(b"", b"");
        p.insert(0, b"first", &long[..254]);
        p.insert(p.bytes(), b"last", &long[..255]);
        let text = |p: &Packed| {
            p.iter()
                .map(|(k, v)| format!("{}:{}", k.len(), v.len()))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(text(&p), "5:254 1:1 700:700 0:0 4:255");
        p.set_value(p.find(b"a").unwrap(), &long[..256]);
        p.set_value(p.find(&long).unwrap(), b"z");
        p.set_value(p.find(b"").unwrap(), b"!");
        assert_eq!(text(&p), "5:254 1:256 700:1 0:1 4:255");
        p.remove(p.find(&long).unwrap());
        p.remove(p.nth(0).unwrap());
        assert_eq!(
            (text(&p).as_str(), p.len(), p.find(b"first")),
            ("1:256 0:1 4:255", 3, None)
        );
    }
}
