//! [`StreamId`]: what an entry of a stream is known by: a moment in milliseconds and a number within it.

use std::fmt;

/// Longest an id is as text: two numbers of 20 digits and the dash.
pub const ID_TEXT_BYTES_MAX: usize = 41;

/// The id of an entry. Ids are ordered by moment, then by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Milliseconds since 1970, or whatever the client says it is.
    pub ms: u64,
    /// Tells entries of one millisecond apart.
    pub seq: u64,
}

impl StreamId {
    /// `0-0`, which no entry has.
    pub const MIN: StreamId = StreamId { ms: 0, seq: 0 };
    /// The highest id.
    pub const MAX: StreamId = StreamId {
        ms: u64::MAX,
        seq: u64::MAX,
    };

    /// The id that follows, if there is one.
    pub fn next(self) -> Option<StreamId> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(StreamId { seq, ..self }),
            None => self.ms.checked_add(1).map(|ms| StreamId { ms, seq: 0 }),
        }
    }

    /// The id before, if there is one.
    pub fn previous(self) -> Option<StreamId> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(StreamId { seq, ..self }),
            None => self.ms.checked_sub(1).map(|ms| StreamId { ms, seq: u64::MAX }),
        }
    }

    /// As 16 bytes that have the order of the ids.
    pub fn to_bytes(self) -> [u8; 16] {
        ((u128::from(self.ms) << 64) | u128::from(self.seq)).to_be_bytes()
    }

    /// What [`StreamId::to_bytes`] gave.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let both = u128::from_be_bytes(bytes);
        StreamId {
            ms: (both >> 64) as u64,
            seq: both as u64,
        }
    }

    /// The id as text, in `buf`.
    pub fn text(self, buf: &mut [u8; ID_TEXT_BYTES_MAX]) -> &[u8] {
        let (mut digits, mut len) = (itoa::Buffer::new(), 0);
        for (part, separator) in [(self.ms, true), (self.seq, false)] {
            let text = digits.format(part).as_bytes();
            buf[len..len + text.len()].copy_from_slice(text);
            len += text.len();
            if separator {
                buf[len] = b'-';
                len += 1;
            }
        }
        &buf[..len]
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_and_forms_agree() {
        let (a, b) = (StreamId { ms: 7, seq: u64::MAX }, StreamId { ms: 8, seq: 0 });
        assert_eq!((a.next(), b.previous()), (Some(b), Some(a)));
        assert_eq!((StreamId::MAX.next(), StreamId::MIN.previous()), (None, None));
        for id in [a, b, StreamId::MIN, StreamId::MAX] {
            assert_eq!(StreamId::from_bytes(id.to_bytes()), id);
            assert_eq!(id.text(&mut [0; ID_TEXT_BYTES_MAX]), id.to_string().as_bytes());
        }
        assert!(a.to_bytes() < b.to_bytes());
    }
}
