//! [`Packed`]: a few pairs of byte strings in one piece of memory, searched from the front.
//!
//! ```text
//! packed: | used u32 | pairs u16 | marks u16 | pair | ... | spare |
//! pair:   | length | key | length | value |        length: one byte below 255, else 255 and a u32
//! ```
//!
//! Small collections are this: one word that leads to one allocation, two bytes of overhead per element, and for some tens of
//! elements a search faster than a hash table. Order is whatever the owner keeps.

use super::thin_bytes::ThinBytes;

/// Lengths from here on take five bytes.
const LONG: u8 = 255;
/// Bytes before the first pair.
const HEAD: usize = 8;

/// Pairs of byte strings, one after the other.
#[derive(Clone, Debug, Default)]
#[repr(transparent)]
pub(super) struct Packed(Option<ThinBytes>);

/// Where a pair lies, as offsets into the pairs.
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

/// The length at `at`, and where what it is of begins.
#[inline]
fn length_at(pairs: &[u8], at: usize) -> (usize, usize) {
    match pairs[at] {
        LONG => {
            let len = pairs[at + 1..at + 5].try_into().expect("four bytes were cut");
            (at + 5, u32::from_le_bytes(len) as usize)
        }
        len => (at + 1, usize::from(len)),
    }
}

/// The pair that starts at `start`, `None` at the end.
#[inline]
fn place_at(pairs: &[u8], start: usize) -> Option<Place> {
    if start >= pairs.len() {
        return None;
    }
    let (key, key_len) = length_at(pairs, start);
    let (value, value_len) = length_at(pairs, key + key_len);
    Some(Place {
        start,
        key: (key, key + key_len),
        value,
        end: value + value_len,
    })
}

fn length_bytes(len: usize) -> usize {
    if len < usize::from(LONG) { 1 } else { 5 }
}

/// Writes a length to the front of `out`; says how many bytes it took.
fn put_length(out: &mut [u8], len: usize) -> usize {
    if len < usize::from(LONG) {
        out[0] = len as u8;
    } else {
        out[0] = LONG;
        out[1..5].copy_from_slice(&(len as u32).to_le_bytes());
    }
    length_bytes(len)
}

impl Packed {
    /// `used` of the head.
    #[inline]
    fn used(block: &ThinBytes) -> usize {
        u32::from_le_bytes(block[..4].try_into().expect("four bytes were cut")) as usize
    }

    /// A half of the head's second word: the number of pairs, or the owner's marks.
    #[inline]
    fn half(&self, at: usize) -> u16 {
        let half = |b: &ThinBytes| u16::from_le_bytes([b[at], b[at + 1]]);
        self.0.as_ref().map_or(0, half)
    }

    fn set_half(&mut self, at: usize, to: u16) {
        if to != self.half(at) {
            self.block()[at..at + 2].copy_from_slice(&to.to_le_bytes());
        }
    }

    fn block(&mut self) -> &mut ThinBytes {
        self.block_of(HEAD)
    }

    /// The block, of so many bytes if it is made now.
    fn block_of(&mut self, len: usize) -> &mut ThinBytes {
        self.0.get_or_insert_with(|| ThinBytes::zeros(len))
    }

    fn set_used(&mut self, used: usize) {
        self.block()[..4].copy_from_slice(&(used as u32).to_le_bytes());
    }

    /// The pairs.
    #[inline]
    fn pairs(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |b| &b[HEAD..HEAD + Self::used(b)])
    }

    #[inline]
    fn pairs_mut(&mut self) -> &mut [u8] {
        self.0.as_mut().map_or(&mut [], |b| {
            let used = Self::used(b);
            &mut b[HEAD..HEAD + used]
        })
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.half(4))
    }

    /// What [`Packed::set_marked`] said last.
    #[inline]
    pub(super) fn is_marked(&self) -> bool {
        self.half(6) != 0
    }

    /// Remembers one bit for the owner.
    pub(super) fn set_marked(&mut self, marked: bool) {
        self.set_half(6, u16::from(marked));
    }

    /// Whether there never was a pair, nor a mark.
    pub(super) fn is_fresh(&self) -> bool {
        self.0.is_none()
    }

    /// Bytes of the pairs.
    pub(super) fn bytes(&self) -> usize {
        self.pairs().len()
    }

    /// Bytes allocated.
    pub(super) fn memory(&self) -> usize {
        self.0.as_ref().map_or(0, ThinBytes::memory)
    }

    pub(super) fn clear(&mut self) {
        *self = Packed::default();
    }

    /// The pair that starts at `start`, `None` at the end.
    #[inline]
    pub(super) fn at(&self, start: usize) -> Option<Place> {
        place_at(self.pairs(), start)
    }

    #[inline]
    pub(super) fn key(&self, p: Place) -> &[u8] {
        &self.pairs()[p.key.0..p.key.1]
    }

    #[inline]
    pub(super) fn value(&self, p: Place) -> &[u8] {
        &self.pairs()[p.value..p.end]
    }

    #[inline]
    pub(super) fn places(&self) -> impl Iterator<Item = Place> + '_ {
        let (pairs, mut at) = (self.pairs(), 0);
        std::iter::from_fn(move || {
            let place = place_at(pairs, at)?;
            at = place.end;
            Some(place)
        })
    }

    pub(super) fn iter<'a>(&'a self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let (pairs, mut at) = (self.pairs(), 0);
        std::iter::from_fn(move || {
            let place = place_at(pairs, at)?;
            at = place.end;
            Some((&pairs[place.key.0..place.key.1], &pairs[place.value..place.end]))
        })
    }

    #[inline]
    pub(super) fn find(&self, key: &[u8]) -> Option<Place> {
        let pairs = self.pairs();
        self.places().find(|p| &pairs[p.key.0..p.key.1] == key)
    }

    pub(super) fn nth(&self, n: usize) -> Option<Place> {
        self.places().nth(n)
    }

    /// Makes the pairs so many bytes longer, by zeros; gives where they end now. When there is no room, an eighth of what is
    /// there comes beyond them: most collections are small, many, and filled once, and to move one now and then costs less
    /// than twice its memory for good.
    fn lengthen(&mut self, by: usize) -> usize {
        let block = self.block_of(HEAD + by);
        let used = Self::used(block);
        if block.len() < HEAD + used + by {
            block.resize(HEAD + used + by + used / 8);
        }
        self.set_used(used + by);
        used
    }

    /// Makes room for `len` pairs of so many bytes together, which are about to be added to none.
    pub(super) fn expect(&mut self, len: usize, bytes: usize) {
        let wanted = HEAD + bytes + 2 * len;
        let block = self.block_of(wanted);
        if Self::used(block) == 0 && block.len() < wanted {
            block.resize(wanted);
        }
    }

    /// Adds a pair behind the last.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) {
        let lengths = length_bytes(key.len()) + length_bytes(value.len());
        let mut at = self.lengthen(key.len() + value.len() + lengths);
        let pairs = self.pairs_mut();
        for part in [key, value] {
            at += put_length(&mut pairs[at..], part.len());
            pairs[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        let len = u16::try_from(self.len() + 1).expect("few pairs are packed");
        self.set_half(4, len);
    }

    /// Adds a pair so that it starts at `start`, which must be where a pair starts or the end.
    pub(super) fn insert(&mut self, start: usize, key: &[u8], value: &[u8]) {
        let old_end = self.bytes();
        self.push(key, value);
        let added = self.bytes() - old_end;
        self.pairs_mut()[start..].rotate_right(added);
    }

    pub(super) fn remove(&mut self, p: Place) {
        let pairs = self.pairs_mut();
        pairs.copy_within(p.end.., p.start);
        let used = pairs.len() - (p.end - p.start);
        self.set_used(used);
        self.set_half(4, self.half(4) - 1);
    }

    /// Gives a pair another value, at the same position.
    pub(super) fn set_value(&mut self, p: Place, value: &[u8]) {
        if value.len() == p.end - p.value {
            self.pairs_mut()[p.value..p.end].copy_from_slice(value);
            return;
        }
        let (old_end, new_end) = (p.end, p.key.1 + length_bytes(value.len()) + value.len());
        if new_end > old_end {
            let used = self.lengthen(new_end - old_end);
            self.pairs_mut().copy_within(old_end..used, new_end);
        } else {
            let pairs = self.pairs_mut();
            pairs.copy_within(old_end.., new_end);
            let used = pairs.len() - (old_end - new_end);
            self.set_used(used);
        }
        let pair = &mut self.pairs_mut()[p.key.1..new_end];
        let at = put_length(pair, value.len());
        pair[at..].copy_from_slice(value);
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
        assert_eq!((known.bytes(), known.memory()), (180, 192));
        assert!(grown.memory() <= 192 + 180 / 8, "{}", grown.memory());
        let at = grown.nth(3).unwrap();
        grown.set_value(at, &[b'x'; 300]);
        assert_eq!(grown.bytes(), 180 + 290 + 4);
        assert!(grown.memory() <= grown.bytes() + 12 + 180 / 8, "{}", grown.memory());
    }

    #[test]
    fn a_mark_stays_whatever_becomes_of_the_pairs() {
        let mut p = Packed::default();
        p.set_marked(false);
        assert!(p.is_fresh() && !p.is_marked());
        p.set_marked(true);
        assert!(!p.is_fresh() && p.is_marked());
        p.expect(1, 2);
        p.push(b"a", b"1");
        p.remove(p.nth(0).unwrap());
        assert!(p.clone().is_marked() && p.len() == 0 && p.bytes() == 0);
        p.set_marked(false);
        assert!(!p.is_marked() && !p.is_fresh());
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
